//! How much comes, or goes, in a second.

use crate::ids::Now;

/// Bytes a second over the last whole seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateMeter {
    since: Now,
    bytes: u64,
    rate: f64,
}

impl RateMeter {
    pub(crate) fn new(now: Now) -> Self {
        Self { since: now, bytes: 0, rate: 0.0 }
    }

    pub(crate) fn add(&mut self, now: Now, bytes: usize) {
        self.bytes += bytes as u64;
        let seconds = now.since(self.since).as_secs_f64();
        if seconds >= 1.0 {
            let latest = self.bytes as f64 / seconds;
            self.rate = if self.rate == 0.0 { latest } else { self.rate * 0.7 + latest * 0.3 };
            self.since = now;
            self.bytes = 0;
        }
    }

    /// Returns bytes a second, `None` in the first second.
    pub(crate) fn latest(&self) -> Option<f64> {
        (self.rate > 0.0).then_some(self.rate)
    }

    /// Returns bytes a second; in the first second, what has come of it.
    pub(crate) fn rate(&self) -> f64 {
        if self.rate == 0.0 { self.bytes as f64 } else { self.rate }
    }
}
