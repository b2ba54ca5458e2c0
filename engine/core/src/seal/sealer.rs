//! The publisher's side: plaintext to signed datagrams.

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use ring::aead::Aad;

use super::batch::{grow, places};
use super::{
    BEACON_CONTEXT, BLOCK_CONTEXT, EpochKeys, OFFER_CONTEXT, SealedBlock, VerifiedFragment, VerifiedHeader,
    VerifyError, leaves, nonce,
};
use crate::catalogue::Catalogue;
use crate::group::GroupSpec;
use crate::ids::{BlockId, Epoch, FragmentId, PeerId, StreamKey};
use crate::parity;
use crate::wire::{
    BATCH_HEADERS_MAX, BATCH_INLINE_BYTES_MAX, Beacon, BlockHeader, DATAGRAM_BYTES_MAX, DecodeError,
    FRAGMENT_HEAD_BYTES_MAX, LEAF_BYTES, Offer, SHARD_PLAIN_BYTES, SHARDS_MAX, SIGNATURE_BYTES, TAG_BYTES,
    encode_catalogue, encode_fragment,
};

/// Shards from which on a block may be signed with others: their path is 0.3 % of it at most.
const BATCH_SHARDS_MIN: usize = 16;

/// A block that is numbered and has yet to be sealed.
#[derive(Clone, Debug)]
pub struct Unsealed<'a> {
    /// What its header says; counts, last length and leaves are filled in when it is sealed.
    pub header: BlockHeader,
    /// The records, 1 to 62 * 1,008 bytes.
    pub plain: &'a [u8],
    /// Parity shards, as many as the block has room for.
    pub parity: u8,
}

/// A block whose header has yet to be signed.
struct Shards {
    header: BlockHeader,
    /// The only shard of a block without leaves, else nothing.
    inline: Vec<u8>,
    fragments: Vec<VerifiedFragment>,
}

impl Shards {
    fn is_large(&self) -> bool {
        usize::from(self.header.data) >= BATCH_SHARDS_MIN
    }
}

/// The publisher's side: keys of the epoch and the stream's private key.
pub struct Sealer {
    keys: EpochKeys,
    signing: SigningKey,
}

impl Sealer {
    /// Makes the sealer of one epoch from the stream key's 32-byte seed.
    ///
    /// # Errors
    /// [`VerifyError`] when no keys can be derived from it.
    pub fn new(group: &GroupSpec, seed: &[u8; 32], epoch: Epoch) -> Result<Self, VerifyError> {
        let signing = SigningKey::from_bytes(seed);
        let key = StreamKey(signing.verifying_key().to_bytes());
        Ok(Self { keys: EpochKeys::derive(group, key, epoch)?, signing })
    }

    /// Returns the keys that every member derives.
    pub fn keys(&self) -> &EpochKeys {
        &self.keys
    }

    /// Cuts a block's plaintext into shards, seals them, adds `parity` shards over what was sealed, as many as the
    /// block has room for, and signs the header. A block of one shard travels in its header's datagram and has no
    /// parity. Counts, last length and leaves of `header` are filled in here. `plain` has 1 to 62 * 1,008 bytes.
    pub fn seal(&self, header: BlockHeader, plain: &[u8], parity: u8) -> SealedBlock {
        self.sign_alone(self.seal_shards(Unsealed { header, plain, parity }))
    }

    /// Seals blocks that go out together, as [`Sealer::seal`] does each, in their order. Neighbours of 16 data shards
    /// and more share a signature, up to 8 of them, with short blocks of one shard beside them: sound that leaves with
    /// a picture costs nobody a signature of its own.
    pub fn seal_all(&self, blocks: Vec<Unsealed<'_>>) -> Vec<SealedBlock> {
        let mut sealed = Vec::with_capacity(blocks.len());
        let mut batch = Vec::new();
        for block in blocks {
            let shards = self.seal_shards(block);
            let alone = !shards.is_large() && !(1..=BATCH_INLINE_BYTES_MAX).contains(&shards.inline.len());
            if alone || batch.len() == usize::from(BATCH_HEADERS_MAX) {
                self.sign_batch(std::mem::take(&mut batch), &mut sealed);
            }
            batch.push(shards);
            if alone {
                self.sign_batch(std::mem::take(&mut batch), &mut sealed);
            }
        }
        self.sign_batch(batch, &mut sealed);
        sealed
    }

