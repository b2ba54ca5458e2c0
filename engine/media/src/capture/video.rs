//! Raw pictures to low-latency H.264.

use std::time::Instant;

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, Stream, codec, decoder, encoder, frame, media, picture,
};
use swarmcast_core::catalogue::{TimeBase, TrackId};

use super::{Delays, Encoded};
use crate::ffi::{self, Scaler};
use crate::lane::{LaneError, frame_rate};
use crate::parameters::CodecParameters;
use crate::source::{PictureConfig, RenditionConfig};

/// Time between key pictures, in microseconds: a newcomer's longest wait.
const KEY_INTERVAL_MICROS: i64 = 1_000_000;

/// Pictures a second of a device that does not tell.
const FRAME_RATE_UNKNOWN: (u32, u32) = (30, 1);

/// Encoder of pictures when none is named.
const ENCODER: &str = "libx264";

/// Encoders of graphics cards and of chips beside a processor that take pictures from ordinary memory, in the order in
/// which they are tried.
const HARDWARE: [(&str, [&str; 3]); 2] = [
    ("libx264", ["h264_nvenc", "h264_qsv", "h264_v4l2m2m"]),
    ("libx265", ["hevc_nvenc", "hevc_qsv", "hevc_v4l2m2m"]),
];

/// Bits a pixel when no rate is asked for: 2.3 Mbit/s at 1280x720 and 25 pictures a second.
const BITS_PER_PIXEL: f64 = 0.1;

/// Encodes one track's pictures, in one quality or several; no picture waits for a later one. All qualities have their
/// key pictures at the same times.
pub(crate) struct VideoEncoder {
    decoder: decoder::Video,
    /// ffmpeg's name of the encoder.
    name: String,
    /// Of the packets.
    time_base: TimeBase,
    qualities: Vec<Quality>,
    next_key: Option<i64>,
    /// Microseconds from one picture to the next.
    duration: i64,
    /// Whether a picture is inside the encoders, and when it was captured.
    captured: Option<Instant>,
    delays: Delays,
}

/// One quality of the pictures.
struct Quality {
    scaler: Option<Scaler>,
    encoder: encoder::video::Encoder,
    track: TrackId,
}

impl VideoEncoder {
    /// Opens the encoders for a stream: one for each rendition, or one of the pictures' own size. Returns them with the
    /// parameters of what comes out; the first has that number.
    pub(crate) fn new(
        stream: &Stream<'_>,
        (of, first): (&CodecParameters, TrackId),
        time_base: TimeBase,
        (pictures, renditions): (&PictureConfig, &[RenditionConfig]),
        delays: &Delays,
    ) -> Result<(Self, Vec<CodecParameters>), LaneError> {
        let mut decoder = codec::Context::from_parameters(stream.parameters())?;
        // Threads would hold pictures back.
        decoder.set_threading(codec::threading::Config::count(1));
        let decoder = decoder.decoder().video()?;
        let rate = match frame_rate(stream) {
            (0, _) => FRAME_RATE_UNKNOWN,
            known => known,
        };
        let own = RenditionConfig { size: None, bitrate: None };
        let wanted = if renditions.is_empty() { std::slice::from_ref(&own) } else { renditions };
        let mut names = candidates(pictures).into_iter().peekable();
        let (name, qualities) = loop {
            let Some(name) = names.next() else { return Err(Error::EncoderNotFound.into()) };
            let opened = wanted.iter().zip(first.0..).map(|(rendition, track)| {
                Quality::new(&decoder, rate, (name, rendition, pictures), TrackId(track))
            });
            match opened.collect::<Result<Vec<_>, _>>() {
                Ok(qualities) => break (name.to_owned(), qualities),
                // What this machine lacks is no error while there is another.
                Err(_) if names.peek().is_some() => {}
                Err(cause) => return Err(cause),
            }
        };
        let mut parameters = Vec::new();
        for quality in &qualities {
            let out = ffi::read_parameters(&codec::Parameters::from(&quality.encoder));
            let out = out.map_err(|_| Error::EncoderNotFound)?;
            let (disposition, language) = (of.disposition, of.language.clone());
            parameters.push(CodecParameters { frame_rate: rate, disposition, language, ..out });
        }
        let duration = i64::from(rate.1) * 1_000_000 / i64::from(rate.0);
        let (next_key, captured, delays) = (None, None, delays.clone());
        Ok((Self { decoder, name, time_base, qualities, next_key, duration, captured, delays }, parameters))
    }

