//! One stream at one node: its window, its publisher's word, and the roles that this node has in it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::delivery::Unicast;
use super::publish::Source;
use super::receive::Via;
use super::step::Exchange;
use crate::catalogue::Catalogue;
use crate::clock::PublisherClock;
use crate::health;
use crate::ids::{BlockId, MediaTime, Now, PathId, PeerId, STRIPES, StreamHandle, StreamTag, Stripe};
use crate::playout::Playout;
use crate::schedule::{Pulls, RateMeter, Reception, Supply};
use crate::seal::{EpochKeys, Hashed, SignedRoots};
use crate::stats::StreamStats;
use crate::window::Window;
use crate::wire::{Beacon, FragmentView, HaveMap, Offer, StreamState};

/// Most fragments of one neighbour kept ahead of their header.
const ORPHANS_MAX: usize = 512;
/// Most of all: multicast senders can call themselves by many names.
const ORPHANS_TOTAL_MAX: usize = 4 * ORPHANS_MAX;
/// Longest time they are kept.
const ORPHAN_AGE_MAX: Duration = Duration::from_millis(100);
/// How far behind the newest beacon have-maps and headers are believed, in blocks a second of beacon age.
const AHEAD_BLOCKS: u64 = 1000;

/// A fragment that waits for its header.
#[derive(Clone, Debug)]
pub(super) struct Orphan {
    pub(super) view: FragmentView,
    pub(super) datagram: Hashed,
    pub(super) via: Via,
    at: Now,
}

/// Fragments ahead of their headers.
#[derive(Debug, Default)]
pub(super) struct Orphans(VecDeque<Orphan>);

impl Orphans {
    /// Takes a fragment; returns how many were dropped for it.
    pub(super) fn push(&mut self, now: Now, via: Via, view: FragmentView, datagram: Hashed) -> u64 {
        let before = self.0.len();
        self.0.retain(|orphan| now.since(orphan.at) <= ORPHAN_AGE_MAX);
        let same = |orphan: &Orphan| orphan.via.path == via.path && orphan.via.from == via.from;
        if self.0.iter().filter(|orphan| same(orphan)).count() >= ORPHANS_MAX {
            let oldest = self.0.iter().position(same);
            oldest.and_then(|at| self.0.remove(at));
        } else if self.0.len() >= ORPHANS_TOTAL_MAX {
            self.0.pop_front();
        }
        let dropped = before - self.0.len();
        self.0.push_back(Orphan { view, datagram, via, at: now });
        dropped as u64
    }

    /// Takes out the fragments of a block.
    pub(super) fn take(&mut self, block: BlockId) -> VecDeque<Orphan> {
        let (taken, rest) =
            std::mem::take(&mut self.0).into_iter().partition(|orphan| orphan.view.id.block == block);
        self.0 = rest;
        taken
    }
}

/// A supplier sends everything from the newest random-access point on, in order: what lies behind the last of it to
/// arrive is under way, not missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct CatchUp {
    pub(super) path: PathId,
    /// The newest block when it began, once that is known: what lies behind is pushed.
    pub(super) until: Option<BlockId>,
    pub(super) front: BlockId,
    pub(super) last: Now,
}

impl CatchUp {
    /// Silence after which the rest is asked for.
    const SILENCE_MAX: Duration = Duration::from_millis(60);

    /// Returns whether it is still under way.
    pub(super) fn runs(&self, now: Now, rtt: Duration) -> bool {
        now.since(self.last) < Self::SILENCE_MAX + rtt * 2
    }
}

/// The newest beacon.
#[derive(Clone, Debug)]
pub(super) struct LastBeacon {
    pub(super) beacon: Beacon,
    pub(super) datagram: Bytes,
    pub(super) received: Now,
}

/// This node's subscription to a stream.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) handle: StreamHandle,
    pub(super) delay: Duration,
    /// How much longer than that a lost fragment is waited for.
    pub(super) grown: Duration,
    /// Set once the window has a start.
    pub(super) playout: Option<Playout>,
    /// Proof that the publisher lives: the beacon that names this nonce.
    pub(super) nonce: u64,
    /// When that was drawn.
    pub(super) drawn: Now,
    pub(super) fresh: bool,
    pub(super) challenge_at: Now,
    pub(super) finished: bool,
}

