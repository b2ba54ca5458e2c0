//! All hosts' access lines and the links between them, with cuts and byte counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use swarmcast_core::ids::PathId;

use crate::dice::Dice;
use crate::lan::{Copies, Lan};
use crate::link::{Link, LinkModel, RateModel, Shaper};

/// Header bytes of a multicast packet: Ethernet, IP, UDP.
const MULTICAST_OVERHEAD_BYTES: usize = 14 + 20 + 8;

/// Most bytes that a socket takes at once: one GSO run.
const MULTICAST_RUN_BYTES: usize = 64 << 10;

/// Number of a host: one machine with one process, its own clock and its own access line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub u32);

impl std::fmt::Display for HostId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "h{}", self.0)
    }
}

/// What went from one host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of datagrams that the sender's process handed over.
    pub datagram_bytes: u64,
    /// Bytes of the sessions' reliable streams, retransmissions included.
    pub control_bytes: u64,
    /// Bytes on the sender's wire, with all headers.
    pub wire_bytes: u64,
    /// Packets on the sender's wire.
    pub packets: u64,
    /// Packets that the network lost or a full queue dropped.
    pub dropped: u64,
}

impl Traffic {
    /// Adds the figures of another link.
    pub fn add(&mut self, other: &Self) {
        self.datagram_bytes += other.datagram_bytes;
        self.control_bytes += other.control_bytes;
        self.wire_bytes += other.wire_bytes;
        self.packets += other.packets;
        self.dropped += other.dropped;
    }
}

/// Between whom sessions are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Any two hosts.
    All,
    /// These two.
    Pair(HostId, HostId),
    /// Any two hosts of which neither is this one.
    Others(HostId),
}

impl Between {
    fn is(self, a: HostId, b: HostId) -> bool {
        match self {
            Self::All => true,
            Self::Pair(c, d) => (a, b) == (c, d) || (a, b) == (d, c),
            Self::Others(apart) => a != apart && b != apart,
        }
    }
}

/// What a firewall between two hosts does; multicast passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// Nothing.
    Open,
    /// It drops UDP: sessions are dead, a probe by TCP is answered.
    Udp,
    /// It drops UDP and TCP.
    Closed,
}

/// What a packet carries, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Datagram,
    Control,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transit {
    /// When its copies reach the receiver's access line.
    pub(crate) arrivals: [Option<Duration>; 2],
    /// What a round trip that begins with this packet takes, the receiver's own queue apart.
    pub(crate) round_trip: Duration,
}

#[derive(Debug)]
struct Access {
    up: Shaper,
    down: Shaper,
    /// What the line adds to the delay of each link, one way.
    latency: Duration,
    /// Number of the LAN that it leads to.
    lan: u32,
    cut: bool,
    /// To each host that something was sent to.
    wires: BTreeMap<HostId, Wire>,
}

/// One way between two hosts.
#[derive(Debug)]
struct Wire {
    link: Link,
    traffic: Traffic,
}

/// What joins LANs: each has one line to the others, which all of its hosts share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Each way.
    pub rate: RateModel,
    /// What each of the two lines adds to the delay, one way.
    pub latency: Duration,
}

impl Default for Trunk {
    /// A line that is never the bottleneck.
    fn default() -> Self {
        Self { rate: RateModel::UNLIMITED, latency: Duration::ZERO }
    }
}

/// The network under all sessions.
#[derive(Debug)]
pub(crate) struct Network {
    default_link: LinkModel,
    overhead_bytes: usize,
    hosts: Vec<Access>,
    /// Links that are not the default.
    own_links: BTreeMap<(HostId, HostId), LinkModel>,
    cut_pairs: BTreeSet<(HostId, HostId)>,
    firewalls: Vec<(Between, Firewall)>,
    pub(crate) lan: Lan,
    trunk: Trunk,
    /// Out of and into each LAN.
    trunks: BTreeMap<u32, [Shaper; 2]>,
}

impl Network {
    pub(crate) fn new(default_link: LinkModel, multicast: LinkModel, overhead_bytes: usize) -> Self {
        Self {
            default_link,
            overhead_bytes,
            hosts: Vec::new(),
            own_links: BTreeMap::new(),
            cut_pairs: BTreeSet::new(),
            firewalls: Vec::new(),
            lan: Lan::new(multicast),
            trunk: Trunk::default(),
            trunks: BTreeMap::new(),
        }
    }

    /// Joins LANs by such lines.
    pub(crate) fn set_trunk(&mut self, trunk: Trunk) {
        self.trunk = trunk;
    }

