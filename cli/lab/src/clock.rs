//! The clock that the events of every process on this machine share, unless a host is given another one.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;

/// `CLONE_NEWTIME` of `clone(2)`, which nix does not name.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// Reads CLOCK_MONOTONIC, in seconds: the `t` of every event.
pub fn monotonic() -> f64 {
    // The call fails only for a clock that the kernel does not have.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9)
}

/// Gives the programs that this thread starts from now on a CLOCK_MONOTONIC that is so much ahead.
///
/// # Errors
/// The kernel has no time namespaces, or this process may not make one.
pub(crate) fn set_children_ahead(by: Duration) -> Result<()> {
    unshare(NEW_TIME).context("cannot make a time namespace")?;
    let offsets = format!("/proc/{}/timens_offsets", gettid());
    fs::write(&offsets, format!("monotonic {} {}", by.as_secs(), by.subsec_nanos()))
        .with_context(|| format!("cannot write {offsets}"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    #[test]
    fn children_can_have_a_clock_of_their_own() {
        let uptime = || {
            let output = Command::new("sh").args(["-c", "cat /proc/self/timens_offsets"]).output()?;
            anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let shifted = thread::spawn(move || {
            set_children_ahead(Duration::from_millis(1_500))?;
            uptime()
        });
        match shifted.join().expect("it does not panic") {
            Ok(offsets) => assert!(offsets.contains("monotonic           1 500000000"), "{offsets}"),
            Err(error) => eprintln!("SKIPPED: {error:#}"),
        }
    }
}
