//! The publisher's media time between two access units, for data that is stamped when it comes.

use parking_lot::Mutex;
use swarmcast_core::ids::{MediaTime, Now};

/// Follows the decoding times of the media that is sent, and runs on by the clock in between.
#[derive(Debug, Default)]
pub(crate) struct MediaClock {
    newest: Mutex<Option<(MediaTime, Now)>>,
}

impl MediaClock {
    /// Notes that an access unit of this decoding time is sent. Tracks are interleaved, so the time of the
    /// stream is that of the one furthest ahead.
    pub(crate) fn advance(&self, to: MediaTime, now: Now) {
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(time, _)| to > time) {
            *newest = Some((to, now));
        }
    }

    /// Returns the media time at `now`; `None` before the first access unit.
    pub(crate) fn at(&self, now: Now) -> Option<MediaTime> {
        let (time, when) = (*self.newest.lock())?;
        let since = i64::try_from(now.since(when).as_micros()).unwrap_or(i64::MAX);
        Some(MediaTime(time.0.saturating_add(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_on_between_access_units_and_never_back() {
        let clock = MediaClock::default();
        assert_eq!(clock.at(Now(5)), None);
        clock.advance(MediaTime(-80_000), Now(1_000));
        assert_eq!(clock.at(Now(1_500)), Some(MediaTime(-79_500)));
        clock.advance(MediaTime(-90_000), Now(1_600));
        assert_eq!(clock.at(Now(2_000)), Some(MediaTime(-79_000)));
        clock.advance(MediaTime(0), Now(3_000));
        assert_eq!(clock.at(Now(3_000)), Some(MediaTime(0)));
    }
}
