//! A host of the world: a process, its clock, its paths and what waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{ChannelId, Now, PathId, PeerId, StreamHandle, StreamKey};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::node::{Announcement, Input};

use super::agenda::{Agenda, Happening};
use crate::clock::HostClock;
use crate::dice::Dice;
use crate::hostile::Script;
use crate::line::Line;
use crate::link::RateModel;
use crate::network::HostId;
use crate::oracle::{Breach, Evidence, HostOracle, SubscriptionOracle};
use crate::process::Process;
use crate::session::{End, SessionId};
use crate::trace::Trace;
use crate::workload::Source;

/// Breaches that wait for the world to take them; a broken node would fill the memory otherwise.
const BREACHES_MAX: usize = 64;

/// How a host is set up.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// What leaves it.
    pub up: RateModel,
    /// What reaches it.
    pub down: RateModel,
    /// Its access line adds to the delay of each link, one way, a time drawn from the first to the second.
    pub latency: (Duration, Duration),
    /// Its clock; drawn within the world's limits when `None`.
    pub clock: Option<HostClock>,
    /// Whether discovery reaches it.
    pub discovery: bool,
    /// Number of its LAN; multicast and discovery go no further.
    pub lan: u32,
    /// Whether a NAT keeps others from dialling it; it may dial, and sessions go both ways.
    pub behind_nat: bool,
    /// Peers that its user named.
    pub peers: Vec<HostId>,
    /// Most bytes of a stream's window; the core's default when `None`.
    pub window_bytes_max: Option<usize>,
    /// Most sessions; the core's default when `None`.
    pub neighbours_max: Option<usize>,
    /// Whether its node is told what `up` carries.
    pub up_told: bool,
    /// What it does to others; `None` for an honest member.
    pub hostile: Option<Script>,
}

impl Default for HostConfig {
    /// An honest host on a switched Gigabit LAN, whose downlink is never the bottleneck.
    fn default() -> Self {
        Self {
            up: RateModel::limited(1_000_000_000),
            down: RateModel::UNLIMITED,
            latency: (Duration::ZERO, Duration::ZERO),
            clock: None,
            discovery: true,
            lan: 0,
            behind_nat: false,
            peers: Vec::new(),
            window_bytes_max: None,
            neighbours_max: None,
            up_told: false,
            hostile: None,
        }
    }
}

/// Whether a host's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Running,
    /// Stopped by SIGSTOP since then.
    Paused(Duration),
    /// Killed, or left.
    Gone,
}

/// What the others may know of a host; it changes only while all hosts stand still.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) peer: PeerId,
    pub(crate) condition: Condition,
    pub(crate) discovery: bool,
    pub(crate) is_hostile: bool,
    pub(crate) announced: Option<Announcement>,
    /// When its cable was last cut or joined.
    pub(crate) cable_at: Option<Duration>,
    /// When its process was stopped.
    pub(crate) pauses: Vec<(Duration, Duration)>,
}

impl Standing {
    pub(crate) fn is_running(&self) -> bool {
        self.condition == Condition::Running
    }
}

/// One host at work: all that it changes by itself, so that hosts can run side by side.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    /// True time of what happens to it, and how far it may go on by itself: nothing happens to it any more before that.
    pub(crate) now: Duration,
    pub(crate) reach: Duration,
    pub(crate) dice: Dice,
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) trace: Trace,
    /// Rules that it broke, and when.
    pub(crate) breaches: Vec<(Duration, Breach)>,
    /// What is to happen to other hosts.
    pub(crate) letters: Vec<Letter>,
    /// What only the world can do.
    pub(crate) errands: Vec<(Duration, Errand)>,
    pub(crate) clock: HostClock,
    pub(crate) process: Box<dyn Process>,
    pub(crate) behind_nat: bool,
    pub(crate) line: Line,
    pub(crate) sessions: BTreeMap<SessionId, End>,
    pub(crate) paths: BTreeMap<PathId, SessionId>,
    pub(crate) dialled: u32,
    /// Multicast paths that wait for credit.
    pub(crate) multicast_waits: BTreeSet<PathId>,
    /// Whether its interface has lost its carrier.
    pub(crate) unplugged: bool,
    next_path: u32,
    /// When its process wants to be woken, on its own clock and in true time.
    pub(crate) wake: Option<(Now, Duration)>,
    pub(crate) backlog: Backlog,
    pub(crate) source: Option<Broadcast>,
    /// When its process began, and when it ended.
    pub(crate) lived: (Duration, Option<Duration>),
    pub(crate) oracle: HostOracle,
    pub(crate) subscriptions: Vec<SubscriptionOracle>,
    pub(crate) publications: Vec<StreamHandle>,
    /// When it was last cut, paused or joined again: oracles on completeness wait for a while then.
    pub(crate) disturbed_at: Option<Duration>,
    /// What its process got.
    pub(crate) evidence: Evidence,
    pub(crate) inputs: u64,
}

