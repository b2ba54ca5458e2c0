//! What a stream is made of: the catalogue and its tracks, and the access units that travel.

use std::time::Duration;

use bytes::Bytes;

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
    /// Other renditions of the same source, whose random-access points align by media time.
    pub renditions: Vec<Rendition>,
    /// The group that the stream is multicast to, where it is not one that [`MulticastGroup::derive`] makes of the
    /// name. Set by the node that publishes.
    pub multicast: Option<MulticastGroup>,
}

/// Another quality of the same source: a stream of its own, named by the programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// Identity of that stream.
    pub key: crate::ids::StreamKey,
    /// What people call it, such as `720p`; at most 32 bytes.
    pub label: String,
    /// Nominal rate in bits per second.
    pub bitrate: u32,
}

impl Catalogue {
    /// Default of [`Catalogue::expiry`]: twice the default playout delay.
    pub const EXPIRY: Duration = Duration::from_secs(2);

    /// Returns the track whose key units are the stream's random-access points: the first video, else the first.
    pub fn lead_track(&self) -> Option<&Track> {
        self.tracks.iter().find(|t| t.kind == TrackKind::Video).or(self.tracks.first())
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
