//! The two times that reports carry: `CLOCK_MONOTONIC`, and the age of this process.

use std::time::Duration;

/// Unit of process start times in `/proc`: Linux reports them in hundredths of a second on every machine.
const TICK: Duration = Duration::from_millis(10);
/// Where `starttime` stands in `/proc/self/stat`, counted behind the process name (proc(5): field 22).
const START_TIME_FIELD: usize = 19;

/// Returns `CLOCK_MONOTONIC`, the same for all processes of the machine.
pub(crate) fn monotonic() -> Duration {
    Duration::from_micros(swarmcast::now().0)
}

/// Returns the time since the kernel started this process, loading of libraries included; `None` without
/// `/proc`. At most one tick of 10 ms too long, since the kernel rounds the start down.
pub(crate) fn since_process_start() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    since_start(monotonic(), &stat, &uptime)
}

/// Start times count the time that the machine was suspended, `CLOCK_MONOTONIC` does not; the uptime tells how
/// much that was, rounded to ticks.
fn since_start(now: Duration, stat: &str, uptime: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let ticks: u32 = behind_name.split(' ').nth(START_TIME_FIELD)?.parse().ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split(' ').next()?.parse().ok()?).ok()?;
    let suspended = uptime.saturating_sub(now);
    let suspended = if suspended < 2 * TICK { Duration::ZERO } else { suspended };
    (now + suspended).checked_sub(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose name tries to look like the end of its name, started 500.00 s after boot.
    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 50000 1 2 3";

    #[test]
    fn the_age_counts_from_the_start_of_the_process() {
        let now = Duration::from_millis(500_137);
        assert_eq!(since_start(now, STAT, "500.13 900.00\n"), Some(Duration::from_millis(137)));
    }

    #[test]
    fn suspended_time_is_allowed_for() {
        let now = Duration::from_millis(440_130);
        assert_eq!(since_start(now, STAT, "500.13 900.00\n"), Some(Duration::from_millis(130)));
    }

    #[test]
    fn without_proc_there_is_no_age() {
        assert_eq!(since_start(Duration::from_secs(1), "", "1.00 1.00"), None);
        assert!(since_process_start().is_some_and(|age| age < Duration::from_secs(3_600)));
    }
}
