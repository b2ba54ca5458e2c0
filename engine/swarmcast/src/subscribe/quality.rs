//! Which rendition of a programme should be played: down when this one is more than can be had, up again when it was
//! had without trouble for long enough.

use std::time::Duration;

use swarmcast_core::catalogue::{Catalogue, Quality, Rendition, TrackId};
use swarmcast_core::health::{Reason, Verdict};
use swarmcast_core::ids::{Now, StreamKey};
use swarmcast_core::node::GapCause;

use crate::event::{Event, QualityCause};
use crate::foreign::lead;

/// Time behind a change in which what goes wrong is still that of before.
const SETTLING: Duration = Duration::from_secs(2);
/// How much later than usual the newest picture may be: longer than a loss or a change of path takes to be mended.
const LAG_MAX: Duration = Duration::from_millis(500);
/// How long it may be that late: longer than one repair takes.
const LOW_MAX: Duration = Duration::from_millis(250);
/// Time within which a second late gap shows that it was no accident.
const GAPS_WITHIN: Duration = Duration::from_secs(5);
/// Trouble within this time of going up is a relapse.
const RELAPSE: Duration = Duration::from_secs(60);
/// Most doublings of the hold-down.
const DOUBLINGS_MAX: u32 = 5;

/// A rendition that should be played, by its place in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) to: usize,
    pub(super) cause: QualityCause,
}

/// Watches how a rendition fares, and decides on another one.
#[derive(Debug)]
pub(super) struct Ladder {
    choice: Quality,
    hold_down: Duration,
    /// How often the hold-down was doubled, since going up did not last.
    relapses: u32,
    playout_delay: Duration,
    renditions: Vec<Rendition>,
    lead: Option<TrackId>,
    at: Option<usize>,
    verdict: Verdict,
    /// Since when this rendition is played without trouble.
    clean: Now,
    settled: Now,
    went_up: Option<Now>,
    /// When the newest picture is due.
    newest: Option<Now>,
    /// Since when there is little time up to that.
    low: Option<Now>,
    gap: Option<Now>,
    trouble: Option<QualityCause>,
}

impl Ladder {
    pub(super) fn new(choice: Quality, hold_down: Duration, playout_delay: Duration) -> Self {
        Self {
            choice,
            hold_down,
            relapses: 0,
            playout_delay,
            renditions: Vec::new(),
            lead: None,
            at: None,
            verdict: Verdict::Joining,
            clean: Now::default(),
            settled: Now::default(),
            went_up: None,
            newest: None,
            low: None,
            gap: None,
            trouble: None,
        }
    }

    /// Wants another quality from here on.
    pub(super) fn choose(&mut self, choice: Quality) {
        self.choice = choice;
    }

    /// Returns a rendition of the programme.
    pub(super) fn rendition(&self, place: usize) -> Option<&Rendition> {
        self.renditions.get(place)
    }

    /// Returns the place of the rendition that is played; `None` when there is only one.
    pub(super) fn at(&self) -> Option<usize> {
        self.at
    }

    /// Takes note of what is played.
    pub(super) fn open(&mut self, now: Now, key: StreamKey, catalogue: &Catalogue) {
        self.renditions.clone_from(&catalogue.renditions);
        self.at = self.renditions.iter().position(|rendition| rendition.key == key);
        self.lead = lead(&catalogue.tracks);
        self.settle(now);
    }

    fn settle(&mut self, now: Now) {
        (self.newest, self.low, self.gap, self.trouble) = (None, None, None, None);
        self.clean = now;
        self.settled = now.after(SETTLING);
    }

