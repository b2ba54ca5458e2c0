//! The monitor of one subscription: takes what was seen, drives the machines, tells what changed.
//!
//! A node calls one `handle_*` for whatever it saw, then [`Monitor::poll`] until that returns `None`, and calls
//! `poll` again at [`Monitor::next_timeout`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Wish, scatter};
use super::closure::{self, Closure};
use super::evidence::{Evidence, Neighbours, Word};
use super::stream::Event;
use super::{CloseCause, ControlPlane, Health, PathCause, PathKind, PathVerdict, Reason, Verdict};
use super::{Paths, Via, control_plane, path};
use crate::delivery::{Delivery, Ground, Outcome};
use crate::ids::{BlockId, MediaTime, Now, PathId};
use crate::node::{ProbeOutcome, Subscription};

/// Time over which viewers that starve together spread their probes of the publisher.
const PROBE_SPREAD: Duration = Duration::from_millis(200);
/// Time between two probes of one silence: an outcome takes up to a second, and two fit in before a stream is dead.
const PROBE_PERIOD: Duration = Duration::from_secs(2);
/// Time after which a stream that is looked for and does not open is probed for.
const PROBE_JOINING: Duration = Duration::from_secs(1);

/// Health of one subscription.
#[derive(Debug)]
pub(crate) struct Monitor {
    waits: bool,
    find_within: Option<Duration>,
    verdict: Verdict,
    reason: Option<Reason>,
    closure: Closure,
    control_plane: ControlPlane,
    evidence: Evidence,
    paths: Paths,
    delivery: Delivery,
    /// Path verdicts as they were last told: multicast, mesh, unicast.
    told: [PathVerdict; 3],
    /// Events of the stream that wait for `poll`, by their place in [`Event::ALL`].
    pending: [bool; Event::ALL.len()],
    /// What the caller or the node closes the subscription for.
    closing: Option<closure::Event>,
    probe_at: Option<Now>,
    dry_at: Option<Now>,
    hole: bool,
    last_media: Option<MediaTime>,
    seed: u64,
    changes: VecDeque<Change>,
}

impl Monitor {
    /// Starts looking for a stream. `seed` is random.
    pub(crate) fn new(now: Now, subscription: &Subscription, seed: u64) -> Self {
        Self {
            waits: subscription.waits,
            find_within: subscription.find_within,
            verdict: Verdict::Joining,
            reason: None,
            closure: Closure::Open,
            control_plane: ControlPlane::Searching,
            evidence: Evidence::new(now, subscription.playout_delay),
            paths: Paths::new(),
            delivery: Delivery::new(now, subscription, seed),
            told: [PathVerdict::Off, PathVerdict::Off, PathVerdict::Off],
            pending: [false; Event::ALL.len()],
            closing: None,
            probe_at: Some(now.after(PROBE_JOINING)),
            dry_at: None,
            hole: false,
            last_media: None,
            seed: !seed,
            changes: VecDeque::new(),
        }
    }

    /// Takes note that somebody offers the stream.
    pub(crate) fn handle_offered(&mut self, now: Now) {
        self.evidence.offered = self.evidence.offered.or(Some(now));
    }

    /// Takes proof that the publisher lives: the stream is found.
    pub(crate) fn handle_opened(&mut self, now: Now) {
        self.handle_offered(now);
        self.evidence.opened = self.evidence.opened.or(Some(now));
    }

    /// Takes note that a newer run of the publisher is followed from here on.
    pub(crate) fn handle_reset(&mut self, now: Now) {
        self.evidence.handle_reset(now);
        self.paths.handle_reset();
        (self.dry_at, self.hole) = (None, false);
        // What came of the run before says nothing of this one.
        self.pending = [false; Event::ALL.len()];
        self.note(Event::Reset);
    }

    /// Takes a verified fragment or header with a shard in it, that came by a path. `useful` is whether it was missing.
    pub(crate) fn handle_fragment(&mut self, now: Now, via: Via, block: BlockId, useful: bool) {
        self.evidence.handle_arrival(now, false);
        self.paths.handle_media(now, via, block, useful);
        if useful {
            self.evidence.handle_useful(now);
            self.note(Event::Fragment);
        }
    }

