//! One path as a carrier of the stream: when what came by it, and what that makes of its verdict.

use std::sync::Arc;
use std::time::Duration;

use super::path::Event;
use super::{PathVerdict, Reason};
use crate::ids::{BlockId, Now};

/// Bounds of the time without media after which a path is quiet: twice its longest gap of late. Three pictures at 30 a
/// second are overdue at 100 ms; a source that makes nothing for 200 ms is said to pause, so no gap needs more than
/// 250.
const QUIET: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(250));
/// Time without beacons or have-maps after which a path that rests is quiet: four beacons.
pub(crate) const SIGN_QUIET: Duration = Duration::from_secs(1);
/// How far ahead another path must be to prove that a quiet one is at fault, in blocks: one may be the repair of what
/// was lost last.
const AHEAD_MIN: u64 = 2;
/// Silence after which a group is joined again: before the stream starves by it.
const REJOIN_AFTER: Duration = Duration::from_millis(500);
/// Time between two such attempts.
const REJOIN_PERIOD: Duration = Duration::from_secs(5);
/// Time after joining again in which media proves that this was what lacked: a switch forwards at once, so it is the
/// next beacon at the latest, and a path that heals by chance rarely does so just then.
const REJOIN_ANSWER: Duration = Duration::from_millis(300);
/// Share of loss above which a path is lossy: repair would cost more than it saves.
const LOSS_MAX: f64 = 0.15;
/// Share of loss below which it is not lossy any longer.
const LOSS_CLEAN: f64 = 0.10;

/// What else is known of a stream while one path is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elsewhere {
    /// Newest block that came, or that a neighbour has.
    pub(crate) newest: Option<BlockId>,
    /// Since when media has come by whatever path, while it does.
    pub(crate) flowing: Option<Now>,
    /// Whether the stream is starved or dead: no path is at fault alone.
    pub(crate) starved: bool,
}

/// One path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Carrier {
    pub(crate) verdict: PathVerdict,
    pub(crate) reason: Option<Reason>,
    /// The interface of a multicast path.
    pub(crate) interface: Option<Arc<str>>,
    pub(crate) last_media: Option<Now>,
    /// When something useful came by it last.
    pub(crate) last_useful: Option<Now>,
    newest: Option<BlockId>,
    last_sign: Option<Now>,
    /// Longest gap between two fragments of late.
    gap: Duration,
    rejoined: Option<Now>,
}

impl Carrier {
    /// Starts a multicast path.
    pub(crate) fn multicast(interface: Arc<str>) -> Self {
        let mut carrier = Self { interface: Some(interface), ..Self::default() };
        carrier.apply(Event::Asked);
        carrier
    }

    /// Takes an event; keeps no reason that belongs to the verdict before.
    pub(crate) fn apply(&mut self, event: Event) {
        let next = self.verdict.after(event);
        if next != self.verdict {
            self.verdict = next;
            self.reason = None;
        }
    }

    /// Takes a verified fragment.
    pub(crate) fn handle_media(&mut self, now: Now, block: BlockId, useful: bool) {
        let answered = self.rejoined.is_some_and(|at| now.since(at) <= REJOIN_ANSWER);
        let was_quiet = matches!(self.verdict, PathVerdict::Silent | PathVerdict::Standby)
            && self.last_media.is_some_and(|at| now.since(at) >= REJOIN_AFTER);
        if let Some(last) = self.last_media {
            // Forgets half of a long gap in 11 fragments that come without one.
            let gap = now.since(last).min(QUIET.1);
            self.gap = if gap > self.gap { gap } else { self.gap - (self.gap - gap) / 16 };
        }
        self.last_media = Some(now);
        self.last_sign = Some(now);
        self.newest = self.newest.max(Some(block));
        if useful {
            self.last_useful = Some(now);
        }
        self.apply(Event::Media);
        if answered && was_quiet {
            self.reason =
                self.interface.clone().map(|interface| Reason::QuerierTimeoutSuspected { interface });
            self.rejoined = None;
        }
    }

