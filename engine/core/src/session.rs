//! The session: state with one neighbour, and what that neighbour says of each stream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::few::Few;
use crate::ids::{BlockId, Now, PathId, PeerId, STRIPES, StreamTag, Stripe};
use crate::node::PathSample;
use crate::playout::CATCH_UP_GRACE;
use crate::schedule::{Distance, Lead, Outbox, Pace, comes_too_late};
use crate::window::WINDOW_BLOCKS_MAX;
use crate::wire::{DATAGRAM_BYTES_MAX, HaveMap, StripeMask, WANTS_MAX, Want};

/// Forgeries after which a neighbour is shunned: an honest one verifies before it forwards, so it sends none.
pub(crate) const STRIKES_MAX: u32 = 16;

/// State with one neighbour.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) path: PathId,
    pub(crate) peer: PeerId,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) opened: Now,
    /// Whether the neighbour proved that it belongs to the group.
    pub(crate) greeted: bool,
    pub(crate) datagram_bytes_max: usize,
    pub(crate) sample: PathSample,
    pub(crate) outbox: Outbox,
    pub(crate) pace: Pace,
    /// When the pace lets the next datagram go, while some wait for it.
    pub(crate) paced_until: Option<Now>,
    /// Whether it was asked for media since the last input, and had none to send.
    pub(crate) had_turn: bool,
    pub(crate) strikes: u32,
    pub(crate) streams: Few<StreamTag, Remote>,
}

impl Session {
    pub(crate) fn new(
        now: Now,
        path: PathId,
        peer: PeerId,
        remote: Option<SocketAddr>,
        datagram: usize,
    ) -> Self {
        Self {
            path,
            peer,
            remote,
            opened: now,
            greeted: false,
            datagram_bytes_max: datagram.max(DATAGRAM_BYTES_MAX),
            sample: PathSample::default(),
            outbox: Outbox::default(),
            pace: Pace::new(now),
            paced_until: None,
            had_turn: false,
            strikes: 0,
            streams: Few::default(),
        }
    }

    /// Returns whether all of some stream is pushed to it as the publisher's guest.
    pub(crate) fn is_guest(&self) -> bool {
        self.streams.values().any(|remote| remote.unicast)
    }

    /// Returns the smoothed round-trip time, 1 ms before the first sample.
    pub(crate) fn rtt(&self) -> Duration {
        if self.sample.rtt.is_zero() { Duration::from_millis(1) } else { self.sample.rtt }
    }
}

/// What a neighbour said of one stream, and what is pushed to it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// Whether it carries the stream.
    pub(crate) offers: bool,
    /// Stripes pushed to it.
    pub(crate) consumes: StripeMask,
    /// The blocks of each that are, the last one not included.
    spans: [(BlockId, BlockId); STRIPES as usize],
    /// Whether pushes are suspended, since it has the stream by multicast.
    pub(crate) parked: bool,
    /// Whether it has all stripes from here as the publisher's guest, beyond the share of the mesh.
    pub(crate) unicast: bool,
    /// Age past which it has no use for a fragment.
    patience: Duration,
    /// Until when it draws level with the stream, and waits longer.
    joining_until: Now,
    /// How far from the publisher it is, by stripe.
    pub(crate) distances: [Distance; STRIPES as usize],
    /// Stripes of which it would push one more, as it told.
    pub(crate) gives: StripeMask,
    pub(crate) leads: [Lead; STRIPES as usize],
    /// When its newest have-map came.
    heard: Now,
    /// Time of the newest beacon that it has, in ms since the epoch began.
    pub(crate) beacon_ms: u64,
    /// Whether it has all it wants of a stream that ended.
    pub(crate) finished: bool,
    /// Whether it looks for proof that the publisher lives, as a joiner does.
    pub(crate) challenged: bool,
    /// Whether it asked for something that this node lacks: the next have-map goes out at once.
    pub(crate) open_want: bool,
    pub(crate) have_at: Now,
    /// When it asked for something last, or came.
    asked: Now,
    /// Promises that it did not keep of late.
    pub(crate) failures: u32,
    oldest: BlockId,
    base: BlockId,
    words: BTreeMap<BlockId, u64>,
    refused: BTreeMap<BlockId, u64>,
}

