//! Seal and verify: keys of an epoch, the publisher's signer, and the types that prove verification.
//!
//! A shard is sealed with AES-128-GCM under the epoch key, nonce (block, index). A block header carries the hash of
//! every sealed shard and is signed once with Ed25519 (RFC 8032), or once with those of the blocks that closed with
//! it. [`VerifiedHeader`] and [`VerifiedFragment`] can only be made here: by sealing, or by verifying.

mod batch;
mod sealer;
mod verified;

use std::sync::Arc;

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

use crate::catalogue::Catalogue;
use crate::group::GroupSpec;
use crate::ids::{Epoch, FragmentId, GroupId, StreamKey, StreamTag};
pub use crate::leaf::{Hashed, leaf, leaves};
use crate::memo::Memo;
use crate::wire::{
    Beacon, BlockHeader, DecodeError, FragmentView, Offer, REPORT_CODE_BYTES, Report, SIGNATURE_BYTES,
    decode_catalogue, peek_tag,
};

pub use self::batch::SignedRoots;
pub use self::sealer::{Sealer, Unsealed};
pub use self::verified::{SealedBlock, VerifiedFragment, VerifiedHeader};

const BLOCK_CONTEXT: &[u8] = b"swarmcast 1 block";
const BEACON_CONTEXT: &[u8] = b"swarmcast 1 beacon";
const OFFER_CONTEXT: &[u8] = b"swarmcast 1 offer";

/// Why something was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It could not be parsed.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// Its signature is not the stream key's.
    #[error("signature does not verify")]
    Signature,
    /// Its hash is not the one that the block header names.
    #[error("shard does not match the block header")]
    Leaf,
    /// It speaks of another stream or epoch.
    #[error("another stream or epoch")]
    Foreign,
    /// It cannot be opened with the group's secret.
    #[error("not sealed with this group's secret")]
    Sealed,
}

/// Keys of one stream in one epoch, as every member of the group derives them.
#[derive(Clone, Debug)]
pub struct EpochKeys {
    group: GroupId,
    key: StreamKey,
    epoch: Epoch,
    tag: StreamTag,
    verifying: VerifyingKey,
    shards: LessSafeKey,
    catalogue: LessSafeKey,
    reports: [u8; 32],
    memo: Option<Arc<dyn Memo>>,
}

