//! Two nodes, a publisher and a viewer, in a world that a case decides: what is sent, lost, repeated, altered,
//! when time passes, and what a hostile member of the group says, who may even hold the publisher's key.

mod hostile;

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Now, PathId, PeerId, StreamHandle, WallClock};
use swarmcast_core::node::{
    Action, Batch, Command, Event, Input, Node, NodeConfig, PathSample, Publication, Sighting, Subscription,
};
use swarmcast_core::wire::{Control, DATAGRAM_BYTES_MAX, Datagram};

use super::feed::Feed;
use super::signed::FORGE;

const PUBLISHER: usize = 0;
const VIEWER: usize = 1;
const STREAM: StreamHandle = StreamHandle(1);
const HOSTILE: PeerId = PeerId([3; 32]);
const STEPS_MAX: usize = 400;
/// Rounds in which a node may say that it is due at once; a driver would spin for as long.
const SPINS_MAX: usize = 200;

fn peer(node: usize) -> PeerId {
    PeerId([node as u8 + 1; 32])
}

struct World {
    now: Now,
    nodes: [Node; 2],
    /// Datagrams on their way to each node.
    flying: [Vec<Bytes>; 2],
    /// Number of the session between the nodes, and of the viewer's with the hostile neighbour.
    link: PathId,
    hostile: PathId,
    paths: u32,
    sent: Vec<AccessUnit>,
    delivered: Vec<AccessUnit>,
    offers: Vec<Bytes>,
    closed: bool,
    /// Whether nobody but the publisher uses its key.
    honest: bool,
}

/// Any inputs: nothing panics or spins, what is sent can be read, what is delivered was sent, nothing follows the end.
pub fn node(data: &[u8]) {
    let mut feed = Feed::new(data);
    let start = feed.u8();
    let mut world = World::new(start & 1 == 0);
    if start & 6 != 0 {
        world.warm_up();
    }
    for _ in 0..STEPS_MAX {
        if feed.is_dry() {
            break;
        }
        world.step(&mut feed);
        world.settle();
    }
    world.check_delivered();
}

impl World {
    fn new(honest: bool) -> Self {
        let group = GroupSpec::open("fuzz").expect("the name is acceptable");
        let now = Now(1_000_000);
        let nodes = [PUBLISHER, VIEWER]
            .map(|n| Node::new(now, NodeConfig::new(peer(n), group.clone(), [n as u8; 32])));
        let mut world = Self {
            now,
            nodes,
            flying: [Vec::new(), Vec::new()],
            link: PathId(1),
            hostile: PathId(2),
            paths: 2,
            sent: Vec::new(),
            delivered: Vec::new(),
            offers: Vec::new(),
            closed: false,
            honest,
        };
        let epoch = FORGE.sealer.keys().epoch();
        for node in [PUBLISHER, VIEWER] {
            world.handle(node, Input::WallClock(WallClock(epoch.0)));
        }
        let publication = Publication::new(STREAM, catalogue(), [7; 32], epoch);
        world.handle(PUBLISHER, Input::Command(Command::Publish(Box::new(publication))));
        world.handle(VIEWER, subscribe());
        world.connect_nodes();
        world.connect_hostile();
        world.settle();
        world
    }

    /// Gets the stream going, so that a case begins where something can be broken.
    fn warm_up(&mut self) {
        for n in 0..4 {
            let unit = AccessUnit {
                track: TrackId(0),
                dts: n,
                pts: n,
                duration: 1,
                key: n % 4 == 0,
                disposable: false,
                payload: vec![n as u8; 3000].into(),
            };
            self.sent.push(unit.clone());
            self.handle(PUBLISHER, Input::Command(Command::Send { stream: STREAM, unit, more: false }));
            self.settle();
            self.pass(Duration::from_millis(40));
            self.carry_all();
        }
        assert!(!self.delivered.is_empty(), "nothing is in the way of the stream");
    }

    /// Delivers everything that is flying, in order.
    fn carry_all(&mut self) {
        while self.flying.iter().any(|flying| !flying.is_empty()) {
            for to in [PUBLISHER, VIEWER] {
                let (path, datagrams) = (self.link, std::mem::take(&mut self.flying[to]));
                self.handle(to, Input::Run { path, from: None, datagrams });
            }
            self.settle();
        }
    }

    fn handle(&mut self, node: usize, input: Input) {
        self.nodes[node].handle(self.now, input);
    }

