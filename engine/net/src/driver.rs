//! The one task that owns the node, its sessions and its clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use iroh::Endpoint;
use swarmcast_core::discovery::LanNode;
use swarmcast_core::ids::{GroupId, Now, PathId, PeerId, StreamHandle, WallClock};
use swarmcast_core::node::{Action, Batch, Command, Event, Input, Node, Sighting};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::clock::{self, CoreTimer};
use crate::discovery::{Announcer, Browser, LanChange};
use crate::handle::{Neighbour, Request};
use crate::hello;
use crate::multicast::{Multicast, MulticastEvent};
use crate::peers::NamedPeers;
use crate::probe::Probes;
use crate::sampling::Sampling;
use crate::sessions::{PathIds, SessionEvent, Sessions};
use crate::streams::Streams;
use crate::transport::TransportCounters;

/// Lateness of the sampling timer from which the core is told that this node stood still.
const STALLED_FROM: Duration = Duration::from_millis(200);

/// Step of the wall clock against the monotonic one from which the core is told that it was set, in milliseconds.
const CLOCK_STEP_MS: u64 = 500;

/// Free bytes from which a path is filled: one datagram of an Ethernet.
const CREDIT_MIN: usize = 1500;

/// Time after which a path without free bytes is looked at again when nothing else happens.
const RETRY_AFTER: Duration = Duration::from_millis(2);

/// Longest wait for publications to end when the node closes: the 5 s that they may linger, and a margin.
const LINGER_MAX: Duration = Duration::from_secs(6);

/// Longest wait for the last messages to be written.
const FLUSH_MAX: Duration = Duration::from_millis(300);

/// Longest wait for connections to close.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Why the loop woke.
enum Wake {
    Sample(Duration),
    Due,
    Request(Option<Request>),
    Filled,
    Retry,
    Lan(LanChange),
    Told(Input),
    Session(SessionEvent),
    Multicast(MulticastEvent),
    LingeredOut,
}

/// What the loop is made of, apart from its own state.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) endpoint: Endpoint,
    pub(crate) hello: Vec<TcpListener>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) announcer: Option<Announcer>,
    pub(crate) browser: Option<Browser>,
    pub(crate) peers: NamedPeers,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) filled: Arc<Notify>,
    pub(crate) neighbours: watch::Sender<Vec<Neighbour>>,
    pub(crate) transport: watch::Sender<TransportCounters>,
    pub(crate) lan: watch::Sender<BTreeMap<PeerId, LanNode>>,
}

