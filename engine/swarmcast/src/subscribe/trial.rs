//! A rendition that is about to take over: fetched beside the one that is played, up to a random-access point that the
//! latter has not reached, so that nothing is missing and nothing comes twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use swarmcast_core::catalogue::{Catalogue, Track, TrackId, TrackKind};
use swarmcast_core::health::{PathKind, Verdict};
use swarmcast_core::ids::{Epoch, Now, StreamKey};
use swarmcast_net::{Playout, SubscriptionHandle};

use super::quality::Wish;
use super::reading::{Reading, Turn};
use crate::event::{CloseCause, Delivery, Event, QualityCause};
use crate::foreign::lead;

/// How long a rendition has to be had beside the lower one before it takes over.
const PROBATION: Duration = Duration::from_secs(2);
/// Time before a random-access point is due at which it takes over, whether or not the other rendition came so far.
const MARGIN: Duration = Duration::from_millis(100);
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Most events that wait.
const HELD_MAX: usize = 8_192;
/// Most bytes of them.
const HELD_BYTES_MAX: usize = 64 << 20;

/// What was told of a subscription: how far its tracks were delivered, as decoding times in microseconds, and how it
/// is.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    epoch: Option<Epoch>,
    tracks: Vec<Track>,
    newest: BTreeMap<TrackId, i64>,
    verdict: Verdict,
    path: Option<PathKind>,
}

impl Heard {
    /// Takes note of what the subscriber is told.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Opened { epoch, catalogue, .. } => {
                (self.epoch, self.newest) = (Some(*epoch), BTreeMap::new());
                self.tracks.clone_from(&catalogue.tracks);
            }
            Event::AccessUnit(delivery) => {
                if let Some(at) = self.at(delivery) {
                    self.newest.insert(delivery.unit.track, at);
                }
            }
            Event::Verdict { to, .. } => self.verdict = *to,
            Event::Path { to, .. } => self.path = Some(*to),
            _ => {}
        }
    }

    /// Returns whether another rendition of the same run goes on with the same tracks.
    fn fits(&self, epoch: Epoch, catalogue: &Catalogue) -> bool {
        let form = |track: &Track| (track.id, track.kind, track.time_base);
        self.epoch == Some(epoch) && self.tracks.iter().map(form).eq(catalogue.tracks.iter().map(form))
    }

    fn at(&self, delivery: &Delivery) -> Option<i64> {
        let track = self.tracks.iter().find(|track| track.id == delivery.unit.track)?;
        Some(track.time_base.to_micros(delivery.unit.dts))
    }

    /// Returns whether a unit of this place or a later one was told.
    pub(super) fn has(&self, delivery: &Delivery) -> bool {
        let newest = self.newest.get(&delivery.unit.track);
        newest.zip(self.at(delivery)).is_some_and(|(newest, at)| at <= *newest)
    }

    fn is_new(&self, delivery: &Delivery) -> bool {
        self.at(delivery).is_some() && !self.has(delivery)
    }

    /// Returns what is new to who was told of the rendition before.
    fn renewed(&self, event: Event) -> Option<Event> {
        match event {
            Event::Verdict { to, reason, path, last_media, since_last_fragment, .. } => {
                let from = self.verdict;
                let told = Event::Verdict { from, to, reason, path, last_media, since_last_fragment };
                (from != to).then_some(told)
            }
            Event::Path { to, cause, last_media, from } => {
                let from = self.path.unwrap_or(from);
                (from != to).then_some(Event::Path { from, to, cause, last_media })
            }
            _ => None,
        }
    }
}

/// A rendition that is fetched and not played yet.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) wish: Wish,
    pub(super) subscription: Arc<SubscriptionHandle>,
    pub(super) candidate: Candidate,
}

/// What has come of a rendition.
#[derive(Debug)]
pub(super) struct Candidate {
    cause: QualityCause,
    since: Now,
    reading: Reading,
    opened: Option<(StreamKey, Epoch, Catalogue)>,
    held: VecDeque<Event>,
    bytes: usize,
    /// The newest of its verdicts and of its paths.
    verdict: Option<Event>,
    path: Option<Event>,
    failed: bool,
}

impl Trial {
    pub(super) fn new(now: Now, wish: Wish, subscription: Arc<SubscriptionHandle>, reading: Reading) -> Self {
        Self { wish, subscription, candidate: Candidate::new(now, wish.cause, reading) }
    }

    /// Takes what the node handed over of it.
    pub(super) fn put(&mut self, received: Option<Playout>) {
        self.candidate.put(received);
    }

    /// Returns whether it will not come to anything, while what is played suffers or not.
    pub(super) fn has_failed(&self, now: Now, suffers: bool) -> bool {
        self.candidate.has_failed(now, suffers)
    }
}

impl Candidate {
    fn new(now: Now, cause: QualityCause, reading: Reading) -> Self {
        let (opened, held, verdict, path) = (None, VecDeque::new(), None, None);
        Self { cause, since: now, reading, opened, held, bytes: 0, verdict, path, failed: false }
    }

