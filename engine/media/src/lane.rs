//! The way of one track's packets: through untouched, or through an encoder.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use ffmpeg_next::format::context::Input as Context;
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::packet::side_data::Type as SideData;
use ffmpeg_next::{Packet, Rational, Stream, media};
use swarmcast_core::catalogue::{ACCESS_UNIT_BYTES_MAX, AccessUnit, TimeBase, Track, TrackId, TrackKind};

use crate::capture::{AudioEncoder, Encoded, Encoding, VideoEncoder};
use crate::demux::Opening;
use crate::error::{FfmpegError, SourceError};
use crate::ffi;
use crate::input::Input;
use crate::nal::Disposability;
use crate::parameters::{CodecParameters, Medium, ParametersError};
use crate::source::RenditionConfig;
use crate::timeline::{Order, Stamp, Timeline};

/// One track of an input, and the tracks that are made of it: one, or one for each rendition.
pub(crate) struct Lane {
    /// Number of the first that is made.
    first: TrackId,
    /// Time base of the packets, which differs from the tracks' when they are encoded.
    pub(crate) time_base: TimeBase,
    /// One for each that is made.
    pub(crate) timelines: Vec<Timeline>,
    work: Work,
    /// Microseconds added to the newest packet's timestamps.
    shift: i64,
}

enum Work {
    Pass { judge: Option<Disposability>, extradata: Vec<u8> },
    EncodeVideo(Box<VideoEncoder>),
    EncodeAudio(Box<AudioEncoder>),
}

/// What can go wrong with one packet.
#[derive(Debug)]
pub(crate) enum LaneError {
    Changed,
    Oversize(usize),
    NoEncoder(String),
    Codec(ffmpeg_next::Error),
    Sound(opus::Error),
}

impl From<ffmpeg_next::Error> for LaneError {
    fn from(cause: ffmpeg_next::Error) -> Self {
        Self::Codec(cause)
    }
}

impl From<opus::Error> for LaneError {
    fn from(cause: opus::Error) -> Self {
        Self::Sound(cause)
    }
}

impl LaneError {
    /// Adds which input it was.
    pub(crate) fn told(self, opening: &Opening) -> SourceError {
        let input = opening.text.clone();
        match self {
            Self::Changed => SourceError::Changed { input },
            Self::Oversize(bytes) => SourceError::Oversize { input, bytes, max: ACCESS_UNIT_BYTES_MAX },
            Self::NoEncoder(encoder) => SourceError::NoEncoder { encoder },
            Self::Codec(cause) => SourceError::Encode { input, cause: FfmpegError::new(cause) },
            Self::Sound(cause) => SourceError::EncodeSound { input, cause: cause.description().to_owned() },
        }
    }
}

impl Lane {
    /// Returns ffmpeg's name of what encodes its pictures.
    pub(crate) fn encoder(&self) -> Option<&str> {
        match &self.work {
            Work::EncodeVideo(encoder) => Some(encoder.name()),
            _ => None,
        }
    }

    /// Turns a packet into access units; a device's timestamps are shifted to count from the origin.
    pub(crate) fn take(
        &mut self,
        packet: &Packet,
        captured: Instant,
        shift_micros: i64,
        ready: &mut VecDeque<AccessUnit>,
    ) -> Result<(), LaneError> {
        self.shift = shift_micros;
        let stamp = packet.pts().or(packet.dts());
        let stamp_micros = stamp.map(|stamp| self.time_base.to_micros(stamp).saturating_add(shift_micros));
        let encoded = match &mut self.work {
            Work::Pass { judge, extradata } => {
                pass(packet, *judge, extradata, ticks(self.time_base, shift_micros))?.into_iter().collect()
            }
            Work::EncodeVideo(encoder) => encoder.encode(packet, shift_micros, captured)?,
            Work::EncodeAudio(encoder) => encoder.encode(packet, stamp_micros, captured)?,
        };
        encoded.into_iter().for_each(|encoded| self.emit(encoded, ready));
        Ok(())
    }

    /// Takes out of an encoder what it still holds.
    pub(crate) fn flush(&mut self, ready: &mut VecDeque<AccessUnit>) -> Result<(), LaneError> {
        let encoded = match &mut self.work {
            Work::Pass { .. } => return Ok(()),
            Work::EncodeVideo(encoder) => encoder.flush(self.shift)?,
            Work::EncodeAudio(encoder) => encoder.flush()?,
        };
        encoded.into_iter().for_each(|encoded| self.emit(encoded, ready));
        Ok(())
    }

