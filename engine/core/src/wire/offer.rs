//! The offer: a stream's identity, epoch, certified endpoint and sealed catalogue, signed by the stream key.

use std::time::Duration;

use bytes::Bytes;

use super::{DecodeError, Reader, SIGNATURE_BYTES, put_address, put_prefixed, put_varint};
use crate::catalogue::{
    Catalogue, RENDITIONS_MAX, Rendition, TRACKS_MAX, TimeBase, Track, TrackId, TrackKind,
};
use crate::group::{GROUP_NAME_BYTES_MAX, check_name};
use crate::ids::{Epoch, PeerId, StreamKey, micros};
use crate::multicast::MulticastGroup;

const CODEC_BYTES_MAX: usize = 32;
const PARAMETERS_BYTES_MAX: usize = 16 << 10;
const CATALOGUE_BYTES_MAX: usize = 60 << 10;
const EXPIRY_MAX: Duration = Duration::from_secs(60);

/// A signed offer, as it is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The stream.
    pub key: StreamKey,
    /// The run.
    pub epoch: Epoch,
    /// Version of the catalogue within the epoch; a higher one replaces a lower.
    pub version: u64,
    /// The transport endpoint that the stream key certifies as the publisher's.
    pub publisher: PeerId,
    /// The catalogue, sealed for the group.
    pub sealed: Bytes,
    /// Signature by the stream key over all of the above.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Offer {
    /// Appends everything that the signature covers.
    pub fn encode_signed(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.epoch.0.to_be_bytes());
        put_varint(out, self.version);
        out.extend_from_slice(&self.publisher.0);
        put_prefixed(out, &self.sealed);
    }

    /// Appends the whole offer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_signed(out);
        out.extend_from_slice(&self.signature);
    }

    /// Reads an offer.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut short or a field is out of range.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: StreamKey(reader.array()?),
            epoch: Epoch(reader.u64()?),
            version: reader.varint()?,
            publisher: PeerId(reader.array()?),
            sealed: Bytes::copy_from_slice(
                reader.prefixed(CATALOGUE_BYTES_MAX + super::TAG_BYTES, "catalogue")?,
            ),
            signature: reader.array()?,
        })
    }
}

/// Encodes a catalogue.
///
/// # Errors
/// [`DecodeError::Range`] names the field that no receiver would accept.
pub fn encode_catalogue(catalogue: &Catalogue) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    put_prefixed(&mut out, catalogue.name.as_bytes());
    put_varint(&mut out, micros(catalogue.expiry));
    put_varint(&mut out, catalogue.tracks.len() as u64);
    for track in &catalogue.tracks {
        out.extend_from_slice(&[track.id.0, track.kind as u8]);
        put_prefixed(&mut out, track.codec.as_bytes());
        put_varint(&mut out, u64::from(track.time_base.numerator));
        put_varint(&mut out, u64::from(track.time_base.denominator));
        put_varint(&mut out, u64::from(track.bitrate));
        put_prefixed(&mut out, &track.parameters);
    }
    put_varint(&mut out, catalogue.renditions.len() as u64);
    for rendition in &catalogue.renditions {
        out.extend_from_slice(&rendition.key.0);
        put_prefixed(&mut out, rendition.name.as_bytes());
        out.extend_from_slice(&rendition.width.to_be_bytes());
        out.extend_from_slice(&rendition.height.to_be_bytes());
        put_varint(&mut out, u64::from(rendition.bitrate));
    }
    out.push(u8::from(catalogue.multicast.is_some()));
    if let Some(group) = &catalogue.multicast {
        put_address(&mut out, group.address);
        out.extend_from_slice(&group.port.to_be_bytes());
        out.push(u8::from(group.source.is_some()));
        group.source.into_iter().for_each(|source| put_address(&mut out, source));
    }
    if out.len() > CATALOGUE_BYTES_MAX {
        return Err(DecodeError::Range("catalogue"));
    }
    decode_catalogue(&out).map(|_| out)
}