    fn put(&mut self, received: Option<Playout>) {
        self.failed |= self.reading.put(received) == Some(Turn::Start);
        while let Some(Some(event)) = self.reading.take() {
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { key, epoch, catalogue } => {
                self.failed |= self.opened.replace((key, epoch, catalogue)).is_some();
            }
            Event::AccessUnit(ref delivery) => {
                self.bytes += delivery.unit.payload.len();
                self.held.push_back(event);
            }
            Event::Gap { .. } | Event::Overrun { .. } => {
                // One that is to replace a worse one may be imperfect.
                self.failed |= self.cause == QualityCause::Clean;
                self.held.push_back(event);
            }
            Event::Verdict { .. } => self.verdict = Some(event),
            Event::Path { .. } => self.path = Some(event),
            Event::Closed(CloseCause::Ended) => self.held.push_back(event),
            Event::Closed(_) => self.failed = true,
            _ => {}
        }
        self.failed |= self.held.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX;
    }

    fn has_failed(&self, now: Now, suffers: bool) -> bool {
        let gives_way = suffers && self.cause == QualityCause::Clean;
        self.failed || gives_way || now.since(self.since) > PATIENCE
    }

    /// Returns the place of the random-access point among what is held at which it takes over now, before `next` of
    /// what is played is delivered, if there is any.
    pub(super) fn takes_over(&self, now: Now, heard: &Heard, next: Option<&Delivery>) -> Option<usize> {
        let (_, _, catalogue) = self.opened.as_ref().filter(|(_, epoch, new)| heard.fits(*epoch, new))?;
        let lead = lead(&catalogue.tracks)?;
        let ripe = self.ripe(heard, lead)?;
        let (place, point) = self.keys(lead).find(|(_, delivery)| {
            heard.is_new(delivery) && heard.at(delivery).is_some_and(|at| at >= ripe)
        })?;
        if point.due <= now.after(MARGIN) {
            return Some(place);
        }
        // What is played has come as far as the point: all before it was delivered.
        let reached = next.is_some_and(|next| next.unit.track == lead && heard.at(next) >= heard.at(point));
        (reached && self.covers(heard, catalogue)).then_some(place)
    }

    /// Returns whether a unit of what is played is the random-access point at which it may take over, and which it will
    /// bring soon: the lighter rendition is always the earlier one.
    pub(super) fn awaits(&self, heard: &Heard, next: &Delivery) -> bool {
        let lead = self.opened.as_ref().and_then(|(_, _, catalogue)| lead(&catalogue.tracks));
        let ripe = lead.and_then(|lead| self.ripe(heard, lead));
        let point = next.unit.key && Some(next.unit.track) == lead;
        point && heard.at(next).zip(ripe).is_some_and(|(at, ripe)| at >= ripe)
    }

    /// Returns the random-access points that are held, with their places.
    fn keys(&self, lead: TrackId) -> impl Iterator<Item = (usize, &Delivery)> {
        self.held.iter().enumerate().filter_map(move |(place, event)| match event {
            Event::AccessUnit(delivery) if delivery.unit.key && delivery.unit.track == lead => {
                Some((place, delivery))
            }
            _ => None,
        })
    }

    /// Returns the decoding time from which on it may take over.
    fn ripe(&self, heard: &Heard, lead: TrackId) -> Option<i64> {
        let (_, first) = self.keys(lead).next()?;
        let probation = if self.cause == QualityCause::Clean { PROBATION } else { Duration::ZERO };
        let probation = i64::try_from(probation.as_micros()).unwrap_or(i64::MAX);
        Some(heard.at(first)?.saturating_add(probation))
    }

    /// Returns whether the sound held begins no later than that which was delivered ends.
    fn covers(&self, heard: &Heard, catalogue: &Catalogue) -> bool {
        let sounds = catalogue.tracks.iter().filter(|track| track.kind == TrackKind::Audio);
        let mut delivered = sounds.filter_map(|track| Some((track, *heard.newest.get(&track.id)?)));
        delivered.all(|(track, newest)| {
            let held = self.held.iter().find_map(|event| match event {
                Event::AccessUnit(delivery) if delivery.unit.track == track.id => Some(delivery),
                _ => None,
            });
            held.is_some_and(|held| {
                let length = track.time_base.to_micros(i64::from(held.unit.duration));
                heard.at(held).is_some_and(|at| at <= newest.saturating_add(length * 3 / 2))
            })
        })
    }

    /// Returns what goes on reading it, and what it brings with it when it takes over from that place: `Opened`, what
    /// else is known of it, and its access units from the random-access point on.
    pub(super) fn succeed(self, heard: &Heard, place: usize) -> Option<(Reading, VecDeque<Event>)> {
        let (key, epoch, catalogue) = self.opened?;
        let lead = lead(&catalogue.tracks)?;
        let mut events = VecDeque::new();
        events.push_back(Event::Opened { key, epoch, catalogue });
        let told = self.path.into_iter().chain(self.verdict);
        events.extend(told.filter_map(|event| heard.renewed(event)));
        events.push_back(Event::Started { track: lead });
        let kept = self.held.into_iter().enumerate().filter(|(at, event)| match event {
            Event::AccessUnit(delivery) if delivery.unit.track == lead => *at >= place,
            Event::AccessUnit(delivery) => heard.is_new(delivery),
            _ => *at > place,
        });
        events.extend(kept.map(|(_, event)| event));
        Some((self.reading, events))
    }
}

#[cfg(test)]
mod tests;
