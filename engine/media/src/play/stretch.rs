//! Sound at a slightly other rate: band-limited interpolation between samples.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Samples on which each output sample rests: 70 dB of what is below 16 kHz at 48 kHz.
const TAPS: usize = 16;
/// Positions between two samples that are told apart; the nearest is 0.1 % of a sample away.
const PHASES: usize = 512;

/// A left and a right sample.
pub(crate) type Stereo = [f32; 2];

/// Filters by phase: a sinc under a Blackman window, scaled so that a constant stays one.
static FILTERS: LazyLock<Vec<[f32; TAPS]>> = LazyLock::new(|| (0..PHASES).map(filter).collect());

fn filter(phase: usize) -> [f32; TAPS] {
    let shift = phase as f64 / PHASES as f64;
    let taps: [f64; TAPS] = std::array::from_fn(|tap| {
        let x = tap as f64 - (TAPS / 2 - 1) as f64 - shift;
        let sinc = if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) };
        let at = 2.0 * PI * (x / TAPS as f64 + 0.5);
        sinc * (0.42 - 0.5 * at.cos() + 0.08 * (2.0 * at).cos())
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

/// Reads samples at a rate near 1; what it gives is 8 samples behind what it took.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    window: [Stereo; TAPS],
    position: f64,
}

impl Default for Stretch {
    fn default() -> Self {
        Self { window: [[0.0; 2]; TAPS], position: 0.0 }
    }
}

impl Stretch {
    /// Returns the sample that lies `rate` input samples behind the last one; `None` when the input has run out.
    pub(crate) fn next(&mut self, rate: f64, mut input: impl FnMut() -> Option<Stereo>) -> Option<Stereo> {
        while self.position >= 1.0 {
            let sample = input()?;
            self.window.copy_within(1.., 0);
            self.window[TAPS - 1] = sample;
            self.position -= 1.0;
        }
        let filter = &FILTERS[((self.position * PHASES as f64) as usize).min(PHASES - 1)];
        let mut sum = [0.0; 2];
        for (tap, sample) in filter.iter().zip(&self.window) {
            sum[0] += tap * sample[0];
            sum[1] += tap * sample[1];
        }
        self.position += rate;
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(at: f64) -> Stereo {
        let value = (2.0 * PI * 1_000.0 * at / 48_000.0).sin() as f32;
        [value, -value]
    }

    #[test]
    fn the_own_rate_changes_nothing() {
        let (mut stretch, mut read) = (Stretch::default(), 0.0);
        for at in 0..1_000_i32 {
            let out = stretch.next(1.0, || {
                read += 1.0;
                Some(tone(read - 1.0))
            });
            let expected = if at < 8 { None } else { Some(tone(f64::from(at - 8) - 1.0)) };
            if let (Some(out), Some(expected)) = (out, expected.filter(|_| at > 16)) {
                assert!((out[0] - expected[0]).abs() < 1e-4, "{at}: {out:?} {expected:?}");
            }
        }
    }

    #[test]
    fn two_percent_faster_is_the_same_tone_two_percent_higher() {
        let (mut stretch, mut read) = (Stretch::default(), 0.0);
        let mut worst = 0.0_f32;
        let mut place = -9.0;
        for at in 0..48_000 {
            let out = stretch.next(1.02, || {
                read += 1.0;
                Some(tone(read - 1.0))
            });
            if at > 32 {
                worst = worst.max((out.unwrap()[0] - tone(place)[0]).abs());
            }
            place += 1.02;
        }
        assert!(worst < 2e-3, "{worst}");
    }

    #[test]
    fn it_stops_where_the_input_does_and_goes_on_there() {
        let mut stretch = Stretch::default();
        assert!(stretch.next(1.0, || None).is_some(), "nothing is read before the second sample");
        assert_eq!(stretch.next(1.0, || None), None);
        assert!(stretch.next(1.0, || Some([0.5; 2])).is_some());
    }
}
