//! What comes of the blocks of one stream by one way, and what does not.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ids::{BlockId, Now};
use crate::window::{Slot, Window};
use crate::wire::{BlockHeader, Want};

/// Age at which a block must have come, reordering and a repeated header included.
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

/// Parts received and missed since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) missed: u64,
}

/// What comes by multicast, or is pushed: which parts of which blocks, and the share of loss.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrivals {
    last: Option<Now>,
    /// What came of the blocks from `judged` on.
    words: BTreeMap<BlockId, u64>,
    /// Blocks before it are settled; `None` without a run of media.
    judged: Option<BlockId>,
    /// Newest block of which something came: silence is the path's, what is missing before it is loss.
    newest: BlockId,
    counts: Counts,
    loss: f64,
    /// Parts missed and sent of the last blocks that were settled.
    recent: VecDeque<(u64, u64)>,
    collapsed: bool,
}

impl Arrivals {
    /// Takes note of parts of a block that came, new or not.
    pub(crate) fn handle_parts(&mut self, now: Now, block: BlockId, word: u64) {
        if self.last.is_none_or(|at| now.since(at) > RUN_BREAK) {
            // The block that a run begins with may have been cut off by its beginning.
            self.judged = Some(block.next());
            self.newest = block;
            self.words.clear();
            // What was lost before the silence says nothing of what comes behind it.
            (self.loss, self.collapsed) = (0.0, false);
            self.recent.clear();
        }
        self.last = Some(now);
        self.newest = self.newest.max(block);
        self.counts.received += u64::from(word.count_ones());
        if self.judged.is_some_and(|judged| block >= judged) && self.words.len() < BLOCKS_MAX {
            *self.words.entry(block).or_default() |= word;
        }
    }

    /// Takes note of a gap whose cause is known: this process did not take what came, or the group had to be joined
    /// again. What is missing until now was not lost on the way.
    pub(crate) fn break_run(&mut self) {
        self.last = None;
        self.judged = None;
    }

    /// Settles the blocks that must have come; `sent` tells which shards of one were sent.
    pub(crate) fn judge(&mut self, now: Now, window: &Window, sent: fn(&BlockHeader) -> u64) {
        let Some(mut block) = self.judged else { return };
        if self.last.is_none_or(|at| now.since(at) > RUN_BREAK) {
            self.judged = None;
            return;
        }
        block = block.max(window.first());
        let due = |slot: &&Slot| now.since(slot.evident()) > GRACE;
        while let Some(slot) = window.slot(block).filter(due).filter(|_| block < self.newest) {
            let Some(header) = slot.header() else { break };
            let sent = sent(header.header()) | Want::HEADER;
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

    /// Returns the share of parts that do not come, smoothed.
    pub(crate) fn loss(&self) -> f64 {
        self.loss
    }

    /// Takes the counts.
    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collapse_is_seen_within_24_parts_and_forgiven_as_soon() {
        let mut arrivals = Arrivals::default();
        (0..20).for_each(|_| arrivals.look_for_collapse(2, 6));
        assert_eq!((arrivals.collapsed, arrivals.loss()), (false, 0.0), "a third is no collapse");
        (0..4).for_each(|_| arrivals.look_for_collapse(5, 6));
        assert!(arrivals.collapsed && arrivals.loss() > 0.8, "{}", arrivals.loss());
        (0..5).for_each(|_| arrivals.look_for_collapse(0, 6));
        assert!(!arrivals.collapsed && arrivals.loss() < COLLAPSE_OVER, "{}", arrivals.loss());
    }
}
