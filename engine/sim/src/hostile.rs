//! A member that lies: speaks the protocol well enough to be a neighbour, then tampers with all that it passes on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{Now, PathId, StreamHandle, StreamTag};
use swarmcast_core::node::{Action, Batch, Event, Input, Node};
use swarmcast_core::stats::StreamStats;
use swarmcast_core::wire::{Control, Datagram, HaveMap, peek_tag};

use crate::dice::Dice;
use crate::process::Process;

/// Time between two bursts of what it makes up.
const TICK: Duration = Duration::from_millis(10);
/// Datagrams of the first epoch that it keeps for a replay: some seconds of a small stream.
const RECORD_MAX: usize = 2_048;
/// Offers that it keeps for a replay: those of all neighbours.
const OFFERS_MAX: usize = 32;
/// Replayed datagrams a tick and path: 4,000 a second.
const REPLAYED_A_TICK: usize = 40;
/// Made-up datagrams that wait for one path's credit.
const PENDING_MAX: usize = 1_024;

/// What a hostile member does. The default does nothing wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Share of all relayed headers, fragments and beacons in which it flips a bit.
    pub alter: f64,
    /// Share of all fragments that it promised and does not send.
    pub withhold: f64,
    /// Claims in each have-map to hold everything, and more than there is, at the publisher's side.
    pub boast: bool,
    /// Replays the first epoch that it saw once there is a second, to everybody and to each new neighbour.
    pub replay: bool,
    /// Sends altered copies of what it saw, as fast as stated, on all of its paths.
    pub flood: Option<Flood>,
    /// Is no member: has no session with anybody, and hears and sends multicast only.
    pub outsider: bool,
}

/// A flood of forged datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// When it begins, counted from the start of the member.
    pub after: Duration,
    /// How long it lasts.
    pub lasting: Duration,
    /// Its rate, over all neighbours.
    pub bits_per_second: u64,
}

/// A hostile member at work.
#[derive(Debug)]
pub(crate) struct Hostile {
    honest: Node,
    script: Script,
    dice: Dice,
    began: Now,
    next_tick: Now,
    first_tag: Option<StreamTag>,
    record: Vec<Bytes>,
    offers: Vec<Bytes>,
    replaying: bool,
    pending: BTreeMap<PathId, VecDeque<Bytes>>,
    ready: VecDeque<PathId>,
    actions: VecDeque<Action>,
    replay_at: BTreeMap<PathId, usize>,
}

impl Hostile {
    pub(crate) fn new(honest: Node, script: Script, began: Now, seed: u64) -> Self {
        Self {
            honest,
            script,
            dice: Dice::new(seed),
            began,
            next_tick: began.after(TICK),
            first_tag: None,
            record: Vec::new(),
            offers: Vec::new(),
            replaying: false,
            pending: BTreeMap::new(),
            ready: VecDeque::new(),
            actions: VecDeque::new(),
            replay_at: BTreeMap::new(),
        }
    }

    /// Keeps what a later replay needs, and notices the second epoch.
    fn overhear(&mut self, input: &Input) {
        match input {
            Input::Connected { path, .. } => {
                self.pending.insert(*path, VecDeque::new());
                if self.replaying {
                    self.replay_offers(*path);
                }
            }
            Input::MulticastUp { path, .. } => {
                self.pending.insert(*path, VecDeque::new());
            }
            Input::Disconnected { path } | Input::MulticastDown { path } => {
                self.pending.remove(path);
                self.replay_at.remove(path);
            }
            Input::Control { message, .. } if !self.replaying && self.offers.len() < OFFERS_MAX => {
                if let Ok(Control::Offer(_)) = Control::decode(message) {
                    self.offers.push(message.clone());
                }
            }
            Input::Datagram { datagram, .. } | Input::Multicast { datagram, .. } => {
                self.overhear_datagram(datagram);
            }
            _ => {}
        }
    }

    fn overhear_datagram(&mut self, datagram: &Bytes) {
        let carries_media = matches!(
            Datagram::decode(datagram),
            Ok(Datagram::Header | Datagram::Fragment(_) | Datagram::Beacon)
        );
        if !carries_media {
            return;
        }
        let tag = peek_tag(datagram);
        let first = *self.first_tag.get_or_insert(tag.unwrap_or(StreamTag([0; 4])));
        if tag == Some(first) && self.record.len() < RECORD_MAX {
            self.record.push(datagram.clone());
        }
        if self.script.replay && !self.replaying && tag != Some(first) {
            self.replaying = true;
            let paths: Vec<_> = self.pending.keys().copied().collect();
            paths.into_iter().for_each(|path| self.replay_offers(path));
        }
    }

    fn replay_offers(&mut self, path: PathId) {
        let offers = self.offers.iter().cloned();
        self.actions.extend(offers.map(|message| Action::Control { path, message }));
    }

