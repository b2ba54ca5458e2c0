//! Whole cores in a star, without transport: a publisher's node and its viewers', by sessions or by multicast.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Now, PathId, PeerId, StreamHandle, WallClock};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::{
    Action, Batch, Command, Event, Input, Node, NodeConfig, Publication, Subscription,
};

use crate::{EPOCH, catalogue, unit};

const STREAM: StreamHandle = StreamHandle(1);
/// Each node's path to the group; session `n` of the publisher is path `n`, and path `n` of viewer `n`.
pub const MULTICAST: PathId = PathId(1000);
/// Bytes that a path takes at once.
const CREDIT_BYTES: usize = 1 << 20;
/// Pictures that are delivered to each viewer before anything is measured.
const WARM_UP: u64 = 100;

/// What a node sends: by which path, and the datagrams.
pub type Sent = Vec<(PathId, Vec<Bytes>)>;

/// A publisher and its viewers under virtual time, a picture each 40 ms.
#[derive(Debug)]
pub struct Nodes {
    now: Now,
    nodes: Vec<Node>,
    multicast: bool,
    pictures: i64,
    delivered: u64,
    /// Bytes of the pictures since the warm-up, and what had been multicast before them.
    bytes: u64,
    multicast_before: u64,
}

impl Nodes {
    /// Starts a stream and its viewers, and lets all of them get it: by multicast, or each pushed all of it.
    ///
    /// # Panics
    /// When a viewer does not get it within 2,000 pictures.
    pub fn new(viewers: u8, multicast: bool) -> Self {
        let group = GroupSpec::open("bench").expect("the name is acceptable");
        let now = Now(1_000_000);
        let node = |n: u8| {
            let places = usize::from(viewers) + 1;
            let config = NodeConfig::new(PeerId([n; 32]), group.clone(), [n; 32]);
            let config = NodeConfig { neighbours_max: places, pushes_per_stripe_max: places, ..config };
            Node::new(now, config)
        };
        let nodes = (0..=viewers).map(node).collect();
        let (pictures, delivered, bytes, multicast_before) = (0, 0, 0, 0);
        let mut this = Self { now, nodes, multicast, pictures, delivered, bytes, multicast_before };
        this.start(viewers);
        while this.delivered < u64::from(viewers) * WARM_UP || (multicast && this.multicast_bytes() == 0) {
            assert!(this.pictures < 2000, "every viewer gets the stream");
            this.send(&unit(1000), |datagrams| datagrams);
        }
        this.bytes = 0;
        this.multicast_before = this.multicast_bytes();
        this
    }

    fn start(&mut self, viewers: u8) {
        // A publisher that is told where multicasts to a single viewer too.
        let choice = if self.multicast { "239.255.9.20:24620" } else { "off" };
        let choice: MulticastChoice = choice.parse().expect("a group, or none");
        let publication = Publication::new(STREAM, catalogue(), [7; 32], EPOCH);
        let publication = Publication { multicast: choice, multicast_rate_max: u64::MAX, ..publication };
        self.handle(0, Input::Command(Command::Publish(Box::new(publication))));
        for n in 0..=viewers {
            self.handle(n.into(), Input::WallClock(WallClock(EPOCH.0)));
        }
        for n in 1..=viewers {
            let subscription = Subscription::new(STREAM, "clip", Duration::from_secs(1));
            let subscription = Subscription { multicast: choice, ..subscription };
            self.handle(n.into(), Input::Command(Command::Subscribe(Box::new(subscription))));
            for (at, peer) in [(0, n), (n, 0)] {
                let (path, peer, dialed) = (PathId(n.into()), PeerId([peer; 32]), at == n);
                let up = Input::Connected { path, peer, dialed, remote: None, datagram_bytes_max: 1162 };
                self.handle(at.into(), up);
            }
        }
    }

