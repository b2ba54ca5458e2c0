//! The truth that verdicts are held against: which genuine datagrams the world handed to a process, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use swarmcast_core::ids::{BlockId, FragmentId, StreamTag};
use swarmcast_core::wire::{Beacon, BlockHeader, Datagram, StreamState};

use crate::ledger::Run;

/// How long a block of a run is remembered from its first datagram on: the window's 8 s, twice.
const MEMORY: Duration = Duration::from_secs(16);

/// Blocks that are remembered of a run at most: so long at 250 a second.
const BLOCKS_MAX: usize = 4_096;

/// A fragment counts as useful only so long before its deadline: clocks drift, and a node may give up earlier.
const MARGIN: Duration = Duration::from_millis(150);

/// Hops that are told apart.
pub(crate) const HOPS_MAX: usize = 32;

/// Silence that ends a flow.
const FLOW_BREAK: Duration = Duration::from_millis(400);

/// What one process got, by run.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    runs: BTreeMap<StreamTag, Witness>,
}

/// What one process got of one run.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    blocks: BTreeMap<BlockId, Held>,
    /// The first block that is not forgotten. What comes of one before is of no use to anybody.
    first: BlockId,
    /// When the last fragment came that was of use beyond doubt.
    pub(crate) useful_at: Option<Duration>,
    /// Since when such fragments flow.
    pub(crate) flows_since: Option<Duration>,
    /// When the last fragment came that may have been of use.
    pub(crate) fresh_at: Option<Duration>,
    /// When the last fragment that could be verified came by multicast, of use or not.
    pub(crate) multicast_at: Option<Duration>,
    /// The newest beacon.
    pub(crate) beacon: Option<Word>,
    /// Fragments that came by multicast, and all that came.
    pub(crate) counts: (u64, u64),
    /// Blocks by the hops that their headers took, the last place for all that took more.
    pub(crate) hops: [u64; HOPS_MAX],
}

/// What a publisher said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// True time at which it was made.
    pub(crate) made_at: Duration,
    /// When the first copy of it came.
    pub(crate) heard_at: Duration,
    pub(crate) state: StreamState,
    /// Whether it multicasts media.
    pub(crate) multicasts: bool,
}

#[derive(Debug)]
struct Held {
    /// When the first datagram of it came.
    since: Duration,
    /// Hops that its header has taken from the publisher.
    hops: u8,
    word: u64,
    /// Data shards and the true time of the block's closing, once its header is there.
    header: Option<(u8, Duration)>,
}

impl Evidence {
    pub(crate) fn of(&self, run: &Run) -> Option<&Witness> {
        self.runs.get(&run.tag?)
    }

    /// Takes note of a genuine datagram of a run. What comes later than `playout_delay` is of no use; a header took
    /// `hops` from the publisher.
    pub(crate) fn saw(
        &mut self,
        at: Duration,
        run: &Run,
        datagram: &[u8],
        by_multicast: bool,
        playout_delay: Duration,
        hops: u8,
    ) {
        let Some(tag) = run.tag else { return };
        let witness = self.runs.entry(tag).or_default();
        let verifies = match Datagram::decode(datagram) {
            Ok(Datagram::Header) => witness.saw_header(at, run, datagram, (playout_delay, hops)),
            Ok(Datagram::Fragment(view)) => witness.saw_fragment(at, view.id, playout_delay),
            Ok(Datagram::Beacon) => return witness.saw_beacon(at, run, datagram),
            _ => return,
        };
        witness.counts.1 += 1;
        if by_multicast {
            witness.counts.0 += 1;
            witness.multicast_at = if verifies { Some(at) } else { witness.multicast_at };
        }
        witness.forget(at);
    }
}

impl Witness {
    /// Returns when the publisher was last known to have a reason to send nothing.
    pub(crate) fn excused_at(&self) -> Option<Duration> {
        self.beacon.filter(|word| word.state != StreamState::Live).map(|word| word.made_at)
    }

    /// Returns the hops that a block's header took to get here.
    pub(crate) fn hops_of(&self, block: BlockId) -> Option<u8> {
        self.blocks.get(&block).filter(|held| held.header.is_some()).map(|held| held.hops)
    }

