//! The block header: what the publisher signs once for up to 62 shards, by itself or with up to seven others.

use std::time::Duration;

use super::{
    DecodeError, Place, Reader, SHARD_BYTES, SHARDS_MAX, SIGNATURE_BYTES, TAG_BYTES, datagram::kind,
    put_varint, put_zigzag,
};
use crate::ids::{BlockId, MediaTime, Priority, STRIPES, StreamTag, Stripe};

/// Bytes of a leaf hash.
pub const LEAF_BYTES: usize = 16;

/// The first 16 bytes of BLAKE3 over a shard's ciphertext.
pub type Leaf = [u8; LEAF_BYTES];

/// Kind, tag, number, flags, counts, last length, close time, media time: each at its widest.
const HEAD_BYTES_MAX: usize = 1 + 4 + 8 + 1 + 2 + 2 + 8 + 8;
/// A header's place in its batch, and the path from its leaf to the root of eight.
const PLACE_BYTES_MAX: usize = 1 + 3 * LEAF_BYTES;
/// Largest header datagram, with 62 leaf hashes, in a batch.
pub(super) const HEADER_BYTES_MAX: usize =
    HEAD_BYTES_MAX + SHARDS_MAX * LEAF_BYTES + PLACE_BYTES_MAX + SIGNATURE_BYTES;
const _: () = assert!(HEAD_BYTES_MAX + SHARD_BYTES + SIGNATURE_BYTES <= super::DATAGRAM_BYTES_MAX);
/// Largest inline shard in a batch: two units of sound, beside the picture that they leave with.
pub const BATCH_INLINE_BYTES_MAX: usize = 960;
const _: () = assert!(
    HEAD_BYTES_MAX + BATCH_INLINE_BYTES_MAX + PLACE_BYTES_MAX + SIGNATURE_BYTES <= super::DATAGRAM_BYTES_MAX
);

/// Close and media times travel in units of 100 us: four bytes hold the first 29 hours.
const TICK_MICROS: i64 = 100;

const FLAG_CONTINUES: u8 = 0x20;
const FLAG_RANDOM_ACCESS: u8 = 0x40;
const FLAG_INLINE: u8 = 0x80;

/// Everything a block header says, apart from its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The block's number.
    pub block: BlockId,
    /// The stripe it is pushed on.
    pub stripe: Stripe,
    /// What is shed first.
    pub priority: Priority,
    /// Whether its bytes go on with the access unit that the block before it began.
    pub continues: bool,
    /// Whether it begins with a random-access point of the stream's lead track.
    pub random_access: bool,
    /// Data shards, 1 to 62.
    pub data: u8,
    /// Parity shards, 0 to 61; together with `data` at most 62.
    pub parity: u8,
    /// Ciphertext bytes of the last data shard, 17 to 1,024; all others have 1,024.
    pub last_shard_bytes: u16,
    /// When the block was closed, since the epoch began on the publisher's clock; kept to 100 us.
    pub closed: Duration,
    /// Presentation time of its first access unit; kept to 100 us.
    pub media_time: MediaTime,
    /// A hash for each shard, data before parity; empty when the only shard travels in the header's datagram.
    pub leaves: Vec<Leaf>,
}

/// How a header is signed: by itself, or by its path to the signed root of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderProof {
    /// Bytes of the datagram that its leaf covers; the path follows, and the signature ends the datagram.
    pub covered: usize,
    /// Its place among the headers that the signature covers.
    pub place: Place,
}

impl BlockHeader {
    /// Makes the header of a reference picture's block, as it is handed to a sealer, which fills in the rest.
    #[cfg(test)]
    pub(crate) fn unsealed(block: BlockId, closed: Duration) -> Self {
        Self {
            block,
            stripe: Stripe(0),
            priority: Priority::Reference,
            continues: false,
            random_access: false,
            data: 1,
            parity: 0,
            last_shard_bytes: 0,
            closed,
            media_time: MediaTime(0),
            leaves: Vec::new(),
        }
    }

    /// Returns the number of shards, parity included.
    pub fn shards(&self) -> u8 {
        self.data + self.parity
    }

