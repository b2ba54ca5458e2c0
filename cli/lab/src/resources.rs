//! What a process holds of the machine, as the kernel tells.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub descriptors: u64,
}

impl Resources {
    /// Reads what a running process holds.
    ///
    /// # Errors
    /// There is no such process.
    pub(crate) fn read(pid: Pid) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let (resident_bytes, threads) =
            parse(&status).with_context(|| format!("cannot understand {path}"))?;
        let path = format!("/proc/{pid}/fd");
        let descriptors = fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count() as u64;
        Ok(Self { resident_bytes, threads, descriptors })
    }
}

/// Finds resident bytes and threads in what `proc_pid_status(5)` describes.
fn parse(status: &str) -> Option<(u64, u64)> {
    let number = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_whitespace().next()?.parse().ok()
    };
    Some((number("VmRSS")? * 1024, number("Threads")?))
}

#[cfg(test)]
mod tests {
    use super::{Resources, parse};

    #[test]
    fn memory_and_threads_are_found() {
        let status = "Name:\tThreads\nVmHWM:\t  900 kB\nVmRSS:\t  700 kB\nThreads:\t5\n";
        assert_eq!(parse(status), Some((700 * 1024, 5)));
        assert_eq!(parse("Name:\tzombie\nThreads:\t1\n"), None);
    }

    #[test]
    fn this_process_holds_what_it_takes() {
        let read = || Resources::read(nix::unistd::getpid()).ok();
        let before = read();
        let _files: Vec<_> = (0..40).map(|_| std::fs::File::open("/proc/self/stat")).collect();
        let grown = read().zip(before).map(|(after, before)| after.descriptors - before.descriptors);
        // Other tests of this process open and close files too.
        assert!(grown.is_some_and(|grown| grown >= 20), "{grown:?}");
        assert!(before.is_some_and(|before| before.threads >= 1 && before.resident_bytes > 100_000));
    }
}
