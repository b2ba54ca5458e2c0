//! Sound on its way to the loudspeaker: follows the schedule by its rate, and is the clock that pictures follow.

use std::collections::VecDeque;
use std::time::Duration;

use swarmcast_core::ids::Now;

use super::schedule::{SLEW_MAX, Schedule};
use super::stretch::{Stereo, Stretch};

/// Samples a second that the loudspeaker takes.
pub(crate) const RATE: u32 = 48_000;

/// Two runs of samples that are no further apart follow each other, in microseconds: containers round to 1 ms.
const JOIN: i64 = 5_000;
/// What comes later than this into silence is left out, in microseconds; less is caught up with by rate.
const RESYNC: i64 = 20_000;
/// Distance from the schedule that is jumped rather than caught up with, in microseconds: 12 s at 2 %.
const JUMP: i64 = 250_000;
/// Part of the distance from the schedule that is caught up with in a second, as a divisor: 40 ms take all of the 2 %.
const CATCH_UP: f64 = 2.0;
/// Parts by which the time of the device's callback, which jitters, moves the time that is believed.
const SMOOTHING: f64 = 16.0;
/// Parts by which it moves the pace that is believed, since the device has a clock of its own: critically damped with
/// the former, so that a device that is 1 % too fast puts nothing out of step.
const PACING: f64 = 4.0 * SMOOTHING * SMOOTHING;
/// Most that a device's pace can differ.
const PACE_MAX: f64 = 0.05;
/// Jitter of callbacks that is taken for a break, in microseconds.
const BREAK: i64 = 50_000;
/// A clock that was not wound for so long has stopped, in microseconds: five callbacks.
const STALE: i64 = 250_000;
/// How fast a break fades out: to a thousandth in 5 ms.
const FADE: f32 = 0.97;
/// Largest change of the volume between two samples, so that it does not click: 10 ms from nothing to all.
const GAIN_STEP: f32 = 1.0 / 480.0;

/// A run of samples.
#[derive(Debug)]
pub(crate) struct Block {
    /// Play time of the first.
    pub(crate) at: i64,
    pub(crate) frames: usize,
    /// Left and right by turns; none where nothing was decoded.
    pub(crate) samples: Vec<f32>,
}

/// The media time that is heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// On this host's clock.
    at: i64,
    play_time: i64,
    rate: f64,
    /// When what the device was given is over.
    until: i64,
}

/// What is to be heard, and how it is read.
#[derive(Debug)]
pub(crate) struct Sound {
    blocks: VecDeque<Block>,
    /// Samples of the first block that were read.
    read: usize,
    held: usize,
    stretch: Stretch,
    /// Whether the last sample was followed by the next.
    playing: bool,
    heard: Option<Heard>,
    /// When the next callback's first sample is heard.
    next_callback: Option<i64>,
    /// By what part a sample lasts longer than it should, by the device's clock.
    pace: f64,
    tail: Stereo,
    gain: f32,
    pub(crate) volume: f32,
    pub(crate) muted: bool,
}

impl Default for Sound {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
            read: 0,
            held: 0,
            stretch: Stretch::default(),
            playing: false,
            heard: None,
            next_callback: None,
            pace: 0.0,
            tail: [0.0; 2],
            gain: 1.0,
            volume: 1.0,
            muted: false,
        }
    }
}

impl Sound {
    /// Adds a run of samples.
    pub(crate) fn put(&mut self, block: Block) {
        self.held += block.frames;
        self.blocks.push_back(block);
    }

    /// Returns how much is decoded and not yet read.
    pub(crate) fn held(&self) -> Duration {
        Duration::from_micros(micros(self.held) as u64)
    }

    /// Returns the play time that is heard at a time; `None` while nothing is.
    pub(crate) fn play_time(&self, now: Now) -> Option<i64> {
        let now = now.0 as i64;
        let heard = self.heard.filter(|heard| now <= heard.until + STALE)?;
        Some(heard.play_time + ((now - heard.at) as f64 * heard.rate) as i64)
    }