impl Remote {
    const WHOLE: (BlockId, BlockId) = (BlockId(0), BlockId(u64::MAX));

    pub(crate) fn new(now: Now) -> Self {
        Self {
            offers: false,
            consumes: StripeMask::default(),
            spans: [Self::WHOLE; STRIPES as usize],
            parked: false,
            unicast: false,
            patience: Duration::from_secs(2),
            joining_until: now,
            distances: [Distance::NONE; STRIPES as usize],
            gives: StripeMask::ALL,
            leads: [Lead::default(); STRIPES as usize],
            heard: now,
            beacon_ms: 0,
            finished: false,
            challenged: false,
            open_want: false,
            have_at: now,
            asked: now,
            failures: 0,
            oldest: BlockId(u64::MAX),
            base: BlockId(0),
            words: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Returns what stays of it when this node leaves the stream: whether and how far from the publisher the neighbour
    /// carries it.
    pub(crate) fn renewed(&self, now: Now) -> Self {
        Self { offers: self.offers, distances: self.distances, ..Self::new(now) }
    }

    /// Takes the playout delay of a subscriber, 50 ms to 60 s, and whether it has yet to draw level. One that has the
    /// stream by multicast says so behind.
    pub(crate) fn handle_subscriber(&mut self, now: Now, delay_ms: u32, joins: bool) {
        self.parked = false;
        self.patience = Duration::from_millis(u64::from(delay_ms.clamp(50, 60_000)));
        if joins {
            self.joining_until = now.after(CATCH_UP_GRACE);
        }
    }

    /// Takes note that it asks for something.
    pub(crate) fn handle_pull(&mut self, now: Now) {
        self.asked = now;
    }

    /// Returns when it asked for something last, or came.
    pub(crate) fn asked(&self) -> Now {
        self.asked
    }

    /// Returns the age past which it has no use for a fragment.
    pub(crate) fn patience(&self, now: Now) -> Duration {
        self.patience + self.joining_until.since(now)
    }

    /// Returns whether what it loses comes too late when it is pulled over a path of that round-trip time.
    pub(crate) fn is_hurried(&self, rtt: Duration) -> bool {
        comes_too_late(self.patience, Duration::ZERO, rtt)
    }

    /// Takes a have-map. Nothing behind `newest_max` and `round_max`, what a beacon vouches for and 2 s more, is
    /// believed.
    pub(crate) fn handle_have(&mut self, now: Now, map: &HaveMap, (newest_max, round_max): (BlockId, u64)) {
        self.heard = now;
        self.gives = map.gives;
        let round = (map.beacon_ms / HaveMap::ROUND_MS).min(round_max);
        self.distances = std::array::from_fn(|at| Distance {
            round: round.saturating_sub(u64::from(map.ages[at])),
            depth: map.depths[at],
        });
        self.beacon_ms = self.beacon_ms.max(map.beacon_ms);
        self.oldest = map.oldest;
        self.base = self.base.max(map.base.min(newest_max.next()));
        for (at, byte) in map.complete.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                self.note(BlockId(map.base.0.saturating_add(at as u64 * 8 + bit)), u64::MAX, newest_max);
            }
        }
        for (offset, word) in &map.partial {
            self.note(BlockId(map.base.0.saturating_add(u64::from(*offset))), *word, newest_max);
        }
        let base = self.base;
        self.words.retain(|block, _| *block >= base);
    }

    /// Returns when its newest have-map came.
    pub(crate) fn heard(&self) -> Now {
        self.heard
    }

