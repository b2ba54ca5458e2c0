//! Pulls: what was asked of whom, and whom to ask next.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{BlockId, Now, PathId, STRIPES, Stripe};
use crate::wire::Want;

/// Time to wait past 1.5 round trips before a second source is asked: a receiver's scheduling on a busy machine.
const RETRY_SLACK: Duration = Duration::from_millis(10);
/// Time one shard takes on a path of 10 Mbit/s, which is granted for all that was asked and is not yet there.
const SHARD_TIME: Duration = Duration::from_micros(800);
/// Most shards asked of one neighbour and not yet answered: 256 KiB. Headers, and with them blocks of one datagram,
/// are asked for all the same: sound does not wait for pictures.
const OUTSTANDING_MAX: u32 = 256;
/// Time for which who had no room to answer is asked behind others, or where uploads are limited not at all.
const BUSY: Duration = Duration::from_millis(200);
/// Time that an answer is granted besides where uploads are limited: what was promised goes before it.
const LIMITED_SLACK: Duration = Duration::from_millis(50);
/// Shortest wait for what should come by push: reordering and scheduling on a LAN.
const TOLERANCE_MIN: Duration = Duration::from_millis(12);
/// Longest wait for what should come by push.
const TOLERANCE_MAX: Duration = Duration::from_millis(250);
/// Time that a pull and its repetition take beside their round trips: until the loss is evident, and in queues.
const BESIDE: Duration = Duration::from_millis(60);

/// A neighbour that may be asked for parts of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullSource {
    pub(crate) path: PathId,
    /// Parts of the block that it holds.
    pub(crate) holds: u64,
    pub(crate) rtt: Duration,
    /// Promises of late that it did not keep.
    pub(crate) failures: u32,
    /// Whether it is the publisher, who is asked last.
    pub(crate) publisher: bool,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    path: PathId,
    word: u64,
    retry_at: Now,
}

/// Outstanding requests of one stream.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    requests: BTreeMap<BlockId, Vec<Request>>,
    outstanding: BTreeMap<PathId, u32>,
    /// Until when neighbours are spared that had no room.
    busy: BTreeMap<PathId, Now>,
    /// How much later than its first evidence a push comes, by stripe; decays by an eighth a block.
    lags: [Duration; STRIPES as usize],
}

/// Returns whether what is lost comes too late when it is pulled and the first answer is lost as well: whether so long
/// a playout delay is shorter than what is left to the push and three round trips.
pub(crate) fn comes_too_late(delay: Duration, tolerance: Duration, rtt: Duration) -> bool {
    delay < tolerance.max(TOLERANCE_MIN) + rtt * 3 + BESIDE
}

impl Pulls {
    /// Returns how long something evident is left to the push that should bring it.
    pub(crate) fn tolerance(&self) -> Duration {
        // Which stripe a block is on stands in its header, which is what is waited for.
        let slowest = self.lags.iter().max().copied().unwrap_or_default();
        (slowest * 3 / 2).clamp(TOLERANCE_MIN, TOLERANCE_MAX)
    }

    /// Takes note that a pushed block of a stripe came this long after it was evident.
    pub(crate) fn note_lag(&mut self, stripe: Stripe, lag: Duration) {
        let known = &mut self.lags[usize::from(stripe.0)];
        *known = lag.min(TOLERANCE_MAX).max(*known * 7 / 8);
    }

    /// Returns the parts of a block that nobody has been asked for in time, and when that changes.
    pub(crate) fn unasked(&self, now: Now, block: BlockId, missing: u64) -> (u64, Option<Now>) {
        let Some(requests) = self.requests.get(&block) else { return (missing, None) };
        let running = requests.iter().filter(|request| request.retry_at > now && request.word & missing != 0);
        let (mut rest, mut retry) = (missing, None::<Now>);
        for request in running {
            rest &= !request.word;
            retry = Some(retry.map_or(request.retry_at, |at| at.min(request.retry_at)));
        }
        (rest, retry)
    }