    /// Returns ffmpeg's name of the encoder.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Encodes the pictures that a packet completes; their timestamps are shifted by so many microseconds.
    pub(crate) fn encode(
        &mut self,
        packet: &Packet,
        shift_micros: i64,
        captured: Instant,
    ) -> Result<Vec<Encoded>, LaneError> {
        match self.decoder.send_packet(packet) {
            Ok(()) => {}
            // A camera's damaged picture costs itself alone.
            Err(Error::InvalidData) => return Ok(Vec::new()),
            Err(cause) => return Err(cause.into()),
        }
        self.captured = Some(captured);
        self.encode_decoded(shift_micros)
    }

    /// Ends the stream and returns what decoder and encoders still held.
    pub(crate) fn flush(&mut self, shift_micros: i64) -> Result<Vec<Encoded>, LaneError> {
        self.captured = None;
        let mut encoded = match self.decoder.send_eof() {
            Ok(()) => self.encode_decoded(shift_micros)?,
            Err(Error::Eof) => Vec::new(),
            Err(cause) => return Err(cause.into()),
        };
        for place in 0..self.qualities.len() {
            match self.qualities[place].encoder.send_eof() {
                Ok(()) => self.receive(place, &mut encoded)?,
                Err(Error::Eof) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Ok(encoded)
    }

    fn encode_decoded(&mut self, shift_micros: i64) -> Result<Vec<Encoded>, LaneError> {
        let mut encoded = Vec::new();
        let mut raw = frame::Video::empty();
        while self.decoder.receive_frame(&mut raw).is_ok() {
            let stamp = raw.timestamp().map(|stamp| self.time_base.to_micros(stamp));
            let pts = stamp.map(|stamp| stamp.saturating_add(shift_micros)).or(self.next_key).unwrap_or(0);
            // The decoder marks every picture of a camera as intra-coded, which the encoder would take as an order.
            let key = self.next_key.is_none_or(|due| pts >= due);
            if key {
                // Half a picture early, so that jitter does not shift the key to the next picture.
                self.next_key = Some(pts.saturating_add(KEY_INTERVAL_MICROS - self.duration / 2));
            }
            let kind = if key { picture::Type::I } else { picture::Type::None };
            for place in 0..self.qualities.len() {
                self.qualities[place].send(&mut raw, pts, kind)?;
                self.receive(place, &mut encoded)?;
            }
        }
        Ok(encoded)
    }

    fn receive(&mut self, place: usize, encoded: &mut Vec<Encoded>) -> Result<(), LaneError> {
        let quality = &mut self.qualities[place];
        let mut packet = Packet::empty();
        loop {
            match quality.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => return Ok(()),
                Err(cause) => return Err(cause.into()),
            }
            if let Some(captured) = self.captured {
                self.delays.note(quality.track, captured);
            }
            encoded.push(Encoded {
                place,
                dts: packet.dts(),
                pts: packet.pts(),
                duration: self.duration,
                key: packet.is_key(),
                disposable: ffi::is_disposable(&packet),
                payload: Bytes::copy_from_slice(packet.data().unwrap_or_default()),
            });
        }
    }
}

impl Quality {
    fn new(
        decoder: &decoder::Video,
        rate: (u32, u32),
        (name, rendition, pictures): (&str, &RenditionConfig, &PictureConfig),
        track: TrackId,
    ) -> Result<Self, LaneError> {
        let from = (decoder.width(), decoder.height());
        let asked = rendition.size.map_or(from, |(width, height)| (width.into(), height.into()));
        // 4:2:0 has half the colour samples each way, so sides are even.
        let to = (asked.0 & !1, asked.1 & !1);
        let mut aspect = decoder.aspect_ratio();
        if rendition.size.is_some() {
            // The picture keeps its shape, whatever the sides.
            let own = if aspect.numerator() == 0 { Rational(1, 1) } else { aspect };
            let sides = |width: u32, height: u32| Rational(width as i32, height as i32);
            aspect = (own * sides(from.0, from.1) * sides(to.1, to.0)).reduce();
        }
        let bitrate = rendition.bitrate.or(pictures.bitrate);
        let encoder = open_encoder(name, (to, aspect), rate, (bitrate, pictures))?;
        let format = encoder.format();
        let straight = decoder.format() == format && to == from;
        let scaler = if straight {
            None
        } else {
            let flags = if asked == from { scaling::Flags::FAST_BILINEAR } else { scaling::Flags::BILINEAR };
            let made = scaling::Context::get(decoder.format(), from.0, from.1, format, to.0, to.1, flags);
            Some(Scaler(made?))
        };
        Ok(Self { scaler, encoder, track })
    }

