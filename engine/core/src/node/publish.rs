//! Publishing: access units in, sealed blocks out, beacons while the publisher lives.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::multicast::OFFER_PERIOD;
use super::stream::{LastBeacon, Stream};
use super::uplink::wire_bytes;
use super::{Event, Publication};
use super::{Node, sending};
use crate::catalogue::{AccessUnit, Catalogue, TrackKind};
use crate::fragment::{Cutter, Draft, Submission};
use crate::ids::{
    BlockId, MediaTime, Now, PathId, Priority, STRIPES, StreamHandle, StreamTag, Stripe, WallClock,
};
use crate::multicast::MulticastChoice;
use crate::schedule::{Audience, Broadcast, Gather, LOSS_MAX, ParityRate, RateMeter};
use crate::seal::{SealedBlock, Sealer, Unsealed};
use crate::window::Window;
use crate::wire::{
    Beacon, BlockHeader, NONCES_MAX, SHARD_PLAIN_BYTES, SHARDS_MAX, StreamState, Want, is_carried,
};

/// Time between two beacons: quiet and dead differ within half a second.
const BEACON_PERIOD: Duration = Duration::from_millis(250);
/// How much earlier one goes out with a block, which comes every 40 ms in most streams, and every 43 ms in AAC.
const BEACON_EARLY: Duration = Duration::from_millis(45);
/// Shortest time between two to who has not asked for more: those between answer the challenges of others.
pub(super) const BEACON_PERIOD_MIN: Duration = Duration::from_millis(250 - 45);
/// Time between two to a viewer that takes pushes of a stream that flows: each block is signed and numbered, and tells
/// most of what a beacon does. The half of a period less allows for those that go out early.
pub(super) const BEACON_PERIOD_PUSHED: Duration = Duration::from_millis(500 - 125);
/// Shortest time between two beacons, when challenges wait for an answer.
const BEACON_GAP_MIN: Duration = Duration::from_millis(20);
/// Most data shards of a block where uploads are limited: the picture of a random-access point goes by all stripes, so
/// that nobody has to push all of it to several at once.
const LIMITED_DATA: u8 = 4;
/// Time over which stripes are kept level.
const LEVEL_PERIOD: Duration = Duration::from_secs(2);
/// Silence of the source after which the publisher says that it pauses: viewers take half a second of it for an alarm.
const PAUSE_AFTER: Duration = Duration::from_millis(200);
/// Time after which it says so again, in case the word was lost.
const PAUSE_AGAIN: Duration = Duration::from_millis(50);
/// Time for which an ended stream is announced to those who only hear multicast: four beacons.
const LINGER_MULTICAST: Duration = Duration::from_secs(1);
/// Longest time an ended stream is handed on.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(5);

/// Bytes that each stripe was dealt of late: a block goes to the lowest.
#[derive(Debug, Default)]
struct Levels {
    bytes: [usize; STRIPES as usize],
    dealt: VecDeque<(Now, Stripe, usize)>,
}

impl Levels {
    fn deal(&mut self, now: Now, bytes: usize) -> Stripe {
        while self.dealt.front().is_some_and(|(at, ..)| now.since(*at) > LEVEL_PERIOD) {
            let dealt = self.dealt.pop_front();
            dealt.into_iter().for_each(|(_, stripe, bytes)| self.bytes[usize::from(stripe.0)] -= bytes);
        }
        let lowest = (0..STRIPES).min_by_key(|stripe| self.bytes[usize::from(*stripe)]).unwrap_or(0);
        self.bytes[usize::from(lowest)] += bytes;
        self.dealt.push_back((now, Stripe(lowest), bytes));
        Stripe(lowest)
    }
}

