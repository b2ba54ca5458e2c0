//! The publisher's clock as seen from here.

use std::time::Duration;

use crate::ids::{Now, micros};

/// Time over which the smallest transit is kept: at 100 ppm the clocks part by 1 ms meanwhile.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);
/// How far two clocks may part, in parts of a million: twice what cheap crystals do.
const DRIFT_PPM: i64 = 100;

/// Longest transit that is believed of the fastest arrival, as long as no nonce of the own was answered.
const TRANSIT_MAX: i64 = 1_000_000;

/// The publisher's clock as seen from here, by two measures.
///
/// Close times arrive with their transit time on top, and the smallest of the last 10 to 20 s is taken for the offset:
/// late by the shortest transit, which is nothing to who plays alone. Who plays in step with others asks neighbours for
/// the publisher's time and halves the round trip, as NTP does. What neighbours say is believed within what the
/// publisher has signed: nothing arrives before it was sent, nor is a nonce answered before it was drawn.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublisherClock {
    current: Option<i64>,
    before: Option<i64>,
    since: Now,
    /// The least that the offset can be, as of then.
    floor: Option<(i64, Now)>,
    told: Option<Told>,
    in_step: bool,
}

/// What an exchange with a neighbour gave.
#[derive(Clone, Copy, Debug)]
struct Told {
    offset: i64,
    /// How far off that may have been, in microseconds.
    error: i64,
    at: Now,
}

impl Told {
    fn error(&self, now: Now) -> i64 {
        self.error.saturating_add(drift(now.since(self.at)))
    }
}

impl PublisherClock {
    /// Takes the arrival of something that the publisher closed at `closed`.
    pub(crate) fn handle_arrival(&mut self, now: Now, closed: Duration) {
        let offset = offset(now, closed);
        if now.since(self.since) > CLOCK_PERIOD {
            self.before = self.current.take();
            self.since = now;
        }
        self.current = Some(self.current.map_or(offset, |current| current.min(offset)));
    }

    /// Takes the publisher's answer, signed at `at`, to a nonce that was drawn at `drawn`.
    pub(crate) fn handle_answer(&mut self, now: Now, drawn: Now, at: Duration) {
        self.floor = Some((offset(drawn, at), now));
    }

    /// Takes a neighbour's word that it was `at` for the publisher, give or take `error`, between the question and now.
    pub(crate) fn handle_told(&mut self, now: Now, asked: Now, at: Duration, error: Duration) {
        let half = micros(now.since(asked)) as i64 / 2;
        let error = half.saturating_add(i64::try_from(error.as_micros()).unwrap_or(i64::MAX));
        if self.told.is_some_and(|told| told.error(now) < error) {
            return;
        }
        let answered = self.floor.map(|(floor, since)| floor.saturating_sub(drift(now.since(since))));
        let least = answered.or(self.latest().map(|latest| latest.saturating_sub(TRANSIT_MAX)));
        let offset = offset(now, at).saturating_sub(half).max(least.unwrap_or(i64::MIN));
        self.told = Some(Told { offset, error, at: now });
    }

    /// Follows from now on what neighbours say, so that all who do play the same instant.
    pub(crate) fn keep_step(&mut self) {
        self.in_step = true;
    }

    /// Returns whether it follows what neighbours say.
    pub(crate) fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Returns a time of the publisher on this node's clock; `None` before the first arrival.
    pub(crate) fn local(&self, closed: Duration) -> Option<Now> {
        let offset = match self.told.filter(|_| self.in_step) {
            Some(told) => self.latest().map_or(told.offset, |latest| told.offset.min(latest)),
            None => self.latest()?,
        };
        Some(Now(offset.saturating_add(micros(closed) as i64).max(0) as u64))
    }

    /// Returns the publisher's time now, and how far off that may be; `None` before a neighbour has told it.
    pub(crate) fn publisher_time(&self, now: Now) -> Option<(Duration, Duration)> {
        let told = self.told?;
        let offset = self.latest().map_or(told.offset, |latest| told.offset.min(latest));
        let at = u64::try_from((now.0 as i64).saturating_sub(offset)).ok()?;
        let error = u64::try_from(told.error(now)).ok()?;
        Some((Duration::from_micros(at), Duration::from_micros(error)))
    }

    /// Returns the offset that the arrivals leave possible at most.
    fn latest(&self) -> Option<i64> {
        match (self.current, self.before) {
            (Some(current), Some(before)) => Some(current.min(before)),
            (one, other) => one.or(other),
        }
    }
}

fn offset(now: Now, at: Duration) -> i64 {
    (now.0 as i64).saturating_sub(micros(at) as i64)
}

fn drift(age: Duration) -> i64 {
    i64::try_from(age.as_micros()).unwrap_or(i64::MAX) / 1_000_000 * DRIFT_PPM
        + i64::from(age.subsec_micros()) * DRIFT_PPM / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A clock that is 7 s ahead of the publisher's, with 30 ms of transit.
    fn clock() -> PublisherClock {
        let mut clock = PublisherClock::default();
        clock.handle_arrival(Now(8_030_000), MS * 1_000);
        clock
    }

    #[test]
    fn arrivals_are_late_by_their_transit_and_exchanges_are_not() {
        let mut clock = clock();
        assert_eq!(clock.local(MS * 2_000), Some(Now(9_030_000)));
        // Asked at 9 s, 30 ms each way.
        clock.handle_told(Now(9_060_000), Now(9_000_000), MS * 2_030, Duration::ZERO);
        assert_eq!(clock.local(MS * 2_000), Some(Now(9_030_000)), "nobody wants it");
        clock.keep_step();
        assert_eq!(clock.local(MS * 2_000), Some(Now(9_000_000)));
        assert_eq!(clock.publisher_time(Now(9_100_000)), Some((MS * 2_100, Duration::from_micros(30_004))));
    }

    #[test]
    fn the_exchange_with_the_least_error_counts_until_it_is_old() {
        let mut clock = clock();
        clock.keep_step();
        clock.handle_told(Now(9_010_000), Now(9_000_000), MS * 2_005, Duration::ZERO);
        clock.handle_told(Now(9_060_000), Now(9_020_000), MS * 2_050, Duration::ZERO);
        assert_eq!(clock.local(MS * 2_000), Some(Now(9_000_000)));
        // After 200 s the clocks may have parted by 20 ms.
        clock.handle_told(Now(209_000_000), Now(208_960_000), MS * 201_990, Duration::ZERO);
        assert_eq!(clock.local(MS * 2_000), Some(Now(8_990_000)));
    }

    #[test]
    fn a_liar_is_believed_within_what_the_publisher_signed() {
        let mut clock = clock();
        clock.keep_step();
        clock.handle_answer(Now(8_040_000), Now(7_990_000), MS * 1_000);
        clock.handle_told(Now(9_000_000), Now(9_000_000), MS * 5_000, Duration::ZERO);
        let earliest = clock.local(MS * 2_000).map_or(0, |at| at.0);
        assert!((8_989_000..=8_990_000).contains(&earliest), "{earliest}");
        clock.handle_told(Now(9_000_000), Now(9_000_000), Duration::ZERO, Duration::ZERO);
        assert_eq!(clock.local(MS * 2_000), Some(Now(9_030_000)));
    }

    #[test]
    fn a_liar_is_bounded_before_the_publisher_has_answered() {
        let mut clock = clock();
        clock.keep_step();
        clock.handle_told(Now(9_000_000), Now(9_000_000), MS * 500_000, Duration::ZERO);
        assert_eq!(clock.local(MS * 2_000), Some(Now(8_030_000)), "1 s before the arrival allows");
    }
}