    fn emit(&mut self, encoded: Encoded, ready: &mut VecDeque<AccessUnit>) {
        let Encoded { place, dts, pts, duration, key, disposable, payload } = encoded;
        let Some(timeline) = self.timelines.get_mut(place) else { return };
        let Stamp { dts, pts, duration } = timeline.stamp(dts, pts, duration);
        let track = TrackId(self.first.0.saturating_add(place as u8));
        ready.push_back(AccessUnit { track, dts, pts, duration, key, disposable, payload });
    }
}

/// Takes a packet as it is; none when there is nothing in it.
fn pass(
    packet: &Packet,
    judge: Option<Disposability>,
    extradata: &[u8],
    shift: i64,
) -> Result<Option<Encoded>, LaneError> {
    let changed = |data: &[u8]| data != extradata;
    if packet.side_data().any(|side| side.kind() == SideData::NewExtraData && changed(side.data())) {
        return Err(LaneError::Changed);
    }
    let payload = packet.data().unwrap_or_default();
    if payload.len() > ACCESS_UNIT_BYTES_MAX {
        return Err(LaneError::Oversize(payload.len()));
    }
    let shifted = |stamp: Option<i64>| stamp.map(|stamp| stamp.saturating_add(shift));
    Ok((!payload.is_empty()).then(|| Encoded {
        place: 0,
        dts: shifted(packet.dts()),
        pts: shifted(packet.pts()),
        duration: packet.duration(),
        key: packet.is_key(),
        disposable: ffi::is_disposable(packet) || judge.is_some_and(|judge| judge.is_disposable(payload)),
        payload: Bytes::copy_from_slice(payload),
    }))
}

/// The tracks of an opened input, and how its packets become theirs.
pub(crate) struct Layout {
    /// Numbered from `Opening::first_track`.
    pub(crate) tracks: Vec<Track>,
    /// By stream index; none for streams that are left out.
    pub(crate) lanes: Vec<Option<Lane>>,
    /// The tracks that have the same pictures, one for each rendition.
    pub(crate) renditions: Vec<TrackId>,
}

/// Finds the tracks of an opened input and how their packets go.
pub(crate) fn lay_out(context: &Context, opening: &Opening) -> Result<Layout, SourceError> {
    let (mut tracks, mut lanes, mut renditions) = (Vec::new(), Vec::new(), Vec::new());
    for stream in context.streams() {
        let kind = match stream.parameters().medium() {
            _ if stream.disposition().contains(Disposition::ATTACHED_PIC) => None,
            media::Type::Video => Some(TrackKind::Video),
            media::Type::Audio => Some(TrackKind::Audio),
            media::Type::Subtitle => Some(TrackKind::Subtitle),
            media::Type::Data | media::Type::Attachment | media::Type::Unknown => None,
        };
        let Some(kind) = kind else {
            lanes.push(None);
            continue;
        };
        // Beyond the limit of a stream the caller refuses them all; the number only must not wrap.
        let id = TrackId(u8::try_from(opening.first_track + tracks.len()).unwrap_or(u8::MAX));
        let wanted = &opening.encoding.renditions[..];
        let wanted = if kind == TrackKind::Video && renditions.is_empty() { wanted } else { &[] };
        let (made, lane) = lane(&stream, (id, kind), wanted, opening)?;
        if !wanted.is_empty() {
            renditions.extend(made.iter().map(|track| track.id));
        }
        tracks.extend(made);
        lanes.push(Some(lane));
    }
    if tracks.is_empty() {
        return Err(SourceError::NoTracks { input: opening.text.clone() });
    }
    let encoded = lanes.iter().flatten().any(|lane| !matches!(lane.work, Work::Pass { .. }));
    let known: i64 = tracks.iter().map(|track| i64::from(track.bitrate)).sum();
    let rest = context.bit_rate().saturating_sub(known);
    // Many containers tell the rate of the whole alone: what no track accounts for is the first unknown one's.
    // What is encoded here was not in it.
    let unknown = tracks.iter_mut().find(|track| track.bitrate == 0 && !encoded);
    if let (Some(track), Ok(rest)) = (unknown, u32::try_from(rest)) {
        track.bitrate = rest;
    }
    Ok(Layout { tracks, lanes, renditions })
}

