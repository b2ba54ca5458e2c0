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
pub(super) const RETRY: Duration = Duration::from_secs(2);

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
    pub(crate) fn handle_refusal(&mut self, now: Now, cause: PathCause) {
        if !self.asks_unicast() {
            return;
        }
        let wait = if let PathCause::Busy { retry_after } = &cause { *retry_after } else { RETRY };
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