    /// Takes note of a fragment, header or beacon that failed verification.
    pub(crate) fn handle_forged(&mut self, now: Now) {
        self.evidence.handle_arrival(now, true);
    }

    /// Takes a verified beacon that is newer than all before, by whatever path.
    pub(crate) fn handle_beacon(&mut self, now: Now, word: Word) {
        self.evidence.handle_beacon(now, word);
    }

    /// Takes note of a verified beacon that came by multicast, be it one that came by another path before.
    pub(crate) fn handle_multicast_beacon(&mut self, now: Now, path: PathId) {
        self.paths.handle_sign(now, Via::Multicast(path));
    }

    /// Takes a sign of life of a neighbour that is not the publisher, and its newest block, if it has any.
    pub(crate) fn handle_neighbour(&mut self, now: Now, newest: Option<BlockId>) {
        self.evidence.handle_neighbour(now, newest);
        self.paths.handle_others(newest);
        self.paths.handle_sign(now, Via::Mesh);
    }

    /// Takes the number of neighbours, and what the attempts to reach some met.
    pub(crate) fn handle_neighbours(&mut self, neighbours: Neighbours) {
        let alone = neighbours.count == 0;
        if alone && self.evidence.neighbours.count > 0 {
            self.paths.mesh.apply(path::Event::Gone);
        }
        self.evidence.handle_neighbours(neighbours);
    }

    /// Takes note whether an interface of this host is up.
    pub(crate) fn handle_network(&mut self, up: bool) {
        self.evidence.network = Some(up);
    }

    /// Takes what a probe met.
    pub(crate) fn handle_probe(&mut self, outcome: ProbeOutcome) {
        self.evidence.handle_probe(outcome);
    }

    /// Takes note that something was missing at its deadline.
    pub(crate) fn handle_lost(&mut self, now: Now) {
        self.evidence.last_loss = Some(now);
        self.note(Event::Loss);
    }

    /// Takes note that the system dropped datagrams that this process did not take in time.
    pub(crate) fn handle_overflow(&mut self, now: Now) {
        self.evidence.handle_overflow(now);
    }

    /// Charges time in which this process did not run to nobody else.
    pub(crate) fn handle_stalled(&mut self, now: Now, stall: Duration) {
        self.evidence.handle_stalled(now, stall);
        self.paths.handle_stalled(now, stall);
        self.delivery.handle_stalled(now, stall);
        self.probe_at = self.probe_at.map(|at| at.after(stall));
        self.dry_at = self.dry_at.map(|at| at.after(stall));
    }

    /// Takes note that the group is joined on an interface.
    pub(crate) fn handle_multicast_up(&mut self, path: PathId, interface: Arc<str>) {
        self.paths.handle_up(path, interface);
    }

    /// Takes note that an interface went down.
    pub(crate) fn handle_multicast_down(&mut self, path: PathId) {
        self.paths.handle_down(path);
    }

    /// Takes the share of fragments that do not come by a multicast path, 0 to 1.
    pub(crate) fn handle_multicast_loss(&mut self, path: PathId, share: f64) {
        self.paths.handle_loss(path, share);
    }

    /// Takes the publisher's word that it multicasts beacons only.
    pub(crate) fn handle_multicast_rest(&mut self) {
        self.paths.handle_rest();
    }

    /// Takes a refusal of unicast: [`PathCause::Busy`] or [`PathCause::Unreachable`].
    pub(crate) fn handle_unicast_refused(&mut self, now: Now, cause: PathCause) {
        self.paths.unicast.apply(path::Event::Refusal);
        self.delivery.handle_refusal(now, cause);
    }

    /// Takes when playout runs dry: the due time of the last access unit that is complete in order, and its duration.
    /// `hole` is whether a block behind it came already.
    pub(crate) fn handle_buffer(&mut self, dry_at: Now, hole: bool) {
        (self.dry_at, self.hole) = (Some(dry_at), hole);
    }

