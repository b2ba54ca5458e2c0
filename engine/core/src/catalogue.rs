//! What a stream is made of: the catalogue and its tracks, and the access units that travel.

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::StreamKey;
use crate::multicast::MulticastGroup;

/// Number of a track within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u8);

/// Most tracks a stream may have.
pub const TRACKS_MAX: usize = 32;

/// What a track carries; decides its priority and what a gap in it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TrackKind {
    /// Moving pictures.
    Video = 0,
    /// Sound.
    Audio = 1,
    /// Timed application data, an opaque record an access unit.
    Data = 2,
    /// Timed text.
    Subtitle = 3,
}

/// Duration of one tick of a track's timestamps: `numerator / denominator` seconds, both above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBase {
    /// Seconds.
    pub numerator: u32,
    /// Parts.
    pub denominator: u32,
}

impl TimeBase {
    /// Microsecond ticks.
    pub const MICROS: Self = Self { numerator: 1, denominator: 1_000_000 };

    /// Converts ticks to microseconds, rounding down and saturating.
    pub fn to_micros(self, ticks: i64) -> i64 {
        let scaled = i128::from(ticks) * i128::from(self.numerator) * 1_000_000;
        let whole = scaled.div_euclid(i128::from(self.denominator.max(1)));
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }
}

/// A track as the catalogue describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its number in the stream.
    pub id: TrackId,
    /// What it carries.
    pub kind: TrackKind,
    /// Codec name as ffmpeg prints it (`h264`, `aac`, `opus`); `json` for data; at most 32 bytes.
    pub codec: String,
    /// Unit of the timestamps of its access units.
    pub time_base: TimeBase,
    /// Nominal rate in bits per second, 0 when unknown.
    pub bitrate: u32,
    /// Codec parameters in the media crate's own encoding, opaque to the core; at most 16 KiB.
    pub parameters: Bytes,
}

/// What a publisher tells of its stream before any media: signed, sealed, sent first to every joiner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// The stream's name, 1 to 128 bytes of UTF-8 without control characters.
    pub name: String,
    /// Age at which a sender drops a fragment that no subscriber's playout delay needs longer.
    pub expiry: Duration,
    /// The tracks in the order of their ids; 1 to [`TRACKS_MAX`].
    pub tracks: Vec<Track>,
    /// All renditions of the programme, this stream among them, when there are several: the first one bears the
    /// programme's name. Their random-access points have the same media times. At most [`RENDITIONS_MAX`].
    pub renditions: Vec<Rendition>,
    /// The group that the stream is multicast to, where it is not one that [`MulticastGroup::derive`] makes of the
    /// name. Set by the node that publishes.
    pub multicast: Option<MulticastGroup>,
}

/// Most renditions that a programme may have.
pub const RENDITIONS_MAX: usize = 16;

/// One quality of a programme: a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// Identity of the stream.
    pub key: StreamKey,
    /// Its name, as long as any stream's.
    pub name: String,
    /// Width of its pictures in pixels.
    pub width: u16,
    /// Height of its pictures in pixels.
    pub height: u16,
    /// Nominal rate of all its tracks in bits per second.
    pub bitrate: u32,
}

/// Which rendition of a programme is wanted. A stream that has only one is always the one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quality {
    /// The one of the highest rate at first; who plays goes over to others as the network allows.
    #[default]
    Auto,
    /// The one of the highest rate.
    Highest,
    /// The one of the lowest rate.
    Lowest,
    /// The largest that has no more pixels than this, else the smallest.
    Size {
        /// Pixels across.
        width: u16,
        /// Pixels down.
        height: u16,
    },
    /// By its place in the catalogue, from 0; the last one where there are fewer.
    Index(u8),
}

impl Quality {
    /// Returns the place of the rendition that is wanted; `None` where there is none.
    pub fn pick(self, renditions: &[Rendition]) -> Option<usize> {
        let places = || renditions.iter().enumerate();
        let rate = |(place, rendition): &(usize, &Rendition)| (rendition.bitrate, Reverse(*place));
        let pixels = |rendition: &Rendition| u32::from(rendition.width) * u32::from(rendition.height);
        let place = match self {
            Self::Auto | Self::Highest => places().max_by_key(rate),
            Self::Lowest => places().min_by_key(rate),
            Self::Size { width, height } => {
                let most = u32::from(width) * u32::from(height);
                let size = |(place, rendition): &(usize, &Rendition)| {
                    (pixels(rendition), rate(&(*place, *rendition)))
                };
                let fits = places().filter(|(_, rendition)| pixels(rendition) <= most).max_by_key(size);
                fits.or_else(|| places().min_by_key(size))
            }
            Self::Index(place) => places().take(usize::from(place) + 1).next_back(),
        };
        place.map(|(place, _)| place)
    }
}

impl Catalogue {
    /// Default of [`Catalogue::expiry`]: twice the default playout delay.
    pub const EXPIRY: Duration = Duration::from_secs(2);

    /// Returns the track whose key units are the stream's random-access points: the first video, else the first.
    pub fn lead_track(&self) -> Option<&Track> {
        self.tracks.iter().find(|t| t.kind == TrackKind::Video).or(self.tracks.first())
    }

    /// Returns the programme's name: the stream's own, unless it is a further rendition.
    pub fn programme(&self) -> &str {
        self.renditions.first().map_or(&self.name, |first| &first.name)
    }

    /// Returns the track with that number.
    pub fn track(&self, id: TrackId) -> Option<&Track> {
        self.tracks.iter().find(|t| t.id == id)
    }
}

/// One coded picture, run of samples or data record: the unit that is published and delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The track it belongs to.
    pub track: TrackId,
    /// Decoding time in ticks of the track's time base; does not fall within a track.
    pub dts: i64,
    /// Presentation time in ticks.
    pub pts: i64,
    /// Duration in ticks, 0 when unknown.
    pub duration: u32,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether no other access unit refers to this one (droppable B-frames).
    pub disposable: bool,
    /// The coded bytes; at most 16 MiB.
    pub payload: Bytes,
}

/// Most bytes an access unit may have: a 20 Mbit/s stream sends this in 6.7 s.
pub const ACCESS_UNIT_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn rendition(width: u16, height: u16, bitrate: u32) -> Rendition {
        Rendition { key: StreamKey([0; 32]), name: String::new(), width, height, bitrate }
    }

    #[test]
    fn a_quality_picks_one_rendition_wherever_there_is_any() {
        let ladder = [rendition(640, 360, 600), rendition(1280, 720, 2_000), rendition(320, 180, 200)];
        let size = |width, height| Quality::Size { width, height };
        let wanted = [
            (Quality::Auto, 1),
            (Quality::Highest, 1),
            (Quality::Lowest, 2),
            (size(1280, 720), 1),
            (size(1279, 720), 0),
            (size(16, 16), 2),
            (Quality::Index(0), 0),
            (Quality::Index(9), 2),
        ];
        for (quality, place) in wanted {
            assert_eq!(quality.pick(&ladder), Some(place), "{quality:?}");
            assert_eq!(quality.pick(&[]), None);
        }
        let equal = [rendition(64, 64, 5), rendition(64, 64, 5)];
        assert_eq!([Quality::Highest, size(64, 64)].map(|quality| quality.pick(&equal)), [Some(0); 2]);
    }
}
