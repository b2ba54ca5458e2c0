//! One signature for the headers of several blocks: a tree of hashes over them, whose root is signed.
//!
//! A leaf is BLAKE3 over a header as far as it is covered, whose first byte is its kind, 0x11 or 0x1a; a node is BLAKE3
//! over 0x01 and the first 16 bytes of what it joins. So nothing is both a leaf and a node, and a header names its own
//! place in its leaf. A header that is signed by itself is a tree of one leaf.

use std::collections::VecDeque;

use crate::wire::{HeaderProof, LEAF_BYTES, Place, SIGNATURE_BYTES, Sibling};

/// A whole hash of a header or node.
pub(super) type Hash = [u8; 32];

/// What a node's bytes begin with; the kind of no datagram.
const NODE: u8 = 0x01;
/// Roots that are remembered: as many batches as are on their way at once, when repairs come between.
const ROOTS_MAX: usize = 8;

/// The signed roots that verified last, so that the headers of a batch cost one signature between them; at most 8.
#[derive(Clone, Debug, Default)]
pub struct SignedRoots(VecDeque<(Hash, [u8; SIGNATURE_BYTES])>);

impl SignedRoots {
    /// Returns whether this very signature was verified for this root.
    pub(super) fn knows(&self, root: &Hash, signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.0.iter().any(|(known, by)| known == root && by == signature)
    }

    /// Remembers a signature that verified, in the place of the oldest.
    pub(super) fn keep(&mut self, root: Hash, signature: [u8; SIGNATURE_BYTES]) {
        self.0.truncate(ROOTS_MAX - 1);
        self.0.push_front((root, signature));
    }
}

/// Returns the root that a header's datagram leads to, whether or not it is the signed one.
pub(super) fn root(datagram: &[u8], proof: &HeaderProof) -> Hash {
    let (covered, rest) = datagram.split_at(proof.covered.min(datagram.len()));
    let path = rest.as_chunks::<LEAF_BYTES>().0;
    let mut hash = *blake3::hash(covered).as_bytes();
    for (sibling, by) in proof.place.siblings().zip(path) {
        hash = match sibling {
            Sibling::Left => join(by, &shorten(&hash)),
            Sibling::Right => join(&shorten(&hash), by),
        };
    }
    hash
}

/// Appends to each of the headers, encoded for places of one batch, the path from its leaf to the root; returns the
/// root. There is at least one.
pub(super) fn grow(headers: &mut [Vec<u8>]) -> Hash {
    let mut hashes: Vec<Hash> = headers.iter().map(|covered| *blake3::hash(covered).as_bytes()).collect();
    let mut level = 0;
    while hashes.len() > 1 {
        for (at, header) in headers.iter_mut().enumerate() {
            let sibling = hashes.get(at >> level ^ 1);
            sibling.into_iter().for_each(|hash| header.extend_from_slice(&shorten(hash)));
        }
        let joined = hashes.chunks(2).map(|pair| match pair {
            [left, right] => join(&shorten(left), &shorten(right)),
            lonely => lonely.first().copied().unwrap_or_default(),
        });
        hashes = joined.collect();
        level += 1;
    }
    hashes.first().copied().unwrap_or_default()
}

/// Returns the places of a batch of `count` headers, 1 to 8, in their order.
pub(super) fn places(count: usize) -> impl Iterator<Item = Place> {
    (0..count as u8).filter_map(move |index| Place::new(index, count as u8))
}

fn join(left: &[u8; LEAF_BYTES], right: &[u8; LEAF_BYTES]) -> Hash {
    let mut node = [NODE; 1 + 2 * LEAF_BYTES];
    node[1..=LEAF_BYTES].copy_from_slice(left);
    node[1 + LEAF_BYTES..].copy_from_slice(right);
    *blake3::hash(&node).as_bytes()
}

fn shorten(hash: &Hash) -> [u8; LEAF_BYTES] {
    let mut short = [0; LEAF_BYTES];
    short.copy_from_slice(&hash[..LEAF_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `docs/wire.md`.
    const ROOT_OF_THREE: &str = "1a850c6d488a8c6ce992339f1094667161f719437fbc6978efb2862723b41128";

    #[test]
    fn the_root_of_three_is_the_one_of_the_page() {
        let mut headers = [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()];
        let root = grow(&mut headers);
        let hex: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, ROOT_OF_THREE);
        assert!(include_str!("../../../../docs/wire.md").contains(ROOT_OF_THREE));
        assert_eq!(headers.each_ref().map(Vec::len), [33, 33, 17]);
        for (place, header) in places(3).zip(&headers) {
            assert_eq!(super::root(header, &HeaderProof { covered: 1, place }), root);
        }
    }

    #[test]
    fn the_oldest_roots_are_forgotten() {
        let mut roots = SignedRoots::default();
        for n in 0..100 {
            roots.keep([n; 32], [n; 64]);
            assert!(roots.knows(&[n; 32], &[n; 64]) && !roots.knows(&[n; 32], &[n + 1; 64]));
        }
        let known = (0..100).filter(|n| roots.knows(&[*n; 32], &[*n; 64])).count();
        assert_eq!((known, roots.0.len()), (ROOTS_MAX, ROOTS_MAX));
    }
}
