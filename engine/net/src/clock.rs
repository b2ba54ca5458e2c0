//! The only place where the engine reads time.

use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use swarmcast_core::ids::{Now, WallClock};
use tokio::time::{Instant, Sleep, sleep};

/// Returns `CLOCK_MONOTONIC` in microseconds, comparable between all processes of a host.
pub fn now() -> Now {
    // The clock exists on every Linux; a zero would only stop time, which the core tolerates.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| t.num_microseconds());
    Now(u64::try_from(time).unwrap_or(0))
}

/// Returns the wall clock.
pub(crate) fn wall_clock() -> WallClock {
    #[allow(clippy::disallowed_methods, reason = "this module is where the engine reads time")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallClock(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the runtime's name for the time `at`; a time in the past becomes the present.
pub(crate) fn instant_of(at: Now) -> Instant {
    instant_after(at.since(now()))
}

/// Returns the runtime's name for the time `later` from here on.
pub(crate) fn instant_after(later: Duration) -> Instant {
    #[allow(clippy::disallowed_methods, reason = "this module is where the engine reads time")]
    let present = Instant::now();
    present + later
}

/// Returns how long ago `due` was.
pub(crate) fn lateness(due: Instant) -> Duration {
    instant_after(Duration::ZERO).saturating_duration_since(due)
}

/// The core's timer, kept between turns of the loop so that a turn does not register it anew.
pub(crate) struct CoreTimer {
    sleep: Pin<Box<Sleep>>,
    armed: Option<Now>,
}

impl CoreTimer {
    /// Makes a timer.
    pub(crate) fn new() -> Self {
        Self { sleep: Box::pin(sleep(Duration::ZERO)), armed: None }
    }

    /// Waits until `due`; for ever when nothing is. Dropping the future loses nothing.
    pub(crate) async fn wait(&mut self, due: Option<Now>) {
        let Some(at) = due else { return std::future::pending().await };
        if self.armed != due {
            self.sleep.as_mut().reset(instant_of(at));
            self.armed = due;
        }
        self.sleep.as_mut().await;
        self.armed = None;
    }
}
