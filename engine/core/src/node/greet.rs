//! The reliable stream: greetings, offers, challenges, subscriptions.

use std::net::SocketAddr;

use super::sending::parcel;
use super::stream::{Challenge, Stream};
use super::{Action, Known, Node};
use super::{Announcement, Event, Sighting};
use crate::catalogue::Catalogue;
use crate::ids::{BlockId, Now, PathId, PeerId, StreamTag};
use crate::seal::{EpochKeys, VerifyError};
use crate::session::{Remote, Session};
use crate::wire::{CARRIED_MAX, Control, Hello, Offer, StripeMask, SubscribeFrom, Want};

/// Two nodes that dial each other at once do so within this time; a later second session replaces a lost one.
const RACE_MAX: std::time::Duration = std::time::Duration::from_secs(2);
/// Time in which a neighbour has to greet.
const GREETING_MAX: std::time::Duration = std::time::Duration::from_secs(3);
/// Time that a neighbour is given to become useful before its place may be taken.
const IDLE_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// Most challenges passed on for one stream in the time a beacon takes.
const CHALLENGES_MAX: usize = 64;

impl Node {
    pub(super) fn handle_connected(
        &mut self,
        now: Now,
        path: PathId,
        (peer, dialed): (PeerId, bool),
        remote: Option<SocketAddr>,
        datagram_bytes_max: usize,
    ) {
        self.members.handle_connected(peer);
        self.uplink.spend_handshake();
        let double = self.sessions.values().find(|session| session.peer == peer).map(|session| session.path);
        let session = Session::new(now, path, peer, remote, datagram_bytes_max);
        let full = self.sessions.len() >= self.sessions_max() && double.is_none() && !self.make_room(now);
        let stranger = dialed || self.members.is_banned(now, peer) || peer == self.config.peer;
        if full && !stranger && self.receive_guest(now, path, peer, remote) {
            return;
        }
        self.sessions.insert(path, session);
        self.look_at_greetings();
        if full || self.members.is_banned(now, peer) || peer == self.config.peer {
            return self.disconnect(now, path);
        }
        if let Some(other) = double {
            let raced = self.sessions.get(&other).is_some_and(|session| now.since(session.opened) < RACE_MAX);
            let own_dial_survives = self.config.peer < peer;
            let loser = if !raced || dialed == own_dial_survives { other } else { path };
            self.disconnect(now, loser);
            if loser == path {
                return;
            }
        }
        let hello =
            Hello { group: self.config.group.id(), proof: self.config.group.proof(self.config.peer, peer) };
        self.send_control(path, &Control::Hello(hello));
    }

    /// Returns how many sessions there may be: a publisher keeps places for those who want all of it.
    fn sessions_max(&self) -> usize {
        let guests = self.streams.values().filter_map(|stream| stream.source.as_ref());
        self.config.neighbours_max + guests.map(|source| source.unicast_max).sum::<usize>()
    }

    /// Gives up the neighbour that is of least use: one that has had time to offer a stream and exchanges nothing.
    /// Returns whether there was one.
    pub(super) fn make_room(&mut self, now: Now) -> bool {
        let idle = |session: &&Session| {
            let supplies = |tag: &StreamTag| {
                self.streams
                    .get(tag)
                    .is_some_and(|stream| !stream.supply.supplied_by(session.path).is_empty())
            };
            let useful = |(tag, remote): (&StreamTag, &Remote)| supplies(tag) || !remote.consumes.is_empty();
            now.since(session.opened) > IDLE_MIN && !session.streams.iter().any(useful)
        };
        let offers = |session: &&Session| session.streams.values().any(|remote| remote.offers);
        let least =
            self.sessions.values().filter(idle).min_by_key(|session| (offers(session), session.opened));
        let Some(path) = least.map(|session| session.path) else { return false };
        self.disconnect(now, path);
        true
    }

