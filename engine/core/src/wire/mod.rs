//! Bytes to structs and back, without state: total, capped decoders that never panic.
//!
//! Integers are QUIC variable-length integers (RFC 9000, section 16) unless a width is given; fixed widths are
//! big endian. `docs/wire.md` lists every field with its size, range and limit.

mod beacon;
mod control;
mod datagram;
mod header;
mod offer;
mod place;
mod record;
mod report;

use std::net::IpAddr;

pub use beacon::{Beacon, NONCES_MAX, StreamState};
pub use control::{CARRIED_MAX, Control, Hello, INTRODUCED_MAX, StripeMask, SubscribeFrom};
pub(crate) use datagram::FRAGMENT_HEAD_BYTES_MAX;
pub use datagram::{
    Datagram, FragmentView, HAVE_BLOCKS_MAX, HaveMap, PARTIALS_MAX, WANTS_MAX, Want, encode_fragment,
    peek_tag,
};
pub use header::{BATCH_INLINE_BYTES_MAX, BlockHeader, HeaderProof, LEAF_BYTES, Leaf};
pub use offer::{Offer, decode_catalogue, encode_catalogue};
pub(crate) use place::Sibling;
pub use place::{BATCH_HEADERS_MAX, Place};
pub use record::{
    RECORD_HEAD_BYTES_MAX, Record, RecordReader, RecordWriter, TIMESTAMP_TICKS_MAX, is_carried,
};
pub use report::{REPORT_CODE_BYTES, Report};

/// Most bytes of ciphertext in a shard, its 16-byte tag included.
pub const SHARD_BYTES: usize = 1024;
/// Bytes that the AEAD adds to a shard.
pub const TAG_BYTES: usize = 16;
/// Most plaintext in a shard.
pub const SHARD_PLAIN_BYTES: usize = SHARD_BYTES - TAG_BYTES;
/// Most shards of a block, parity included: a word of the have-map keeps two bits for other uses.
pub const SHARDS_MAX: usize = 62;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Largest datagram ever made: what iroh's QUIC carries before path-MTU discovery.
pub const DATAGRAM_BYTES_MAX: usize = 1162;

const _: () = assert!(header::HEADER_BYTES_MAX <= DATAGRAM_BYTES_MAX);
const _: () = assert!(FRAGMENT_HEAD_BYTES_MAX + SHARD_BYTES <= DATAGRAM_BYTES_MAX);

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends before the message does.
    #[error("truncated")]
    Truncated,
    /// Bytes follow the end of the message.
    #[error("trailing bytes")]
    Trailing,
    /// The first byte names no known message.
    #[error("unknown message kind {0:#04x}")]
    UnknownKind(u8),
    /// A field is outside its range.
    #[error("field {0} is out of range")]
    Range(&'static str),
}

/// A cursor over received bytes; every read is checked.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes remain.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer remain.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes a fixed number of bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer remain.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Takes a big-endian 64-bit integer.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer than 8 bytes remain.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Takes a variable-length integer, 0 to 2^62 - 1.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when it is cut short.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = *self.rest.first().ok_or(DecodeError::Truncated)?;
        let width = 1usize << (first >> 6);
        let bytes = self.take(width)?;
        let value = bytes.iter().fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
        Ok(value & (VARINT_MAX >> (64 - 8 * width)))
    }

    /// Takes a signed integer in zigzag form.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when it is cut short.
    pub fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Takes a length-prefixed run of at most `limit` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Range`] with `field` when it is longer, [`DecodeError::Truncated`] when it is cut short.
    pub fn prefixed(&mut self, limit: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let count = self.varint()?;
        if count > limit as u64 {
            return Err(DecodeError::Range(field));
        }
        self.take(count as usize)
    }

    /// Takes a length-prefixed UTF-8 text of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Reader::prefixed`]; [`DecodeError::Range`] also when it is no UTF-8.
    pub fn text(&mut self, limit: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.prefixed(limit, field)?).map_err(|_| DecodeError::Range(field))
    }

    /// Takes an IP address: its family, 4 or 6, and 4 or 16 bytes.
    ///
    /// # Errors
    /// [`DecodeError::Range`] "address family" for any other, [`DecodeError::Truncated`] when it is cut short.
    pub fn address(&mut self) -> Result<IpAddr, DecodeError> {
        match self.u8()? {
            4 => Ok(IpAddr::from(self.array::<4>()?)),
            6 => Ok(IpAddr::from(self.array::<16>()?)),
            _ => Err(DecodeError::Range("address family")),
        }
    }

    /// Checks that nothing remains.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when something does.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

/// Largest value of a variable-length integer.
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Appends a variable-length integer; values over 2^62 - 1 are capped there.
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    let value = value.min(VARINT_MAX);
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Appends a signed integer in zigzag form; its magnitude is capped at 2^61 - 1.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    let value = value.clamp(-ZIGZAG_MAX, ZIGZAG_MAX);
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Largest magnitude of a zigzag integer: 2^61 - 1 ticks are 292 years at 250 MHz.
pub const ZIGZAG_MAX: i64 = (1 << 61) - 1;

/// Appends a length and the bytes.
fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
