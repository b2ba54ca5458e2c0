//! Timestamps: filling in what a container leaves out, going on over loops, and pacing.

use std::time::{Duration, Instant};

use swarmcast_core::catalogue::TimeBase;

use crate::interrupt::Interrupt;

const NANOS: i128 = 1_000_000_000;

/// Timestamps of one track, in ticks of its time base.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    time_base: TimeBase,
    /// Whether units are presented in another order than decoded.
    reorders: bool,
    /// Whether durations count towards the length of a pass; those of subtitles reach beyond the pictures.
    lasting: bool,
    offset: i64,
    first: Option<i64>,
    last: Option<i64>,
    step: i64,
}

/// A unit's timestamps, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    pub(crate) duration: u32,
}

impl Timeline {
    pub(crate) fn new(time_base: TimeBase, reorders: bool, lasting: bool) -> Self {
        Self { time_base, reorders, lasting, offset: 0, first: None, last: None, step: 0 }
    }

    /// Completes the timestamps of the next unit. What is there stays, except a decoding time that would fall:
    /// it repeats the one before. A missing decoding time goes on by the last duration or distance; a missing
    /// presentation time is the decoding time.
    pub(crate) fn stamp(&mut self, dts: Option<i64>, pts: Option<i64>, duration: i64) -> Stamp {
        let derived = match (self.last, pts) {
            (_, Some(pts)) if !self.reorders => pts,
            (Some(last), _) => last.saturating_add(self.step).saturating_sub(self.offset),
            (None, pts) => pts.unwrap_or(0),
        };
        let own = dts.unwrap_or(derived);
        let dts = own.saturating_add(self.offset).max(self.last.unwrap_or(i64::MIN));
        let pts = pts.map_or(dts, |pts| pts.saturating_add(self.offset));
        let distance = self.last.map_or(0, |last| dts.saturating_sub(last));
        self.step = if duration > 0 { duration } else { distance };
        self.last = Some(dts);
        self.first.get_or_insert(dts);
        Stamp { dts, pts, duration: u32::try_from(duration.max(0)).unwrap_or(u32::MAX) }
    }

    /// Returns the earliest decoding time and the end of the last unit in nanoseconds, offset included.
    fn extent(&self) -> Option<(i128, i128)> {
        let (first, last) = (self.first?, self.last?);
        let end = last.saturating_add(if self.lasting { self.step.max(1) } else { 0 });
        Some((self.nanos(first), self.nanos(end)))
    }

    fn nanos(&self, ticks: i64) -> i128 {
        let denominator = i128::from(self.time_base.denominator.max(1));
        let scaled = i128::from(ticks) * i128::from(self.time_base.numerator) * NANOS;
        (scaled + denominator / 2).div_euclid(denominator)
    }

    /// Converts to ticks, to the nearest.
    fn ticks(&self, nanos: i128) -> i64 {
        let tick = i128::from(self.time_base.numerator.max(1)) * NANOS;
        let scaled = nanos.saturating_mul(i128::from(self.time_base.denominator)).saturating_add(tick / 2);
        i64::try_from(scaled.div_euclid(tick)).unwrap_or(i64::MAX)
    }
}

/// Joins the passes over a looped input.
///
/// All tracks move on by the same time a pass: from the earliest start to the latest end of any track, kept in
/// nanoseconds. Each track's offset is `passes x length` rounded to its nearest tick, never a sum of rounded lengths,
/// so the tracks do not drift apart however often the input is looped.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passes {
    done: i64,
    length_nanos: i128,
}

impl Passes {
    /// Moves all tracks on to the next pass; false when the pass was empty.
    pub(crate) fn next<'a>(&mut self, timelines: impl Iterator<Item = &'a mut Timeline>) -> bool {
        let mut timelines: Vec<_> = timelines.collect();
        if self.done == 0 {
            let extents = || timelines.iter().filter_map(|timeline| timeline.extent());
            let start = extents().map(|(start, _)| start).min();
            let end = extents().map(|(_, end)| end).max();
            self.length_nanos = start.zip(end).map_or(0, |(start, end)| end - start);
        }
        self.done += 1;
        let offset = self.length_nanos.saturating_mul(i128::from(self.done));
        for timeline in &mut timelines {
            timeline.offset = timeline.ticks(offset);
        }
        self.length_nanos > 0
    }
}

/// Lets units go at the pace of their decoding times.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacer {
    /// A moment and the decoding time in microseconds that was due then.
    anchor: Option<(Instant, i64)>,
}

