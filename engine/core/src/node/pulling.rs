//! Asking for what is missing: when, and whom.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Node;
use super::stream::Stream;
use crate::few::Few;
use crate::ids::{BlockId, Now, PathId, STRIPES, StreamTag};
use crate::schedule::{PullSource, comes_too_late};
use crate::seal::VerifiedHeader;
use crate::session::{Remote, Session};
use crate::window::Slot;
use crate::wire::{BlockHeader, Datagram, WANTS_MAX, Want};

/// Shortest time between two looks at what is missing.
const PULL_PERIOD: Duration = Duration::from_millis(4);
/// Time after which somebody is looked for again who holds what nobody was known to.
const SOURCE_PERIOD: Duration = Duration::from_millis(12);
/// Longest pause in the arrival of a random-access point: a push that began goes on, so the rest is lost. Behind a full
/// path a push may begin a quarter of a second late; waited for once more at its end, repair would come too late.
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// Time for which only peers are asked for what multicast did not bring: their have-maps tell of it within two
/// periods, and the publisher is spared.
const PEERS_FIRST: Duration = Duration::from_millis(80);
/// Share of the playout delay for which pushes are waited for where uploads are limited: they stand in queues there,
/// and what is asked for beside comes twice.
const LIMITED_SHARE: f64 = 0.4;
/// And the longest time for a block that may be on a stripe which nobody pushes.
const LIMITED_VACANT: Duration = Duration::from_millis(120);
/// Most blocks looked through at a time.
const HOLES_MAX: usize = 256;

impl Node {
    /// Asks for what is missing, the earliest first.
    pub(super) fn pull(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.pull_at = None;
        let rtt = |path| self.sessions.get(&path).map_or(PULL_PERIOD, Session::rtt);
        let catch_up = stream.catch_up.filter(|c| c.runs(now, rtt(c.path)));
        if catch_up.is_none() && stream.started {
            stream.catch_up = None;
        }
        let front = catch_up.map_or(BlockId(u64::MAX), |catch_up| catch_up.front);
        let limited = self.uplink.rate().is_some();
        let mut wants = BTreeMap::<PathId, Vec<Want>>::new();
        let mut next = None::<Now>;
        let mut look_again = |at: Now| next = Some(next.map_or(at, |next| next.min(at)));
        for (block, slot) in stream.window.holes(stream.wanted_from()).take(HOLES_MAX) {
            let (missing, due) = stream.missing(now, block, slot, limited);
            if block > front || due > now {
                look_again(due.max(now.after(PULL_PERIOD)));
                continue;
            }
            for path in stream.pulls.expire(now, block) {
                stream.stats.unkept += 1;
                let remote = self.sessions.get_mut(&path).and_then(|session| session.streams.get_mut(&tag));
                remote.into_iter().for_each(|remote| remote.failures = (remote.failures + 1).min(16));
            }
            let (wanted, retry_at) = stream.pulls.unasked(now, block, missing);
            retry_at.into_iter().for_each(&mut look_again);
            if wanted == 0 {
                continue;
            }
            let publisher = stream.offer.publisher;
            let spares = stream.parked && now.since(slot.touched()) < PEERS_FIRST;
            let sources = self.sessions.values().filter(|session| !(spares && session.peer == publisher));
            let presumes = stream.parked || limited;
            let sources = sources.filter_map(|s| pull_source(s, tag, block, (s.peer == publisher, presumes)));
            match stream.pulls.ask(now, block, (wanted, limited), sources) {
                None => look_again(now.after(SOURCE_PERIOD)),
                Some((path, word, retry_at)) => {
                    wants.entry(path).or_default().push(Want { block, word });
                    look_again(if word == wanted { retry_at } else { now.after(PULL_PERIOD) });
                }
            }
        }
        stream.pull_at = next.map(|at| at.max(now.after(PULL_PERIOD)));
        for (path, wants) in wants {
            let Some(session) = self.sessions.get_mut(&path) else { continue };
            for part in wants.chunks(WANTS_MAX) {
                let datagram = Datagram::encode_pull(tag, part);
                stream.count_control(session.peer, datagram.len());
                session.outbox.push_control(datagram.into());
            }
        }
    }
}

