//! Watching: find a stream by its name, prove that it lives, get it, deliver it.

use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::publish::LINGER_MAX;
use super::sending::offerers;
use super::stream::{CatchUp, Stream};
use super::{Event, Node, Subscription};
use crate::health::{CloseCause, Monitor};
use crate::ids::{BlockId, Epoch, Now, PathId, StreamHandle, StreamKey, StreamTag};
use crate::playout::{Delivery, Playout, View};
use crate::schedule::Handover;
use crate::session::Session;
use crate::wire::{Control, StripeMask, SubscribeFrom};

/// Most publications and subscriptions whose counters are kept behind their end.
const FINALS_MAX: usize = 16;
/// Most runs that are remembered as over.
const RETIRED_MAX: usize = 64;
/// How often a stripe without supplier is looked after.
const SUPPLY_PERIOD: Duration = Duration::from_millis(100);
/// How often a better supplier is looked for, and a quarter of a second at random.
const IMPROVE_PERIOD: Duration = Duration::from_millis(300);
/// Time beside a round trip in which a supplier is told from which block on it is not needed.
const TELLING: Duration = Duration::from_millis(20);
/// How often a challenge is repeated.
const CHALLENGE_PERIOD: Duration = Duration::from_millis(300);
/// How long a second publisher of the same name is waited for, when one was seen.
const PIN_WAIT: Duration = Duration::from_millis(150);

/// A subscription that looks for its stream, or has it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) subscription: Subscription,
    /// The stream that is delivered.
    pub(super) current: Option<(StreamTag, StreamKey, Epoch)>,
    /// When the choice among several publishers is made.
    pub(super) pin_at: Option<Now>,
    pub(super) monitor: Monitor,
    /// When conclusions were last drawn.
    pub(super) judged: Now,
    /// Since when something was seen that no conclusion was drawn of.
    pub(super) unjudged: Option<Now>,
    /// Whether the neighbours' pushes are suspended, whatever the run of the publisher.
    pub(super) parked: bool,
    /// How much longer than the playout delay a lost fragment is waited for.
    pub(super) grown: Duration,
    /// The stream's name by which multicast is listened for.
    pub(super) listens: String,
}

impl Node {
    pub(super) fn handle_subscribe(&mut self, now: Now, subscription: Subscription) {
        let handle = subscription.handle;
        if self.watches.contains_key(&handle) || self.handles.contains_key(&handle) {
            return self.close_with(handle, CloseCause::Refused);
        }
        let (name, multicast) = (subscription.name.clone(), subscription.multicast);
        let mut monitor = Monitor::new(now, &subscription, self.rng.next_u64());
        if let Some(up) = self.network {
            monitor.handle_network(up);
        }
        let watch = Watch {
            subscription,
            current: None,
            pin_at: None,
            monitor,
            judged: now,
            unjudged: None,
            parked: false,
            grown: Duration::ZERO,
            listens: name.clone(),
        };
        self.watches.insert(handle, watch);
        self.witness_neighbours();
        self.open_channel(handle, &name, multicast);
        let known: Vec<_> = self.offers.keys().copied().collect();
        known.into_iter().for_each(|key| self.consider(now, key));
        self.announce();
    }

    pub(super) fn handle_unsubscribe(&mut self, now: Now, handle: StreamHandle) {
        self.conclude(now, handle, Monitor::handle_left);
    }

    /// Asks every neighbour that carries the stream for proof that its publisher lives.
    pub(super) fn challenge(&mut self, now: Now, tag: StreamTag) {
        let Some(subscriber) = self.streams.get_mut(&tag).and_then(|stream| stream.subscriber.as_mut())
        else {
            return;
        };
        let nonce = subscriber.nonce;
        subscriber.challenge_at = now.after(CHALLENGE_PERIOD);
        let carried = |session: &&Session| session.streams.get(&tag).is_some_and(|remote| remote.offers);
        let paths: Vec<_> = self.sessions.values().filter(carried).map(|session| session.path).collect();
        paths.into_iter().for_each(|path| self.send_control(path, &Control::Challenge { tag, nonce }));
        self.find_suppliers(now, tag);
    }

    /// Takes proof that a stream's publisher lives.
    pub(super) fn handle_fresh(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let key = stream.keys.key();
        let Some(subscriber) = stream.subscriber.as_mut() else { return };
        subscriber.fresh = true;
        let handle = subscriber.handle;
        let rivals = self.candidates(handle).filter(|stream| stream.keys.key() != key).count();
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        if rivals == 0 || watch.current.is_some() {
            self.pin(now, handle);
        } else if watch.pin_at.is_none() {
            watch.pin_at = Some(now.after(PIN_WAIT));
        }
    }