    /// Takes note of what the subscriber is told.
    pub(super) fn witness(&mut self, now: Now, event: &Event) {
        match event {
            Event::Opened { key, catalogue, .. } => self.open(now, *key, catalogue),
            Event::Verdict { to, reason, .. } => {
                self.verdict = *to;
                match (to, reason) {
                    (Verdict::Degraded | Verdict::Starved, Some(Reason::Overrun)) => {
                        self.suffer(now, QualityCause::Overrun);
                    }
                    (Verdict::Starved, Some(Reason::ExcessLoss)) => self.suffer(now, QualityCause::Capacity),
                    _ => {}
                }
            }
            Event::Overrun { .. } => self.suffer(now, QualityCause::Overrun),
            Event::Gap { cause: GapCause::Shed, .. } => self.suffer(now, QualityCause::Capacity),
            Event::Gap { .. } => {
                let again = self.gap.replace(now).is_some_and(|gap| now.since(gap) <= GAPS_WITHIN);
                self.clean = now;
                if again {
                    self.suffer(now, QualityCause::Capacity);
                }
            }
            Event::AccessUnit(delivery) if Some(delivery.unit.track) == self.lead => {
                self.newest = self.newest.max(Some(delivery.due));
            }
            _ => {}
        }
    }

    fn suffer(&mut self, now: Now, cause: QualityCause) {
        self.clean = now;
        if now >= self.settled {
            self.trouble.get_or_insert(cause);
        }
    }

    /// Looks how far the pictures reach that were delivered; to be called whenever anything comes.
    pub(super) fn look(&mut self, now: Now) {
        let lowest = |at| self.next_to(at, false).is_none();
        if self.trouble.is_some() && self.at.is_some_and(lowest) && self.held(now) {
            self.trouble = None;
        }
        // A publisher that pauses or is gone has no pictures to send.
        let flows = matches!(self.verdict, Verdict::Live | Verdict::Degraded);
        let Some(newest) = self.newest.filter(|_| flows) else {
            self.low = None;
            return;
        };
        // A quarter of the delay is what repairs may use of it; half of it where that is not long.
        let allowed = LAG_MAX.max(self.playout_delay / 4).min(self.playout_delay / 2);
        if newest.since(now) >= self.playout_delay - allowed {
            self.low = None;
        } else if now.since(*self.low.get_or_insert(now)) >= LOW_MAX {
            self.suffer(now, QualityCause::Capacity);
        }
    }

    /// Returns whether what is played is in trouble.
    pub(super) fn suffers(&self) -> bool {
        self.trouble.is_some()
    }

    /// Returns what should be played instead.
    pub(super) fn wish(&self, now: Now) -> Option<Wish> {
        let at = self.at?;
        if self.choice != Quality::Auto {
            let to = self.choice.pick(&self.renditions).filter(|to| *to != at)?;
            return Some(Wish { to, cause: QualityCause::Asked });
        }
        if let Some(cause) = self.trouble {
            return self.next_to(at, false).map(|to| Wish { to, cause });
        }
        let to = self.next_to(at, true).filter(|_| self.held(now) && self.verdict == Verdict::Live)?;
        Some(Wish { to, cause: QualityCause::Clean })
    }

    /// Returns whether the hold-down passed without trouble.
    fn held(&self, now: Now) -> bool {
        now.since(self.clean) >= self.hold_down * 2_u32.pow(self.relapses)
    }

    /// Returns the next higher or lower rendition by its rate.
    fn next_to(&self, at: usize, higher: bool) -> Option<usize> {
        let here = self.renditions.get(at)?.bitrate;
        let rates = self.renditions.iter().map(|rendition| rendition.bitrate).enumerate();
        let next = if higher {
            rates.filter(|(_, rate)| *rate > here).min_by_key(|(_, rate)| *rate)
        } else {
            rates.filter(|(_, rate)| *rate < here).max_by_key(|(_, rate)| *rate)
        };
        next.map(|(place, _)| place)
    }

    /// Takes note that another rendition has taken over.
    pub(super) fn switched(&mut self, now: Now, wish: Wish) {
        match wish.cause {
            QualityCause::Clean => self.went_up = Some(now),
            QualityCause::Asked => (self.went_up, self.relapses) = (None, 0),
            _ => match self.went_up.take() {
                Some(up) if now.since(up) < RELAPSE => self.relapse(),
                _ => self.relapses = 0,
            },
        }
    }

    /// Takes note that another rendition could not take over.
    pub(super) fn failed(&mut self, now: Now, wish: Wish) {
        if wish.cause == QualityCause::Clean {
            self.relapse();
        }
        self.settle(now);
    }

    fn relapse(&mut self) {
        self.relapses = (self.relapses + 1).min(DOUBLINGS_MAX);
    }
}

#[cfg(test)]
mod tests;
