//! All hosts' access lines and the links between them, with cuts and byte counters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::dice::Dice;
use crate::link::{Link, LinkModel, RateModel, Shaper};

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
    cut: bool,
}

/// The network under all sessions.
#[derive(Debug)]
pub(crate) struct Network {
    default_link: LinkModel,
    overhead_bytes: usize,
    hosts: Vec<Access>,
    links: BTreeMap<(HostId, HostId), Link>,
    cut_pairs: BTreeSet<(HostId, HostId)>,
    traffic: BTreeMap<(HostId, HostId), Traffic>,
}

impl Network {
    pub(crate) fn new(default_link: LinkModel, overhead_bytes: usize) -> Self {
        Self {
            default_link,
            overhead_bytes,
            hosts: Vec::new(),
            links: BTreeMap::new(),
            cut_pairs: BTreeSet::new(),
            traffic: BTreeMap::new(),
        }
    }

    /// Adds a host; they are numbered in order from 0.
    pub(crate) fn add_host(&mut self, up: RateModel, down: RateModel) -> HostId {
        self.hosts.push(Access { up: Shaper::new(up), down: Shaper::new(down), cut: false });
        HostId(u32::try_from(self.hosts.len() - 1).unwrap_or(u32::MAX))
    }

    /// Sets both directions between two hosts.
    pub(crate) fn set_link(&mut self, a: HostId, b: HostId, model: LinkModel) {
        for way in [(a, b), (b, a)] {
            self.links.entry(way).or_insert_with(|| Link::new(model)).model = model;
        }
    }

    /// Cuts a host off, or plugs it in again.
    pub(crate) fn set_cut(&mut self, host: HostId, cut: bool) {
        self.hosts[host.0 as usize].cut = cut;
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

    pub(crate) fn reachable(&self, a: HostId, b: HostId) -> bool {
        !self.hosts[a.0 as usize].cut
            && !self.hosts[b.0 as usize].cut
            && !self.cut_pairs.contains(&(a.min(b), a.max(b)))
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
        let reachable = self.reachable(way.0, way.1);
        let plugged = !self.hosts[way.0.0 as usize].cut;
        let departs = if plugged { self.hosts[way.0.0 as usize].up.pass(at, wire_bytes) } else { None };
        let latency = self.latency(way) + self.latency((way.1, way.0));
        let traffic = self.traffic.entry(way).or_default();
        match load {
            Load::Datagram => traffic.datagram_bytes += bytes as u64,
            Load::Control => traffic.control_bytes += bytes as u64,
        }
        let mut arrivals = [None, None];
        let mut round_trip = latency;
        if let Some(departs) = departs {
            traffic.packets += 1;
            traffic.wire_bytes += wire_bytes as u64;
            if reachable {
                let default_link = self.default_link;
                let link = self.links.entry(way).or_insert_with(|| Link::new(default_link));
                arrivals = link.carry(dice, departs);
            }
            let there = arrivals[0].map_or(departs + latency, |arrival| arrival + latency / 2);
            round_trip = there.saturating_sub(at);
        }
        if arrivals[0].is_none() {
            traffic.dropped += 1;
        }
        Transit { arrivals, round_trip }
    }

    /// Returns when a packet that reached the receiver's access line at `at` is in, `None` when it is dropped.
    pub(crate) fn receive(&mut self, at: Duration, way: (HostId, HostId), bytes: usize) -> Option<Duration> {
        let shaper = &mut self.hosts[way.1.0 as usize].down;
        let done = shaper.pass(at, bytes + self.overhead_bytes);
        if done.is_none() {
            self.traffic.entry(way).or_default().dropped += 1;
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

    pub(crate) fn traffic(&self) -> &BTreeMap<(HostId, HostId), Traffic> {
        &self.traffic
    }

    /// Returns everything that a host sent.
    pub(crate) fn sent_by(&self, host: HostId) -> Traffic {
        let mut sum = Traffic::default();
        let ways = (host, HostId(0))..=(host, HostId(u32::MAX));
        self.traffic.range(ways).for_each(|(_, traffic)| sum.add(traffic));
        sum
    }

    fn latency(&self, way: (HostId, HostId)) -> Duration {
        self.links.get(&way).map_or(self.default_link.latency, |link| link.model.latency)
    }
}