    /// Takes the media time of an access unit that was delivered.
    pub(crate) fn handle_delivered(&mut self, media: MediaTime) {
        self.last_media = Some(media);
    }

    /// Takes note that an ended stream was delivered, or given up, to its last block.
    pub(crate) fn handle_drained(&mut self) {
        self.note(Event::Drained);
    }

    /// Takes the caller's wish for a path.
    pub(crate) fn handle_fall(&mut self, now: Now, to: PathKind) {
        self.delivery.handle_fall(now, to);
    }

    /// Takes the caller's word on its own source.
    pub(crate) fn handle_foreign(&mut self, now: Now, plays: bool) {
        self.delivery.handle_foreign(now, plays);
    }

    /// Takes note that the caller leaves.
    pub(crate) fn handle_left(&mut self) {
        self.closing = self.closing.or(Some(closure::Event::Left));
    }

    /// Takes note that several publishers have the name.
    pub(crate) fn handle_rejected(&mut self) {
        self.closing = self.closing.or(Some(closure::Event::Rejected));
    }

    /// Returns whether nothing of use comes.
    pub(crate) fn is_starved(&self) -> bool {
        matches!(self.verdict, Verdict::Starved | Verdict::Dead)
    }

    /// Returns whether the stream does well and nothing waits to be told.
    pub(crate) fn is_calm(&self) -> bool {
        let settled = self.changes.is_empty() && self.closing.is_none();
        self.verdict == Verdict::Live && settled && !self.pending[Event::Drained as usize]
    }

    /// Returns the next change. To be called until it returns `None`. What [`Monitor::health`] says between two calls
    /// is what the change that was returned last led to.
    pub(crate) fn poll(&mut self, now: Now) -> Option<Change> {
        let steps =
            [Self::judge_control_plane, Self::judge_stream, Self::judge_paths, Self::decide, Self::inquire];
        for step in steps {
            if self.changes.is_empty() && self.closure == Closure::Open {
                step(self, now);
            }
        }
        if self.changes.is_empty() && self.closure == Closure::Open {
            self.close();
        }
        self.changes.pop_front()
    }

    /// Returns when `poll` has to be called though nothing came.
    pub(crate) fn next_timeout(&self, now: Now) -> Option<Now> {
        if self.closure != Closure::Open {
            return None;
        }
        let evidence = &self.evidence;
        let verdict = match self.verdict {
            Verdict::Joining if evidence.opened.is_some() => evidence.dies_at(),
            Verdict::Joining => self.find_within.map(|within| evidence.started.after(within)),
            Verdict::Live | Verdict::Paused => evidence.starves_at(),
            Verdict::Degraded => evidence.starves_at().into_iter().chain(evidence.clean_at()).min(),
            Verdict::Starved => evidence.dies_at(),
            Verdict::Dead | Verdict::Ended => None,
        };
        let paths = self.paths.next_timeout(now, evidence.expects_media(now));
        let delivery = self.delivery.next_timeout(now, self.ground(now));
        let probe = self.probe_at.filter(|_| self.may_probe());
        [verdict, paths, delivery, probe].into_iter().flatten().min()
    }

    /// Returns the state of all, to be believed for [`Health::VALIDITY`].
    pub(crate) fn health(&self, now: Now) -> Health {
        Health {
            verdict: self.verdict,
            reason: self.reason.clone(),
            path: self.delivery.path(),
            multicast: self.paths.verdict(PathKind::Multicast),
            mesh: self.paths.verdict(PathKind::Mesh),
            unicast: self.paths.verdict(PathKind::Unicast),
            control_plane: self.control_plane,
            last_media: self.last_media,
            last_fragment: self.evidence.last_useful,
            buffer: self.dry_at.map_or(Duration::ZERO, |at| at.since(now)),
            valid_until: now.after(Health::VALIDITY),
        }
    }

