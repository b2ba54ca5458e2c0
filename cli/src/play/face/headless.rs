//! No window: what would be shown and heard is taken at its time, and measured.

use std::thread::sleep;
use std::time::Duration;

use swarmcast::Speaker;

use super::{Opened, Stage};

/// Time between two looks: half a picture at 25 a second.
const STEP: Duration = Duration::from_millis(20);
/// Samples of a step, left and right by turns.
const SAMPLES: usize = 2 * Speaker::RATE as usize / 50;

/// Takes what is due until the player is gone.
pub(super) fn run(stage: &Stage, opened: Opened) {
    // Nobody waits any more when the user stopped meanwhile.
    let _ = opened.send(Ok(None));
    let mut samples = [0.0; SAMPLES];
    while !stage.screen.is_closed() {
        let now = swarmcast::now();
        if let Some(speaker) = &stage.speaker {
            speaker.fill(now, Duration::ZERO, &mut samples);
        }
        stage.screen.next(now);
        let rest = stage.screen.due_in(swarmcast::now()).unwrap_or(STEP);
        sleep(rest.clamp(Duration::from_millis(1), STEP));
    }
}
