//! Raw pictures to low-latency H.264.

use std::time::Instant;

use bytes::Bytes;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, Stream, codec, decoder, encoder, frame, media, picture,
};
use swarmcast_core::catalogue::TrackId;

use super::{Delays, Encoded, Encoding};
use crate::ffi::{self, Scaler};
use crate::lane::{LaneError, frame_rate};
use crate::parameters::CodecParameters;

/// Time between key pictures, in microseconds: a newcomer's longest wait.
const KEY_INTERVAL_MICROS: i64 = 1_000_000;

/// Pictures a second of a device that does not tell.
const FRAME_RATE_UNKNOWN: (u32, u32) = (30, 1);

/// Encoder of pictures when none is named.
const ENCODER: &str = "libx264";

/// Bits a pixel when no rate is asked for: 2.3 Mbit/s at 1280x720 and 25 pictures a second.
const BITS_PER_PIXEL: f64 = 0.1;

/// Encodes one track's pictures; no picture waits for a later one.
pub(crate) struct VideoEncoder {
    decoder: decoder::Video,
    scaler: Option<Scaler>,
    encoder: encoder::video::Encoder,
    next_key: Option<i64>,
    /// Microseconds from one picture to the next.
    duration: i64,
    /// Whether a picture is inside the encoder, and when it was captured.
    captured: Option<Instant>,
    track: TrackId,
    delays: Delays,
}

impl VideoEncoder {
    /// Opens the encoder for a raw stream, and makes `parameters` those of the H.264 that comes out.
    pub(crate) fn new(
        stream: &Stream<'_>,
        parameters: &mut CodecParameters,
        track: TrackId,
        encoding: &Encoding,
    ) -> Result<Self, LaneError> {
        let mut decoder = codec::Context::from_parameters(stream.parameters())?;
        // Threads would hold pictures back.
        decoder.set_threading(codec::threading::Config::count(1));
        let decoder = decoder.decoder().video()?;
        let rate = match frame_rate(stream) {
            (0, _) => FRAME_RATE_UNKNOWN,
            known => known,
        };
        // 4:2:0 has half the colour samples each way, so sides are even.
        let (width, height) = (decoder.width() & !1, decoder.height() & !1);
        let encoder = open_encoder((width, height), rate, stream, encoding)?;
        let straight =
            decoder.format() == Pixel::YUV420P && (width, height) == (decoder.width(), decoder.height());
        let scaler = if straight {
            None
        } else {
            let (from, to) = ((decoder.width(), decoder.height()), (width, height));
            let flags = scaling::Flags::FAST_BILINEAR;
            let made =
                scaling::Context::get(decoder.format(), from.0, from.1, Pixel::YUV420P, to.0, to.1, flags);
            Some(Scaler(made?))
        };
        let out = ffi::read_parameters(&codec::Parameters::from(&encoder));
        let out = out.map_err(|_| Error::EncoderNotFound)?;
        let (disposition, language) = (parameters.disposition, std::mem::take(&mut parameters.language));
        *parameters = CodecParameters { frame_rate: rate, disposition, language, ..out };
        let duration = i64::from(rate.1) * 1_000_000 / i64::from(rate.0);
        let delays = encoding.delays.clone();
        Ok(Self { decoder, scaler, encoder, next_key: None, duration, captured: None, track, delays })
    }