fn lane(
    stream: &Stream<'_>,
    (id, kind): (TrackId, TrackKind),
    renditions: &[RenditionConfig],
    opening: &Opening,
) -> Result<(Vec<Track>, Lane), SourceError> {
    let index = stream.index();
    let mut parameters = describe(stream).map_err(|cause| opening.parameters_error(index, cause))?;
    let time_base = time_base(stream.time_base());
    let device = matches!(opening.input, Input::Device(_));
    let raw = is_raw(&parameters.codec, device) || !renditions.is_empty();
    let (work, time_base_out, made) = if !raw {
        let judge = Disposability::new(&parameters.codec, &parameters.extradata);
        (Work::Pass { judge, extradata: parameters.extradata.clone() }, time_base, vec![parameters])
    } else if parameters.medium == Medium::Video {
        let Encoding { pictures, delays, .. } = &opening.encoding;
        let encoder = VideoEncoder::new(stream, (&parameters, id), time_base, (pictures, renditions), delays);
        let (encoder, made) = encoder.map_err(|cause| cause.told(opening))?;
        (Work::EncodeVideo(Box::new(encoder)), TimeBase::MICROS, made)
    } else {
        let encoder = AudioEncoder::new(&mut parameters, id, &opening.encoding);
        let encoder = Box::new(encoder.map_err(|cause| cause.told(opening))?);
        (Work::EncodeAudio(encoder), AudioEncoder::TIME_BASE, vec![parameters])
    };
    let (mut tracks, mut timelines) = (Vec::new(), Vec::new());
    for (parameters, id) in made.into_iter().zip(id.0..) {
        let (pictures, seconds) = parameters.frame_rate;
        let unit_micros = (u64::from(seconds) * 1_000_000).checked_div(u64::from(pictures)).unwrap_or(0);
        let unit_ticks = ticks(time_base_out, i64::try_from(unit_micros).unwrap_or(0));
        let order = Order { delay: parameters.video_delay, unit_ticks };
        timelines.push(Timeline::new(time_base_out, order, kind != TrackKind::Subtitle));
        let encoded = parameters.encode().map_err(|cause| opening.parameters_error(index, cause))?;
        tracks.push(Track {
            id: TrackId(id),
            kind,
            codec: parameters.codec,
            time_base: time_base_out,
            bitrate: u32::try_from(parameters.bit_rate).unwrap_or(u32::MAX),
            parameters: encoded.into(),
        });
    }
    Ok((tracks, Lane { first: id, time_base, timelines, work, shift: 0 }))
}

/// Learns what a stream's packets hold.
fn describe(stream: &Stream<'_>) -> Result<CodecParameters, ParametersError> {
    let mut parameters = ffi::read_parameters(&stream.parameters())?;
    parameters.frame_rate = frame_rate(stream);
    parameters.display_matrix = ffi::display_matrix(stream);
    // The container's word goes over the codec's, as everywhere in ffmpeg.
    if let (numerator @ 1.., denominator) = ffi::sample_aspect_ratio(stream) {
        parameters.sample_aspect_ratio = (numerator, denominator);
    }
    parameters.disposition = stream.disposition().bits().cast_unsigned();
    let language = stream.metadata().get("language").unwrap_or_default().to_owned();
    if language.len() <= 32 && language.bytes().all(|byte| byte.is_ascii_graphic()) {
        parameters.language = language;
    }
    Ok(parameters)
}

/// Returns whether a codec is raw, or from a camera as good as raw, so that it must be encoded.
fn is_raw(codec: &str, device: bool) -> bool {
    codec.starts_with("pcm_")
        || matches!(codec, "rawvideo" | "wrapped_avframe")
        || (device && codec == "mjpeg")
}

/// Returns the pictures per second, the average where known, else the lowest that fits all timestamps.
pub(crate) fn frame_rate(stream: &Stream<'_>) -> (u32, u32) {
    let rates = [stream.avg_frame_rate(), stream.rate()];
    let rates =
        rates.map(|Rational(numerator, denominator)| (u32::try_from(numerator), u32::try_from(denominator)));
    let known = rates.into_iter().find_map(|rate| match rate {
        (Ok(numerator @ 1..), Ok(denominator @ 1..)) => Some((numerator, denominator)),
        _ => None,
    });
    known.unwrap_or((0, 1))
}

fn time_base(Rational(numerator, denominator): Rational) -> TimeBase {
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator @ 1..), Ok(denominator @ 1..)) => TimeBase { numerator, denominator },
        _ => TimeBase::MICROS,
    }
}

/// Converts microseconds to ticks, rounding down.
fn ticks(time_base: TimeBase, micros: i64) -> i64 {
    let scaled = i128::from(micros) * i128::from(time_base.denominator);
    let whole = scaled.div_euclid(i128::from(time_base.numerator) * 1_000_000);
    i64::try_from(whole).unwrap_or(0)
}
