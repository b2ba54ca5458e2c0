//! What the node and the foreign source hand over, as one stream of events.

use std::collections::VecDeque;

use swarmcast_core::catalogue::{AccessUnit, Catalogue, Track, TrackId};
use swarmcast_core::health::{CloseCause as CoreCause, ControlPlane, PathKind};
use swarmcast_core::ids::{Epoch, Now, StreamKey};
use swarmcast_core::node::Event as CoreEvent;
use swarmcast_net::Playout;

use crate::event::{CloseCause, Delivery, Event};
use crate::foreign::{Brought, lead};

/// Distance from now, in microseconds, beyond which a foreign access unit's time is a jump of its clock: the longest
/// playout delay, by which it may begin late, and 10 s.
const JUMP_MICROS: u64 = 70_000_000;

/// Turns what is handed over into events. While the foreign source plays, the swarm's media is left out, up to the
/// random-access point with which the swarm takes over again: each access unit of the swarm is told at most once.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whether there is a foreign source.
    has_foreign: bool,
    /// Events that are ready, oldest first; at most three.
    ready: VecDeque<Event>,
    origin: Origin,
    /// Whether the foreign source was asked to play.
    foreign_asked: bool,
    /// Whether it was told that it does not play.
    foreign_lost: bool,
    opened: Option<Opened>,
    /// The track whose next key unit is playable by itself.
    starts_with: Option<TrackId>,
    foreign: ForeignClock,
    /// When the newest access unit is due.
    newest: Option<Now>,
    control_plane: ControlPlane,
    keys: Vec<StreamKey>,
    closed: bool,
}

/// Where access units come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Origin {
    /// The swarm.
    #[default]
    Swarm,
    /// The foreign source.
    Foreign,
    /// The foreign source if it still plays, until the swarm's next random-access point.
    Returning,
}

/// What is to be done about the foreign source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Play it.
    Start,
    /// Play it no longer.
    Stop,
    /// Tell the node whether it plays.
    Tell(bool),
}

#[derive(Clone, Debug)]
struct Opened {
    key: StreamKey,
    epoch: Epoch,
    catalogue: Catalogue,
}

impl From<Opened> for Event {
    fn from(Opened { key, epoch, catalogue }: Opened) -> Self {
        Self::Opened { key, epoch, catalogue }
    }
}

impl Reading {
    /// Begins with the swarm.
    pub(super) fn new(has_foreign: bool) -> Self {
        Self { has_foreign, ..Self::default() }
    }

    /// Returns whether all that is told comes from the swarm.
    pub(super) fn is_of_swarm(&self) -> bool {
        self.origin == Origin::Swarm && !self.foreign_asked && !self.closed
    }

    /// Returns the next event that is ready, `Some(None)` behind the last one.
    pub(super) fn take(&mut self) -> Option<Option<Event>> {
        match self.ready.pop_front() {
            Some(event) => Some(Some(event)),
            None => self.closed.then_some(None),
        }
    }

    /// Takes what the node handed over; `None` when it is gone.
    pub(super) fn put(&mut self, received: Option<Playout>) -> Option<Turn> {
        match received {
            Some(Playout::Event(event)) => self.read(event),
            Some(Playout::Overrun { access_units }) => self.tell(Event::Overrun { access_units }),
            Some(_) => None,
            None => self.close(CloseCause::Stopped),
        }
    }

    /// Takes what the foreign source handed over; `None` when nothing more will come of it.
    pub(super) fn bring(&mut self, brought: Option<Brought>, now: Now) -> Option<Turn> {
        match brought {
            Some(Brought::Opened(tracks)) => {
                if self.origin == Origin::Swarm {
                    self.origin = Origin::Foreign;
                }
                self.foreign_lost = false;
                self.starts_with = lead(&tracks);
                self.foreign = ForeignClock::new(tracks.clone());
                self.tell(Event::Foreign { tracks });
                Some(Turn::Tell(true))
            }
            Some(Brought::Unit(unit)) => {
                let due = self.foreign.due(&unit, self.newest, now);
                self.deliver(Delivery { unit, due, closed: None });
                None
            }
            Some(Brought::Lost(error)) => self.lose(Event::ForeignLost { error }),
            None => {
                self.foreign_asked = false;
                if self.foreign_lost { None } else { self.lose(Event::ForeignLost { error: None }) }
            }
        }
    }

    fn lose(&mut self, event: Event) -> Option<Turn> {
        self.foreign_lost = true;
        if self.origin == Origin::Foreign {
            self.origin = Origin::Returning;
        }
        self.tell(event);
        Some(Turn::Tell(false))
    }

