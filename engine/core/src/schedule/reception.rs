//! What a viewer receives by multicast and by pushes: its share of the stream, and the reports that tell the publisher.

use std::net::IpAddr;
use std::time::Duration;

use super::arrivals::{Arrivals, Counts};
use crate::ids::{BlockId, Now, PathId};
use crate::window::Window;
use crate::wire::{BlockHeader, Report};

/// Time between two reports; spread by a quarter either way.
const REPORT_PERIOD: Duration = Duration::from_secs(1);
/// Reports a second that all viewers together send to one group; more viewers report more seldom.
const REPORTS_PER_SECOND: u64 = 40;
/// First report: as soon as beacons are heard, spread so that viewers that start together do not all speak at once.
const FIRST_REPORT: Duration = Duration::from_millis(50);
/// Beacons in a row that prove, without a session, that a publisher lives.
const PROOF: u32 = 3;

/// Reception of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Reception {
    reporter: u64,
    /// Path and source of the beacons heard last.
    heard: Option<(PathId, IpAddr, Now)>,
    /// When the newest of them was made.
    beacon_at: Option<Duration>,
    /// What comes by multicast.
    media: Arrivals,
    /// What is pushed by neighbours.
    pushes: Arrivals,
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
            media: Arrivals::default(),
            pushes: Arrivals::default(),
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
        self.media.handle_parts(now, block, word);
    }

    /// Takes note of data and headers that were pushed, or that came twice and so were not pulled alone.
    pub(crate) fn handle_pushed(&mut self, now: Now, block: BlockId, word: u64) {
        self.pushes.handle_parts(now, block, word);
    }

    /// Takes note of a gap whose cause is known: this process did not take what came, or the group had to be joined
    /// again. What is missing until now was not lost on the way.
    pub(crate) fn break_run(&mut self) {
        self.media.break_run();
        self.pushes.break_run();
    }

    /// Takes note that nothing is pushed for now, or what is older first.
    pub(crate) fn break_pushes(&mut self) {
        self.pushes.break_run();
    }

    /// Settles the blocks that must have come.
    pub(crate) fn judge(&mut self, now: Now, window: &Window) {
        self.media.judge(now, window, BlockHeader::full_word);
        self.pushes.judge(now, window, BlockHeader::data_word);
    }

    /// Returns the share of fragments that do not come by multicast, smoothed.
    pub(crate) fn loss(&self) -> f64 {
        self.media.loss()
    }

    /// Returns the share of data and headers that should be pushed and are not, smoothed.
    pub(crate) fn push_loss(&self) -> f64 {
        self.pushes.loss()
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
        let (media, pushes) = (self.media.take_counts(), self.pushes.take_counts());
        let pushed = media == Counts::default() && pushes != media;
        let counts = if pushed { pushes } else { media };
        Report {
            reporter: self.reporter,
            beacon_ms,
            source: self.heard.map(|(_, source, _)| source),
            hears: std::mem::take(&mut self.hears),
            hurried,
            pushed,
            received: counts.received,
            missed: counts.missed,
            due: received.saturating_sub(received_before) + lost,
            lost,
        }
    }
}

#[cfg(test)]
mod tests;