    fn candidates(&self, handle: StreamHandle) -> impl Iterator<Item = &Stream> {
        let of = move |stream: &&Stream| stream.subscriber.as_ref().is_some_and(|s| s.handle == handle);
        self.streams.values().filter(of)
    }

    /// Settles on the one stream that is proven to live, in its newest run.
    pub(super) fn pin(&mut self, now: Now, handle: StreamHandle) {
        let fresh = |stream: &&Stream| stream.subscriber.as_ref().is_some_and(|s| s.fresh);
        let mut keys: Vec<_> =
            self.candidates(handle).filter(fresh).map(|stream| stream.keys.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        watch.pin_at = None;
        let before = watch.current;
        if keys.len() > 1 && before.is_none() {
            self.events.push_back(Event::Ambiguous { stream: handle, keys });
            return self.conclude(now, handle, Monitor::handle_rejected);
        }
        let newest = self.candidates(handle).filter(fresh).max_by_key(|stream| stream.keys.epoch());
        let Some(stream) = newest else { return };
        let (tag, key, epoch) = (stream.tag(), stream.keys.key(), stream.keys.epoch());
        if before.is_some_and(|(_, _, current)| current >= epoch) {
            return;
        }
        let catalogue = stream.catalogue.clone();
        let (seen, unicast) = (stream.newest_via, before.and_then(|(before, ..)| self.streams.get(&before)));
        let unicast = unicast.is_some_and(|stream| stream.unicast.wanted);
        if let Some((_, _, old)) = before {
            self.events.push_back(Event::Reset { stream: handle, old, new: epoch });
        }
        let Some(watch) = self.watches.get_mut(&handle) else { return };
        watch.current = Some((tag, key, epoch));
        match before {
            None => watch.monitor.handle_opened(now),
            Some(_) => watch.monitor.handle_reset(now),
        }
        if let Some((via, block)) = seen {
            watch.monitor.handle_fragment(now, via, block, true);
        }
        let parked = watch.parked;
        self.streams.get_mut(&tag).into_iter().for_each(|stream| stream.parked = parked);
        self.handles.insert(handle, tag);
        self.follow_groups(handle, &catalogue.name, catalogue.multicast);
        self.events.push_back(Event::Opened { stream: handle, key, epoch, catalogue });
        let stale: Vec<_> = self.candidates(handle).map(Stream::tag).filter(|other| *other != tag).collect();
        stale.into_iter().for_each(|tag| self.retire(tag));
        self.offer_to_all(tag);
        if unicast {
            self.start_unicast(now, tag);
        }
        self.deliver(now, tag);
    }

    /// Drops a stream; its tag is remembered, so that what still comes of it is counted as a replay.
    pub(super) fn retire(&mut self, tag: StreamTag) {
        self.keep_counters(tag);
        let Some(stream) = self.streams.remove(&tag) else { return };
        if let Some(source) = &stream.source {
            self.close_channel(source.handle);
        }
        self.remember_retired(tag, stream.keys.key());
        let supplies = |path: &PathId| !stream.supply.supplied_by(*path).is_empty();
        let supplying: Vec<_> = self.sessions.keys().copied().filter(supplies).collect();
        for path in supplying {
            self.send_control(
                path,
                &Control::Unsubscribe { tag, stripes: StripeMask::ALL, from: BlockId(0) },
            );
        }
        for session in self.sessions.values_mut() {
            session.outbox.forget_stream(tag);
            session.streams.remove(&tag);
        }
    }

    /// Drops a stream that its publisher still sends, and remembers who offers it, so that it can be joined again.
    fn leave(&mut self, now: Now, tag: StreamTag) {
        let offerers = self.sessions.iter().filter_map(|(path, session)| {
            let remote = session.streams.get(&tag).filter(|remote| remote.offers)?;
            Some((*path, remote.renewed(now)))
        });
        let offerers: Vec<_> = offerers.collect();
        self.retire(tag);
        self.retired.remove(&tag);
        for (path, remote) in offerers {
            self.sessions.get_mut(&path).into_iter().for_each(|session| {
                session.streams.insert(tag, remote.clone());
            });
        }
    }

    /// Keeps the counters of a stream that goes, for who asks behind its end.
    fn keep_counters(&mut self, tag: StreamTag) {
        let of = self.handles.iter().find(|(_, of)| **of == tag).map(|(handle, _)| *handle);
        let Some((handle, stats)) = of.and_then(|handle| Some((handle, self.stats(self.now, handle)?)))
        else {
            return;
        };
        if self.finals.len() >= FINALS_MAX {
            self.finals.pop_first();
        }
        self.finals.insert(handle, stats);
    }

    pub(super) fn remember_retired(&mut self, tag: StreamTag, key: StreamKey) {
        if self.retired.len() >= RETIRED_MAX {
            self.retired.pop_first();
        }
        self.retired.insert(tag, key);
    }

    pub(super) fn close(&mut self, now: Now, handle: StreamHandle, cause: CloseCause) {
        let Some(watch) = self.watches.remove(&handle) else { return };
        let current = watch.current.map(|(tag, ..)| tag);
        let others: Vec<_> =
            self.candidates(handle).map(Stream::tag).filter(|tag| Some(*tag) != current).collect();
        others.into_iter().for_each(|tag| self.retire(tag));
        self.close_channel(handle);
        self.close_with(handle, cause.clone());
        self.announce();
        let Some(tag) = current else { return };
        let Some(stream) = self.streams.get_mut(&tag).filter(|_| cause == CloseCause::Ended) else {
            return self.leave(now, tag);
        };
        stream.linger_until = Some(now.after(LINGER_MAX));
        stream.pull_at = None;
        if let Some(subscriber) = &mut stream.subscriber {
            subscriber.finished = true;
        }
        let holders: Vec<_> =
            self.sessions.values().filter(|s| s.streams.contains_key(&tag)).map(|s| s.path).collect();
        holders.into_iter().for_each(|path| self.send_control(path, &Control::Finished { tag }));
        self.check_linger(now, tag);
    }

    fn close_with(&mut self, handle: StreamHandle, cause: CloseCause) {
        self.events.push_back(Event::Closed { stream: handle, cause });
    }

    /// Ends the lingering of a stream once no neighbour lacks anything, or its time is over.
    pub(super) fn check_linger(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let Some(until) = stream.linger_until else { return };
        let publisher = stream.publisher();
        let lacking = self.sessions.values().filter(|session| session.greeted && session.peer != publisher);
        let lacking = lacking.filter_map(|session| session.streams.get(&tag)).any(|remote| !remote.finished);
        stream.linger_from = stream.linger_from.filter(|from| now < *from);
        if (lacking || stream.linger_from.is_some()) && now < until {
            return;
        }
        if let Some(source) = &stream.source {
            self.events.push_back(Event::Unpublished { stream: source.handle, complete: !lacking });
        }
        self.retire(tag);
        self.announce();
    }

    /// Delivers what is complete, gives up what is overdue.
    pub(super) fn deliver(&mut self, now: Now, tag: StreamTag) {
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        let ended_at = stream.ended_at();
        let Some(subscriber) = stream.subscriber.as_mut().filter(|s| s.fresh && !s.finished) else { return };
        let handle = subscriber.handle;
        let current = self.watches.get(&handle).and_then(|watch| watch.current).map(|(current, ..)| current);
        if current != Some(tag) {
            return;
        }
        let mut finished = ended_at == Some(0);
        let mut lost = false;
        if let Some(playout) = &mut subscriber.playout {
            let sessions = &self.sessions;
            let is_shed =
                |block| sessions.values().any(|s| s.streams.get(&tag).is_some_and(|r| r.has_refused(block)));
            let view = View {
                window: &stream.window,
                keys: &stream.keys,
                catalogue: &stream.catalogue,
                clock: &stream.clock,
                is_shed: &is_shed,
            };
            let mut out = Vec::new();
            let tally = playout.deliver(now, view, &mut out);
            stream.stats.lost += tally.lost;
            stream.stats.skipped += tally.skipped;
            stream.stats.malformed += tally.malformed;
            lost |= tally.lost + tally.skipped > 0;
            finished |= ended_at.is_some_and(|blocks| playout.next().0 >= blocks);
            if finished {
                playout.close(&stream.catalogue, &mut out);
            }
            for delivery in out {
                self.events.push_back(match delivery {
                    Delivery::Unit { unit, due, closed } => {
                        stream.stats.access_units += 1;
                        stream.stats.access_unit_bytes += unit.payload.len() as u64;
                        Event::AccessUnit { stream: handle, unit, due, closed }
                    }
                    Delivery::Gap { track, from, to, cause } => {
                        Event::Gap { stream: handle, track: Some(track), from, to, cause }
                    }
                });
            }
            let (next, media) = (playout.next(), playout.last_media());
            if let Some(watch) = self.watches.get_mut(&handle).filter(|_| playout.dry_at().is_some()) {
                watch.monitor.handle_delivered(media);
            }
            stream.window.trim(now, next);
            stream.pulls.forget_before(next.min(stream.window.first()));
        }
        if lost {
            self.witness_loss(now, tag);
        }
        self.witness_buffer(tag);
        if finished {
            self.conclude(now, handle, Monitor::handle_drained);
        }
    }

    /// Looks for suppliers of the stripes that have none.
    pub(super) fn find_suppliers(&mut self, now: Now, tag: StreamTag) {
        let offerers = offerers(&self.sessions, tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.supply_at = now.after(SUPPLY_PERIOD);
        let limited = self.uplink.rate().is_some();
        let Some(subscriber) = stream.subscriber.as_ref().filter(|subscriber| !subscriber.finished) else {
            return;
        };
        let patience_ms = u32::try_from(subscriber.delay.as_millis()).unwrap_or(u32::MAX);
        let asked = stream.supply.assign(now, stream.window.end(), &offerers, limited);
        for ((path, from), stripes) in asked {
            let Some(stream) = self.streams.get_mut(&tag) else { return };
            let from = if stream.started || stream.catch_up.is_some() {
                SubscribeFrom::Block(from.unwrap_or(stream.window.end()))
            } else {
                stream.catch_up = Some(CatchUp { path, until: None, front: BlockId(0), last: now });
                SubscribeFrom::RandomAccess
            };
            let parked = stream.parked;
            self.send_control(path, &Control::Subscribe { tag, stripes, from, patience_ms });
            if parked {
                self.send_control(path, &Control::Park { tag });
            }
        }
    }

    /// Looks for a supplier that is nearer to the publisher than one there is.
    fn improve_supply(&mut self, now: Now, tag: StreamTag) {
        let spread = Duration::from_millis(u64::from(self.rng.next_u32()) % 256);
        let offerers = offerers(&self.sessions, tag);
        let Some(stream) = self.streams.get_mut(&tag) else { return };
        stream.supply_at = now.after(IMPROVE_PERIOD + spread);
        let Some(subscriber) = stream.subscriber.as_ref().filter(|s| s.fresh && !s.finished) else { return };
        let limited = self.uplink.rate().is_some();
        if stream.parked || stream.unicast.path.is_some() || stream.catch_up.is_some() {
            return;
        }
        let patience_ms = u32::try_from(subscriber.delay.as_millis()).unwrap_or(u32::MAX);
        let over = stream.supply.expire(now);
        let edge = stream.edge();
        let improve = || stream.supply.improve(now, &offerers, |rtt| edge.after(rtt + TELLING), limited);
        let handovers: Vec<_> = std::iter::from_fn(improve).collect();
        over.into_iter().for_each(|handover| self.undo(tag, handover));
        for Handover { stripe, heir, from, .. } in handovers {
            let (stripes, from) = (StripeMask::default().with(stripe), SubscribeFrom::Block(from));
            self.send_control(heir, &Control::Subscribe { tag, stripes, from, patience_ms });
        }
    }

    /// Runs what is due for one stream.
    pub(super) fn run_stream(&mut self, now: Now, tag: StreamTag) {
        self.run_source(now, tag);
        let Some(stream) = self.streams.get(&tag) else { return };
        let pull_due = stream.pull_at.is_some_and(|at| at <= now);
        let supply_due = stream.supply_at <= now && stream.subscriber.is_some();
        let challenge_due = stream.subscriber.as_ref().is_some_and(|s| !s.fresh && s.challenge_at <= now);
        if challenge_due {
            self.challenge(now, tag);
        } else if supply_due && stream.supply.seeks() {
            self.find_suppliers(now, tag);
        } else if supply_due {
            self.improve_supply(now, tag);
        }
        self.tell_suppliers(now, tag);
        if pull_due {
            self.pull(now, tag);
        }
        self.send_have_maps(now, tag);
        self.send_report(now, tag);
        self.ask_time(now, tag);
        self.deliver(now, tag);
        self.check_linger(now, tag);
    }
}

impl Stream {
    /// Begins delivery at the window's start.
    pub(super) fn start_playout(&mut self, now: Now, first: BlockId) {
        if let Some(subscriber) = &mut self.subscriber {
            let mut playout = Playout::new(now, subscriber.delay, first);
            playout.set_grown(subscriber.grown);
            subscriber.playout = Some(playout);
        }
    }
}
