//! Pictures on their way to the screen: each at its time, and what is late not at all.

use std::collections::VecDeque;
use std::time::Duration;

use ffmpeg_next::frame;
use swarmcast_core::ids::Now;

/// A picture that is shown later than this is late, in microseconds: what an eye notices against the sound.
const LATE: i64 = 40_000;
/// What is later than this is not shown, in microseconds, unless nothing was for [`PATIENCE`].
const TOO_LATE: i64 = 200_000;
/// Longest time in which nothing is shown while there are pictures.
const PATIENCE: Duration = Duration::from_millis(500);
/// Half of the time over which the longest standing picture is told.
const STOOD_PERIOD: Duration = Duration::from_secs(5);
/// Pictures over which the offset between picture and sound is taken together: two seconds.
const OFFSETS_MAX: usize = 50;

/// One decoded picture, or the place of one that was not to be decoded.
#[derive(Clone)]
pub struct Picture {
    /// Play time.
    pub(crate) at: i64,
    pub(crate) image: Option<Image>,
}

/// What is to be seen: 8 bits, 4:2:0.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) frame: frame::Video,
    /// Width over height of one pixel.
    pub(crate) pixel: (u32, u32),
}

/// One plane of a picture, 8 bits a sample.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// Row after row.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl Picture {
    /// Returns width and height in pixels, both even; `None` when it was not to be decoded.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.image.as_ref().map(|image| (image.frame.width() & !1, image.frame.height() & !1))
    }

    /// Returns luma, blue and red differences, the latter two of half the width and height; `None` when it was not to
    /// be decoded.
    pub fn planes(&self) -> Option<[Plane<'_>; 3]> {
        let (frame, (_, height)) = (&self.image.as_ref()?.frame, self.size()?);
        let plane = |plane: usize, rows: u32| {
            let stride = frame.stride(plane);
            Some(Plane { bytes: frame.data(plane).get(..stride * rows as usize)?, stride })
        };
        Some([plane(0, height)?, plane(1, height / 2)?, plane(2, height / 2)?])
    }

    /// Returns width over height as it is meant to be seen; 0 when it was not to be decoded.
    pub fn aspect(&self) -> f64 {
        let Some(image) = &self.image else { return 0.0 };
        let pixel = match image.pixel {
            (0, _) | (_, 0) => 1.0,
            (width, height) => f64::from(width) / f64::from(height),
        };
        f64::from(image.frame.width()) * pixel / f64::from(image.frame.height().max(1))
    }
}

/// The longest times that a picture stood, in the running period and in the one before.
#[derive(Clone, Copy, Debug, Default)]
struct Stood {
    longest: [Duration; 2],
    since: Now,
}

impl Stood {
    fn put(&mut self, now: Now, stood: Duration) {
        if now.since(self.since) > STOOD_PERIOD {
            self.longest = [Duration::ZERO, self.longest[0]];
            self.since = now;
        }
        self.longest[0] = self.longest[0].max(stood);
    }
}

/// Pictures that wait, and what became of those before.
#[derive(Default)]
pub(crate) struct Pictures {
    queue: VecDeque<Picture>,
    pub(crate) shown: u64,
    pub(crate) dropped: u64,
    pub(crate) late: u64,
    /// Pictures that were shown behind one of the same or a later time.
    pub(crate) repeated: u64,
    shown_at: Option<Now>,
    stood: Stood,
    /// How much later than the sound each of the last pictures was shown, in microseconds.
    offsets: VecDeque<i64>,
    /// The one of all that was furthest from 0.
    worst_offset: Option<i64>,
    /// Play time of the last picture shown, and when that was.
    pub(crate) last: Option<(i64, Now)>,
}

