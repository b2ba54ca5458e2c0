//! The clock of a sound device held to that of the host, which stamps its packets and the pictures.

use crate::play::stretch::Stretch;

/// Samples by which the count of samples may be off the timestamps before it jumps: 60 ms at 48 kHz, above the jitter
/// of devices, below what is seen as bad lip sync.
const JUMP: i64 = 2_880;
/// Samples of difference that are left alone, 1 ms: rounding, and clocks that agree.
const ROUNDING: f64 = 48.0;
/// Samples over which the difference is averaged, 2 s: packets come in time to within some milliseconds alone.
const AVERAGED: f64 = 96_000.0;
/// Samples over which the average is made good, 10 s: a clock that is off by 500 ppm is followed at a distance of 5 ms.
const MADE_GOOD: f64 = 480_000.0;
/// Most that the rate is changed by, a thirtieth of a semitone: nobody hears it, and no crystal is off by as much.
const RATE_MAX: f64 = 0.002;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It follows the one before.
    Follows,
    /// Samples were lost before it: it is later.
    Later,
    /// The device made too many samples: as many of them go as it has.
    Surplus,
}

/// Follows the difference between the two clocks.
pub(crate) struct Drift {
    stretch: Stretch,
    average: f64,
}

impl Drift {
    /// Samples by which what is given lies behind what was taken.
    pub(crate) const LATENCY: i64 = 8;

    pub(crate) fn new() -> Self {
        let mut stretch = Stretch::default();
        // The first sample needs no input; from here on, each does.
        let _ = stretch.next(1.0, || None);
        Self { stretch, average: 0.0 }
    }

    /// Takes note of a packet of so many samples, stamped so much later than by the count of those before.
    pub(crate) fn note(&mut self, later: i64, samples: usize) -> Fit {
        if later.abs() > JUMP {
            self.average = 0.0;
            return if later > 0 { Fit::Later } else { Fit::Surplus };
        }
        let weight = (samples as f64 / AVERAGED).min(1.0);
        self.average += (later as f64 - self.average) * weight;
        Fit::Follows
    }

    /// Returns how many samples of the device make one that is given.
    fn rate(&self) -> f64 {
        if self.average.abs() < ROUNDING {
            return 1.0;
        }
        1.0 - (self.average / MADE_GOOD).clamp(-RATE_MAX, RATE_MAX)
    }

    /// Appends interleaved samples, of one or two channels, at the rate that brings the clocks together.
    pub(crate) fn append(&mut self, samples: &[f32], channels: usize, to: &mut Vec<f32>) {
        let (mut frames, rate) = (samples.chunks_exact(channels.max(1)), self.rate());
        let mut next = || frames.next().map(|frame| [frame[0], frame[channels - 1]]);
        while let Some(given) = self.stretch.next(rate, &mut next) {
            to.extend_from_slice(&given[..channels.min(2)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a device whose clock is off by so many parts of a million, with packets of 20 ms whose stamps jitter;
    /// returns how far, in samples, its sound is off the stamps at worst behind a minute.
    fn worst(ppm: f64, minutes: u32) -> f64 {
        let (mut drift, mut out) = (Drift::new(), Vec::new());
        let (mut count, mut worst) = (0.0_f64, 0.0_f64);
        for packet in 0..minutes * 3_000 {
            let stamped = f64::from(packet) * 960.0 * (1.0 + ppm / 1e6);
            // 5 ms to and fro.
            let jitter = f64::from(packet * 7_919 % 481) - 240.0;
            let later = stamped + jitter - count;
            assert_eq!(drift.note(later.round() as i64, 960), Fit::Follows);
            out.clear();
            drift.append(&[0.25; 960 * 2], 2, &mut out);
            if packet > 3_000 {
                worst = worst.max((stamped - count).abs());
            }
            count += (out.len() / 2) as f64;
        }
        worst
    }

    #[test]
    fn a_clock_that_is_off_by_500_ppm_is_followed_within_8_ms() {
        for ppm in [500.0, -500.0] {
            let off = worst(ppm, 10) / 48.0;
            assert!(off < 8.0, "{off} ms at {ppm} ppm; uncorrected it would be 300 ms");
        }
        assert!(worst(0.0, 2) < 48.0 * 2.0);
    }

    #[test]
    fn clocks_that_agree_leave_the_sound_as_it_is() {
        let (mut drift, mut out) = (Drift::new(), Vec::new());
        let samples: Vec<f32> = (0..960).map(|at| (at as f32 / 10.0).sin()).collect();
        drift.note(40, 960);
        drift.append(&samples, 1, &mut out);
        let latency = Drift::LATENCY as usize;
        assert_eq!(out.len(), 960);
        let error = |(out, given): (&f32, &f32)| (out - given).abs();
        assert!(out[latency..].iter().zip(&samples).map(error).fold(0.0, f32::max) < 1e-6);
    }

    #[test]
    fn what_was_lost_or_made_up_jumps() {
        let mut drift = Drift::new();
        assert_eq!(drift.note(2_881, 960), Fit::Later);
        assert_eq!(drift.note(-2_881, 960), Fit::Surplus);
        assert_eq!(drift.note(2_880, 960), Fit::Follows);
    }
}