    /// Fills a device's buffer of left and right samples by turns, the first of which is heard `latency` after `now`.
    pub(crate) fn fill(&mut self, schedule: &mut Schedule, now: Now, latency: Duration, out: &mut [f32]) {
        let frames = out.len() / 2;
        let start = self.callback_at(now.0 as i64 + latency.as_micros() as i64, frames);
        if !self.blocks.is_empty() {
            schedule.set_ahead(latency + Duration::from_micros(micros(frames) as u64));
        }
        let lag = schedule.lag(now);
        let mut heard = None;
        let mut done = 0;
        while done < frames {
            let at = start + self.lasting(done);
            let rest = &mut out[2 * done..2 * frames];
            let Some(next) = self.next_at() else {
                self.playing = false;
                self.fade(rest);
                break;
            };
            let early = next + lag - at;
            self.playing &= early.abs() <= JUMP;
            if !self.playing && early > 0 {
                let silent = frames_of(early).clamp(1, frames - done);
                self.fade(&mut rest[..2 * silent]);
                done += silent;
                continue;
            }
            if !self.playing && early < -RESYNC {
                self.discard(frames_of(-early));
                continue;
            }
            self.playing = true;
            let rate = rate(schedule.slew(), early);
            let until = start + self.lasting(frames);
            heard.get_or_insert(Heard { at, play_time: next, rate, until });
            done += self.play(rate * (1.0 + self.pace), rest);
        }
        self.heard = heard;
        self.amplify(&mut out[..2 * frames]);
    }

    /// Returns when the first sample of a callback is heard, with the jitter of callbacks taken out.
    fn callback_at(&mut self, measured: i64, frames: usize) -> i64 {
        let at = match self.next_callback.map(|expected| (expected, measured - expected)) {
            Some((expected, off)) if off.abs() <= BREAK => {
                let pace = self.pace + off as f64 / micros(frames).max(1) as f64 / PACING;
                self.pace = pace.clamp(-PACE_MAX, PACE_MAX);
                expected + (off as f64 / SMOOTHING) as i64
            }
            _ => measured,
        };
        self.next_callback = Some(at + self.lasting(frames));
        at
    }

    /// Returns how long the device takes for so many samples, in microseconds.
    fn lasting(&self, frames: usize) -> i64 {
        (micros(frames) as f64 * (1.0 + self.pace)) as i64
    }

    fn next_at(&self) -> Option<i64> {
        self.blocks.front().map(|block| block.at + micros(self.read))
    }

    /// Plays up to the end of the buffer, of what is held, or of what follows on; returns how many samples.
    fn play(&mut self, rate: f64, out: &mut [f32]) -> usize {
        let mut stretch = std::mem::take(&mut self.stretch);
        let (pairs, _) = out.as_chunks_mut::<2>();
        let mut played = 0;
        for pair in pairs {
            let Some(sample) = stretch.next(rate, || self.read_one()) else { break };
            *pair = sample;
            self.tail = sample;
            played += 1;
        }
        self.stretch = stretch;
        played
    }

    /// Reads a sample; `None` at the end of what follows on.
    fn read_one(&mut self) -> Option<Stereo> {
        let block = self.blocks.front().filter(|_| self.playing)?;
        let (pairs, _) = block.samples.as_chunks::<2>();
        let sample = pairs.get(self.read).copied().unwrap_or_default();
        self.advance(1);
        Some(sample)
    }

    fn discard(&mut self, frames: usize) {
        let mut rest = frames.max(1);
        while let Some(block) = self.blocks.front().filter(|_| rest > 0) {
            let step = rest.min(block.frames - self.read);
            rest -= step;
            self.advance(step);
        }
    }

    /// Moves within the first block, and to the next one.
    fn advance(&mut self, frames: usize) {
        self.read += frames;
        self.held -= frames;
        let Some(block) = self.blocks.front().filter(|block| self.read >= block.frames) else { return };
        let end = block.at + micros(block.frames);
        self.read = 0;
        self.blocks.pop_front();
        self.playing &= self.blocks.front().is_none_or(|next| (next.at - end).abs() <= JOIN);
    }

    fn fade(&mut self, out: &mut [f32]) {
        let (pairs, _) = out.as_chunks_mut::<2>();
        for pair in pairs {
            self.tail = self.tail.map(|sample| sample * FADE);
            *pair = self.tail;
        }
    }

    fn amplify(&mut self, out: &mut [f32]) {
        let wanted = if self.muted { 0.0 } else { self.volume };
        let (pairs, _) = out.as_chunks_mut::<2>();
        for pair in pairs {
            self.gain += (wanted - self.gain).clamp(-GAIN_STEP, GAIN_STEP);
            *pair = pair.map(|sample| (sample * self.gain).clamp(-1.0, 1.0));
        }
    }
}

/// Returns the rate at which sound is read that is `early` microseconds ahead of a schedule that moves by `slew`.
fn rate(slew: i64, early: i64) -> f64 {
    let most = SLEW_MAX as f64 / 1e6;
    let correction = slew as f64 / 1e6 + early as f64 / 1e6 / CATCH_UP;
    1.0 - correction.clamp(-most, most)
}

fn micros(frames: usize) -> i64 {
    frames as i64 * 1_000_000 / i64::from(RATE)
}

