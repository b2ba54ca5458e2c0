//! When what is on hand is played: it follows the publisher's clock, grows on underrun, and shrinks again.

use std::time::Duration;

use swarmcast_core::catalogue::TrackKind;
use swarmcast_core::ids::Now;

/// Fastest change of the lag, parts of a million: 2 %, a third of a semitone, which nobody hears.
pub(super) const SLEW_MAX: i64 = 20_000;
/// Half of the time over which the least is kept. A burst of 300 ms is forgotten after 4 s and worked off in 15 s.
const PERIOD: Duration = Duration::from_secs(2);
/// Parts of a time in which what is due together is compared. Sound comes in blocks of several units that are due when
/// the last of them is: by 43 ms more than the last one, the first one of three of AAC.
const PART: Duration = Duration::from_millis(500);
const PARTS: usize = 4;
/// What comes when it is due is played so much later, in which it is delivered and decoded, in microseconds: half a
/// picture. What arrives no later than this before its time leaves the lag as it is.
const MARGIN: i64 = 20_000;
/// Most that underruns add to the lag, in microseconds. What is later than that is passed over.
const EXTRA_MAX: i64 = 1_000_000;
/// A new run finds its place for so long: a joiner's first units are old ones.
const SETTLING: Duration = Duration::from_secs(1);
/// Difference that is not worked off but jumped, in microseconds: 25 s of slewing.
const JUMP: i64 = 500_000;
/// Late arrivals that are so close together are one underrun.
const EPISODE: Duration = Duration::from_millis(500);
/// Difference below which the lag is where it should be, in microseconds.
const NEAR: i64 = 2_000;

/// The smallest of the values of the last one to two periods.
#[derive(Clone, Copy, Debug, Default)]
struct Least {
    current: Option<i64>,
    before: Option<i64>,
    since: Now,
}

impl Least {
    fn put(&mut self, now: Now, value: i64) {
        if self.current.is_none() {
            self.since = now;
        } else if now.since(self.since) > PERIOD {
            self.before = self.current.take();
            self.since = now;
        }
        self.current = Some(self.current.map_or(value, |current| current.min(value)));
    }

    fn least(&self) -> Option<i64> {
        self.current.into_iter().chain(self.before).min()
    }

    /// Returns the smallest of at least one whole period.
    fn proven(&self) -> Option<i64> {
        self.before.and_then(|_| self.least())
    }
}

/// How much later by their play time than the last units of blocks their first ones are due, regularly: the smallest
/// of what the parts of a time had at most. A publisher's hiccup shows in one or two of them.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    most: i64,
    since: Option<Now>,
    parts: [Option<i64>; PARTS],
}

impl Spread {
    fn put(&mut self, now: Now, value: i64) {
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= PART {
            self.parts.rotate_right(1);
            self.parts[0] = Some(self.most);
            (self.most, self.since) = (0, Some(now));
        }
        self.most = self.most.max(value);
    }

    fn get(&self) -> i64 {
        self.parts.iter().flatten().copied().min().unwrap_or(0)
    }
}

/// The jitter buffer's length, as a lag: what carries the play time `t` is played at `t` + lag of this host's clock.
///
/// Play times are microseconds. A unit's play time is its media time, moved so that the first unit of a run is played
/// when it is due; from there on the lag follows what is due, so that every unit of a block may come as late as that
/// and is still decoded and handed to the loudspeaker in time, plus what underruns have added.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    lag: i64,
    lag_at: Now,
    /// How much later than by its play time a unit is due, of late: the publisher's clock runs at another rate.
    drift: i64,
    /// What lies between the first and the last that are due together.
    spread: Spread,
    /// How long before it is heard sound is taken by the loudspeaker.
    ahead: i64,
    /// What underruns have added.
    extra: i64,
    deviations: Least,
    /// How early units arrived.
    slack: Least,
    begun: Option<Now>,
    late_at: Option<Now>,
    underruns: u64,
    /// Whether others play the same instant, so that nothing is played later than due.
    in_step: bool,
}

impl Schedule {
    /// Makes a schedule; one that is in step never grows.
    pub(crate) fn new(in_step: bool) -> Self {
        Self { in_step, ..Self::default() }
    }