    /// Takes note that it is the publisher.
    pub(crate) fn be_publisher(&mut self) {
        self.distances.iter_mut().for_each(|distance| distance.depth = 0);
    }

    /// Returns the fewest hops to the publisher that it has on a stripe.
    pub(crate) fn depth(&self) -> u8 {
        self.distances.iter().map(|distance| distance.depth).min().unwrap_or(HaveMap::NO_DEPTH)
    }

    /// Takes note that another neighbour pushed a block's header only now, if this one told that it had it.
    pub(crate) fn handle_push_elsewhere(&mut self, now: Now, block: BlockId, stripe: Stripe) {
        if self.offers && self.holds(block) & Want::HEADER != 0 {
            self.leads[usize::from(stripe.0)].note(now, now.since(self.heard));
        }
    }

    /// Takes note that it holds parts of a block.
    pub(crate) fn note(&mut self, block: BlockId, word: u64, newest_max: BlockId) {
        if block >= self.base && block <= newest_max && self.words.len() < WINDOW_BLOCKS_MAX {
            *self.words.entry(block).or_default() |= word;
        }
    }

    /// Takes note that it lacks parts of a block after all. What it says of blocks from `end` on, which nobody asked it
    /// for, is not kept.
    pub(crate) fn handle_nack(&mut self, want: Want, end: BlockId) {
        if want.block < self.base {
            self.refuse(want);
        } else if let Some(word) = self.words.get_mut(&want.block) {
            *word &= !want.word;
        } else if want.block < end && self.words.len() < WINDOW_BLOCKS_MAX {
            self.words.insert(want.block, 0);
        }
    }

    /// Takes note that it will not send parts of a block.
    pub(crate) fn refuse(&mut self, want: Want) {
        if self.refused.len() >= 16 * WANTS_MAX {
            self.refused.pop_first();
        }
        *self.refused.entry(want.block).or_default() |= want.word;
    }

    /// Returns whether it shed something of a block.
    pub(crate) fn has_refused(&self, block: BlockId) -> bool {
        self.refused.contains_key(&block)
    }

    /// Returns which parts of a block it holds and would send.
    pub(crate) fn holds(&self, block: BlockId) -> u64 {
        let word = if block < self.oldest {
            0
        } else if block < self.base {
            u64::MAX
        } else {
            self.words.get(&block).copied().unwrap_or(0)
        };
        word & !self.refused.get(&block).copied().unwrap_or(0)
    }

    /// Returns the newest block of which it holds something.
    pub(crate) fn newest(&self) -> Option<BlockId> {
        let before = self.base.0.checked_sub(1).map(BlockId);
        self.words.iter().rev().find(|(_, word)| **word != 0).map(|(block, _)| *block).max(before)
    }

    /// Returns whether nothing is known of a block: it is newer than all that the neighbour spoke of.
    pub(crate) fn is_silent_on(&self, block: BlockId) -> bool {
        block >= self.base && self.words.last_key_value().is_none_or(|(newest, _)| *newest < block)
    }

    /// Forgets blocks before `block`.
    pub(crate) fn forget_before(&mut self, block: BlockId) {
        self.refused.retain(|refused, _| *refused >= block);
        self.words.retain(|known, _| *known >= block);
    }

    /// Returns whether it takes pushes.
    pub(crate) fn is_pushed(&self) -> bool {
        !self.consumes.is_empty() && !self.parked
    }

    /// Returns whether it takes pushes of a block on a stripe.
    pub(crate) fn takes(&self, stripe: Stripe, block: BlockId) -> bool {
        let (from, until) = self.spans[usize::from(stripe.0)];
        self.consumes.has(stripe) && from <= block && block < until && !self.parked
    }

    /// Pushes a stripe to it from a block on; one that it had until some block goes on.
    pub(crate) fn push_from(&mut self, stripe: Stripe, from: BlockId) {
        let had = self.consumes.has(stripe).then_some(self.spans[usize::from(stripe.0)].0);
        self.spans[usize::from(stripe.0)] = (had.map_or(from, |had| had.min(from)), BlockId(u64::MAX));
        self.consumes = self.consumes.with(stripe);
    }

