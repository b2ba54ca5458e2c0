//! Timestamps: filling in what a container leaves out, going on over loops, and pacing.

use std::time::{Duration, Instant};

use swarmcast_core::catalogue::TimeBase;

use crate::interrupt::Interrupt;

const NANOS: i128 = 1_000_000_000;

/// Timestamps of one track, in ticks of its time base.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    time_base: TimeBase,
    order: Order,
    /// Whether durations count towards the length of a pass; those of subtitles reach beyond the pictures.
    lasting: bool,
    offset: i64,
    /// Last decoding time, offset included.
    last: Option<i64>,
    /// Whether that was in this pass.
    under_way: bool,
    /// From there to the next, as far as known.
    step: i64,
    /// Earliest and latest presentation in the first pass.
    extent: Option<(i64, i64)>,
}

/// How decoding order and presentation order differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Units that reordering holds back, 0 when they are presented as decoded.
    pub(crate) delay: u8,
    /// Ticks from one unit to the next, 0 when unknown.
    pub(crate) unit_ticks: i64,
}

/// A unit's timestamps, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    pub(crate) duration: u32,
}

impl Timeline {
    pub(crate) fn new(time_base: TimeBase, order: Order, lasting: bool) -> Self {
        Self { time_base, order, lasting, offset: 0, last: None, under_way: false, step: 0, extent: None }
    }

    /// Completes the timestamps of the next unit. What is there stays, except a decoding time that would fall:
    /// it repeats the one before. A missing decoding time goes on by the last duration or distance; the first one is
    /// as long before its presentation as reordering takes. A missing presentation time is the decoding time.
    pub(crate) fn stamp(&mut self, dts: Option<i64>, pts: Option<i64>, duration: i64) -> Stamp {
        let duration = duration.max(0);
        let unit_ticks = if self.order.unit_ticks > 0 { self.order.unit_ticks } else { duration };
        let lead = unit_ticks.saturating_mul(i64::from(self.order.delay));
        let derived = match (self.last.filter(|_| self.under_way), pts) {
            (_, Some(pts)) if self.order.delay == 0 => pts,
            (Some(last), _) => last.saturating_add(self.step).saturating_sub(self.offset),
            (None, pts) => pts.unwrap_or(0).saturating_sub(lead),
        };
        let dts = dts.unwrap_or(derived).saturating_add(self.offset).max(self.last.unwrap_or(i64::MIN));
        let pts = pts.map_or(dts, |pts| pts.saturating_add(self.offset));
        self.step = match (duration, self.last) {
            (1.., _) => duration,
            (_, Some(last)) => dts.saturating_sub(last),
            (_, None) => unit_ticks,
        };
        (self.last, self.under_way) = (Some(dts), true);
        if self.offset == 0 {
            let end = pts.saturating_add(if self.lasting { self.step.max(1) } else { 0 });
            let (first, last) = self.extent.unwrap_or((pts, end));
            self.extent = Some((first.min(pts), last.max(end)));
        }
        Stamp { dts, pts, duration: u32::try_from(duration).unwrap_or(u32::MAX) }
    }

    /// Takes note that the units before and those to come are not of one run.
    pub(crate) fn part(&mut self) {
        self.under_way = false;
    }

    /// Returns the length of the first pass in nanoseconds.
    fn length(&self) -> Option<i128> {
        let (first, last) = self.extent?;
        Some(self.nanos(last) - self.nanos(first))
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
/// All tracks move on by the same time a pass: the length of the longest, from its first presentation to the end of its
/// last, kept in nanoseconds. Each track's offset is `passes x length` rounded to its nearest tick, never a sum of
/// rounded lengths, so the tracks do not drift apart however often the input is looped.
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
            self.length_nanos = timelines.iter().filter_map(|timeline| timeline.length()).max().unwrap_or(0);
        }
        self.done += 1;
        let offset = self.length_nanos.saturating_mul(i128::from(self.done));
        for timeline in &mut timelines {
            timeline.offset = timeline.ticks(offset);
            timeline.under_way = false;
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
    const REORDERED: Order = Order { delay: 2, unit_ticks: 40 };
    const SAMPLES: TimeBase = TimeBase { numerator: 1, denominator: 44_100 };

    #[test]
    fn what_is_there_stays() {
        let mut track = Timeline::new(MILLIS, REORDERED, true);
        assert_eq!(track.stamp(Some(-80), Some(0), 40), Stamp { dts: -80, pts: 0, duration: 40 });
        assert_eq!(track.stamp(Some(-40), Some(120), 40), Stamp { dts: -40, pts: 120, duration: 40 });
    }

    #[test]
    fn what_is_missing_is_derived() {
        // The first packets of a Matroska file with B-pictures.
        let mut track = Timeline::new(MILLIS, REORDERED, true);
        let packets = [(None, Some(21)), (None, Some(101)), (Some(21), Some(61)), (None, None)];
        let dts = packets.map(|(dts, pts)| track.stamp(dts, pts, 40).dts);
        assert_eq!(dts, [-59, -19, 21, 61]);
        assert_eq!(track.stamp(None, Some(300), 0).dts, 101, "by the last duration");
        assert_eq!(track.stamp(None, Some(300), 0).dts, 141, "by the last distance");
        assert_eq!(track.stamp(Some(70), Some(70), 0).dts, 141, "does not fall");
        let mut straight = Timeline::new(MILLIS, Order::default(), true);
        assert_eq!(straight.stamp(None, Some(23), 21).dts, 23);
        let mut bare = Timeline::new(MILLIS, Order::default(), true);
        assert_eq!([(); 3].map(|()| bare.stamp(None, None, 40).dts), [0, 40, 80]);
    }

    #[test]
    fn passes_follow_each_other_without_a_step() {
        let mut video = Timeline::new(MILLIS, REORDERED, true);
        let mut audio = Timeline::new(SAMPLES, Order::default(), true);
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
        let mut track = Timeline::new(MILLIS, Order::default(), true);
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
            stamps: Vec<(Option<i64>, Option<i64>, i64)>, delay: u8, unit_ticks: i64, loop_at in 0_usize..8,
        ) {
            let mut track = Timeline::new(SAMPLES, Order { delay, unit_ticks }, true);
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
