//! The way in: verify, store, pass on, deliver.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::rand_core::Rng;

use super::Node;
use super::sending::push_onward;
use super::stream::{LastBeacon, Stream};
use crate::ids::{BlockId, Now, PathId, StreamTag};
use crate::seal::{Hashed, VerifyError};
use crate::session::STRIKES_MAX;
use crate::window::Inserted;
use crate::wire::{BlockHeader, Datagram, FragmentView, Want, peek_tag};

/// How a datagram came: by a session, or by a multicast path from somebody who says to be `from`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Via {
    pub(super) path: PathId,
    pub(super) from: Option<SocketAddr>,
}

impl Via {
    pub(super) fn is_multicast(self) -> bool {
        self.from.is_some()
    }
}

/// How a fragment is counted.
#[derive(Clone, Copy, Debug)]
struct Origin {
    multicast: bool,
    /// Whether it came by the publisher's own session.
    publisher: bool,
    asked: bool,
}

impl Node {
    /// Takes datagrams that came together: what can be hashed is hashed side by side.
    pub(super) fn handle_run(
        &mut self,
        now: Now,
        path: PathId,
        from: Option<SocketAddr>,
        datagrams: Vec<Bytes>,
    ) {
        let heard = from.is_some() || self.sessions.get(&path).is_some_and(|session| session.greeted);
        let wanted = |tag| heard && self.streams.get(&tag).is_some_and(|stream| stream.source.is_none());
        for hashed in Hashed::run(datagrams, wanted) {
            match from {
                None => self.handle_datagram(now, path, hashed),
                Some(from) => self.handle_multicast(now, path, from, hashed),
            }
        }
    }

    pub(super) fn handle_datagram(&mut self, now: Now, path: PathId, hashed: Hashed) {
        let datagram = hashed.datagram();
        let Some(tag) = peek_tag(datagram) else { return self.strike(now, path) };
        if !self.sessions.get(&path).is_some_and(|session| session.greeted) {
            return;
        }
        if !self.streams.contains_key(&tag) {
            return self.handle_unknown_tag(tag);
        }
        let via = Via { path, from: None };
        match Datagram::decode(datagram) {
            Ok(Datagram::Header) => self.handle_header(now, via, tag, datagram.clone()),
            Ok(Datagram::Fragment(view)) => self.handle_fragment(now, via, tag, view, hashed),
            Ok(Datagram::Beacon) => self.handle_beacon(now, via, tag, datagram.clone()),
            Ok(Datagram::Report) => self.handle_report(now, via, tag, datagram),
            Ok(Datagram::Have(map)) => self.handle_have(now, path, tag, &map, datagram.len()),
            Ok(Datagram::Pull(wants)) => self.handle_pull(now, path, tag, &wants, datagram.len()),
            Ok(Datagram::Nack(wants)) => self.handle_lack(now, path, tag, &wants, false),
            Ok(Datagram::Shed(wants)) => self.handle_lack(now, path, tag, &wants, true),
            Ok(Datagram::Offer(_)) | Err(_) => {
                self.streams.get_mut(&tag).into_iter().for_each(|stream| stream.stats.malformed += 1);
                self.strike(now, path);
            }
        }
    }