impl Stream {
    /// Returns whether what is lost comes too late when it is pulled and the first answer is lost as well.
    pub(super) fn is_hurried(&self, sessions: &Few<PathId, Session>) -> bool {
        let carries =
            |session: &&Session| session.streams.get(&self.tag()).is_some_and(|remote| remote.offers);
        let rtt = sessions.values().filter(carries).map(Session::rtt).min().unwrap_or_default();
        let delay = self.subscriber.as_ref().map_or(Duration::MAX, |subscriber| subscriber.delay);
        comes_too_late(delay, self.pulls.tolerance(), rtt)
    }

    /// Returns which parts of a block are missing, and when they are asked for.
    fn missing(&self, now: Now, block: BlockId, slot: &Slot, limited: bool) -> (u64, Now) {
        let due = slot.touched().after(self.patience(slot));
        if !limited {
            return (slot.missing(), due);
        }
        let delay = self.subscriber.as_ref().map_or(Duration::ZERO, |subscriber| subscriber.delay);
        let waiting = delay.mul_f64(LIMITED_SHARE);
        let Some(header) = slot.header().map(VerifiedHeader::header) else {
            let waiting = if self.supply.is_vacant() { waiting.min(LIMITED_VACANT) } else { waiting };
            let passed = self.fronts.iter().flatten().filter(|front| **front > block).count();
            let comes_no_more = passed >= usize::from(STRIPES);
            // Nothing of it came, so all is asked for at once.
            return (Want::BLOCK, if comes_no_more { due } else { due.max(slot.evident().after(waiting)) });
        };
        let supplied = self.supply.supplier(header.stripe).is_some();
        let until = slot.evident().after(if supplied { waiting } else { Duration::ZERO });
        let lost = self.lost(block, slot, header);
        match (lost, until > now) {
            (0, _) => (slot.missing(), due.max(until)),
            (lost, true) => (lost, due),
            (_, false) => (slot.missing(), due),
        }
    }

    /// Returns which parts of a block come no more by push, since what lay behind them came.
    fn lost(&self, block: BlockId, slot: &Slot, header: &BlockHeader) -> u64 {
        if self.fronts[usize::from(header.stripe.0)][header.priority as usize] > block {
            return slot.missing();
        }
        let held = slot.word() & header.data_word();
        let newest = 63_u32.saturating_sub(held.leading_zeros());
        slot.missing() & ((1 << newest) - 1)
    }

    /// Returns how long what is missing of a block is left to the push that should bring it.
    fn patience(&self, slot: &Slot) -> Duration {
        let tolerance = self.pulls.tolerance();
        match slot.header().map(VerifiedHeader::header) {
            None if self.supply.is_vacant() => PULL_PERIOD,
            Some(header) if header.random_access || header.continues => tolerance.min(PAUSE_MAX),
            _ => tolerance,
        }
    }

    /// Takes note that something may be missing, or that nothing is.
    pub(super) fn look_for_holes(&mut self, now: Now) {
        if self.window.base() >= self.window.end() {
            // Else the driver would wake once for every block, to find it complete.
            self.pull_at = None;
        } else if self.source.is_none() {
            let vacant = self.supply.is_vacant();
            let soon = if vacant { PULL_PERIOD } else { self.pulls.tolerance().min(PAUSE_MAX) };
            self.look_by(now.after(soon));
        }
    }

    /// Takes note that a neighbour does not send what it was asked for.
    pub(super) fn look_elsewhere(&mut self, now: Now) {
        if self.source.is_none() {
            self.look_by(now.after(PULL_PERIOD));
        }
    }

    fn look_by(&mut self, at: Now) {
        self.pull_at = Some(self.pull_at.map_or(at, |planned| planned.min(at)));
    }
}

/// Returns what a neighbour may be asked for. The publisher is taken to hold all, and with `presumes` so is everybody
/// that has not spoken of the block yet: of a stream by multicast most have it by the same way, and where uploads are
/// limited have-maps are rare.
fn pull_source(
    session: &Session,
    tag: StreamTag,
    block: BlockId,
    (publisher, presumes): (bool, bool),
) -> Option<PullSource> {
    let remote: &Remote = session.streams.get(&tag).filter(|_| session.greeted)?;
    let presumed = publisher || (presumes && remote.is_silent_on(block));
    let vouched = if presumed && !remote.has_refused(block) { u64::MAX } else { 0 };
    let holds = remote.holds(block) | vouched;
    Some(PullSource {
        path: session.path,
        holds,
        rtt: session.rtt(),
        failures: remote.failures / 4,
        publisher,
    })
}
