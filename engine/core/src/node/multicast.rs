//! Multicast paths: opened for each publication and subscription, filled by a publisher, heard by viewers.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::rand_core::Rng;

use super::receive::Via;
use super::stream::Stream;
use super::{Action, Batch, Node};
use crate::ids::{ChannelId, Now, PathId, StreamHandle, StreamTag};
use crate::multicast::{MulticastChoice, MulticastGroup};
use crate::schedule::Broadcast;
use crate::seal::Hashed;
use crate::wire::{Datagram, Offer, peek_tag};

/// Datagrams of one source that may fail verification in a second before it is ignored for the rest of it: at 40 us a
/// signature, a quarter of a percent of a core.
const FORGERIES_MAX: u32 = 64;
/// Time over which they are counted.
const FORGERY_PERIOD: Duration = Duration::from_secs(1);
/// Most sources whose forgeries are counted apart; the rest share one budget.
const SOURCES_MAX: usize = 128;
/// Most control datagrams that wait on a path; all of them are repeated.
const CONTROL_MAX: usize = 64;
/// Time between two offers on a multicast path; half of it before one that goes with a random-access point.
pub(super) const OFFER_PERIOD: Duration = Duration::from_secs(1);
/// Difference of the wall clocks up to which beacons prove by themselves that a publisher lives.
const WALL_CLOCK_MAX_MS: u64 = 60_000;

#[derive(Clone, Copy, Debug)]
struct Forgeries {
    since: Now,
    count: u32,
}

/// A group on one interface.
#[derive(Debug)]
pub(super) struct MulticastPath {
    channel: ChannelId,
    pub(super) handle: StreamHandle,
    interface: Arc<str>,
    local: IpAddr,
    datagram_bytes_max: usize,
    control: VecDeque<Bytes>,
    /// When the stated rate lets the next datagram go, while some wait for it.
    pub(super) paced_until: Option<Now>,
    forgeries: BTreeMap<Option<SocketAddr>, Forgeries>,
}

impl MulticastPath {
    pub(super) fn push_control(&mut self, datagram: Bytes) {
        if self.control.len() == CONTROL_MAX {
            self.control.pop_front();
        }
        self.control.push_back(datagram);
    }

    pub(super) fn has_control(&self) -> bool {
        !self.control.is_empty()
    }

    fn account(&mut self, from: SocketAddr) -> Option<SocketAddr> {
        let known = self.forgeries.contains_key(&Some(from)) || self.forgeries.len() < SOURCES_MAX;
        if known { Some(from) } else { None }
    }

    /// Returns whether a source has any of its budget left.
    fn trusts(&mut self, now: Now, from: SocketAddr) -> bool {
        let account = self.account(from);
        let spent = self.forgeries.get(&account);
        spent.is_none_or(|spent| spent.count < FORGERIES_MAX || now.since(spent.since) >= FORGERY_PERIOD)
    }

    /// Takes note of a datagram that failed verification.
    pub(super) fn blame(&mut self, now: Now, from: SocketAddr) {
        self.forgeries.retain(|_, spent| now.since(spent.since) < FORGERY_PERIOD);
        let account = self.account(from);
        self.forgeries.entry(account).or_insert(Forgeries { since: now, count: 0 }).count += 1;
    }
}

impl Node {
    /// Asks for the groups of a publication or subscription; leaves those that it used before, if they are others.
    pub(super) fn open_channel(&mut self, handle: StreamHandle, name: &str, choice: MulticastChoice) {
        if self.channels.values().any(|open| *open == (handle, choice)) {
            return;
        }
        self.close_channel(handle);
        let groups = match choice {
            MulticastChoice::Off => return,
            MulticastChoice::Auto => MulticastGroup::derive(self.config.group.id(), name).to_vec(),
            MulticastChoice::At(group) => vec![group],
        };
        let channel = ChannelId(self.channels_used);
        self.channels_used += 1;
        self.channels.insert(channel, (handle, choice));
        self.actions.push_back(Action::OpenMulticast { channel, groups });
    }

    /// Leaves the groups of a publication or subscription.
    pub(super) fn close_channel(&mut self, handle: StreamHandle) {
        let open = self.channels.iter().find(|(_, (user, _))| *user == handle).map(|(id, _)| *id);
        let Some(channel) = open else { return };
        self.channels.remove(&channel);
        let paths: Vec<_> = self
            .multicasts
            .iter()
            .filter(|(_, open)| open.channel == channel)
            .map(|(path, _)| *path)
            .collect();
        paths.into_iter().for_each(|path| self.drop_multicast(path));
        self.actions.push_back(Action::CloseMulticast { channel });
    }

