//! A host's access line, with what it sent to whom.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dice::Dice;
use crate::link::{Link, RateModel, Shaper};
use crate::network::{HostId, Network, Traffic, Trunks};

/// Header bytes of a multicast packet: Ethernet, IP, UDP.
const MULTICAST_OVERHEAD_BYTES: usize = 14 + 20 + 8;

/// Most bytes that a socket takes at once: one GSO run.
const MULTICAST_RUN_BYTES: usize = 64 << 10;

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

/// The access line of one host at work.
#[derive(Debug)]
pub(crate) struct Line {
    up: Shaper,
    down: Shaper,
    overhead_bytes: usize,
    /// To each host that something was sent to.
    wires: BTreeMap<HostId, Wire>,
    multicast: Traffic,
}

/// One way between two hosts.
#[derive(Debug)]
struct Wire {
    link: Link,
    traffic: Traffic,
}

impl Line {
    pub(crate) fn new(up: RateModel, down: RateModel, overhead_bytes: usize) -> Self {
        let (up, down) = (Shaper::new(up), Shaper::new(down));
        Self { up, down, overhead_bytes, wires: BTreeMap::new(), multicast: Traffic::default() }
    }

    /// Sends one packet with `bytes` of load; `trunks` are those between the two LANs, when they may be full.
    pub(crate) fn transmit(
        &mut self,
        (network, trunks, dice): (&Network, Option<&mut Trunks>, &mut Dice),
        at: Duration,
        way: (HostId, HostId),
        load: Load,
        bytes: usize,
    ) -> Transit {
        let wire_bytes = bytes + self.overhead_bytes;
        let departs = if network.is_cut(way.0) { None } else { self.up.pass(at, wire_bytes) };
        let latency = network.round_trip_min(way.0, way.1);
        let wire = self.wires.entry(way.1).or_insert_with(|| Wire::new(network, way));
        let mut sent = Traffic::default();
        match load {
            Load::Datagram => sent.datagram_bytes = bytes as u64,
            Load::Control => sent.control_bytes = bytes as u64,
        }
        let mut arrivals = [None, None];
        let mut round_trip = latency;
        if let Some(departs) = departs {
            (sent.packets, sent.wire_bytes) = (1, wire_bytes as u64);
            let crossed = match (network.trunks_between(way), trunks) {
                _ if !network.connects(way.0, way.1) => None,
                (Some(lans), Some(trunks)) => trunks.pass(departs, lans, wire_bytes),
                _ => Some(departs),
            };
            if let Some(crossed) = crossed {
                arrivals = wire.link.carry(dice, crossed + network.lines(way));
            }
            let there = arrivals[0].map_or(departs + latency, |arrival| arrival + latency / 2);
            round_trip = there.saturating_sub(at);
        }
        sent.dropped = u64::from(arrivals[0].is_none());
        wire.traffic.add(&sent);
        Transit { arrivals, round_trip }
    }

    /// Returns when a packet that reached this line at `at` is in, `None` when it is dropped.
    pub(crate) fn receive(&mut self, at: Duration, bytes: usize) -> Option<Duration> {
        self.down.pass(at, bytes + self.overhead_bytes)
    }

    /// Counts a packet that the receiver's line dropped.
    pub(crate) fn handle_drop(&mut self, to: HostId) {
        if let Some(wire) = self.wires.get_mut(&to) {
            wire.traffic.dropped += 1;
        }
    }

    /// Sends one multicast datagram; returns when it has left.
    pub(crate) fn multicast(&mut self, at: Duration, cut: bool, bytes: usize) -> Option<Duration> {
        let wire_bytes = bytes + MULTICAST_OVERHEAD_BYTES;
        let departs = if cut { None } else { self.up.pass(at, wire_bytes) };
        self.multicast.datagram_bytes += bytes as u64;
        match departs {
            Some(_) => {
                self.multicast.packets += 1;
                self.multicast.wire_bytes += wire_bytes as u64;
            }
            None => self.multicast.dropped += 1,
        }
        departs
    }

    /// Returns how many bytes a multicast socket takes at `at`, and when it takes more: half of the queue is left to
    /// headers and to sessions.
    pub(crate) fn multicast_credit(&self, at: Duration) -> (usize, Duration) {
        ((self.up.room_bytes(at) / 2).min(MULTICAST_RUN_BYTES), at + self.up.backlog(at) / 2)
    }

    /// Returns when a multicast packet that reached this line is in, `None` when it is dropped.
    pub(crate) fn receive_multicast(&mut self, at: Duration, bytes: usize) -> Option<Duration> {
        self.down.pass(at, bytes + MULTICAST_OVERHEAD_BYTES)
    }

    /// Changes the link to another host.
    pub(crate) fn set_link(&mut self, network: &Network, way: (HostId, HostId)) {
        if let Some(wire) = self.wires.get_mut(&way.1) {
            wire.link.model = *network.link(way);
        }
    }

    /// Returns what was sent to each host.
    pub(crate) fn traffic(&self) -> impl Iterator<Item = (HostId, Traffic)> {
        self.wires.iter().map(|(to, wire)| (*to, wire.traffic))
    }

    /// Returns what was multicast; what the network lost for some receivers is not told.
    pub(crate) fn multicast_traffic(&self) -> Traffic {
        self.multicast
    }

    /// Returns everything that was sent, multicast included.
    pub(crate) fn sent(&self) -> Traffic {
        let mut sum = self.multicast;
        self.wires.values().for_each(|wire| sum.add(&wire.traffic));
        sum
    }
}

impl Wire {
    fn new(network: &Network, way: (HostId, HostId)) -> Self {
        Self { link: Link::new(*network.link(way)), traffic: Traffic::default() }
    }
}
