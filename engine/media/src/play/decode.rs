//! Access units to pictures and samples.

use ffmpeg_next::format::{Pixel, Sample, sample};
use ffmpeg_next::software::{resampling, scaling};
use ffmpeg_next::{ChannelLayout, Error, Packet, Rational, codec, decoder, frame};
use swarmcast_core::catalogue::Track;

use super::PlayError;
use super::pictures::{Image, Picture};
use super::sound::{Block, RATE};
use crate::capture::{layout, new_frame, samples_of};
use crate::ffi::{self, Scaler};
use crate::parameters::CodecParameters;

/// Longest gap in Opus that is concealed, in microseconds: beyond, what is made up no longer resembles speech.
const CONCEAL_MAX: i64 = 120_000;
/// Gap that is taken for rounding, in microseconds.
const ROUNDING: i64 = 5_000;
/// Samples of the longest Opus packet, 120 ms.
const OPUS_SAMPLES_MAX: usize = 5_760;
/// Samples that a resampler may add to what it is given.
const RESAMPLER_SAMPLES_MAX: usize = 256;
/// Where the identification header of Opus tells how channels are mapped (RFC 7845, 5.1).
const OPUS_MAPPING_FAMILY: usize = 18;

/// Opens the codec of a track.
fn open(track: &Track) -> Result<(CodecParameters, codec::Context), PlayError> {
    ffi::init();
    let failed = |cause: String| PlayError { track: track.id.0, codec: track.codec.clone(), cause };
    let parameters = CodecParameters::decode(&track.parameters).map_err(|error| failed(error.to_string()))?;
    let built = ffi::build_parameters(&parameters).map_err(|error| failed(error.to_string()))?;
    let mut context = codec::Context::from_parameters(built).map_err(|error| failed(error.to_string()))?;
    // Threads by picture would hold pictures back.
    context.set_threading(codec::threading::Config::kind(codec::threading::Type::Slice));
    Ok((parameters, context))
}

fn packet(payload: &[u8], at: i64) -> Packet {
    let mut packet = Packet::copy(payload);
    packet.set_pts(Some(at));
    packet
}

/// Decodes one track's pictures to 4:2:0.
pub(crate) struct PictureDecoder {
    decoder: decoder::Video,
    scaler: Option<(Scaler, (Pixel, u32, u32))>,
    pixel: (u32, u32),
}

impl PictureDecoder {
    /// Opens the decoder of a track.
    pub(crate) fn new(track: &Track) -> Result<Self, PlayError> {
        let (parameters, context) = open(track)?;
        let decoder = context.decoder().video().map_err(|error| PlayError {
            track: track.id.0,
            codec: track.codec.clone(),
            cause: error.to_string(),
        })?;
        Ok(Self { decoder, scaler: None, pixel: parameters.sample_aspect_ratio })
    }

    /// Decodes what is to be shown at a play time; `None` takes out what is held back.
    pub(crate) fn decode(
        &mut self,
        unit: Option<(&[u8], i64)>,
        out: &mut impl FnMut(Picture),
    ) -> Result<(), Error> {
        match unit {
            Some((payload, at)) => self.decoder.send_packet(&packet(payload, at))?,
            None => self.decoder.send_eof()?,
        }
        let mut decoded = frame::Video::empty();
        while self.decoder.receive_frame(&mut decoded).is_ok() {
            let Some(at) = decoded.timestamp() else { continue };
            let frame = self.convert(std::mem::replace(&mut decoded, frame::Video::empty()))?;
            out(Picture { at, image: Some(Image { frame, pixel: self.pixel }) });
        }
        Ok(())
    }