    /// Encodes a packet of raw or intra-coded pictures, presented at `pts` microseconds.
    pub(crate) fn encode(
        &mut self,
        packet: &Packet,
        pts: Option<i64>,
        captured: Instant,
    ) -> Result<Vec<Encoded>, LaneError> {
        match self.decoder.send_packet(packet) {
            Ok(()) => {}
            // A camera's damaged picture costs itself alone.
            Err(Error::InvalidData) => return Ok(Vec::new()),
            Err(cause) => return Err(cause.into()),
        }
        let mut encoded = Vec::new();
        let mut raw = frame::Video::empty();
        while self.decoder.receive_frame(&mut raw).is_ok() {
            let mut picture = match &mut self.scaler {
                None => std::mem::replace(&mut raw, frame::Video::empty()),
                Some(Scaler(scaler)) => {
                    let mut scaled = frame::Video::empty();
                    scaler.run(&raw, &mut scaled)?;
                    scaled
                }
            };
            let pts = pts.or(self.next_key).unwrap_or(0);
            // The decoder marks every picture of a camera as intra-coded, which the encoder would take as an order.
            let key = self.next_key.is_none_or(|due| pts >= due);
            picture.set_kind(if key { picture::Type::I } else { picture::Type::None });
            if key {
                // Half a picture early, so that jitter does not shift the key to the next picture.
                self.next_key = Some(pts.saturating_add(KEY_INTERVAL_MICROS - self.duration / 2));
            }
            picture.set_pts(Some(pts));
            self.captured = Some(captured);
            self.encoder.send_frame(&picture)?;
            self.receive(&mut encoded)?;
        }
        Ok(encoded)
    }

    /// Ends the stream and returns what the encoder still held.
    pub(crate) fn flush(&mut self) -> Result<Vec<Encoded>, LaneError> {
        let mut encoded = Vec::new();
        self.captured = None;
        match self.encoder.send_eof() {
            Ok(()) => self.receive(&mut encoded)?,
            Err(Error::Eof) => {}
            Err(cause) => return Err(cause.into()),
        }
        Ok(encoded)
    }

    fn receive(&mut self, encoded: &mut Vec<Encoded>) -> Result<(), LaneError> {
        let mut packet = Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => return Ok(()),
                Err(cause) => return Err(cause.into()),
            }
            if let Some(captured) = self.captured {
                self.delays.note(self.track, captured);
            }
            encoded.push(Encoded {
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

fn open_encoder(
    (width, height): (u32, u32),
    rate: (u32, u32),
    stream: &Stream<'_>,
    encoding: &Encoding,
) -> Result<encoder::video::Encoder, LaneError> {
    let name = encoding.pictures.encoder.as_deref().unwrap_or(ENCODER);
    let codec = encoder::find_by_name(name).filter(|codec| codec.medium() == media::Type::Video);
    let codec = codec.ok_or_else(|| LaneError::NoEncoder(name.to_owned()))?;
    let mut context = codec::Context::new_with_codec(codec);
    // The codec data goes into the catalogue, not before every key picture.
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUV420P);
    video.set_time_base((1, 1_000_000));
    let per_second = Rational(rate.0 as i32, rate.1 as i32);
    video.set_frame_rate(Some(per_second));
    if let Ok(decoder) = codec::Context::from_parameters(stream.parameters())?.decoder().video() {
        video.set_aspect_ratio(decoder.aspect_ratio());
    }
    let pixels = f64::from(width) * f64::from(height) * f64::from(per_second);
    let bitrate = encoding.pictures.bitrate.unwrap_or((pixels * BITS_PER_PIXEL).clamp(1e5, 5e7) as u32);
    video.set_bit_rate(bitrate as usize);
    video.set_max_bit_rate(bitrate as usize);
    // Key pictures are asked for by time, since a camera's rate falls in the dark; the encoder's own are a fallback.
    video.set_gop((f64::from(per_second) * 10.0).clamp(10.0, 600.0) as u32);
    let mut options = Dictionary::new();
    let of_x264 = name.starts_with("libx26");
    let fastest = of_x264.then_some("ultrafast");
    if let Some(preset) = encoding.pictures.preset.as_deref().or(fastest) {
        options.set("preset", preset);
    }
    if of_x264 {
        options.set("tune", "zerolatency");
    }
    // x265 writes to standard error by itself, past ffmpeg's log.
    if name == "libx265" {
        options.set("x265-params", "log-level=none");
    }
    // Every key picture is asked for as one to begin at; encoders without the option leave it.
    options.set("forced-idr", "1");
    // One second of buffer: a key picture may be as large as that.
    options.set("bufsize", &bitrate.to_string());
    Ok(video.open_as_with(codec, options)?)
}
