//! Admission: to whom this node pushes which stripes.

use std::time::Duration;

use super::Node;
use crate::ids::{BlockId, PathId, STRIPES, StreamTag, Stripe};
use crate::wire::{Control, HaveMap, StripeMask};

/// Stripes a neighbour must have more than another before one is taken from it for the other's sake.
const FAIRNESS: u32 = 2;
/// Time that a neighbour has to find another supplier, beside two round trips.
pub(super) const NOTICE: Duration = Duration::from_millis(200);
/// Longest time for which a push goes on after its end was announced: it has no place of its own meanwhile.
const LEAVING_MAX: Duration = Duration::from_secs(4);
/// Pushes of one stripe by who relays it, over what they are on average.
const BRANCHING: usize = 4;
/// Pushes of one stripe at most where uploads are limited: a picture of a random-access point goes to so many before
/// the next is due.
const LIMITED_BRANCHES: usize = 4;
/// Hops by which a stripe must come from further away to be given up for another; the same where uploads are limited.
const FURTHER: u8 = 2;
const LIMITED_FURTHER: u8 = 3;

impl Node {
    /// Gives a neighbour a push of a stripe, if need be at the cost of another.
    pub(super) fn admit(&mut self, path: PathId, tag: StreamTag, stripe: Stripe, from: BlockId) -> bool {
        let has = self.consumers(tag).any(|(consumer, stays)| consumer == path && stays.has(stripe));
        let room = self.has_branch(tag, stripe) && self.room(tag) > 0;
        if !has && !room {
            // Who has a supplier up to there can find another one.
            let urgent = self.streams.get(&tag).is_some_and(|stream| from <= stream.window.end());
            let shares = self.uplink.rate().is_none() && urgent;
            let unfair = if shares { self.beyond_share(tag, stripe, path) } else { None };
            let given_up = unfair.or_else(|| self.further_away(tag, stripe, Some(path)));
            let Some((loser, lost)) = given_up else { return false };
            self.end_pushing(loser, tag, StripeMask::default().with(lost));
        }
        let Some(remote) = self.remote_mut(path, tag) else { return false };
        remote.push_from(stripe, from);
        true
    }

    /// Returns the stripes of which one more would be pushed to who asks. Without a limit that is any: a place is found
    /// for who has less than his share.
    pub(super) fn gives(&self, tag: StreamTag) -> StripeMask {
        if self.uplink.rate().is_none() {
            return StripeMask::ALL;
        }
        let room = self.room(tag) > 0;
        let gives = |stripe: &Stripe| {
            (room && self.has_branch(tag, *stripe)) || self.further_away(tag, *stripe, None).is_some()
        };
        StripeMask::ALL.iter().filter(gives).fold(StripeMask::default(), StripeMask::with)
    }

    /// Returns who is pushed what without an end, but for guests.
    fn consumers(&self, tag: StreamTag) -> impl Iterator<Item = (PathId, StripeMask)> {
        let remotes = self.sessions.values().filter_map(move |session| {
            let remote = session.streams.get(&tag).filter(|remote| !remote.unicast)?;
            Some((session.path, remote.stays()))
        });
        remotes.filter(|(_, stays)| !stays.is_empty())
    }

    /// Returns whether one more push of a stripe is not too many, as long as there is room for any.
    fn has_branch(&self, tag: StreamTag, stripe: Stripe) -> bool {
        let branches = self.consumers(tag).filter(|(_, stays)| stays.has(stripe)).count();
        branches < self.stripe_places(tag)
    }

    /// Returns a push of a stripe to who has more than his share of them.
    fn beyond_share(&self, tag: StreamTag, stripe: Stripe, path: PathId) -> Option<(PathId, Stripe)> {
        let own = self.sessions.get(&path).and_then(|session| session.streams.get(&tag));
        let own = own.map_or(0, |remote| remote.stays().len());
        let others = self.consumers(tag).filter(|(_, stays)| stays.has(stripe));
        let (share, richest) = others.map(|(consumer, stays)| (stays.len(), consumer)).max()?;
        (share >= own + FAIRNESS).then_some((richest, stripe))
    }