/// The publisher's side of a stream.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) handle: StreamHandle,
    sealer: Sealer,
    cutter: Cutter,
    levels: Levels,
    began: Now,
    last_dts: [Option<i64>; crate::catalogue::TRACKS_MAX],
    random_access: Option<BlockId>,
    blocks: u64,
    state: StreamState,
    beacon_at: Now,
    beacon_sent: Now,
    pub(super) nonces: Vec<u64>,
    /// Those of the newest beacon: the next one names them too, since a packet may be lost.
    pub(super) answered: Vec<u64>,
    /// What its blocks take on the wire.
    made: RateMeter,
    /// When the last access unit came.
    unit_at: Now,
    /// When the word that the source pauses is repeated.
    pause_again: Option<Now>,
    pub(super) audience: Audience,
    pub(super) parity: ParityRate,
    pub(super) broadcasts: BTreeMap<PathId, Broadcast>,
    pub(super) gather: Gather,
    pub(super) offer_at: Now,
    pub(super) multicast_rate_max: u64,
    /// Viewers that must confirm a multicast path: one when the user named the group, else two, since one costs as
    /// much by unicast.
    pub(super) hearers_min: usize,
    pub(super) unicast_max: usize,
    /// Most data shards of a block.
    data_max: u8,
}

impl Source {
    /// Returns when blocks must be closed or a beacon is due.
    pub(super) fn next_timeout(&self) -> Now {
        let offer = if self.broadcasts.is_empty() { None } else { Some(self.offer_at) };
        let pause = if self.state == StreamState::Live {
            Some(self.unit_at.after(PAUSE_AFTER))
        } else {
            self.pause_again
        };
        let others = [self.cutter.next_timeout(), self.gather.next_timeout(), offer, pause];
        others.into_iter().flatten().fold(self.beacon_at, Now::min)
    }

    /// Returns whether a beacon may go with a block, into one packet whose headers are more than it.
    fn is_beacon_soon(&self, now: Now) -> bool {
        self.beacon_at <= now.after(BEACON_EARLY)
    }

    /// Returns when a beacon is due.
    pub(super) fn next_beacon(&self) -> Now {
        self.beacon_at
    }

    /// Sends beacon and offer as soon as may be: a multicast path came up.
    pub(super) fn hasten(&mut self, now: Now) {
        self.beacon_at = self.beacon_at.min(now);
        self.offer_at = self.offer_at.min(now);
    }

    /// Returns what its blocks take on the wire without their parity, bytes per second with all headers; 0 in the first
    /// second.
    pub(super) fn wire_rate(&self) -> f64 {
        self.made.latest().unwrap_or(0.0)
    }

    /// Returns whether media is multicast anywhere.
    pub(super) fn is_multicast(&self) -> bool {
        self.broadcasts.values().any(Broadcast::is_media)
    }

    /// Decides anew where media is multicast; `rate` is the stream's, bytes a second.
    pub(super) fn review(&mut self, now: Now, rate: f64) {
        for (path, broadcast) in &mut self.broadcasts {
            broadcast.review(now, *path, &self.audience, rate);
        }
        let loss = self.broadcasts.values().map(Broadcast::loss).fold(0.0, f64::max);
        let pushed = self.audience.hurried_push_loss(now, LOSS_MAX);
        let hurried = pushed.is_some() || self.broadcasts.values().any(Broadcast::is_hurried);
        self.parity.handle_loss(now, loss.max(pushed.unwrap_or(0.0)), hurried);
        self.cutter.limit_data(self.parity.data_max().min(self.data_max));
    }

    /// Says that the source pauses, when it is silent; returns whether a beacon has to tell.
    fn check_pause(&mut self, now: Now) -> bool {
        if self.state == StreamState::Live && now >= self.unit_at.after(PAUSE_AFTER) {
            self.state = StreamState::Paused;
            self.pause_again = Some(now.after(PAUSE_AGAIN));
            return true;
        }
        let again = self.pause_again.is_some_and(|at| at <= now);
        if again {
            self.pause_again = None;
        }
        again
    }

    /// Returns the time since the epoch began.
    pub(super) fn time(&self, now: Now) -> Duration {
        now.since(self.began)
    }

    /// Takes a challenge; it is answered by a beacon soon.
    pub(super) fn handle_challenge(&mut self, now: Now, nonce: u64) {
        // Of the ways by which a challenge comes the first ones are enough.
        let known = self.nonces.contains(&nonce) || self.answered.contains(&nonce);
        if self.nonces.len() < NONCES_MAX && !known {
            self.nonces.push(nonce);
            self.beacon_at = self.beacon_at.min(self.beacon_sent.after(BEACON_GAP_MIN).max(now));
        }
    }

