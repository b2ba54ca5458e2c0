//! What a publisher sends: access units with the sizes and times of real media, and payloads that name themselves.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};

/// Sizes of intra, predicted and disposable pictures against each other, as low-latency H.264 has them.
const WEIGHTS: [u64; 3] = [60, 18, 8];

/// Pictures of a video track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoModel {
    /// Mean rate.
    pub bits_per_second: u32,
    /// Picture rate; divides 90,000.
    pub pictures_per_second: u32,
    /// Time from one random-access point to the next.
    pub gop: Duration,
    /// Disposable pictures between two references.
    pub b_pictures: u8,
}

/// Units of an audio track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioModel {
    /// Mean rate.
    pub bits_per_second: u32,
    /// Samples a second.
    pub sample_rate: u32,
    /// Samples in a unit.
    pub samples_per_unit: u32,
}

impl AudioModel {
    /// AAC: 1,024 samples at 48 kHz, 21.3 ms a unit.
    pub const AAC: Self = Self { bits_per_second: 128_000, sample_rate: 48_000, samples_per_unit: 1_024 };
    /// Opus: 20 ms a unit.
    pub const OPUS: Self = Self { bits_per_second: 64_000, sample_rate: 48_000, samples_per_unit: 960 };
}

/// Records of a data track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataModel {
    /// Time between two records, whole milliseconds.
    pub every: Duration,
    /// Size of a record, at least 9 bytes.
    pub bytes: u32,
}

/// A stream's tracks. Video comes first, so its key pictures are the random-access points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The stream's name.
    pub name: String,
    /// Pictures, if any.
    pub video: Option<VideoModel>,
    /// Sound, if any.
    pub audio: Option<AudioModel>,
    /// Timed data, if any.
    pub data: Option<DataModel>,
}

impl Workload {
    /// Returns a stream named `live` with 25 pictures a second, 1 s GOPs with B-pictures, and AAC sound.
    pub fn television(bits_per_second: u32) -> Self {
        let video_bits = bits_per_second.saturating_sub(AudioModel::AAC.bits_per_second);
        let gop = Duration::from_secs(1);
        Self {
            name: "live".to_owned(),
            video: Some(VideoModel {
                bits_per_second: video_bits,
                pictures_per_second: 25,
                gop,
                b_pictures: 2,
            }),
            audio: Some(AudioModel::AAC),
            data: None,
        }
    }

    /// Returns the nominal rate of all tracks.
    pub fn bits_per_second(&self) -> u64 {
        self.tracks().iter().map(|track| u64::from(track.bitrate)).sum()
    }

    /// Returns the catalogue of such a stream.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue {
            name: self.name.clone(),
            expiry: Catalogue::EXPIRY,
            tracks: self.tracks(),
            renditions: Vec::new(),
            multicast: None,
        }
    }

    fn tracks(&self) -> Vec<Track> {
        let mut tracks = Vec::new();
        let mut add = |kind, codec: &str, denominator, bitrate| {
            tracks.push(Track {
                id: TrackId(u8::try_from(tracks.len()).unwrap_or(u8::MAX)),
                kind,
                codec: codec.to_owned(),
                time_base: TimeBase { numerator: 1, denominator },
                bitrate,
                parameters: Bytes::from_static(b"codec parameters"),
            });
        };
        if let Some(video) = self.video {
            add(TrackKind::Video, "h264", 90_000, video.bits_per_second);
        }
        if let Some(audio) = self.audio {
            add(TrackKind::Audio, "aac", audio.sample_rate, audio.bits_per_second);
        }
        if let Some(data) = self.data {
            let a_second = Duration::from_secs(1).as_micros() / data.every.as_micros().max(1);
            let bitrate = u32::try_from(u128::from(data.bytes) * 8 * a_second).unwrap_or(u32::MAX);
            add(TrackKind::Data, "json", 1_000, bitrate);
        }
        tracks
    }
}

/// A [`Workload`] at work: yields access units in the order of their times.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    workload: Workload,
    tracks: Vec<Track>,
    salt: u64,
    next: Vec<u64>,
}

