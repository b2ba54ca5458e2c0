//! Raw sound to Opus.

use std::time::Instant;

use bytes::Bytes;
use ffmpeg_next::format::{Sample, sample};
use ffmpeg_next::software::resampling;
use ffmpeg_next::{ChannelLayout, Error, Packet, codec, decoder, frame};
use swarmcast_core::catalogue::{TimeBase, TrackId};

use super::drift::{Drift, Fit};
use super::{Delays, Encoded, Encoding};
use crate::ffi;
use crate::lane::LaneError;
use crate::parameters::{CodecParameters, Medium};

/// Samples a second of all Opus.
const RATE: u32 = 48_000;

/// Samples of an access unit: 20 ms, at which Opus loses nothing to its headers.
const UNIT_SAMPLES: usize = 960;

/// Most samples that the resampler holds back, far above its filter's length.
const RESAMPLER_SAMPLES_MAX: usize = 1_024;

/// Most bytes of an Opus packet that the encoder is given room for (RFC 6716, 3.4: 1,275 a frame).
const PACKET_BYTES_MAX: usize = 1_275;

/// Samples to decode before a jump's target (RFC 7845, 4.6: 80 ms).
const SEEK_PREROLL: u32 = 3_840;

/// Encodes one track's sound.
pub(crate) struct AudioEncoder {
    decoder: decoder::Audio,
    resampler: Option<resampling::Context>,
    encoder: opus::Encoder,
    channels: usize,
    drift: Drift,
    /// Interleaved samples that do not fill a unit yet.
    waiting: Vec<f32>,
    /// Time of the first of those, in samples; none before the first packet.
    position: Option<i64>,
    /// Samples that the encoder adds at the start.
    lookahead: i64,
    track: TrackId,
    delays: Delays,
}

impl AudioEncoder {
    /// Time base of the track.
    pub(crate) const TIME_BASE: TimeBase = TimeBase { numerator: 1, denominator: RATE };

    /// Opens the encoder for a raw stream, and makes `parameters` those of the Opus that comes out.
    pub(crate) fn new(
        parameters: &mut CodecParameters,
        track: TrackId,
        encoding: &Encoding,
    ) -> Result<Self, LaneError> {
        // Built anew, since this gives a layout to channels that have none, which the resampler insists on.
        let built = ffi::build_parameters(parameters).map_err(|_| Error::DecoderNotFound)?;
        let decoder = codec::Context::from_parameters(built)?.decoder().audio()?;
        let (channels, mode) =
            if parameters.channels == 1 { (1, opus::Channels::Mono) } else { (2, opus::Channels::Stereo) };
        let mut encoder = opus::Encoder::new(RATE, mode, opus::Application::Audio)?;
        // Transparent for music: 64 kbit/s a channel, less what stereo shares.
        let bitrate = if channels == 1 { 64_000 } else { 96_000 };
        encoder.set_bitrate(opus::Bitrate::Bits(bitrate))?;
        let lookahead = u16::try_from(encoder.get_lookahead()?).unwrap_or(0);
        *parameters = CodecParameters {
            medium: Medium::Audio,
            codec: "opus".to_owned(),
            extradata: opus_head(channels as u8, lookahead, parameters.sample_rate),
            format: "fltp".to_owned(),
            bit_rate: i64::from(bitrate),
            profile: -99,
            level: -99,
            channels: channels as u8,
            channel_mask: if channels == 1 {
                ChannelLayout::MONO.bits()
            } else {
                ChannelLayout::STEREO.bits()
            },
            sample_rate: RATE,
            frame_size: UNIT_SAMPLES as u32,
            initial_padding: u32::from(lookahead),
            seek_preroll: SEEK_PREROLL,
            frame_rate: (0, 1),
            sample_aspect_ratio: (0, 1),
            language: std::mem::take(&mut parameters.language),
            disposition: parameters.disposition,
            ..CodecParameters::default()
        };
        let (waiting, lookahead, delays) = (Vec::new(), i64::from(lookahead), encoding.delays.clone());
        Ok(Self {
            decoder,
            resampler: None,
            drift: Drift::new(),
            encoder,
            channels,
            waiting,
            position: None,
            lookahead,
            track,
            delays,
        })
    }

    /// Encodes a packet of samples, the first of which is presented at `pts` microseconds.
    pub(crate) fn encode(
        &mut self,
        packet: &Packet,
        pts: Option<i64>,
        captured: Instant,
    ) -> Result<Vec<Encoded>, LaneError> {
        match self.decoder.send_packet(packet) {
            Ok(()) => {}
            // Damaged sound costs itself alone.
            Err(Error::InvalidData) => return Ok(Vec::new()),
            Err(cause) => return Err(cause.into()),
        }
        let mut raw = frame::Audio::empty();
        let mut first = pts;
        while self.decoder.receive_frame(&mut raw).is_ok() {
            let samples = self.resample(&raw)?;
            self.append(&samples, first.take());
        }
        let mut encoded = Vec::new();
        while self.waiting.len() >= UNIT_SAMPLES * self.channels {
            encoded.push(self.unit()?);
            self.delays.note(self.track, captured);
        }
        Ok(encoded)
    }