    fn forget(&mut self, at: Duration) {
        while let Some((block, held)) = self.blocks.first_key_value()
            && (held.since + MEMORY < at || self.blocks.len() > BLOCKS_MAX)
        {
            self.first = block.next();
            self.blocks.pop_first();
        }
    }

    /// Returns what came of a block; `None` when that was forgotten.
    fn held(&mut self, at: Duration, block: BlockId) -> Option<&mut Held> {
        let new = || Held { since: at, hops: 0, word: 0, header: None };
        (block >= self.first).then(|| self.blocks.entry(block).or_insert_with(new))
    }

    fn saw_header(
        &mut self,
        at: Duration,
        run: &Run,
        datagram: &[u8],
        (playout_delay, hops): (Duration, u8),
    ) -> bool {
        let Ok((header, ..)) = BlockHeader::decode(datagram) else { return false };
        let Some(held) = self.held(at, header.block).filter(|held| held.header.is_none()) else {
            return true;
        };
        let closed_at = run.true_time(header.closed);
        held.header = Some((header.data, closed_at));
        held.hops = hops;
        let orphans = held.word != 0;
        held.word |= u64::from(header.is_inline());
        self.hops[usize::from(hops).min(HOPS_MAX - 1)] += 1;
        if header.is_inline() {
            self.use_of(at, at + MARGIN < closed_at + playout_delay);
        } else if orphans {
            self.use_of(at, false);
        }
        true
    }

    /// Returns whether it can be verified: its header is there.
    fn saw_fragment(&mut self, at: Duration, id: FragmentId, playout_delay: Duration) -> bool {
        let Some(held) = self.held(at, id.block) else { return true };
        let (bit, verifies) = (1 << id.index, held.header.is_some());
        if held.word & bit != 0 {
            return verifies;
        }
        let lacking = |data: u8| id.index < data && held.word.count_ones() < u32::from(data);
        let useful = held
            .header
            .is_some_and(|(data, closed_at)| lacking(data) && at + MARGIN < closed_at + playout_delay);
        held.word |= bit;
        self.use_of(at, useful);
        verifies
    }

    fn saw_beacon(&mut self, at: Duration, run: &Run, datagram: &[u8]) {
        let Ok((beacon, _)) = Beacon::decode(datagram) else { return };
        let made_at = run.true_time(beacon.at);
        if beacon.epoch == run.epoch && self.beacon.is_none_or(|word| word.made_at < made_at) {
            self.beacon =
                Some(Word { made_at, heard_at: at, state: beacon.state, multicasts: beacon.multicast });
        }
    }