impl Pacer {
    /// Longest wait for one unit; a longer gap in the timestamps is a jump, after which the pace begins anew.
    const WAIT_MAX: Duration = Duration::from_secs(30);

    /// Waits until the unit is due and returns that moment; none when interrupted.
    pub(crate) fn wait(&mut self, dts_micros: i64, interrupt: &Interrupt) -> Option<Instant> {
        let now = Instant::now();
        let due = self.due(dts_micros, now);
        let reached = due <= now || interrupt.wait_until(due);
        (reached && !interrupt.is_set()).then_some(due)
    }

    fn due(&mut self, dts_micros: i64, now: Instant) -> Instant {
        let (start, first) = *self.anchor.get_or_insert((now, dts_micros));
        let since = Duration::from_micros(u64::try_from(dts_micros.saturating_sub(first)).unwrap_or(0));
        match start.checked_add(since) {
            Some(due) if due.saturating_duration_since(now) <= Self::WAIT_MAX => due,
            _ => {
                self.anchor = Some((now, dts_micros));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLIS: TimeBase = TimeBase { numerator: 1, denominator: 1_000 };
    const SAMPLES: TimeBase = TimeBase { numerator: 1, denominator: 44_100 };

    #[test]
    fn what_is_there_stays() {
        let mut track = Timeline::new(MILLIS, true, true);
        assert_eq!(track.stamp(Some(-80), Some(0), 40), Stamp { dts: -80, pts: 0, duration: 40 });
        assert_eq!(track.stamp(Some(-40), Some(120), 40), Stamp { dts: -40, pts: 120, duration: 40 });
    }

    #[test]
    fn what_is_missing_is_derived() {
        let mut track = Timeline::new(MILLIS, true, true);
        assert_eq!(track.stamp(None, None, 40), Stamp { dts: 0, pts: 0, duration: 40 });
        assert_eq!(track.stamp(None, Some(160), 0), Stamp { dts: 40, pts: 160, duration: 0 });
        assert_eq!(track.stamp(None, None, 0).dts, 80, "by the last distance");
        assert_eq!(track.stamp(Some(70), Some(70), 0).dts, 80, "does not fall");
        let mut straight = Timeline::new(MILLIS, false, true);
        assert_eq!(straight.stamp(None, Some(23), 21).dts, 23);
    }

    #[test]
    fn passes_follow_each_other_without_a_step() {
        let mut video = Timeline::new(MILLIS, true, true);
        let mut audio = Timeline::new(SAMPLES, false, true);
        let mut passes = Passes::default();
        // 441 units of 1,024 samples: 10.2400 s, longer than 250 pictures of 40 ms.
        for pass in 0..1_000_i64 {
            for unit in 0..250 {
                let stamp = video.stamp(Some(unit * 40), Some(unit * 40 + 80), 40);
                let exact = i128::from(pass) * 441 * 1_024 * 1_000 / 44_100 + i128::from(unit) * 40;
                assert!((i128::from(stamp.dts) - exact).abs() <= 1, "pass {pass} unit {unit}: {}", stamp.dts);
            }
            for unit in 0..441 {
                assert_eq!(audio.stamp(Some(unit * 1_024), None, 1_024).dts, (pass * 441 + unit) * 1_024);
            }
            assert!(passes.next([&mut video, &mut audio].into_iter()));
        }
    }

    #[test]
    fn an_empty_pass_ends_the_loop() {
        let mut track = Timeline::new(MILLIS, false, true);
        assert!(!Passes::default().next(std::iter::once(&mut track)));
    }

    #[test]
    fn a_jump_begins_a_new_pace() {
        let (mut pacer, now) = (Pacer::default(), Instant::now());
        assert_eq!(pacer.due(5_000_000, now), now);
        assert_eq!(pacer.due(5_040_000, now), now + Duration::from_millis(40));
        assert_eq!(pacer.due(95_000_000, now), now, "90 s ahead");
        assert_eq!(pacer.due(95_040_000, now), now + Duration::from_millis(40));
    }

    proptest! {
        #[test]
        fn decoding_times_never_fall(
            stamps: Vec<(Option<i64>, Option<i64>, i64)>, reorders: bool, loop_at in 0_usize..8,
        ) {
            let mut track = Timeline::new(SAMPLES, reorders, true);
            let mut passes = Passes::default();
            let mut last = i64::MIN;
            for (at, (dts, pts, duration)) in stamps.into_iter().enumerate() {
                if at == loop_at {
                    passes.next(std::iter::once(&mut track));
                }
                let stamp = track.stamp(dts, pts, duration);
                prop_assert!(stamp.dts >= last);
                last = stamp.dts;
            }
        }
    }
}
