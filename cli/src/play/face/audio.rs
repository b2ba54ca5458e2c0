//! The sound device.

use std::thread::sleep;
use std::time::Duration;

use sdl2::Sdl;
use sdl2::audio::{AudioCallback, AudioDevice, AudioSpecDesired};
use swarmcast::Speaker;

use super::{Opened, Stage};
use crate::failure::{Exit, Failure};

/// Samples of one callback, 21 ms: a busy machine keeps up, and the schedule allows for them.
const SAMPLES: u16 = 1024;
/// How often a thread that only holds the device looks whether the player is gone.
const LOOK: Duration = Duration::from_millis(100);

/// Fills the device's buffers, on a thread of SDL's.
pub(super) struct Filler {
    speaker: Speaker,
    latency: Duration,
}

impl AudioCallback for Filler {
    type Channel = f32;

    fn callback(&mut self, out: &mut [f32]) {
        self.speaker.fill(swarmcast::now(), self.latency, out);
    }
}

/// Starts the sound; dropping the device ends it. Says in one line why there is none.
pub(super) fn open(sdl: &Sdl, speaker: &Speaker) -> Result<AudioDevice<Filler>, String> {
    let wanted = AudioSpecDesired {
        freq: i32::try_from(Speaker::RATE).ok(),
        channels: Some(2),
        samples: Some(SAMPLES),
    };
    let opened = sdl.audio().and_then(|audio| {
        // One buffer is played while the next is filled.
        let latency = |samples: u16| Duration::from_secs(1) * u32::from(samples) / Speaker::RATE;
        audio.open_playback(None, &wanted, |got| Filler {
            speaker: speaker.clone(),
            latency: latency(got.samples),
        })
    });
    match opened {
        Ok(device) => {
            device.resume();
            Ok(device)
        }
        Err(cause) => {
            speaker.close();
            Err(format!("no sound, since no device can be opened: {cause}"))
        }
    }
}

/// Plays the sound alone until the player is gone.
pub(super) fn run(stage: &Stage, opened: Opened) {
    let Some(speaker) = &stage.speaker else { return };
    let device = sdl2::init().and_then(|sdl| open(&sdl, speaker));
    let failed =
        |cause: String| Failure::new(Exit::Media, "no-sound", format!("{cause}; play with --headless"));
    // Nobody waits any more when the user stopped meanwhile.
    let _ = opened.send(device.as_ref().map(|_| None).map_err(|cause| failed(cause.clone())));
    while device.is_ok() && stage.goes_on() {
        sleep(LOOK);
    }
}
