//! The node: owns sessions, streams and windows, and routes every input to them.

mod admission;
mod delivery;
mod greet;
mod input;
mod lobby;
mod multicast;
mod naming;
mod output;
mod publish;
mod pulling;
mod receive;
mod requests;
mod sending;
mod step;
mod stream;
mod suppliers;
mod uplink;
mod verdict;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use input::{
    CONTROL_BYTES_MAX, Command, ConnectError, Input, PathSample, ProbeOutcome, Publication, RttLow, Sighting,
    Subscription,
};
pub use output::{Action, Announcement, Batch, Event, GapCause};

pub use crate::health::CloseCause;

use self::lobby::Lobby;
use self::multicast::MulticastPath;
use self::stream::Stream;
use self::watch::Watch;
use crate::catalogue::Catalogue;
use crate::few::Few;
use crate::group::GroupSpec;
use crate::health::Unreached;
use crate::ids::{ChannelId, Epoch, Now, PathId, PeerId, StreamHandle, StreamKey, StreamTag, WallClock};
use crate::member::Members;
use crate::memo::Memo;
use crate::multicast::MulticastChoice;
use crate::schedule::Uplink;
use crate::seal::{EpochKeys, VerifyError};
use crate::session::Session;
use crate::stats::{KnownStream, StreamStats};
use crate::wire::Offer;

/// Time between two neighbours of no use whose places are given to others.
const ROOM_PERIOD: Duration = Duration::from_millis(250);

/// What a node is told once, at its making.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its own transport key.
    pub peer: PeerId,
    /// The group it belongs to.
    pub group: GroupSpec,
    /// Seed of all its random choices.
    pub seed: [u8; 32],
    /// Most bytes a stream's window may pin (default 64 MiB).
    pub window_bytes_max: usize,
    /// How long a block stays in the window (default 8 s).
    pub window_duration: Duration,
    /// Most sessions (default 16).
    pub neighbours_max: usize,
    /// Most pushes of one stripe at once (default 2: a publisher's upload stays under 2.5 times the bitrate).
    pub pushes_per_stripe_max: usize,
    /// Most bytes a second to send to neighbours, with all headers; a share is left to what is no datagram (default
    /// `None`: no limit). What is promised to them is bounded by it, and what they ask for beyond is refused.
    pub upload_max: Option<u64>,
    /// What nodes of this process verified before, where it runs many (default `None`: this one verifies everything).
    pub memo: Option<Arc<dyn Memo>>,
}

impl NodeConfig {
    /// Returns the defaults for a node.
    pub fn new(peer: PeerId, group: GroupSpec, seed: [u8; 32]) -> Self {
        Self {
            peer,
            group,
            seed,
            window_bytes_max: 64 << 20,
            window_duration: Duration::from_secs(8),
            neighbours_max: 16,
            pushes_per_stripe_max: 2,
            upload_max: None,
            memo: None,
        }
    }

    /// Derives the keys of a stream of the group.
    fn keys(&self, key: StreamKey, epoch: Epoch) -> Result<EpochKeys, VerifyError> {
        Ok(EpochKeys::derive(&self.group, key, epoch)?.with_memo(self.memo.clone()))
    }
}

/// A stream that was offered and whose offer verified.
#[derive(Debug)]
struct Known {
    offer: Offer,
    catalogue: Catalogue,
}

/// A member of a group, as a state machine without I/O.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    rng: ChaCha12Rng,
    /// Wall clock at a time of the driver's clock.
    wall: (Now, WallClock),
    members: Members,
    sessions: Few<PathId, Session>,
    /// When the first session that has yet to greet is given up.
    greeting_at: Option<Now>,
    uplink: Uplink,
    /// When the uplink lets the next datagram of media go, while some wait for it.
    uplink_until: Option<Now>,
    /// When the next viewer may be taken on as a guest, where uploads are limited.
    guest_at: Now,
    lobby: Lobby,
    streams: Few<StreamTag, Stream>,
    /// Publications, and subscriptions that have their stream.
    handles: Few<StreamHandle, StreamTag>,
    watches: Few<StreamHandle, Watch>,
    /// Counters of publications and subscriptions that are over.
    finals: BTreeMap<StreamHandle, StreamStats>,
    offers: BTreeMap<StreamKey, Known>,
    /// Publications and subscriptions that use multicast, and where.
    channels: BTreeMap<ChannelId, (StreamHandle, MulticastChoice)>,
    channels_used: u32,
    multicasts: BTreeMap<PathId, MulticastPath>,
    /// Tags of runs that are over.
    retired: BTreeMap<StreamTag, StreamKey>,
    /// Peers that were dialled, and what the last attempt that failed met.
    attempted: u32,
    unreached: Unreached,
    network: Option<bool>,
    /// When a place may next be made for a neighbour that may be of more use.
    room_at: Now,
    /// Time of the last input.
    now: Now,
    ready: VecDeque<PathId>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