    /// Adds a host to a LAN; hosts are numbered in order from 0.
    pub(crate) fn add_host(&mut self, up: RateModel, down: RateModel, latency: Duration, lan: u32) -> HostId {
        let (up, down, wires) = (Shaper::new(up), Shaper::new(down), BTreeMap::new());
        self.hosts.push(Access { up, down, latency, lan, cut: false, wires });
        HostId(u32::try_from(self.hosts.len() - 1).unwrap_or(u32::MAX))
    }

    /// Sets both directions between two hosts.
    pub(crate) fn set_link(&mut self, a: HostId, b: HostId, model: LinkModel) {
        for way in [(a, b), (b, a)] {
            self.own_links.insert(way, model);
            self.wire(way).link.model = model;
        }
    }

    /// Cuts a host off, or plugs it in again.
    pub(crate) fn set_cut(&mut self, host: HostId, cut: bool) {
        self.hosts[host.0 as usize].cut = cut;
    }

    pub(crate) fn is_cut(&self, host: HostId) -> bool {
        self.hosts[host.0 as usize].cut
    }

    /// Cuts two hosts off from each other, or joins them again.
    pub(crate) fn set_pair_cut(&mut self, a: HostId, b: HostId, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if cut {
            self.cut_pairs.insert(pair);
        } else {
            self.cut_pairs.remove(&pair);
        }
    }

    /// Changes what a firewall does.
    pub(crate) fn set_firewall(&mut self, between: Between, firewall: Firewall) {
        self.firewalls.retain(|(of, _)| *of != between);
        self.firewalls.push((between, firewall));
    }

    /// Returns whether there is a cable all the way.
    pub(crate) fn reachable(&self, a: HostId, b: HostId) -> bool {
        !self.hosts[a.0 as usize].cut
            && !self.hosts[b.0 as usize].cut
            && !self.cut_pairs.contains(&(a.min(b), a.max(b)))
    }

    /// Returns whether two hosts are on one LAN: multicast and discovery go no further.
    pub(crate) fn is_one_lan(&self, a: HostId, b: HostId) -> bool {
        self.hosts[a.0 as usize].lan == self.hosts[b.0 as usize].lan
    }

    /// Passes a packet through the lines between two LANs, `None` when one of their queues is full.
    fn pass_trunks(&mut self, at: Duration, way: (HostId, HostId), wire_bytes: usize) -> Option<Duration> {
        if self.is_one_lan(way.0, way.1) {
            return Some(at);
        }
        let [from, to] = [way.0, way.1].map(|host| self.hosts[host.0 as usize].lan);
        let out = self.trunk_of(from)[0].pass(at, wire_bytes)?;
        self.trunk_of(to)[1].pass(out, wire_bytes)
    }

    fn trunk_of(&mut self, lan: u32) -> &mut [Shaper; 2] {
        let rate = self.trunk.rate;
        self.trunks.entry(lan).or_insert_with(|| [Shaper::new(rate), Shaper::new(rate)])
    }

    /// Returns whether packets of a session pass between two hosts.
    pub(crate) fn connects(&self, a: HostId, b: HostId) -> bool {
        self.reachable(a, b) && !self.is_barred(a, b, |firewall| firewall != Firewall::Open)
    }

    /// Returns whether a probe by TCP passes between two hosts.
    pub(crate) fn probes(&self, a: HostId, b: HostId) -> bool {
        self.reachable(a, b) && !self.is_barred(a, b, |firewall| firewall == Firewall::Closed)
    }

    fn is_barred(&self, a: HostId, b: HostId, by: impl Fn(Firewall) -> bool) -> bool {
        self.firewalls.iter().any(|(between, firewall)| between.is(a, b) && by(*firewall))
    }

    /// Sends one packet with `bytes` of load.
    pub(crate) fn transmit(
        &mut self,
        dice: &mut Dice,
        at: Duration,
        way: (HostId, HostId),
        load: Load,
        bytes: usize,
    ) -> Transit {
        let wire_bytes = bytes + self.overhead_bytes;
        let reachable = self.connects(way.0, way.1);
        let plugged = !self.hosts[way.0.0 as usize].cut;
        let departs = if plugged { self.hosts[way.0.0 as usize].up.pass(at, wire_bytes) } else { None };
        let latency = self.latency(way) + self.latency((way.1, way.0));
        let lines = self.lines(way);
        let mut sent = Traffic::default();
        match load {
            Load::Datagram => sent.datagram_bytes = bytes as u64,
            Load::Control => sent.control_bytes = bytes as u64,
        }
        let mut arrivals = [None, None];
        let mut round_trip = latency;
        if let Some(departs) = departs {
            (sent.packets, sent.wire_bytes) = (1, wire_bytes as u64);
            let crossed = if reachable { self.pass_trunks(departs, way, wire_bytes) } else { None };
            if let Some(crossed) = crossed {
                arrivals = self.wire(way).link.carry(dice, crossed + lines);
            }
            let there = arrivals[0].map_or(departs + latency, |arrival| arrival + latency / 2);
            round_trip = there.saturating_sub(at);
        }
        sent.dropped = u64::from(arrivals[0].is_none());
        self.wire(way).traffic.add(&sent);
        Transit { arrivals, round_trip }
    }

