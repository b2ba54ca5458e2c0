//! What a viewer receives by multicast: its share of the stream, and the reports that tell the publisher.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::ids::{BlockId, Now, PathId};
use crate::window::{Slot, Window};
use crate::wire::{Report, Want};

/// Age at which a block must have come by multicast, reordering and a repeated header included.
const GRACE: Duration = Duration::from_millis(150);
/// Blocks looked at in one judgement.
const BLOCKS_MAX: usize = 4096;
/// Silence behind which a new run of media begins: what was not sent meanwhile is not missing.
const RUN_BREAK: Duration = Duration::from_millis(600);
/// Time over which the share of loss is smoothed, in fragments: 1 s of an 8 Mbit/s stream.
const SMOOTHING: f64 = 1000.0;
/// Parts that are looked at for a collapse: at 20 % of loss, 18 of 24 are missing once in 10^8 times.
const COLLAPSE_PARTS: u64 = 24;
/// Share of them that are missing when next to nothing comes but what is short.
const COLLAPSE: f64 = 0.75;
/// Share below which a collapse is over.
const COLLAPSE_OVER: f64 = 0.25;
/// Time between two reports; spread by a quarter either way.
const REPORT_PERIOD: Duration = Duration::from_secs(1);
/// Reports a second that all viewers together send to one group; more viewers report more seldom.
const REPORTS_PER_SECOND: u64 = 40;
/// First report: as soon as beacons are heard, spread so that viewers that start together do not all speak at once.
const FIRST_REPORT: Duration = Duration::from_millis(50);
/// Beacons in a row that prove, without a session, that a publisher lives.
const PROOF: u32 = 3;

/// Counts of one subscription since its last report.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    received: u64,
    missed: u64,
}

/// Reception of one stream by multicast.
#[derive(Clone, Debug)]
pub(crate) struct Reception {
    reporter: u64,
    /// Path and source of the beacons heard last.
    heard: Option<(PathId, IpAddr, Now)>,
    /// When the newest of them was made.
    beacon_at: Option<Duration>,
    fragment_at: Option<Now>,
    /// What came by multicast of the blocks from `judged` on.
    words: BTreeMap<BlockId, u64>,
    /// Blocks before it are settled; `None` without a run of media.
    judged: Option<BlockId>,
    /// Newest block of which something came by multicast: silence is the path's, what is missing before it is loss.
    newest: BlockId,
    counts: Counts,
    loss: f64,
    /// Parts missed and sent of the last blocks that were settled.
    recent: VecDeque<(u64, u64)>,
    collapsed: bool,
    report_at: Option<Now>,
    /// Whether beacons were heard since the last report.
    hears: bool,
    /// Fragments received and lost when the last report was made.
    told: (u64, u64),
    proof: u32,
    /// Reports of others in the running second, and in the one before.
    others: (Now, u64, u64),
}

impl Reception {
    /// Starts without a path; `reporter` is a random number.
    pub(crate) fn new(now: Now, reporter: u64) -> Self {
        Self {
            reporter,
            heard: None,
            beacon_at: None,
            fragment_at: None,
            words: BTreeMap::new(),
            judged: None,
            newest: BlockId(0),
            counts: Counts::default(),
            loss: 0.0,
            recent: VecDeque::new(),
            collapsed: false,
            report_at: Some(now.after(REPORT_PERIOD)),
            hears: false,
            told: (0, 0),
            proof: 0,
            others: (now, 0, 0),
        }
    }

    /// Takes note of a verified beacon that came by multicast, made `at` on the publisher's clock.
    pub(crate) fn handle_beacon(
        &mut self,
        now: Now,
        path: PathId,
        source: IpAddr,
        at: Duration,
        chance: u64,
    ) {
        if self.beacon_at.is_some_and(|before| before >= at) {
            return;
        }
        self.beacon_at = Some(at);
        if self.heard.is_none() {
            let spread = Duration::from_millis(chance % 100);
            let first = now.after(FIRST_REPORT + spread);
            self.report_at = Some(self.report_at.map_or(first, |at| at.min(first)));
        }
        self.heard = Some((path, source, now));
        self.hears = true;
        self.proof += 1;
    }

    /// Returns whether enough beacons came by multicast to take the publisher for alive without an answer of its own.
    pub(crate) fn proves(&self) -> bool {
        self.proof >= PROOF
    }

    /// Takes note of parts of a block that verified and came by multicast, new or not.
    pub(crate) fn handle_parts(&mut self, now: Now, block: BlockId, word: u64) {
        if self.fragment_at.is_none_or(|at| now.since(at) > RUN_BREAK) {
            // The block that a run begins with may have been cut off by its beginning.
            self.judged = Some(block.next());
            self.newest = block;
            self.words.clear();
            // What was lost before the silence says nothing of what comes behind it.
            (self.loss, self.collapsed) = (0.0, false);
            self.recent.clear();
        }
        self.fragment_at = Some(now);
        self.newest = self.newest.max(block);
        self.counts.received += u64::from(word.count_ones());
        if self.judged.is_some_and(|judged| block >= judged) && self.words.len() < BLOCKS_MAX {
            *self.words.entry(block).or_default() |= word;
        }
    }

