//! Rules for what one subscription delivers, and the figures of its delivery.

use std::collections::BTreeMap;
use std::time::Duration;

use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_core::ids::{Epoch, StreamHandle, StreamKey};
use swarmcast_core::node::{CloseCause, Event, Subscription};

use super::Breach;
use super::verdict::{Scene, VerdictOracle};
use crate::ledger::{Ledger, Record, Run};

/// Gaps that are remembered: none explains units that are older than the newest 256.
const GAPS_MAX: usize = 256;

/// Time behind its playout delay at which a unit still is on time: a block waits up to 40 ms for company, and clocks
/// tell the playout deadline by the publisher's, as nearly as the paths to it allow.
pub(crate) const ON_TIME_SLACK: Duration = Duration::from_millis(100);

/// Longest time from `Dead` to `Closed`.
const CLOSE_MAX: Duration = Duration::from_millis(100);

/// Watches one subscription from `Subscribe` to `Closed`.
#[derive(Debug)]
pub(crate) struct SubscriptionOracle {
    pub(crate) handle: StreamHandle,
    pub(crate) playout_delay: Duration,
    pub(crate) subscribed_at: Duration,
    /// Whether it stays open when its stream is dead.
    waits: bool,
    pub(crate) health: VerdictOracle,
    /// True time of the first access unit.
    pub(crate) first_at: Option<Duration>,
    pub(crate) closed: Option<CloseCause>,
    pub(crate) units: u64,
    /// Access units behind the first random-access point that were skipped.
    pub(crate) missing: BTreeMap<TrackId, u64>,
    pub(crate) resets: u64,
    /// From publication to delivery in true time, of what was published after the join.
    pub(crate) latencies: Vec<Duration>,
    /// Units of these that came on time, by the second of their publication.
    pub(crate) on_time: BTreeMap<u64, u64>,
    /// Longest media time of one track that was skipped at once.
    pub(crate) gap_max: Duration,
    /// When its user ended it.
    pub(crate) left_at: Option<Duration>,
    opened: Option<(StreamKey, Epoch)>,
    /// The newest run that was opened.
    newest: Option<Epoch>,
    /// Place of the first random-access point among all units of the run.
    first_order: Option<u64>,
    next: BTreeMap<TrackId, u64>,
    gaps: Vec<Span>,
}

/// Media time that a gap covers, for one track or all.
#[derive(Clone, Copy, Debug)]
struct Span {
    track: Option<TrackId>,
    from_us: i64,
    to_us: i64,
}

impl SubscriptionOracle {
    pub(crate) fn new(subscription: &Subscription, subscribed_at: Duration) -> Self {
        Self {
            handle: subscription.handle,
            playout_delay: subscription.playout_delay,
            subscribed_at,
            waits: subscription.waits || subscription.foreign,
            health: VerdictOracle::default(),
            first_at: None,
            closed: None,
            units: 0,
            missing: BTreeMap::new(),
            resets: 0,
            latencies: Vec::new(),
            on_time: BTreeMap::new(),
            gap_max: Duration::ZERO,
            left_at: None,
            opened: None,
            newest: None,
            first_order: None,
            next: BTreeMap::new(),
            gaps: Vec::new(),
        }
    }

