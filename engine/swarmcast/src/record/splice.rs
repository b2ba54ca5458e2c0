//! One timeline for the runs of a publisher and the foreign sources between them: each starts its timestamps anew, a
//! file must not.

use std::collections::BTreeMap;

use swarmcast_core::catalogue::{AccessUnit, TimeBase, Track, TrackId};
use swarmcast_core::ids::Now;

use crate::event::Delivery;

/// Shifts each run behind the one before. The first run keeps the timestamps that were sent.
#[derive(Debug, Default)]
pub(super) struct Splice {
    /// Microseconds added to the timestamps of this run.
    shift: i64,
    /// Whether the next access unit is the first of a run that follows another.
    joining: bool,
    /// The newest access unit written: when it was due, and its place in the file in microseconds.
    newest: Option<(Now, i64)>,
    /// Where each track ends in the file: the decoding time of its newest access unit, in its own ticks.
    ends: BTreeMap<TrackId, i64>,
}

impl Splice {
    /// Says that a new run begins.
    pub(super) fn join(&mut self) {
        self.joining = self.newest.is_some();
    }

    /// Returns the access unit with its place in the file; `None` when the track is already further than that,
    /// or is none of the file's.
    pub(super) fn place(&mut self, delivery: &Delivery, tracks: &[Track]) -> Option<AccessUnit> {
        let mut unit = delivery.unit.clone();
        let time_base = tracks.iter().find(|track| track.id == unit.track)?.time_base;
        let sent = time_base.to_micros(unit.dts);
        if std::mem::take(&mut self.joining)
            && let Some((due, place)) = self.newest
        {
            let pause = i64::try_from(delivery.due.since(due).as_micros()).unwrap_or(i64::MAX);
            self.shift = place.saturating_add(pause).saturating_sub(sent);
        }
        if self.shift != 0 {
            let ticks = to_ticks(time_base, self.shift);
            unit.dts = unit.dts.saturating_add(ticks);
            unit.pts = unit.pts.saturating_add(ticks);
            if self.ends.get(&unit.track).is_some_and(|end| unit.dts <= *end) {
                return None;
            }
        }
        self.ends.insert(unit.track, unit.dts);
        self.newest = Some((delivery.due, sent.saturating_add(self.shift)));
        Some(unit)
    }
}

/// Converts microseconds to whole ticks, rounded down.
fn to_ticks(time_base: TimeBase, micros: i64) -> i64 {
    let scaled = i128::from(micros) * i128::from(time_base.denominator);
    let whole = scaled.div_euclid(i128::from(time_base.numerator.max(1)) * 1_000_000);
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use swarmcast_core::catalogue::TrackKind;

    use super::*;

    fn tracks() -> Vec<Track> {
        let track = |id, kind, denominator| Track {
            id: TrackId(id),
            kind,
            codec: String::new(),
            time_base: TimeBase { numerator: 1, denominator },
            bitrate: 0,
            parameters: Bytes::new(),
        };
        vec![track(0, TrackKind::Video, 1_000), track(1, TrackKind::Audio, 48_000)]
    }

    fn unit(track: u8, dts: i64, due_ms: u64) -> Delivery {
        let unit = AccessUnit {
            track: TrackId(track),
            dts,
            pts: dts + 2,
            duration: 0,
            key: true,
            disposable: false,
            payload: Bytes::new(),
        };
        Delivery { unit, due: Now(due_ms * 1_000), closed: None }
    }

    #[test]
    fn the_first_run_is_left_alone() {
        let mut splice = Splice::default();
        splice.join();
        let sent = unit(0, -80, 500);
        assert_eq!(splice.place(&sent, &tracks()), Some(sent.unit));
        assert_eq!(splice.place(&unit(9, 0, 500), &tracks()), None);
    }

    #[test]
    fn a_later_run_follows_after_the_real_pause() {
        let mut splice = Splice::default();
        splice.place(&unit(0, 4_000, 10_000), &tracks());
        splice.join();
        let video = splice.place(&unit(0, 0, 13_000), &tracks()).unwrap();
        assert_eq!((video.dts, video.pts), (7_000, 7_002));
        let audio = splice.place(&unit(1, 480, 13_010), &tracks()).unwrap();
        assert_eq!(audio.dts, 7_010 * 48);
    }

    #[test]
    fn no_track_goes_back_in_time() {
        let mut splice = Splice::default();
        splice.place(&unit(1, 48_000, 9_990), &tracks());
        splice.place(&unit(0, 900, 10_000), &tracks());
        splice.join();
        // Due in the same instant, so that the new run would begin within the old one.
        assert_eq!(splice.place(&unit(0, 0, 10_000), &tracks()), None);
        assert_eq!(splice.place(&unit(0, 40, 10_040), &tracks()).unwrap().dts, 940);
        assert_eq!(splice.place(&unit(1, 0, 10_001), &tracks()), None);
        assert_eq!(splice.place(&unit(1, 9_600, 10_200), &tracks()).unwrap().dts, 1_100 * 48);
    }
}
