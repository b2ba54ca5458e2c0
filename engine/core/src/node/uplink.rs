//! The uplink that all sessions share: what is sent by it next, and what may be promised of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::delivery::GUEST_PERIOD;
use super::stream::Stream;
use super::{Node, PathSample};
use crate::ids::{Now, PathId, STRIPES, StreamKey, StreamTag, Stripe};
use crate::schedule::{Outbox, PACKET_BYTES};
use crate::session::{Remote, Session};
use crate::wire::{BlockHeader, DATAGRAM_BYTES_MAX, SHARD_BYTES, StripeMask};

/// Shares of what the uplink bears beside control up to which pushes are promised, and beyond which they are taken
/// back. All viewers wait for what a publisher is late with, and miss what it sheds.
const RELAYS: (f64, f64) = (1.0, 1.05);
const PUBLISHER: (f64, f64) = (0.85, 0.95);
/// Time for which more is promised than it bears before one push is taken back, and then another: rates vary, and whose
/// push is gone may leave all without the stripe that he feeds.
const EASING: Duration = Duration::from_secs(1);
/// Share of it up to which guests are taken on, who come all at once and take eight stripes each.
pub(super) const PROMISED_WITH_GUEST: f64 = 0.7;
/// Bytes that may wait before nothing is answered, two datagrams: what was promised is for many, an answer for one.
const CROWDED: f64 = 2_400.0;
/// Bytes of a fragment's datagram beside its shard.
const FRAGMENT_HEAD: usize = 10;

/// Returns what a block takes on the wire without its parity, which is not pushed; its header's datagram is that long.
pub(super) fn wire_bytes(header: &BlockHeader, datagram_bytes: usize) -> usize {
    let packet = PACKET_BYTES as usize;
    let shards = usize::from(header.data) * (SHARD_BYTES + FRAGMENT_HEAD + packet);
    let short = SHARD_BYTES.saturating_sub(usize::from(header.last_shard_bytes));
    datagram_bytes + packet + if header.is_inline() { 0 } else { shards - short }
}

impl Node {
    pub(super) fn handle_samples(&mut self, now: Now, samples: Vec<(PathId, PathSample)>) {
        samples.into_iter().for_each(|(path, sample)| self.handle_sample(now, path, sample));
        self.keep_to_uplink(now);
    }

    fn handle_sample(&mut self, now: Now, path: PathId, sample: PathSample) {
        let Some(session) = self.sessions.get_mut(&path) else { return };
        session.sample = sample;
        session.datagram_bytes_max = sample.datagram_bytes_max.max(DATAGRAM_BYTES_MAX);
        let consumed = session.streams.iter().filter(|(_, remote)| !remote.consumes.is_empty());
        // Who has two renditions of a programme is about to leave one: the path may have room for the lighter alone.
        let mut rates = BTreeMap::<StreamKey, f64>::new();
        for (tag, remote) in consumed {
            let Some(stream) = self.streams.get_mut(tag) else { continue };
            if remote.is_hurried(session.rtt()) {
                // It would be gone with the last data, before it was passed on.
                stream.window.keep_parity();
            }
            let share = f64::from(remote.consumes.len()) / f64::from(STRIPES);
            let rate = stream.rate.rate() * share;
            let first = stream.catalogue.renditions.first();
            let least = rates.entry(first.map_or(stream.keys.key(), |first| first.key)).or_insert(rate);
            *least = least.min(rate);
        }
        session.pace.handle_sample(now, sample, rates.into_values().sum());
    }

    /// Returns whose turn it is to send media where the uplink has no room for all: who waits for the oldest block of
    /// what goes first.
    pub(super) fn poll_turn(&mut self) -> Option<PathId> {
        self.uplink.rate()?;
        if self.uplink_until.is_some() {
            return None;
        }
        let waits =
            self.sessions.values_mut().filter(|session| !session.had_turn && session.paced_until.is_none());
        let urgent = waits.filter_map(|session| {
            let (place, block, parts) = session.outbox.next()?;
            // A guest is one viewer; behind the others' pushes there are many. Of one block, who lacks most goes first.
            let behind = place > Outbox::ESSENTIAL && session.is_guest();
            Some(((behind, place, block, u32::MAX - parts, session.path), session))
        });
        let (_, session) = urgent.min_by_key(|(urgency, _)| *urgency)?;
        session.had_turn = true;
        Some(session.path)
    }