    fn send(&mut self, raw: &mut frame::Video, pts: i64, kind: picture::Type) -> Result<(), LaneError> {
        let mut scaled = frame::Video::empty();
        let picture = match &mut self.scaler {
            None => raw,
            Some(Scaler(scaler)) => {
                scaler.run(raw, &mut scaled)?;
                &mut scaled
            }
        };
        picture.set_kind(kind);
        picture.set_pts(Some(pts));
        Ok(self.encoder.send_frame(picture)?)
    }
}

/// Names the encoders to try, in order.
fn candidates(pictures: &PictureConfig) -> Vec<&str> {
    let named = pictures.encoder.as_deref().unwrap_or(ENCODER);
    let same = HARDWARE.iter().filter(|(software, _)| pictures.hardware && *software == named);
    same.flat_map(|(_, hardware)| *hardware).chain([named]).collect()
}

fn open_encoder(
    name: &str,
    ((width, height), aspect): ((u32, u32), Rational),
    rate: (u32, u32),
    (bitrate, pictures): (Option<u32>, &PictureConfig),
) -> Result<encoder::video::Encoder, LaneError> {
    let codec = encoder::find_by_name(name).filter(|codec| codec.medium() == media::Type::Video);
    let codec = codec.ok_or_else(|| LaneError::NoEncoder(name.to_owned()))?;
    let mut context = codec::Context::new_with_codec(codec);
    // The codec data goes into the catalogue, not before every key picture.
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    // Some hardware takes the colours by turns only.
    let takes = |format| {
        codec
            .video()
            .ok()
            .and_then(|codec| codec.formats())
            .is_none_or(|mut all| all.any(|one| one == format))
    };
    video.set_format(if takes(Pixel::YUV420P) { Pixel::YUV420P } else { Pixel::NV12 });
    // No picture waits for a later one.
    video.set_max_b_frames(0);
    video.set_time_base((1, 1_000_000));
    let per_second = Rational(rate.0 as i32, rate.1 as i32);
    video.set_frame_rate(Some(per_second));
    video.set_aspect_ratio(aspect);
    let pixels = f64::from(width) * f64::from(height) * f64::from(per_second);
    let bitrate = bitrate.unwrap_or((pixels * BITS_PER_PIXEL).clamp(1e5, 5e7) as u32);
    video.set_bit_rate(bitrate as usize);
    video.set_max_bit_rate(bitrate as usize);
    // Key pictures are asked for by time, since a camera's rate falls in the dark; the encoder's own are a fallback.
    video.set_gop((f64::from(per_second) * 10.0).clamp(10.0, 600.0) as u32);
    let mut options = Dictionary::new();
    let of_x264 = name.starts_with("libx26");
    let fastest = of_x264.then_some("ultrafast");
    let preset = pictures.preset.as_deref().filter(|_| Some(name) == pictures.encoder.as_deref() || of_x264);
    if let Some(preset) = preset.or(fastest) {
        options.set("preset", preset);
    }
    // nvenc and qsv hold no picture back by these.
    options.set("zerolatency", "1");
    options.set("delay", "0");
    options.set("async_depth", "1");
    if of_x264 {
        options.set("tune", "zerolatency");
    }
    // x265 writes to standard error by itself, past ffmpeg's log.
    if name == "libx265" {
        options.set("x265-params", "log-level=none:scenecut=0");
    }
    // Key pictures of an encoder's own finding would be at other times in each quality.
    options.set("sc_threshold", "0");
    options.set("no-scenecut", "1");
    // Every key picture is asked for as one to begin at; encoders without the option leave it.
    options.set("forced-idr", "1");
    // One second of buffer: a key picture may be as large as that.
    options.set("bufsize", &bitrate.to_string());
    Ok(video.open_as_with(codec, options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_tried_before_the_software_that_does_the_same() {
        let of = |encoder: Option<&str>, hardware| {
            let encoder = encoder.map(str::to_owned);
            let pictures = PictureConfig { encoder, hardware, ..PictureConfig::default() };
            candidates(&pictures).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of(None, true), ["h264_nvenc", "h264_qsv", "h264_v4l2m2m", "libx264"]);
        assert_eq!(of(Some("libx265"), true).last().map(String::as_str), Some("libx265"));
        assert_eq!(of(Some("libx265"), false), ["libx265"]);
        assert_eq!(of(Some("h264_nvenc"), true), ["h264_nvenc"], "who names one gets it or an error");
    }
}