    /// Signs a beacon; returns its datagram.
    pub fn seal_beacon(&self, beacon: &Beacon) -> Bytes {
        let mut out = Vec::with_capacity(160);
        beacon.encode(self.keys.tag, &mut out);
        self.sign(BEACON_CONTEXT, &mut out);
        out.into()
    }

    /// Seals a catalogue and signs the offer of it.
    ///
    /// # Errors
    /// [`DecodeError::Range`] names the field of the catalogue that no receiver would accept.
    pub fn seal_offer(
        &self,
        catalogue: &Catalogue,
        version: u64,
        publisher: PeerId,
    ) -> Result<Offer, DecodeError> {
        let mut sealed = encode_catalogue(catalogue)?;
        // Sealing fails only past 64 GiB (RFC 5116, section 5.1); the catalogue is capped at 60 KiB.
        let _ = self.keys.catalogue.seal_in_place_append_tag(nonce(version, 0), Aad::empty(), &mut sealed);
        let (key, epoch) = (self.keys.key, self.keys.epoch);
        let mut offer =
            Offer { key, epoch, version, publisher, sealed: sealed.into(), signature: [0; SIGNATURE_BYTES] };
        let mut signed = Vec::with_capacity(128 + offer.sealed.len());
        offer.encode_signed(&mut signed);
        offer.signature = self.signing.sign(&self.keys.message(OFFER_CONTEXT, &signed)).to_bytes();
        Ok(offer)
    }

    /// Seals a block's data shards into one allocation, which they share.
    fn seal_data(&self, block: BlockId, plain: &[u8], fragments: &mut Vec<VerifiedFragment>) {
        let shards = plain.chunks(SHARD_PLAIN_BYTES);
        let most = plain.len() + shards.len() * (FRAGMENT_HEAD_BYTES_MAX + TAG_BYTES);
        let mut sealed = Vec::with_capacity(most);
        let mut places = Vec::with_capacity(shards.len());
        for (index, shard) in (0..).zip(shards) {
            let id = FragmentId { block, index };
            let begin = sealed.len();
            encode_fragment(self.keys.tag, id, &mut sealed);
            let shard_at = sealed.len();
            sealed.extend_from_slice(shard);
            self.seal_shard(id, &mut sealed, shard_at);
            places.push((id, begin..sealed.len(), shard_at - begin));
        }
        let sealed = Bytes::from(sealed);
        fragments.extend(places.into_iter().map(|(id, range, shard_at)| VerifiedFragment {
            id,
            datagram: sealed.slice(range),
            shard_at,
        }));
    }

    fn add_parity(&self, header: &mut BlockHeader, fragments: &mut Vec<VerifiedFragment>) {
        let data: Vec<&[u8]> = fragments.iter().map(VerifiedFragment::shard).collect();
        // Fails only for more shards than a block has.
        let made = parity::encode(&data, usize::from(header.parity)).unwrap_or_default();
        leaves(made.iter().map(|shard| &shard[..]), &mut header.leaves);
        fragments.extend((header.data..).zip(&made).map(|(index, shard)| {
            VerifiedFragment::encode(self.keys.tag, FragmentId { block: header.block, index }, shard)
        }));
    }

    fn seal_shard(&self, id: FragmentId, buffer: &mut Vec<u8>, at: usize) {
        let nonce = nonce(id.block.0, id.index);
        let tag = self.keys.shards.seal_in_place_separate_tag(nonce, Aad::empty(), &mut buffer[at..]);
        // As above: a shard has at most 1,008 bytes.
        buffer.extend_from_slice(tag.as_ref().map_or(&[0; TAG_BYTES][..], |tag| tag.as_ref()));
    }

