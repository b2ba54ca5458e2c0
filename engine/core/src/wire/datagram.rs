//! The datagrams: header, fragment, beacon, have-map, pull, nack and offer.

use super::{
    DecodeError, Offer, Reader, SHARD_BYTES, SHARDS_MAX, StripeMask, TAG_BYTES, put_prefixed, put_varint,
};
use crate::ids::{BlockId, FragmentId, STRIPES, StreamTag};

/// First byte of a datagram: wire version 1 in the high nibble.
pub(super) mod kind {
    pub(crate) const HEADER: u8 = 0x11;
    pub(crate) const FRAGMENT: u8 = 0x12;
    pub(crate) const BEACON: u8 = 0x13;
    pub(crate) const HAVE: u8 = 0x14;
    pub(crate) const PULL: u8 = 0x15;
    pub(crate) const NACK: u8 = 0x16;
    pub(crate) const SHED: u8 = 0x17;
    pub(crate) const OFFER: u8 = 0x18;
    pub(crate) const REPORT: u8 = 0x19;
    pub(crate) const BATCH_HEADER: u8 = 0x1a;
}

/// Kind, tag, block number and index at their widest.
pub(crate) const FRAGMENT_HEAD_BYTES_MAX: usize = 1 + 4 + 8 + 1;

/// Most entries of a pull or a nack.
pub const WANTS_MAX: usize = 64;
/// Most partly held blocks that a have-map spells out.
pub const PARTIALS_MAX: usize = 64;
/// Most blocks behind its base that a have-map speaks of: 8 s at 250 blocks a second.
pub const HAVE_BLOCKS_MAX: usize = 2000;

/// A parsed datagram; headers, fragments and beacons stay bytes until they are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A block header, signed by itself or with others.
    Header,
    /// A fragment.
    Fragment(FragmentView),
    /// A beacon.
    Beacon,
    /// What the sender holds.
    Have(HaveMap),
    /// What the sender wants.
    Pull(Vec<Want>),
    /// What the sender was asked for and does not hold.
    Nack(Vec<Want>),
    /// What the sender holds and will not send, since the path is too narrow.
    Shed(Vec<Want>),
    /// A stream that is multicast where this came by.
    Offer(Box<Offer>),
    /// What a viewer receives; stays bytes until its code is checked.
    Report,
}

/// Where a fragment's parts lie in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentView {
    /// Its number.
    pub id: FragmentId,
    /// Offset of the ciphertext, which runs to the datagram's end.
    pub shard_at: usize,
}

/// One entry of a pull or a nack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The block.
    pub block: BlockId,
    /// Bits 0 to 61: shards; bit 63: the header. Never 0.
    pub word: u64,
}

impl Want {
    /// The bit of the header in a word.
    pub const HEADER: u64 = 1 << 63;
    /// Word of all data that a block may have, with its header: asked for by who knows nothing of it.
    pub const BLOCK: u64 = u64::MAX;
    /// The bits of all shards that can be.
    pub const SHARDS: u64 = (1 << SHARDS_MAX) - 1;
}

/// What a node holds of a stream: everything in `oldest..base`, and what the words say behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HaveMap {
    /// Hops to the publisher by stripe, 0 at the publisher, 15 when the stripe is not received.
    pub depths: [u8; STRIPES as usize],
    /// By how many rounds of [`HaveMap::ROUND_MS`] the newest word of the publisher's that came down to this node by
    /// its suppliers is behind `beacon_ms`, by stripe; 0 at the publisher, 15 or more is 15.
    pub ages: [u8; STRIPES as usize],
    /// Stripes of which it would push one more to who asks.
    pub gives: StripeMask,
    /// Time of the newest beacon held, in ms since the epoch began.
    pub beacon_ms: u64,
    /// Oldest block still held.
    pub oldest: BlockId,
    /// First block that is not complete.
    pub base: BlockId,
    /// A bit for each block from `base` on: complete. Little endian within bytes; at most 250 bytes.
    pub complete: Vec<u8>,
    /// Words of blocks that are partly held: offset from `base`, and the word with its header bit.
    pub partial: Vec<(u16, u64)>,
}

impl HaveMap {
    /// Depth of a stripe that is not received.
    pub const NO_DEPTH: u8 = 15;
    /// Length of a round: the time between two beacons.
    pub const ROUND_MS: u64 = 250;
}

/// Returns the stream tag of a datagram without parsing it.
pub fn peek_tag(datagram: &[u8]) -> Option<StreamTag> {
    datagram.get(1..5)?.try_into().ok().map(StreamTag)
}

/// Appends a fragment datagram up to the place where its ciphertext goes.
pub fn encode_fragment(tag: StreamTag, id: FragmentId, out: &mut Vec<u8>) {
    put_head(out, kind::FRAGMENT, tag);
    put_varint(out, id.block.0);
    out.push(id.index);
}

fn put_head(out: &mut Vec<u8>, kind: u8, tag: StreamTag) {
    out.push(kind);
    out.extend_from_slice(&tag.0);
}

impl FragmentView {
    /// Parses a datagram if it is a fragment.
    pub(crate) fn decode(datagram: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(datagram);
        let is_fragment = reader.u8().ok()? == kind::FRAGMENT && reader.take(4).is_ok();
        if is_fragment { decode_fragment(datagram.len(), reader).ok() } else { None }
    }
}