    fn accepts(&mut self, unit: &AccessUnit, catalogue: &Catalogue) -> bool {
        let Some(last) = self.last_dts.get_mut(usize::from(unit.track.0)) else { return false };
        let accepted = catalogue.track(unit.track).is_some()
            && is_carried(unit)
            && !unit.payload.is_empty()
            && last.is_none_or(|last| last <= unit.dts);
        if accepted {
            *last = Some(unit.dts);
        }
        accepted
    }

    /// Gives a block its number and stripe, and the parity that the viewers' loss calls for.
    fn number<'a>(&mut self, now: Now, draft: &'a Draft) -> Unsealed<'a> {
        let block = BlockId(self.blocks);
        self.blocks += 1;
        if draft.random_access {
            self.random_access = Some(block);
            // In a stream of sound every block is one.
            let soon = self.offer_at <= now.after(OFFER_PERIOD / 2);
            self.offer_at = if soon { now } else { self.offer_at };
        }
        let header = BlockHeader {
            block,
            stripe: self.levels.deal(now, draft.plain.len()),
            priority: draft.priority,
            continues: draft.continues,
            random_access: draft.random_access,
            data: 1,
            parity: 0,
            last_shard_bytes: 0,
            closed: now.since(self.began),
            media_time: draft.media_time,
            leaves: Vec::new(),
        };
        let data = draft.plain.len().div_ceil(SHARD_PLAIN_BYTES) as u8;
        let wanted = self.is_multicast() || self.parity.is_hurried_beyond(0.0);
        let parity = if wanted { self.parity.shards(data) } else { 0 };
        Unsealed { header, plain: &draft.plain, parity }
    }

    fn beacon(&mut self, now: Now, wall: WallClock, full: bool) -> Beacon {
        self.beacon_sent = now;
        self.beacon_at = now.after(BEACON_PERIOD);
        let mut nonces = std::mem::take(&mut self.nonces);
        let before = std::mem::replace(&mut self.answered, nonces.clone());
        nonces.extend(before.into_iter().take(NONCES_MAX - nonces.len().min(NONCES_MAX)));
        Beacon {
            epoch: self.sealer.keys().epoch(),
            at: now.since(self.began),
            wall,
            state: self.state,
            multicast: self.is_multicast(),
            full,
            blocks: self.blocks,
            random_access: self.random_access,
            rate: self.wire_rate() as u64,
            nonces,
        }
    }
}

/// Works out what a stream knows of an access unit.
fn submission(unit: AccessUnit, catalogue: &Catalogue) -> Option<Submission> {
    let track = catalogue.track(unit.track)?;
    let priority = match track.kind {
        TrackKind::Video if unit.disposable && !unit.key => Priority::Disposable,
        TrackKind::Video => Priority::Reference,
        TrackKind::Audio | TrackKind::Data | TrackKind::Subtitle => Priority::Essential,
    };
    let random_access = unit.key && catalogue.lead_track().is_some_and(|lead| lead.id == track.id);
    let media_time = MediaTime(track.time_base.to_micros(unit.pts));
    Some(Submission { unit, priority, random_access, media_time })
}