    /// Begins a run with a timeline of its own. What underruns have added stays.
    pub(crate) fn begin(&mut self) {
        self.begun = None;
        self.spread = Spread::default();
        self.deviations = Least::default();
        self.slack = Least::default();
    }

    /// Says that the loudspeaker takes what is heard up to so long from now.
    pub(crate) fn set_ahead(&mut self, ahead: Duration) {
        self.ahead = ahead.as_micros() as i64;
    }

    /// Takes a unit that arrives `now`, to be decoded at the play time `at` and due `due`.
    pub(crate) fn handle_arrival(&mut self, now: Now, at: i64, due: Now, kind: TrackKind) {
        let deviation = (due.0 as i64).saturating_sub(at);
        let begun = *self.begun.get_or_insert(now);
        self.deviations.put(now, deviation);
        self.drift = self.deviations.least().unwrap_or(deviation);
        if !self.in_step {
            self.spread.put(now, deviation.saturating_sub(self.drift));
        }
        if now.since(begun) < SETTLING {
            self.lag_at = now;
            self.jump_if_far(NEAR);
            return;
        }
        self.jump_if_far(JUMP);
        let ahead = if kind == TrackKind::Audio { self.ahead } else { 0 };
        let slack = at.saturating_add(self.lag(now)).saturating_sub(ahead.saturating_add(now.0 as i64));
        if slack >= 0 {
            self.slack.put(now, slack);
            self.shrink();
        } else if due > now && !(self.in_step && deviation.saturating_sub(self.drift) < JUMP) {
            // In time by the publisher's clock: its media stood still meanwhile, and goes on later from here, or
            // catches up, which is seen soon.
            self.begun = Some(now);
            self.deviations = Least::default();
            self.deviations.put(now, deviation);
            self.drift = deviation;
            self.lag = self.lag.max(self.target());
        } else {
            self.grow(now, -slack);
        }
    }

    /// Takes a picture that was decoded at `now` and is to be shown at the play time `at`.
    pub(crate) fn handle_decoded(&mut self, now: Now, at: i64) {
        if self.begun.is_none_or(|begun| now.since(begun) < SETTLING) {
            return;
        }
        let slack = at.saturating_add(self.lag(now)).saturating_sub(now.0 as i64);
        if slack >= 0 {
            self.slack.put(now, slack);
        } else {
            self.grow(now, -slack);
        }
    }

    /// Returns the lag at a time, which moves by at most 2 % of the time that passes.
    pub(crate) fn lag(&mut self, now: Now) -> i64 {
        let step = now.since(self.lag_at).as_micros() as i64 * SLEW_MAX / 1_000_000;
        if step > 0 {
            self.lag_at = now;
            self.lag += (self.target() - self.lag).clamp(-step, step);
        }
        self.lag
    }

    /// Returns how fast the lag moves, parts of a million.
    pub(crate) fn slew(&self) -> i64 {
        match self.target() - self.lag {
            rest if rest.abs() < NEAR => 0,
            rest => rest.signum() * SLEW_MAX,
        }
    }

    /// Returns how much underruns have made everything later.
    pub(crate) fn extra(&self) -> Duration {
        Duration::from_micros((self.lag - self.due()).max(0) as u64)
    }

    /// Returns how much later than by its play time a unit is due.
    pub(crate) fn drift(&self) -> i64 {
        self.drift
    }

    /// Returns how often the lag had to grow.
    pub(crate) fn underruns(&self) -> u64 {
        self.underruns
    }

    /// The lag with which all may come when they are due. Who keeps step plays at that instant.
    fn due(&self) -> i64 {
        let hurry = if self.in_step { 0 } else { self.ahead + MARGIN };
        self.drift.saturating_add(self.spread.get()).saturating_add(hurry)
    }

    fn target(&self) -> i64 {
        self.due().saturating_add(self.extra)
    }

    fn jump_if_far(&mut self, far: i64) {
        let off = self.target().saturating_sub(self.lag);
        // Shrinking from what underruns have added takes its time.
        if off > far || off < -far.max(EXTRA_MAX) || (far < JUMP && off < -far) {
            self.lag = self.target();
        }
    }

