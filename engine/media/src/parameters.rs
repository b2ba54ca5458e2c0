//! Codec parameters as they travel in a catalogue: what a muxer or decoder at the far side must know.
//!
//! The encoding is written by hand, versioned, at most [`PARAMETERS_BYTES_MAX`] long, and decoding is total. Codecs
//! and formats go by name, since ffmpeg's numbers for them differ between versions. All integers are little-endian.

/// Most bytes of the encoding, the limit of `Track::parameters`.
pub(crate) const PARAMETERS_BYTES_MAX: usize = 16 << 10;

/// Most bytes of codec data, so that the encoding fits in any case.
const EXTRADATA_BYTES_MAX: usize = 15 << 10;

/// Most bytes of a codec's, format's or language's name.
const NAME_BYTES_MAX: usize = 32;

const VERSION: u8 = 1;

/// Kind of coded media that has codec parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    /// Moving pictures.
    #[default]
    Video,
    /// Sound.
    Audio,
    /// Timed text or pictures of it.
    Subtitle,
}

/// Describes one coded track; fields have the meaning and unit of ffmpeg's `AVCodecParameters`.
///
/// Fields that do not apply to the medium are zero or empty, and so are unknown ones except where noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecParameters {
    /// What is coded.
    pub medium: Medium,
    /// Codec name such as `h264`; at most 32 bytes, like every name here.
    pub codec: String,
    /// Four-character code of the source's container.
    pub tag: u32,
    /// Codec data, exactly as the source has it; at most 15 KiB.
    pub extradata: Vec<u8>,
    /// Name of the pixel or sample format.
    pub format: String,
    /// Bits per second.
    pub bit_rate: i64,
    /// Bits of a coded sample.
    pub bits_per_coded_sample: u8,
    /// Valid bits of a decoded sample.
    pub bits_per_raw_sample: u8,
    /// Profile in the codec's numbering, -99 when unknown.
    pub profile: i32,
    /// Level in the codec's numbering, -99 when unknown.
    pub level: i32,
    /// Video: pixels, at most 32,768.
    pub width: u16,
    /// Video: pixels, at most 32,768.
    pub height: u16,
    /// Video: width over height of one pixel.
    pub sample_aspect_ratio: (u32, u32),
    /// Video: `AVFieldOrder`.
    pub field_order: u8,
    /// Video: `AVColorRange`.
    pub color_range: u8,
    /// Video: colour primaries (H.273, table 2).
    pub color_primaries: u8,
    /// Video: transfer characteristics (H.273, table 3).
    pub color_transfer: u8,
    /// Video: matrix coefficients (H.273, table 4).
    pub color_space: u8,
    /// Video: `AVChromaLocation`.
    pub chroma_location: u8,
    /// Video: pictures that reordering holds back, at most 16.
    pub video_delay: u8,
    /// Video: pictures per second.
    pub frame_rate: (u32, u32),
    /// Video: 3x3 matrix that turns or mirrors the picture, in 16.16 and (last column) 2.30 fixed point.
    pub display_matrix: Option<[i32; 9]>,
    /// Audio: channels, at most 64.
    pub channels: u8,
    /// Audio: one bit a channel in ffmpeg's order, 0 when the layout is not of that kind.
    pub channel_mask: u64,
    /// Audio: samples per second, at most 1,000,000.
    pub sample_rate: u32,
    /// Audio: bytes of a coded block, at most 1,000,000.
    pub block_align: u32,
    /// Audio: samples of an access unit where fixed, at most 1,000,000.
    pub frame_size: u32,
    /// Audio: samples to discard at the start, at most 1,000,000.
    pub initial_padding: u32,
    /// Audio: samples to discard at the end, at most 1,000,000.
    pub trailing_padding: u32,
    /// Audio: samples to decode before a jump's target, at most 1,000,000.
    pub seek_preroll: u32,
    /// Language as ISO 639-2, such as `eng`.
    pub language: String,
    /// `AV_DISPOSITION_*` bits: default, forced, for the hearing impaired and so on.
    pub disposition: u32,
}

