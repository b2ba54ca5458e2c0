//! Unicast from the publisher: asked for, refused, let go.

use std::time::Duration;

use super::{Delivery, Event, Ground};
use crate::health::{PathCause, PathKind, Wish};
use crate::ids::Now;

/// Part of the buffer that is left over which viewers spread their requests for unicast. A tenth keeps what
/// is left of a playout delay of 1 s within 65 ms, so that unicast flows 0.5 s after all else was lost.
const SPREAD_SHARE: u32 = 10;
/// Time after which unicast that is not needed is let go, so that its place is free for others.
pub(super) const RELEASE_AFTER: Duration = Duration::from_secs(1);
/// Time after which a request for unicast that nothing came of is repeated.
const RETRY: Duration = Duration::from_secs(2);
/// By so much at most that time grows, and one that the publisher names: it doubles each time that nothing comes of a
/// request, so that a crowd of viewers who starve does not fill the uplink of who could help some of them.
const RETRY_GROWTH_MAX: u32 = 16;
/// Time after which such failures are forgotten.
const RETRY_MEMORY: Duration = Duration::from_secs(60);

/// How often requests for unicast failed in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    count: u32,
    last: Now,
}

impl Failures {
    /// Takes note of one more.
    fn note(&mut self, now: Now) {
        let count = if now.since(self.last) > RETRY_MEMORY { 0 } else { self.count };
        *self = Self { count: count + 1, last: now };
    }

    /// Returns how long to wait where the first wait would be `first`.
    fn wait(self, first: Duration) -> Duration {
        first * 2_u32.saturating_pow(self.count).min(RETRY_GROWTH_MAX)
    }
}

/// How a subscription stands with its publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unicast {
    /// It is not asked for.
    Off,
    /// It is asked for at this time, unless the buffer recovers.
    Waiting(Now),
    /// It was asked for at this time.
    Asked(Now),
    /// It was refused, and may be asked for again after a while.
    Refused { until: Now, cause: PathCause },
}

impl Delivery {
    /// Returns whether unicast was asked for.
    pub(crate) fn asks_unicast(&self) -> bool {
        matches!(self.unicast, Unicast::Asked(_))
    }

    /// Returns whether unicast was refused, and is not asked for again so far.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.unicast, Unicast::Refused { .. })
    }

    /// Takes a refusal of unicast: by the publisher, or since it cannot be reached.
    pub(crate) fn handle_refusal(&mut self, now: Now, mut cause: PathCause) {
        if !self.asks_unicast() {
            return;
        }
        let mut wait = self.retry();
        if let PathCause::Busy { retry_after } = &mut cause {
            wait = self.failures.wait(*retry_after);
            *retry_after = wait;
        }
        self.failures.note(now);
        self.unicast = Unicast::Refused { until: now.after(wait), cause: cause.clone() };
        self.announce(PathKind::Unicast, cause);
    }

    /// A thousand viewers that lose multicast at once must not ask at once.
    pub(super) fn schedule_unicast(&mut self, now: Now, ground: Ground<'_>) {
        let left = ground.dry_at.map_or(Duration::ZERO, |at| at.since(now));
        let wait = self.draw(left / SPREAD_SHARE);
        self.unicast = Unicast::Waiting(now.after(wait));
        if wait.is_zero() {
            self.fire(now, Event::BufferLow, PathCause::BufferLow);
        }
    }

    /// Returns the time after which a request that nothing came of is repeated.
    pub(super) fn retry(&self) -> Duration {
        self.failures.wait(RETRY)
    }

    /// Asks once more: nothing came of it.
    pub(super) fn ask_unicast_again(&mut self, now: Now) {
        self.failures.note(now);
        self.ask_unicast(now);
    }

    pub(super) fn ask_unicast(&mut self, now: Now) {
        self.unicast = Unicast::Asked(now);
        self.wish(Wish::StartUnicast);
    }

    /// Lets unicast go; returns whether it had been asked for.
    pub(super) fn stop_unicast(&mut self) -> bool {
        let asked = self.asks_unicast();
        self.unicast = Unicast::Off;
        if asked {
            self.wish(Wish::StopUnicast);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_sixteen_fold_and_failures_are_forgotten_after_a_minute() {
        let mut failures = Failures::default();
        let mut waits = |at_s: u64| {
            let wait = failures.wait(Duration::from_secs(1)).as_secs();
            failures.note(Now(at_s * 1_000_000));
            wait
        };
        assert_eq!([1, 2, 4, 8, 16, 32].map(&mut waits), [1, 2, 4, 8, 16, 16]);
        assert_eq!([93, 94].map(&mut waits), [16, 2]);
    }
}
