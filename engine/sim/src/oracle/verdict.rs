//! Rules for what a subscription says of its stream and its paths, held against what the world gave it.

use std::time::Duration;

use swarmcast_core::health::{ControlPlane, PathCause, PathKind, PathVerdict, Reason, Verdict};
use swarmcast_core::node::Event;
use swarmcast_core::wire::StreamState;

use super::Breach;
use super::evidence::Witness;
use crate::ledger::Run;

/// Smallest time without a useful fragment behind which `Starved` is true: half a second, less timers and clocks.
const STARVED_MIN: Duration = Duration::from_millis(480);
/// Longest such time before it is told, with 50 ms for timers.
const STARVED_MAX: Duration = Duration::from_millis(1_050);
/// Age of a beacon that says `Paused` up to which it excuses silence.
const EXCUSE: Duration = Duration::from_millis(850);
/// Smallest and longest time from the last useful fragment to `Dead`: 5 s, less clocks, and what a probe may take.
const DEAD_MIN: Duration = Duration::from_millis(4_900);
const DEAD_MAX: Duration = Duration::from_millis(5_500);
/// Longest time from the first useful fragment, or from word of a pause, to a verdict that says so.
const TURN_MAX: Duration = Duration::from_secs(1);
/// Multicast may be called silent this long after its last fragment: 100 ms, less timers.
const SILENT_MIN: Duration = Duration::from_millis(80);
/// Multicast must have brought something this short a time ago to be returned to.
const HEALED_MAX: Duration = Duration::from_millis(600);
/// A pause of the process excuses its own verdicts for as long as evidence of it counts.
const OWN_FAULT: Duration = Duration::from_millis(600);

/// One verdict that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictChange {
    /// True time.
    pub at: Duration,
    /// What it was.
    pub from: Verdict,
    /// What it is.
    pub to: Verdict,
    /// Why.
    pub reason: Option<Reason>,
}

/// One change of the delivering path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// True time.
    pub at: Duration,
    /// What it was.
    pub from: PathKind,
    /// What it is.
    pub to: PathKind,
    /// Why.
    pub cause: PathCause,
}

/// One change of what is said of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathVerdictChange {
    /// True time.
    pub at: Duration,
    /// Of which.
    pub path: PathKind,
    /// What is said of it now.
    pub to: PathVerdict,
    /// Why.
    pub reason: Option<Reason>,
}

/// What the world knows when a verdict is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) at: Duration,
    pub(crate) run: Option<&'a Run>,
    pub(crate) witness: Option<&'a Witness>,
    /// When the viewer's own process did not run.
    pub(crate) pauses: &'a [(Duration, Duration)],
    /// Whether the publisher ran and had a cable in the last seconds.
    pub(crate) publisher_is_well: bool,
    /// Whether the viewer itself had a cable in the last seconds.
    pub(crate) has_cable: bool,
}

impl Scene<'_> {
    /// Returns for how long the viewer's process has run since `from`.
    fn ran_since(&self, from: Duration) -> Duration {
        let overlap = |(a, b): &(Duration, Duration)| (*b).min(self.at).saturating_sub((*a).max(from));
        self.at.saturating_sub(from).saturating_sub(self.pauses.iter().map(overlap).sum())
    }

    /// Returns whether the viewer's process was stopped within `span`.
    fn was_stopped(&self, span: Duration) -> bool {
        self.pauses.iter().any(|(_, until)| *until + span > self.at)
    }

    fn idle(&self, of: impl Fn(&Witness) -> Option<Duration>) -> Option<Duration> {
        self.witness.and_then(of).map(|at| self.ran_since(at))
    }
}

/// Watches what one subscription tells of its health.
#[derive(Debug, Default)]
pub(crate) struct VerdictOracle {
    pub(crate) verdict: Verdict,
    pub(crate) verdicts: Vec<VerdictChange>,
    pub(crate) paths: Vec<PathChange>,
    pub(crate) path_verdicts: Vec<PathVerdictChange>,
    changed_at: Duration,
    path: Option<PathKind>,
    /// Path that a verdict named before it was told of; word of it follows in the same step.
    ahead: Option<(Duration, PathKind)>,
    known: [PathVerdict; 4],
    control_plane: ControlPlane,
    /// Whether a new run has begun, so that the machine may begin again.
    reset: bool,
    /// Whether the present verdict was found to be wrong already.
    alarmed: bool,
}