impl Source {
    /// Makes a source; equal salts give equal payloads.
    pub(crate) fn new(workload: Workload, salt: u64) -> Self {
        let tracks = workload.tracks();
        Self { salt, next: vec![0; tracks.len()], tracks, workload }
    }

    /// Returns the media time of the next unit, counted from the stream's beginning.
    pub(crate) fn next_at(&self) -> Duration {
        self.tracks.iter().map(|track| self.time_of(track)).min().unwrap_or(Duration::MAX)
    }

    /// Makes the next unit.
    pub(crate) fn draw(&mut self) -> Option<AccessUnit> {
        let track = self.tracks.iter().min_by_key(|track| self.time_of(track))?.clone();
        let index = self.next[track.id.0 as usize];
        self.next[track.id.0 as usize] += 1;
        let shape = self.shape(&track, index);
        Some(AccessUnit {
            track: track.id,
            dts: ticks(index, shape.duration),
            pts: ticks(index + shape.delay, shape.duration),
            duration: shape.duration,
            key: shape.key,
            disposable: shape.disposable,
            payload: payload(self.salt, track.id, index, shape.bytes),
        })
    }

    fn time_of(&self, track: &Track) -> Duration {
        let index = self.next[track.id.0 as usize];
        let dts = ticks(index, self.shape(track, index).duration);
        Duration::from_micros(u64::try_from(track.time_base.to_micros(dts)).unwrap_or(0))
    }

    fn shape(&self, track: &Track, index: u64) -> Shape {
        let plain = Shape { key: true, disposable: false, delay: 0, duration: 1, bytes: 9 };
        match track.kind {
            TrackKind::Video => self.workload.video.map_or(plain, |video| picture(&video, self.salt, index)),
            TrackKind::Audio => self.workload.audio.map_or(plain, |audio| {
                let bits = u64::from(audio.bits_per_second) * u64::from(audio.samples_per_unit);
                let bytes = varied(bits / u64::from(audio.sample_rate) / 8, self.salt ^ 1, index);
                Shape { duration: audio.samples_per_unit, bytes, ..plain }
            }),
            _ => self.workload.data.map_or(plain, |data| Shape {
                duration: u32::try_from(data.every.as_millis()).unwrap_or(u32::MAX),
                bytes: data.bytes as usize,
                ..plain
            }),
        }
    }
}

/// All that varies from one unit of a track to the next; `delay` is pts - dts in units.
#[derive(Clone, Copy, Debug)]
struct Shape {
    key: bool,
    disposable: bool,
    delay: u64,
    duration: u32,
    bytes: usize,
}

/// Shapes a picture by its place in the GOP, in coding order: I, then runs of one P and its B-pictures.
fn picture(video: &VideoModel, salt: u64, index: u64) -> Shape {
    let rate = u64::from(video.pictures_per_second.max(1));
    let gop =
        u64::try_from(video.gop.as_millis()).unwrap_or(u64::MAX).saturating_mul(rate).div_ceil(1_000).max(1);
    let (b, place) = (u64::from(video.b_pictures), index % gop);
    let in_run = place.checked_sub(1).map(|behind_key| behind_key % (b + 1));
    let runs = (gop - 1).div_ceil(b + 1);
    let weight_sum = WEIGHTS[0] + runs * WEIGHTS[1] + (gop - 1 - runs) * WEIGHTS[2];
    let gop_bytes = u64::from(video.bits_per_second) * gop / rate / 8;
    let reordering = u64::from(b > 0);
    let (weight, delay) = match in_run {
        None => (WEIGHTS[0], reordering),
        Some(0) => (WEIGHTS[1], b.min(gop - 1 - place) + reordering),
        Some(_) => (WEIGHTS[2], 0),
    };
    Shape {
        key: in_run.is_none(),
        disposable: weight == WEIGHTS[2],
        delay,
        duration: 90_000 / video.pictures_per_second.max(1),
        bytes: varied(gop_bytes * weight / weight_sum, salt, index),
    }
}