/// A challenge on its way to the publisher.
#[derive(Clone, Debug)]
pub(super) struct Challenge {
    pub(super) at: Now,
    /// Who sent it, and so where its answer goes back.
    pub(super) paths: Vec<PathId>,
}

/// One stream at one node.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) keys: EpochKeys,
    pub(super) roots: SignedRoots,
    pub(super) offer: Offer,
    pub(super) catalogue: Catalogue,
    pub(super) window: Window,
    /// Whether the window has a start.
    pub(super) started: bool,
    pub(super) orphans: Orphans,
    pub(super) last_beacon: Option<LastBeacon>,
    pub(super) clock: PublisherClock,
    pub(super) exchange: Exchange,
    pub(super) source: Option<Source>,
    pub(super) subscriber: Option<Subscriber>,
    pub(super) pulls: Pulls,
    pub(super) supply: Supply,
    pub(super) supply_at: Now,
    /// Since when more of it is promised than the uplink bears, or when a push was taken back for that.
    pub(super) overloaded: Option<Now>,
    /// What comes by multicast.
    pub(super) reception: Reception,
    /// Whether the suppliers' pushes are suspended, since the stream comes by multicast.
    pub(super) parked: bool,
    pub(super) unicast: Unicast,
    /// How the newest fragment came, and its block.
    pub(super) newest_via: Option<(health::Via, BlockId)>,
    /// The run of older blocks that a supplier sends to a joiner.
    pub(super) catch_up: Option<CatchUp>,
    /// Stripes of blocks that had to be pulled whole and whose suppliers are to be judged.
    pub(super) missed: Vec<(Stripe, BlockId)>,
    /// When the next have-map is due; `None` until that is looked up again.
    pub(super) have_at: Option<Option<Now>>,
    /// When missing parts are looked through again.
    pub(super) pull_at: Option<Now>,
    /// Challenges of others that the publisher has yet to answer, by their nonces.
    pub(super) challenges: BTreeMap<u64, Challenge>,
    pub(super) stats: StreamStats,
    pub(super) last_fragment: Option<Now>,
    /// Payload bytes received or made in the running second, and the rate of the seconds before.
    pub(super) rate: RateMeter,
    /// The newest block that suppliers pushed, by stripe and priority: they push in order.
    pub(super) fronts: [[BlockId; 3]; STRIPES as usize],
    /// When an ended stream is not served any longer.
    pub(super) linger_until: Option<Now>,
    /// Until when it is served even when no neighbour lacks anything, for those who only hear multicast.
    pub(super) linger_from: Option<Now>,
}

impl Stream {
    pub(super) fn new(
        now: Now,
        keys: EpochKeys,
        (offer, catalogue): (Offer, Catalogue),
        window: Window,
        reporter: u64,
    ) -> Self {
        Self {
            keys,
            roots: SignedRoots::default(),
            offer,
            catalogue,
            window,
            started: false,
            orphans: Orphans::default(),
            last_beacon: None,
            clock: PublisherClock::default(),
            exchange: Exchange::default(),
            source: None,
            subscriber: None,
            pulls: Pulls::default(),
            supply: Supply::new(now),
            supply_at: now,
            overloaded: None,
            reception: Reception::new(now, reporter),
            parked: false,
            unicast: Unicast::default(),
            newest_via: None,
            catch_up: None,
            missed: Vec::new(),
            have_at: None,
            pull_at: None,
            challenges: BTreeMap::new(),
            stats: StreamStats::default(),
            last_fragment: None,
            rate: RateMeter::new(now),
            fronts: [[BlockId(0); 3]; STRIPES as usize],
            linger_until: None,
            linger_from: None,
        }
    }

    pub(super) fn tag(&self) -> StreamTag {
        self.keys.tag()
    }

    /// Counts what goes to a peer beside fragments.
    pub(super) fn count_control(&mut self, peer: PeerId, bytes: usize) {
        self.stats.control_bytes_to_peers += bytes as u64;
        if peer == self.publisher() {
            self.stats.control_bytes_to_server += bytes as u64;
        }
    }

    pub(super) fn playout(&self) -> Option<&Playout> {
        self.subscriber.as_ref()?.playout.as_ref()
    }

