//! The way out: what is queued for whom, and what a path takes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::publish::{BEACON_PERIOD_MIN, BEACON_PERIOD_PUSHED, Source};
use super::stream::Stream;
use super::{Action, Node};
use super::{Batch, Event};
use crate::few::Few;
use crate::ids::{BlockId, Now, PathId, StreamTag};
use crate::schedule::{Due, ECHO_LOSS, Offerer, Parcel, Shed};
use crate::session::{Remote, Session};
use crate::wire::{Control, Datagram, HaveMap, WANTS_MAX, Want};

/// Have-maps go out at least this often.
const HAVE_PERIOD_MAX: Duration = Duration::from_millis(250);
/// And at most this often: with eight neighbours they and their acknowledgements were three quarters of all packets of
/// a stream of 8 Mbit/s when it was half as long.
const HAVE_PERIOD_MIN: Duration = Duration::from_millis(80);
/// Time since a neighbour last asked for something, or came, from which on it gets them no oftener than at least: it
/// loses nothing, and they and their acknowledgements were half of what a viewer sends by number.
const ASKED: Duration = Duration::from_secs(10);
/// Playout delay, over that longest time, from which on it can wait for them.
const HAVE_PATIENCE: u32 = 4;
/// Longest time between two where uploads are limited: half the usual playout delay, so that what is missing is still
/// found.
const HAVE_PERIOD_LIMITED: Duration = Duration::from_millis(500);
/// Time between two to or from the publisher while multicast delivers: it has all, and its beacons tell how much.
const HAVE_PERIOD_MULTICAST: Duration = Duration::from_secs(1);
/// Time between two from one viewer to the other then: who misses something presumes that the others have it. Half of
/// the silence after which the mesh no longer counts as standing by.
const HAVE_PERIOD_PARKED: Duration = Duration::from_millis(500);
/// Part of the time between two have-maps by which one may come sooner, to go out with others: one description serves
/// all.
const HAVE_TOGETHER: u32 = 4;
/// Time behind its playout delay at which a neighbour may still have use for a block: its clock is that of its own
/// fastest arrival.
const LATE_MAX: Duration = Duration::from_millis(100);
/// Age at which a session that ends makes earlier failures forgotten: who is full or sends away does so at once.
const SETTLED: Duration = Duration::from_secs(5);
/// Share of the received bytes that have-maps may take.
const HAVE_SHARE: f64 = 0.02;
/// How often a header is pushed again to whom pulls are too late for: sound is in it, and of 50 blocks a second that
/// lose 2 % each way, one a minute loses two copies.
const ECHOES: u8 = 2;
/// Bytes of a have-map with the headers of its packet.
const HAVE_BYTES: f64 = 110.0;

/// Queues parts of a block for the neighbours that its stripe is pushed to and that lack them: parity for those alone
/// for whom pulls come too late, and the header again where headers get lost. Where uploads are `limited` nothing goes
/// on that is of no use there any more.
pub(super) fn push_onward(
    sessions: &mut Few<PathId, Session>,
    stream: &Stream,
    now: Now,
    block: BlockId,
    word: u64,
    (from, limited): (Option<PathId>, bool),
) {
    let Some(header) = stream.window.slot(block).and_then(|slot| slot.header()) else { return };
    let header = header.header();
    let lossy = stream.loses_pushes();
    for session in sessions.values_mut().filter(|session| Some(session.path) != from) {
        let Some(remote) = session.streams.get(&stream.tag()) else { continue };
        let hurried = remote.is_hurried(session.rtt());
        let shards = if hurried { header.full_word() } else { header.data_word() };
        let lacks = word & (shards | Want::HEADER) & !remote.holds(block);
        if remote.takes(header.stripe, block) && lacks != 0 {
            let echoes = if hurried && lossy && lacks & Want::HEADER != 0 { ECHOES } else { 0 };
            let patience = remote.patience(now);
            let parcel = parcel(stream, now, block, lacks, patience);
            // What took long to come here is late for those behind as well.
            let closed = stream.clock.local(header.closed).filter(|_| limited).unwrap_or(now);
            let expires = closed.after(patience + LATE_MAX).min(parcel.expires);
            session.outbox.push(Parcel { echoes, expires, ..parcel }, header.priority);
        }
    }
}