    /// Returns whether the only shard travels in the header's datagram.
    pub fn is_inline(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Returns the have-map bits of the data shards: a block is complete once it has these and its header.
    pub fn data_word(&self) -> u64 {
        (1 << self.data) - 1
    }

    /// Returns the have-map bits of all shards: those of the parity lie behind those of the data.
    pub fn full_word(&self) -> u64 {
        (1 << self.shards()) - 1
    }

    /// Returns the ciphertext bytes of a shard; parity is as long as the longest data shard.
    pub fn shard_bytes(&self, index: u8) -> usize {
        if self.data == 1 || index.checked_add(1) == Some(self.data) {
            usize::from(self.last_shard_bytes)
        } else {
            SHARD_BYTES
        }
    }

    /// Appends the signed part of the datagram; `inline` is the only shard of a block without leaves.
    pub fn encode(&self, tag: StreamTag, inline: &[u8], out: &mut Vec<u8>) {
        self.encode_at(Place::ALONE, tag, inline, out);
    }

    /// As [`BlockHeader::encode`], for a header that is signed at its place in a batch.
    pub fn encode_at(&self, place: Place, tag: StreamTag, inline: &[u8], out: &mut Vec<u8>) {
        out.push(if place.is_alone() { kind::HEADER } else { kind::BATCH_HEADER });
        out.extend_from_slice(&tag.0);
        if !place.is_alone() {
            out.push(place.to_byte());
        }
        put_varint(out, self.block.0);
        let mut flags = self.stripe.0 & 0x07 | (self.priority as u8) << 3;
        flags |= if self.continues { FLAG_CONTINUES } else { 0 };
        flags |= if self.random_access { FLAG_RANDOM_ACCESS } else { 0 };
        flags |= if self.is_inline() { FLAG_INLINE } else { 0 };
        out.push(flags);
        if !self.is_inline() {
            out.extend_from_slice(&[self.data, self.parity]);
            out.extend_from_slice(&self.last_shard_bytes.to_be_bytes());
        }
        put_varint(out, self.closed.as_micros() as u64 / TICK_MICROS as u64);
        put_zigzag(out, self.media_time.0.div_euclid(TICK_MICROS));
        if self.is_inline() {
            out.extend_from_slice(inline);
        } else {
            self.leaves.iter().for_each(|leaf| out.extend_from_slice(leaf));
        }
    }

    /// Reads a header datagram; returns the header, the offset of the inline shard (when there is one), and how it is
    /// signed.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut short, too long, or a field is out of range.
    pub fn decode(datagram: &[u8]) -> Result<(Self, usize, HeaderProof), DecodeError> {
        let (place, path_bytes) = read_place(datagram)?;
        let proof_bytes = path_bytes + SIGNATURE_BYTES;
        let covered = datagram.len().checked_sub(proof_bytes).ok_or(DecodeError::Truncated)?;
        let mut reader = Reader::new(&datagram[..covered]);
        reader.take(if place.is_alone() { 5 } else { 6 })?;
        let block = BlockId(reader.varint()?);
        let flags = reader.u8()?;
        let inline = flags & FLAG_INLINE != 0;
        let (data, parity, last) = if inline { (1, 0, 0) } else { read_counts(&mut reader)? };
        let closed_ticks = i64::try_from(reader.varint()?).map_err(|_| DecodeError::Range("close time"))?;
        let closed = from_ticks(closed_ticks, "close time")?;
        let media_time = from_ticks(reader.zigzag()?, "media time")?;
        let body_at = covered - reader.remaining();
        let mut header = Self {
            block,
            stripe: Stripe(flags & (STRIPES - 1)),
            priority: read_priority(flags >> 3 & 0x03)?,
            continues: flags & FLAG_CONTINUES != 0,
            random_access: flags & FLAG_RANDOM_ACCESS != 0,
            data,
            parity,
            last_shard_bytes: last,
            closed: Duration::from_micros(closed.unsigned_abs()),
            media_time: MediaTime(media_time),
            leaves: Vec::new(),
        };
        if inline {
            header.last_shard_bytes = check_shard_bytes(reader.remaining())?;
            if !place.is_alone() && reader.remaining() > BATCH_INLINE_BYTES_MAX {
                return Err(DecodeError::Range("inline shard"));
            }
        } else {
            header.leaves.reserve_exact(usize::from(header.shards()));
            for _ in 0..header.shards() {
                header.leaves.push(reader.array()?);
            }
            reader.end()?;
        }
        Ok((header, body_at, HeaderProof { covered, place }))
    }
}

/// Reads a header's place in its batch; returns the bytes of its path too.
fn read_place(datagram: &[u8]) -> Result<(Place, usize), DecodeError> {
    let mut reader = Reader::new(datagram);
    let kind = reader.u8()?;
    reader.take(4)?;
    match kind {
        kind::HEADER => Ok((Place::ALONE, 0)),
        kind::BATCH_HEADER => {
            let place = Place::from_byte(reader.u8()?).ok_or(DecodeError::Range("place"))?;
            Ok((place, place.siblings().count() * LEAF_BYTES))
        }
        other => Err(DecodeError::UnknownKind(other)),
    }
}

/// Refuses times past 292,000 years, so that microseconds fit.
fn from_ticks(ticks: i64, field: &'static str) -> Result<i64, DecodeError> {
    ticks.checked_mul(TICK_MICROS).ok_or(DecodeError::Range(field))
}

fn read_counts(reader: &mut Reader<'_>) -> Result<(u8, u8, u16), DecodeError> {
    let (data, parity) = (reader.u8()?, reader.u8()?);
    if data == 0 || usize::from(data) + usize::from(parity) > SHARDS_MAX {
        return Err(DecodeError::Range("shard counts"));
    }
    let last = u16::from_be_bytes(reader.array()?);
    Ok((data, parity, check_shard_bytes(usize::from(last))?))
}

fn check_shard_bytes(count: usize) -> Result<u16, DecodeError> {
    if (TAG_BYTES + 1..=SHARD_BYTES).contains(&count) {
        Ok(count as u16)
    } else {
        Err(DecodeError::Range("shard length"))
    }
}

fn read_priority(bits: u8) -> Result<Priority, DecodeError> {
    match bits {
        0 => Ok(Priority::Essential),
        1 => Ok(Priority::Reference),
        2 => Ok(Priority::Disposable),
        _ => Err(DecodeError::Range("priority")),
    }
}
