//! Evidence to the monitors of subscriptions, and their conclusions to the embedder and to the node itself.

use std::time::Duration;

use super::receive::Via;
use super::stream::Stream;
use super::watch::Watch;
use super::{Action, Event, Node, ProbeOutcome};
use crate::health::{self, Change, Health, Monitor, Neighbours, PathCause, PathKind, Unreached, Wish, Word};
use crate::ids::{BlockId, Now, PathId, PeerId, StreamHandle, StreamTag};
use crate::node::{ConnectError, Subscription};

/// Time between two looks at a stream that does well, while datagrams of it arrive.
const JUDGE_PERIOD: Duration = Duration::from_millis(4);
/// Longest that what was seen in between waits for the next datagram to be looked at with: a timer of its own would
/// wake the driver once more for nearly every block.
const JUDGE_WAIT_MAX: Duration = Duration::from_millis(50);
/// Shortest time until the next look: a monitor that is late must not keep the driver from its other work.
const JUDGE_GAP_MIN: Duration = Duration::from_millis(1);
/// Blocks behind a missing one that are looked through for something that came.
const AHEAD_MAX: u64 = 16;

impl Node {
    /// Returns the health of a subscription, to be believed for [`Health::VALIDITY`].
    pub fn health(&self, now: Now, stream: StreamHandle) -> Option<Health> {
        Some(self.watches.get(&stream)?.monitor.health(now))
    }

    /// Returns the monitor of the subscription that a stream is delivered to, once its publisher is proven to live.
    fn monitor_of(&mut self, tag: StreamTag) -> Option<&mut Monitor> {
        let subscriber = self.streams.get(&tag)?.subscriber.as_ref().filter(|subscriber| subscriber.fresh)?;
        let watch = self.watches.get_mut(&subscriber.handle)?;
        let current = watch.current.is_some_and(|(current, ..)| current == tag);
        if current { Some(&mut watch.monitor) } else { None }
    }

    fn monitors(&mut self) -> impl Iterator<Item = &mut Monitor> {
        self.watches.values_mut().map(|watch| &mut watch.monitor)
    }