/// Makes the parcel of parts of a block that this node holds.
pub(super) fn parcel(stream: &Stream, now: Now, block: BlockId, word: u64, patience: Duration) -> Parcel {
    let header = |block| Some(stream.window.slot(block)?.header()?.header());
    let begins = header(block).is_some_and(|header| header.random_access);
    let mut first = block;
    while header(first).is_some_and(|header| header.continues) && first.0 > 0 {
        first = BlockId(first.0 - 1);
    }
    let random_access = header(first).is_some_and(|header| header.random_access);
    Parcel {
        tag: stream.tag(),
        block,
        word,
        queued: now,
        expires: now.after(patience),
        begins,
        random_access,
        echoes: 0,
    }
}

/// Returns the neighbours that carry a stream.
pub(super) fn offerers(sessions: &Few<PathId, Session>, tag: StreamTag) -> Vec<Offerer> {
    let carried = |session: &Session| {
        let remote = session.streams.get(&tag).filter(|remote| remote.offers)?;
        Some(Offerer {
            path: session.path,
            distances: remote.distances,
            gives: (remote.gives, remote.heard()),
            leads: remote.leads,
            consumes: remote.consumes,
            rtt: session.rtt(),
            failures: remote.failures / 4,
        })
    };
    sessions.values().filter(|session| session.greeted).filter_map(carried).collect()
}

impl Stream {
    /// Returns whether so much is lost of what is pushed that headers go again to whom pulls are too late for.
    fn loses_pushes(&self) -> bool {
        match &self.source {
            Some(source) => source.parity.is_hurried_beyond(ECHO_LOSS),
            None => self.reception.push_loss().max(self.reception.loss()) > ECHO_LOSS,
        }
    }
}

impl Node {
    /// Sends a message on a session's reliable stream.
    pub(super) fn send_control(&mut self, path: PathId, control: &Control) {
        let message = Bytes::from(control.encode());
        self.uplink.spend_message(message.len());
        self.actions.push_back(Action::Control { path, message });
    }

    pub(super) fn fill_path(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let uplink = &mut self.uplink;
        let mut left = budget_bytes;
        while session.outbox.has_control() && left >= session.datagram_bytes_max {
            let Some(datagram) = session.outbox.pop_control() else { break };
            left = left.saturating_sub(datagram.len());
            uplink.spend_control(now, datagram.len());
            batch.datagrams.push(datagram);
        }
        session.paced_until = None;

        let rate = uplink.rate().map_or(session.pace.rate(), |rate| session.pace.rate().min(rate));
        session.outbox.shed_stale(now, rate);
        while session.outbox.has_media() && left >= session.datagram_bytes_max {
            if session.pace.allowance(now) == 0 {
                session.paced_until = Some(session.pace.next_timeout(now));
                break;
            }
            if !uplink.may_send(now) {
                self.uplink_until = Some(uplink.next_timeout(now));
                break;
            }
            let Some(due) = session.outbox.pop_media(now, uplink.rate().is_some()) else { break };
            if let Some(datagram) = take_due(&mut self.streams, due) {
                session.pace.spend(datagram.len());
                uplink.spend(datagram.len());
                left = left.saturating_sub(datagram.len());
                batch.datagrams.push(datagram);
                if uplink.rate().is_some() {
                    // Others may be more in need of the next one.
                    session.had_turn = false;
                    break;
                }
            }
        }
        let shed = session.outbox.take_shed();
        if !shed.is_empty() {
            session.pace.handle_shed();
            self.tell_shed(path, &shed);
        }
    }

