//! The right to use this machine as a lab.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::namespace::{self, Namespace};

/// Proof that this process alone runs a lab on this machine, for as long as it lives.
///
/// The hosts share two or so cores: two labs at once would measure each other.
#[derive(Debug)]
pub struct Lab {
    directory: PathBuf,
    networks: AtomicU32,
    _lock: File,
}

impl Lab {
    /// Waits until no other lab runs, then removes what killed ones left behind.
    ///
    /// # Errors
    /// The process is not root, the kernel refuses namespaces, or the target directory cannot be written.
    pub fn open() -> Result<Self> {
        if !geteuid().is_root() {
            bail!("the lab needs root: it makes network namespaces");
        }
        let directory = target_directory()?.join("lab");
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock = File::create(directory.join(".lock")).context("cannot create the lab's lock file")?;
        lock.lock().context("cannot lock the lab")?;
        namespace::sweep()?;
        Namespace::create("probe").context("the lab needs network namespaces")?;
        Ok(Self { directory, networks: AtomicU32::new(0), _lock: lock })
    }

    /// As [`Lab::open`]; where that fails, says on stderr that `what` is skipped, and why.
    pub fn open_or_skip(what: &str) -> Option<Self> {
        match Self::open() {
            Ok(lab) => Some(lab),
            Err(error) => {
                eprintln!("SKIPPED {what}: {error:#}");
                None
            }
        }
    }

    /// Where clips, recordings and reports go.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Creates an empty directory for the files of one scenario.
    ///
    /// # Errors
    /// It cannot be emptied or created.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.join("run").join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot empty {}", directory.display()))?;
        }
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        Ok(directory)
    }

    /// Counts the networks made, to tell their namespaces apart.
    pub(crate) fn next_network(&self) -> u32 {
        self.networks.fetch_add(1, Ordering::Relaxed)
    }
}

/// The build directory that holds the running executable.
///
/// # Errors
/// The executable lies outside of any.
pub fn target_directory() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("cannot tell which executable runs")?;
    // Cargo marks its target directory by this file.
    let target = executable.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    match target {
        Some(directory) => Ok(directory.to_path_buf()),
        None => bail!("{} does not lie in a cargo target directory", executable.display()),
    }
}