impl Node {
    pub(super) fn handle_publish(&mut self, now: Now, publication: Publication) {
        let Publication { handle, mut catalogue, key_seed, epoch, multicast, .. } = publication;
        let Publication { multicast_rate_max, unicast_max, .. } = publication;
        catalogue.multicast = match multicast {
            MulticastChoice::At(group) => Some(group),
            MulticastChoice::Auto | MulticastChoice::Off => None,
        };
        let sealed = Sealer::new(&self.config.group, &key_seed, epoch)
            .ok()
            .and_then(|sealer| Some((sealer.seal_offer(&catalogue, 0, self.config.peer).ok()?, sealer)));
        let Some((offer, sealer)) = sealed.filter(|_| !self.handles.contains_key(&handle)) else {
            self.events.push_back(Event::Unpublished { stream: handle, complete: false });
            return;
        };
        let keys = sealer.keys().clone();
        let (tag, key) = (keys.tag(), keys.key());
        let window = Window::new(BlockId(0), self.config.window_bytes_max, self.config.window_duration);
        let name = catalogue.name.clone();
        let mut stream = Stream::new(now, keys, (offer, catalogue), window, 0);
        stream.window.keep_parity();
        stream.started = true;
        let data_max = if self.uplink.rate().is_some() { LIMITED_DATA } else { SHARDS_MAX as u8 };
        let mut cutter = Cutter::default();
        cutter.limit_data(data_max);
        stream.source = Some(Source {
            handle,
            sealer,
            cutter,
            levels: Levels::default(),
            began: now,
            last_dts: [None; crate::catalogue::TRACKS_MAX],
            random_access: None,
            blocks: 0,
            state: StreamState::Live,
            beacon_at: now,
            beacon_sent: now,
            nonces: Vec::new(),
            answered: Vec::new(),
            made: RateMeter::new(now),
            unit_at: now,
            pause_again: None,
            audience: Audience::default(),
            parity: ParityRate::new(now),
            broadcasts: BTreeMap::new(),
            gather: Gather::default(),
            offer_at: now,
            multicast_rate_max,
            hearers_min: if matches!(multicast, MulticastChoice::At(_)) { 1 } else { 2 },
            unicast_max,
            data_max,
        });
        self.handles.insert(handle, tag);
        self.streams.insert(tag, stream);
        self.events.push_back(Event::Published { stream: handle, key });
        self.offer_to_all(tag);
        self.announce();
        self.open_channel(handle, &name, multicast);
    }

    pub(super) fn handle_send(&mut self, now: Now, handle: StreamHandle, unit: AccessUnit, more: bool) {
        let Some(stream) = self.handles.get(&handle).and_then(|tag| self.streams.get_mut(tag)) else {
            return;
        };
        let Some(source) = stream.source.as_mut().filter(|source| source.state != StreamState::Ended) else {
            return;
        };
        if !source.accepts(&unit, &stream.catalogue) {
            stream.stats.malformed += 1;
            return;
        }
        stream.stats.access_units += 1;
        stream.stats.access_unit_bytes += unit.payload.len() as u64;
        let Some(submission) = submission(unit, &stream.catalogue) else { return };
        let mut drafts = Vec::new();
        source.cutter.push(now, &submission, more, &mut drafts);
        source.unit_at = now;
        let resumes = source.state == StreamState::Paused;
        source.state = StreamState::Live;
        source.pause_again = None;
        let beside = !drafts.is_empty() && !resumes && source.is_beacon_soon(now);
        let tag = stream.tag();
        if resumes {
            self.send_beacon(now, tag);
        }
        self.send_blocks(now, tag, drafts);
        if beside {
            self.send_beacon(now, tag);
        }
    }

    pub(super) fn handle_end(&mut self, now: Now, handle: StreamHandle) {
        let Some(stream) = self.handles.get(&handle).and_then(|tag| self.streams.get_mut(tag)) else {
            return;
        };
        let Some(source) = stream.source.as_mut().filter(|source| source.state != StreamState::Ended) else {
            return;
        };
        let (tag, mut drafts) = (stream.keys.tag(), Vec::new());
        source.cutter.close_all(&mut drafts);
        self.send_blocks(now, tag, drafts);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        if let Some(source) = &mut stream.source {
            source.state = StreamState::Ended;
            source.pause_again = None;
            stream.linger_until = Some(now.after(LINGER_MAX));
            stream.linger_from = source.is_multicast().then(|| now.after(LINGER_MULTICAST));
        }
        self.send_beacon(now, tag);
        self.check_linger(now, tag);
    }

    /// Closes blocks and sends beacons that are due.
    pub(super) fn run_source(&mut self, now: Now, tag: StreamTag) {
        let Some(source) = self.streams.get_mut(&tag).and_then(|stream| stream.source.as_mut()) else {
            return;
        };
        let mut drafts = Vec::new();
        source.cutter.close_due(now, &mut drafts);
        let beside = !drafts.is_empty() && source.is_beacon_soon(now);
        let beacon_due = source.check_pause(now) | (source.beacon_at <= now) | beside;
        let offer_due = source.offer_at <= now && !source.broadcasts.is_empty();
        self.send_blocks(now, tag, drafts);
        if beacon_due {
            self.send_beacon(now, tag);
        }
        if offer_due {
            self.send_multicast_offer(now, tag);
        }
        self.serve_gathered(now, tag);
    }

