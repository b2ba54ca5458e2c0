//! The last resort: a source outside of the swarm, which the caller plays.

use std::time::Duration;

use super::{Delivery, Event, Ground, Unicast};
use crate::health::{FallbackPolicy, PathCause, PathKind, Verdict};
use crate::ids::Now;

/// Time after which a viewer that never saw the stream goes to its foreign source.
pub(super) const JOINING_MAX: Duration = Duration::from_secs(2);

/// How the caller's own source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// The caller has none, or the policy forbids it.
    Absent,
    Idle,
    /// The caller was told to play it.
    Told,
    Failed,
}

impl Delivery {
    /// Returns whether a foreign source may still help.
    pub(crate) fn has_foreign(&self) -> bool {
        matches!(self.foreign, Foreign::Idle | Foreign::Told)
    }

    /// Takes the caller's word on its foreign source.
    pub(crate) fn handle_foreign(&mut self, now: Now, plays: bool) {
        if plays || self.foreign == Foreign::Absent {
            return;
        }
        self.foreign = Foreign::Failed;
        self.fire(now, Event::ForeignFailed, PathCause::ForeignFailed);
    }

    /// Tells the caller to play its own source once nothing of the swarm is left to hope for.
    pub(super) fn go_foreign(&mut self, now: Now, ground: Ground<'_>) {
        if self.foreign != Foreign::Idle || self.path == PathKind::Foreign || !ground.expected {
            return;
        }
        let tried = match &self.unicast {
            Unicast::Refused { cause, .. } => Some(cause.clone()),
            Unicast::Asked(since) if since.after(self.grace()) <= now => Some(PathCause::BufferLow),
            _ => None,
        };
        let cause = match ground.verdict {
            Verdict::Dead => Some(tried.unwrap_or(PathCause::BufferLow)),
            Verdict::Starved if ground.gone => Some(PathCause::Unreachable),
            Verdict::Starved => tried,
            Verdict::Joining if now >= self.joined.after(JOINING_MAX) => Some(PathCause::BufferLow),
            _ => None,
        };
        match (self.policy, cause) {
            (_, None) | (FallbackPolicy::Off, _) => {}
            (FallbackPolicy::Manual, Some(cause)) => {
                if ground.verdict == Verdict::Dead {
                    self.announce(PathKind::Foreign, cause);
                }
            }
            (FallbackPolicy::Auto, Some(cause)) => {
                self.foreign = Foreign::Told;
                self.fire(now, Event::Hopeless, cause);
            }
        }
    }
}