/// Something that is to happen to another host.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) at: Duration,
    pub(crate) from: HostId,
    pub(crate) to: HostId,
    pub(crate) happening: Happening,
}

/// Something that a host asks of the world, which does it when all hosts stand still.
#[derive(Debug)]
pub(crate) enum Errand {
    Announce(Announcement),
    /// Its stream has a key now.
    Published(StreamKey),
    /// It sent a datagram of its own stream.
    Vouch(Bytes),
    OpenMulticast(ChannelId, Vec<MulticastGroup>),
    RejoinMulticast(PathId),
    CloseMulticast(ChannelId),
    /// A multicast datagram has left.
    Multicast {
        departs: Duration,
        path: PathId,
        datagram: Bytes,
        hops: u8,
    },
    /// Something is to go through the lines between LANs.
    Send(Dispatch),
}

/// What a session sends.
#[derive(Debug)]
pub(crate) enum Dispatch {
    Handshake { session: SessionId, flight: u8, tries: u32 },
    Datagram { session: SessionId, datagram: Bytes, hops: u8 },
    Control { session: SessionId, number: u64, message: Bytes, packets: usize, tries: u32 },
}

/// A publication and the source that feeds it.
#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) handle: StreamHandle,
    pub(crate) source: Source,
    /// The publisher's own clock when the stream began.
    pub(crate) began: Now,
}

impl Broadcast {
    /// Returns when the next unit is due on the publisher's clock.
    pub(crate) fn due(&self) -> Now {
        self.began.after(self.source.next_at())
    }
}

/// A host's parts that are fixed at its making.
#[derive(Debug)]
pub(crate) struct HostParts {
    pub(crate) id: HostId,
    pub(crate) dice: Dice,
    pub(crate) clock: HostClock,
    pub(crate) process: Box<dyn Process>,
    pub(crate) behind_nat: bool,
    pub(crate) line: Line,
    pub(crate) oracle: HostOracle,
    pub(crate) began: Duration,
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Self {
        Self {
            id: parts.id,
            now: parts.began,
            reach: parts.began,
            dice: parts.dice,
            agenda: Agenda::default(),
            trace: Trace::default(),
            breaches: Vec::new(),
            letters: Vec::new(),
            errands: Vec::new(),
            clock: parts.clock,
            process: parts.process,
            behind_nat: parts.behind_nat,
            line: parts.line,
            sessions: BTreeMap::new(),
            paths: BTreeMap::new(),
            dialled: 0,
            multicast_waits: BTreeSet::new(),
            unplugged: false,
            next_path: 1,
            wake: None,
            backlog: Backlog::default(),
            source: None,
            lived: (parts.began, None),
            oracle: parts.oracle,
            subscriptions: Vec::new(),
            publications: Vec::new(),
            disturbed_at: None,
            evidence: Evidence::default(),
            inputs: 0,
        }
    }

    /// Returns when something happens to it next by itself.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        let wakes = self.wake.map(|(_, fires)| fires);
        [self.agenda.next_at(), wakes].into_iter().flatten().min()
    }

    /// Returns a path number that was never used.
    pub(crate) fn new_path(&mut self) -> PathId {
        let path = PathId(self.next_path);
        self.next_path += 1;
        path
    }

    pub(crate) fn report(&mut self, verdict: Result<(), Breach>) {
        if let (Err(breach), true) = (verdict, self.breaches.len() < BREACHES_MAX) {
            self.breaches.push((self.now, breach));
        }
    }
}

/// Returns the address of a host.
pub(crate) fn address_of(host: HostId) -> SocketAddr {
    let [_, b, c, d] = host.0.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, b, c, d), 4_500))
}

/// Returns the host with that address.
pub(crate) fn host_at(address: IpAddr) -> Option<HostId> {
    let IpAddr::V4(address) = address else { return None };
    let [_, b, c, d] = address.octets();
    Some(HostId(u32::from_be_bytes([0, b, c, d])))
}

/// What waits for a process that does not read.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    inputs: VecDeque<(Input, u8)>,
    datagram_bytes: usize,
    overflowed: u64,
}

impl Backlog {
    /// Keeps an input; a datagram that finds the receive buffer full is lost.
    pub(crate) fn keep(&mut self, input: Input, hops: u8, buffer_bytes: usize) {
        if let Input::Datagram { datagram, .. } | Input::Multicast { datagram, .. } = &input {
            if self.datagram_bytes + datagram.len() > buffer_bytes {
                self.overflowed += 1;
                return;
            }
            self.datagram_bytes += datagram.len();
        }
        self.inputs.push_back((input, hops));
    }

    /// Returns what waited, behind word of what found no room.
    pub(crate) fn drain(&mut self) -> VecDeque<(Input, u8)> {
        let mut waited = std::mem::take(self);
        if waited.overflowed > 0 {
            waited.inputs.push_front((Input::Overflow { datagrams: waited.overflowed }, 0));
        }
        waited.inputs
    }
}