    /// Takes a beacon or a have-map.
    pub(crate) fn handle_sign(&mut self, now: Now) {
        let returned = self.last_sign.is_none_or(|at| now.since(at) >= SIGN_QUIET);
        self.last_sign = Some(now);
        if returned || self.verdict == PathVerdict::Joining {
            self.apply(Event::Beacon);
        }
    }

    /// Takes the share of fragments that do not come by the path, 0 to 1.
    pub(crate) fn handle_loss(&mut self, share: f64) {
        if share > LOSS_MAX {
            self.apply(Event::Loss);
            if self.verdict == PathVerdict::Lossy {
                self.reason = Some(Reason::ExcessLoss);
            }
        } else if share < LOSS_CLEAN {
            self.apply(Event::Clean);
        }
    }

    /// Another run of the publisher numbers its blocks from 0.
    pub(crate) fn handle_reset(&mut self) {
        self.newest = None;
    }

    /// Moves all times by what this process slept.
    pub(crate) fn handle_stalled(&mut self, now: Now, stall: Duration) {
        let times = [&mut self.last_media, &mut self.last_useful, &mut self.last_sign, &mut self.rejoined];
        times.into_iter().flatten().for_each(|at| *at = at.after(stall).min(now));
    }

    /// Returns the time without media after which the path is quiet.
    pub(crate) fn patience(&self) -> Duration {
        (self.gap * 2).clamp(QUIET.0, QUIET.1)
    }

    /// Returns whether media came by the path and has ceased.
    pub(crate) fn is_quiet(&self, now: Now) -> bool {
        self.last_media.is_none_or(|at| now >= at.after(self.patience()))
    }

    /// Judges the path by what came elsewhere; `fault` is why it is silent when it is at fault.
    pub(crate) fn judge(&mut self, now: Now, elsewhere: Elsewhere, fault: Option<Reason>) {
        match self.verdict {
            PathVerdict::Delivering | PathVerdict::Lossy if self.is_quiet(now) => {
                let ahead = self.newest.map_or(0, |newest| newest.0.saturating_add(AHEAD_MIN));
                let outrun = elsewhere.newest.is_some_and(|newest| newest.0 >= ahead);
                if outrun && self.interface.is_some() {
                    self.apply(Event::Silence);
                    self.reason = fault;
                } else if outrun {
                    // Neighbours and the publisher do not push what is here already: that is no fault so far.
                    self.apply(Event::Rest);
                } else if elsewhere.starved {
                    self.apply(Event::Rest);
                }
            }
            PathVerdict::Standby => {
                let quiet = self.last_sign.is_some_and(|at| now >= at.after(SIGN_QUIET));
                // A stream that comes back from silence may come by another path first.
                if quiet && elsewhere.flowing.is_some_and(|since| now >= since.after(SIGN_QUIET / 2)) {
                    self.apply(Event::Silence);
                    self.reason = fault;
                }
            }
            _ => {}
        }
    }

    /// Returns when the path is to be judged again.
    pub(crate) fn next_timeout(&self) -> Option<Now> {
        match self.verdict {
            PathVerdict::Delivering | PathVerdict::Lossy => Some(self.last_media?.after(self.patience())),
            PathVerdict::Standby => Some(self.last_sign?.after(SIGN_QUIET)),
            _ => None,
        }
    }

    /// Returns when the group is to be joined again: only where it was heard before.
    pub(crate) fn rejoins_at(&self, expected: bool) -> Option<Now> {
        let quiet = match self.verdict {
            PathVerdict::Delivering | PathVerdict::Lossy | PathVerdict::Silent if expected => {
                self.last_media.or(self.last_sign)?.after(REJOIN_AFTER)
            }
            PathVerdict::Standby | PathVerdict::Silent => self.last_sign?.after(SIGN_QUIET),
            _ => return None,
        };
        Some(self.rejoined.map_or(quiet, |at| quiet.max(at.after(REJOIN_PERIOD))))
    }

    /// Takes note that the group is joined again.
    pub(crate) fn handle_rejoined(&mut self, now: Now) {
        self.rejoined = Some(now);
    }
}