    /// Pushes all stripes to it.
    pub(crate) fn push_all(&mut self) {
        (self.consumes, self.spans) = (StripeMask::ALL, [Self::WHOLE; STRIPES as usize]);
    }

    /// Pushes stripes to it up to a block, which is not included, unless they end before.
    pub(crate) fn push_until(&mut self, stripes: StripeMask, until: BlockId) {
        for stripe in stripes.iter() {
            let span = &mut self.spans[usize::from(stripe.0)];
            span.1 = span.1.min(until);
        }
    }

    /// Returns the stripes that are pushed to it without an end.
    pub(crate) fn stays(&self) -> StripeMask {
        let endless = |stripe: &Stripe| self.spans[usize::from(stripe.0)].1 == BlockId(u64::MAX);
        self.consumes.iter().filter(endless).fold(StripeMask::default(), StripeMask::with)
    }

    /// Forgets stripes whose last block lies before `block`: nothing of them is pushed any longer.
    pub(crate) fn end_pushes(&mut self, block: BlockId) {
        let over = |stripe: &Stripe| self.spans[usize::from(stripe.0)].1 <= block;
        let over = self.consumes.iter().filter(over).fold(StripeMask::default(), StripeMask::with);
        self.consumes = self.consumes.without(over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRIPE: Stripe = Stripe(3);
    const ONE: StripeMask = StripeMask(1 << 3);

    fn pushed(remote: &Remote) -> Vec<u64> {
        (0..100).filter(|block| remote.takes(STRIPE, BlockId(*block))).collect()
    }

    #[test]
    fn a_stripe_is_pushed_from_one_block_until_another() {
        let mut remote = Remote::new(Now(0));
        remote.push_from(STRIPE, BlockId(40));
        assert!(!remote.takes(Stripe(4), BlockId(50)));
        assert_eq!((pushed(&remote), remote.stays()), ((40..100).collect(), ONE));
        remote.push_until(ONE, BlockId(60));
        assert_eq!((pushed(&remote), remote.stays()), ((40..60).collect(), StripeMask::default()));
        remote.push_until(ONE, BlockId(70));
        assert_eq!(pushed(&remote).last(), Some(&59), "it does not end later for being ended again");
        remote.end_pushes(BlockId(59));
        assert_eq!(remote.consumes, ONE);
        remote.push_from(STRIPE, BlockId(60));
        assert_eq!(pushed(&remote), (40..100).collect::<Vec<_>>(), "what it had goes on");
        remote.push_until(ONE, BlockId(70));
        remote.end_pushes(BlockId(70));
        assert_eq!(remote.consumes, StripeMask::default());
        remote.push_from(STRIPE, BlockId(80));
        assert_eq!(pushed(&remote), (80..100).collect::<Vec<_>>());
        remote.push_all();
        assert_eq!((pushed(&remote).len(), remote.stays()), (100, StripeMask::ALL));
    }

    #[test]
    fn who_told_of_a_block_before_it_was_pushed_elsewhere_is_ahead() {
        let mut remote = Remote { offers: true, ..Remote::new(Now(0)) };
        let map = HaveMap { base: BlockId(8), ..HaveMap::default() };
        remote.handle_have(Now(1_000), &map, (BlockId(9), 0));
        remote.handle_push_elsewhere(Now(31_000), BlockId(9), STRIPE);
        assert_eq!(remote.leads[3], Lead::default(), "it did not tell of that one");
        remote.handle_push_elsewhere(Now(31_000), BlockId(7), STRIPE);
        let mut lead = Lead::default();
        lead.note(Now(31_000), Duration::from_millis(30));
        assert_eq!((remote.leads[3], remote.leads[4]), (lead, Lead::default()));
    }
}
