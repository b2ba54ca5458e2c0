//! The packages of both workspaces, as cargo tells them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::tree::root;

/// A package of the workspace, or of the fuzz targets' own.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Names of its direct dependencies of every kind but `dev`.
    pub dependencies: BTreeSet<String>,
    /// Names of its direct dependencies of kind `dev`.
    pub dev_dependencies: BTreeSet<String>,
    /// The root file of each of its targets, from the root of the tree.
    pub targets: Vec<String>,
}

/// Reads all packages of the source tree.
///
/// # Errors
/// When `cargo metadata` fails, for instance at a manifest that does not parse.
pub fn packages() -> Result<Vec<Package>> {
    let manifests = ["Cargo.toml", "fuzz/Cargo.toml"].map(|manifest| root().join(manifest));
    let mut packages = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.exists()) {
        let metadata = metadata(manifest)?;
        for package in list(&metadata["packages"]) {
            packages.push(read(package)?);
        }
    }
    Ok(packages)
}

fn metadata(manifest: &Path) -> Result<Value> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"])
        .arg(manifest)
        .output()
        .context("cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

fn read(package: &Value) -> Result<Package> {
    let names = |dev: bool| {
        list(&package["dependencies"])
            .iter()
            .filter(|dependency| (dependency["kind"] == "dev") == dev)
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
            .collect()
    };
    let root = root();
    let target = |target: &Value| {
        let path = Path::new(target["src_path"].as_str()?);
        path.strip_prefix(&root).ok()?.to_str().map(str::to_owned)
    };
    Ok(Package {
        name: package["name"].as_str().context("a package without a name")?.to_owned(),
        dependencies: names(false),
        dev_dependencies: names(true),
        targets: list(&package["targets"]).iter().filter_map(target).collect(),
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