    /// Sends one multicast datagram: once over the sender's access line, then to each member on its own.
    pub(crate) fn multicast(
        &mut self,
        dice: &mut Dice,
        at: Duration,
        from: (HostId, IpAddr, PathId),
        bytes: usize,
    ) -> Vec<Copies> {
        let host = &mut self.hosts[from.0.0 as usize];
        let wire_bytes = bytes + MULTICAST_OVERHEAD_BYTES;
        let departs = if host.cut { None } else { host.up.pass(at, wire_bytes) };
        self.lan.count(from.0, bytes, departs.map(|_| wire_bytes));
        let Some(departs) = departs else { return Vec::new() };
        let (hosts, cut_pairs) = (&self.hosts, &self.cut_pairs);
        let lan = hosts[from.0.0 as usize].lan;
        let reaches = |to: HostId| {
            let line = &hosts[to.0 as usize];
            line.lan == lan && !line.cut && !cut_pairs.contains(&(to.min(from.0), to.max(from.0)))
        };
        let mut copies = self.lan.carry(dice, departs, from, bytes, reaches);
        for copy in &mut copies {
            let lines = self.lines((from.0, copy.host));
            copy.arrivals.iter_mut().flatten().for_each(|arrival| *arrival += lines);
        }
        copies
    }

    /// Returns how many bytes a multicast socket takes at `at`, and when it takes more: half of the queue is left to
    /// headers and to sessions.
    pub(crate) fn multicast_credit(&self, at: Duration, host: HostId) -> (usize, Duration) {
        let up = &self.hosts[host.0 as usize].up;
        ((up.room_bytes(at) / 2).min(MULTICAST_RUN_BYTES), at + up.backlog(at) / 2)
    }

    /// Returns when a multicast packet that reached the receiver's access line is in, `None` when it is dropped.
    pub(crate) fn receive_multicast(
        &mut self,
        at: Duration,
        way: (HostId, HostId),
        bytes: usize,
    ) -> Option<Duration> {
        self.hosts[way.1.0 as usize].down.pass(at, bytes + MULTICAST_OVERHEAD_BYTES)
    }

    /// Returns when a packet that reached the receiver's access line at `at` is in, `None` when it is dropped.
    pub(crate) fn receive(&mut self, at: Duration, way: (HostId, HostId), bytes: usize) -> Option<Duration> {
        let shaper = &mut self.hosts[way.1.0 as usize].down;
        let done = shaper.pass(at, bytes + self.overhead_bytes);
        if done.is_none() {
            self.wire(way).traffic.dropped += 1;
        }
        done
    }

    pub(crate) fn has_downlink_limit(&self, host: HostId) -> bool {
        !self.hosts[host.0 as usize].down.is_unlimited()
    }

    /// Returns the smallest round-trip time between two hosts.
    pub(crate) fn round_trip_min(&self, a: HostId, b: HostId) -> Duration {
        self.latency((a, b)) + self.latency((b, a))
    }

    pub(crate) fn traffic(&self) -> BTreeMap<(HostId, HostId), Traffic> {
        let hosts = (0..).map(HostId).zip(&self.hosts);
        hosts
            .flat_map(|(from, host)| host.wires.iter().map(move |(to, wire)| ((from, *to), wire.traffic)))
            .collect()
    }

    /// Returns everything that a host sent, multicast included.
    pub(crate) fn sent_by(&self, host: HostId) -> Traffic {
        let mut sum = self.lan.sent_by(host);
        self.hosts[host.0 as usize].wires.values().for_each(|wire| sum.add(&wire.traffic));
        sum
    }

    fn latency(&self, way: (HostId, HostId)) -> Duration {
        let own = if self.own_links.is_empty() { None } else { self.own_links.get(&way) };
        own.unwrap_or(&self.default_link).latency + self.lines(way)
    }

    fn wire(&mut self, (from, to): (HostId, HostId)) -> &mut Wire {
        let model = *self.own_links.get(&(from, to)).unwrap_or(&self.default_link);
        let wires = &mut self.hosts[from.0 as usize].wires;
        wires.entry(to).or_insert_with(|| Wire { link: Link::new(model), traffic: Traffic::default() })
    }

    /// Returns what both hosts' access lines add, and those between their LANs.
    fn lines(&self, way: (HostId, HostId)) -> Duration {
        let trunks = if self.is_one_lan(way.0, way.1) { Duration::ZERO } else { self.trunk.latency * 2 };
        self.hosts[way.0.0 as usize].latency + self.hosts[way.1.0 as usize].latency + trunks
    }
}