    /// Picks a source for parts of a block and takes note of the request: peers before the publisher, who was not
    /// asked for it before others, then who keeps promises and is near. Returns the path, what to ask of it, and when
    /// somebody else is to be asked, later where uploads are `limited`.
    pub(crate) fn ask(
        &mut self,
        now: Now,
        block: BlockId,
        (wanted, limited): (u64, bool),
        sources: impl Iterator<Item = PullSource>,
    ) -> Option<(PathId, u64, Now)> {
        let requests = self.requests.entry(block).or_default();
        let tries = |path: PathId| requests.iter().filter(|request| request.path == path).count();
        let free = |path: &PathId| {
            wanted & Want::HEADER != 0
                || self.outstanding.get(path).is_none_or(|count| *count < OUTSTANDING_MAX)
        };
        let is_busy = |path: PathId| self.busy.get(&path).is_some_and(|until| *until > now);
        // Where all uplinks are full, to ask again and again fills them with questions and refusals.
        let fit = |source: &PullSource| {
            source.holds & wanted != 0 && free(&source.path) && !(limited && is_busy(source.path))
        };
        let rank = |source: &PullSource| {
            let path = source.path;
            (tries(path), is_busy(path), source.failures, source.publisher, source.rtt, path)
        };
        let best = sources.filter(fit).min_by_key(rank)?;
        let word = best.holds & wanted;
        let waiting = self.outstanding.get(&best.path).copied().unwrap_or(0) + word.count_ones();
        let slack = if limited { LIMITED_SLACK } else { Duration::ZERO };
        let patience = best.rtt * 3 / 2 + RETRY_SLACK + SHARD_TIME * waiting + slack;
        if requests.len() >= 32 {
            requests.remove(0);
        }
        let retry_at = now.after(patience);
        requests.push(Request { path: best.path, word, retry_at });
        *self.outstanding.entry(best.path).or_default() += word.count_ones();
        Some((best.path, word, retry_at))
    }

    /// Returns whether parts of a block were asked for, and settles them as answered.
    pub(crate) fn settle(&mut self, block: BlockId, word: u64) -> bool {
        let Some(requests) = self.requests.get_mut(&block) else { return false };
        let mut asked = false;
        for request in requests.iter_mut().filter(|request| request.word & word != 0) {
            asked = true;
            release(&mut self.outstanding, request.path, (request.word & word).count_ones());
            request.word &= !word;
        }
        asked
    }

    /// Takes note of which parts a block has: what was asked for beside them does not exist.
    pub(crate) fn handle_header(&mut self, block: BlockId, data_word: u64) {
        for request in self.requests.get_mut(&block).into_iter().flatten() {
            let over = request.word & !(data_word | Want::HEADER);
            release(&mut self.outstanding, request.path, over.count_ones());
            request.word &= !over;
        }
    }

    /// Takes note that a neighbour has no room to answer.
    pub(crate) fn handle_busy(&mut self, now: Now, path: PathId) {
        self.busy.insert(path, now.after(BUSY));
    }

    /// Takes note that a neighbour does not answer for parts of a block: others are asked at once. Who has no header
    /// has nothing of it.
    pub(crate) fn refuse(&mut self, path: PathId, block: BlockId, word: u64) {
        let word = if word & Want::HEADER != 0 { Want::BLOCK } else { word };
        let requests = self.requests.get_mut(&block).into_iter().flatten();
        for request in requests.filter(|request| request.path == path) {
            release(&mut self.outstanding, path, (request.word & word).count_ones());
            request.word &= !word;
        }
    }

    /// Returns the neighbours whose time to answer for a block has passed, and frees what was asked of them.
    pub(crate) fn expire(&mut self, now: Now, block: BlockId) -> Vec<PathId> {
        let mut silent = Vec::new();
        for request in self.requests.get_mut(&block).into_iter().flatten() {
            if request.retry_at <= now && request.word != 0 {
                release(&mut self.outstanding, request.path, request.word.count_ones());
                request.word = 0;
                silent.push(request.path);
            }
        }
        silent
    }