fn frames_of(micros: i64) -> usize {
    usize::try_from(micros * i64::from(RATE) / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(10);

    fn block(at: i64, frames: usize, value: f32) -> Block {
        Block { at, frames, samples: vec![value; 2 * frames] }
    }

    /// Calls back for 10 ms at that millisecond, and returns what is heard.
    fn call(sound: &mut Sound, schedule: &mut Schedule, millis: u64) -> Vec<f32> {
        let mut out = vec![9.0; 960];
        sound.fill(schedule, Now(millis * 1_000), LATENCY, &mut out);
        out
    }

    #[test]
    fn it_begins_at_its_time_and_is_the_clock() {
        let (mut sound, mut schedule) = (Sound::default(), Schedule::new(true));
        sound.put(block(1_025_000, 4_800, 0.5));
        // Heard from 1.010 to 1.020 s: nothing yet, and no clock.
        assert!(call(&mut sound, &mut schedule, 1_000).iter().all(|sample| *sample == 0.0));
        assert_eq!(sound.play_time(Now(1_000_000)), None);
        // From 1.020 s on: 5 ms of silence, then sound.
        let out = call(&mut sound, &mut schedule, 1_010);
        assert_eq!((out[2 * 200], out[2 * 300]), (0.0, 0.5));
        assert_eq!(sound.play_time(Now(1_030_000)), Some(1_030_000));
    }

    #[test]
    fn what_is_late_is_left_out_and_what_is_slightly_off_is_caught_up_with() {
        let (mut sound, mut schedule) = (Sound::default(), Schedule::new(true));
        sound.put(block(900_000, 48_000, 0.5));
        call(&mut sound, &mut schedule, 1_000);
        assert_eq!(sound.play_time(Now(1_010_000)), Some(1_010_000), "110 ms were left out");
        let mut sound = Sound::default();
        sound.put(block(1_000_000, 480_000, 0.5));
        let off = |sound: &Sound, at: u64| sound.play_time(Now(at)).map(|time| time - at as i64);
        call(&mut sound, &mut schedule, 1_000);
        assert_eq!(off(&sound, 1_010_000), Some(-10_000));
        for millis in (1_010..9_000).step_by(10) {
            call(&mut sound, &mut schedule, millis);
        }
        let rest = off(&sound, 9_000_000).unwrap();
        assert!((-3_000..=0).contains(&rest), "{rest}");
    }

    #[test]
    fn a_device_that_is_too_fast_is_followed_without_an_offset() {
        let (mut sound, mut schedule) = (Sound::default(), Schedule::new(true));
        sound.put(block(1_010_000, 48_000 * 25, 0.5));
        let mut out = [0.0; 960];
        // 10 ms of samples each 9.9 ms, by turns 2 ms early and late.
        for call in 0..2_000_u64 {
            let at = 1_000_000 + call * 9_900;
            let jitter = if call % 2 == 0 { 2_000 } else { 0 };
            sound.fill(&mut schedule, Now(at + jitter), LATENCY, &mut out);
        }
        let off = sound.play_time(Now(20_800_000)).map(|time| time - 20_800_000).unwrap();
        assert!((-2_000..=1_000).contains(&off), "{off}");
    }

    #[test]
    fn a_gap_is_silent_for_as_long_as_it_is() {
        let (mut sound, mut schedule) = (Sound::default(), Schedule::new(true));
        sound.put(block(1_010_000, 480, 0.5));
        sound.put(block(1_030_000, 480, 0.25));
        assert_eq!(call(&mut sound, &mut schedule, 1_000)[2 * 100], 0.5);
        let silent = call(&mut sound, &mut schedule, 1_010);
        assert!(silent[2 * 300].abs() < 1e-3, "{}", silent[2 * 300]);
        assert_eq!(call(&mut sound, &mut schedule, 1_020)[2 * 100], 0.25);
        call(&mut sound, &mut schedule, 1_030);
        assert_eq!(sound.play_time(Now(1_050_000)), None, "nothing is left");
    }

    #[test]
    fn the_rate_is_bounded() {
        assert_eq!(rate(0, 0), 1.0);
        assert_eq!((rate(0, 10_000_000), rate(SLEW_MAX, 500_000)), (0.98, 0.98));
        assert_eq!(rate(-SLEW_MAX, 0), 1.02);
    }

    #[test]
    fn muting_fades_out_within_10_ms() {
        let (mut sound, mut schedule) = (Sound { muted: true, ..Sound::default() }, Schedule::new(true));
        sound.put(block(1_010_000, 4_800, 0.5));
        let out = call(&mut sound, &mut schedule, 1_000);
        assert!(out[100] > 0.3, "{}", out[100]);
        assert_eq!(call(&mut sound, &mut schedule, 1_010)[100], 0.0);
        assert!(sound.play_time(Now(1_020_000)).is_some(), "a muted clock runs on");
    }
}