    fn note(&mut self, event: Event) {
        self.pending[event as usize] = true;
    }

    fn judge_control_plane(&mut self, _: Now) {
        let alone = self.evidence.neighbours.count == 0;
        let event = if alone { control_plane::Event::Alone } else { control_plane::Event::Met };
        let next = self.control_plane.after(event);
        if next != self.control_plane {
            self.control_plane = next;
            self.changes.push_back(Change::ControlPlane(next));
        }
    }

    fn judge_stream(&mut self, now: Now) {
        for event in [Event::Reset].into_iter().chain(Event::ALL) {
            if std::mem::take(&mut self.pending[event as usize]) {
                self.apply(now, event);
            }
        }
        if self.evidence.pauses(now) {
            self.apply(now, Event::Pause);
        }
        let over = |at: Option<Now>| at.is_some_and(|at| at <= now);
        if matches!(self.verdict, Verdict::Live | Verdict::Degraded | Verdict::Paused)
            && over(self.evidence.starves_at())
        {
            self.apply(now, Event::Silence);
        }
        if self.verdict == Verdict::Degraded && over(self.evidence.clean_at()) {
            self.apply(now, Event::Clean);
        }
        let expired = match self.verdict {
            Verdict::Starved => over(self.evidence.dies_at()),
            Verdict::Joining if self.evidence.opened.is_some() => over(self.evidence.dies_at()),
            Verdict::Joining => over(self.find_within.map(|within| self.evidence.started.after(within))),
            _ => false,
        };
        if expired {
            self.apply(now, Event::Expiry);
        }
        self.refine(now);
    }

    fn apply(&mut self, now: Now, event: Event) {
        let (from, to) = (self.verdict, self.verdict.after(event));
        if from == to {
            return;
        }
        self.verdict = to;
        self.reason = self.reason_of(now, to);
        self.tell_verdict(now, from);
        if to == Verdict::Starved {
            self.changes.push_back(Change::Wish(Wish::Challenge));
            let wait = self.draw(PROBE_SPREAD);
            self.probe_at = Some(now.after(wait));
        }
    }

    fn reason_of(&self, now: Now, verdict: Verdict) -> Option<Reason> {
        match verdict {
            Verdict::Degraded => Some(self.evidence.reason_of_loss(now)),
            Verdict::Starved => Some(self.evidence.reason_of_silence(now)),
            Verdict::Dead if self.evidence.opened.is_none() => Some(self.evidence.reason_of_absence(now)),
            Verdict::Dead => Some(self.evidence.reason_of_silence(now)),
            Verdict::Joining | Verdict::Live | Verdict::Paused | Verdict::Ended => None,
        }
    }

    fn tell_verdict(&mut self, now: Now, from: Verdict) {
        let since_last_fragment = self.evidence.last_useful.map(|at| now.since(at));
        let reason = self.reason.clone();
        self.changes.push_back(Change::Verdict { from, to: self.verdict, reason, since_last_fragment });
    }

    /// Tells a reason that was open, once it is known.
    fn refine(&mut self, now: Now) {
        let open = matches!(self.reason, Some(Reason::Undetermined { .. }));
        if !open || !matches!(self.verdict, Verdict::Starved | Verdict::Dead) {
            return;
        }
        self.reason = self.reason_of(now, self.verdict);
        if !matches!(self.reason, Some(Reason::Undetermined { .. })) {
            self.tell_verdict(now, self.verdict);
        }
    }

