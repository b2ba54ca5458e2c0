//! The identity of a published stream: its key and its newest epoch, kept between runs.
//!
//! One small text file for each pair of group and stream name, mode 0600, replaced as a whole: written aside,
//! synced, renamed, and the directory synced. A run's epoch is on disk before the run sends anything, so a crash
//! at any point leaves either the old record or the new one, and no epoch is used twice.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use swarmcast_core::ids::{Epoch, GroupId, StreamKey};

use crate::Group;

mod record;

use record::Record;

/// How long a lock held by another process is waited for; it is held for the time of two disk syncs.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Pause between two attempts to take the lock.
const LOCK_RETRY: Duration = Duration::from_millis(10);
/// Bits of a file's mode that let anybody but the owner in.
const MODE_OTHERS: u32 = 0o077;

/// The directory in which the identities of published streams are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir(PathBuf);

/// The right to publish one stream in one run: the seed of its key, and an epoch that no other run has.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub(crate) seed: [u8; 32],
    pub(crate) epoch: Epoch,
}

/// Why an identity cannot be taken from its file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Neither `XDG_STATE_HOME` nor `HOME` names a directory.
    #[error("no state directory: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateDir,
    /// The file, its lock or its directory cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than the owner may read or write the file, so its key may be known to them.
    #[error("{} is open to others (mode {mode:03o})", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a record of this stream, or its checksum is wrong.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds the lock and does not let go.
    #[error("{} is locked by another process", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
}

impl StateDir {
    /// Names a directory; it is made with mode 0700 when it is first used.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Names the user's own: `$XDG_STATE_HOME/swarmcast`, else `~/.local/state/swarmcast`.
    ///
    /// # Errors
    /// [`IdentityError::NoStateDir`] when the environment names no absolute path for either.
    pub fn of_user() -> Result<Self, IdentityError> {
        let absolute = |variable| {
            let path = PathBuf::from(std::env::var_os(variable)?);
            path.is_absolute().then_some(path)
        };
        absolute("XDG_STATE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".local/state")))
            .map(|base| Self(base.join("swarmcast")))
            .ok_or(IdentityError::NoStateDir)
    }

    /// Takes the identity of a stream for one run: makes its key when there is none, and stores a new epoch, the
    /// larger of the wall clock in ms and the last one plus 1, before it returns. Two processes get different
    /// epochs; the higher one keeps the name.
    ///
    /// # Errors
    /// [`IdentityError::TooOpen`], [`IdentityError::Damaged`], [`IdentityError::Locked`], or
    /// [`IdentityError::Io`] for everything the file system refuses. A file that cannot be used is never replaced.
    pub fn identity(&self, group: &Group, name: &str) -> Result<Identity, IdentityError> {
        let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.identity_at(group.id(), name, u64::try_from(wall_clock.as_millis()).unwrap_or(u64::MAX))
    }

    fn identity_at(&self, group: GroupId, name: &str, wall_ms: u64) -> Result<Identity, IdentityError> {
        let streams = self.0.join("streams");
        DirBuilder::new().recursive(true).mode(0o700).create(&streams).map_err(at(&streams))?;
        let path = streams.join(file_name(group, name));
        let _lock = lock(&path.with_extension("lock"))?;

        let last = load(&path, group, name)?;
        let damaged = || IdentityError::Damaged { path: path.clone() };
        let (seed, epoch) = match last {
            Some(last) => (last.seed, wall_ms.max(last.epoch.checked_add(1).ok_or_else(damaged)?)),
            None => (random_seed().map_err(at(Path::new("random numbers of the system")))?, wall_ms),
        };
        let record = Record { group, name: name.to_owned(), seed, epoch };
        replace(&path, record.to_text().as_bytes())?;
        Ok(Identity { seed, epoch: Epoch(epoch) })
    }
}

impl Identity {
    /// Makes an identity that is kept nowhere: the next run is another stream to its viewers.
    ///
    /// # Errors
    /// [`IdentityError::Io`] when the system has no random numbers.
    pub fn ephemeral() -> Result<Self, IdentityError> {
        let seed = random_seed().map_err(at(Path::new("random numbers of the system")))?;
        let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { seed, epoch: Epoch(u64::try_from(wall_clock.as_millis()).unwrap_or(u64::MAX)) })
    }

    /// Derives the seed of a rendition's key, the same in each run; the one that bears the programme's name has its
    /// own.
    pub(crate) fn seed_of(&self, programme: &str, name: &str) -> [u8; 32] {
        if name == programme {
            return self.seed;
        }
        let mut hash = blake3::Hasher::new_derive_key("swarmcast 1 rendition of a programme");
        hash.update(&self.seed).update(name.as_bytes());
        *hash.finalize().as_bytes()
    }

    /// Returns the epoch of this run.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Parses the key of a stream as it is printed: 64 hexadecimal digits; `None` for anything else.
pub fn parse_stream_key(text: &str) -> Option<StreamKey> {
    record::bytes_of_hex(text).map(StreamKey)
}

/// Names the file by a hash: stream names may hold slashes and be longer than file names.
fn file_name(group: GroupId, name: &str) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(&group.0).update(name.as_bytes());
    let mut file = hash.finalize().to_hex()[..32].to_owned();
    file.push_str(".key");
    file
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// Takes the lock file's exclusive lock; it is let go with the returned file.
fn lock(path: &Path) -> Result<File, IdentityError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(at(path))?;
    for _ in 0..LOCK_WAIT.as_millis() / LOCK_RETRY.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_RETRY),
            Err(TryLockError::Error(error)) => return Err(at(path)(error)),
        }
    }
    Err(IdentityError::Locked { path: path.to_owned() })
}

fn load(path: &Path, group: GroupId, name: &str) -> Result<Option<Record>, IdentityError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path)(error)),
    };
    let mode = file.metadata().map_err(at(path))?.mode() & 0o777;
    if mode & MODE_OTHERS != 0 {
        return Err(IdentityError::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(record::TEXT_BYTES_MAX).read_to_end(&mut text).map_err(at(path))?;
    Record::parse(&text)
        .filter(|record| record.group == group && record.name == name)
        .map(Some)
        .ok_or_else(|| IdentityError::Damaged { path: path.to_owned() })
}

/// Replaces the file so that a crash leaves the old text or the new one, and none after the return.
fn replace(path: &Path, text: &[u8]) -> Result<(), IdentityError> {
    let aside = path.with_extension("new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&aside)(error)),
        _ => {}
    }
    OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .map_err(at(&aside))?;
    fs::rename(&aside, path).map_err(at(path))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_owned();
    move |error| IdentityError::Io { path, error }
}

#[cfg(test)]
mod tests;
