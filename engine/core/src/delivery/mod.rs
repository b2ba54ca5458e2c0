//! Delivery: which path a subscription's media comes by, decided from the buffer.
//!
//! Below half the playout delay the next path is started beside the one in use, and put in use when it brings what the
//! other does not; a better path comes back in use when it has been clean for the hold-down.

mod foreign;
mod ground;
mod table;
mod unicast;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::foreign::{Foreign, JOINING_MAX};
pub(crate) use self::ground::{Ground, Outcome};
pub(crate) use self::table::{Act, Event, next};
use self::unicast::{Failures, RELEASE_AFTER, Unicast};
use crate::health::{FallbackPolicy, PathCause, PathKind, PathVerdict, Verdict, Wish};
use crate::ids::{Now, micros};
use crate::node::Subscription;

/// Bounds of the time that a path which was started has before the next one is: a quarter of the playout delay, so
/// that three paths in a row fit into it.
const GRACE: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(250));
/// Silence by all paths after which the next one is started however full the buffer is: it has 150 ms to bring
/// something before the stream is said to starve.
const STARVING: Duration = Duration::from_millis(350);
/// Time within which something must come of a stream that was found: what its neighbours cannot give, the publisher
/// may.
const STARTING: Duration = Duration::from_millis(500);
/// Age at which something that came by a path still counts as what it brings.
const BRINGS_AGE_MAX: Duration = Duration::from_millis(250);
/// Time for which multicast must be clean before the mesh, started beside it, is parked again, and before it is first
/// put in use: what flaps more slowly is caught by the hold-down.
const PARK_AFTER: Duration = Duration::from_secs(1);
/// A fall within this time after a return is a relapse, and doubles the hold-down.
const RELAPSE: Duration = Duration::from_secs(60);
/// Longest hold-down.
const HOLD_DOWN_MAX: Duration = Duration::from_secs(60);
/// The paths that bring blocks, best first.
const SWARM: [PathKind; 3] = [PathKind::Multicast, PathKind::Mesh, PathKind::Unicast];

/// Delivery of one subscription.
#[derive(Debug)]
pub(crate) struct Delivery {
    policy: FallbackPolicy,
    delay: Duration,
    hold_down: Duration,
    joined: Now,
    path: PathKind,
    /// Whether anything has come so far.
    started: bool,
    /// Since when neighbours push; `None` while they are parked.
    mesh: Option<Now>,
    unicast: Unicast,
    /// Requests for unicast that nothing came of.
    failures: Failures,
    foreign: Foreign,
    /// The path that the caller fell to: nothing better is put in use by itself.
    pinned: Option<PathKind>,
    /// Since when each path of the swarm has been clean.
    clean: [Option<Now>; 3],
    /// Since when each has brought something of use.
    bringing: [Option<Now>; 3],
    /// The hold-down, doubled by relapses.
    hold: Duration,
    /// Whether a path that was in use has failed so far: before, there is no reason to distrust a better one.
    fallen: bool,
    /// When a better path was put in use last.
    returned: Option<Now>,
    /// What the caller was told to go to, and why, so that it is told once.
    announced: BTreeMap<PathKind, PathCause>,
    seed: u64,
    outcomes: VecDeque<Outcome>,
}

impl Delivery {
    pub(crate) fn new(now: Now, subscription: &Subscription, seed: u64) -> Self {
        let multicast = subscription.multicast != crate::multicast::MulticastChoice::Off;
        let foreign = subscription.foreign && subscription.fallback != FallbackPolicy::Off;
        Self {
            policy: subscription.fallback,
            delay: subscription.playout_delay,
            hold_down: subscription.hold_down,
            joined: now,
            path: if multicast { PathKind::Multicast } else { PathKind::Mesh },
            started: false,
            mesh: Some(now),
            unicast: Unicast::Off,
            failures: Failures::default(),
            foreign: if foreign { Foreign::Idle } else { Foreign::Absent },
            pinned: None,
            clean: [None; 3],
            bringing: [None; 3],
            hold: subscription.hold_down,
            fallen: false,
            returned: None,
            announced: BTreeMap::new(),
            seed,
            outcomes: VecDeque::new(),
        }
    }