impl VerdictOracle {
    /// Takes one event.
    pub(crate) fn saw(&mut self, event: &Event, scene: &Scene<'_>) -> Result<(), Breach> {
        match event {
            Event::Verdict { from, to, reason, path, .. } => {
                self.ahead = self.path.filter(|known| known != path).map(|_| (scene.at, *path));
                self.saw_verdict(*from, *to, reason.as_ref(), scene)
            }
            Event::Path { from, to, cause, .. } => self.saw_path(*from, *to, cause, scene),
            Event::PathVerdict { path, from, to, reason, .. } => {
                let (at, reason) = (scene.at, reason.clone());
                self.path_verdicts.push(PathVerdictChange { at, path: *path, to: *to, reason });
                let was = std::mem::replace(&mut self.known[*path as usize], *to);
                let chained = was == *from && from != to;
                chained.then_some(()).ok_or(Breach::PathVerdictChain { path: *path, was, from: *from })
            }
            Event::ControlPlane { to, .. } => {
                let was = std::mem::replace(&mut self.control_plane, *to);
                (was != *to).then_some(()).ok_or(Breach::Repeated { what: "control plane" })
            }
            Event::Reset { .. } => {
                self.reset = true;
                self.alarmed = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns since when the stream is dead.
    pub(crate) fn dead_since(&self) -> Option<Duration> {
        (self.verdict == Verdict::Dead).then_some(self.changed_at)
    }

    /// Judges what should have been told by now.
    pub(crate) fn judge_turn(&mut self, scene: &Scene<'_>) -> Result<(), Breach> {
        if self.alarmed || scene.was_stopped(TURN_MAX) {
            return Ok(());
        }
        if let (Some((_, path)), Some(was)) = (self.ahead.take_if(|(at, _)| *at < scene.at), self.path) {
            return Err(Breach::PathChain { was, from: path, to: path });
        }
        let verdict = self.judge_silence(scene).and_then(|()| self.judge_word(scene));
        self.alarmed = verdict.is_err();
        verdict
    }

    fn saw_verdict(
        &mut self,
        from: Verdict,
        to: Verdict,
        reason: Option<&Reason>,
        scene: &Scene<'_>,
    ) -> Result<(), Breach> {
        let was = std::mem::replace(&mut self.verdict, to);
        let is_refined =
            from == to && self.verdicts.last().is_some_and(|last| last.reason.as_ref() != reason);
        self.verdicts.push(VerdictChange { at: scene.at, from, to, reason: reason.cloned() });
        if was != from || !(is_refined || is_legal(from, to, self.reset)) {
            return Err(Breach::VerdictChain { was, from, to });
        }
        if !is_refined {
            (self.alarmed, self.changed_at, self.reset) = (false, scene.at, false);
        }
        let blamed = Breach::Blamed { verdict: to, reason: reason.cloned() };
        if reason == Some(&Reason::PublisherGone) && scene.publisher_is_well {
            return Err(blamed);
        }
        let own_fault = scene.was_stopped(OWN_FAULT) && scene.publisher_is_well && scene.has_cable;
        let is_alarm = matches!(to, Verdict::Starved | Verdict::Dead);
        if is_alarm && own_fault && reason != Some(&Reason::Overrun) {
            return Err(blamed);
        }
        match to {
            _ if is_refined => Ok(()),
            Verdict::Starved => judge_starved(scene),
            Verdict::Dead if from == Verdict::Starved => judge_dead(scene),
            Verdict::Paused => judge_paused(scene),
            _ => Ok(()),
        }
    }

    fn saw_path(
        &mut self,
        from: PathKind,
        to: PathKind,
        cause: &PathCause,
        scene: &Scene<'_>,
    ) -> Result<(), Breach> {
        let was = self.path.replace(to);
        self.ahead = self.ahead.filter(|(at, path)| *at < scene.at || *path != to);
        self.paths.push(PathChange { at: scene.at, from, to, cause: cause.clone() });
        let chained = was.is_none_or(|was| was == from) && (from != to || *cause == PathCause::Started);
        let directed = match cause {
            PathCause::Healed => to < from,
            PathCause::MulticastSilent { .. } | PathCause::MulticastLossy { .. } => {
                from == PathKind::Multicast && to > from
            }
            PathCause::Busy { .. } | PathCause::Unreachable => to > from,
            _ => true,
        };
        if !chained || !directed {
            return Err(Breach::PathChain { was: was.unwrap_or(from), from, to });
        }
        let since_multicast = scene.witness.and_then(|w| w.multicast_at).map(|at| scene.ran_since(at));
        let is_true = match cause {
            PathCause::MulticastSilent { .. } => {
                let rests = scene.witness.and_then(|w| w.beacon).is_some_and(|word| !word.multicasts);
                rests || since_multicast.is_none_or(|ago| ago >= SILENT_MIN)
            }
            PathCause::Healed if to == PathKind::Multicast => {
                // A source that pauses leaves nothing to be seen by any path.
                let pauses =
                    |ago| scene.run.is_some_and(|run| run.was_silent(scene.at.saturating_sub(ago), scene.at));
                since_multicast.is_some_and(|ago| ago <= HEALED_MAX || pauses(ago))
            }
            _ => true,
        };
        is_true.then_some(()).ok_or(Breach::PathUntrue { cause: cause.clone(), since_multicast })
    }

    /// Judges whether silence, or its end, is told.
    fn judge_silence(&self, scene: &Scene<'_>) -> Result<(), Breach> {
        let Some(witness) = scene.witness else { return Ok(()) };
        let idle = scene.idle(|w| w.fresh_at.max(w.excused_at()));
        let is_over = witness.beacon.is_some_and(|word| word.state == StreamState::Ended);
        let Some(idle) = idle.filter(|_| !is_over) else { return Ok(()) };
        let late = match self.verdict {
            Verdict::Live | Verdict::Degraded => (idle > STARVED_MAX).then_some(Verdict::Starved),
            // A pause that nobody confirms any more counts from the last word of it.
            Verdict::Paused => (idle > EXCUSE + STARVED_MAX).then_some(Verdict::Starved),
            Verdict::Starved => (idle > DEAD_MAX).then_some(Verdict::Dead),
            _ => None,
        };
        let flows = witness.flows_since.map(|at| scene.ran_since(at.max(self.changed_at)));
        let is_fresh = scene.idle(|w| w.useful_at).is_some_and(|idle| idle < STARVED_MIN);
        let is_alarm = matches!(self.verdict, Verdict::Joining | Verdict::Starved | Verdict::Dead);
        let late = late.or_else(|| {
            let unmoved = is_alarm && is_fresh && flows.is_some_and(|span| span > TURN_MAX);
            unmoved.then_some(Verdict::Live)
        });
        match late {
            Some(due) => Err(Breach::Unmoved { verdict: self.verdict, due, idle }),
            None => Ok(()),
        }
    }

    /// Judges whether word of a pause is passed on.
    fn judge_word(&self, scene: &Scene<'_>) -> Result<(), Breach> {
        let paused = scene.witness.and_then(|w| w.beacon).filter(|word| word.state == StreamState::Paused);
        let Some(word) = paused else { return Ok(()) };
        let quiet = scene.idle(|w| w.fresh_at).is_some_and(|idle| idle > TURN_MAX);
        let told = scene.at.saturating_sub(word.made_at) < EXCUSE && quiet;
        let silent_for = scene.run.and_then(|run| run.silent_since(scene.at)).map(|at| scene.ran_since(at));
        let is_wrong = !matches!(self.verdict, Verdict::Paused | Verdict::Joining);
        match silent_for.filter(|span| told && is_wrong && *span > TURN_MAX + TURN_MAX / 2) {
            Some(idle) => Err(Breach::Unmoved { verdict: self.verdict, due: Verdict::Paused, idle }),
            None => Ok(()),
        }
    }
}

/// Returns whether the machine may go from one state to the other.
fn is_legal(from: Verdict, to: Verdict, reset: bool) -> bool {
    use Verdict::{Dead, Degraded, Ended, Joining, Live, Paused, Starved};
    if from == to {
        return false;
    }
    match (from, to) {
        (Ended, _) | (_, Joining) => reset,
        (Live | Degraded | Paused, Dead) | (Joining | Dead, Starved) | (Joining, Degraded) => false,
        _ => true,
    }
}

fn judge_starved(scene: &Scene<'_>) -> Result<(), Breach> {
    let excuse = scene.witness.and_then(Witness::excused_at).map(|at| scene.at.saturating_sub(at));
    let is_over = scene.witness.and_then(|w| w.beacon).is_some_and(|word| word.state == StreamState::Ended);
    let idle = scene.idle(|w| w.useful_at);
    let is_false = is_over
        || idle.is_some_and(|idle| idle < STARVED_MIN)
        || excuse.is_some_and(|age| age < EXCUSE && scene.publisher_is_well);
    if is_false { Err(Breach::FalseStarved { idle: idle.unwrap_or_default(), excuse }) } else { Ok(()) }
}

fn judge_dead(scene: &Scene<'_>) -> Result<(), Breach> {
    let idle = scene.idle(|w| w.useful_at.max(w.excused_at()));
    match idle.filter(|idle| *idle < DEAD_MIN) {
        Some(idle) => Err(Breach::FalseDead { idle }),
        None => Ok(()),
    }
}

fn judge_paused(scene: &Scene<'_>) -> Result<(), Breach> {
    let silent = scene.run.is_some_and(|run| run.was_silent(scene.at.saturating_sub(TURN_MAX), scene.at));
    silent.then_some(()).ok_or(Breach::FalsePaused)
}

#[cfg(test)]
mod tests;