    /// Counts a forgery against the neighbour that sent it, and shuns it when they add up.
    fn strike(&mut self, now: Now, path: PathId) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        session.strikes += 1;
        if session.strikes >= STRIKES_MAX {
            self.members.ban(now, session.peer);
            self.disconnect(now, path);
        }
    }

    /// Counts a forgery against whoever sent it.
    pub(super) fn blame(&mut self, now: Now, via: Via) {
        match via.from {
            None => self.strike(now, via.path),
            Some(from) => {
                self.multicasts.get_mut(&via.path).into_iter().for_each(|open| open.blame(now, from))
            }
        }
    }

    /// Returns whether some neighbour carries a stream.
    fn has_carrier(&self, tag: StreamTag) -> bool {
        let mut sessions = self.sessions.values().filter(|session| session.greeted);
        sessions.any(|session| session.streams.get(&tag).is_some_and(|remote| remote.offers))
    }

    /// Returns whether a path is a session with a stream's publisher.
    pub(super) fn is_publisher(&self, path: PathId, tag: StreamTag) -> bool {
        let publisher = self.streams.get(&tag).map(Stream::publisher);
        self.sessions.get(&path).is_some_and(|session| Some(session.peer) == publisher)
    }

    pub(super) fn handle_unknown_tag(&mut self, tag: StreamTag) {
        let newer =
            self.retired.get(&tag).and_then(|key| self.streams.values_mut().find(|s| s.keys.key() == *key));
        if let Some(stream) = newer {
            stream.stats.replay += 1;
        }
    }

    pub(super) fn handle_header(&mut self, now: Now, via: Via, tag: StreamTag, datagram: Bytes) {
        let limited = self.uplink.rate().is_some();
        let publisher = self.is_publisher(via.path, tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Ok((claimed, ..)) = BlockHeader::decode(&datagram) else {
            stream.stats.malformed += 1;
            return self.blame(now, via);
        };
        let part = Want::HEADER | u64::from(claimed.is_inline());
        if let Some(held) = stream.window.slot(claimed.block).and_then(|slot| slot.header()) {
            let same = *held.datagram() == datagram;
            return self.handle_header_again(now, via, tag, &claimed, same);
        }
        let bytes = datagram.len();
        let header = match stream.keys.verify_header_among(datagram, &mut stream.roots) {
            Ok(header) => header,
            Err(_) => {
                stream.stats.forged += 1;
                self.witness_forgery(now, tag);
                return self.blame(now, via);
            }
        };
        if !stream.start(now, claimed.random_access.then_some(claimed.block)) {
            return;
        }
        let evident = stream.window.slot(claimed.block).map(|slot| slot.evident());
        match stream.window.insert_header(now, header) {
            Inserted::New => {}
            Inserted::Old => {
                stream.stats.late += u64::from(claimed.is_inline());
                return;
            }
            Inserted::Duplicate | Inserted::Spare | Inserted::Ahead => return,
        }
        stream.clock.handle_arrival(now, claimed.closed);
        let asked = stream.note_header(now, via, &claimed, evident);
        if !asked && !via.is_multicast() {
            let others = self.sessions.values_mut().filter(|session| session.path != via.path);
            let others = others.filter_map(|session| session.streams.get_mut(&tag));
            others.for_each(|remote| remote.handle_push_elsewhere(now, claimed.block, claimed.stripe));
        }
        if claimed.is_inline() {
            stream.count_fragment(now, bytes, Origin { multicast: via.is_multicast(), publisher, asked });
        }
        let mut word = part;
        let mut forged = Vec::new();
        for orphan in stream.orphans.take(claimed.block) {
            match stream.accept_orphan(now, orphan.view, orphan.datagram, orphan.via, publisher) {
                Ok(true) => word |= 1 << orphan.view.id.index,
                Ok(false) => {}
                Err(_) => forged.push(orphan.via),
            }
        }
        word |= stream.recover(now, claimed.block);
        if !via.is_multicast() {
            stream.note_progress(now, via.path, claimed.block);
        }
        push_onward(&mut self.sessions, stream, now, claimed.block, word, (Some(via.path), limited));
        for via in forged {
            self.witness_forgery(now, tag);
            self.blame(now, via);
        }
        if word & Want::SHARDS != 0 || via.is_multicast() {
            self.witness(now, via, tag, claimed.block, word & Want::SHARDS != 0);
        }
        if !asked && !via.is_multicast() {
            self.settle_unicast(via.path, tag, claimed.stripe);
        }
        self.after_insert(now, via.path, tag, claimed.block, word);
    }

    /// Takes note of a header that is held already, or of a datagram that pretends to be it.
    fn handle_header_again(&mut self, now: Now, via: Via, tag: StreamTag, claimed: &BlockHeader, same: bool) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let part = Want::HEADER | u64::from(claimed.is_inline());
        if via.is_multicast() && same {
            stream.reception.handle_parts(now, claimed.block, part);
            return self.witness(now, via, tag, claimed.block, false);
        }
        if same {
            stream.reception.handle_pushed(now, claimed.block, part);
        }
        stream.stats.duplicate += u64::from(claimed.is_inline());
    }

    pub(super) fn handle_fragment(
        &mut self,
        now: Now,
        via: Via,
        tag: StreamTag,
        view: FragmentView,
        datagram: Hashed,
    ) {
        let limited = self.uplink.rate().is_some();
        let block = view.id.block;
        let publisher = self.is_publisher(via.path, tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(slot) = stream.window.slot(block) else {
            if block < stream.window.first() && stream.started {
                stream.stats.late += 1;
            } else if block <= stream.newest_max(now) {
                stream.stats.orphan += stream.orphans.push(now, via, view, datagram);
            }
            return;
        };
        if slot.header().is_none() {
            stream.stats.orphan += stream.orphans.push(now, via, view, datagram);
            return stream.look_for_holes(now);
        }
        let bit = 1 << view.id.index;
        let asked = stream.pulls.settle(block, bit);
        let origin = Origin { multicast: via.is_multicast(), publisher, asked };
        match stream.accept_fragment(now, view, datagram, origin) {
            Ok(true) => {}
            Ok(false) if via.is_multicast() => return self.witness(now, via, tag, block, false),
            Ok(false) => return,
            Err(_) => {
                self.witness_forgery(now, tag);
                return self.blame(now, via);
            }
        }
        if !via.is_multicast() {
            stream.note_progress(now, via.path, block);
        }
        let recovered = stream.recover(now, block);
        let pushed = bit | recovered;
        push_onward(&mut self.sessions, stream, now, block, pushed, (Some(via.path), limited));
        self.witness(now, via, tag, block, true);
        self.after_insert(now, via.path, tag, block, bit | recovered);
    }

    fn after_insert(&mut self, now: Now, path: PathId, tag: StreamTag, block: BlockId, word: u64) {
        if let Some(remote) = self.remote_mut(path, tag) {
            remote.note(block, word, block);
        }
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.look_for_holes(now);
        for session in self.sessions.values_mut() {
            if let Some(remote) = session.streams.get_mut(&tag).filter(|remote| remote.open_want) {
                remote.have_at = now;
                stream.have_at = None;
            }
        }
        self.give_up_missed(now, tag);
        self.deliver(now, tag);
    }

    pub(super) fn handle_beacon(&mut self, now: Now, via: Via, tag: StreamTag, datagram: Bytes) {
        let chance = self.rng.next_u64();
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.stats.control_bytes_from_peers += datagram.len() as u64;
        if stream.source.is_some() {
            return;
        }
        if let Some(last) = stream.last_beacon.as_ref().filter(|last| last.datagram == datagram) {
            let at = last.beacon.at;
            stream.hear(now, via, at, chance);
            return self.witness_hearing(now, via, tag);
        }
        let beacon = match stream.keys.verify_beacon(&datagram) {
            Ok(beacon) => beacon,
            Err(_) => {
                stream.stats.forged += 1;
                self.witness_forgery(now, tag);
                return self.blame(now, via);
            }
        };
        let at_ms = beacon.at.as_millis() as u64;
        if let Some(remote) = self.remote_mut(via.path, tag) {
            remote.beacon_ms = remote.beacon_ms.max(at_ms);
        }
        let agrees = self.agrees_with_wall_clock(now, beacon.wall.0);
        // Without a neighbour nothing that was sent before can be had: playout begins at a point that comes by itself.
        let has_carrier = self.has_carrier(tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.hear(now, via, beacon.at, chance);
        self.witness_hearing(now, via, tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        if stream.last_beacon.as_ref().is_some_and(|last| last.beacon.at >= beacon.at) {
            return;
        }
        let proven = agrees && stream.reception.proves();
        let answered = stream
            .subscriber
            .as_ref()
            .is_some_and(|s| !s.fresh && (proven || beacon.nonces.contains(&s.nonce)));
        if let Some(subscriber) = stream.subscriber.as_ref().filter(|s| beacon.nonces.contains(&s.nonce)) {
            stream.clock.handle_answer(now, subscriber.drawn, beacon.at);
        }
        let changed = stream.state_changed(&beacon);
        let (random_access, newest) = (beacon.random_access, beacon.newest());
        stream.clock.handle_arrival(now, beacon.at);
        stream.last_beacon = Some(LastBeacon { beacon, datagram: datagram.clone(), received: now });
        stream.start(now, random_access.filter(|_| has_carrier));
        if let Some(newest) = newest.filter(|_| stream.started) {
            stream.window.expect(now, newest);
        }
        stream.look_for_holes(now);
        self.pass_on_beacon(via.path, tag, changed);
        if answered {
            self.handle_fresh(now, tag);
        }
        self.deliver(now, tag);
        self.witness_beacon(now, tag);
    }
}

impl Stream {
    /// Gives the window its start; returns whether it has one.
    fn start(&mut self, now: Now, random_access: Option<BlockId>) -> bool {
        if let Some(first) = random_access.filter(|_| !self.started) {
            self.started = true;
            self.window.start_at(first);
            self.start_playout(now, first);
        }
        self.started
    }

    /// Settles what was asked for of a block whose header came; returns whether that was.
    fn note_header(&mut self, now: Now, via: Via, header: &BlockHeader, evident: Option<Now>) -> bool {
        let word = Want::HEADER | u64::from(header.is_inline());
        let asked = self.pulls.settle(header.block, word);
        self.pulls.handle_header(header.block, header.data_word());
        if via.is_multicast() {
            self.reception.handle_parts(now, header.block, word);
        } else if !asked {
            self.reception.handle_pushed(now, header.block, word);
            self.supply.handle_push(now, via.path, header.stripe, header.block);
            if self.supply.supplier(header.stripe) == Some(via.path) {
                let front = &mut self.fronts[usize::from(header.stripe.0)][header.priority as usize];
                *front = header.block.max(*front);
            }
            let lag = evident.map_or_else(Default::default, |evident| now.since(evident));
            self.pulls.note_lag(header.stripe, lag);
        } else if !self.parked && self.supply.supplier(header.stripe).is_some_and(|path| path != via.path) {
            self.missed.push((header.stripe, header.block));
        }
        asked
    }

    /// Takes note of a beacon that came by multicast.
    fn hear(&mut self, now: Now, via: Via, at: Duration, chance: u64) {
        if let Some(from) = via.from {
            self.reception.handle_beacon(now, via.path, from.ip(), at, chance);
        }
    }

    fn count_fragment(&mut self, now: Now, bytes: usize, origin: Origin) {
        let (stats, counted) = (&mut self.stats, bytes as u64);
        if origin.multicast {
            stats.fragments_received_from_ip_multicast += 1;
            stats.bytes_received_from_ip_multicast += counted;
        } else if origin.asked {
            stats.repaired += 1;
            let by =
                if origin.publisher { &mut stats.repaired_by_publisher } else { &mut stats.repaired_by_peer };
            *by += 1;
            stats.fragments_requested_from_peers += 1;
            stats.bytes_requested_from_peers += counted;
        } else {
            stats.fragments_pushed_from_peers += 1;
            stats.bytes_pushed_from_peers += counted;
        }
        if origin.publisher {
            stats.fragments_received_from_server += 1;
            stats.bytes_received_from_server += counted;
        }
        self.last_fragment = Some(now);
        self.rate.add(now, bytes);
    }

    fn accept_fragment(
        &mut self,
        now: Now,
        view: FragmentView,
        datagram: Hashed,
        origin: Origin,
    ) -> Result<bool, VerifyError> {
        let bytes = datagram.datagram().len();
        let accepted = self.verify_and_insert(now, view, datagram, origin);
        match accepted {
            Ok(true) => self.count_fragment(now, bytes, origin),
            Ok(false) if origin.multicast || self.is_parity(view) => {}
            Ok(false) => self.stats.duplicate += 1,
            Err(_) => self.stats.forged += 1,
        }
        accepted
    }

    fn accept_orphan(
        &mut self,
        now: Now,
        view: FragmentView,
        datagram: Hashed,
        via: Via,
        publisher: bool,
    ) -> Result<bool, VerifyError> {
        let asked = self.pulls.settle(view.id.block, 1 << view.id.index);
        let origin = Origin { multicast: via.is_multicast(), publisher, asked };
        self.accept_fragment(now, view, datagram, origin)
    }

    fn verify_and_insert(
        &mut self,
        now: Now,
        view: FragmentView,
        datagram: Hashed,
        origin: Origin,
    ) -> Result<bool, VerifyError> {
        let (block, word) = (view.id.block, 1 << view.id.index);
        let Some(slot) = self.window.slot(block) else { return Ok(false) };
        let held = slot.word() & word != 0;
        let Some(header) = slot.header() else { return Ok(false) };
        let is_data = word & header.header().data_word() != 0;
        if held && !origin.multicast {
            if is_data {
                self.reception.handle_pushed(now, block, word);
            }
            return Ok(false);
        }
        // What came by multicast is verified in any case: the share of it that comes decides about the path.
        let fragment = self.keys.verify_fragment(header, view, datagram)?;
        if origin.multicast {
            self.reception.handle_parts(now, block, word);
        } else if is_data && !origin.asked {
            self.reception.handle_pushed(now, block, word);
        }
        Ok(!held && self.window.insert_fragment(now, fragment) == Inserted::New)
    }

    fn is_parity(&self, view: FragmentView) -> bool {
        let header = self.window.slot(view.id.block).and_then(|slot| slot.header());
        header.is_some_and(|header| view.id.index >= header.header().data)
    }

    /// Computes data that is missing from the parity that is held; returns its bits.
    fn recover(&mut self, now: Now, block: BlockId) -> u64 {
        if !self.window.slot(block).is_some_and(|slot| slot.is_recoverable()) {
            return 0;
        }
        let Ok(word) = self.window.recover(now, block) else {
            self.stats.forged += 1;
            return 0;
        };
        let count = u64::from(word.count_ones());
        self.stats.repaired += count;
        self.stats.repaired_by_parity += count;
        self.pulls.settle(block, word);
        word
    }

    fn note_progress(&mut self, now: Now, path: PathId, block: BlockId) {
        let newest = self.last_beacon.as_ref().and_then(|last| last.beacon.newest());
        if let Some(catch_up) = self.catch_up.as_mut().filter(|catch_up| catch_up.path == path) {
            let until = *catch_up.until.get_or_insert(newest.unwrap_or(block));
            if block > until {
                return;
            }
            catch_up.front = catch_up.front.max(block);
            catch_up.last = now;
        }
    }
}