    fn convert(&mut self, decoded: frame::Video) -> Result<frame::Video, Error> {
        if matches!(decoded.format(), Pixel::YUV420P | Pixel::YUVJ420P) {
            return Ok(decoded);
        }
        let form = (decoded.format(), decoded.width(), decoded.height());
        let scaler = match self.scaler.take().filter(|(_, known)| *known == form) {
            Some(known) => self.scaler.insert(known),
            None => {
                let (format, width, height) = form;
                let (to, flags) = (Pixel::YUV420P, scaling::Flags::BILINEAR);
                let made = scaling::Context::get(format, width, height, to, width, height, flags)?;
                self.scaler.insert((Scaler(made), form))
            }
        };
        let mut converted = frame::Video::empty();
        scaler.0.0.run(&decoded, &mut converted)?;
        Ok(converted)
    }
}

/// Decodes one track's sound to left and right floats at 48 kHz.
pub(crate) struct SoundDecoder {
    codec: SoundCodec,
    /// Play time behind the last sample.
    end: Option<i64>,
    /// Samples that were made up.
    pub(crate) concealed: u64,
}

enum SoundCodec {
    Opus(opus::Decoder),
    Other { decoder: Box<decoder::Audio>, resampler: Option<resampling::Context> },
}

impl SoundDecoder {
    /// Opens the decoder of a track. Opus of one or two channels is libopus's, since it conceals losses.
    pub(crate) fn new(track: &Track) -> Result<Self, PlayError> {
        let failed = |cause: String| PlayError { track: track.id.0, codec: track.codec.clone(), cause };
        let (parameters, context) = open(track)?;
        let plain = parameters.extradata.get(OPUS_MAPPING_FAMILY).is_none_or(|family| *family == 0);
        let codec = if parameters.codec == "opus" && plain && parameters.channels <= 2 {
            let made = opus::Decoder::new(RATE, opus::Channels::Stereo);
            SoundCodec::Opus(made.map_err(|error| failed(error.to_string()))?)
        } else {
            let mut decoder = context.decoder().audio().map_err(|error| failed(error.to_string()))?;
            decoder.set_packet_time_base(Rational(1, 1_000_000));
            SoundCodec::Other { decoder: Box::new(decoder), resampler: None }
        };
        Ok(Self { codec, end: None, concealed: 0 })
    }

    /// Decodes what is to be heard from a play time on; returns whether it could be.
    pub(crate) fn decode(&mut self, payload: &[u8], at: i64, out: &mut impl FnMut(Block)) -> bool {
        let missing = self.end.map_or(0, |end| at - end);
        match &mut self.codec {
            SoundCodec::Opus(decoder) => {
                if (ROUNDING..=CONCEAL_MAX).contains(&missing) {
                    let concealed = conceal(decoder, payload, (at, missing), out);
                    self.concealed += concealed as u64;
                }
                let mut samples = vec![0.0; 2 * OPUS_SAMPLES_MAX];
                let Ok(frames) = decoder.decode_float(payload, &mut samples, false) else { return false };
                samples.truncate(2 * frames);
                self.end = Some(at + micros(frames));
                out(Block { at, frames, samples });
                true
            }
            SoundCodec::Other { decoder, resampler } => {
                if decoder.send_packet(&packet(payload, at)).is_err() {
                    return false;
                }
                let mut raw = frame::Audio::empty();
                while decoder.receive_frame(&mut raw).is_ok() {
                    let Ok(samples) = resample(resampler, &raw) else { return false };
                    let (at, frames) = (raw.timestamp().unwrap_or(at), samples.len() / 2);
                    self.end = Some(at + micros(frames));
                    out(Block { at, frames, samples });
                }
                true
            }
        }
    }
}

/// Makes up what is missing before a packet, the end of it from the packet itself where the encoder put that in.
fn conceal(
    decoder: &mut opus::Decoder,
    payload: &[u8],
    (at, missing): (i64, i64),
    out: &mut impl FnMut(Block),
) -> usize {
    // In steps of 2.5 ms, as the codec has it (RFC 6716, 2.1.4).
    let frames = usize::try_from(missing * i64::from(RATE) / 1_000_000 / 120 * 120).unwrap_or(0);
    let last = usize::try_from(decoder.get_last_packet_duration().unwrap_or(0)).unwrap_or(0).min(frames);
    let mut samples = Vec::new();
    for (part, length) in [(&[][..], frames - last), (payload, last)] {
        let mut made = vec![0.0; 2 * length];
        if length > 0 && decoder.decode_float(part, &mut made, !part.is_empty()).is_ok() {
            samples.append(&mut made);
        }
    }
    let frames = samples.len() / 2;
    out(Block { at: at - micros(frames), frames, samples });
    frames
}

