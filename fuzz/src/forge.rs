//! A publisher that signs anything: what it makes gets past the signature, however wrong it is.

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::Epoch;
use swarmcast_core::seal::Sealer;
use swarmcast_core::wire::{Beacon, BlockHeader, Offer};

/// Key, group and epoch of a publisher who does not keep to the format.
pub(crate) struct Forge {
    /// Seals what is well-formed.
    pub(crate) sealer: Sealer,
    signing: SigningKey,
    scope: Vec<u8>,
}

impl Forge {
    /// Signs as the holder of `seed` would.
    pub(crate) fn new(group: &GroupSpec, seed: &[u8; 32], epoch: Epoch) -> Self {
        let sealer = Sealer::new(group, seed, epoch).expect("every seed makes a key");
        let scope = [&group.id().0[..], &sealer.keys().key().0, &epoch.0.to_be_bytes()].concat();
        Self { sealer, signing: SigningKey::from_bytes(seed), scope }
    }

    /// Signs a header as it stands; `inline` is the shard that travels with it.
    pub(crate) fn header(&self, header: &BlockHeader, inline: &[u8]) -> Bytes {
        let mut out = Vec::new();
        header.encode(self.sealer.keys().tag(), inline, &mut out);
        self.finish_header(out, 0)
    }

    /// Appends what proves a header, as it stands: to one of a batch a path of `fill`, and the signature of the root
    /// that it leads to.
    pub(crate) fn finish_header(&self, mut body: Vec<u8>, fill: u8) -> Bytes {
        let mut root = *blake3::hash(&body).as_bytes();
        let place = if body.first() == Some(&0x1a) { body.get(5).copied() } else { None };
        let (mut index, mut count) = place.map_or((0, 1), |place| (place & 0x0f, place >> 4));
        // A place that is none is refused whatever follows.
        while index < count && (2..=8).contains(&count) {
            let by = [fill; 16];
            if index % 2 == 1 || index + 1 < count {
                let short = &root[..16];
                let joined = if index % 2 == 1 { [&by, short].concat() } else { [short, &by].concat() };
                root = *blake3::hash(&[&[1], &joined[..]].concat()).as_bytes();
                body.extend_from_slice(&by);
            }
            (index, count) = (index / 2, count.div_ceil(2));
        }
        let signature = self.sign(b"swarmcast 1 block", &root);
        body.extend_from_slice(&signature);
        body.into()
    }

    /// Signs a beacon as it stands.
    pub(crate) fn beacon(&self, beacon: &Beacon) -> Bytes {
        let mut out = Vec::new();
        beacon.encode(self.sealer.keys().tag(), &mut out);
        self.finish(b"swarmcast 1 beacon", out)
    }

    /// Signs an offer as it stands.
    pub(crate) fn offer(&self, mut offer: Offer) -> Offer {
        let mut signed = Vec::new();
        offer.encode_signed(&mut signed);
        offer.signature = self.sign(b"swarmcast 1 offer", &signed);
        offer
    }

    /// Appends the signature over `body` in a context of the caller's choice.
    pub(crate) fn finish(&self, context: &[u8], mut body: Vec<u8>) -> Bytes {
        let signature = self.sign(context, &body);
        body.extend_from_slice(&signature);
        body.into()
    }

    fn sign(&self, context: &[u8], body: &[u8]) -> [u8; 64] {
        self.signing.sign(&[context, &self.scope, body].concat()).to_bytes()
    }
}