    pub(super) fn playout_mut(&mut self) -> Option<&mut Playout> {
        self.subscriber.as_mut()?.playout.as_mut()
    }

    pub(super) fn publisher(&self) -> PeerId {
        self.offer.publisher
    }

    /// Returns the newest of the publisher's rounds that can be known of: that of the newest beacon, and 2 s more.
    pub(super) fn round_max(&self) -> u64 {
        let newest = self.last_beacon.as_ref().map_or(0, |last| last.beacon.at.as_millis() as u64 + 2_000);
        newest / HaveMap::ROUND_MS
    }

    /// Returns the newest block that anybody may speak of: what the beacon vouches for, and what may have come since.
    pub(super) fn newest_max(&self, now: Now) -> BlockId {
        let Some(last) = &self.last_beacon else { return BlockId(u64::MAX - 1) };
        let since = now.since(last.received) + Duration::from_secs(2);
        BlockId(last.beacon.blocks.saturating_add(since.as_millis() as u64 * AHEAD_BLOCKS / 1000))
    }

    /// Returns what its blocks take on the wire without their parity, bytes per second with all headers, as its
    /// publisher measures; as long as that is not known, what its tracks nominally take.
    pub(super) fn wire_rate(&self) -> f64 {
        let told = match (&self.source, &self.last_beacon) {
            (Some(source), _) => source.wire_rate(),
            (None, last) => last.as_ref().map_or(0.0, |last| last.beacon.rate as f64),
        };
        let nominal = self.catalogue.tracks.iter().map(|track| f64::from(track.bitrate) / 8.0).sum();
        if told > 0.0 { told } else { nominal }
    }

    /// Returns the edge of what is known of the stream.
    pub(super) fn edge(&self) -> Edge {
        let beacon = self.last_beacon.as_ref().map(|last| &last.beacon);
        let rate = beacon.map_or(0.0, |beacon| beacon.blocks as f64 / beacon.at.as_secs_f64().max(1.0));
        Edge { end: self.window.end(), rate }
    }

    /// Returns whether a beacon tells another state than the newest one.
    pub(super) fn state_changed(&self, beacon: &Beacon) -> bool {
        self.last_beacon.as_ref().is_none_or(|last| last.beacon.state != beacon.state)
    }

    /// Takes out who waits for a beacon that names one of these nonces: it is answered at once, and by the beacons that
    /// go to everybody if that was lost.
    pub(super) fn take_challengers(&mut self, nonces: &[u64]) -> Vec<PathId> {
        let challenges = nonces.iter().filter_map(|nonce| self.challenges.remove(nonce));
        challenges.flat_map(|challenge| challenge.paths).collect()
    }

    /// Returns when it may be time to end the lingering.
    pub(super) fn linger_at(&self) -> Option<Now> {
        self.linger_until.into_iter().chain(self.linger_from).min()
    }

    /// Returns the last block of a stream that ended.
    pub(super) fn ended_at(&self) -> Option<u64> {
        let beacon = &self.last_beacon.as_ref()?.beacon;
        if beacon.state == StreamState::Ended { Some(beacon.blocks) } else { None }
    }

    /// Returns the first block that this node still has a use for.
    pub(super) fn wanted_from(&self) -> BlockId {
        self.playout().map_or(self.window.first(), Playout::next).max(self.window.first())
    }

    /// Returns media time between the newest block and the last access unit delivered.
    pub(super) fn distance_to_live_edge(&self) -> Duration {
        let newest = self.window.newest().and_then(|block| self.window.slot(block)?.header());
        let newest = newest.map_or(MediaTime::default(), |header| header.header().media_time);
        let last = self.playout().map_or(newest, Playout::last_media);
        Duration::from_micros(newest.0.saturating_sub(last.0).max(0) as u64)
    }
}

/// The first block that nothing is known of, and how many are made a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    end: BlockId,
    rate: f64,
}

impl Edge {
    /// Returns the first block that nothing is known of when so much time has passed.
    pub(super) fn after(self, time: Duration) -> BlockId {
        BlockId(self.end.0.saturating_add((time.as_secs_f64() * self.rate).ceil() as u64 + 1))
    }
}