    /// Makes up what is due.
    fn tick(&mut self, now: Now) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now.after(TICK);
        let age = now.since(self.began);
        let flood = self.script.flood.filter(|f| (f.after..f.after + f.lasting).contains(&age));
        let paths: Vec<_> = self.pending.keys().copied().collect();
        let per_path = flood.map_or(0, |flood| {
            let bytes = u128::from(flood.bits_per_second) * TICK.as_micros() / 8_000_000;
            usize::try_from(bytes).unwrap_or(0) / paths.len().max(1)
        });
        for path in paths {
            self.flood(path, per_path);
            if self.replaying {
                self.replay(path);
            }
        }
    }

    fn flood(&mut self, path: PathId, mut bytes: usize) {
        while bytes > 0 && !self.record.is_empty() {
            let pick = self.dice.below(self.record.len() as u64) as usize;
            let forged = self.altered(&self.record[pick].clone());
            bytes = bytes.saturating_sub(forged.len());
            self.inject(path, forged);
        }
    }

    fn replay(&mut self, path: PathId) {
        let from = *self.replay_at.entry(path).or_default();
        let batch: Vec<_> = self.record.iter().skip(from).take(REPLAYED_A_TICK).cloned().collect();
        self.replay_at.insert(path, from + batch.len());
        batch.into_iter().for_each(|datagram| self.inject(path, datagram));
    }

    fn inject(&mut self, path: PathId, datagram: Bytes) {
        if let Some(queue) = self.pending.get_mut(&path)
            && queue.len() < PENDING_MAX
        {
            queue.push_back(datagram);
            if !self.ready.contains(&path) {
                self.ready.push_back(path);
            }
        }
    }

    /// Returns what is sent instead of `datagram`.
    fn tampered(&mut self, datagram: Bytes) -> Option<Bytes> {
        match Datagram::decode(&datagram) {
            Ok(Datagram::Fragment(_)) if self.dice.chance(self.script.withhold) => None,
            Ok(Datagram::Header | Datagram::Fragment(_) | Datagram::Beacon)
                if self.dice.chance(self.script.alter) =>
            {
                Some(self.altered(&datagram))
            }
            Ok(Datagram::Have(map)) if self.script.boast => {
                let tag = peek_tag(&datagram)?;
                Some(Datagram::encode_have(tag, &boasted(map)).into())
            }
            _ => Some(datagram),
        }
    }

    /// Flips one bit behind the stream's tag, so that the receiver has to look closely.
    fn altered(&mut self, datagram: &Bytes) -> Bytes {
        let mut bytes = datagram.to_vec();
        let span = (bytes.len() as u64).saturating_sub(5);
        let place = 5 + self.dice.below(span) as usize;
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= 1 << self.dice.below(8);
        }
        bytes.into()
    }
}

/// Claims everything up to 64 blocks beyond what is complete, received from nobody but the publisher.
fn boasted(map: HaveMap) -> HaveMap {
    HaveMap { depths: [1; 8], complete: vec![0xff; 8], partial: Vec::new(), ..map }
}

impl Process for Hostile {
    fn handle(&mut self, now: Now, input: Input) {
        self.overhear(&input);
        self.tick(now);
        self.honest.handle(now, input);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.honest.poll_event()
    }

    fn poll_action(&mut self) -> Option<Action> {
        while let Some(action) = self.honest.poll_action() {
            let is_multicast =
                matches!(action, Action::OpenMulticast { .. } | Action::RejoinMulticast { .. });
            if is_multicast || !self.script.outsider {
                return Some(action);
            }
        }
        self.actions.pop_front().filter(|_| !self.script.outsider)
    }

    fn poll_ready(&mut self) -> Option<PathId> {
        self.ready.pop_front().or_else(|| self.honest.poll_ready())
    }

    fn fill(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        self.honest.fill(now, path, budget_bytes, batch);
        let mut honest = std::mem::take(&mut batch.datagrams);
        if self.script.outsider {
            honest.clear();
        }
        batch.datagrams = honest.into_iter().filter_map(|datagram| self.tampered(datagram)).collect();
        let mut left = budget_bytes.saturating_sub(batch.datagrams.iter().map(Bytes::len).sum());
        let Some(queue) = self.pending.get_mut(&path) else { return };
        while queue.front().is_some_and(|datagram| datagram.len() <= left) {
            let Some(datagram) = queue.pop_front() else { return };
            left -= datagram.len();
            batch.datagrams.push(datagram);
        }
    }

    fn poll_timeout(&self) -> Option<Now> {
        let busy = self.script.flood.is_some() || self.replaying;
        let own = busy.then_some(self.next_tick);
        own.into_iter().chain(self.honest.poll_timeout()).min()
    }

    fn lingers(&self) -> bool {
        self.honest.lingers()
    }

    fn stats(&self, now: Now, stream: StreamHandle) -> Option<StreamStats> {
        self.honest.stats(now, stream)
    }
}
