//! The audience of a publication, as its reports tell: who hears multicast, and what is lost on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Now, PathId};
use crate::wire::Report;

/// Most reporters that are remembered; those that were silent longest make room.
const REPORTERS_MAX: usize = 4096;
/// Age past which a report says nothing: three of the longest period between two.
const REPORT_AGE_MAX: Duration = Duration::from_secs(3);
/// Time that multicast media must have run before silence about it counts as loss.
const PROOF_TIME: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug)]
struct Reporter {
    at: Now,
    beacon_ms: u64,
    /// The multicast path that it speaks of.
    path: Option<PathId>,
    received: u64,
    missed: u64,
    /// Fragments received and missed in the last seconds.
    memory: (f64, f64),
    /// Share of fragments missing at their deadline.
    residual: f64,
    hurried: bool,
    /// Fragments pushed to it, and missing of them.
    pushes: (u64, u64),
}

/// Part of what was reported before that still counts with the next report: 4 s in all, so that a burst of 200 ms or a
/// membership that is renewed after half a second do not pass for a path that loses more than it saves.
const MEMORY: f64 = 0.75;

/// Everybody who reported of late.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audience {
    reporters: BTreeMap<u64, Reporter>,
}

/// What the reports of late say together; shares of 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) worst: f64,
}

impl Audience {
    /// Takes a report; `path` is the multicast path that it speaks of. An older one than the last is ignored.
    pub(crate) fn handle_report(&mut self, now: Now, report: &Report, path: Option<PathId>) {
        let before = self.reporters.get(&report.reporter).copied();
        if before.is_some_and(|before| before.beacon_ms > report.beacon_ms) {
            return;
        }
        if self.reporters.len() >= REPORTERS_MAX && before.is_none() {
            let stalest = self.reporters.iter().min_by_key(|(_, reporter)| reporter.at).map(|(id, _)| *id);
            stalest.and_then(|id| self.reporters.remove(&id));
        }
        let told = (report.received, report.missed);
        let (counts, pushes) = if report.pushed { ((0, 0), told) } else { (told, (0, 0)) };
        let (received, missed) =
            before.filter(|_| counts != (0, 0)).map_or((0.0, 0.0), |before| before.memory);
        let memory = (received * MEMORY + counts.0 as f64, missed * MEMORY + counts.1 as f64);
        let residual = if report.due == 0 { 0.0 } else { report.lost as f64 / report.due as f64 };
        let reporter = Reporter {
            at: now,
            beacon_ms: report.beacon_ms,
            path: path.filter(|_| report.hears),
            received: counts.0,
            missed: counts.1,
            memory,
            residual,
            hurried: report.hurried,
            pushes,
        };
        self.reporters.insert(report.reporter, reporter);
    }

    /// Returns how many of late heard beacons on a multicast path.
    pub(crate) fn hearers(&self, now: Now, path: PathId) -> usize {
        self.of_path(now, path).count()
    }

    /// Returns the share of fragments that the middle one of those who hear a path lost on it, 0 without any. Who hears
    /// beacons and none of the media that has run since `media_since` lost all of it.
    pub(crate) fn median_loss(&self, now: Now, path: PathId, media_since: Now) -> f64 {
        let proven = now.since(media_since) > PROOF_TIME;
        let losses = self.of_path(now, path).map(|reporter| match reporter.received + reporter.missed {
            0 => f64::from(u8::from(proven)),
            _ => reporter.memory.1 / (reporter.memory.0 + reporter.memory.1),
        });
        quantile(losses.collect(), 0.5)
    }

    /// Returns the share of fragments lost on a path that nine of ten hearers stay below; those who lose more than
    /// `most` are left out: they are better served by the mesh.
    pub(crate) fn loss_to_mend(&self, now: Now, path: PathId, most: f64) -> f64 {
        let heard = self.of_path(now, path).filter(|reporter| reporter.received > 0);
        let losses =
            heard.map(|reporter| reporter.missed as f64 / (reporter.received + reporter.missed) as f64);
        quantile(losses.filter(|loss| *loss <= most).collect(), 0.9)
    }

    /// Returns whether pulls come too late for one in ten of those who hear a path.
    pub(crate) fn is_hurried(&self, now: Now, path: PathId) -> bool {
        let hurried = self.of_path(now, path).filter(|reporter| reporter.hurried).count();
        hurried > 0 && hurried * 10 >= self.hearers(now, path)
    }

    /// Returns the share of what is pushed that nine of ten of those lose for whom pulls come too late, where those are
    /// one in ten of all who are pushed to; who loses more than `most` is left out.
    pub(crate) fn hurried_push_loss(&self, now: Now, most: f64) -> Option<f64> {
        let recent = self.reporters.values().filter(|reporter| now.since(reporter.at) <= REPORT_AGE_MAX);
        let pushed: Vec<_> = recent.filter(|reporter| reporter.pushes.0 > 0).collect();
        let hurried: Vec<_> = pushed.iter().filter(|reporter| reporter.hurried).collect();
        if hurried.is_empty() || hurried.len() * 10 < pushed.len() {
            return None;
        }
        let losses = hurried.iter().map(|reporter| {
            let (received, missed) = reporter.pushes;
            missed as f64 / (received + missed) as f64
        });
        Some(quantile(losses.filter(|loss| *loss <= most).collect(), 0.9))
    }

    /// Returns what all reports of late say of losses that were not made good.
    pub(crate) fn summary(&self, now: Now) -> Summary {
        let recent = self.reporters.values().filter(|reporter| now.since(reporter.at) <= REPORT_AGE_MAX);
        let residuals: Vec<_> = recent.map(|reporter| reporter.residual).collect();
        Summary {
            count: residuals.len(),
            median: quantile(residuals.clone(), 0.5),
            p95: quantile(residuals.clone(), 0.95),
            worst: quantile(residuals, 1.0),
        }
    }

