//! The types that prove verification: only sealing and verifying make them.

use bytes::Bytes;

use super::VerifyError;
use crate::ids::{FragmentId, StreamTag};
use crate::leaf::{Hashed, leaf};
use crate::wire::{BlockHeader, FRAGMENT_HEAD_BYTES_MAX, FragmentView, Leaf, encode_fragment, peek_tag};

/// A block as it goes out.
#[derive(Clone, Debug)]
pub struct SealedBlock {
    /// The signed header, with the only shard in it when there is one only.
    pub header: VerifiedHeader,
    /// The shards of a block of two or more, parity behind data.
    pub fragments: Vec<VerifiedFragment>,
}

/// A block header whose signature was checked, or made, here.
#[derive(Clone, Debug)]
pub struct VerifiedHeader {
    pub(super) header: BlockHeader,
    pub(super) datagram: Bytes,
    pub(super) inline_at: usize,
}

impl VerifiedHeader {
    /// Returns what it says.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// Returns the datagram, as it is sent on.
    pub fn datagram(&self) -> &Bytes {
        &self.datagram
    }

    /// Returns the shard that travels in the header's datagram.
    pub fn inline_shard(&self) -> Option<&[u8]> {
        let end = self.inline_at + usize::from(self.header.last_shard_bytes);
        if self.header.is_inline() { self.datagram.get(self.inline_at..end) } else { None }
    }

    /// Verifies a fragment of this block by the hash of its shard.
    ///
    /// # Errors
    /// [`VerifyError::Foreign`] when it belongs to another stream or block, [`VerifyError::Leaf`] when it was altered.
    pub fn verify(
        &self,
        view: FragmentView,
        datagram: impl Into<Hashed>,
    ) -> Result<VerifiedFragment, VerifyError> {
        let (datagram, hashed) = datagram.into().into_parts(view.shard_at);
        let named = self.named(view, &datagram)?;
        let shard = datagram.get(view.shard_at..).ok_or(VerifyError::Leaf)?;
        if hashed.unwrap_or_else(|| leaf(shard)) == named {
            Ok(VerifiedFragment { id: view.id, datagram, shard_at: view.shard_at })
        } else {
            Err(VerifyError::Leaf)
        }
    }

    /// Returns the leaf that a fragment of this block must have, if it is one by its number and length.
    pub(super) fn named(&self, view: FragmentView, datagram: &Bytes) -> Result<Leaf, VerifyError> {
        let named = self.header.leaves.get(usize::from(view.id.index));
        let same_stream = datagram.get(1..5) == self.datagram.get(1..5);
        let (Some(named), true) = (named, same_stream && view.id.block == self.header.block) else {
            return Err(VerifyError::Foreign);
        };
        let bytes = datagram.len().checked_sub(view.shard_at);
        if bytes == Some(self.header.shard_bytes(view.id.index)) {
            Ok(*named)
        } else {
            Err(VerifyError::Leaf)
        }
    }

    /// Makes the fragment of a shard that parity gave back, the same bytes as the publisher's; `shard` may be padded.
    ///
    /// # Errors
    /// [`VerifyError::Foreign`] when the block has no such shard, [`VerifyError::Leaf`] when it is another one:
    /// parity that was signed and is none.
    pub fn rebuild(&self, index: u8, shard: &[u8]) -> Result<VerifiedFragment, VerifyError> {
        let named = self.header.leaves.get(usize::from(index)).ok_or(VerifyError::Foreign)?;
        let tag = peek_tag(&self.datagram).ok_or(VerifyError::Foreign)?;
        let shard = shard.get(..self.header.shard_bytes(index)).ok_or(VerifyError::Leaf)?;
        if leaf(shard) != *named {
            return Err(VerifyError::Leaf);
        }
        Ok(VerifiedFragment::encode(tag, FragmentId { block: self.header.block, index }, shard))
    }
}

/// A fragment whose hash a verified header names.
#[derive(Clone, Debug)]
pub struct VerifiedFragment {
    pub(super) id: FragmentId,
    pub(super) datagram: Bytes,
    pub(super) shard_at: usize,
}

impl VerifiedFragment {
    pub(super) fn encode(tag: StreamTag, id: FragmentId, shard: &[u8]) -> Self {
        let mut datagram = Vec::with_capacity(FRAGMENT_HEAD_BYTES_MAX + shard.len());
        encode_fragment(tag, id, &mut datagram);
        let shard_at = datagram.len();
        datagram.extend_from_slice(shard);
        Self { id, datagram: datagram.into(), shard_at }
    }

    /// Returns its number.
    pub fn id(&self) -> FragmentId {
        self.id
    }

    /// Returns the datagram, as it is sent on.
    pub fn datagram(&self) -> &Bytes {
        &self.datagram
    }

    /// Returns the sealed shard.
    pub fn shard(&self) -> &[u8] {
        self.datagram.get(self.shard_at..).unwrap_or_default()
    }
}