    fn judge_paths(&mut self, now: Now) {
        let parked = self.delivery.is_parked();
        if parked != self.paths.parked {
            self.paths.parked = parked;
            self.paths.mesh.apply(if parked { path::Event::Rest } else { path::Event::Asked });
        }
        let asked = self.delivery.asks_unicast();
        let unicast = self.paths.unicast.verdict;
        if asked && matches!(unicast, PathVerdict::Off | PathVerdict::Refused) {
            self.paths.unicast.apply(path::Event::Asked);
        } else if !asked && !self.delivery.is_refused() {
            self.paths.unicast.apply(path::Event::Release);
        }
        let starved = self.is_starved();
        let expected = self.evidence.expects_media(now);
        let Neighbours { count, attempted, why } = self.evidence.neighbours;
        let mesh_fault = (count == 0).then_some(Reason::NoReachablePeers { attempted, why });
        self.paths.judge(now, expected, starved, mesh_fault);
        for (kind, told) in
            [PathKind::Multicast, PathKind::Mesh, PathKind::Unicast].into_iter().zip(&mut self.told)
        {
            let to = self.paths.verdict(kind);
            let from = std::mem::replace(told, to);
            if from != to {
                let reason = self.paths.carrier(kind).and_then(|carrier| carrier.reason.clone());
                self.changes.push_back(Change::PathVerdict { path: kind, from, to, reason });
            }
        }
    }

    fn decide(&mut self, now: Now) {
        let dry_at = self.dry_at();
        let Self { paths, delivery, evidence, changes, verdict, hole, reason, .. } = self;
        let expected = evidence.expects_media(now);
        let gone = *reason == Some(Reason::PublisherGone);
        let found = evidence.opened;
        let ground = Ground { paths, verdict: *verdict, found, gone, dry_at, hole: *hole, expected };
        delivery.decide(now, ground);
        while let Some(outcome) = delivery.poll() {
            let path = delivery.path();
            changes.push_back(match outcome {
                Outcome::Wish(wish) => Change::Wish(wish),
                Outcome::Path { from, to, cause } => Change::Path { from, to, cause },
                Outcome::Due { to, cause } => Change::PathDue { from: path, to, cause },
            });
        }
    }

    /// Returns when playout runs dry without a reason.
    fn dry_at(&self) -> Option<Now> {
        Some(self.dry_at?.max(self.evidence.dry_until().unwrap_or_default()))
    }

    fn ground(&self, now: Now) -> Ground<'_> {
        let dry_at = self.dry_at();
        let Self { paths, verdict, hole, .. } = self;
        let expected = self.evidence.expects_media(now);
        let gone = self.reason == Some(Reason::PublisherGone);
        let found = self.evidence.opened;
        Ground { paths, verdict: *verdict, found, gone, dry_at, hole: *hole, expected }
    }

    /// Finds out what is behind a silence.
    fn inquire(&mut self, now: Now) {
        if self.may_probe() && self.probe_at.is_some_and(|at| at <= now) {
            self.probe_at = Some(now.after(PROBE_PERIOD));
            self.changes.push_back(Change::Wish(Wish::Probe));
        }
        let expected = self.evidence.expects_media(now);
        while let Some(path) = self.paths.poll_rejoin(now, expected) {
            self.changes.push_back(Change::Wish(Wish::Rejoin(path)));
        }
    }

    /// Returns whether an answer of the publisher would tell something.
    fn may_probe(&self) -> bool {
        match self.verdict {
            Verdict::Starved => true,
            Verdict::Joining => self.evidence.opened.is_none(),
            _ => false,
        }
    }

    fn close(&mut self) {
        let died = self.verdict == Verdict::Dead && !self.waits && !self.delivery.has_foreign();
        let event = match self.verdict {
            _ if self.closing.is_some() => self.closing,
            Verdict::Ended => Some(closure::Event::Drained),
            Verdict::Dead if died => Some(closure::Event::Died),
            _ => None,
        };
        let Some(event) = event else { return };
        self.closure = self.closure.after(event);
        let cause = match self.closure {
            Closure::Open => return,
            Closure::Ended => CloseCause::Ended,
            Closure::Local => CloseCause::Local,
            Closure::Refused => CloseCause::Refused,
            Closure::Dead => {
                let open = Reason::Undetermined { candidates: Vec::new() };
                CloseCause::Dead(self.reason.clone().unwrap_or(open))
            }
        };
        self.changes.push_back(Change::Close(cause));
    }

    /// Returns a random part of a time.
    fn draw(&mut self, most: Duration) -> Duration {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.seed, most)
    }
}