impl EpochKeys {
    /// Derives the keys: HKDF-SHA-256 (RFC 5869) over the group secret, salted with the stream key.
    ///
    /// # Errors
    /// [`VerifyError::Signature`] when `key` is no Ed25519 public key.
    pub fn derive(group: &GroupSpec, key: StreamKey, epoch: Epoch) -> Result<Self, VerifyError> {
        let verifying = VerifyingKey::from_bytes(&key.0).map_err(|_| VerifyError::Signature)?;
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &key.0).extract(group.secret());
        let mut named = blake3::Hasher::new_derive_key("swarmcast 2026 stream tag");
        let id = group.id();
        named.update(&id.0).update(&key.0).update(&epoch.0.to_be_bytes());
        let mut tag = [0; 4];
        tag.copy_from_slice(&named.finalize().as_bytes()[..4]);
        Ok(Self {
            group: id,
            key,
            epoch,
            tag: StreamTag(tag),
            verifying,
            shards: expand(&secret, b"swarmcast 1 shards", epoch)?,
            catalogue: expand(&secret, b"swarmcast 1 catalogue", epoch)?,
            reports: report_key(group, key, epoch),
            memo: None,
        })
    }

    /// Makes these keys take for verified what `memo` knows, and keep in it what they verify.
    pub fn with_memo(self, memo: Option<Arc<dyn Memo>>) -> Self {
        Self { memo, ..self }
    }

    /// Returns the stream.
    pub fn key(&self) -> StreamKey {
        self.key
    }

    /// Returns the run.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the tag that heads this epoch's datagrams.
    pub fn tag(&self) -> StreamTag {
        self.tag
    }

    /// Verifies a header datagram.
    ///
    /// # Errors
    /// [`VerifyError`] says what is wrong with it.
    pub fn verify_header(&self, datagram: Bytes) -> Result<VerifiedHeader, VerifyError> {
        self.verify_header_among(datagram, &mut SignedRoots::default())
    }

    /// As [`EpochKeys::verify_header`], without a signature for a batch whose root is in `roots`; one that verified is
    /// kept there.
    ///
    /// # Errors
    /// [`VerifyError`] says what is wrong with it.
    pub fn verify_header_among(
        &self,
        datagram: Bytes,
        roots: &mut SignedRoots,
    ) -> Result<VerifiedHeader, VerifyError> {
        let (header, inline_at, proof) = BlockHeader::decode(&datagram)?;
        if peek_tag(&datagram) != Some(self.tag) {
            return Err(VerifyError::Foreign);
        }
        let signature = datagram.last_chunk().ok_or(DecodeError::Truncated)?;
        let root = batch::root(&datagram, &proof);
        if !roots.knows(&root, signature) {
            self.verify(BLOCK_CONTEXT, &root, signature)?;
            if !proof.place.is_alone() {
                roots.keep(root, *signature);
            }
        }
        Ok(VerifiedHeader { header, datagram, inline_at })
    }

    /// Verifies a fragment of a block by the hash of its shard.
    ///
    /// # Errors
    /// As [`VerifiedHeader::verify`].
    pub fn verify_fragment(
        &self,
        header: &VerifiedHeader,
        view: FragmentView,
        datagram: impl Into<Hashed>,
    ) -> Result<VerifiedFragment, VerifyError> {
        let Some(memo) = &self.memo else { return header.verify(view, datagram) };
        let (datagram, _) = datagram.into().into_parts(view.shard_at);
        let named = header.named(view, &datagram)?;
        let shard = datagram.get(view.shard_at..).unwrap_or_default();
        if memo.knows(&named, &[shard]) {
            return Ok(VerifiedFragment { id: view.id, datagram, shard_at: view.shard_at });
        }
        let fragment = header.verify(view, datagram)?;
        memo.keep(&named, &[fragment.shard()]);
        Ok(fragment)
    }

    /// Verifies a beacon datagram.
    ///
    /// # Errors
    /// [`VerifyError`] says what is wrong with it.
    pub fn verify_beacon(&self, datagram: &[u8]) -> Result<Beacon, VerifyError> {
        let (beacon, signed) = Beacon::decode(datagram)?;
        self.check(BEACON_CONTEXT, datagram, signed)?;
        if beacon.epoch == self.epoch { Ok(beacon) } else { Err(VerifyError::Foreign) }
    }

    /// Verifies an offer of this stream and opens its catalogue.
    ///
    /// # Errors
    /// [`VerifyError`] says what is wrong with it.
    pub fn verify_offer(&self, offer: &Offer) -> Result<Catalogue, VerifyError> {
        if offer.key != self.key || offer.epoch != self.epoch {
            return Err(VerifyError::Foreign);
        }
        let mut signed = Vec::with_capacity(128 + offer.sealed.len());
        offer.encode_signed(&mut signed);
        self.verify(OFFER_CONTEXT, &signed, &offer.signature)?;
        let mut plain = offer.sealed.to_vec();
        let nonce = nonce(offer.version, 0);
        let plain =
            self.catalogue.open_in_place(nonce, Aad::empty(), &mut plain).map_err(|_| VerifyError::Sealed)?;
        Ok(decode_catalogue(plain)?)
    }

    /// Opens one shard behind what `out` holds already.
    ///
    /// # Errors
    /// [`VerifyError::Sealed`] when it was sealed with another secret; `out` is as before then.
    pub fn open(&self, id: FragmentId, shard: &[u8], out: &mut Vec<u8>) -> Result<(), VerifyError> {
        let start = out.len();
        out.extend_from_slice(shard);
        let opened = self.shards.open_in_place(nonce(id.block.0, id.index), Aad::empty(), &mut out[start..]);
        let plain_bytes = opened.map(|plain| plain.len());
        out.truncate(start + plain_bytes.as_ref().copied().unwrap_or(0));
        plain_bytes.map(|_| ()).map_err(|_| VerifyError::Sealed)
    }

    /// Returns a report's datagram; its code shows that its sender is a member of the group.
    pub fn seal_report(&self, report: &Report) -> Bytes {
        let mut out = Vec::with_capacity(80);
        report.encode(self.tag, &mut out);
        let code = blake3::keyed_hash(&self.reports, &out);
        out.extend_from_slice(&code.as_bytes()[..REPORT_CODE_BYTES]);
        out.into()
    }

    /// Verifies a report datagram.
    ///
    /// # Errors
    /// [`VerifyError`] says what is wrong with it.
    pub fn verify_report(&self, datagram: &[u8]) -> Result<Report, VerifyError> {
        let (report, covered) = Report::decode(datagram)?;
        let (body, claimed) = datagram.split_at_checked(covered).ok_or(DecodeError::Truncated)?;
        if body.get(1..5) != Some(&self.tag.0) {
            return Err(VerifyError::Foreign);
        }
        let code = blake3::keyed_hash(&self.reports, body);
        // Whoever could tell the time of this comparison gains a report that any member may make anyway.
        if code.as_bytes()[..REPORT_CODE_BYTES] == *claimed { Ok(report) } else { Err(VerifyError::Sealed) }
    }

    fn check(&self, context: &[u8], datagram: &[u8], signed: usize) -> Result<(), VerifyError> {
        let (body, signature) = datagram.split_at_checked(signed).ok_or(DecodeError::Truncated)?;
        if body.get(1..5) != Some(&self.tag.0) {
            return Err(VerifyError::Foreign);
        }
        let signature = signature.try_into().map_err(|_| DecodeError::Truncated)?;
        self.verify(context, body, signature)
    }

    fn verify(
        &self,
        context: &[u8],
        body: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), VerifyError> {
        let parts: [&[u8]; 2] = [body, signature];
        if self.memo.as_ref().is_some_and(|memo| memo.knows(&self.message(context, &[]), &parts)) {
            return Ok(());
        }
        let message = self.message(context, body);
        let signed = ed25519_dalek::Signature::from_bytes(signature);
        self.verifying.verify_strict(&message, &signed).map_err(|_| VerifyError::Signature)?;
        self.memo.iter().for_each(|memo| memo.keep(&self.message(context, &[]), &parts));
        Ok(())
    }

    fn message(&self, context: &[u8], body: &[u8]) -> Vec<u8> {
        let epoch = self.epoch.0.to_be_bytes();
        [context, &self.group.0, &self.key.0, &epoch, body].concat()
    }
}

fn nonce(number: u64, index: u8) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8] = index;
    Nonce::assume_unique_for_key(bytes)
}

fn report_key(group: &GroupSpec, key: StreamKey, epoch: Epoch) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("swarmcast 2026 report");
    hasher.update(group.secret()).update(&key.0).update(&epoch.0.to_be_bytes());
    *hasher.finalize().as_bytes()
}

fn expand(secret: &hkdf::Prk, label: &[u8], epoch: Epoch) -> Result<LessSafeKey, VerifyError> {
    let info = [label, &epoch.0.to_be_bytes()];
    let okm = secret.expand(&info, &AES_128_GCM).map_err(|_| VerifyError::Sealed)?;
    Ok(LessSafeKey::new(UnboundKey::from(okm)))
}