    /// Tells a neighbour what it will not get, so that it does not ask for it here.
    fn tell_shed(&mut self, path: PathId, shed: &[Shed]) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let mut wants = BTreeMap::<StreamTag, Vec<Want>>::new();
        for Shed { tag, block, word } in shed.iter().filter(|shed| shed.word != 0) {
            wants.entry(*tag).or_default().push(Want { block: *block, word: *word });
            if let Some(stream) = self.streams.get_mut(tag) {
                stream.stats.shed += u64::from(word.count_ones());
            }
        }
        for (tag, wants) in wants {
            for part in wants.chunks(WANTS_MAX) {
                session.outbox.push_control(Datagram::encode_shed(tag, part).into());
            }
        }
    }

    /// Sends have-maps, and beacons behind them to whoever lacks the newest, where their time has come.
    pub(super) fn send_have_maps(&mut self, now: Now, tag: StreamTag) {
        self.look_at_followers();
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        if stream.have_at.flatten().is_none_or(|at| at > now) {
            return;
        }
        stream.have_at = None;
        let map = self.have_map(tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let datagram = Bytes::from(Datagram::encode_have(tag, &map));
        let followers = self.sessions.values().filter(|session| session.streams.contains_key(&tag)).count();
        let period = |rate: f64, least: Duration, most: Duration| {
            let seconds = HAVE_BYTES * followers as f64 / (HAVE_SHARE * rate).max(1.0);
            Duration::from_secs_f64(seconds.min(1.0)).clamp(least, most)
        };
        let least = period(stream.rate.rate(), HAVE_PERIOD_MIN, HAVE_PERIOD_MAX);
        // What goes out must be little of what the uplink carries, too.
        let limit = self.uplink.rate();
        let period = limit.map_or(least, |rate| period(rate, least, HAVE_PERIOD_LIMITED));
        let multicast = stream.source.as_ref().is_some_and(Source::is_multicast);
        let beacon_at = stream.source.as_ref().map(Source::next_beacon);
        let publisher = stream.publisher();
        let relays = beacon_at.is_none() && limit.is_none();
        for session in self.sessions.values_mut().filter(|session| session.greeted) {
            let Some(remote) = session.streams.get_mut(&tag) else { continue };
            remote.end_pushes(stream.window.base());
            let content = relays && remote.is_content(now);
            let shortest = if content { period.max(HAVE_PERIOD_MAX) } else { period };
            let together = if stream.parked { HAVE_PERIOD_PARKED } else { shortest } / HAVE_TOGETHER;
            if !remote.follows() || remote.have_at > now.after(together) {
                continue;
            }
            let period = match (multicast || stream.parked) && !remote.is_pushed() {
                true if multicast || session.peer == publisher => HAVE_PERIOD_MULTICAST,
                true => HAVE_PERIOD_PARKED,
                // The publisher is taken to hold all, and asks nobody.
                false if beacon_at.is_some() || session.peer == publisher => period.max(HAVE_PERIOD_MAX),
                false => shortest,
            };
            // A publisher's goes into one packet with a beacon, whose headers are more than either.
            remote.have_at = beacon_at.map_or(now.after(period), |at| at.after(period - HAVE_PERIOD_MAX));
            remote.open_want = false;
            stream.count_control(session.peer, datagram.len());
            session.outbox.push_control(datagram.clone());
            let newer = stream.last_beacon.as_ref().filter(|_| match beacon_at {
                Some(_) => remote.lacks_beacon(map.beacon_ms),
                None if limit.is_some() || content => {
                    remote.beacon_ms + BEACON_PERIOD_PUSHED.as_millis() as u64 <= map.beacon_ms
                }
                None => remote.beacon_ms < map.beacon_ms,
            });
            if let Some(beacon) = newer.map(|last| last.datagram.clone()) {
                remote.beacon_ms = map.beacon_ms;
                stream.count_control(session.peer, beacon.len());
                session.outbox.push_control(beacon);
            }
        }
    }

    /// Describes what this node holds of a stream, and how far from its publisher it is.
    fn have_map(&mut self, tag: StreamTag) -> HaveMap {
        let mut map = HaveMap { gives: self.gives(tag), ..HaveMap::default() };
        let offerers = offerers(&self.sessions, tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return map };
        map.beacon_ms = stream.last_beacon.as_ref().map_or(0, |last| last.beacon.at.as_millis() as u64);
        if stream.source.is_none() {
            let distances = stream.supply.distances(&offerers);
            let round = map.beacon_ms / HaveMap::ROUND_MS;
            map.depths = distances.map(|distance| distance.depth);
            map.ages = distances.map(|distance| round.saturating_sub(distance.round).min(15) as u8);
        }
        // Where uploads are limited holes stay, and to tell of each until it leaves the window would take much of them.
        let from = if self.uplink.rate().is_some() { stream.wanted_from() } else { BlockId(0) };
        stream.window.describe(&mut map, from);
        map
    }

    /// Passes the newest beacon on to the neighbours that lack it and wait for an answer that it has, or to all when it
    /// tells another state.
    pub(super) fn pass_on_beacon(&mut self, from: PathId, tag: StreamTag, changed: bool) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(last) = &stream.last_beacon else { return };
        let (at_ms, datagram) = (last.beacon.at.as_millis() as u64, last.datagram.clone());
        let nonces = last.beacon.nonces.clone();
        let challengers = stream.take_challengers(&nonces);
        let concerns = |path: &PathId| *path != from && (changed || challengers.contains(path));
        for session in self.sessions.values_mut().filter(|session| session.greeted && concerns(&session.path))
        {
            let Some(remote) = session.streams.get_mut(&tag).filter(|remote| remote.beacon_ms < at_ms) else {
                continue;
            };
            remote.beacon_ms = at_ms;
            stream.count_control(session.peer, datagram.len());
            session.outbox.push_control(datagram.clone());
        }
    }

    /// Ends a session from this side.
    pub(super) fn disconnect(&mut self, now: Now, path: PathId) {
        self.actions.push_back(Action::Disconnect { path });
        self.handle_disconnected(now, path);
    }

    pub(super) fn handle_disconnected(&mut self, now: Now, path: PathId) {
        if self.lobby.leave(path) {
            return;
        }
        let Some(session) = self.sessions.remove(&path) else { return };
        self.look_at_greetings();
        if session.greeted && now.since(session.opened) > SETTLED {
            self.members.handle_settled(session.peer);
        }
        if !self.sessions.values().any(|other| other.peer == session.peer) {
            self.members.handle_gone(now, session.peer);
        }
        if session.greeted {
            self.events.push_back(Event::NeighbourDown { peer: session.peer, path });
            self.witness_neighbours();
        }
        for stream in self.streams.values_mut() {
            stream.have_at = None;
            if stream.unicast.path == Some(path) {
                stream.supply.cancel_guest();
            }
            stream.supply.drop_path(now, path);
            stream.supply_at = now;
            stream.pulls.drop_path(path);
            stream.unicast.path = stream.unicast.path.filter(|unicast| *unicast != path);
            stream.pull_at = stream.pull_at.map(|_| now);
        }
        let lingering = self.streams.values().filter(|stream| stream.linger_until.is_some());
        let lingering: Vec<_> = lingering.map(Stream::tag).collect();
        lingering.into_iter().for_each(|tag| self.check_linger(now, tag));
    }
}

