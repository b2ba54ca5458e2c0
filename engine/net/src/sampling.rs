//! When paths are sampled, and how late the driver was for it.

use std::time::Duration;

use swarmcast_core::ids::Now;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock;

/// Time between two samples of a path that sends.
const EVERY: Duration = Duration::from_millis(50);

/// Time to the next look while none does: each is a wake-up, and a standstill is noticed no sooner.
const AT_REST: Duration = Duration::from_millis(125);

/// Time between two samples of a path that rests; a look that comes a little early is the one meant.
const ALL_EVERY: Duration = Duration::from_millis(250 - 10);

/// The timer of samples.
pub(crate) struct Sampling {
    timer: Interval,
    all_at: Option<Now>,
}

impl Sampling {
    /// Makes a timer whose first look is at once.
    pub(crate) fn new() -> Self {
        let mut timer = interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { timer, all_at: None }
    }

    /// Waits for the next look; returns by how much it is late. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Duration {
        clock::lateness(self.timer.tick().await)
    }

    /// Plans the next look by whether any path sent since the last one; returns whether all are due now.
    pub(crate) fn plan(&mut self, sent: bool) -> bool {
        if !sent {
            self.timer.reset_after(AT_REST);
        }
        let now = clock::now();
        let all = self.all_at.is_none_or(|at| now.since(at) >= ALL_EVERY);
        if all {
            self.all_at = Some(now);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_sends_nothing_is_looked_at_half_as_often_and_sampled_as_often() {
        const SPAN: Duration = Duration::from_millis(1_010);
        let mut looks = Vec::new();
        for sent in [true, false] {
            let (mut sampling, began) = (Sampling::new(), clock::now());
            let (mut all, mut count) = (0, 0);
            while clock::now().since(began) < SPAN {
                sampling.next().await;
                all += u32::from(sampling.plan(sent));
                count += 1;
            }
            // Fewer on a machine that is busy.
            assert!((2..=5).contains(&all), "{all}");
            looks.push(count);
        }
        assert!(looks[0] <= 22 && looks[1] <= 10, "{looks:?}");
    }
}