fn resample(kept: &mut Option<resampling::Context>, raw: &frame::Audio) -> Result<Vec<f32>, Error> {
    let from = match raw.channel_layout() {
        unknown if unknown.is_empty() => ChannelLayout::default(i32::from(raw.channels())),
        known => known,
    };
    let known = kept.take().filter(|kept| {
        (kept.input().format, kept.input().rate, kept.input().channel_layout)
            == (raw.format(), raw.rate(), from)
    });
    let resampler = match known {
        Some(known) => kept.insert(known),
        None => {
            let to = Sample::F32(sample::Type::Packed);
            kept.insert(resampling::Context::get(raw.format(), from, raw.rate(), to, layout(2), RATE)?)
        }
    };
    let made = raw.samples() as u64 * u64::from(RATE) / u64::from(raw.rate().max(1));
    let mut converted = new_frame(made as usize + RESAMPLER_SAMPLES_MAX, 2);
    resampler.run(raw, &mut converted)?;
    Ok(samples_of(&converted, 2))
}

fn micros(frames: usize) -> i64 {
    frames as i64 * 1_000_000 / i64::from(RATE)
}

#[cfg(test)]
mod tests {
    use swarmcast_core::catalogue::{TimeBase, TrackId, TrackKind};

    use super::*;
    use crate::parameters::Medium;

    const UNIT: usize = 960;

    fn track() -> Track {
        let parameters = CodecParameters {
            medium: Medium::Audio,
            codec: "opus".to_owned(),
            channels: 2,
            sample_rate: RATE,
            ..CodecParameters::default()
        };
        Track {
            id: TrackId(0),
            kind: TrackKind::Audio,
            codec: "opus".to_owned(),
            time_base: TimeBase::MICROS,
            bitrate: 0,
            parameters: parameters.encode().unwrap().into(),
        }
    }

    /// Encodes a tone, and decodes all units but those that are lost; returns the blocks and what was made up.
    fn decode_without(lost: std::ops::Range<usize>) -> (Vec<Block>, u64) {
        let mode = opus::Application::Audio;
        let mut encoder = opus::Encoder::new(RATE, opus::Channels::Stereo, mode).unwrap();
        let mut decoder = SoundDecoder::new(&track()).unwrap();
        let mut blocks = Vec::new();
        for unit in 0..40 {
            let tone = |at: usize| (2.0 * std::f32::consts::PI * 440.0 * at as f32 / RATE as f32).sin() / 2.0;
            let samples: Vec<f32> = (0..2 * UNIT).map(|at| tone(unit * UNIT + at / 2)).collect();
            let mut coded = [0; 1_500];
            let length = encoder.encode_float(&samples, &mut coded).unwrap();
            if !lost.contains(&unit) {
                let at = micros(unit * UNIT);
                assert!(decoder.decode(&coded[..length], at, &mut |block| blocks.push(block)));
            }
        }
        (blocks, decoder.concealed)
    }

    #[test]
    fn lost_opus_is_made_up_without_a_break() {
        let (blocks, concealed) = decode_without(20..23);
        assert_eq!(concealed, 3 * UNIT as u64);
        for pair in blocks.windows(2) {
            assert_eq!(pair[1].at, pair[0].at + micros(pair[0].frames));
        }
        let made = blocks.iter().find(|block| block.at == micros(20 * UNIT)).expect("what was made up");
        let energy = |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
        assert!(energy(&made.samples) > 0.1 * energy(&blocks[10].samples), "{}", energy(&made.samples));
    }

    #[test]
    fn a_long_gap_is_left_silent() {
        let (blocks, concealed) = decode_without(20..30);
        assert_eq!((blocks.len(), concealed), (30, 0));
    }
}
