//! A host's clocks: offset and drifting against the world's true time.

use std::time::Duration;

use swarmcast_core::ids::{Now, WallClock};

/// Wall clock in milliseconds at true time zero: early 2026, so that epochs look like real ones.
const WALL_CLOCK_ORIGIN_MS: i64 = 1_770_000_000_000;

const PARTS: i128 = 1_000_000;

/// The monotonic clock and the wall clock of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// What the monotonic clock shows at true time zero, microseconds.
    pub offset_us: u64,
    /// How much faster than true time it runs, parts per million.
    pub drift_ppm: i32,
    /// How far the wall clock is ahead, milliseconds.
    pub wall_skew_ms: i64,
}

impl HostClock {
    /// Returns what the monotonic clock shows at true time `at`.
    pub fn now(&self, at: Duration) -> Now {
        Now(self.offset_us.saturating_add(self.elapsed_us(at)))
    }

    /// Returns what the wall clock shows at true time `at`; it drifts with the monotonic clock.
    pub fn wall(&self, at: Duration) -> WallClock {
        let elapsed_ms = i64::try_from(self.elapsed_us(at) / 1_000).unwrap_or(i64::MAX);
        let shown = WALL_CLOCK_ORIGIN_MS.saturating_add(self.wall_skew_ms).saturating_add(elapsed_ms);
        WallClock(u64::try_from(shown).unwrap_or(0))
    }

    /// Returns the first true time at which the monotonic clock shows `now` or later.
    pub fn when(&self, now: Now) -> Duration {
        let elapsed_us = i128::from(now.0.saturating_sub(self.offset_us));
        let speed = PARTS + i128::from(self.drift_ppm);
        let nanos = (elapsed_us * 1_000 * PARTS + speed - 1).div_euclid(speed);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn elapsed_us(&self, at: Duration) -> u64 {
        let nanos = i128::try_from(at.as_nanos()).unwrap_or(i128::MAX / (2 * PARTS));
        let shown = nanos * (PARTS + i128::from(self.drift_ppm)) / PARTS / 1_000;
        u64::try_from(shown).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_names_the_first_instant_that_shows_the_time() {
        for drift_ppm in [-100, 0, 37, 100] {
            let clock = HostClock { offset_us: 12_345, drift_ppm, wall_skew_ms: 0 };
            for shown in [12_346, 20_000, 999_999, 86_400_000_000] {
                let at = clock.when(Now(shown));
                assert!(clock.now(at).0 >= shown, "{drift_ppm} ppm at {shown}");
                assert!(clock.now(at.saturating_sub(Duration::from_micros(1))).0 < shown);
            }
        }
    }

    #[test]
    fn fifty_ppm_are_180_ms_an_hour() {
        let clock = HostClock { offset_us: 0, drift_ppm: 50, wall_skew_ms: 0 };
        assert_eq!(clock.now(Duration::from_secs(3_600)).0, 3_600_180_000);
    }
}