    /// Takes one event of this subscription.
    pub(crate) fn saw(&mut self, at: Duration, event: &Event, ledger: &Ledger) -> Result<(), Breach> {
        if self.closed.is_some() {
            return Err(Breach::AfterClosed { event: name_of(event) });
        }
        match event {
            Event::Opened { key, epoch, .. } => {
                self.opened = Some((*key, *epoch));
                let run = ledger.find(*key, *epoch).ok_or(Breach::UnknownStream)?;
                let was_over = run.ended.or(run.vanished).is_some_and(|over| over < self.subscribed_at);
                let is_older = self.newest.replace(*epoch).is_some_and(|newest| *epoch <= newest);
                let is_stale = is_older || was_over && ledger.has_newer(run, self.subscribed_at);
                if is_stale { Err(Breach::StaleRun { epoch: *epoch }) } else { Ok(()) }
            }
            Event::AccessUnit { unit, .. } => self.saw_unit(at, unit, ledger),
            Event::Gap { track, from, to, .. } => {
                if self.gaps.len() == GAPS_MAX {
                    self.gaps.remove(0);
                }
                self.gaps.push(Span { track: *track, from_us: from.0, to_us: to.0 });
                Ok(())
            }
            Event::Reset { .. } => {
                self.begin_again();
                Ok(())
            }
            Event::Closed { cause, .. } => {
                self.closed = Some(cause.clone());
                self.left_at = (*cause == CloseCause::Local).then_some(at);
                let run = self.opened.and_then(|(key, epoch)| ledger.find(key, epoch));
                match (cause, run) {
                    (CloseCause::Ended, Some(run)) => self.judge_overdue(run, Duration::MAX),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Takes what one event tells of its health.
    pub(crate) fn saw_health(&mut self, event: &Event, scene: &Scene<'_>) -> Result<(), Breach> {
        self.health.saw(event, scene)
    }

    /// Judges what its health should be by now.
    pub(crate) fn judge_health(&mut self, scene: &Scene<'_>) -> Result<(), Breach> {
        if self.closed.is_some() {
            return Ok(());
        }
        match self.health.dead_since().map(|at| scene.at.saturating_sub(at)) {
            Some(waited) if !self.waits && waited > CLOSE_MAX => Err(Breach::DeadAndOpen { waited }),
            _ => self.health.judge_turn(scene),
        }
    }

    /// Judges whether everything that was published before `horizon` is delivered or told as missing.
    pub(crate) fn judge_rest(&mut self, horizon: Duration, ledger: &Ledger) -> Result<(), Breach> {
        match self.run(ledger) {
            Some(run) if self.closed.is_none() => self.judge_overdue(run, horizon),
            _ => Ok(()),
        }
    }

    /// Judges what should have happened `patience` ago: the first unit of a live stream, the end of one that ended.
    pub(crate) fn judge_turn(
        &self,
        now: Duration,
        patience: Duration,
        ledger: &Ledger,
    ) -> Result<(), Breach> {
        if self.closed.is_some() {
            return Ok(());
        }
        let since_end = self.run(ledger).and_then(|run| run.ended).map(|at| now.saturating_sub(at));
        if let Some(waited) = since_end.filter(|waited| *waited > patience) {
            return Err(Breach::NotClosed { waited });
        }
        let waited = now.saturating_sub(self.subscribed_at);
        let lived = |run: &Run| run.ended.or(run.vanished).is_none() && run.began + patience < now;
        let unserved = self.first_at.is_none() && waited > patience && ledger.runs().iter().any(lived);
        if unserved { Err(Breach::Unserved { waited }) } else { Ok(()) }
    }

    /// Returns the run that this subscription watches.
    pub(crate) fn run<'a>(&self, ledger: &'a Ledger) -> Option<&'a Run> {
        self.opened.and_then(|(key, epoch)| ledger.find(key, epoch))
    }

    fn saw_unit(&mut self, at: Duration, unit: &AccessUnit, ledger: &Ledger) -> Result<(), Breach> {
        let (key, epoch) = self.opened.ok_or(Breach::NotOpened)?;
        let run = ledger.find(key, epoch).ok_or(Breach::UnknownStream)?;
        let track = unit.track;
        let Some((index, record)) = run.identify(unit) else {
            let index = crate::workload::index_of(&unit.payload);
            return Err(Breach::Unpublished { track, dts: unit.dts, bytes: unit.payload.len(), index });
        };
        let lead = run.catalogue.lead_track().map(|lead| lead.id);
        let first_order = match self.first_order {
            Some(order) => order,
            None if record.key && lead == Some(track) => record.order,
            None => return Err(Breach::FirstNotKey { track, index }),
        };
        self.first_order = Some(first_order);
        let first_at = *self.first_at.get_or_insert(at);
        self.units += 1;
        if record.at >= first_at {
            self.saw_delay(record.at, at.saturating_sub(record.at));
        }
        let expected = self.expected(run, track, first_order);
        match self.next.insert(track, index + 1) {
            Some(next) if index < next => {
                self.next.insert(track, next);
                return Err(Breach::Disorder { track, expected: next, got: index });
            }
            _ => {}
        }
        self.judge_skipped(run, track, expected..index)
    }

    fn saw_delay(&mut self, published: Duration, delay: Duration) {
        self.latencies.push(delay);
        if delay <= self.playout_delay + ON_TIME_SLACK {
            *self.on_time.entry(published.as_secs()).or_default() += 1;
        }
    }

    /// Judges units that were skipped: a gap must have told of each.
    fn judge_skipped(
        &mut self,
        run: &Run,
        track: TrackId,
        skipped: std::ops::Range<u64>,
    ) -> Result<(), Breach> {
        *self.missing.entry(track).or_default() += skipped.end.saturating_sub(skipped.start);
        let published = |index: u64| run.track(track).get(usize::try_from(index).ok()?).map(|unit| unit.at);
        if let (Some(from), Some(to)) = (published(skipped.start), published(skipped.end)) {
            self.gap_max = self.gap_max.max(to.saturating_sub(from));
        }
        let untold: Vec<u64> = skipped.filter(|index| !self.is_told(run, track, *index)).collect();
        match untold.first() {
            Some(from) => Err(Breach::Untold { track, from: *from, count: untold.len() as u64 }),
            None => Ok(()),
        }
    }

    /// Returns the lowest number of the track that must still come: behind the first random-access point.
    fn expected(&self, run: &Run, track: TrackId, first_order: u64) -> u64 {
        self.next
            .get(&track)
            .copied()
            .unwrap_or_else(|| run.track(track).partition_point(|record| record.order < first_order) as u64)
    }

    fn judge_overdue(&mut self, run: &Run, horizon: Duration) -> Result<(), Breach> {
        let Some(first_order) = self.first_order else { return Ok(()) };
        let mut worst = Ok(());
        for (track, records) in run.tracks() {
            let next = self.expected(run, track, first_order);
            let end = records.partition_point(|record| record.at < horizon) as u64;
            let overdue = end.saturating_sub(next);
            let told = (next..end).take_while(|index| self.is_told(run, track, *index)).count() as u64;
            *self.missing.entry(track).or_default() += overdue;
            if told < overdue {
                worst = Err(Breach::Overdue { track, next: next + told, count: overdue - told });
            }
        }
        worst
    }

    fn is_told(&self, run: &Run, track: TrackId, index: u64) -> bool {
        let Some(Record { dts, pts, .. }) = usize::try_from(index).ok().and_then(|i| run.track(track).get(i))
        else {
            return false;
        };
        let base = run.time_base(track);
        let times = [base.to_micros(*dts), base.to_micros(*pts)];
        self.gaps
            .iter()
            .filter(|gap| gap.track.is_none_or(|of| of == track))
            .any(|gap| times.iter().any(|time| (gap.from_us..=gap.to_us).contains(time)))
    }

    fn begin_again(&mut self) {
        self.resets += 1;
        self.opened = None;
        self.first_order = None;
        self.next.clear();
        self.gaps.clear();
    }
}

fn name_of(event: &Event) -> &'static str {
    match event {
        Event::Opened { .. } => "Opened",
        Event::AccessUnit { .. } => "AccessUnit",
        Event::Gap { .. } => "Gap",
        Event::Reset { .. } => "Reset",
        Event::Closed { .. } => "Closed",
        Event::Ambiguous { .. } => "Ambiguous",
        _ => "event",
    }
}
