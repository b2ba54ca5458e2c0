//! What the nodes of one world verified, by content.

use std::sync::atomic::{AtomicU64, Ordering};

use swarmcast_core::memo::Memo;

use crate::workload::{hash, mix};

/// Places of the table: what is under way in all windows at a time, ten times over.
const PLACES: usize = 1 << 17;

/// A table of hashes of 64 bits over claim and content; a newer one takes the place of an older.
///
/// A node verifies again what lost its place, so what is forgotten costs time and changes nothing.
#[derive(Debug)]
pub(crate) struct VerifiedBefore {
    places: Box<[AtomicU64]>,
}

impl Default for VerifiedBefore {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl VerifiedBefore {
    fn place(&self, claim: &[u8], parts: &[&[u8]]) -> (&AtomicU64, u64) {
        let name = parts.iter().fold(hash(claim), |name, part| mix(name ^ hash(part)));
        (&self.places[name as usize % PLACES], name)
    }
}

impl Memo for VerifiedBefore {
    fn knows(&self, claim: &[u8], parts: &[&[u8]]) -> bool {
        let (place, name) = self.place(claim, parts);
        place.load(Ordering::Relaxed) == name
    }

    fn keep(&self, claim: &[u8], parts: &[&[u8]]) {
        let (place, name) = self.place(claim, parts);
        place.store(name, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_was_kept_for_the_same_claim_and_nothing_else() {
        let memo = VerifiedBefore::default();
        let content: Vec<u8> = (0..1_024).map(|at| (at * 7 % 251) as u8).collect();
        memo.keep(b"claim", &[&content, b"signature"]);
        assert!(memo.knows(b"claim", &[&content, b"signature"]));
        assert!(!memo.knows(b"other", &[&content, b"signature"]));
        for at in 0..content.len() {
            let mut altered = content.clone();
            altered[at] ^= 1;
            assert!(!memo.knows(b"claim", &[&altered, b"signature"]), "byte {at}");
        }
    }
}