    fn connect_nodes(&mut self) {
        for node in [PUBLISHER, VIEWER] {
            let (path, peer) = (self.link, peer(1 - node));
            let dialed = node == VIEWER;
            self.handle(
                node,
                Input::Connected { path, peer, dialed, remote: None, datagram_bytes_max: 1162 },
            );
        }
    }

    fn step(&mut self, feed: &mut Feed<'_>) {
        match feed.u8() % 12 {
            0 => self.pass(Duration::from_millis(u64::from(feed.u8()))),
            1 | 2 => self.send(feed),
            3..=5 => self.carry(feed),
            6 => self.say(feed),
            7 => self.throw(feed),
            8 if !self.honest => self.forge(feed),
            8 => self.carry_all(),
            9 => self.relink(feed),
            10 => self.sense(feed),
            _ => self.command(feed),
        }
    }

    /// Lets time pass; each timeout is handled when it is due, and what is flying stays there.
    fn pass(&mut self, time: Duration) {
        let until = self.now.after(time);
        while let Some(at) = self.nodes.iter().filter_map(Node::poll_timeout).min().filter(|at| *at <= until)
        {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = until;
    }

    fn send(&mut self, feed: &mut Feed<'_>) {
        let bytes = match feed.u8() {
            small @ 0..=199 => usize::from(small),
            large => usize::from(large - 199) * 1500,
        };
        let last = self.sent.last().map_or(0, |unit| unit.dts);
        let wild = if self.honest { feed.u8() % 250 } else { feed.u8() };
        let unit = AccessUnit {
            track: TrackId(wild & 1),
            dts: if wild < 250 { last + i64::from(wild >> 1) } else { feed.u64() as i64 },
            pts: if wild < 250 { last } else { feed.u64() as i64 },
            duration: 1,
            key: wild & 6 == 0,
            disposable: wild & 6 == 2,
            payload: vec![feed.u8(); bytes].into(),
        };
        if wild < 250 && bytes > 0 {
            self.sent.push(unit.clone());
        }
        let more = feed.u8() & 1 == 1;
        self.handle(PUBLISHER, Input::Command(Command::Send { stream: STREAM, unit, more }));
    }

    /// Delivers, loses, repeats, reorders or alters what is flying.
    fn carry(&mut self, feed: &mut Feed<'_>) {
        let to = usize::from(feed.u8() & 1);
        let fate = feed.u8();
        for _ in 0..=fate >> 3 {
            if self.flying[to].is_empty() {
                return;
            }
            let at = if fate & 1 == 0 { 0 } else { usize::from(feed.u8()) % self.flying[to].len() };
            let datagram = self.flying[to].remove(at);
            let (path, altered) = (self.link, datagram.clone());
            match fate & 6 {
                0 => self.handle(to, Input::Datagram { path, datagram }),
                2 => {}
                4 => {
                    self.handle(to, Input::Run { path, from: None, datagrams: vec![datagram, altered] });
                }
                _ => {
                    let mut altered = altered.to_vec();
                    let at = usize::from(feed.u16()) % altered.len();
                    altered[at] ^= feed.u8();
                    self.handle(to, Input::Datagram { path, datagram: altered.into() });
                }
            }
        }
    }

    /// Ends a session, and perhaps opens the next.
    fn relink(&mut self, feed: &mut Feed<'_>) {
        let (again, whose) = (feed.u8() & 1 == 0, feed.u8());
        self.paths += 1;
        let fresh = PathId(self.paths);
        if whose & 1 == 0 {
            let path = std::mem::replace(&mut self.link, fresh);
            self.flying = [Vec::new(), Vec::new()];
            [PUBLISHER, VIEWER].into_iter().for_each(|node| self.handle(node, Input::Disconnected { path }));
            if again {
                self.connect_nodes();
            }
        } else {
            let path = std::mem::replace(&mut self.hostile, fresh);
            self.handle(VIEWER, Input::Disconnected { path });
            if again {
                self.connect_hostile();
            }
        }
    }

    /// Tells a node what its transport measured, or whom it found.
    fn sense(&mut self, feed: &mut Feed<'_>) {
        let to = usize::from(feed.u8() & 1);
        let input = match feed.u8() % 4 {
            0 | 1 => {
                let rtt = Duration::from_millis(u64::from(feed.u16()));
                let sample = PathSample {
                    rtt,
                    rtt_low: rtt.min(Duration::from_millis(u64::from(feed.u8()))),
                    packets_sent: feed.number(),
                    packets_lost: feed.number(),
                    bytes_queued: feed.number(),
                    datagram_bytes_max: usize::from(feed.u16()),
                };
                Input::PathSamples(vec![(self.link, sample)])
            }
            2 => Input::Stalled(Duration::from_millis(u64::from(feed.u16()))),
            _ => Input::Sighted(Sighting {
                peer: PeerId([feed.u8(); 32]),
                addresses: vec![([127, 0, 0, 1], feed.u16()).into()],
                group: None,
                manual: feed.u8() & 1 == 0,
                publishes: vec!["clip".into()],
            }),
        };
        self.handle(to, input);
    }

    fn command(&mut self, feed: &mut Feed<'_>) {
        match feed.u8() % 8 {
            0 => self.handle(VIEWER, Input::Command(Command::Unsubscribe { stream: STREAM })),
            1 => self.handle(PUBLISHER, Input::Command(Command::End { stream: STREAM })),
            2 if self.closed => {
                self.closed = false;
                self.check_delivered();
                self.delivered.clear();
                self.handle(VIEWER, subscribe());
            }
            _ => self.pass(Duration::from_millis(40)),
        }
    }

    /// Handles what is due and takes everything that the nodes give, until they are quiet. Reliable messages
    /// arrive at once.
    fn settle(&mut self) {
        for _ in 0..SPINS_MAX {
            let mut quiet = true;
            for node in [PUBLISHER, VIEWER] {
                if self.nodes[node].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.handle(node, Input::Timeout);
                    quiet = false;
                }
                quiet &= !self.drain(node);
            }
            if quiet {
                return;
            }
        }
        panic!("a timeout that is handled stays due, or nodes chatter without end");
    }