impl Node {
    /// Makes a node without streams and sessions.
    pub fn new(now: Now, config: NodeConfig) -> Self {
        let upload_max = config.upload_max;
        Self {
            rng: ChaCha12Rng::from_seed(config.seed),
            wall: (now, WallClock(0)),
            members: Members::new(config.peer),
            config,
            sessions: Few::default(),
            greeting_at: None,
            uplink: Uplink::new(now, upload_max),
            uplink_until: None,
            guest_at: now,
            lobby: Lobby::default(),
            streams: Few::default(),
            handles: Few::default(),
            watches: Few::default(),
            offers: BTreeMap::new(),
            finals: BTreeMap::new(),
            channels: BTreeMap::new(),
            channels_used: 0,
            multicasts: BTreeMap::new(),
            retired: BTreeMap::new(),
            attempted: 0,
            unreached: Unreached::NobodyFound,
            network: None,
            room_at: now,
            now,
            ready: VecDeque::new(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes one input. Then drain: `poll_event`, `poll_action`, `poll_ready` with `fill`, `poll_timeout`.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        let routine = matches!(input, Input::Datagram { .. } | Input::Multicast { .. } | Input::Run { .. });
        let measures = matches!(input, Input::Timeout | Input::PathSamples(_));
        match input {
            Input::Timeout => {}
            Input::Stalled(stall) => self.handle_stalled(now, stall),
            Input::WallClock(wall) => self.wall = (now, wall),
            Input::Sighted(sighting) => self.handle_sighting(now, sighting),
            Input::Vanished(peer) => self.members.handle_vanished(peer),
            Input::Connected { path, peer, dialed, remote, datagram_bytes_max } => {
                self.handle_connected(now, path, (peer, dialed), remote, datagram_bytes_max);
            }
            Input::ConnectFailed { peer, why } => self.handle_connect_failed(now, peer, why),
            Input::Disconnected { path } => self.handle_disconnected(now, path),
            Input::Control { path, message } => self.handle_control(now, path, &message),
            Input::Datagram { path, datagram } => self.handle_datagram(now, path, datagram.into()),
            Input::PathSamples(samples) => self.handle_samples(now, samples),
            Input::Command(command) => self.handle_command(now, command),
            Input::MulticastUp { path, channel, interface, local, datagram_bytes_max } => {
                self.handle_multicast_up(now, path, channel, interface, (local, datagram_bytes_max));
            }
            Input::MulticastDown { path } => self.drop_multicast(path),
            Input::Multicast { path, from, datagram } => {
                self.handle_multicast(now, path, from, datagram.into());
            }
            Input::Run { path, from, datagrams } => self.handle_run(now, path, from, datagrams),
            Input::Overflow { datagrams } => self.handle_overflow(now, datagrams),
            Input::Probed { peer, outcome } => self.handle_probed(peer, outcome),
            Input::Network { up } => self.handle_network(up),
        }
        if !routine && !measures {
            self.streams.values_mut().for_each(|stream| stream.have_at = None);
        }
        self.run_due(now);
        self.judge_all(now, routine);
        self.find_ready(now);
        self.look_at_followers();
    }

    /// Returns the next path that has datagrams to send.
    pub fn poll_ready(&mut self) -> Option<PathId> {
        self.ready.pop_front().or_else(|| self.poll_turn())
    }

    /// Fills `batch` with datagrams for `path`, at most `budget_bytes` of them; whatever is too old is shed here.
    pub fn fill(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        if self.sessions.contains_key(&path) {
            self.fill_path(now, path, budget_bytes, batch);
        } else {
            self.fill_multicast(now, path, budget_bytes, batch);
        }
    }

    /// Returns the next thing the driver has to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns the next thing the embedder should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when `Input::Timeout` is due.
    pub fn poll_timeout(&self) -> Option<Now> {
        let streams = self.streams.values().filter_map(|stream| self.stream_timeout(stream));
        let paced = self.sessions.values().filter_map(|session| session.paced_until);
        let paced = paced.chain(self.multicasts.values().filter_map(|open| open.paced_until));
        let paced = paced.chain(self.uplink_until);
        let pins = self.watches.values().filter_map(|watch| watch.pin_at);
        let dialing = self.wants_peers().then(|| self.members.next_timeout(self.is_hungry())).flatten();
        let dialing = dialing.into_iter().chain(self.members.next_named());
        streams
            .chain(paced)
            .chain(pins)
            .chain(self.greeting_at)
            .chain(self.lobby.next_timeout())
            .chain(dialing)
            .chain(self.judge_timeout())
            .min()
    }

    /// Returns the counters of a publication or subscription; of one that is over, its last ones, while it is among the
    /// last 16.
    pub fn stats(&self, now: Now, stream: StreamHandle) -> Option<StreamStats> {
        let running = self.handles.get(&stream).and_then(|tag| self.streams.get(tag));
        let Some(stream) = running else { return self.finals.get(&stream).copied() };
        let remotes = || self.sessions.values().filter_map(|session| session.streams.get(&stream.tag()));
        let consumers = remotes().filter(|remote| !remote.consumes.is_empty()).count();
        let viewers = remotes().filter(|remote| remote.offers).count();
        let greeted = self.sessions.values().filter(|session| session.greeted).count();
        let audience = stream.source.as_ref().map(|source| source.audience.summary(now)).unwrap_or_default();
        let parts = |share: f64| (share * 10_000.0) as u32;
        Some(StreamStats {
            multicast_loss: parts(stream.reception.loss()),
            parity_percent: stream
                .source
                .as_ref()
                .map_or(0, |source| u32::from(source.parity.shards(40)) * 5 / 2),
            reporters: audience.count as u32,
            reported_loss_p50: parts(audience.median),
            reported_loss_p95: parts(audience.p95),
            reported_loss_max: parts(audience.worst),
            newest: stream.window.newest(),
            since_last_fragment: stream.last_fragment.map_or(Duration::ZERO, |at| now.since(at)),
            distance_to_live_edge: stream.distance_to_live_edge(),
            window_bytes: stream.window.bytes() as u64,
            suppliers: stream.supply.count() as u32,
            consumers: consumers as u32,
            neighbours: greeted as u32,
            viewers: viewers as u32,
            clock_error: stream.clock.publisher_time(now).map(|(_, error)| error),
            ..stream.stats
        })
    }

    /// Returns the streams that this node and its neighbours carry.
    pub fn known_streams(&self) -> Vec<KnownStream> {
        let own = self.streams.values().filter(|stream| stream.source.is_some());
        let own = own.map(|stream| (&stream.offer, &stream.catalogue));
        let offered = self.offers.values().map(|known| (&known.offer, &known.catalogue));
        let carried = |tag: StreamTag| {
            let carriers =
                self.sessions.values().filter(|s| s.streams.get(&tag).is_some_and(|remote| remote.offers));
            carriers.map(|session| session.peer).collect::<Vec<_>>()
        };
        own.chain(offered)
            .map(|(offer, catalogue)| {
                let keys = self.config.keys(offer.key, offer.epoch);
                let carriers = keys.map_or_else(|_| Vec::new(), |keys| carried(keys.tag()));
                KnownStream {
                    key: offer.key,
                    epoch: offer.epoch,
                    catalogue: catalogue.clone(),
                    publisher: Some(offer.publisher),
                    viewers: carriers.iter().filter(|peer| **peer != offer.publisher).count() as u32,
                }
            })
            .collect()
    }

    /// Returns whether an ended stream is still being handed to neighbours, at most 5 s: a driver that was asked to
    /// close goes on until this is false.
    pub fn lingers(&self) -> bool {
        self.streams.values().any(|stream| stream.linger_until.is_some())
    }

    /// Returns how the node was configured.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    fn handle_command(&mut self, now: Now, command: Command) {
        match command {
            Command::Publish(publication) => self.handle_publish(now, *publication),
            Command::Send { stream, unit, more } => self.handle_send(now, stream, unit, more),
            Command::End { stream } => self.handle_end(now, stream),
            Command::Subscribe(subscription) => self.handle_subscribe(now, *subscription),
            Command::Unsubscribe { stream } => self.handle_unsubscribe(now, stream),
            Command::Fall { stream, to } => self.handle_fall(now, stream, to),
            Command::Foreign { stream, plays } => self.handle_foreign(now, stream, plays),
            Command::Grown { stream, by } => self.handle_grown(stream, by),
        }
    }

    fn handle_sighting(&mut self, now: Now, sighting: Sighting) {
        if sighting.group.is_none_or(|group| group == self.config.group.id()) {
            let shuffle = self.rng.next_u32();
            let connected = self.sessions.values().any(|session| session.peer == sighting.peer);
            self.members.handle_sighting(now, sighting, shuffle, connected);
        }
    }

    fn run_due(&mut self, now: Now) {
        self.look_at_followers();
        let due = |stream: &&Stream| self.stream_timeout(stream).is_some_and(|at| at <= now);
        let due: Vec<_> = self.streams.values().filter(due).map(Stream::tag).collect();
        due.into_iter().for_each(|tag| self.run_stream(now, tag));
        let pins = self.watches.iter().filter(|(_, watch)| watch.pin_at.is_some_and(|at| at <= now));
        let pins: Vec<_> = pins.map(|(handle, _)| *handle).collect();
        pins.into_iter().for_each(|handle| self.pin(now, handle));
        if self.greeting_at.is_some_and(|at| at <= now) {
            self.give_up_strangers(now);
        }
        self.dismiss_guests(now);
        self.dial(now);
    }

    fn dial(&mut self, now: Now) {
        if self.room_at <= now && self.is_hungry() && !self.wants_peers() {
            self.room_at = now.after(ROOM_PERIOD);
            if self.members.next_timeout(true).is_some_and(|at| at <= now) {
                self.make_room(now);
            }
        }
        loop {
            let named = self.members.next_named().is_some_and(|at| at <= now);
            if !self.wants_peers() && !named {
                return;
            }
            let wanted: Vec<_> = self.watches.values().map(|watch| self.title(watch).to_owned()).collect();
            let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
            let hungry = self.is_hungry();
            let Some((peer, addresses)) = self.members.dial(now, hungry, &wanted) else { return };
            self.attempted += 1;
            self.actions.push_back(Action::Connect { peer, addresses });
            self.witness_neighbours();
        }
    }

    /// Returns whether this node lacks a stream that it watches, or somebody to get it from.
    fn is_hungry(&self) -> bool {
        let unfound = self.watches.values().any(|watch| watch.current.is_none());
        unfound
            || self.streams.values().any(|stream| stream.subscriber.is_some() && stream.supply.is_vacant())
    }

    /// Returns whether more sessions are sought: a node that lacks nothing dials three eighths of its places, a
    /// hungry one half, so that the rest stays free for those who come.
    fn wants_peers(&self) -> bool {
        let places = self.config.neighbours_max;
        let wanted = if self.is_hungry() { places.div_ceil(2) } else { places * 3 / 8 };
        self.sessions.len() + self.members.dialing() < wanted.max(1)
    }

    /// Returns when [`Node::run_stream`] has something to do; `look_at_followers` was called since anything changed.
    fn stream_timeout(&self, stream: &Stream) -> Option<Now> {
        let subscriber = stream.subscriber.as_ref().filter(|subscriber| !subscriber.finished);
        let tells_at = stream.supply.tells_at().unwrap_or(stream.supply_at);
        let supply = subscriber.map(|_| stream.supply_at.min(tells_at));
        let challenge =
            subscriber.filter(|subscriber| !subscriber.fresh).map(|subscriber| subscriber.challenge_at);
        let deliverable = subscriber.filter(|subscriber| subscriber.fresh).and_then(|s| s.playout.as_ref());
        let deadline = deliverable.and_then(|playout| playout.next_timeout(&stream.clock, &stream.window));
        let have = stream.have_at.flatten();
        let source = stream.source.as_ref().map(publish::Source::next_timeout);
        let report = subscriber.and_then(|_| stream.reception.next_timeout());
        let ask = stream.exchange.ask_at;
        let all =
            [supply, challenge, deadline, have, source, report, ask, stream.pull_at, stream.linger_at()];
        all.into_iter().flatten().min()
    }

    /// Finds when the next have-map is due, for streams whose neighbours were touched since that was known.
    fn look_at_followers(&mut self) {
        for stream in self.streams.values_mut().filter(|stream| stream.have_at.is_none()) {
            let tag = stream.tag();
            let remotes = self.sessions.values().filter(|s| s.greeted).filter_map(|s| s.streams.get(&tag));
            stream.have_at =
                Some(remotes.filter(|remote| remote.follows()).map(|remote| remote.have_at).min());
        }
    }

    fn find_ready(&mut self, now: Now) {
        self.uplink_until = self.uplink_until.filter(|at| *at > now);
        for session in self.sessions.values_mut() {
            session.paced_until = session.paced_until.filter(|at| *at > now);
            session.had_turn = false;
            let may_send = session.paced_until.is_none() && self.uplink.rate().is_none();
            if session.outbox.has_any(may_send) && !self.ready.contains(&session.path) {
                self.ready.push_back(session.path);
            }
        }
        let multicasts = self.multicasts.values_mut();
        multicasts.for_each(|open| open.paced_until = open.paced_until.filter(|at| *at > now));
        let waiting = self.multicasts.iter().filter(|(path, open)| self.has_multicast(**path, open));
        let waiting: Vec<_> = waiting.map(|(path, _)| *path).collect();
        for path in waiting {
            if !self.ready.contains(&path) {
                self.ready.push_back(path);
            }
        }
    }

    fn wall(&self, now: Now) -> WallClock {
        let (at, wall) = self.wall;
        WallClock(wall.0 + now.since(at).as_millis() as u64)
    }
}
