//! No window: what would be shown and heard is taken at its time, and measured.

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

/// Takes what is due until the player is gone.
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
            sounds_at = if now.since(sounds_at) > LATE_MAX { now } else { sounds_at.after(STEP) };
        }
        stage.screen.next(now);
        let now = swarmcast::now();
        let rest = stage.screen.due_in(now).unwrap_or(STEP).min(sounds_at.since(now));
        sleep(rest.clamp(Duration::from_millis(1), STEP));
    }
}
