//! No window: what would be shown and heard is taken at its time, and measured; the sound may go into a file.

use std::fs::File;
use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use swarmcast::Speaker;

use super::{Opened, Stage};

/// Time between two looks: half a picture at 25 a second.
const STEP: Duration = Duration::from_millis(20);
/// Samples of a step, left and right by turns.
const SAMPLES: usize = 2 * Speaker::RATE as usize / 50;
/// Behind which the sound begins anew, after the machine stood still.
const LATE_MAX: Duration = Duration::from_millis(200);

/// Takes what is due until the player is gone, or the file takes no more.
pub(super) fn run(stage: &Stage, opened: Opened) {
    // Nobody waits any more when the user stopped meanwhile.
    let _ = opened.send(Ok(None));
    let mut samples = [0.0; SAMPLES];
    let mut sounds_at = swarmcast::now();
    while stage.goes_on() {
        let now = swarmcast::now();
        if sounds_at <= now {
            if let Some(speaker) = &stage.speaker {
                speaker.fill(sounds_at, Duration::ZERO, &mut samples);
            }
            let late = now.since(sounds_at);
            // Whole steps are silent, so that the time in the file is that outside.
            let lost = if late > LATE_MAX { late.as_micros() / STEP.as_micros() } else { 0 };
            let written = stage.sound.as_ref().map(|file| write(file, &samples, lost));
            if let Some(Err(_)) = written {
                // As from a player whose window was closed.
                stage.exited.leave();
            }
            sounds_at = sounds_at.after(STEP * (1 + lost as u32));
        }
        stage.screen.next(now);
        let now = swarmcast::now();
        let rest = stage.screen.due_in(now).unwrap_or(STEP).min(sounds_at.since(now));
        sleep(rest.clamp(Duration::from_millis(1), STEP));
    }
}

/// Writes the samples of a step, and so many silent steps behind it.
fn write(mut file: &File, samples: &[f32; SAMPLES], silent: u128) -> io::Result<()> {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    file.write_all(&bytes)?;
    (0..silent).try_for_each(|_| file.write_all(&[0; SAMPLES * size_of::<f32>()]))
}