    fn seal_shards(&self, block: Unsealed<'_>) -> Shards {
        let Unsealed { mut header, plain, parity } = block;
        let count = plain.len().div_ceil(SHARD_PLAIN_BYTES);
        header.data = count as u8;
        header.parity = if count == 1 { 0 } else { parity.min(SHARDS_MAX.saturating_sub(count) as u8) };
        header.last_shard_bytes = (plain.len() - (count - 1) * SHARD_PLAIN_BYTES + TAG_BYTES) as u16;
        header.leaves.clear();
        if count == 1 {
            let mut shard = plain.to_vec();
            self.seal_shard(FragmentId { block: header.block, index: 0 }, &mut shard, 0);
            return Shards { header, inline: shard, fragments: Vec::new() };
        }
        let mut fragments = Vec::with_capacity(usize::from(header.shards()));
        header.leaves.reserve_exact(usize::from(header.shards()));
        self.seal_data(header.block, plain, &mut fragments);
        leaves(fragments.iter().map(VerifiedFragment::shard), &mut header.leaves);
        self.add_parity(&mut header, &mut fragments);
        Shards { header, inline: Vec::new(), fragments }
    }

    fn sign_alone(&self, shards: Shards) -> SealedBlock {
        let Shards { header, inline, fragments } = shards;
        let most = 34 + inline.len() + header.leaves.len() * LEAF_BYTES + SIGNATURE_BYTES;
        let mut out = Vec::with_capacity(most);
        header.encode(self.keys.tag, &inline, &mut out);
        let inline_at = out.len() - inline.len();
        let signature = self.sign_root(std::slice::from_mut(&mut out));
        out.extend_from_slice(&signature);
        SealedBlock { header: VerifiedHeader { header, datagram: out.into(), inline_at }, fragments }
    }

    /// Signs the headers of up to 8 blocks at once; when all are short, each by itself.
    fn sign_batch(&self, blocks: Vec<Shards>, out: &mut Vec<SealedBlock>) {
        if blocks.len() < 2 || !blocks.iter().any(Shards::is_large) {
            out.extend(blocks.into_iter().map(|shards| self.sign_alone(shards)));
            return;
        }
        let covered = blocks.iter().zip(places(blocks.len())).map(|(shards, place)| {
            let mut out = Vec::with_capacity(DATAGRAM_BYTES_MAX);
            shards.header.encode_at(place, self.keys.tag, &shards.inline, &mut out);
            (out.len() - shards.inline.len(), out)
        });
        let (inline_at, mut headers): (Vec<usize>, Vec<Vec<u8>>) = covered.unzip();
        let signature = self.sign_root(&mut headers);
        let signed = headers.into_iter().zip(inline_at);
        out.extend(blocks.into_iter().zip(signed).map(|(shards, (mut datagram, inline_at))| {
            datagram.extend_from_slice(&signature);
            let Shards { header, fragments, .. } = shards;
            SealedBlock { header: VerifiedHeader { header, datagram: datagram.into(), inline_at }, fragments }
        }));
    }

    /// Appends the paths to headers that are signed together, and returns the signature of their root.
    fn sign_root(&self, headers: &mut [Vec<u8>]) -> [u8; SIGNATURE_BYTES] {
        let root = grow(headers);
        self.signing.sign(&self.keys.message(BLOCK_CONTEXT, &root)).to_bytes()
    }

    fn sign(&self, context: &[u8], out: &mut Vec<u8>) {
        let signature = self.signing.sign(&self.keys.message(context, out));
        out.extend_from_slice(&signature.to_bytes());
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("key", &self.keys.key)
            .field("epoch", &self.keys.epoch)
            .finish_non_exhaustive()
    }
}