    fn read(&mut self, event: CoreEvent) -> Option<Turn> {
        match event {
            CoreEvent::Opened { key, epoch, catalogue, .. } => self.open(Opened { key, epoch, catalogue }),
            CoreEvent::AccessUnit { unit, due, closed, .. } => {
                self.take_unit(Delivery { unit, due, closed: Some(closed) })
            }
            CoreEvent::Gap { track, from, to, cause, .. } if self.origin == Origin::Swarm => {
                self.tell(Event::Gap { track, from, to, cause })
            }
            CoreEvent::Reset { old, new, .. } => self.tell(Event::Reset { old, new }),
            CoreEvent::Verdict { from, to, reason, path, last_media, since_last_fragment, .. } => {
                self.tell(Event::Verdict { from, to, reason, path, last_media, since_last_fragment })
            }
            CoreEvent::Path { from, to, cause, last_media, .. } => {
                self.tell(Event::Path { from, to, cause, last_media });
                self.change_path(to)
            }
            CoreEvent::PathDue { from, to, cause, last_media, .. } => {
                self.tell(Event::PathDue { from, to, cause, last_media })
            }
            CoreEvent::PathVerdict { path, from, to, reason, .. } => {
                self.tell(Event::PathVerdict { path, from, to, reason })
            }
            CoreEvent::ControlPlane { to, .. } => {
                let from = std::mem::replace(&mut self.control_plane, to);
                self.tell(Event::ControlPlane { from, to })
            }
            CoreEvent::Ambiguous { keys, .. } => {
                self.keys = keys;
                None
            }
            CoreEvent::Closed { cause, .. } => {
                let cause = match cause {
                    CoreCause::Ended => CloseCause::Ended,
                    CoreCause::Dead(reason) => CloseCause::Dead(reason),
                    CoreCause::Refused => CloseCause::Ambiguous { keys: std::mem::take(&mut self.keys) },
                    _ => CloseCause::Local,
                };
                self.close(cause)
            }
            _ => None,
        }
    }

    fn open(&mut self, opened: Opened) -> Option<Turn> {
        self.opened = Some(opened.clone());
        // Else it is told when the swarm takes over.
        if self.origin == Origin::Swarm {
            self.starts_with = lead(&opened.catalogue.tracks);
            self.tell(opened.into());
        }
        None
    }

    fn change_path(&mut self, to: PathKind) -> Option<Turn> {
        if to != PathKind::Foreign {
            if self.origin == Origin::Foreign {
                self.origin = Origin::Returning;
            }
            return if self.origin == Origin::Swarm { self.stop() } else { None };
        }
        if self.foreign_asked {
            if self.origin == Origin::Returning {
                self.origin = Origin::Foreign;
            }
            return None;
        }
        self.foreign_asked = self.has_foreign;
        self.foreign_lost = false;
        self.has_foreign.then_some(Turn::Start)
    }

    fn take_unit(&mut self, delivery: Delivery) -> Option<Turn> {
        if self.origin == Origin::Swarm {
            self.deliver(delivery);
            return None;
        }
        let opened = self.opened.as_ref().filter(|_| self.origin == Origin::Returning)?;
        let lead = lead(&opened.catalogue.tracks);
        if !delivery.unit.key || lead != Some(delivery.unit.track) {
            return None;
        }
        self.origin = Origin::Swarm;
        self.starts_with = lead;
        self.tell(opened.clone().into());
        self.deliver(delivery);
        self.stop()
    }

    fn deliver(&mut self, delivery: Delivery) {
        let track = delivery.unit.track;
        if delivery.unit.key && self.starts_with == Some(track) {
            self.starts_with = None;
            self.tell(Event::Started { track });
        }
        self.newest = Some(self.newest.map_or(delivery.due, |newest| newest.max(delivery.due)));
        self.tell(Event::AccessUnit(delivery));
    }

    fn close(&mut self, cause: CloseCause) -> Option<Turn> {
        self.tell(Event::Closed(cause));
        self.closed = true;
        self.stop()
    }

    fn stop(&mut self) -> Option<Turn> {
        std::mem::take(&mut self.foreign_asked).then_some(Turn::Stop)
    }

    fn tell(&mut self, event: Event) -> Option<Turn> {
        self.ready.push_back(event);
        None
    }
}

/// Sets a foreign source's timestamps on this host's clock: it begins where the swarm's buffer ends, and goes on at its
/// own pace.
#[derive(Debug, Default)]
struct ForeignClock {
    tracks: Vec<Track>,
    /// A decoding time in microseconds and when it is due.
    anchor: Option<(i64, Now)>,
}

impl ForeignClock {
    fn new(tracks: Vec<Track>) -> Self {
        Self { tracks, anchor: None }
    }

    fn due(&mut self, unit: &AccessUnit, newest: Option<Now>, now: Now) -> Now {
        let track = self.tracks.iter().find(|track| track.id == unit.track);
        let micros = track.map_or(0, |track| track.time_base.to_micros(unit.dts));
        let due = self.anchor.map(|(from, at)| Now(at.0.saturating_add_signed(micros.saturating_sub(from))));
        if let Some(due) = due.filter(|due| due.0.abs_diff(now.0) <= JUMP_MICROS) {
            return due;
        }
        let at =
            newest.filter(|newest| newest.0.abs_diff(now.0) <= JUMP_MICROS).map_or(now, |at| at.max(now));
        self.anchor = Some((micros, at));
        at
    }
}

#[cfg(test)]
mod tests;
