//! How much parity a block gets: as little as mends the loss that viewers report, none where nothing is lost.

use std::time::Duration;

use crate::ids::Now;
use crate::wire::SHARDS_MAX;

/// Share of fragments lost up to which pulls are cheaper than parity: a shard for each block of 40 would cost 2.5 % to
/// save 0.1 %.
const LOSS_MIN: f64 = 0.001;
/// Shards that a block must lose on average before parity is cheaper than pulls: one that loses a shard in 33 times
/// would carry 33 parity shards for it, and the 40 % that blocks of two or three cost would go to nobody's use.
const LOST_MIN: f64 = 0.03;
/// Share from which a block gets all it may, whatever its size.
const LOSS_MAX: f64 = 0.5;
/// Share of blocks that parity may leave incomplete: one every 20 s at 50 blocks a second, which pulls mend; where they
/// come too late, one in half an hour.
const FAILURES_MAX: f64 = 1e-3;
const FAILURES_MAX_HURRIED: f64 = 1e-5;
/// Time in which the share that is reckoned with halves once reports are clean: bursts come in trains.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// The loss that parity is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParityRate {
    loss: f64,
    at: Now,
    hurried: bool,
    data_max: u8,
}

impl ParityRate {
    pub(crate) fn new(now: Now) -> Self {
        Self { loss: 0.0, at: now, hurried: false, data_max: SHARDS_MAX as u8 }
    }

    /// Takes the share of fragments, 0 to 1, that viewers lose on the path before repair, and whether pulls come too
    /// late for them. The share is followed upwards at once and downwards by halves.
    pub(crate) fn handle_loss(&mut self, now: Now, loss: f64, hurried: bool) {
        self.hurried = hurried;
        let halves = now.since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.at = now;
        // A share that is no number counts as none.
        self.loss = (self.loss * 0.5_f64.powf(halves)).max(loss).clamp(0.0, LOSS_MAX);
        let fits = |data: &u8| data + self.wanted(*data) <= SHARDS_MAX as u8;
        self.data_max = (1..=SHARDS_MAX as u8).rev().find(fits).unwrap_or(1);
    }

    /// Returns the parity shards of a block of `data` shards: as many as leave at most a thousandth of such blocks
    /// incomplete at this loss, or a hundred-thousandth where pulls come too late, if it strikes at random, but at most
    /// a quarter and two, and 62 shards in all.
    pub(crate) fn shards(&self, data: u8) -> u8 {
        self.wanted(data).min((SHARDS_MAX as u8).saturating_sub(data))
    }

    /// Returns the data shards up to which a block has room for its parity: 48 to 62.
    pub(crate) fn data_max(&self) -> u8 {
        self.data_max
    }

    /// Returns whether so much is lost of what is pushed to viewers for whom pulls come too late.
    pub(crate) fn is_hurried_beyond(&self, loss: f64) -> bool {
        self.hurried && self.loss > loss
    }

    fn wanted(&self, data: u8) -> u8 {
        let pulls = !self.hurried && f64::from(data) * self.loss < LOST_MIN;
        if data < 2 || self.loss <= LOSS_MIN || pulls {
            return 0;
        }
        let left = if self.hurried { FAILURES_MAX_HURRIED } else { FAILURES_MAX };
        let most = data / 4 + 2;
        (0..most).find(|parity| failures(data, *parity, self.loss) <= left).unwrap_or(most)
    }
}