    fn of_path(&self, now: Now, path: PathId) -> impl Iterator<Item = &Reporter> {
        let of = move |reporter: &&Reporter| {
            reporter.path == Some(path) && now.since(reporter.at) <= REPORT_AGE_MAX
        };
        self.reporters.values().filter(of)
    }
}

/// Returns a quantile by the nearest rank, 0 of nothing.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: PathId = PathId(7);

    fn report(reporter: u64, received: u64, missed: u64) -> Report {
        Report {
            reporter,
            beacon_ms: 1000,
            hears: true,
            received,
            missed,
            due: 100,
            lost: reporter,
            ..Report::default()
        }
    }

    #[test]
    fn hearers_are_counted_for_three_seconds_and_once_each() {
        let mut audience = Audience::default();
        for reporter in [1, 2, 2] {
            audience.handle_report(Now(0), &report(reporter, 10, 0), Some(PATH));
        }
        let deaf = Report { hears: false, ..report(3, 0, 0) };
        audience.handle_report(Now(0), &deaf, Some(PATH));
        assert_eq!(audience.hearers(Now(3_000_000), PATH), 2);
        assert_eq!(audience.hearers(Now(3_000_001), PATH), 0);
        assert_eq!(audience.hearers(Now(0), PathId(8)), 0);
        assert_eq!(audience.summary(Now(0)).count, 3);
        assert_eq!(audience.summary(Now(0)).worst, 0.03);
    }

    #[test]
    fn one_who_loses_all_does_not_speak_for_the_others() {
        let mut audience = Audience::default();
        audience.handle_report(Now(0), &report(1, 0, 0), Some(PATH));
        audience.handle_report(Now(0), &report(2, 99, 1), Some(PATH));
        audience.handle_report(Now(0), &report(3, 98, 2), Some(PATH));
        let later = Now(2_000_000);
        assert_eq!(audience.median_loss(later, PATH, Now(0)), 0.02);
        assert_eq!(audience.loss_to_mend(later, PATH, 0.15), 0.02);
        // Two of three get beacons and no media.
        audience.handle_report(Now(0), &report(2, 0, 0), Some(PATH));
        assert_eq!(audience.median_loss(later, PATH, Now(0)), 1.0);
        assert_eq!(audience.median_loss(Now(1_000_000), PATH, Now(0)), 0.0);
    }

    #[test]
    fn pushes_speak_for_those_who_are_in_a_hurry_and_never_of_multicast() {
        let mut audience = Audience::default();
        let of = |reporter: u64, missed: u64, hurried: bool| {
            let pushed = true;
            Report { hurried, pushed, ..report(reporter, 100 - missed, missed) }
        };
        audience.handle_report(Now(0), &of(1, 5, false), Some(PATH));
        assert_eq!(audience.hurried_push_loss(Now(0), 0.15), None);
        audience.handle_report(Now(0), &of(2, 2, true), Some(PATH));
        audience.handle_report(Now(0), &of(3, 50, true), Some(PATH));
        assert_eq!(audience.hurried_push_loss(Now(0), 0.15), Some(0.02));
        assert_eq!(audience.hurried_push_loss(Now(3_000_001), 0.15), None);
        assert_eq!(audience.loss_to_mend(Now(0), PATH, 0.15), 0.0);
        assert_eq!(audience.median_loss(Now(2_000_000), PATH, Now(0)), 1.0, "they hear beacons and no media");
        // One in eleven.
        (4..13).for_each(|reporter| audience.handle_report(Now(0), &of(reporter, 0, false), None));
        assert_eq!(audience.hurried_push_loss(Now(0), 0.15), Some(0.02));
        (13..30).for_each(|reporter| audience.handle_report(Now(0), &of(reporter, 0, false), None));
        assert_eq!(audience.hurried_push_loss(Now(0), 0.15), None);
    }

    #[test]
    fn a_burst_is_no_path_that_loses_all_the_time() {
        let mut audience = Audience::default();
        let mut loss = |seconds: u64, missed| {
            let at = Now(seconds * 1_000_000);
            let report = Report { beacon_ms: seconds * 1_000, ..report(1, 100 - missed, missed) };
            audience.handle_report(at, &report, Some(PATH));
            audience.median_loss(at, PATH, Now(0))
        };
        (0..10).for_each(|second| assert_eq!(loss(second, 0), 0.0));
        assert!(loss(10, 45) < 0.15, "half a second");
        (11..20).for_each(|second| assert!(loss(second, 0) < 0.1));
        let sustained: Vec<_> = (20..28).map(|second| loss(second, 20)).collect();
        assert!(sustained[0] < 0.06 && sustained[7] > 0.15, "{sustained:?}");
    }

    #[test]
    fn an_older_report_changes_nothing() {
        let mut audience = Audience::default();
        audience.handle_report(Now(0), &report(1, 50, 50), Some(PATH));
        audience.handle_report(Now(9), &Report { beacon_ms: 999, ..report(1, 100, 0) }, Some(PATH));
        assert_eq!(audience.median_loss(Now(9), PATH, Now(0)), 0.5);
    }

    #[test]
    fn one_in_ten_for_whom_pulls_come_too_late_is_enough() {
        let mut audience = Audience::default();
        for reporter in 0..10 {
            let report = Report { hurried: reporter == 3, ..report(reporter, 99, 1) };
            audience.handle_report(Now(0), &report, Some(PATH));
        }
        assert!(audience.is_hurried(Now(1), PATH));
        audience.handle_report(Now(0), &report(10, 99, 1), Some(PATH));
        assert!(!audience.is_hurried(Now(1), PATH) && !Audience::default().is_hurried(Now(1), PATH));
    }
}