    /// Takes a verified fragment as evidence; `useful` is whether it was missing.
    pub(super) fn witness(&mut self, now: Now, via: Via, tag: StreamTag, block: BlockId, useful: bool) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let carrier = match stream.unicast.path {
            _ if via.is_multicast() => health::Via::Multicast(via.path),
            Some(path) if path == via.path => health::Via::Unicast,
            _ => health::Via::Mesh,
        };
        stream.newest_via = Some((carrier, block));
        if stream.catch_up.is_some() || stream.parked {
            stream.reception.break_pushes();
        }
        stream.reception.judge(now, &stream.window);
        let (loss, heard) = (stream.reception.loss(), stream.reception.heard());
        let Some(monitor) = self.monitor_of(tag) else { return };
        let starved = monitor.is_starved();
        monitor.handle_fragment(now, carrier, block, useful);
        if let Some((path, _)) = heard {
            monitor.handle_multicast_loss(path, loss);
        }
        let playout = self.streams.get_mut(&tag).filter(|_| starved).and_then(Stream::playout_mut);
        playout.into_iter().for_each(|playout| playout.handle_starved(now));
    }

    /// Takes the newest beacon of a stream as evidence.
    pub(super) fn witness_beacon(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get(&tag) else { return };
        let Some(last) = &stream.last_beacon else { return };
        let beacon = &last.beacon;
        let level = stream.wanted_from().max(stream.window.base()).0 >= beacon.blocks
            && stream.window.end().0 <= beacon.blocks;
        let made = stream.clock.local(beacon.at).unwrap_or(now);
        let (word, multicast) = (Word { made, state: beacon.state, level }, beacon.multicast);
        let Some(monitor) = self.monitor_of(tag) else { return };
        monitor.handle_beacon(now, word);
        if !multicast {
            monitor.handle_multicast_rest();
        }
    }

    /// Takes a beacon that came by multicast as evidence for its path, be it known already.
    pub(super) fn witness_hearing(&mut self, now: Now, via: Via, tag: StreamTag) {
        if let Some(monitor) = self.monitor_of(tag).filter(|_| via.is_multicast()) {
            monitor.handle_multicast_beacon(now, via.path);
        }
    }

    pub(super) fn witness_forgery(&mut self, now: Now, tag: StreamTag) {
        self.monitor_of(tag).into_iter().for_each(|monitor| monitor.handle_forged(now));
    }

    /// Takes what a neighbour says to have; the publisher's word is its beacon.
    pub(super) fn witness_have(&mut self, now: Now, path: PathId, tag: StreamTag) {
        if self.is_publisher(path, tag) {
            return;
        }
        let newest = self.remote_mut(path, tag).and_then(|remote| remote.newest());
        self.monitor_of(tag).into_iter().for_each(|monitor| monitor.handle_neighbour(now, newest));
    }

    pub(super) fn witness_loss(&mut self, now: Now, tag: StreamTag) {
        self.monitor_of(tag).into_iter().for_each(|monitor| monitor.handle_lost(now));
    }

    /// Tells the monitors who there is.
    pub(super) fn witness_neighbours(&mut self) {
        let count = self.sessions.values().filter(|session| session.greeted).count() as u32;
        let neighbours = Neighbours { count, attempted: self.attempted, why: self.unreached };
        self.monitors().for_each(|monitor| monitor.handle_neighbours(neighbours));
    }

    /// Takes note of a session that did not come up.
    pub(super) fn handle_connect_failed(&mut self, now: Now, peer: PeerId, why: ConnectError) {
        self.members.handle_gone(now, peer);
        self.unreached = match why {
            ConnectError::TimedOut => Unreached::NoAnswer,
            ConnectError::Refused => Unreached::Refused,
            ConnectError::Unreachable => Unreached::NoRoute,
        };
        self.witness_neighbours();
        let waits = |stream: &&Stream| {
            stream.publisher() == peer && stream.unicast.wanted && stream.unicast.path.is_none()
        };
        let waiting: Vec<_> = self.streams.values().filter(waits).map(Stream::tag).collect();
        for tag in waiting {
            self.streams.get_mut(&tag).into_iter().for_each(|stream| stream.unicast.wanted = false);
            self.refuse_unicast(now, tag, PathCause::Unreachable);
        }
    }

    /// Takes note that unicast is not to be had.
    pub(super) fn refuse_unicast(&mut self, now: Now, tag: StreamTag, cause: PathCause) {
        if let Some(monitor) = self.monitor_of(tag) {
            monitor.handle_unicast_refused(now, cause);
        }
    }

    pub(super) fn handle_probed(&mut self, peer: PeerId, outcome: ProbeOutcome) {
        let of = |stream: &&Stream| stream.publisher() == peer;
        let handles = self.streams.values().filter(of).filter_map(|stream| stream.subscriber.as_ref());
        let handles: Vec<_> = handles.map(|subscriber| subscriber.handle).collect();
        for (handle, watch) in self.watches.iter_mut() {
            if handles.contains(handle) || watch.current.is_none() {
                watch.monitor.handle_probe(outcome);
            }
        }
    }

    pub(super) fn handle_network(&mut self, up: bool) {
        self.network = Some(up);
        self.monitors().for_each(|monitor| monitor.handle_network(up));
    }

    pub(super) fn handle_overflow(&mut self, now: Now, datagrams: u64) {
        for stream in self.streams.values_mut() {
            stream.stats.overflowed += datagrams;
            stream.reception.break_run();
        }
        self.monitors().for_each(|monitor| monitor.handle_overflow(now));
    }

    /// Time in which this node did not run is charged to nobody: whoever was silent meanwhile may still answer.
    pub(super) fn handle_stalled(&mut self, now: Now, stall: Duration) {
        let playouts = self.streams.values_mut().filter_map(Stream::playout_mut);
        playouts.for_each(|playout| playout.handle_stalled(now));
        self.monitors().for_each(|monitor| monitor.handle_stalled(now, stall));
    }

    pub(super) fn handle_fall(&mut self, now: Now, handle: StreamHandle, to: PathKind) {
        self.watches.get_mut(&handle).into_iter().for_each(|watch| watch.monitor.handle_fall(now, to));
    }

    pub(super) fn handle_foreign(&mut self, now: Now, handle: StreamHandle, plays: bool) {
        self.watches.get_mut(&handle).into_iter().for_each(|watch| watch.monitor.handle_foreign(now, plays));
    }

    pub(super) fn handle_grown(&mut self, handle: StreamHandle, by: Duration) {
        let by = by.min(Subscription::GROWN_MAX);
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        watch.grown = by;
        let subscribers = self.streams.values_mut().filter_map(|stream| stream.subscriber.as_mut());
        for subscriber in subscribers.filter(|subscriber| subscriber.handle == handle) {
            subscriber.grown = by;
            subscriber.playout.iter_mut().for_each(|playout| playout.set_grown(by));
        }
    }

    /// Tells a stream's monitor until when playout has something.
    pub(super) fn witness_buffer(&mut self, tag: StreamTag) {
        let Some(stream) = self.streams.get(&tag) else { return };
        let Some(playout) = stream.playout() else { return };
        let Some(dry_at) = playout.dry_at() else { return };
        let next = playout.next();
        let behind = next.0 + 1..stream.window.end().0.min(next.0 + AHEAD_MAX);
        let came = |block| stream.window.slot(BlockId(block)).is_some_and(|slot| slot.word() != 0);
        let hole = behind.into_iter().any(came);
        self.monitor_of(tag).into_iter().for_each(|monitor| monitor.handle_buffer(dry_at, hole));
    }

    /// Returns when a monitor is to be asked again.
    pub(super) fn judge_timeout(&self) -> Option<Now> {
        let earliest = self.now.after(JUDGE_GAP_MIN);
        let due = self.watches.values().filter_map(|watch| {
            let open = watch.unjudged.map(|since| since.after(JUDGE_WAIT_MAX));
            watch.monitor.next_timeout(self.now).into_iter().chain(open).min()
        });
        due.min().map(|at| at.max(earliest))
    }

    /// Draws the conclusions of all that was seen. While all is well, what a datagram shows waits for a moment.
    pub(super) fn judge_all(&mut self, now: Now, routine: bool) {
        let due = |watch: &mut Watch| {
            let fresh = now.since(watch.judged) < JUDGE_PERIOD;
            let waited = watch.unjudged.is_some_and(|since| now.since(since) >= JUDGE_WAIT_MAX);
            let due = waited || watch.monitor.next_timeout(now).is_some_and(|at| at <= now);
            let waits = routine && fresh && !due && watch.monitor.is_calm();
            if waits {
                watch.unjudged = watch.unjudged.or(Some(now));
            }
            !waits
        };
        let due: Vec<_> =
            self.watches.iter_mut().filter_map(|(handle, watch)| due(watch).then_some(*handle)).collect();
        due.into_iter().for_each(|handle| self.judge(now, handle));
    }

    /// Draws the conclusions for one subscription.
    pub(super) fn judge(&mut self, now: Now, handle: StreamHandle) {
        while let Some(watch) = self.watches.get_mut(&handle) {
            (watch.judged, watch.unjudged) = (now, None);
            let Some(change) = watch.monitor.poll(now) else { return };
            let current = watch.current.map(|(tag, ..)| tag);
            let health = watch.monitor.health(now);
            let (path, last_media) = (health.path, health.last_media);
            let event = match change {
                Change::Verdict { from, to, reason, since_last_fragment } => {
                    Event::Verdict { stream: handle, from, to, reason, path, last_media, since_last_fragment }
                }
                Change::Path { from, to, cause } => {
                    Event::Path { stream: handle, from, to, cause, last_media }
                }
                Change::PathDue { from, to, cause } => {
                    Event::PathDue { stream: handle, from, to, cause, last_media }
                }
                Change::PathVerdict { path, from, to, reason } => {
                    Event::PathVerdict { stream: handle, path, from, to, reason }
                }
                Change::ControlPlane(to) => Event::ControlPlane { stream: handle, to },
                Change::Wish(wish) => {
                    self.grant(now, handle, current, wish);
                    continue;
                }
                Change::Close(cause) => return self.close(now, handle, cause),
            };
            self.events.push_back(event);
        }
    }

    /// Does what a monitor wants done.
    fn grant(&mut self, now: Now, handle: StreamHandle, current: Option<StreamTag>, wish: Wish) {
        if let Wish::Rejoin(path) = wish {
            return self.rejoin(path, current);
        }
        if wish == Wish::Probe {
            return self.probe(handle, current);
        }
        if let Some(watch) = self.watches.get_mut(&handle) {
            watch.parked = match wish {
                Wish::ParkMesh => true,
                Wish::ResumeMesh | Wish::StartUnicast => false,
                _ => watch.parked,
            };
        }
        let Some(tag) = current else { return };
        match wish {
            Wish::Challenge => self.challenge(now, tag),
            Wish::ParkMesh => self.park(tag),
            Wish::ResumeMesh => self.resume(now, tag),
            Wish::StartUnicast => self.start_unicast(now, tag),
            Wish::StopUnicast => self.stop_unicast(now, tag),
            Wish::Rejoin(_) | Wish::Probe => {}
        }
    }

    /// Joins a group again whose silence is taken for that of a switch that forgot this host.
    fn rejoin(&mut self, path: PathId, current: Option<StreamTag>) {
        let stream = current.and_then(|tag| self.streams.get_mut(&tag));
        stream.into_iter().for_each(|stream| stream.reception.break_run());
        self.actions.push_back(Action::RejoinMulticast { path });
    }

    /// Probes a stream's publisher, or, while none is known, a peer that was sighted.
    fn probe(&mut self, handle: StreamHandle, current: Option<StreamTag>) {
        let of = |stream: &&Stream| {
            stream.subscriber.as_ref().is_some_and(|subscriber| subscriber.handle == handle)
        };
        let stream = current.and_then(|tag| self.streams.get(&tag)).or(self.streams.values().find(of));
        let peer = stream.map(Stream::publisher).or_else(|| self.members.likeliest());
        let Some(peer) = peer else { return };
        let addresses = self.members.addresses(peer);
        self.actions.push_back(Action::Probe { peer, addresses });
    }

    /// Takes to its monitor what ends a subscription.
    pub(super) fn conclude(&mut self, now: Now, handle: StreamHandle, tell: impl FnOnce(&mut Monitor)) {
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        tell(&mut watch.monitor);
        self.judge(now, handle);
    }
}