impl Pictures {
    /// Adds a picture.
    pub(crate) fn put(&mut self, picture: Picture) {
        self.queue.push_back(picture);
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns how long it is until the next is to be shown, at that play time.
    pub(crate) fn due_in(&self, play_time: i64) -> Option<Duration> {
        self.queue.front().map(|picture| Duration::from_micros((picture.at - play_time).max(0) as u64))
    }

    /// Takes the newest picture whose time has come, and drops those before it. `sound` is what is heard now.
    pub(crate) fn next(&mut self, now: Now, play_time: i64, sound: Option<i64>) -> Option<Picture> {
        let due = self.queue.iter().take_while(|picture| picture.at <= play_time).count();
        for picture in self.queue.drain(..due.saturating_sub(1)) {
            self.dropped += 1;
            self.late += u64::from(play_time - picture.at > LATE);
        }
        let picture = if due > 0 { self.queue.pop_front() } else { None }?;
        let behind = play_time - picture.at;
        self.late += u64::from(behind > LATE);
        let starving = self.shown_at.is_none_or(|at| now.since(at) >= PATIENCE);
        if behind > TOO_LATE && !starving {
            self.dropped += 1;
            return None;
        }
        self.shown += 1;
        self.repeated += u64::from(self.last.is_some_and(|(last, _)| picture.at <= last));
        self.stood.put(now, self.shown_at.map_or(Duration::ZERO, |before| now.since(before)));
        self.shown_at = Some(now);
        self.last = Some((picture.at, now));
        if let Some(sound) = sound.filter(|_| behind <= TOO_LATE) {
            self.note_offset(sound - picture.at);
        }
        Some(picture)
    }

    /// Returns the mean of the last offsets, and the worst of all, in microseconds.
    pub(crate) fn offsets(&self) -> Option<(i64, i64)> {
        let mean = self.offsets.iter().sum::<i64>() / i64::try_from(self.offsets.len()).ok()?.max(1);
        Some((mean, self.worst_offset?))
    }

    /// Returns the longest time that a picture stood until the next one, of the last 5 to 10 s.
    pub(crate) fn stood(&self) -> Duration {
        self.stood.longest.into_iter().max().unwrap_or_default()
    }

    fn note_offset(&mut self, offset: i64) {
        if self.offsets.len() == OFFSETS_MAX {
            self.offsets.pop_front();
        }
        self.offsets.push_back(offset);
        self.worst_offset = match self.worst_offset {
            Some(worst) if worst.abs() >= offset.abs() => Some(worst),
            _ => Some(offset),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(times: &[i64]) -> Pictures {
        let mut pictures = Pictures::default();
        times.iter().for_each(|&at| pictures.put(Picture { at, image: None }));
        pictures
    }

    #[test]
    fn each_is_shown_at_its_time_and_once() {
        let mut pictures = pictures(&[100_000, 140_000]);
        let mut next = |at: i64| pictures.next(Now(at as u64), at, Some(at)).map(|picture| picture.at);
        assert_eq!([99_999, 100_000, 100_001].map(&mut next), [None, Some(100_000), None]);
        assert_eq!([139_000, 145_000, 200_000].map(&mut next), [None, Some(140_000), None]);
        assert_eq!((pictures.shown, pictures.dropped, pictures.late), (2, 0, 0));
        assert_eq!(pictures.offsets(), Some((2_500, 5_000)));
        assert_eq!((pictures.stood(), pictures.repeated), (Duration::from_millis(45), 0));
    }

    #[test]
    fn a_picture_that_stood_is_told_for_a_while_and_one_from_before_is_counted() {
        let mut pictures = Pictures::default();
        let mut show = |at: i64, now: u64| {
            pictures.put(Picture { at, image: None });
            pictures.next(Now(now), at, None);
            (pictures.stood().as_millis(), pictures.repeated)
        };
        assert_eq!([show(0, 0), show(40_000, 300_000), show(80_000, 340_000)], [(0, 0), (300, 0), (300, 0)]);
        assert_eq!([show(80_000, 5_300_000), show(90_000, 5_400_000)], [(4960, 1), (4960, 1)]);
        assert_eq!([show(95_000, 10_400_000), show(96_000, 15_500_000)], [(5000, 1), (5100, 1)]);
    }

    #[test]
    fn late_ones_are_dropped_and_not_queued() {
        let mut pictures = pictures(&[100_000, 140_000, 180_000, 220_000]);
        let shown = pictures.next(Now(190_000), 190_000, None).map(|picture| picture.at);
        assert_eq!((shown, pictures.dropped, pictures.late), (Some(180_000), 2, 2));
        assert_eq!(pictures.due_in(190_000), Some(Duration::from_millis(30)));
        assert!(pictures.next(Now(500_000), 500_000, None).is_none(), "280 ms late");
        assert_eq!((pictures.shown, pictures.dropped, pictures.late), (1, 3, 3));
        assert_eq!((pictures.due_in(0), pictures.offsets()), (None, None));
    }

    #[test]
    fn a_slow_machine_still_shows_something() {
        let mut pictures = pictures(&[0]);
        assert!(pictures.next(Now(900_000), 900_000, None).is_some());
        pictures.put(Picture { at: 40_000, image: None });
        assert!(pictures.next(Now(1_400_000), 1_400_000, None).is_some());
        assert_eq!((pictures.shown, pictures.late), (2, 2));
    }
}