/// The loop of a node. Nothing happens unless [`Driver::run`] is polled.
pub struct Driver {
    node: Node,
    group: GroupId,
    endpoint: Endpoint,
    sessions: Sessions,
    multicast: Multicast,
    probes: Probes,
    announcer: Option<Announcer>,
    /// Discovery and hellos: a stream of its own for each, so that a turn of the loop polls only what woke.
    aside: SelectAll<BoxStream<'static, LanChange>>,
    peers: NamedPeers,
    requests: mpsc::Receiver<Request>,
    filled: Arc<Notify>,
    neighbours: watch::Sender<Vec<Neighbour>>,
    transport: watch::Sender<TransportCounters>,
    lan: watch::Sender<BTreeMap<PeerId, LanNode>>,
    streams: Streams,
    /// Paths that the core may have something for, and that had no free bytes.
    blocked: BTreeSet<PathId>,
    batch: Batch,
    sampling: Sampling,
    /// The wall clock as the core was told of it, and when.
    wall: (Now, WallClock),
    timer: CoreTimer,
    /// When the node ends at the latest, once it has been asked to.
    closing: Option<Instant>,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { node, endpoint, hello, announcer, browser, peers, requests, filled, .. } = parts;
        let Parts { interfaces, neighbours, transport, lan, .. } = parts;
        let own = PeerId(*endpoint.id().as_bytes());
        let mut aside: SelectAll<_> = browser.into_iter().map(listen).collect();
        aside.push(serve(hello, own));
        let path_ids = PathIds::default();
        Self {
            group: node.config().group.id(),
            sessions: Sessions::new(endpoint.clone(), path_ids.clone()),
            multicast: Multicast::new(interfaces, path_ids),
            probes: Probes::new(endpoint.clone()),
            node,
            endpoint,
            announcer,
            aside,
            peers,
            requests,
            filled,
            neighbours,
            transport,
            lan,
            streams: Streams::default(),
            blocked: BTreeSet::new(),
            batch: Batch::default(),
            sampling: Sampling::new(),
            wall: (Now(0), WallClock(0)),
            timer: CoreTimer::new(),
            closing: None,
        }
    }

    /// Runs the node until its handle closes it or is dropped.
    pub async fn run(mut self) {
        self.check_wall_clock();
        loop {
            let wake = self.wait().await;
            let asked_again = self.closing.is_some() && matches!(wake, Wake::Request(Some(Request::Close)));
            if asked_again || matches!(wake, Wake::LingeredOut) {
                break;
            }
            self.handle(wake);
            self.transmit();
            if self.closing.is_some() && self.streams.have_ended() && !self.node.lingers() {
                break;
            }
        }
        self.end().await;
    }

    async fn wait(&mut self) -> Wake {
        let due = self.node.poll_timeout();
        let more_requests = self.closing.is_none() || !self.requests.is_closed();
        // Order matters where several are ready: lateness is noticed before anything is done with the late time, and
        // what is rare goes before datagrams, so that a flood of them starves nothing.
        tokio::select! {
            biased;
            late = self.sampling.next() => Wake::Sample(late),
            () = self.timer.wait(due) => Wake::Due,
            () = self.filled.notified() => Wake::Filled,
            request = self.requests.recv(), if more_requests => Wake::Request(request),
            Some(change) = self.aside.next() => Wake::Lan(change),
            input = self.peers.next() => Wake::Told(input),
            input = self.probes.next() => Wake::Told(input),
            () = until(self.closing) => Wake::LingeredOut,
            wake = traffic(&mut self.sessions, &mut self.multicast) => wake,
            () = sleep(RETRY_AFTER), if !self.blocked.is_empty() => Wake::Retry,
        }
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Sample(late) => self.handle_sample(late),
            Wake::Due => self.feed(Input::Timeout),
            Wake::Request(Some(request)) => self.handle_request(request),
            Wake::Request(None) => self.start_closing(),
            Wake::Filled => self.handle_filled(),
            Wake::Lan(change) => self.handle_lan(change),
            Wake::Told(input) => self.feed(input),
            Wake::Session(event) => self.handle_session(event),
            Wake::Multicast(event) => self.handle_multicast(event),
            Wake::Retry | Wake::LingeredOut => {}
        }
    }

    fn handle_sample(&mut self, late: Duration) {
        if late > STALLED_FROM {
            self.feed(Input::Stalled(late));
        }
        self.check_wall_clock();
        let all = self.sampling.plan(self.sessions.has_sent());
        let samples = self.sessions.sample(all);
        let rtt_of = |path| samples.iter().find(|(sampled, _)| *sampled == path).map(|(_, s)| s.rtt);
        self.neighbours.send_if_modified(|neighbours| {
            neighbours.iter_mut().for_each(|n| n.rtt = rtt_of(n.path).unwrap_or(n.rtt));
            // Who watches waits for neighbours that come and go.
            false
        });
        self.feed(Input::PathSamples(samples));
        if all {
            self.transport.send_replace(self.carried());
        }
        self.publish_health();
    }

    fn publish_health(&self) {
        self.streams.publish_health(|stream| self.node.health(clock::now(), stream));
    }

    /// Tells the core of the wall clock at the start, and when somebody has set it.
    fn check_wall_clock(&mut self) {
        let (now, wall) = (clock::now(), clock::wall_clock());
        let (then, told) = self.wall;
        let expected = told.0.saturating_add(now.since(then).as_millis() as u64);
        if wall.0.abs_diff(expected) > CLOCK_STEP_MS {
            self.wall = (now, wall);
            self.feed(Input::WallClock(wall));
        }
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Publish { publication, queue, state, published } => {
                let stream = publication.handle;
                self.streams.add_publication(stream, queue, state, published);
                self.feed(Input::Command(Command::Publish(publication)));
            }
            Request::Subscribe { subscription, playout, health } => {
                self.streams.add_subscription(subscription.handle, playout, health);
                self.feed(Input::Command(Command::Subscribe(subscription)));
                self.publish_health();
            }
            Request::Command(command) => self.feed(Input::Command(command)),
            // A caller that no longer waits for an answer needs none.
            Request::Stats { stream, answer } => drop(answer.send(self.node.stats(clock::now(), stream))),
            Request::KnownStreams { answer } => drop(answer.send(self.node.known_streams())),
            Request::Close => self.start_closing(),
        }
    }

    fn handle_filled(&mut self) {
        let mut commands = Vec::new();
        if self.streams.take_commands(|command| commands.push(command)) {
            self.filled.notify_one();
        }
        for command in commands {
            self.feed(Input::Command(command));
        }
    }

    fn handle_lan(&mut self, change: LanChange) {
        match change {
            LanChange::Found(node) => {
                let sighting = Sighting {
                    peer: node.peer,
                    addresses: node.addresses.clone(),
                    group: Some(node.group),
                    manual: false,
                    publishes: node.publishes.clone(),
                };
                let ours = node.group == self.group;
                self.lan.send_modify(|lan| drop(lan.insert(node.peer, node)));
                if ours {
                    self.feed(Input::Sighted(sighting));
                }
            }
            LanChange::Lost(peer) => {
                let lost = self.lan.send_if_modified(|lan| lan.remove(&peer).is_some());
                if lost {
                    self.feed(Input::Vanished(peer));
                }
            }
        }
    }

    fn handle_session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Up { path, peer, dialed, remote, datagram_bytes_max } => {
                self.peers.set_up(peer, true);
                self.feed(Input::Connected { path, peer, dialed, remote, datagram_bytes_max });
            }
            SessionEvent::DialFailed { peer, why } => self.feed(Input::ConnectFailed { peer, why }),
            SessionEvent::Down { path, peer } => {
                self.blocked.remove(&path);
                self.peers.set_up(peer, false);
                self.feed(Input::Disconnected { path });
            }
            SessionEvent::Control { path, message } => self.feed(Input::Control { path, message }),
            SessionEvent::Datagrams { path, datagrams } => {
                self.feed(Input::Run { path, from: None, datagrams });
            }
        }
    }

    fn handle_multicast(&mut self, event: MulticastEvent) {
        match event {
            MulticastEvent::Told(input) => self.feed(input),
            MulticastEvent::Received { path, datagrams, overflow } => {
                if overflow > 0 {
                    self.feed(Input::Overflow { datagrams: overflow });
                }
                for run in datagrams.chunk_by(|(one, _), (next, _)| one == next) {
                    let datagrams = run.iter().map(|(_, datagram)| datagram.clone()).collect();
                    self.feed(Input::Run { path, from: run.first().map(|(from, _)| *from), datagrams });
                }
            }
            MulticastEvent::Writable(path) => self.fill(clock::now(), path),
        }
    }

    /// Gives the core one input, and takes out all that it wants done and told.
    fn feed(&mut self, input: Input) {
        self.node.handle(clock::now(), input);
        let mut abandoned = self.drain();
        while let Some(stream) = abandoned.pop() {
            self.node.handle(clock::now(), Input::Command(Command::Unsubscribe { stream }));
            abandoned.extend(self.drain());
        }
    }

    /// Returns the subscriptions that nobody listens to any longer.
    fn drain(&mut self) -> Vec<StreamHandle> {
        let mut abandoned = Vec::new();
        loop {
            if let Some(event) = self.node.poll_event() {
                abandoned.extend(self.handle_event(event));
            } else if let Some(action) = self.node.poll_action() {
                self.handle_action(action);
            } else {
                return abandoned;
            }
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<StreamHandle> {
        match event {
            Event::NeighbourUp { peer, path } => {
                let rtt = self.sessions.session(path).map_or(Duration::ZERO, |session| session.rtt());
                self.neighbours.send_modify(|neighbours| neighbours.push(Neighbour { peer, path, rtt }));
                None
            }
            Event::NeighbourDown { path, .. } => {
                self.neighbours.send_modify(|neighbours| neighbours.retain(|n| n.path != path));
                None
            }
            event @ (Event::Verdict { .. }
            | Event::Path { .. }
            | Event::PathVerdict { .. }
            | Event::ControlPlane { .. }) => {
                // Who hears of a change can also read it.
                self.publish_health();
                self.streams.handle_event(event)
            }
            event => self.streams.handle_event(event),
        }
    }

    fn handle_action(&mut self, action: Action) {
        match action {
            Action::Connect { peer, addresses } => self.sessions.dial(peer, addresses),
            Action::Control { path, message } => self.sessions.send_control(path, message),
            Action::Disconnect { path } => {
                self.blocked.remove(&path);
                if let Some(peer) = self.sessions.close(path) {
                    self.peers.set_up(peer, false);
                }
            }
            Action::Announce(announcement) => {
                // A daemon that is too busy to take the new record goes on with the old one, which is a hint.
                let _ = self.announcer.as_ref().map(|announcer| announcer.announce(&announcement));
            }
            Action::OpenMulticast { channel, groups } => self.multicast.open(channel, groups),
            Action::RejoinMulticast { path } => self.multicast.rejoin(path),
            Action::CloseMulticast { channel } => self.multicast.close(channel),
            Action::Probe { peer, addresses } => self.probes.start(peer, addresses),
        }
    }

    /// Sends what the core has for paths that take it.
    fn transmit(&mut self) {
        let now = clock::now();
        for path in std::mem::take(&mut self.blocked) {
            self.fill(now, path);
        }
        while let Some(path) = self.node.poll_ready() {
            self.fill(now, path);
        }
    }

    fn fill(&mut self, now: Now, path: PathId) {
        self.batch.datagrams.clear();
        if let Some(session) = self.sessions.session_mut(path) {
            loop {
                let credit = session.credit();
                if credit < CREDIT_MIN {
                    self.blocked.insert(path);
                    return;
                }
                self.node.fill(now, path, credit, &mut self.batch);
                if self.batch.datagrams.is_empty() {
                    return;
                }
                session.send(&self.batch.datagrams);
                self.batch.datagrams.clear();
            }
        }
        // A multicast path without credit says itself when it takes more.
        while let Some(credit) = self.multicast.credit(path).filter(|credit| *credit >= CREDIT_MIN) {
            self.node.fill(now, path, credit, &mut self.batch);
            if self.batch.datagrams.is_empty() {
                return;
            }
            self.multicast.send(path, &mut self.batch.datagrams);
        }
    }

    /// Returns what all paths of the node carried.
    fn carried(&self) -> TransportCounters {
        let mut all = self.sessions.transport();
        all += self.multicast.transport();
        all
    }

    fn start_closing(&mut self) {
        self.closing = Some(clock::instant_after(LINGER_MAX));
        for stream in self.streams.end_all() {
            self.feed(Input::Command(Command::Unsubscribe { stream }));
        }
    }

    async fn end(mut self) {
        self.transmit();
        let flush = async {
            while !self.sessions.are_flushed() {
                self.sessions.next().await;
            }
        };
        let _ = timeout(FLUSH_MAX, flush).await;
        let withdraw = async {
            if let Some(announcer) = self.announcer {
                announcer.stop().await;
            }
        };
        let _ = tokio::join!(withdraw, timeout(CLOSE_MAX, self.endpoint.close()));
        let mut carried = self.sessions.transport();
        carried += self.multicast.transport();
        self.transport.send_replace(carried);
    }
}

/// Serves hellos for as long as it is polled, and yields nothing.
fn serve(listeners: Vec<TcpListener>, own: PeerId) -> BoxStream<'static, LanChange> {
    stream::once(async move { match hello::serve(&listeners, own).await {} }).boxed()
}

fn listen(browser: Browser) -> BoxStream<'static, LanChange> {
    stream::unfold(browser, async |mut browser| Some((browser.next().await, browser))).boxed()
}

/// Waits for what comes by sessions or by multicast. Which of them goes first is left to chance, so that neither
/// starves the other.
async fn traffic(sessions: &mut Sessions, multicast: &mut Multicast) -> Wake {
    tokio::select! {
        event = sessions.next() => Wake::Session(event),
        event = multicast.next() => Wake::Multicast(event),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