    /// Takes note of a gap whose cause is known: this process did not take what came, or the group had to be joined
    /// again. What is missing until now was not lost on the way.
    pub(crate) fn break_run(&mut self) {
        self.fragment_at = None;
        self.judged = None;
    }

    /// Settles the blocks that must have come by multicast.
    pub(crate) fn judge(&mut self, now: Now, window: &Window) {
        let Some(mut block) = self.judged else { return };
        if self.fragment_at.is_none_or(|at| now.since(at) > RUN_BREAK) {
            self.judged = None;
            return;
        }
        block = block.max(window.first());
        let due = |slot: &&Slot| now.since(slot.evident()) > GRACE;
        while let Some(slot) = window.slot(block).filter(due).filter(|_| block < self.newest) {
            let Some(header) = slot.header() else { break };
            let sent = header.header().full_word() | Want::HEADER;
            let missed = sent & !self.words.remove(&block).unwrap_or(0);
            let (missed, sent) = (u64::from(missed.count_ones()), u64::from(sent.count_ones()));
            self.counts.missed += missed;
            let weight = (sent as f64 / SMOOTHING).min(1.0);
            self.loss += weight * (missed as f64 / sent as f64 - self.loss);
            self.look_for_collapse(missed, sent);
            block = block.next();
        }
        self.judged = Some(block);
        // Left behind where the window began to move on first.
        while self.words.first_key_value().is_some_and(|(oldest, _)| *oldest < block) {
            self.words.pop_first();
        }
    }

    /// Loses patience where nearly nothing comes: smoothing would take seconds to notice, and as long to forgive.
    fn look_for_collapse(&mut self, missed: u64, sent: u64) {
        self.recent.push_back((missed, sent));
        let sums =
            |recent: &VecDeque<(u64, u64)>| recent.iter().fold((0, 0), |(m, s), (n, t)| (m + n, s + t));
        while let Some((_, oldest)) = self.recent.front()
            && sums(&self.recent).1 - oldest >= COLLAPSE_PARTS
        {
            self.recent.pop_front();
        }
        let (missed, sent) = sums(&self.recent);
        let share = missed as f64 / sent as f64;
        if sent >= COLLAPSE_PARTS && share > COLLAPSE {
            (self.collapsed, self.loss) = (true, self.loss.max(share));
        } else if self.collapsed && share < COLLAPSE_OVER {
            (self.collapsed, self.loss) = (false, share);
        }
    }

    /// Returns the share of fragments that do not come by multicast, smoothed.
    pub(crate) fn loss(&self) -> f64 {
        self.loss
    }

    /// Returns the path that beacons were heard on last, and the source.
    pub(crate) fn heard(&self) -> Option<(PathId, IpAddr)> {
        self.heard.map(|(path, source, _)| (path, source))
    }

    /// Forgets a path that is over.
    pub(crate) fn drop_path(&mut self, path: PathId) {
        self.heard = self.heard.filter(|(heard, ..)| *heard != path);
    }

    /// Takes note of another viewer's report.
    pub(crate) fn handle_other(&mut self, now: Now) {
        let (since, running, _) = self.others;
        self.others = if now.since(since) >= REPORT_PERIOD {
            (now, 1, running)
        } else {
            (since, running + 1, self.others.2)
        };
    }

    /// Returns when the next report is due.
    pub(crate) fn next_timeout(&self) -> Option<Now> {
        self.report_at
    }

    /// Makes the report that is due. `received` and `lost` are the stream's counters, `chance` spreads the next one,
    /// `hurried` is whether pulls come too late.
    pub(crate) fn report(
        &mut self,
        now: Now,
        beacon_ms: u64,
        (received, lost): (u64, u64),
        (chance, hurried): (u64, bool),
    ) -> Report {
        let others = self.others.1.max(self.others.2);
        let period = REPORT_PERIOD * u32::try_from(1 + others / REPORTS_PER_SECOND).unwrap_or(u32::MAX);
        let spread = Duration::from_millis(chance % 500);
        self.report_at = Some(now.after(period.min(2 * REPORT_PERIOD) * 3 / 4 + spread));
        let (received_before, lost_before) = self.told;
        self.told = (received, lost);
        let lost = lost.saturating_sub(lost_before);
        let counts = std::mem::take(&mut self.counts);
        Report {
            reporter: self.reporter,
            beacon_ms,
            source: self.heard.map(|(_, source, _)| source),
            hears: std::mem::take(&mut self.hears),
            hurried,
            received: counts.received,
            missed: counts.missed,
            due: received.saturating_sub(received_before) + lost,
            lost,
        }
    }
}

#[cfg(test)]
mod tests;