    pub(super) fn handle_control(&mut self, now: Now, path: PathId, message: &[u8]) {
        if self.handle_guest(path, message) {
            return;
        }
        let Some(session) = self.sessions.get(&path) else { return };
        let Ok(control) = Control::decode(message) else { return self.disconnect(now, path) };
        if let Control::Hello(hello) = control {
            return self.handle_hello(now, path, &hello);
        }
        if !session.greeted {
            return self.disconnect(now, path);
        }
        match control {
            Control::Hello(_) => {}
            Control::Offer(offer) => self.handle_offer(now, path, *offer),
            Control::Challenge { tag, nonce } => self.handle_challenge(now, path, tag, nonce),
            Control::AskTime { tag, nonce } => self.handle_ask_time(now, path, tag, nonce),
            Control::Time { tag, nonce, at, error } => self.handle_time(now, path, tag, (nonce, at, error)),
            Control::Subscribe { tag, stripes, from, patience_ms } => {
                if let Some(remote) = self.remote_mut(path, tag) {
                    remote.handle_subscriber(now, patience_ms, from == SubscribeFrom::RandomAccess);
                }
                self.handle_stripes_wanted(now, path, tag, stripes, from);
            }
            Control::Unsubscribe { tag, stripes, from } => {
                self.handle_unsubscribed(path, tag, stripes, from);
            }
            Control::Park { tag } => self.park_consumer(path, tag),
            Control::Resume { tag, from } => self.resume_consumer(now, path, tag, from),
            Control::Unicast { tag, from, patience_ms } => {
                self.handle_unicast(now, path, tag, (from, patience_ms))
            }
            Control::Busy { tag, retry_after_ms } => self.handle_busy(now, path, tag, retry_after_ms),
            Control::Choke { tag, stripes, from } => self.handle_choke(now, path, tag, (stripes, from)),
            Control::Finished { tag } => {
                if let Some(remote) = self.remote_mut(path, tag) {
                    remote.finished = true;
                    remote.consumes = StripeMask::default();
                }
                self.check_linger(now, tag);
            }
            Control::Peers(peers) => self.handle_introduction(now, peers),
            Control::Full(peers) => {
                self.handle_introduction(now, peers);
                self.disconnect(now, path);
            }
        }
    }