/// Returns the share of blocks of which more than `parity` shards are lost: one less the sum of the binomial
/// distribution up to there. `loss` is below 1.
fn failures(data: u8, parity: u8, loss: f64) -> f64 {
    let shards = f64::from(data) + f64::from(parity);
    let mut lost = (1.0 - loss).powi(i32::from(data) + i32::from(parity));
    let mut mended = lost;
    for count in 0..parity {
        lost *= (shards - f64::from(count)) / (f64::from(count) + 1.0) * loss / (1.0 - loss);
        mended += lost;
    }
    1.0 - mended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(loss: f64) -> ParityRate {
        let mut rate = ParityRate::new(Now(0));
        rate.handle_loss(Now(0), loss, false);
        rate
    }

    fn after(mut rate: ParityRate, seconds: u64, loss: f64) -> ParityRate {
        rate.handle_loss(rate.at.after(Duration::from_secs(seconds)), loss, false);
        rate
    }

    #[test]
    fn parity_follows_the_binomial_distribution_up_to_a_quarter_and_two() {
        let sizes = [0, 1, 2, 4, 8, 16, 24, 32, 40, 48, 55, 61, 62, 255];
        for (loss, expected) in [
            (0.001, [0; 14]),
            (0.0011, [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 1, 0, 0]),
            (0.005, [0, 0, 0, 0, 1, 2, 2, 2, 3, 3, 3, 1, 0, 0]),
            (0.01, [0, 0, 0, 1, 2, 2, 3, 3, 3, 4, 4, 1, 0, 0]),
            (0.02, [0, 0, 2, 2, 2, 3, 4, 4, 5, 5, 6, 1, 0, 0]),
            (0.05, [0, 0, 2, 3, 4, 5, 6, 7, 8, 9, 7, 1, 0, 0]),
            (0.1, [0, 0, 2, 3, 4, 6, 8, 10, 12, 14, 7, 1, 0, 0]),
            (0.5, [0, 0, 2, 3, 4, 6, 8, 10, 12, 14, 7, 1, 0, 0]),
        ] {
            assert_eq!(sizes.map(|data| at(loss).shards(data)), expected, "{loss}");
        }
    }

    #[test]
    fn a_thousandth_of_blocks_is_left_at_most() {
        for (data, loss) in [(8, 0.01), (40, 0.01), (40, 0.05), (16, 0.05), (32, 0.07)] {
            let parity = at(loss).shards(data);
            assert!(failures(data, parity, loss) <= 1e-3, "{data}+{parity} at {loss}");
            assert!(failures(data, parity - 1, loss) > 1e-3, "{data}+{parity} at {loss}");
        }
        assert!((failures(2, 0, 0.1) - 0.19).abs() < 1e-12);
        assert!((failures(2, 1, 0.1) - 0.028).abs() < 1e-12);
    }

    #[test]
    fn where_pulls_come_too_late_a_hundred_thousandth_is_left() {
        let mut rate = at(0.01);
        rate.handle_loss(Now(0), 0.01, true);
        assert_eq!([1, 2, 3, 8, 40].map(|data| rate.shards(data)), [0, 2, 2, 3, 5]);
        assert!([8, 40].iter().all(|data| failures(*data, rate.shards(*data), 0.01) <= 1e-5));
        assert_eq!(rate.shards(rate.data_max()), rate.wanted(rate.data_max()));
    }

    #[test]
    fn blocks_leave_room_for_their_parity() {
        for (loss, data_max) in [(0.0, 62), (0.0011, 60), (0.01, 58), (0.05, 53), (0.1, 48), (0.5, 48)] {
            let rate = at(loss);
            assert_eq!(rate.data_max(), data_max, "{loss}");
            assert_eq!(rate.shards(data_max), rate.wanted(data_max));
        }
        assert_eq!(ParityRate::new(Now(0)).data_max(), 62);
    }

    #[test]
    fn it_rises_at_once_and_falls_by_halves() {
        let bad = after(at(0.0), 1, 0.08);
        assert_eq!(bad.loss, 0.08);
        assert_eq!(after(bad, 1, 0.08).loss, 0.08);
        assert_eq!(after(bad, 5, 0.0).loss, 0.04);
        let gradual = (0..5).fold(bad, |rate, _| after(rate, 1, 0.0));
        assert!((gradual.loss - 0.04).abs() < 1e-12, "{gradual:?}");
        assert_eq!(after(bad, 5, 0.05).loss, 0.05);
        assert_eq!(after(gradual, 1, 0.2).loss, 0.2);
        // From 8 % to nothing: six halvings and a third.
        assert_eq!([31, 32].map(|seconds| after(bad, seconds, 0.0).shards(40)), [1, 0]);
    }

    #[test]
    fn shares_that_cannot_be_are_taken_as_what_they_are_near() {
        for (loss, taken) in [(f64::NAN, 0.0), (-1.0, 0.0), (7.0, 0.5), (f64::INFINITY, 0.5)] {
            assert_eq!(at(loss).loss, taken);
        }
    }
}
