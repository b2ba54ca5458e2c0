//! A host of the world: a process, its clock, its paths and what waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use swarmcast_core::ids::{Now, PathId, PeerId, StreamHandle};
use swarmcast_core::node::{Announcement, Input};

use crate::clock::HostClock;
use crate::hostile::Script;
use crate::link::RateModel;
use crate::network::HostId;
use crate::oracle::{Evidence, HostOracle, SubscriptionOracle};
use crate::process::Process;
use crate::session::{SessionId, Side};
use crate::workload::Source;

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

/// One host at work.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    pub(crate) peer: PeerId,
    pub(crate) clock: HostClock,
    pub(crate) process: Box<dyn Process>,
    pub(crate) condition: Condition,
    pub(crate) discovery: bool,
    pub(crate) behind_nat: bool,
    pub(crate) is_hostile: bool,
    pub(crate) announced: Option<Announcement>,
    pub(crate) paths: BTreeMap<PathId, (SessionId, Side)>,
    /// Multicast paths that wait for credit.
    pub(crate) multicast_waits: BTreeSet<PathId>,
    /// Whether its interface has lost its carrier.
    pub(crate) unplugged: bool,
    next_path: u32,
    /// Number of the wake-up that counts, and when it is due on the host's clock.
    pub(crate) wake: (u64, Option<Now>),
    pub(crate) backlog: Backlog,
    pub(crate) source: Option<Broadcast>,
    /// When its process began, and when it ended.
    pub(crate) lived: (Duration, Option<Duration>),
    pub(crate) oracle: HostOracle,
    pub(crate) subscriptions: Vec<SubscriptionOracle>,
    pub(crate) publications: Vec<StreamHandle>,
    /// When it was last cut, paused or joined again: oracles on completeness wait for a while then.
    pub(crate) disturbed_at: Option<Duration>,
    /// When its cable was last cut or joined.
    pub(crate) cable_at: Option<Duration>,
    /// When its process was stopped.
    pub(crate) pauses: Vec<(Duration, Duration)>,
    /// What its process got.
    pub(crate) evidence: Evidence,
    pub(crate) inputs: u64,
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
    pub(crate) peer: PeerId,
    pub(crate) clock: HostClock,
    pub(crate) process: Box<dyn Process>,
    pub(crate) discovery: bool,
    pub(crate) behind_nat: bool,
    pub(crate) is_hostile: bool,
    pub(crate) oracle: HostOracle,
    pub(crate) began: Duration,
}

impl Host {
    pub(crate) fn new(parts: HostParts) -> Self {
        Self {
            id: parts.id,
            peer: parts.peer,
            clock: parts.clock,
            process: parts.process,
            condition: Condition::Running,
            discovery: parts.discovery,
            behind_nat: parts.behind_nat,
            is_hostile: parts.is_hostile,
            announced: None,
            paths: BTreeMap::new(),
            multicast_waits: BTreeSet::new(),
            unplugged: false,
            next_path: 1,
            wake: (0, None),
            backlog: Backlog::default(),
            source: None,
            lived: (parts.began, None),
            oracle: parts.oracle,
            subscriptions: Vec::new(),
            publications: Vec::new(),
            disturbed_at: None,
            cable_at: None,
            pauses: Vec::new(),
            evidence: Evidence::default(),
            inputs: 0,
        }
    }

    /// Returns a path number that was never used.
    pub(crate) fn new_path(&mut self) -> PathId {
        let path = PathId(self.next_path);
        self.next_path += 1;
        path
    }

    pub(crate) fn is_running(&self) -> bool {
        self.condition == Condition::Running
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let [_, b, c, d] = self.id.0.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(10, b, c, d), 4_500))
    }
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
    inputs: VecDeque<Input>,
    datagram_bytes: usize,
    overflowed: u64,
}

impl Backlog {
    /// Keeps an input; a datagram that finds the receive buffer full is lost.
    pub(crate) fn keep(&mut self, input: Input, buffer_bytes: usize) {
        if let Input::Datagram { datagram, .. } | Input::Multicast { datagram, .. } = &input {
            if self.datagram_bytes + datagram.len() > buffer_bytes {
                self.overflowed += 1;
                return;
            }
            self.datagram_bytes += datagram.len();
        }
        self.inputs.push_back(input);
    }

    /// Returns what waited, behind word of what found no room.
    pub(crate) fn drain(&mut self) -> VecDeque<Input> {
        let mut waited = std::mem::take(self);
        if waited.overflowed > 0 {
            waited.inputs.push_front(Input::Overflow { datagrams: waited.overflowed });
        }
        waited.inputs
    }
}