impl Datagram {
    /// Parses a datagram.
    ///
    /// # Errors
    /// [`DecodeError`] for everything that is not exactly one well-formed datagram.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        let kind = reader.u8()?;
        reader.take(4)?;
        match kind {
            kind::HEADER | kind::BATCH_HEADER => Ok(Self::Header),
            kind::BEACON => Ok(Self::Beacon),
            kind::FRAGMENT => decode_fragment(datagram.len(), reader).map(Self::Fragment),
            kind::HAVE => decode_have(reader).map(Self::Have),
            kind::PULL => decode_wants(reader).map(Self::Pull),
            kind::NACK => decode_wants(reader).map(Self::Nack),
            kind::SHED => decode_wants(reader).map(Self::Shed),
            kind::OFFER => {
                let offer = Offer::decode(&mut reader)?;
                reader.end()?;
                Ok(Self::Offer(Box::new(offer)))
            }
            kind::REPORT => Ok(Self::Report),
            other => Err(DecodeError::UnknownKind(other)),
        }
    }

    /// Encodes an offer for a multicast path.
    pub fn encode_offer(tag: StreamTag, offer: &Offer) -> Vec<u8> {
        let mut out = Vec::with_capacity(192 + offer.sealed.len());
        put_head(&mut out, kind::OFFER, tag);
        offer.encode(&mut out);
        out
    }

    /// Encodes a pull.
    pub fn encode_pull(tag: StreamTag, wants: &[Want]) -> Vec<u8> {
        encode_wants(kind::PULL, tag, wants)
    }

    /// Encodes a nack.
    pub fn encode_nack(tag: StreamTag, wants: &[Want]) -> Vec<u8> {
        encode_wants(kind::NACK, tag, wants)
    }

    /// Encodes a notice of what was shed.
    pub fn encode_shed(tag: StreamTag, wants: &[Want]) -> Vec<u8> {
        encode_wants(kind::SHED, tag, wants)
    }

    /// Encodes a have-map; what it says of blocks past [`HAVE_BLOCKS_MAX`] is left out.
    pub fn encode_have(tag: StreamTag, map: &HaveMap) -> Vec<u8> {
        let complete = &map.complete[..map.complete.len().min(HAVE_BLOCKS_MAX / 8)];
        let mut out = Vec::with_capacity(48 + complete.len() + 10 * map.partial.len());
        put_head(&mut out, kind::HAVE, tag);
        for pair in map.depths.chunks_exact(2).chain(map.ages.chunks_exact(2)) {
            out.push(pair[0].min(15) | pair[1].min(15) << 4);
        }
        out.push(map.gives.0);
        put_varint(&mut out, map.beacon_ms);
        put_varint(&mut out, map.oldest.0);
        put_varint(&mut out, map.base.0.saturating_sub(map.oldest.0));
        put_prefixed(&mut out, complete);
        let partial = map.partial.iter().filter(|(offset, _)| usize::from(*offset) < HAVE_BLOCKS_MAX);
        for (offset, word) in partial.take(PARTIALS_MAX) {
            put_varint(&mut out, u64::from(*offset));
            out.extend_from_slice(&word.to_be_bytes());
        }
        out
    }
}

fn decode_fragment(whole: usize, mut reader: Reader<'_>) -> Result<FragmentView, DecodeError> {
    let block = BlockId(reader.varint()?);
    let index = reader.u8()?;
    if usize::from(index) >= SHARDS_MAX {
        return Err(DecodeError::Range("fragment index"));
    }
    if !(TAG_BYTES + 1..=SHARD_BYTES).contains(&reader.remaining()) {
        return Err(DecodeError::Range("shard length"));
    }
    Ok(FragmentView { id: FragmentId { block, index }, shard_at: whole - reader.remaining() })
}

fn decode_have(mut reader: Reader<'_>) -> Result<HaveMap, DecodeError> {
    let (depths, ages) = (nibbles(reader.array()?), nibbles(reader.array()?));
    let gives = StripeMask(reader.u8()?);
    let beacon_ms = reader.varint()?;
    let oldest = reader.varint()?;
    let base = oldest.saturating_add(reader.varint()?);
    let complete = reader.prefixed(HAVE_BLOCKS_MAX / 8, "have-map length")?.to_vec();
    let mut partial = Vec::new();
    while reader.remaining() > 0 {
        let offset = reader.varint()?;
        if partial.len() == PARTIALS_MAX || offset >= HAVE_BLOCKS_MAX as u64 {
            return Err(DecodeError::Range("partial blocks"));
        }
        partial.push((offset as u16, reader.u64()?));
    }
    Ok(HaveMap {
        depths,
        ages,
        gives,
        beacon_ms,
        oldest: BlockId(oldest),
        base: BlockId(base),
        complete,
        partial,
    })
}

/// Takes two values out of each byte, the low one first.
fn nibbles(packed: [u8; STRIPES as usize / 2]) -> [u8; STRIPES as usize] {
    let mut values = [0; STRIPES as usize];
    for (pair, byte) in values.chunks_exact_mut(2).zip(packed) {
        pair.copy_from_slice(&[byte & 0x0f, byte >> 4]);
    }
    values
}

fn encode_wants(kind: u8, tag: StreamTag, wants: &[Want]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + 12 * wants.len());
    put_head(&mut out, kind, tag);
    for want in wants.iter().take(WANTS_MAX) {
        put_varint(&mut out, want.block.0);
        out.extend_from_slice(&want.word.to_be_bytes());
    }
    out
}

fn decode_wants(mut reader: Reader<'_>) -> Result<Vec<Want>, DecodeError> {
    let mut wants = Vec::new();
    while reader.remaining() > 0 {
        let want = Want { block: BlockId(reader.varint()?), word: reader.u64()? };
        if wants.len() == WANTS_MAX || want.word == 0 {
            return Err(DecodeError::Range("wants"));
        }
        wants.push(want);
    }
    if wants.is_empty() { Err(DecodeError::Truncated) } else { Ok(wants) }
}
