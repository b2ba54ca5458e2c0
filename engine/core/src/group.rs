//! Groups: who shares streams with whom, and the secret that seals them.

use blake3::derive_key;

use crate::ids::{GroupId, PeerId};

/// Most bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 128;

/// A group's name and secret.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupSpec {
    name: String,
    secret: [u8; 32],
    keyed: bool,
}

/// Why a group's name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The name is empty, longer than 128 bytes, or holds control characters.
    #[error("a name has 1 to 128 bytes and no control characters")]
    Name,
    /// The key has fewer than 16 or more than 4,096 bytes.
    #[error("a group key has 16 to 4096 bytes")]
    Key,
}

impl GroupSpec {
    /// Makes an open group: whoever knows the name can read it.
    ///
    /// # Errors
    /// [`GroupError::Name`] when the name is not acceptable.
    pub fn open(name: &str) -> Result<Self, GroupError> {
        check_name(name)?;
        let secret = derive_key("swarmcast 2026 open group secret", name.as_bytes());
        Ok(Self { name: name.to_owned(), secret, keyed: false })
    }

    /// Makes a group with a real secret: its members hold `key`, 16 to 4,096 bytes of it.
    ///
    /// # Errors
    /// [`GroupError::Name`] and [`GroupError::Key`] when one of them is not acceptable.
    pub fn keyed(name: &str, key: &[u8]) -> Result<Self, GroupError> {
        check_name(name)?;
        if !(16..=4096).contains(&key.len()) {
            return Err(GroupError::Key);
        }
        let mut material = (name.len() as u64).to_le_bytes().to_vec();
        material.extend_from_slice(name.as_bytes());
        material.extend_from_slice(key);
        let secret = derive_key("swarmcast 2026 keyed group secret", &material);
        Ok(Self { name: name.to_owned(), secret, keyed: true })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the group has a real secret.
    pub fn is_keyed(&self) -> bool {
        self.keyed
    }

    /// Returns the group's identity, which tells neither name nor secret.
    pub fn id(&self) -> GroupId {
        let whole = derive_key("swarmcast 2026 group id", &self.secret);
        let mut id = [0; 16];
        id.copy_from_slice(&whole[..16]);
        GroupId(id)
    }

    /// Returns the proof that `from` gives `to` that it holds the secret: a keyed BLAKE3 over both transport keys.
    pub(crate) fn proof(&self, from: PeerId, to: PeerId) -> [u8; 32] {
        let key = derive_key("swarmcast 2026 membership proof", &self.secret);
        *blake3::keyed_hash(&key, &[from.0, to.0].concat()).as_bytes()
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl std::fmt::Debug for GroupSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupSpec")
            .field("name", &self.name)
            .field("keyed", &self.keyed)
            .finish_non_exhaustive()
    }
}

/// Checks a name of a group or a stream: 1 to 128 bytes, no control characters.
///
/// # Errors
/// [`GroupError::Name`] when it is not.
pub fn check_name(name: &str) -> Result<(), GroupError> {
    let fits = !name.is_empty() && name.len() <= GROUP_NAME_BYTES_MAX;
    if fits && !name.chars().any(char::is_control) { Ok(()) } else { Err(GroupError::Name) }
}
