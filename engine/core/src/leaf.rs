//! Leaf hashes: the first 16 bytes of a sealed shard's BLAKE3, of many shards side by side.
//!
//! A full shard is exactly one chunk of BLAKE3's tree, so its hash is the root of a tree of one node, and as many
//! shards as the processor has lanes cost little more than one. The crate's documented functions hash one input at a
//! time; its lanes are reached through `platform`, which it keeps unstable: hence the exact version in the workspace's
//! manifest, and the test that holds both to be the same hash.

use blake3::IncrementCounter;
use blake3::platform::Platform;
use bytes::Bytes;

use crate::ids::StreamTag;
use crate::wire::{FragmentView, LEAF_BYTES, Leaf, SHARD_BYTES, peek_tag};

/// Most lanes of any processor: AVX-512 has 16 of 32 bits.
const LANES_MAX: usize = 16;
/// Shards go to the lanes by so many, filled up with others if need be: with fewer, the crate's assembly for AVX-512
/// and AVX2 reads up to 48 bytes behind the first, which it takes to be followed by the next.
const LANES_TOGETHER: usize = 8;
/// So few are hashed faster one by one.
const ALONE_MAX: usize = 2;
/// Bytes of a whole hash.
const HASH_BYTES: usize = 32;
/// The key of the unkeyed mode (BLAKE3, table 1): that of SHA-256.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Flags of the first and last block of a leaf of the tree, and of its root (BLAKE3, table 3).
const START: u8 = 1;
const END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;

/// A datagram, with the hash of its shard when it is a fragment that was hashed beside others.
#[derive(Clone, Debug)]
pub struct Hashed {
    datagram: Bytes,
    /// Offset of the shard that was hashed, and its hash.
    leaf: Option<(usize, Leaf)>,
}

impl From<Bytes> for Hashed {
    fn from(datagram: Bytes) -> Self {
        Self { datagram, leaf: None }
    }
}

impl Hashed {
    /// Hashes the fragments among datagrams side by side, those of streams that are `wanted`.
    pub fn run(datagrams: Vec<Bytes>, wanted: impl Fn(StreamTag) -> bool) -> Vec<Self> {
        let shard_at = |datagram: &Bytes| {
            peek_tag(datagram).filter(|tag| wanted(*tag))?;
            FragmentView::decode(datagram).map(|view| view.shard_at)
        };
        let places: Vec<_> = datagrams.iter().map(shard_at).collect();
        let shards = datagrams.iter().zip(&places).filter_map(|(datagram, at)| datagram.get((*at)?..));
        let mut hashes = Vec::with_capacity(datagrams.len());
        leaves(shards, &mut hashes);
        let mut hashes = hashes.into_iter();
        let hashed = datagrams.into_iter().zip(places);
        hashed
            .map(|(datagram, at)| Self { datagram, leaf: at.and_then(|at| Some((at, hashes.next()?))) })
            .collect()
    }

    /// Returns the datagram.
    pub fn datagram(&self) -> &Bytes {
        &self.datagram
    }

    /// Returns the datagram, and the hash of the shard that begins at `shard_at` unless it has yet to be made.
    pub(crate) fn into_parts(self, shard_at: usize) -> (Bytes, Option<Leaf>) {
        let hash = self.leaf.filter(|(at, _)| *at == shard_at).map(|(_, leaf)| leaf);
        (self.datagram, hash)
    }
}

/// Hashes a sealed shard.
pub fn leaf(shard: &[u8]) -> Leaf {
    shorten(blake3::hash(shard).as_bytes())
}

/// Appends the hashes of sealed shards to `out`, in their order.
pub fn leaves<'a>(shards: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<Leaf>) {
    let platform = Platform::detect();
    let mut full: [&[u8; SHARD_BYTES]; LANES_MAX] = [&[0; SHARD_BYTES]; LANES_MAX];
    let mut count = 0;
    for shard in shards {
        match shard.try_into() {
            Ok(shard) => {
                full[count] = shard;
                count += 1;
            }
            Err(_) => {
                hash_full(platform, &full, std::mem::take(&mut count), out);
                out.push(leaf(shard));
            }
        }
        if count == LANES_MAX {
            hash_full(platform, &full, std::mem::take(&mut count), out);
        }
    }
    hash_full(platform, &full, count, out);
}

/// Hashes the first `count` of the shards; the others are any that can be read.
fn hash_full(
    platform: Platform,
    shards: &[&[u8; SHARD_BYTES]; LANES_MAX],
    count: usize,
    out: &mut Vec<Leaf>,
) {
    let alone = if count % LANES_TOGETHER <= ALONE_MAX { count % LANES_TOGETHER } else { 0 };
    let beside = count - alone;
    let mut hashes = [0; LANES_MAX * HASH_BYTES];
    let filled = &shards[..beside.next_multiple_of(LANES_TOGETHER)];
    platform.hash_many(filled, &IV, 0, IncrementCounter::No, 0, START, END | ROOT, &mut hashes);
    out.extend(hashes.as_chunks().0.iter().take(beside).map(shorten));
    out.extend(shards[beside..count].iter().map(|shard| leaf(*shard)));
}

fn shorten(hash: &[u8; HASH_BYTES]) -> Leaf {
    let mut leaf = [0; LEAF_BYTES];
    leaf.copy_from_slice(&hash[..LEAF_BYTES]);
    leaf
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that an allocator always takes from the system, with its headers whole pages: what is behind
    /// them is the allocation before, and a hole once that is given back.
    const MAPPED_BYTES: usize = (64 << 20) - 32;

    #[test]
    fn nothing_is_read_behind_a_shard_at_the_end_of_memory() {
        let behind = vec![0_u8; MAPPED_BYTES];
        let memory = vec![0_u8; MAPPED_BYTES];
        drop(behind);
        let last: &[u8] = &memory[MAPPED_BYTES - SHARD_BYTES..];
        for count in 1..=2 * LANES_MAX {
            let mut hashes = Vec::new();
            leaves(std::iter::repeat_n(last, count), &mut hashes);
            assert_eq!(hashes, vec![leaf(last); count]);
        }
    }

    #[test]
    fn side_by_side_and_one_by_one_give_the_same_hash() {
        let shard = |n: usize| -> Vec<u8> {
            let bytes = if n % 7 == 5 { 16 + n } else { SHARD_BYTES };
            (0..bytes).map(|at| ((at * (n + 3)) >> 2) as u8).collect()
        };
        for count in 0..62 {
            let shards: Vec<_> = (0..count).map(shard).collect();
            let mut hashed = vec![[7; LEAF_BYTES]];
            leaves(shards.iter().map(Vec::as_slice), &mut hashed);
            assert_eq!(hashed[0], [7; LEAF_BYTES], "what was there stays");
            let each: Vec<_> = shards.iter().map(|shard| leaf(shard)).collect();
            assert_eq!(hashed[1..], each, "{count}");
        }
    }
}