/// Reads a catalogue.
///
/// # Errors
/// [`DecodeError`] when it is cut short, too long, or a field is out of range.
pub fn decode_catalogue(bytes: &[u8]) -> Result<Catalogue, DecodeError> {
    let mut reader = Reader::new(bytes);
    let name = reader.text(GROUP_NAME_BYTES_MAX, "name")?;
    check_name(name).map_err(|_| DecodeError::Range("name"))?;
    let expiry = Duration::from_micros(reader.varint()?);
    if expiry > EXPIRY_MAX {
        return Err(DecodeError::Range("expiry"));
    }
    let (tracks, renditions) = (Vec::new(), Vec::new());
    let mut catalogue = Catalogue { name: name.to_owned(), expiry, tracks, renditions, multicast: None };
    let tracks = reader.varint()?;
    if tracks == 0 || tracks > TRACKS_MAX as u64 {
        return Err(DecodeError::Range("track count"));
    }
    for _ in 0..tracks {
        let track = decode_track(&mut reader)?;
        if catalogue.tracks.last().is_some_and(|last| last.id >= track.id) {
            return Err(DecodeError::Range("track order"));
        }
        catalogue.tracks.push(track);
    }
    let renditions = reader.varint()?;
    if renditions > RENDITIONS_MAX as u64 {
        return Err(DecodeError::Range("rendition count"));
    }
    for _ in 0..renditions {
        catalogue.renditions.push(decode_rendition(&mut reader)?);
    }
    catalogue.multicast = decode_multicast(&mut reader)?;
    reader.end()?;
    Ok(catalogue)
}

fn decode_rendition(reader: &mut Reader<'_>) -> Result<Rendition, DecodeError> {
    let key = StreamKey(reader.array()?);
    let name = reader.text(GROUP_NAME_BYTES_MAX, "rendition name")?;
    check_name(name).map_err(|_| DecodeError::Range("rendition name"))?;
    let (width, height) = (u16::from_be_bytes(reader.array()?), u16::from_be_bytes(reader.array()?));
    Ok(Rendition { key, name: name.to_owned(), width, height, bitrate: read_u32(reader, "bitrate")? })
}

fn decode_multicast(reader: &mut Reader<'_>) -> Result<Option<MulticastGroup>, DecodeError> {
    if !read_flag(reader)? {
        return Ok(None);
    }
    let (address, port) = (reader.address()?, u16::from_be_bytes(reader.array()?));
    let source = if read_flag(reader)? { Some(reader.address()?) } else { None };
    let group =
        MulticastGroup::new(address, port, source).map_err(|_| DecodeError::Range("multicast group"))?;
    Ok(Some(group))
}

fn read_flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Range("flag")),
    }
}

fn decode_track(reader: &mut Reader<'_>) -> Result<Track, DecodeError> {
    let id = reader.u8()?;
    if usize::from(id) >= TRACKS_MAX {
        return Err(DecodeError::Range("track id"));
    }
    let kind = match reader.u8()? {
        0 => TrackKind::Video,
        1 => TrackKind::Audio,
        2 => TrackKind::Data,
        3 => TrackKind::Subtitle,
        _ => return Err(DecodeError::Range("track kind")),
    };
    let codec = reader.text(CODEC_BYTES_MAX, "codec")?.to_owned();
    let time_base =
        TimeBase { numerator: read_u32(reader, "time base")?, denominator: read_u32(reader, "time base")? };
    if time_base.numerator == 0 || time_base.denominator == 0 {
        return Err(DecodeError::Range("time base"));
    }
    let bitrate = read_u32(reader, "bitrate")?;
    let parameters = Bytes::copy_from_slice(reader.prefixed(PARAMETERS_BYTES_MAX, "parameters")?);
    Ok(Track { id: TrackId(id), kind, codec, time_base, bitrate, parameters })
}

fn read_u32(reader: &mut Reader<'_>, field: &'static str) -> Result<u32, DecodeError> {
    u32::try_from(reader.varint()?).map_err(|_| DecodeError::Range(field))
}