    /// Checks that what was timed is what is claimed.
    ///
    /// # Panics
    /// When less than nine tenths were delivered or, with multicast, went by it.
    pub fn check(&self) {
        let (sent, delivered) = (self.pictures as u64 * (self.nodes.len() as u64 - 1), self.delivered);
        assert!(delivered * 10 > sent * 9, "{delivered} of {sent} were delivered");
        let (bytes, multicast) = (self.bytes, self.multicast_bytes() - self.multicast_before);
        assert!(
            !self.multicast || multicast * 10 >= bytes * 9,
            "{multicast} of {bytes} bytes were multicast"
        );
    }

    fn multicast_bytes(&self) -> u64 {
        let stats = self.nodes[0].stats(self.now, STREAM);
        stats.map_or(0, |stats| stats.bytes_sent_to_ip_multicast)
    }

    /// Sends one picture, a key picture each second, and lets all nodes do all they have to do. What is multicast goes
    /// through `wire`.
    pub fn send(&mut self, picture: &AccessUnit, mut wire: impl FnMut(Vec<Bytes>) -> Vec<Bytes>) {
        let sent = self.publish(picture);
        self.settle(sent, &mut wire);
    }

    /// Sends one picture; returns what the publisher's node gives out for it.
    pub fn publish(&mut self, picture: &AccessUnit) -> Sent {
        self.now = self.now.after(Duration::from_millis(40));
        let dts = 3_600 * self.pictures;
        let unit = AccessUnit { dts, pts: dts, key: self.pictures % 25 == 0, ..picture.clone() };
        self.pictures += 1;
        self.bytes += picture.payload.len() as u64;
        self.handle(0, Input::Command(Command::Send { stream: STREAM, unit, more: false }));
        self.drain(0)
    }

    /// Carries what the publisher gave out, and everything that follows from it.
    pub fn settle(&mut self, sent: Sent, wire: &mut impl FnMut(Vec<Bytes>) -> Vec<Bytes>) {
        self.deliver(0, sent, wire);
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for from in 0..self.nodes.len() {
                if self.nodes[from].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.handle(from, Input::Timeout);
                }
                let sent = self.drain(from);
                moved |= !sent.is_empty();
                self.deliver(from, sent, wire);
            }
        }
    }

    fn deliver(&mut self, from: usize, sent: Sent, wire: &mut impl FnMut(Vec<Bytes>) -> Vec<Bytes>) {
        for (path, datagrams) in sent {
            if path == MULTICAST {
                let datagrams = wire(datagrams);
                for to in (0..self.nodes.len()).filter(|to| *to != from) {
                    let from = SocketAddr::new(address(from), 9);
                    let run = Input::Run { path, from: Some(from), datagrams: datagrams.clone() };
                    self.handle(to, run);
                }
            } else {
                let to = if from == 0 { path.0 as usize } else { 0 };
                self.handle(to, Input::Run { path, from: None, datagrams });
            }
        }
    }

    /// Takes out all that a node wants done; returns what it wants sent as datagrams.
    fn drain(&mut self, from: usize) -> Sent {
        while let Some(event) = self.nodes[from].poll_event() {
            self.delivered += u64::from(matches!(event, Event::AccessUnit { .. }));
        }
        while let Some(action) = self.nodes[from].poll_action() {
            match action {
                Action::Control { path, message } => {
                    let to = if from == 0 { path.0 as usize } else { 0 };
                    self.handle(to, Input::Control { path, message });
                }
                Action::OpenMulticast { channel, .. } if self.multicast => {
                    let (interface, local) = ("lo".into(), address(from));
                    let path = MULTICAST;
                    let up = Input::MulticastUp { path, channel, interface, local, datagram_bytes_max: 1162 };
                    self.handle(from, up);
                }
                _ => {}
            }
        }
        let mut sent = Vec::new();
        while let Some(path) = self.nodes[from].poll_ready() {
            loop {
                let mut batch = Batch::default();
                self.nodes[from].fill(self.now, path, CREDIT_BYTES, &mut batch);
                if batch.datagrams.is_empty() {
                    break;
                }
                sent.push((path, batch.datagrams));
            }
        }
        sent
    }

    fn handle(&mut self, node: usize, input: Input) {
        self.nodes[node].handle(self.now, input);
    }
}

fn address(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, node as u8 + 1).into()
}