    pub(super) fn handle_multicast_up(
        &mut self,
        now: Now,
        path: PathId,
        channel: ChannelId,
        interface: Arc<str>,
        (local, datagram_bytes_max): (IpAddr, usize),
    ) {
        let Some(&(handle, _)) = self.channels.get(&channel) else { return };
        let open = MulticastPath {
            channel,
            handle,
            interface,
            local,
            datagram_bytes_max,
            control: VecDeque::new(),
            paced_until: None,
            forgeries: BTreeMap::new(),
        };
        if let Some(watch) = self.watches.get_mut(&handle) {
            watch.monitor.handle_multicast_up(path, Arc::clone(&open.interface));
        }
        self.multicasts.insert(path, open);
        let stream = self.handles.get(&handle).and_then(|tag| self.streams.get_mut(tag));
        if let Some(source) = stream.and_then(|stream| stream.source.as_mut()) {
            let broadcast = Broadcast::new(now, source.multicast_rate_max, source.hearers_min);
            source.broadcasts.insert(path, broadcast);
            source.hasten(now);
        }
    }

    pub(super) fn drop_multicast(&mut self, path: PathId) {
        let Some(open) = self.multicasts.remove(&path) else { return };
        if let Some(watch) = self.watches.get_mut(&open.handle) {
            watch.monitor.handle_multicast_down(path);
        }
        for stream in self.streams.values_mut() {
            if let Some(source) = &mut stream.source {
                source.broadcasts.remove(&path);
            }
            stream.reception.drop_path(path);
        }
    }

    pub(super) fn handle_multicast(&mut self, now: Now, path: PathId, from: SocketAddr, hashed: Hashed) {
        let Some(open) = self.multicasts.get_mut(&path) else { return };
        if !open.trusts(now, from) {
            return;
        }
        let via = Via { path, from: Some(from) };
        let datagram = hashed.datagram();
        let Some(tag) = peek_tag(datagram) else { return self.blame(now, via) };
        let decoded = Datagram::decode(datagram);
        let Some(stream) = self.streams.get_mut(&tag) else {
            match decoded {
                Ok(Datagram::Offer(offer)) => self.handle_multicast_offer(now, via, *offer),
                _ => self.handle_unknown_tag(tag),
            }
            return;
        };
        match decoded {
            Ok(Datagram::Report) => self.handle_report(now, via, tag, datagram),
            // Nobody else speaks for a stream that is published here.
            _ if stream.source.is_some() => {}
            Ok(Datagram::Header) => self.handle_header(now, via, tag, datagram.clone()),
            Ok(Datagram::Fragment(view)) => self.handle_fragment(now, via, tag, view, hashed),
            Ok(Datagram::Beacon) => self.handle_beacon(now, via, tag, datagram.clone()),
            Ok(Datagram::Offer(offer)) => self.handle_multicast_offer(now, via, *offer),
            Ok(Datagram::Have(_) | Datagram::Pull(_) | Datagram::Nack(_) | Datagram::Shed(_)) | Err(_) => {
                stream.stats.malformed += 1;
                self.blame(now, via);
            }
        }
    }

    fn handle_multicast_offer(&mut self, now: Now, via: Via, offer: Offer) {
        let key = offer.key;
        let (keys, catalogue) = match self.examine(&offer) {
            Ok(Some(examined)) => examined,
            Ok(None) => return,
            Err(_) => return self.blame(now, via),
        };
        if let Some(catalogue) = catalogue {
            self.learn(offer, catalogue);
        }
        if !self.streams.contains_key(&keys.tag()) {
            self.consider(now, key);
        }
    }

    /// Sends a stream's offer on its multicast paths.
    pub(super) fn send_multicast_offer(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(source) = &mut stream.source else { return };
        source.offer_at = now.after(OFFER_PERIOD);
        let handle = source.handle;
        let datagram = Bytes::from(Datagram::encode_offer(tag, &stream.offer));
        let paths = self.multicasts.values_mut().filter(|open| open.handle == handle);
        paths.for_each(|open| open.push_control(datagram.clone()));
    }