impl Remote {
    /// Has the next have-map go no later than where nothing is parked: it may have been put off for longer.
    pub(super) fn hasten_have(&mut self, now: Now) {
        self.have_at = self.have_at.min(now.after(HAVE_PERIOD_MAX));
    }

    /// Returns whether a routine beacon made `at_ms` after the stream's start should go from its publisher.
    pub(super) fn lacks_beacon(&self, at_ms: u64) -> bool {
        let period = if self.is_pushed() { BEACON_PERIOD_PUSHED } else { BEACON_PERIOD_MIN };
        let period = period.as_millis() as u64;
        at_ms >= self.beacon_ms.saturating_add(period)
    }

    /// Returns whether the neighbour can wait for have-maps: it asks for nothing, and has the time.
    fn is_content(&self, now: Now) -> bool {
        now.since(self.asked()) > ASKED && self.patience(now) >= HAVE_PERIOD_MAX * HAVE_PATIENCE
    }

    /// Returns whether the neighbour wants to know what this node holds.
    pub(super) fn follows(&self) -> bool {
        (self.offers || self.challenged || !self.consumes.is_empty()) && !self.finished
    }
}

/// Looks a part up in the window and counts it as sent; `None` when it has left the window meanwhile.
fn take_due(streams: &mut Few<StreamTag, Stream>, due: Due) -> Option<Bytes> {
    let stream = streams.get_mut(&due.tag)?;
    let datagram = stream.window.slot(due.block)?.datagram(due.index)?.clone();
    let stats = &mut stream.stats;
    if due.pulled {
        stats.fragments_requested_by_peers += 1;
        stats.bytes_requested_by_peers += datagram.len() as u64;
    } else {
        stats.fragments_pushed_to_peers += 1;
        stats.bytes_pushed_to_peers += datagram.len() as u64;
    }
    Some(datagram)
}
