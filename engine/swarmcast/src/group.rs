//! Groups: who shares streams with whom, and where a keyed group's secret comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use swarmcast_core::group::{GroupError, GroupSpec};
use swarmcast_core::ids::GroupId;

/// Most bytes of a key file that are read; a longer one is refused.
const KEY_FILE_BYTES_MAX: u64 = 4097;

/// A group that a swarm is formed in: a name, and a secret that seals every stream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(GroupSpec);

/// Why a group cannot be formed from what was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupKeyError {
    /// The name or the key is not acceptable.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The key file cannot be read.
    #[error("group key file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Group {
    /// Forms an open group: whoever knows the name can read its streams.
    ///
    /// # Errors
    /// [`GroupError::Name`] unless the name has 1 to 128 bytes and no control characters.
    pub fn open(name: &str) -> Result<Self, GroupError> {
        GroupSpec::open(name).map(Self)
    }

    /// Forms a group whose streams only the holders of `key` can read.
    ///
    /// # Errors
    /// [`GroupError::Name`] as for [`Group::open`]; [`GroupError::Key`] unless the key has 16 to 4,096 bytes.
    pub fn keyed(name: &str, key: &[u8]) -> Result<Self, GroupError> {
        GroupSpec::keyed(name, key).map(Self)
    }

    /// Forms a keyed group from a file. Line ends at the end of the file do not count, so that a key pasted
    /// with an editor and one written by a program are the same.
    ///
    /// # Errors
    /// [`GroupKeyError::Unreadable`] when the file cannot be read, [`GroupKeyError::Group`] as for
    /// [`Group::keyed`].
    pub fn from_key_file(name: &str, path: &Path) -> Result<Self, GroupKeyError> {
        let mut key = Vec::new();
        File::open(path)
            .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut key))
            .map_err(|error| GroupKeyError::Unreadable { path: path.to_owned(), error })?;
        while matches!(key.last(), Some(b'\n' | b'\r')) {
            key.pop();
        }
        Ok(Self::keyed(name, &key)?)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns whether the group has a real secret.
    pub fn is_keyed(&self) -> bool {
        self.0.is_keyed()
    }

    /// Returns the group's identity, which tells neither name nor secret.
    pub fn id(&self) -> GroupId {
        self.0.id()
    }

    pub(crate) fn into_spec(self) -> GroupSpec {
        self.0
    }
}
