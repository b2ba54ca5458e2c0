//! Which path a subscription's media takes: pushes suspended and resumed, and unicast from the publisher.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::admission::NOTICE;
use super::uplink::PROMISED_WITH_GUEST;
use super::{Action, Node};
use crate::health::PathCause;
use crate::ids::{BlockId, Now, PathId, STRIPES, StreamTag, Stripe};
use crate::session::Session;
use crate::wire::{Control, StripeMask, SubscribeFrom};

/// Shortest and longest time after which a viewer that was refused unicast is to ask again, in ms.
const RETRY_MS: (u32, u32) = (1000, 3000);

/// Age past which the publisher's word that it serves no more alone says nothing.
const FULL_MEMORY: Duration = Duration::from_secs(2);
/// Time after which it is looked at again.
const FULL_RETRY: Duration = Duration::from_secs(2);

/// Time between two guests that are taken on, or let go, where uploads are limited: what one of them takes is seen by
/// then.
pub(super) const GUEST_PERIOD: Duration = Duration::from_millis(500);

impl Node {
    /// Suspends the suppliers' pushes, and the publisher's beacons to this node alone: the stream comes by multicast.
    pub(super) fn park(&mut self, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag).filter(|stream| !stream.parked) else { return };
        stream.parked = true;
        for path in self.suppliers_and_publisher(tag) {
            self.send_control(path, &Control::Park { tag });
        }
    }

    /// Has the suppliers push again, from the first block on that is not complete.
    pub(super) fn resume(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag).filter(|stream| stream.parked) else { return };
        stream.parked = false;
        stream.supply_at = now;
        stream.have_at = None;
        let from = stream.window.base();
        let remotes = self.sessions.values_mut().filter_map(|session| session.streams.get_mut(&tag));
        remotes.for_each(|remote| remote.hasten_have(now));
        for path in self.suppliers_and_publisher(tag) {
            self.send_control(path, &Control::Resume { tag, from });
        }
    }

    fn suppliers_and_publisher(&self, tag: StreamTag) -> Vec<PathId> {
        let Some(stream) = self.streams.get(&tag) else { return Vec::new() };
        let concerned = |session: &&Session| {
            let publishes = session.greeted && session.peer == stream.publisher();
            publishes || !stream.supply.supplied_by(session.path).is_empty()
        };
        self.sessions.values().filter(concerned).map(|session| session.path).collect()
    }

    pub(super) fn park_consumer(&mut self, path: PathId, tag: StreamTag) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let Some(remote) = session.streams.get_mut(&tag) else { return };
        remote.parked = true;
        session.outbox.retain_pushed(|parcel| parcel.tag != tag);
    }

    pub(super) fn resume_consumer(&mut self, now: Now, path: PathId, tag: StreamTag, from: BlockId) {
        let Some(remote) = self.remote_mut(path, tag).filter(|remote| remote.parked) else { return };
        remote.parked = false;
        remote.hasten_have(now);
        let stripes = remote.consumes;
        self.catch_up(now, path, tag, stripes, SubscribeFrom::Block(from));
    }

    /// Takes a viewer's wish to have all stripes pushed, as long as there are places.
    pub(super) fn handle_unicast(
        &mut self,
        now: Now,
        path: PathId,
        tag: StreamTag,
        (from, patience_ms): (BlockId, u32),
    ) {
        let rests = self.uplink.rate().is_some() && now < self.guest_at;
        if rests || !self.serves_one_more(tag, Some(path)) {
            return self.send_busy(path, tag);
        }
        self.guest_at = now.after(GUEST_PERIOD);
        let Some(remote) = self.remote_mut(path, tag) else { return };
        remote.handle_subscriber(now, patience_ms, false);
        remote.unicast = true;
        remote.push_all();
        self.catch_up(now, path, tag, StripeMask::ALL, SubscribeFrom::Block(from));
    }

    /// Returns whether one more viewer than there are beside `path` can have all stripes pushed.
    pub(super) fn serves_one_more(&self, tag: StreamTag, path: Option<PathId>) -> bool {
        let source = self.streams.get(&tag).and_then(|stream| stream.source.as_ref());
        let others = self.sessions.values().filter(|session| Some(session.path) != path);
        let served = others.filter_map(|session| session.streams.get(&tag)).filter(|remote| remote.unicast);
        let pushes = self.pushes_of_all(tag, path) + usize::from(STRIPES);
        let borne = self.pushes_borne(tag, PROMISED_WITH_GUEST).is_none_or(|borne| pushes <= borne);
        borne && served.count() < source.map_or(0, |source| source.unicast_max)
    }

    /// Refuses unicast, or ends it.
    pub(super) fn send_busy(&mut self, path: PathId, tag: StreamTag) {
        let (least, most) = RETRY_MS;
        let retry_after_ms = least + self.rng.next_u32() % (most - least);
        self.send_control(path, &Control::Busy { tag, retry_after_ms });
    }

    /// Asks the publisher for all stripes, unless it told all of late that it serves no more so; dials it when there is
    /// no session.
    pub(super) fn start_unicast(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let told = stream.last_beacon.as_ref().filter(|last| now.since(last.received) < FULL_MEMORY);
        if told.is_some_and(|last| last.beacon.full) {
            stream.unicast.wanted = false;
            return self.refuse_unicast(now, tag, PathCause::Busy { retry_after: FULL_RETRY });
        }
        stream.unicast.wanted = true;
        stream.parked = false;
        let (publisher, from) = (stream.publisher(), stream.window.base());
        let Some(subscriber) = &stream.subscriber else { return };
        let patience_ms = u32::try_from(subscriber.delay.as_millis()).unwrap_or(u32::MAX);
        let session = self.sessions.values().find(|session| session.peer == publisher && session.greeted);
        let Some(path) = session.map(|session| session.path) else {
            if let Some((peer, addresses)) = self.members.dial_at_once(publisher) {
                self.attempted += 1;
                self.actions.push_back(Action::Connect { peer, addresses });
            }
            return;
        };
        if stream.unicast.path == Some(path) {
            return;
        }
        stream.unicast.path = Some(path);
        stream.supply.begin_guest(now, path);
        if !stream.started {
            stream.catch_up = None;
        }
        self.send_control(path, &Control::Unicast { tag, from, patience_ms });
    }

    /// Goes back to the mesh: neighbours are asked for the stripes from a block on, up to which the publisher pushes.
    pub(super) fn stop_unicast(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.unicast.wanted = false;
        let Some(path) = stream.unicast.path.take() else { return };
        let rtt = self.sessions.get(&path).map_or(Duration::ZERO, Session::rtt);
        let from = stream.edge().after(rtt * 2 + NOTICE);
        stream.supply.cancel_guest();
        stream.supply.end(path, from);
        self.send_control(path, &Control::Unsubscribe { tag, stripes: StripeMask::ALL, from });
        self.find_suppliers(now, tag);
    }

    /// Takes a refusal of unicast.
    pub(super) fn handle_busy(&mut self, now: Now, path: PathId, tag: StreamTag, retry_after_ms: u32) {
        let Some(stream) = self.streams.get_mut(&tag).filter(|stream| stream.unicast.path == Some(path))
        else {
            return;
        };
        stream.unicast.path = None;
        stream.unicast.wanted = false;
        if !stream.supply.cancel_guest() {
            stream.supply.drop_path(now, path);
        }
        stream.supply_at = now;
        let retry_after = Duration::from_millis(u64::from(retry_after_ms));
        self.refuse_unicast(now, tag, PathCause::Busy { retry_after });
    }

    /// Leaves the former suppliers once the publisher pushes.
    pub(super) fn settle_unicast(&mut self, path: PathId, tag: StreamTag, stripe: Stripe) {
        let Some(stream) = self.streams.get_mut(&tag).filter(|stream| stream.unicast.path == Some(path))
        else {
            return;
        };
        for (former, stripes) in stream.supply.settle_guest(path, stripe) {
            self.send_control(former, &Control::Unsubscribe { tag, stripes, from: BlockId(0) });
        }
    }
}

/// A viewer's use of unicast.
#[derive(Clone, Debug, Default)]
pub(super) struct Unicast {
    /// Whether it is wanted, be it that the publisher has yet to be reached.
    pub(super) wanted: bool,
    /// The session with the publisher, once it was asked.
    pub(super) path: Option<PathId>,
}