    /// Forgets blocks before `block`.
    pub(crate) fn forget_before(&mut self, block: BlockId) {
        while let Some(entry) = self.requests.first_entry().filter(|entry| *entry.key() < block) {
            for request in entry.remove() {
                release(&mut self.outstanding, request.path, request.word.count_ones());
            }
        }
    }

    /// Forgets a neighbour that is gone.
    pub(crate) fn drop_path(&mut self, path: PathId) {
        self.outstanding.remove(&path);
        self.busy.remove(&path);
        self.requests.values_mut().for_each(|requests| requests.retain(|request| request.path != path));
    }
}

fn release(outstanding: &mut BTreeMap<PathId, u32>, path: PathId, count: u32) {
    if let Some(left) = outstanding.get_mut(&path) {
        *left = left.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockId = BlockId(4);

    fn source(path: u32) -> PullSource {
        let rtt = Duration::from_millis(20);
        PullSource { path: PathId(path), holds: u64::MAX, rtt, failures: 0, publisher: false }
    }

    #[test]
    fn who_has_no_header_has_nothing_of_a_block_and_others_are_asked_at_once() {
        let mut pulls = Pulls::default();
        let asked = pulls.ask(Now(0), BLOCK, (Want::BLOCK, true), [source(1)].into_iter()).unwrap();
        assert_eq!((asked.0, asked.1), (PathId(1), Want::BLOCK));
        assert_eq!(pulls.unasked(Now(1), BLOCK, Want::BLOCK).0, 0);
        pulls.refuse(PathId(1), BLOCK, Want::HEADER);
        assert_eq!(pulls.unasked(Now(1), BLOCK, Want::BLOCK), (Want::BLOCK, None));
        let next = pulls.ask(Now(1), BLOCK, (Want::BLOCK, true), [source(1), source(2)].into_iter());
        assert_eq!(next.unwrap().0, PathId(2));
    }

    #[test]
    fn parts_that_a_block_does_not_have_are_not_waited_for() {
        let mut pulls = Pulls::default();
        pulls.ask(Now(0), BLOCK, (Want::BLOCK, true), [source(1)].into_iter()).unwrap();
        pulls.handle_header(BLOCK, 0b111);
        assert_eq!(pulls.outstanding[&PathId(1)], 4);
        pulls.settle(BLOCK, 0b111 | Want::HEADER);
        assert_eq!((pulls.outstanding[&PathId(1)], pulls.expire(Now(9_000_000), BLOCK)), (0, Vec::new()));
    }

    #[test]
    fn who_had_no_room_is_asked_behind_others_or_not_at_all_for_a_while() {
        let first = |pulls: &mut Pulls, at: u64, limited: bool, paths: &[u32]| {
            let sources = paths.iter().map(|path| source(*path));
            pulls.ask(Now(at), BlockId(at), (1, limited), sources).map(|(path, ..)| path.0)
        };
        let mut pulls = Pulls::default();
        pulls.handle_busy(Now(0), PathId(1));
        assert_eq!(first(&mut pulls, 1, false, &[1, 2]), Some(2));
        assert_eq!(first(&mut pulls, 2, false, &[1]), Some(1));
        assert_eq!(first(&mut pulls, 3, true, &[1]), None, "where uploads are limited");
        assert_eq!(first(&mut pulls, 200_000, true, &[1, 2]), Some(1));
    }

    #[test]
    fn the_slowest_stripe_is_waited_for_whatever_the_others_bring() {
        let mut pulls = Pulls::default();
        assert_eq!(pulls.tolerance(), TOLERANCE_MIN);
        pulls.note_lag(Stripe(5), Duration::from_millis(80));
        (0..100).for_each(|_| pulls.note_lag(Stripe(1), Duration::ZERO));
        assert_eq!(pulls.tolerance(), Duration::from_millis(120));
        (0..30).for_each(|_| pulls.note_lag(Stripe(5), Duration::from_millis(1)));
        assert_eq!(pulls.tolerance(), TOLERANCE_MIN);
    }
}