    /// Fills a multicast path: control first, then media as far as its rate allows.
    pub(super) fn fill_multicast(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        let Some(open) = self.multicasts.get_mut(&path) else { return };
        let mut left = budget_bytes;
        while left >= open.datagram_bytes_max {
            let Some(datagram) = open.control.pop_front() else { break };
            left = left.saturating_sub(datagram.len());
            batch.datagrams.push(datagram);
        }
        open.paced_until = None;
        let Some(stream) = self.handles.get(&open.handle).and_then(|tag| self.streams.get_mut(tag)) else {
            return;
        };
        let Stream { source: Some(source), window, stats, .. } = stream else { return };
        let Some(broadcast) = source.broadcasts.get_mut(&path) else { return };
        while broadcast.has_media() && left >= open.datagram_bytes_max {
            if !broadcast.may_send(now) {
                open.paced_until = Some(broadcast.next_timeout(now));
                break;
            }
            let Some((block, index)) = broadcast.pop(now, &mut stats.shed) else { break };
            if let Some(datagram) = window.slot(block).and_then(|slot| slot.datagram(index)) {
                broadcast.spend(datagram.len());
                left = left.saturating_sub(datagram.len());
                stats.fragments_sent_to_ip_multicast += 1;
                stats.bytes_sent_to_ip_multicast += datagram.len() as u64;
                batch.datagrams.push(datagram.clone());
            }
        }
    }

    /// Returns whether a multicast path has something to send.
    pub(super) fn has_multicast(&self, path: PathId, open: &MulticastPath) -> bool {
        let stream = self.handles.get(&open.handle).and_then(|tag| self.streams.get(tag));
        let source = stream.and_then(|stream| stream.source.as_ref());
        let media = source.and_then(|source| source.broadcasts.get(&path)).is_some_and(Broadcast::has_media);
        open.has_control() || (media && open.paced_until.is_none())
    }

    /// Takes a viewer's report, or passes it on to the publisher.
    pub(super) fn handle_report(&mut self, now: Now, via: Via, tag: StreamTag, datagram: &Bytes) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.stats.control_bytes_from_peers += datagram.len() as u64;
        let Ok(report) = stream.keys.verify_report(datagram) else {
            stream.stats.forged += 1;
            return self.blame(now, via);
        };
        if let Some(source) = &mut stream.source {
            let handle = source.handle;
            let spoken_of = self
                .multicasts
                .iter()
                .find(|(_, open)| open.handle == handle && report.source == Some(open.local));
            source.audience.handle_report(now, &report, spoken_of.map(|(path, _)| *path));
            source.review(now, stream.rate.rate());
        } else if via.is_multicast() {
            stream.reception.handle_other(now);
        } else {
            let publisher = stream.publisher();
            let session =
                self.sessions.values_mut().find(|session| session.peer == publisher && session.greeted);
            if let Some(session) = session {
                stream.count_control(session.peer, datagram.len());
                session.outbox.push_control(datagram.clone());
            }
        }
    }

    /// Tells the publisher what is received, where that is due.
    pub(super) fn send_report(&mut self, now: Now, tag: StreamTag) {
        let chance = self.rng.next_u64();
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let due = stream.reception.next_timeout().is_some_and(|at| at <= now);
        let watching = stream.subscriber.as_ref().is_some_and(|subscriber| !subscriber.finished);
        if !due || !watching {
            return;
        }
        stream.reception.judge(now, &stream.window);
        let hurried = stream.is_hurried(&self.sessions);
        let beacon_ms = stream.last_beacon.as_ref().map_or(0, |last| last.beacon.at.as_millis() as u64);
        let counts = (stream.stats.fragments_received(), stream.stats.lost);
        let report = stream.reception.report(now, beacon_ms, counts, (chance, hurried));
        let datagram = stream.keys.seal_report(&report);
        let heard = stream.reception.heard().and_then(|(path, _)| self.multicasts.get_mut(&path));
        if let Some(open) = heard {
            stream.stats.control_bytes_to_peers += datagram.len() as u64;
            open.push_control(datagram.clone());
        }
        let publisher = stream.publisher();
        let carriers = self.sessions.values_mut().filter(|session| session.greeted).filter_map(|session| {
            let remote = session.streams.get(&tag).filter(|remote| remote.offers)?;
            Some((session.peer != publisher, remote.depth(), session))
        });
        if let Some((.., session)) = carriers.min_by_key(|(far, depth, session)| (*far, *depth, session.path))
        {
            stream.count_control(session.peer, datagram.len());
            session.outbox.push_control(datagram);
        }
    }

    /// Returns whether the clocks agree well enough to believe a beacon without an answer of its own.
    pub(super) fn agrees_with_wall_clock(&self, now: Now, wall_ms: u64) -> bool {
        self.wall(now).0.abs_diff(wall_ms) <= WALL_CLOCK_MAX_MS
    }
}