    /// Returns the path in use.
    pub(crate) fn path(&self) -> PathKind {
        self.path
    }

    /// Returns whether neighbours are told not to push.
    pub(crate) fn is_parked(&self) -> bool {
        self.mesh.is_none()
    }

    /// Goes over to a path at the caller's word.
    pub(crate) fn handle_fall(&mut self, now: Now, to: PathKind) {
        self.pinned = if to > PathKind::Mesh { Some(to) } else { None };
        match to {
            PathKind::Unicast if self.path != to => self.ask_unicast(now),
            _ if self.path == to => {}
            PathKind::Foreign => {
                self.foreign = Foreign::Told;
                self.fire(now, Event::Hopeless, PathCause::Asked);
            }
            _ => {
                self.switch(now, to, PathCause::Asked);
                self.settle(now);
            }
        }
    }

    /// Moves all times by what this process slept.
    pub(crate) fn handle_stalled(&mut self, now: Now, stall: Duration) {
        self.joined = self.joined.after(stall).min(now);
        let times =
            self.clean.iter_mut().chain(&mut self.bringing).chain([&mut self.mesh, &mut self.returned]);
        times.flatten().for_each(|at| *at = at.after(stall).min(now));
        match &mut self.unicast {
            Unicast::Waiting(at) => *at = at.after(stall),
            Unicast::Asked(since) => *since = since.after(stall).min(now),
            Unicast::Off | Unicast::Refused { .. } => {}
        }
    }

    /// Decides what follows from what is known.
    pub(crate) fn decide(&mut self, now: Now, ground: Ground<'_>) {
        self.watch(now, ground);
        self.take_over(now, ground);
        self.heal(now, ground);
        self.escalate(now, ground);
        self.go_foreign(now, ground);
        self.relax(now, ground);
    }