    fn drain(&mut self, node: usize) -> bool {
        let mut any = false;
        while let Some(event) = self.nodes[node].poll_event() {
            any = true;
            self.check(node, event);
        }
        while let Some(action) = self.nodes[node].poll_action() {
            any = true;
            let Action::Control { path, message } = action else { continue };
            let control = Control::decode(&message).expect("a node says what others can read");
            if matches!(control, Control::Offer(_)) && self.offers.len() < 8 {
                self.offers.push(message.clone());
            }
            if path == self.link {
                self.handle(1 - node, Input::Control { path, message });
            }
        }
        while let Some(path) = self.nodes[node].poll_ready() {
            any = true;
            let mut batch = Batch::default();
            self.nodes[node].fill(self.now, path, 64 << 10, &mut batch);
            for datagram in batch.datagrams {
                assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
                assert!(Datagram::decode(&datagram).is_ok(), "a node sends what others can read");
                if path == self.link && self.flying[1 - node].len() < 4096 {
                    self.flying[1 - node].push(datagram);
                }
            }
        }
        any
    }

    fn check(&mut self, node: usize, event: Event) {
        if node != VIEWER {
            return;
        }
        match event {
            Event::AccessUnit { unit, .. } => {
                assert!(!self.closed, "nothing follows the end");
                self.delivered.push(unit);
            }
            Event::Closed { .. } => {
                assert!(!self.closed, "a subscription ends once");
                self.closed = true;
            }
            _ => {}
        }
    }

    /// What was delivered was sent, each track in order and nothing twice.
    fn check_delivered(&self) {
        for track in [0, 1].map(TrackId) {
            let mut sent = self.sent.iter().filter(|unit| unit.track == track);
            let mut delivered = self.delivered.iter().filter(|unit| unit.track == track);
            let in_order = delivered.all(|unit| sent.any(|other| other == unit));
            assert!(in_order || !self.honest, "what was delivered is not what was sent");
        }
    }
}

fn subscribe() -> Input {
    Input::Command(Command::Subscribe(Box::new(Subscription::new(
        STREAM,
        "clip",
        Duration::from_millis(200),
    ))))
}

fn catalogue() -> Catalogue {
    let track = |id, kind| Track {
        id: TrackId(id),
        kind,
        codec: "x".into(),
        time_base: TimeBase { numerator: 1, denominator: 1000 },
        bitrate: 0,
        parameters: Bytes::new(),
    };
    Catalogue {
        name: "clip".into(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track(0, TrackKind::Video), track(1, TrackKind::Audio)],
        renditions: Vec::new(),
        multicast: None,
    }
}