    fn grow(&mut self, now: Now, late: i64) {
        if self.late_at.is_none_or(|at| now.since(at) > EPISODE) {
            self.underruns += 1;
        }
        self.late_at = Some(now);
        self.slack = Least::default();
        if self.in_step {
            return;
        }
        let behind = self.lag - self.due();
        if behind + late <= EXTRA_MAX {
            self.extra = (behind + late + MARGIN).min(EXTRA_MAX);
            self.lag = self.target();
        }
    }

    /// Gives back what nothing has needed for a while.
    fn shrink(&mut self) {
        let Some(spare) = self.slack.proven().filter(|_| self.extra > 0) else { return };
        let enough = self.lag - (spare - MARGIN).max(0) - self.due();
        self.extra = self.extra.min(enough.max(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 20_000;

    fn arrive(schedule: &mut Schedule, now: Now, at: i64, due: Now) {
        schedule.handle_arrival(now, at, due, TrackKind::Video);
    }

    /// Feeds units that arrive `early` before they are due, from `from` to `to` seconds.
    fn feed(schedule: &mut Schedule, (from, to): (u64, u64), early: impl Fn(u64) -> i64) {
        for at in (from * 1_000_000..to * 1_000_000).step_by(UNIT as usize) {
            let now = Now((at as i64 - early(at)) as u64);
            arrive(schedule, now, at as i64, Now(at));
        }
    }

    #[test]
    fn units_in_time_are_played_when_they_are_due() {
        let mut schedule = Schedule::default();
        feed(&mut schedule, (1, 20), |_| 100_000);
        assert_eq!((schedule.lag(Now(20_000_000)), schedule.underruns()), (MARGIN, 0));
        assert_eq!(schedule.extra(), Duration::ZERO);
    }

    #[test]
    fn a_unit_that_comes_when_it_is_due_is_in_time_to_be_decoded_and_heard() {
        let fed = |kind: TrackKind, late: u64| {
            let mut schedule = Schedule::default();
            schedule.set_ahead(Duration::from_millis(40));
            for at in (1_000_000..5_000_000_u64).step_by(UNIT as usize) {
                schedule.handle_arrival(Now(at + late), at as i64, Now(at), kind);
            }
            (schedule.lag(Now(5_000_000)), schedule.underruns())
        };
        let lag = 40_000 + MARGIN;
        assert_eq!(fed(TrackKind::Audio, MARGIN as u64), (lag, 0));
        assert_eq!(fed(TrackKind::Video, lag as u64), (lag, 0));
        assert_eq!(fed(TrackKind::Audio, MARGIN as u64 + 1).1, 1, "the loudspeaker has gone without it");
    }

    #[test]
    fn the_first_unit_of_a_block_has_the_whole_delay_too() {
        let fed = |mut schedule: Schedule| {
            for at in (1_000_000..20_000_000_u64).step_by(UNIT as usize) {
                // Three units a block; the publisher is late by 80 ms with one of 50.
                let block = at / (3 * UNIT);
                let due = Now((block + 1) * 3 * UNIT + if block.is_multiple_of(50) { 80_000 } else { 0 });
                arrive(&mut schedule, Now(due.0 - 100_000), at as i64, due);
            }
            (schedule.lag(Now(20_000_000)), schedule.extra(), schedule.underruns())
        };
        let (last, first) = (UNIT as i64, 3 * UNIT as i64 + MARGIN);
        assert_eq!(fed(Schedule::default()), (first, Duration::ZERO, 0));
        assert_eq!(fed(Schedule::new(true)).0, last, "who keeps step with others does what all can know");
    }

    #[test]
    fn a_burst_of_jitter_is_forgotten_within_20_s_at_2_percent() {
        let mut schedule = Schedule::default();
        feed(&mut schedule, (1, 5), |_| 100_000);
        // For one second, units are up to 300 ms late.
        feed(&mut schedule, (5, 6), |at| if at % 200_000 < 100_000 { -300_000 } else { -100_000 });
        let grown = schedule.lag(Now(6_000_000));
        assert_eq!((grown, schedule.underruns()), (320_000, 1));
        let mut last = grown;
        for second in 6..26 {
            feed(&mut schedule, (second, second + 1), |_| 100_000);
            let lag = schedule.lag(Now((second + 1) * 1_000_000 - 100_000));
            assert!(last - lag <= 22_000 && lag <= last, "{last} to {lag}");
            last = lag;
        }
        assert!(last < MARGIN + NEAR, "{last}");
        assert_eq!(schedule.underruns(), 1);
    }

    #[test]
    fn who_keeps_step_counts_what_is_late_and_does_not_wait_for_it() {
        let mut schedule = Schedule::new(true);
        feed(&mut schedule, (1, 5), |_| 100_000);
        feed(&mut schedule, (5, 6), |_| -300_000);
        assert_eq!((schedule.lag(Now(6_300_000)), schedule.underruns()), (0, 1));
        assert_eq!(schedule.extra(), Duration::ZERO);
    }

    #[test]
    fn who_keeps_step_follows_a_source_that_stood_still_when_all_must() {
        let stood = |micros: u64| {
            let mut schedule = Schedule::new(true);
            feed(&mut schedule, (1, 5), |_| 100_000);
            for at in (5_000_000..6_000_000_u64).step_by(UNIT as usize) {
                let due = Now(at + micros);
                arrive(&mut schedule, Now(due.0 - 100_000), at as i64, due);
            }
            schedule.lag(Now(6_000_000 + micros))
        };
        assert_eq!((stood(450_000), stood(3_000_000)), (0, 3_000_000));
    }

    #[test]
    fn it_keeps_what_jitter_needs() {
        let mut schedule = Schedule::default();
        let jitter = |at: u64| if at.is_multiple_of(1_000_000) { -50_000 } else { 100_000 };
        feed(&mut schedule, (1, 40), jitter);
        assert_eq!((schedule.lag(Now(40_000_000)), schedule.underruns()), (70_000, 1));
    }

    #[test]
    fn a_clock_that_runs_slower_is_followed() {
        let mut schedule = Schedule::default();
        for at in (1_000_000..61_000_000_u64).step_by(UNIT as usize) {
            // 1000 ppm.
            let due = Now(at + at / 1_000);
            arrive(&mut schedule, Now(due.0 - 100_000), at as i64, due);
        }
        let lag = schedule.lag(Now(61_000_000));
        let drifted = lag - MARGIN;
        assert!((56_000..=61_000).contains(&drifted), "{drifted}");
        assert_eq!(schedule.underruns(), 0);
    }

    #[test]
    fn a_source_that_stood_still_goes_on_at_once_and_without_an_underrun() {
        let mut schedule = Schedule::default();
        feed(&mut schedule, (1, 5), |_| 100_000);
        for at in (5_000_000..6_000_000_u64).step_by(UNIT as usize) {
            let due = Now(at + 3_000_000);
            arrive(&mut schedule, Now(due.0 - 100_000), at as i64, due);
        }
        assert_eq!((schedule.lag(Now(9_000_000)), schedule.underruns()), (3_000_000 + MARGIN, 0));
    }

    #[test]
    fn a_source_that_stood_still_and_catches_up_is_followed_back() {
        let mut schedule = Schedule::default();
        feed(&mut schedule, (1, 5), |_| 100_000);
        // Three seconds of media within half a second, then at its pace.
        for at in (5_000_000..10_000_000_u64).step_by(UNIT as usize) {
            let due = at.max(8_000_000 + (at - 5_000_000) / 6);
            arrive(&mut schedule, Now(due - 100_000), at as i64, Now(due));
        }
        assert_eq!((schedule.lag(Now(10_000_000)), schedule.underruns()), (MARGIN, 0));
    }

    #[test]
    fn what_comes_far_too_late_does_not_hold_up_the_rest() {
        let mut schedule = Schedule::default();
        feed(&mut schedule, (1, 5), |_| 100_000);
        feed(&mut schedule, (5, 6), |_| -2_500_000);
        assert_eq!((schedule.lag(Now(8_500_000)), schedule.underruns()), (MARGIN, 1));
    }

    #[test]
    fn a_joiner_is_level_as_soon_as_the_clock_is_known() {
        let mut schedule = Schedule::default();
        // The first unit seems due a second later than it is.
        arrive(&mut schedule, Now(1_000_000), 2_000_000, Now(2_000_000));
        arrive(&mut schedule, Now(1_010_000), 2_040_000, Now(1_040_000));
        assert_eq!(schedule.lag(Now(1_020_000)), MARGIN - 1_000_000);
    }
}
