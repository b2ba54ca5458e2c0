//! What lies between the hosts' access lines: links, cuts, firewalls, LANs and what joins them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use swarmcast_core::ids::PathId;

use crate::dice::Dice;
use crate::lan::{Copies, Lan, Whom};
use crate::link::{LinkModel, RateModel, Shaper};

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

/// Where a host is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// What its access line adds to the delay of each link, one way.
    pub(crate) latency: Duration,
    /// Number of the LAN that the line leads to.
    pub(crate) lan: u32,
    /// Whether what reaches it may wait in a queue.
    pub(crate) queues: bool,
    cut: bool,
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

/// The lines between LANs at work, out of and into each.
#[derive(Debug)]
pub(crate) struct Trunks {
    rate: RateModel,
    lines: BTreeMap<u32, [Shaper; 2]>,
}

impl Trunks {
    pub(crate) fn new(rate: RateModel) -> Self {
        Self { rate, lines: BTreeMap::new() }
    }

    /// Passes a packet from one LAN to another, `None` when one of their queues is full.
    pub(crate) fn pass(
        &mut self,
        at: Duration,
        (from, to): (u32, u32),
        wire_bytes: usize,
    ) -> Option<Duration> {
        let out = self.line(from)[0].pass(at, wire_bytes)?;
        self.line(to)[1].pass(out, wire_bytes)
    }

    fn line(&mut self, lan: u32) -> &mut [Shaper; 2] {
        let rate = self.rate;
        self.lines.entry(lan).or_insert_with(|| [Shaper::new(rate), Shaper::new(rate)])
    }
}

/// The network between the hosts' access lines: what all of them see, and none changes by sending.
#[derive(Debug)]
pub(crate) struct Network {
    default_link: LinkModel,
    places: Vec<Place>,
    /// Links that are not the default.
    own_links: BTreeMap<(HostId, HostId), LinkModel>,
    cut_pairs: BTreeSet<(HostId, HostId)>,
    firewalls: Vec<(Between, Firewall)>,
    pub(crate) lan: Lan,
    trunk: Trunk,
    /// Least latency of a link, and of an access line.
    least: (Duration, Option<Duration>),
}

impl Network {
    pub(crate) fn new(default_link: LinkModel, multicast: LinkModel, trunk: Trunk) -> Self {
        Self {
            default_link,
            places: Vec::new(),
            own_links: BTreeMap::new(),
            cut_pairs: BTreeSet::new(),
            firewalls: Vec::new(),
            lan: Lan::new(multicast),
            trunk,
            least: (default_link.latency.min(multicast.latency), None),
        }
    }

    /// Adds a host to a LAN; hosts are numbered in order from 0.
    pub(crate) fn add_host(&mut self, latency: Duration, lan: u32, queues: bool) -> HostId {
        self.least.1 = Some(self.least.1.map_or(latency, |least| least.min(latency)));
        self.places.push(Place { latency, lan, queues, cut: false });
        HostId(u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX))
    }

    pub(crate) fn place(&self, host: HostId) -> &Place {
        &self.places[host.0 as usize]
    }

    /// Returns a time that each packet takes at least from any host to another.
    pub(crate) fn lookahead(&self) -> Duration {
        self.least.0 + self.least.1.unwrap_or_default() * 2
    }

    /// Returns a time that each packet takes at least between two access lines.
    pub(crate) fn least_latency(&self) -> Duration {
        self.least.0
    }

    /// Returns a time that each packet takes at least on a host's own access line. What all share is entered in the
    /// order of time where it is the least of any: no host is ahead of another there.
    pub(crate) fn own_latency(&self, host: HostId) -> Duration {
        let shares = self.trunk.rate.bits_per_second.is_some() || self.lan.is_used();
        if shares { self.least.1.unwrap_or_default() } else { self.place(host).latency }
    }

    /// Sets both directions between two hosts.
    pub(crate) fn set_link(&mut self, a: HostId, b: HostId, model: LinkModel) {
        self.least.0 = self.least.0.min(model.latency);
        self.own_links.extend([((a, b), model), ((b, a), model)]);
    }

    /// Sets what multicast datagrams meet on their way to a receiver, or to all of them.
    pub(crate) fn set_multicast(&mut self, whom: Whom, model: LinkModel) {
        self.least.0 = self.least.0.min(model.latency);
        self.lan.set_model(whom, model);
    }

    /// Returns the link from one host to another.
    pub(crate) fn link(&self, way: (HostId, HostId)) -> &LinkModel {
        let own = if self.own_links.is_empty() { None } else { self.own_links.get(&way) };
        own.unwrap_or(&self.default_link)
    }

    /// Cuts a host off, or plugs it in again.
    pub(crate) fn set_cut(&mut self, host: HostId, cut: bool) {
        self.places[host.0 as usize].cut = cut;
    }

    pub(crate) fn is_cut(&self, host: HostId) -> bool {
        self.place(host).cut
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
        !self.is_cut(a) && !self.is_cut(b) && !self.cut_pairs.contains(&(a.min(b), a.max(b)))
    }

    /// Returns whether two hosts are on one LAN: multicast and discovery go no further.
    pub(crate) fn is_one_lan(&self, a: HostId, b: HostId) -> bool {
        self.place(a).lan == self.place(b).lan
    }

    /// Returns the LANs between which packets share a line that may be full.
    pub(crate) fn trunks_between(&self, way: (HostId, HostId)) -> Option<(u32, u32)> {
        let lans = (self.place(way.0).lan, self.place(way.1).lan);
        (lans.0 != lans.1 && self.trunk.rate.bits_per_second.is_some()).then_some(lans)
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

    /// Carries a multicast datagram that has left its host at `departs` to each member on its own.
    pub(crate) fn multicast(
        &mut self,
        dice: &mut Dice,
        departs: Duration,
        from: (HostId, IpAddr, PathId),
        bytes: usize,
    ) -> Vec<Copies> {
        let (places, cut_pairs) = (&self.places, &self.cut_pairs);
        let lan = places[from.0.0 as usize].lan;
        let reaches = |to: HostId| {
            let place = &places[to.0 as usize];
            place.lan == lan && !place.cut && !cut_pairs.contains(&(to.min(from.0), to.max(from.0)))
        };
        let mut copies = self.lan.carry(dice, departs, from, bytes, reaches);
        for copy in &mut copies {
            let lines = self.lines((from.0, copy.host));
            copy.arrivals.iter_mut().flatten().for_each(|arrival| *arrival += lines);
        }
        copies
    }

    /// Returns the smallest round-trip time between two hosts.
    pub(crate) fn round_trip_min(&self, a: HostId, b: HostId) -> Duration {
        self.latency((a, b)) + self.latency((b, a))
    }

    pub(crate) fn latency(&self, way: (HostId, HostId)) -> Duration {
        self.link(way).latency + self.lines(way)
    }

    /// Returns what both hosts' access lines add, and those between their LANs.
    pub(crate) fn lines(&self, way: (HostId, HostId)) -> Duration {
        let trunks = if self.is_one_lan(way.0, way.1) { Duration::ZERO } else { self.trunk.latency * 2 };
        self.place(way.0).latency + self.place(way.1).latency + trunks
    }
}