/// Why codec parameters cannot be encoded, decoded or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// The encoding ends too early.
    #[error("its codec parameters are cut short")]
    Truncated,
    /// Bytes follow the end of the encoding, or it is longer than 16 KiB.
    #[error("its codec parameters are too long")]
    TooLong,
    /// The encoding is of a version that this program does not know.
    #[error("its codec parameters are of version {0}: update this program")]
    Version(u8),
    /// A field holds a value outside its range.
    #[error("its codec parameters hold an impossible {0}")]
    Field(&'static str),
    /// The codec data is larger than a catalogue can hold.
    #[error("its codec data has {0} bytes, at most 15360 can be sent: remux it without")]
    ExtradataTooLong(usize),
    /// This ffmpeg does not know the codec.
    #[error("this ffmpeg does not know the codec {0:?}: update ffmpeg, or publish another codec")]
    UnknownCodec(String),
    /// This ffmpeg does not know the pixel or sample format.
    #[error("this ffmpeg does not know the format {0:?}: update ffmpeg, or publish another format")]
    UnknownFormat(String),
}

impl CodecParameters {
    /// Encodes for `Track::parameters`.
    ///
    /// # Errors
    /// [`ParametersError::ExtradataTooLong`] and [`ParametersError::Field`] when a field is beyond its limit.
    pub fn encode(&self) -> Result<Vec<u8>, ParametersError> {
        self.check()?;
        let mut out = Vec::with_capacity(192 + self.extradata.len());
        out.push(VERSION);
        out.push(self.medium.code());
        put_name(&mut out, &self.codec);
        out.extend(self.tag.to_le_bytes());
        put_name(&mut out, &self.format);
        out.extend(self.bit_rate.to_le_bytes());
        out.extend([self.bits_per_coded_sample, self.bits_per_raw_sample]);
        out.extend(self.profile.to_le_bytes());
        out.extend(self.level.to_le_bytes());
        out.extend(self.width.to_le_bytes());
        out.extend(self.height.to_le_bytes());
        put_ratio(&mut out, self.sample_aspect_ratio);
        out.extend([self.field_order, self.color_range, self.color_primaries, self.color_transfer]);
        out.extend([self.color_space, self.chroma_location, self.video_delay]);
        put_ratio(&mut out, self.frame_rate);
        out.push(u8::from(self.display_matrix.is_some()));
        for value in self.display_matrix.iter().flatten() {
            out.extend(value.to_le_bytes());
        }
        out.push(self.channels);
        out.extend(self.channel_mask.to_le_bytes());
        for value in self.sample_counts() {
            out.extend(value.to_le_bytes());
        }
        put_name(&mut out, &self.language);
        out.extend(self.disposition.to_le_bytes());
        // `check` holds the length under 15 KiB.
        out.extend((self.extradata.len() as u16).to_le_bytes());
        out.extend(&self.extradata);
        Ok(out)
    }