/// Varies a size by up to a fifth either way, the same way for the same unit.
fn varied(bytes: u64, salt: u64, index: u64) -> usize {
    let permille = 800 + mix(salt ^ index.rotate_left(17)) % 401;
    usize::try_from(bytes * permille / 1_000).unwrap_or(usize::MAX).max(9)
}

fn ticks(index: u64, duration: u32) -> i64 {
    i64::try_from(index.saturating_mul(u64::from(duration))).unwrap_or(i64::MAX)
}

/// Makes a payload that begins with its own number and track, and goes on with noise of both.
pub(crate) fn payload(salt: u64, track: TrackId, index: u64, bytes: usize) -> Bytes {
    let mut content = Vec::with_capacity(bytes + 8);
    content.extend_from_slice(&index.to_le_bytes());
    content.push(track.0);
    let mut state = salt ^ mix(index) ^ u64::from(track.0);
    while content.len() < bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        content.extend_from_slice(&mix(state).to_le_bytes());
    }
    content.truncate(bytes.max(9));
    content.into()
}

/// Returns the number that a payload gives itself.
pub(crate) fn index_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|head| u64::from_le_bytes(*head))
}

/// Returns a hash over all of it, sixteen bytes in each multiplication.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (blocks, rest) = bytes.as_chunks::<16>();
    let mut last = [0; 16];
    last[..rest.len()].copy_from_slice(rest);
    let absorb = |state: u64, block: &[u8; 16]| {
        let word = u128::from_le_bytes(*block);
        let (low, high) = (word as u64 ^ state, (word >> 64) as u64 ^ ODD.rotate_left(32));
        let product = u128::from(low | 1) * u128::from(high | 1);
        (product as u64 ^ (product >> 64) as u64).wrapping_add(low ^ high.rotate_left(29))
    };
    let (pairs, odd) = blocks.as_chunks::<2>();
    let (mut even_state, mut odd_state) = (ODD, mix(bytes.len() as u64));
    for [first, second] in pairs {
        (even_state, odd_state) = (absorb(even_state, first), absorb(odd_state, second));
    }
    let state = odd.iter().chain([&last]).fold(even_state ^ mix(odd_state), absorb);
    mix(state)
}

/// Finalizer of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn units(workload: Workload, until: Duration) -> Vec<AccessUnit> {
        let mut source = Source::new(workload, 3);
        let mut units = Vec::new();
        while source.next_at() < until {
            units.extend(source.draw());
        }
        units
    }

    #[test]
    fn units_come_in_time_order_at_the_stated_rate() {
        let workload = Workload {
            data: Some(DataModel { every: Duration::from_millis(100), bytes: 64 }),
            ..Workload::television(8_000_000)
        };
        let bits = workload.bits_per_second();
        let units = units(workload, Duration::from_secs(10));
        let bytes: usize = units.iter().map(|unit| unit.payload.len()).sum();
        let measured = bytes as u64 * 8 / 10;
        assert!(measured.abs_diff(bits) < bits / 20, "{measured} for {bits} bit/s");
        let of = |track: u8| units.iter().filter(move |unit| unit.track.0 == track);
        assert_eq!((of(0).count(), of(2).count()), (250, 100));
        assert_eq!(of(0).filter(|unit| unit.key).count(), 10);
    }

    #[test]
    fn pictures_are_shown_once_each_and_never_before_they_are_decoded() {
        let units = units(Workload::television(1_000_000), Duration::from_secs(3));
        let pictures: Vec<_> = units.iter().filter(|unit| unit.track.0 == 0).collect();
        assert!(pictures.iter().all(|unit| unit.pts >= unit.dts));
        let shown: BTreeSet<i64> = pictures.iter().map(|unit| unit.pts).collect();
        assert_eq!(shown.len(), pictures.len());
    }

    #[test]
    fn payloads_name_themselves_and_differ() {
        let one = payload(1, TrackId(0), 77, 1_000);
        assert_eq!((one.len(), index_of(&one)), (1_000, Some(77)));
        assert_ne!(one, payload(2, TrackId(0), 77, 1_000));
        assert_ne!(one[9..], payload(1, TrackId(1), 77, 1_000)[9..]);
    }
}
