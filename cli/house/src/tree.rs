//! The files of the source tree, as git knows them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A text file of the source tree.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it lies, from the root, with forward slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Returns the root of the source tree.
pub fn root() -> PathBuf {
    let house = Path::new(env!("CARGO_MANIFEST_DIR"));
    house.ancestors().nth(2).unwrap_or(house).to_path_buf()
}

/// Reads every text file whose name ends with one of `endings`, in order of path: those that git tracks and
/// those that it would track. A file that is not UTF-8 is not a text.
///
/// # Errors
/// When git cannot list the tree (it must be a checkout) or a file cannot be read.
pub fn files(endings: &[&str]) -> Result<Vec<SourceFile>> {
    let listing = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ])
        .current_dir(root())
        .output()
        .context("git is needed to list the source tree")?;
    ensure!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let listing = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
    let mut files = Vec::new();
    for path in listing.split('\0').filter(|path| endings.iter().any(|ending| path.ends_with(ending))) {
        let file = root().join(path);
        if file.is_symlink() || !file.is_file() {
            continue; // deleted and not yet committed, or read under its own name
        }
        let bytes = std::fs::read(&file).with_context(|| path.to_owned())?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path: path.to_owned(), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