    /// Decodes what [`CodecParameters::encode`] made; never panics, whatever the bytes.
    ///
    /// # Errors
    /// [`ParametersError::Truncated`], [`ParametersError::TooLong`], [`ParametersError::Version`] and
    /// [`ParametersError::Field`]; whether this ffmpeg knows the codec is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, ParametersError> {
        if bytes.len() > PARAMETERS_BYTES_MAX {
            return Err(ParametersError::TooLong);
        }
        let mut from = Reader { rest: bytes };
        match from.byte()? {
            VERSION => {}
            other => return Err(ParametersError::Version(other)),
        }
        let parameters = Self {
            medium: Medium::from_code(from.byte()?).ok_or(ParametersError::Field("medium"))?,
            codec: from.name()?,
            tag: u32::from_le_bytes(from.array()?),
            format: from.name()?,
            bit_rate: i64::from_le_bytes(from.array()?),
            bits_per_coded_sample: from.byte()?,
            bits_per_raw_sample: from.byte()?,
            profile: i32::from_le_bytes(from.array()?),
            level: i32::from_le_bytes(from.array()?),
            width: u16::from_le_bytes(from.array()?),
            height: u16::from_le_bytes(from.array()?),
            sample_aspect_ratio: from.ratio()?,
            field_order: from.byte()?,
            color_range: from.byte()?,
            color_primaries: from.byte()?,
            color_transfer: from.byte()?,
            color_space: from.byte()?,
            chroma_location: from.byte()?,
            video_delay: from.byte()?,
            frame_rate: from.ratio()?,
            display_matrix: from.matrix()?,
            channels: from.byte()?,
            channel_mask: u64::from_le_bytes(from.array()?),
            sample_rate: u32::from_le_bytes(from.array()?),
            block_align: u32::from_le_bytes(from.array()?),
            frame_size: u32::from_le_bytes(from.array()?),
            initial_padding: u32::from_le_bytes(from.array()?),
            trailing_padding: u32::from_le_bytes(from.array()?),
            seek_preroll: u32::from_le_bytes(from.array()?),
            language: from.name()?,
            disposition: u32::from_le_bytes(from.array()?),
            extradata: from.extradata()?,
        };
        if !from.rest.is_empty() {
            return Err(ParametersError::TooLong);
        }
        parameters.check()?;
        Ok(parameters)
    }

    /// Holds every field to a range in which ffmpeg's muxers do not overflow: the bytes may come from a stranger.
    fn check(&self) -> Result<(), ParametersError> {
        let fits = |fits: bool, field| if fits { Ok(()) } else { Err(ParametersError::Field(field)) };
        if self.extradata.len() > EXTRADATA_BYTES_MAX {
            return Err(ParametersError::ExtradataTooLong(self.extradata.len()));
        }
        for (name, field) in [(&self.codec, "codec"), (&self.format, "format"), (&self.language, "language")]
        {
            fits(name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic()), field)?;
        }
        fits(!self.codec.is_empty(), "codec")?;
        fits(self.bit_rate >= 0, "bit rate")?;
        fits(self.bits_per_coded_sample <= 64 && self.bits_per_raw_sample <= 64, "sample size")?;
        fits(self.width <= 32_768 && self.height <= 32_768, "picture size")?;
        for (numerator, denominator) in [self.sample_aspect_ratio, self.frame_rate] {
            let whole = numerator <= i32::MAX as u32 && denominator <= i32::MAX as u32;
            fits(whole && (numerator == 0 || denominator > 0), "ratio")?;
        }
        // libavformat keeps 16 timestamps for reordering and does not check the delay that indexes them.
        fits(self.video_delay <= 16, "reordering delay")?;
        fits(self.channels <= 64, "number of channels")?;
        let mask_fits = self.channel_mask == 0 || self.channel_mask.count_ones() == u32::from(self.channels);
        fits(mask_fits, "channel layout")?;
        fits(self.sample_counts().into_iter().all(|count| count <= 1_000_000), "number of samples")
    }

    fn sample_counts(&self) -> [u32; 6] {
        [
            self.sample_rate,
            self.block_align,
            self.frame_size,
            self.initial_padding,
            self.trailing_padding,
            self.seek_preroll,
        ]
    }
}

impl Medium {
    fn code(self) -> u8 {
        match self {
            Self::Video => 0,
            Self::Audio => 1,
            Self::Subtitle => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Video, Self::Audio, Self::Subtitle].into_iter().find(|medium| medium.code() == code)
    }
}

/// Writes a length byte and the name, which `check` holds to 32 bytes.
fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(name.len() as u8);
    out.extend(name.as_bytes());
}

fn put_ratio(out: &mut Vec<u8>, (numerator, denominator): (u32, u32)) {
    out.extend(numerator.to_le_bytes());
    out.extend(denominator.to_le_bytes());
}

/// Takes fields off the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], ParametersError> {
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or(ParametersError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParametersError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(ParametersError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, ParametersError> {
        Ok(self.array::<1>()?[0])
    }

    fn name(&mut self) -> Result<String, ParametersError> {
        let length = self.byte()?;
        let name = std::str::from_utf8(self.take(usize::from(length))?);
        name.map(str::to_owned).map_err(|_| ParametersError::Field("name"))
    }

    fn ratio(&mut self) -> Result<(u32, u32), ParametersError> {
        Ok((u32::from_le_bytes(self.array()?), u32::from_le_bytes(self.array()?)))
    }

    fn matrix(&mut self) -> Result<Option<[i32; 9]>, ParametersError> {
        match self.byte()? {
            0 => Ok(None),
            1 => {
                let mut matrix = [0; 9];
                for value in &mut matrix {
                    *value = i32::from_le_bytes(self.array()?);
                }
                Ok(Some(matrix))
            }
            _ => Err(ParametersError::Field("display matrix")),
        }
    }

    fn extradata(&mut self) -> Result<Vec<u8>, ParametersError> {
        let length = u16::from_le_bytes(self.array()?);
        Ok(self.take(usize::from(length))?.to_vec())
    }
}

#[cfg(test)]
// Said, since a fuzz target takes this file into another place.
#[path = "parameters/tests.rs"]
mod tests;