    /// Returns the next decision.
    pub(crate) fn poll(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// Returns when a decision may fall without anything having come.
    pub(crate) fn next_timeout(&self, now: Now, ground: Ground<'_>) -> Option<Now> {
        let held = self.clean.iter().flatten().flat_map(|at| [at.after(self.hold), at.after(PARK_AFTER)]);
        let low = ground.dry_at.map(|at| self.low_at(at).max(self.quiet_at(ground).unwrap_or(now)));
        let starving = self.starving_at(ground);
        let grace = self.mesh.map(|since| since.after(self.grace()));
        let joining = (ground.verdict == Verdict::Joining).then(|| self.joined.after(JOINING_MAX));
        let unicast = match self.unicast {
            Unicast::Off => [None; 3],
            Unicast::Waiting(at) | Unicast::Refused { until: at, .. } => [Some(at), None, None],
            Unicast::Asked(at) => {
                [self.grace(), RELEASE_AFTER, self.retry()].map(|wait| Some(at.after(wait)))
            }
        };
        let some = [low, starving, grace, joining].into_iter().chain(unicast).flatten();
        held.chain(some).filter(|at| *at > now).min()
    }

    fn grace(&self) -> Duration {
        (self.delay / 4).clamp(GRACE.0, GRACE.1)
    }

    /// Returns when the buffer is below half the playout delay.
    fn low_at(&self, dry_at: Now) -> Now {
        Now(dry_at.0.saturating_sub(micros(self.delay / 2)))
    }

    /// Returns the time without media after which the path in use is quiet.
    fn patience(&self, ground: Ground<'_>) -> Duration {
        ground.paths.carrier(self.path).map_or(BRINGS_AGE_MAX, |carrier| carrier.patience())
    }

    /// Returns when a stream is quiet by all paths.
    fn quiet_at(&self, ground: Ground<'_>) -> Option<Now> {
        Some(ground.paths.last_useful()?.after(self.patience(ground)))
    }

    /// Returns whether the buffer is low for want of media, or about to starve. Blocks that are far apart leave it low
    /// at times without any being overdue.
    fn is_low(&self, now: Now, ground: Ground<'_>) -> bool {
        let quiet = ground.hole || self.quiet_at(ground).is_none_or(|at| at <= now);
        let low = quiet && ground.dry_at.is_some_and(|at| self.low_at(at) <= now);
        let starving = self.starving_at(ground).is_some_and(|at| at <= now);
        ground.expected && (low || starving)
    }

    /// Returns when a stream that was found is about to starve, or, before anything came, late.
    fn starving_at(&self, ground: Ground<'_>) -> Option<Now> {
        let late = ground.found.map(|at| at.after(STARTING));
        ground.paths.last_useful().map_or(late, |at| Some(at.after(STARVING)))
    }

    /// Takes note since when each path has been clean.
    fn watch(&mut self, now: Now, ground: Ground<'_>) {
        if !self.started {
            let brought =
                |kind: &PathKind| ground.paths.carrier(*kind).is_some_and(|c| c.last_useful.is_some());
            if let Some(first) = SWARM.into_iter().find(brought) {
                self.started = true;
                let from = std::mem::replace(&mut self.path, first);
                self.outcomes.push_back(Outcome::Path { from, to: first, cause: PathCause::Started });
            }
        }
        for (kind, bringing) in SWARM.into_iter().zip(&mut self.bringing) {
            let last = ground.paths.carrier(kind).and_then(|carrier| carrier.last_useful);
            let fresh = last.is_some_and(|at| now.since(at) <= BRINGS_AGE_MAX);
            *bringing = if fresh { bringing.or(last) } else { None };
        }
        for (kind, clean) in SWARM.into_iter().zip(&mut self.clean) {
            let Some(carrier) = ground.paths.carrier(kind) else {
                *clean = None;
                continue;
            };
            let delivers = carrier.verdict == PathVerdict::Delivering;
            // Have-maps show that the mesh would deliver; after a foreign source, only media is proof enough.
            let rests = carrier.verdict == PathVerdict::Standby
                && kind == PathKind::Mesh
                && self.path == PathKind::Unicast;
            let flows = !ground.expected || !carrier.is_quiet(now);
            if rests || (delivers && (flows || kind == PathKind::Mesh)) {
                clean.get_or_insert(now);
            } else {
                *clean = None;
            }
        }
    }

    /// Puts a worse path in use when it brings what the one in use does not.
    fn take_over(&mut self, now: Now, ground: Ground<'_>) {
        let Some(current) = ground.paths.carrier(self.path) else {
            // Without any multicast path left, whatever brings something is in use.
            if self.path == PathKind::Multicast && self.started {
                if self.brings(now, ground, PathKind::Mesh) {
                    self.fire(now, Event::MeshBrings, PathCause::BufferLow);
                } else if self.brings(now, ground, PathKind::Unicast) {
                    self.fire(now, Event::UnicastBrings, PathCause::BufferLow);
                }
            }
            return;
        };
        let asked = self.pinned == Some(PathKind::Unicast);
        let delivers = current.verdict == PathVerdict::Delivering;
        match self.path {
            PathKind::Multicast if !delivers || asked => {
                let interface = current.interface.clone().unwrap_or_else(|| "".into());
                let cause = match current.verdict {
                    _ if asked => PathCause::Asked,
                    PathVerdict::Lossy => PathCause::MulticastLossy { interface },
                    _ => PathCause::MulticastSilent { interface },
                };
                if !asked && self.brings(now, ground, PathKind::Mesh) {
                    self.fire(now, Event::MeshBrings, cause);
                } else if self.brings(now, ground, PathKind::Unicast) {
                    self.fire(now, Event::UnicastBrings, cause);
                }
            }
            PathKind::Mesh if self.brings(now, ground, PathKind::Unicast) => {
                let cause = if asked { PathCause::Asked } else { PathCause::BufferLow };
                self.fire(now, Event::UnicastBrings, cause);
            }
            PathKind::Unicast if !delivers && self.brings(now, ground, PathKind::Mesh) => {
                self.fire(now, Event::MeshBrings, PathCause::BufferLow);
            }
            _ => {}
        }
    }

    /// Returns whether a path brings something useful, and is meant to. A stream that comes back from silence comes
    /// first by whatever path is quickest: that is no fault of the one in use, which has as long as a quiet path.
    fn brings(&self, now: Now, ground: Ground<'_>, kind: PathKind) -> bool {
        let (meant, since) = match kind {
            PathKind::Mesh => (self.mesh.is_some() || self.path == PathKind::Unicast, self.bringing[1]),
            PathKind::Unicast => (self.asks_unicast(), self.bringing[2]),
            PathKind::Multicast | PathKind::Foreign => (false, None),
        };
        let rests = ground.paths.verdict(self.path) == PathVerdict::Standby;
        let patience = if rests { self.patience(ground) } else { Duration::ZERO };
        meant && since.is_some_and(|at| at.after(patience) <= now)
    }

    /// Puts a better path in use that has been clean for the hold-down, or at once when the one in use fails.
    fn heal(&mut self, now: Now, ground: Ground<'_>) {
        let failed = self.path != PathKind::Foreign
            && !matches!(
                ground.paths.verdict(self.path),
                PathVerdict::Delivering | PathVerdict::Lossy | PathVerdict::Standby
            );
        let events = [Event::MulticastHealed, Event::MeshHealed, Event::UnicastHealed];
        for ((kind, event), clean) in SWARM.into_iter().zip(events).zip(self.clean) {
            let Some(clean) = clean.filter(|_| kind < self.path && self.started) else { continue };
            let trusted = !self.fallen && kind == PathKind::Multicast;
            let hold = if trusted { self.hold.min(PARK_AFTER) } else { self.hold };
            let held = now >= clean.after(hold);
            if self.pinned.is_some() || !(held || failed) {
                continue;
            }
            let cause = PathCause::Healed;
            if self.policy == FallbackPolicy::Manual && self.path > PathKind::Mesh {
                return self.announce(kind, cause);
            }
            return self.fire(now, event, cause);
        }
    }

    /// Starts the next path where the one in use brings too little.
    fn escalate(&mut self, now: Now, ground: Ground<'_>) {
        let quiet = ground.paths.multicast().is_none_or(|carrier| {
            !matches!(carrier.verdict, PathVerdict::Delivering) || carrier.is_quiet(now)
        });
        let low = self.is_low(now, ground);
        if self.path == PathKind::Multicast && self.is_parked() && ground.expected && (quiet || low) {
            self.fire(now, Event::MulticastFails, PathCause::BufferLow);
        }
        if !low {
            if matches!(self.unicast, Unicast::Waiting(_)) {
                self.unicast = Unicast::Off;
            }
            return;
        }
        if ground.gone && self.pinned.is_none() && self.path != PathKind::Unicast {
            // There is nobody to ask; the neighbours are the first to hear when that changes.
            self.stop_unicast();
            return;
        }
        let graced = self.mesh.is_some_and(|since| since.after(self.grace()) <= now);
        if !graced || self.path == PathKind::Unicast {
            return;
        }
        match (self.policy, &self.unicast) {
            (FallbackPolicy::Off, _) => {}
            (FallbackPolicy::Manual, Unicast::Off) => self.announce(PathKind::Unicast, PathCause::BufferLow),
            (FallbackPolicy::Auto, Unicast::Off) => self.schedule_unicast(now, ground),
            (FallbackPolicy::Auto, Unicast::Refused { until, .. }) if *until <= now => {
                self.schedule_unicast(now, ground);
            }
            (_, Unicast::Waiting(at)) if *at <= now => {
                self.fire(now, Event::BufferLow, PathCause::BufferLow);
            }
            (_, Unicast::Asked(since)) if since.after(self.retry()) <= now => self.ask_unicast_again(now),
            _ => {}
        }
    }

    /// Lets go what was started and is not needed.
    fn relax(&mut self, now: Now, ground: Ground<'_>) {
        let delivers = ground.paths.verdict(self.path) == PathVerdict::Delivering;
        let well = matches!(ground.verdict, Verdict::Live | Verdict::Degraded | Verdict::Paused);
        if self.path > PathKind::Mesh || !delivers || !well || self.is_low(now, ground) {
            return;
        }
        self.announced.clear();
        if self.foreign == Foreign::Failed {
            self.foreign = Foreign::Idle;
        }
        let idle = match self.unicast {
            Unicast::Asked(since) => since.after(RELEASE_AFTER) <= now,
            Unicast::Refused { until, .. } => until <= now,
            Unicast::Off | Unicast::Waiting(_) => false,
        };
        if idle && self.pinned.is_none() {
            self.stop_unicast();
        }
        let clean = self.clean[0].is_some_and(|since| since.after(PARK_AFTER) <= now);
        if self.path == PathKind::Multicast && clean && self.pinned.is_none() {
            self.settle(now);
        }
    }

    /// Looks an event up in the table, and does what it says.
    fn fire(&mut self, now: Now, event: Event, cause: PathCause) {
        let (to, act) = next(self.path, event);
        if to != self.path {
            self.switch(now, to, cause);
        }
        match act {
            Act::Keep => {}
            Act::StartMesh => self.start_mesh(now),
            Act::StartUnicast => self.ask_unicast(now),
            Act::Settle => self.settle(now),
        }
    }

    fn switch(&mut self, now: Now, to: PathKind, cause: PathCause) {
        let from = std::mem::replace(&mut self.path, to);
        self.fallen |= to > from;
        if to < from {
            // The first rise is no return: a fall that follows it is no relapse.
            self.returned = Some(now).filter(|_| self.fallen);
        } else if self.returned.is_some_and(|at| now.since(at) < RELAPSE) {
            self.hold = (self.hold * 2).min(HOLD_DOWN_MAX).max(self.hold_down);
        } else {
            self.hold = self.hold_down;
        }
        self.announced.clear();
        if from == PathKind::Foreign && self.foreign == Foreign::Told {
            self.foreign = Foreign::Idle;
        }
        self.outcomes.push_back(Outcome::Path { from, to, cause });
    }

    /// Puts every path but the one in use to rest.
    fn settle(&mut self, now: Now) {
        let left_unicast = self.path != PathKind::Unicast && self.stop_unicast();
        match self.path {
            PathKind::Multicast if self.mesh.take().is_some() || left_unicast => self.wish(Wish::ParkMesh),
            PathKind::Mesh => self.start_mesh(now),
            // The publisher took the neighbours' place.
            PathKind::Unicast => {
                self.mesh = None;
                self.failures = Failures::default();
            }
            PathKind::Multicast | PathKind::Foreign => {}
        }
    }

    fn start_mesh(&mut self, now: Now) {
        if self.mesh.is_none() {
            self.mesh = Some(now);
            self.wish(Wish::ResumeMesh);
        }
    }

    fn wish(&mut self, wish: Wish) {
        self.outcomes.push_back(Outcome::Wish(wish));
    }

    fn announce(&mut self, to: PathKind, cause: PathCause) {
        if self.announced.get(&to) != Some(&cause) {
            self.announced.insert(to, cause.clone());
            self.outcomes.push_back(Outcome::Due { to, cause });
        }
    }

    /// Returns a random part of a time.
    fn draw(&mut self, most: Duration) -> Duration {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        crate::health::scatter(self.seed, most)
    }
}