    /// Returns the shares up to which pushes of a stream are promised, and beyond which they are taken back.
    pub(super) fn promises(&self, tag: StreamTag) -> (f64, f64) {
        let publishes = self.streams.get(&tag).is_some_and(|stream| stream.source.is_some());
        if publishes { PUBLISHER } else { RELAYS }
    }

    /// Returns how many stripes of a stream may be pushed, guests' among them, for `share` of the uplink; `None`
    /// without a limit.
    pub(super) fn pushes_borne(&self, tag: StreamTag, share: f64) -> Option<usize> {
        let rate = self.uplink.media_rate()? * share;
        let cost = |stream: &Stream| stream.wire_rate().max(1.0) / f64::from(STRIPES);
        let others = self.streams.values().filter(|stream| stream.tag() != tag);
        let others: f64 =
            others.map(|stream| cost(stream) * self.pushes_of_all(stream.tag(), None) as f64).sum();
        Some(((rate - others) / cost(self.streams.get(&tag)?)).max(1.0) as usize)
    }

    /// Counts the pushes of all stripes to all but one, those among them that go to guests, and those that end soon.
    pub(super) fn pushes_of_all(&self, tag: StreamTag, but: Option<PathId>) -> usize {
        let sessions = self.sessions.values().filter(|session| Some(session.path) != but);
        let remotes = sessions.filter_map(|session| session.streams.get(&tag));
        remotes.filter(|remote| !remote.parked).map(|remote| remote.consumes.len() as usize).sum()
    }

    /// Returns whether so much waits for the uplink that who asks for something does better elsewhere.
    pub(super) fn is_crowded(&self) -> bool {
        let waits = || self.sessions.values().map(|session| session.outbox.media_bytes()).sum::<f64>();
        self.uplink.rate().is_some() && waits() > CROWDED
    }

    /// Ends pushes that the uplink does not bear: whole ones, so that the others are in time. Guests go first, one
    /// after the other, since nobody else is fed by them.
    fn keep_to_uplink(&mut self, now: Now) {
        let tags: Vec<_> = self.streams.keys().copied().collect();
        for tag in tags {
            let (_, most) = self.promises(tag);
            let Some(borne) = self.pushes_borne(tag, most) else { return };
            let stays = |remote: &Remote| remote.stays().len() as usize;
            let remotes = self.sessions.values().filter_map(|session| session.streams.get(&tag));
            let pushes: usize = remotes.map(stays).sum();
            let guest = |session: &&Session| session.streams.get(&tag).is_some_and(|remote| remote.unicast);
            let guest = self.sessions.values().rev().find(guest).map(|session| session.path);
            if let Some(path) = guest.filter(|_| pushes > borne) {
                if self.guest_at <= now {
                    self.guest_at = now.after(GUEST_PERIOD);
                    self.send_busy(path, tag);
                    self.stop_pushing(path, tag, StripeMask::ALL);
                }
                continue;
            }
            let Some(stream) = self.streams.get_mut(&tag) else { continue };
            if pushes <= borne {
                stream.overloaded = None;
            } else if now.since(*stream.overloaded.get_or_insert(now)) >= EASING {
                stream.overloaded = Some(now);
                if let Some((path, stripe)) = self.least_needed(tag) {
                    self.end_pushing(path, tag, StripeMask::default().with(stripe));
                }
            }
        }
    }

    /// Returns a push to be given up: of the stripe that is pushed most, to who has most.
    fn least_needed(&self, tag: StreamTag) -> Option<(PathId, Stripe)> {
        let remotes =
            self.sessions.values().filter_map(|session| Some((session.path, session.streams.get(&tag)?)));
        let all: Vec<_> = remotes.map(|(path, remote)| (path, remote.stays())).collect();
        let copies = |stripe: Stripe| all.iter().filter(|(_, stays)| stays.has(stripe)).count();
        let pushes =
            all.iter().flat_map(|(path, stays)| stays.iter().map(|stripe| (*path, stripe, stays.len())));
        let most = pushes.max_by_key(|(path, stripe, share)| (copies(*stripe), *share, *path))?;
        Some((most.0, most.1))
    }
}