    fn handle_hello(&mut self, now: Now, path: PathId, hello: &Hello) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let proof = self.config.group.proof(session.peer, self.config.peer);
        if session.greeted || hello.group != self.config.group.id() || hello.proof != proof {
            return self.disconnect(now, path);
        }
        session.greeted = true;
        let (peer, remote) = (session.peer, session.remote);
        self.look_at_greetings();
        self.events.push_back(Event::NeighbourUp { peer, path });
        self.witness_neighbours();
        let offers: Vec<_> =
            self.streams.values().filter(|s| s.is_carried()).map(|s| s.offer.clone()).collect();
        for offer in offers.into_iter().take(CARRIED_MAX) {
            self.send_control(path, &Control::Offer(Box::new(offer)));
        }
        let others = self.introductions(path, peer);
        if !others.is_empty() {
            self.send_control(path, &Control::Peers(others));
        }
        self.meet(peer, remote);
    }

    /// Finds when the next session is to be given up that has yet to greet.
    pub(super) fn look_at_greetings(&mut self) {
        let strangers = self.sessions.values().filter(|session| !session.greeted);
        self.greeting_at = strangers.map(|session| session.opened.after(GREETING_MAX)).min();
    }

    pub(super) fn give_up_strangers(&mut self, now: Now) {
        let late = |session: &&Session| !session.greeted && session.opened.after(GREETING_MAX) <= now;
        let late: Vec<_> = self.sessions.values().filter(late).map(|session| session.path).collect();
        late.into_iter().for_each(|path| self.disconnect(now, path));
    }

    fn handle_introduction(&mut self, now: Now, peers: Vec<(PeerId, SocketAddr)>) {
        for (peer, address) in peers {
            let group = Some(self.config.group.id());
            let sighting =
                Sighting { peer, addresses: vec![address], group, manual: false, publishes: Vec::new() };
            self.handle_sighting(now, sighting);
        }
    }

    fn handle_offer(&mut self, now: Now, path: PathId, offer: Offer) {
        let (keys, catalogue) = match self.examine(&offer) {
            Ok(Some(examined)) => examined,
            Ok(None) => return,
            Err(_) => return self.disconnect(now, path),
        };
        let (tag, key, publisher) = (keys.tag(), offer.key, offer.publisher);
        let Some(session) = self.sessions.get_mut(&path) else { return };
        if session.streams.len() >= CARRIED_MAX && !session.streams.contains_key(&tag) {
            return;
        }
        let from_publisher = session.peer == publisher;
        let remote = session.streams.or_insert_with(tag, || Remote::new(now));
        remote.offers = true;
        if from_publisher {
            remote.be_publisher();
        }
        if let Some(catalogue) = catalogue {
            self.learn(offer, catalogue);
        }
        if !self.streams.contains_key(&tag) {
            self.consider(now, key);
        } else if let Some(stream) = self.streams.get_mut(&tag) {
            stream.supply_at = stream.supply_at.min(now);
            let unproven = stream.subscriber.as_ref().filter(|subscriber| !subscriber.fresh).map(|s| s.nonce);
            let wants_unicast = stream.unicast.wanted && from_publisher;
            let parked = stream.parked && from_publisher;
            if let Some(nonce) = unproven {
                self.send_control(path, &Control::Challenge { tag, nonce });
            }
            if wants_unicast {
                self.start_unicast(now, tag);
            } else if parked {
                self.send_control(path, &Control::Park { tag });
            }
        }
    }

    /// Returns the keys of a run that is no older than the one known, with its catalogue where this offer tells a new
    /// one. Counts what is older.
    pub(super) fn examine(
        &mut self,
        offer: &Offer,
    ) -> Result<Option<(EpochKeys, Option<Catalogue>)>, VerifyError> {
        let known = self.offers.get(&offer.key).map(|known| &known.offer);
        if known.is_some_and(|known| offer.epoch < known.epoch) {
            self.handle_old_offer(offer);
            return Ok(None);
        }
        let repeated = known == Some(offer);
        let keys = self.config.keys(offer.key, offer.epoch)?;
        let catalogue = if repeated { None } else { Some(keys.verify_offer(offer)?) };
        Ok(Some((keys, catalogue)))
    }

    /// Counts the offer of a run that is over, and keeps its tag so that what is replayed of it is counted too. One
    /// that never was does not verify.
    fn handle_old_offer(&mut self, offer: &Offer) {
        let Some(newer) = self.streams.values_mut().find(|stream| stream.keys.key() == offer.key) else {
            return;
        };
        newer.stats.replay += 1;
        let Ok(keys) = self.config.keys(offer.key, offer.epoch) else { return };
        if !self.retired.contains_key(&keys.tag()) && keys.verify_offer(offer).is_ok() {
            self.remember_retired(keys.tag(), offer.key);
        }
    }

    pub(super) fn learn(&mut self, offer: Offer, catalogue: Catalogue) {
        if self.offers.len() >= CARRIED_MAX * 4 && !self.offers.contains_key(&offer.key) {
            return;
        }
        let own = self.streams.values().find(|stream| stream.keys.key() == offer.key);
        let own =
            own.and_then(|stream| Some((stream.tag(), stream.source.as_ref()?.handle, stream.keys.epoch())));
        if let Some((tag, handle, epoch)) = own {
            if offer.epoch <= epoch {
                return;
            }
            self.events.push_back(Event::BadName { stream: handle, newer: offer.epoch });
            self.retire(tag);
        }
        self.offers.insert(offer.key, Known { offer, catalogue });
    }

    /// Passes a challenge on towards the publisher, or has it answered.
    fn handle_challenge(&mut self, now: Now, path: PathId, tag: StreamTag, nonce: u64) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        if let Some(remote) =
            self.sessions.get_mut(&path).map(|s| s.streams.or_insert_with(tag, || Remote::new(now)))
        {
            // Who passes on the challenges of many hears of this node's blocks as often as anybody else.
            if !std::mem::replace(&mut remote.challenged, true) {
                remote.have_at = now;
            }
        }
        stream.challenges.retain(|_, challenge| now.since(challenge.at).as_millis() < 250);
        let known = stream.challenges.contains_key(&nonce);
        if !known && stream.challenges.len() >= CHALLENGES_MAX {
            return;
        }
        let challenge = stream.challenges.entry(nonce).or_insert(Challenge { at: now, paths: Vec::new() });
        if !challenge.paths.contains(&path) {
            challenge.paths.push(path);
        }
        if let Some(source) = &mut stream.source {
            return source.handle_challenge(now, nonce);
        }
        if known {
            return;
        }
        let publisher = stream.publisher();
        let nearest =
            self.sessions.values().filter(|session| session.path != path && session.greeted).filter_map(
                |session| {
                    let remote = session.streams.get(&tag).filter(|remote| remote.offers)?;
                    Some((session.peer != publisher, remote.depth(), session.path))
                },
            );
        if let Some((.., nearest)) = nearest.min() {
            self.send_control(nearest, &Control::Challenge { tag, nonce });
        }
    }

    fn handle_stripes_wanted(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        stripes: StripeMask,
        from: SubscribeFrom,
    ) {
        let mut refused = stripes;
        if self.streams.get(&tag).is_some_and(Stream::is_carried) {
            let first = if let SubscribeFrom::Block(block) = from { block } else { BlockId(0) };
            for stripe in stripes.iter() {
                if self.admit(path, tag, stripe, first) {
                    refused = refused.without(StripeMask::default().with(stripe));
                }
            }
            // A joiner that finds no place is served until it is shown at least: it found nobody better. All find the
            // publisher, and others soon; where uploads are limited it would be at the cost of those who have a place.
            let publishes = self.streams.get(&tag).is_some_and(|stream| stream.source.is_some());
            let serves_all = !publishes && self.uplink.rate().is_none();
            let begins = from == SubscribeFrom::RandomAccess && serves_all;
            self.catch_up(now, path, tag, if begins { stripes } else { stripes.without(refused) }, from);
        }
        if !refused.is_empty() {
            self.send_control(path, &Control::Choke { tag, stripes: refused, from: BlockId(0) });
        }
    }

    /// Queues what a subscriber has missed so far, oldest first.
    pub(super) fn catch_up(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        stripes: StripeMask,
        from: SubscribeFrom,
    ) {
        let (Some(stream), Some(session)) = (self.streams.get(&tag), self.sessions.get_mut(&path)) else {
            return;
        };
        let remote = session.streams.or_insert_with(tag, || Remote::new(now));
        remote.have_at = now;
        let first = match from {
            SubscribeFrom::RandomAccess => stream.window.newest_random_access(),
            SubscribeFrom::Block(block) => Some(block),
        };
        let Some(first) = first.map(|first| first.max(stream.window.first())) else { return };
        for block in (first.0..stream.window.end().0).map(BlockId) {
            let Some((slot, header)) =
                stream.window.slot(block).and_then(|slot| Some((slot, slot.header()?)))
            else {
                continue;
            };
            let data = header.header().data_word() | Want::HEADER;
            let lacks = slot.word() & data & !remote.holds(block);
            if lacks != 0 && stripes.has(header.header().stripe) {
                session.outbox.push_catch_up(parcel(stream, now, block, lacks, remote.patience(now)));
            }
        }
    }

    pub(super) fn remote_mut(&mut self, path: PathId, tag: StreamTag) -> Option<&mut Remote> {
        self.sessions.get_mut(&path)?.streams.get_mut(&tag)
    }

    /// Tells every neighbour of a stream that this node carries.
    pub(super) fn offer_to_all(&mut self, tag: StreamTag) {
        let Some(offer) = self.streams.get(&tag).map(|stream| stream.offer.clone()) else { return };
        let paths: Vec<_> = self.sessions.values().filter(|s| s.greeted).map(|s| s.path).collect();
        for path in paths {
            self.send_control(path, &Control::Offer(Box::new(offer.clone())));
        }
    }

    /// Tells the LAN what is published and watched here.
    pub(super) fn announce(&mut self) {
        // A programme is told by its own name alone.
        let is_first = |stream: &&Stream| stream.catalogue.programme() == stream.catalogue.name;
        let published = self.streams.values().filter(|stream| stream.source.is_some()).filter(is_first);
        let announcement = Announcement {
            publishes: published.map(|stream| stream.catalogue.name.clone()).collect(),
            watches: self.watches.values().map(|watch| self.title(watch).to_owned()).collect(),
        };
        self.actions.push_back(Action::Announce(announcement));
    }
}

impl Stream {
    /// Returns whether this node may tell others of the stream: it publishes it, or has proof that it lives.
    pub(super) fn is_carried(&self) -> bool {
        self.source.is_some() || self.subscriber.as_ref().is_some_and(|subscriber| subscriber.fresh)
    }
}