    /// Returns a push of a stripe that comes to this node from further away than `stripe` does, to others than `path`:
    /// an uplink does most for all where it branches near the publisher.
    fn further_away(&self, tag: StreamTag, stripe: Stripe, path: Option<PathId>) -> Option<(PathId, Stripe)> {
        let stream = self.streams.get(&tag).filter(|stream| stream.source.is_none())?;
        let further = if self.uplink.rate().is_some() { LIMITED_FURTHER } else { FURTHER };
        let nearest = stream.supply.depth(stripe).saturating_add(further);
        let others = self.consumers(tag).filter(|(consumer, _)| Some(*consumer) != path);
        let pushes = others.flat_map(|(consumer, stays)| {
            stays.iter().map(move |at| (stream.supply.depth(at), stays.len(), consumer, at))
        });
        let further = pushes.filter(|(depth, ..)| (nearest..HaveMap::NO_DEPTH).contains(depth)).max();
        further.filter(|_| self.has_branch(tag, stripe)).map(|(.., consumer, at)| (consumer, at))
    }

    /// Returns how many pushes of one stripe there may be. Who relays branches widely in the few stripes that he has
    /// from near the publisher, and is a leaf in the others: that keeps the trees flat at the same upload.
    fn stripe_places(&self, tag: StreamTag) -> usize {
        if self.uplink.rate().is_some() {
            return LIMITED_BRANCHES;
        }
        let publishes = self.streams.get(&tag).is_some_and(|stream| stream.source.is_some());
        self.config.pushes_per_stripe_max * if publishes { 1 } else { BRANCHING }
    }

    /// Returns how many stripes may be pushed beside those that are: by the mesh's share, or by what the uplink bears,
    /// which who limits it allows.
    pub(super) fn room(&self, tag: StreamTag) -> usize {
        let share = self.config.pushes_per_stripe_max * usize::from(STRIPES);
        let (promised, _) = self.promises(tag);
        let borne =
            self.pushes_borne(tag, promised).map(|borne| borne.min(LIMITED_BRANCHES * usize::from(STRIPES)));
        borne.unwrap_or(share).saturating_sub(self.pushes(tag))
    }

    /// Counts the pushes of all stripes.
    fn pushes(&self, tag: StreamTag) -> usize {
        self.consumers(tag).map(|(_, stays)| stays.len() as usize).sum()
    }

    /// Pushes a stripe to a neighbour only until it can have found another supplier, and tells it.
    pub(super) fn end_pushing(&mut self, path: PathId, tag: StreamTag, stripes: StripeMask) {
        let (Some(stream), Some(session)) = (self.streams.get(&tag), self.sessions.get_mut(&path)) else {
            return;
        };
        let from = stream.edge().after(session.rtt() * 2 + NOTICE);
        if let Some(remote) = session.streams.get_mut(&tag) {
            remote.push_until(stripes, from);
        }
        self.send_control(path, &Control::Choke { tag, stripes, from });
    }

    /// Takes a neighbour's wish to have stripes pushed only until a block, or no longer when that is 0. A guest is none
    /// from then on.
    pub(super) fn handle_unsubscribed(
        &mut self,
        path: PathId,
        tag: StreamTag,
        stripes: StripeMask,
        from: BlockId,
    ) {
        if from == BlockId(0) {
            return self.stop_pushing(path, tag, stripes);
        }
        let Some(latest) = self.streams.get(&tag).map(|stream| stream.edge().after(LEAVING_MAX)) else {
            return;
        };
        if let Some(remote) = self.remote_mut(path, tag) {
            remote.push_until(stripes, from.min(latest));
            remote.unicast &= stripes != StripeMask::ALL;
        }
    }

    pub(super) fn stop_pushing(&mut self, path: PathId, tag: StreamTag, stripes: StripeMask) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        let Some(remote) = session.streams.get_mut(&tag) else { return };
        remote.consumes = remote.consumes.without(stripes);
        remote.unicast &= !remote.consumes.is_empty();
        if remote.consumes.is_empty() && stripes == StripeMask::ALL {
            // It has left: what it asked for is of no use to it either.
            return session.outbox.forget_stream(tag);
        }
        let Some(stream) = self.streams.get(&tag) else { return };
        session.outbox.retain_pushed(|parcel| {
            let header = stream.window.slot(parcel.block).and_then(|slot| slot.header());
            parcel.tag != tag || header.is_none_or(|header| !stripes.has(header.header().stripe))
        });
    }
}