    /// Takes out what resampler and encoder hold back, and fills the last unit up with silence.
    pub(crate) fn flush(&mut self) -> Result<Vec<Encoded>, LaneError> {
        if self.position.is_none() {
            return Ok(Vec::new());
        }
        if let Some(mut resampler) = self.resampler.take() {
            let mut rest = new_frame(RESAMPLER_SAMPLES_MAX, self.channels);
            resampler.flush(&mut rest)?;
            let mut rest = samples_of(&rest, self.channels);
            rest.resize(rest.len() + Drift::LATENCY as usize * self.channels, 0.0);
            self.drift.append(&rest, self.channels, &mut self.waiting);
        }
        let unit = UNIT_SAMPLES * self.channels;
        let held = self.waiting.len() + self.lookahead as usize * self.channels;
        self.waiting.resize(held.next_multiple_of(unit), 0.0);
        let encoded = (0..self.waiting.len() / unit).map(|_| self.unit()).collect();
        self.position = None;
        encoded
    }

    /// Converts to interleaved floats at 48 kHz.
    fn resample(&mut self, raw: &frame::Audio) -> Result<Vec<f32>, LaneError> {
        let from = match raw.channel_layout() {
            unknown if unknown.is_empty() => ChannelLayout::default(i32::from(raw.channels())),
            known => known,
        };
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            none => {
                let (format, to) = (Sample::F32(sample::Type::Packed), layout(self.channels));
                none.insert(resampling::Context::get(raw.format(), from, raw.rate(), format, to, RATE)?)
            }
        };
        let made = raw.samples() as u64 * u64::from(RATE) / u64::from(raw.rate().max(1));
        let mut converted = new_frame(made as usize + RESAMPLER_SAMPLES_MAX, self.channels);
        resampler.run(raw, &mut converted)?;
        Ok(samples_of(&converted, self.channels))
    }

    /// Queues samples; time is counted in samples, at a rate that follows the device's timestamps.
    fn append(&mut self, samples: &[f32], pts_micros: Option<i64>) {
        let queued = (self.waiting.len() / self.channels) as i64;
        let at = pts_micros.map(|pts| pts.saturating_mul(i64::from(RATE) / 1_000) / 1_000);
        let at = at.map(|at| at.saturating_sub(Drift::LATENCY));
        match (self.position, at) {
            (None, at) => self.position = Some(at.unwrap_or(0)),
            (Some(position), Some(at)) => {
                let later = at.saturating_sub(position.saturating_add(queued));
                match self.drift.note(later, samples.len() / self.channels) {
                    Fit::Follows => {}
                    Fit::Later => {
                        self.waiting.clear();
                        self.position = Some(at);
                    }
                    Fit::Surplus => return,
                }
            }
            (Some(_), None) => {}
        }
        self.drift.append(samples, self.channels, &mut self.waiting);
    }

    /// Encodes the first whole unit.
    fn unit(&mut self) -> Result<Encoded, LaneError> {
        let mut coded = [0; PACKET_BYTES_MAX];
        let samples = UNIT_SAMPLES * self.channels;
        let length = self.encoder.encode_float(&self.waiting[..samples], &mut coded)?;
        self.waiting.drain(..samples);
        let position = self.position.unwrap_or(0);
        self.position = Some(position.saturating_add(UNIT_SAMPLES as i64));
        let pts = Some(position.saturating_sub(self.lookahead));
        Ok(Encoded {
            place: 0,
            dts: pts,
            pts,
            duration: UNIT_SAMPLES as i64,
            key: true,
            disposable: false,
            payload: Bytes::copy_from_slice(&coded[..length]),
        })
    }
}

/// Returns the layout of one or two channels.
pub(crate) fn layout(channels: usize) -> ChannelLayout {
    if channels == 1 { ChannelLayout::MONO } else { ChannelLayout::STEREO }
}

/// Makes room for so many samples of interleaved floats.
pub(crate) fn new_frame(samples: usize, channels: usize) -> frame::Audio {
    frame::Audio::new(Sample::F32(sample::Type::Packed), samples, layout(channels))
}

/// Reads interleaved floats.
pub(crate) fn samples_of(converted: &frame::Audio, channels: usize) -> Vec<f32> {
    let bytes = &converted.data(0)[..converted.samples() * channels * size_of::<f32>()];
    let (samples, _) = bytes.as_chunks::<4>();
    samples.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect()
}

/// Makes the identification header (RFC 7845, 5.1).
fn opus_head(channels: u8, lookahead: u16, input_rate: u32) -> Vec<u8> {
    let mut head = b"OpusHead".to_vec();
    head.extend([1, channels]);
    head.extend(lookahead.to_le_bytes());
    head.extend(input_rate.to_le_bytes());
    // No gain; mapping family 0 is mono or stereo.
    head.extend([0, 0, 0]);
    head
}