    fn use_of(&mut self, at: Duration, surely: bool) {
        self.fresh_at = Some(at);
        if surely {
            if self.useful_at.is_none_or(|last| at > last + FLOW_BREAK) {
                self.flows_since = Some(at);
            }
            self.useful_at = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmcast_core::ids::{Epoch, MediaTime, Priority, StreamHandle, Stripe};
    use swarmcast_core::wire::encode_fragment;

    use super::*;
    use crate::clock::HostClock;
    use crate::ledger::Ledger;
    use crate::network::HostId;
    use crate::workload::Workload;

    const MS: Duration = Duration::from_millis(1);
    const DELAY: Duration = Duration::from_secs(1);
    const TAG: StreamTag = StreamTag([7; 4]);

    /// A run whose only block, of two data shards and one for parity, closed at 5 s.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let catalogue = Workload::television(1_000_000).catalogue();
        let began = (DELAY * 2, HostClock::default());
        ledger.open(HostId(0), StreamHandle(1), Epoch(1), catalogue, 1, began);
        ledger.run_of(HostId(0)).unwrap().tag = Some(TAG);
        ledger
    }

    fn header() -> Vec<u8> {
        let header = BlockHeader {
            block: BlockId(3),
            stripe: Stripe(0),
            priority: Priority::Reference,
            continues: false,
            random_access: false,
            data: 2,
            parity: 1,
            last_shard_bytes: 1_024,
            closed: DELAY * 3,
            media_time: MediaTime(0),
            leaves: vec![[0; 16]; 3],
        };
        signed(|out| header.encode(TAG, &[], out))
    }

    fn signed(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out.extend_from_slice(&[0; 64]);
        out
    }

    fn fragment(index: u8) -> Vec<u8> {
        let mut out = Vec::new();
        encode_fragment(TAG, FragmentId { block: BlockId(3), index }, &mut out);
        out.extend_from_slice(&[0; 1_024]);
        out
    }

    /// Returns when the last fragment of sure and of possible use came, in ms behind the block's closing.
    fn judged(arrivals: &[(u32, Vec<u8>)]) -> [Option<u128>; 2] {
        let (ledger, mut evidence) = (ledger(), Evidence::default());
        let run = &ledger.runs()[0];
        for (ms, datagram) in arrivals {
            evidence.saw(DELAY * 5 + MS * *ms, run, datagram, true, DELAY, 1);
        }
        let witness = evidence.of(run).unwrap();
        let behind = |at: Option<Duration>| at.map(|at| (at - DELAY * 5).as_millis());
        [behind(witness.useful_at), behind(witness.fresh_at)]
    }

    #[test]
    fn of_use_is_what_is_new_in_time_and_can_be_verified() {
        assert_eq!(judged(&[(1, header()), (2, fragment(0))]), [Some(2); 2]);
        assert_eq!(judged(&[(1, header()), (2, fragment(0)), (3, fragment(0))]), [Some(2); 2], "a copy");
        let orphan = [(1, fragment(0)), (2, header())];
        assert_eq!(judged(&orphan), [None, Some(2)]);
        let late = [(1, header()), (900, fragment(1))];
        assert_eq!(judged(&late), [None, Some(900)]);
        let parity = [(1, header()), (2, fragment(2)), (3, fragment(0)), (4, fragment(1))];
        assert_eq!(judged(&parity), [Some(3), Some(4)], "two of three are enough");
    }

    #[test]
    fn what_was_forgotten_is_of_no_use_to_anybody() {
        let (ledger, mut evidence) = (ledger(), Evidence::default());
        let run = &ledger.runs()[0];
        let mut held = |after: Duration, datagram: &[u8]| {
            evidence.saw(DELAY * 5 + after, run, datagram, false, DELAY, 1);
            let witness = evidence.of(run).unwrap();
            (witness.hops_of(BlockId(3)), witness.fresh_at.map(|at| at - DELAY * 5), witness.hops[1])
        };
        assert_eq!(held(MS, &header()), (Some(1), None, 1));
        assert_eq!(held(MS * 2, &fragment(0)), (Some(1), Some(MS * 2), 1));
        assert_eq!(held(MEMORY + MS * 2, &fragment(0)), (None, Some(MS * 2), 1));
        assert_eq!(held(MEMORY + MS * 3, &header()), (None, Some(MS * 2), 1), "replayed");
        assert_eq!(held(MEMORY + MS * 4, &fragment(1)), (None, Some(MS * 2), 1), "replayed");
    }

    #[test]
    fn the_newest_beacon_counts_however_late_it_comes() {
        let (ledger, mut evidence) = (ledger(), Evidence::default());
        let run = &ledger.runs()[0];
        let mut hear = |at_s, made_s, state| {
            let beacon = Beacon {
                epoch: Epoch(1),
                at: DELAY * made_s,
                wall: swarmcast_core::ids::WallClock(0),
                state,
                blocks: 4,
                random_access: None,
                rate: 0,
                multicast: false,
                full: false,
                nonces: Vec::new(),
            };
            let datagram = signed(|out| beacon.encode(TAG, out));
            evidence.saw(DELAY * at_s, run, &datagram, false, DELAY, 1);
            evidence.of(run).unwrap().excused_at()
        };
        assert_eq!(hear(5, 3, StreamState::Paused), Some(DELAY * 5));
        assert_eq!(hear(9, 5, StreamState::Live), None);
        assert_eq!(hear(10, 4, StreamState::Paused), None, "overtaken");
    }
}