    /// Answers pulls that were gathered: what many miss is multicast once.
    fn serve_gathered(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(source) = &mut stream.source else { return };
        let served = source.gather.serve(now);
        for (block, word) in served.repeat {
            source.broadcasts.values_mut().for_each(|broadcast| broadcast.repeat(now, block, word));
        }
        for (path, block, word) in served.single {
            let Some(session) = self.sessions.get_mut(&path) else { continue };
            let header = stream.window.slot(block).and_then(|slot| slot.header());
            let (Some(remote), Some(header)) = (session.streams.get(&tag), header) else { continue };
            let parcel = sending::parcel(stream, now, block, word, remote.patience(now));
            session.outbox.push_pulled(parcel, header.header().priority);
        }
    }

    /// Seals blocks that closed together, and hands them on.
    fn send_blocks(&mut self, now: Now, tag: StreamTag, drafts: Vec<Draft>) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(source) = &mut stream.source else { return };
        for draft in &drafts {
            stream.rate.add(now, draft.plain.len());
        }
        let unsealed = drafts.iter().map(|draft| source.number(now, draft)).collect();
        source.sealer.seal_all(unsealed).into_iter().for_each(|block| self.send_block(now, tag, block));
    }

    fn send_block(&mut self, now: Now, tag: StreamTag, sealed: SealedBlock) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let header = sealed.header.header();
        let (block, word) = (header.block, header.full_word() | Want::HEADER);
        let bytes = wire_bytes(header, sealed.header.datagram().len());
        stream.last_fragment = Some(now);
        stream.window.insert_header(now, sealed.header);
        for fragment in sealed.fragments {
            stream.window.insert_fragment(now, fragment);
        }
        stream.window.trim(now, BlockId(u64::MAX));
        if let Some(source) = &mut stream.source {
            source.made.add(now, bytes);
            source.broadcasts.values_mut().for_each(|broadcast| broadcast.push(now, block, word));
        }
        sending::push_onward(&mut self.sessions, stream, now, block, word, (None, false));
    }

    fn send_beacon(&mut self, now: Now, tag: StreamTag) {
        let (wall, full) = (self.wall(now), !self.serves_one_more(tag, None));
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let rate = stream.rate.rate();
        let Some(source) = &mut stream.source else { return };
        source.review(now, rate);
        let handle = source.handle;
        let due = source.beacon_at;
        let beacon = source.beacon(now, wall, full);
        let datagram = source.sealer.seal_beacon(&beacon);
        let at_ms = beacon.at.as_millis() as u64;
        let urgent = beacon.state != StreamState::Live || stream.state_changed(&beacon);
        let challengers = stream.take_challengers(&beacon.nonces);
        let multicast = beacon.multicast;
        stream.last_beacon = Some(LastBeacon { beacon, datagram: datagram.clone(), received: now });
        stream.have_at = None;
        for session in self.sessions.values_mut().filter(|session| session.greeted) {
            if let Some(remote) = session.streams.get_mut(&tag) {
                remote.have_at = if remote.have_at <= due { now } else { remote.have_at };
                // Who has the stream by multicast hears it there, and says so as soon as that falls silent; meanwhile
                // the have-map, once a second, has the newest beside it.
                let rests = multicast && remote.parked;
                let urgent = urgent || challengers.contains(&session.path);
                if !urgent && (rests || !remote.lacks_beacon(at_ms)) {
                    continue;
                }
                remote.beacon_ms = at_ms;
            }
            stream.stats.control_bytes_to_peers += datagram.len() as u64;
            session.outbox.push_control(datagram.clone());
        }
        for open in self.multicasts.values_mut().filter(|open| open.handle == handle) {
            stream.stats.control_bytes_to_peers += datagram.len() as u64;
            open.push_control(datagram.clone());
        }
    }
}
