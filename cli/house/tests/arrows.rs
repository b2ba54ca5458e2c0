//! Who may know whom: `cli, samples -> swarmcast -> {net, media} -> core` and `cli -> sim -> core`.

use std::collections::BTreeSet;

use swarmcast_house::{Package, bare, files, packages};

/// The packages of this tree that each of them may name.
const ARROWS: [(&str, &[&str]); 11] = [
    ("swarmcast-core", &[]),
    ("swarmcast-sim", &["swarmcast-core"]),
    ("swarmcast-net", &["swarmcast-core"]),
    ("swarmcast-media", &["swarmcast-core"]),
    ("swarmcast", &["swarmcast-core", "swarmcast-net", "swarmcast-media"]),
    ("swarmcast-cli", &["swarmcast", "swarmcast-sim"]),
    ("swarmcast-samples", &["swarmcast"]),
    ("swarmcast-lab", &[]),
    ("swarmcast-house", &[]),
    ("swarmcast-benches", &["swarmcast-core", "swarmcast-sim", "swarmcast-net", "swarmcast-media"]),
    ("swarmcast-fuzz", &["swarmcast-core"]),
];

/// Packages that touch the world, each with the only ones that may name it.
const DOORS: [(&str, &[&str]); 12] = [
    ("iroh", &["swarmcast-net", "swarmcast-benches"]),
    ("noq-proto", &["swarmcast-net"]),
    ("mdns-sd", &["swarmcast-net"]),
    ("socket2", &["swarmcast-net"]),
    ("nix", &["swarmcast-net", "swarmcast-media", "swarmcast-lab"]),
    ("ffmpeg-next", &["swarmcast-media"]),
    ("opus", &["swarmcast-media"]),
    ("sdl2", &["swarmcast-cli"]),
    ("tokio", &["swarmcast-net", "swarmcast", "swarmcast-cli", "swarmcast-samples", "swarmcast-benches"]),
    ("crossbeam", &["swarmcast-net", "swarmcast-media", "swarmcast", "swarmcast-benches", "swarmcast-sim"]),
    ("parking_lot", &["swarmcast-net", "swarmcast-media", "swarmcast", "swarmcast-benches"]),
    (
        "anyhow",
        &["swarmcast-cli", "swarmcast-samples", "swarmcast-lab", "swarmcast-house", "swarmcast-benches"],
    ),
];

fn all() -> Vec<Package> {
    packages().expect("cargo reads the manifests")
}

#[test]
fn packages_know_only_whom_they_may() {
    let packages = all();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in &packages {
        let name = package.name.as_str();
        let allowed = ARROWS.iter().find(|(from, _)| *from == name).map(|(_, to)| *to);
        let allowed = allowed.unwrap_or_else(|| panic!("{name} has no place in ARROWS: give it one"));
        for dependency in package.dependencies.union(&package.dev_dependencies) {
            let known = dependency == name || allowed.contains(&dependency.as_str());
            assert!(
                known || !ours.contains(dependency.as_str()),
                "{name} -> {dependency} is no arrow of this house"
            );
        }
    }
}

#[test]
fn the_world_is_behind_few_doors() {
    for package in all() {
        for (door, keepers) in DOORS {
            let named = package.dependencies.contains(door);
            assert!(
                !named || keepers.contains(&package.name.as_str()),
                "{} names {door}, only {keepers:?} may",
                package.name
            );
        }
    }
}

#[test]
fn the_core_is_built_of_pure_crates() {
    const PURE: [&str; 7] =
        ["blake3", "bytes", "ed25519-dalek", "fearless_simd", "rand_chacha", "ring", "thiserror"];
    let core = all().into_iter().find(|package| package.name == "swarmcast-core").expect("there is a core");
    for dependency in &core.dependencies {
        assert!(
            PURE.contains(&dependency.as_str()),
            "engine/core depends on {dependency}: does it read a clock or a socket?"
        );
    }
}

/// The build for wasm32 proves that no dependency needs an operating system; `std` still has these there, as stubs
/// that fail when called. Clocks, threads, locks and hash maps by any other name are clippy's part.
#[test]
fn the_core_uses_no_io_of_std() {
    const DOORS: [&str; 7] = ["env", "fs", "io", "os", "process", "thread", "sync"];
    const ADDRESSES: [&str; 7] =
        ["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];
    let mut broken = Vec::new();
    for file in files(&[".rs"]).expect("the sources are readable") {
        if !file.path.starts_with("engine/core/src/") {
            continue;
        }
        for path in std_paths(&bare(&file.text)) {
            let mut parts = path.split("::");
            let (module, item) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let address = module == "net" && ADDRESSES.contains(&item);
            let clock = module == "time" && item != "Duration";
            let shared = module == "sync" && item == "Arc";
            if (DOORS.contains(&module) && !shared) || (module == "net" && !address) || clock {
                broken.push(format!("{}: std::{path}", file.path));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "time, randomness and bytes are arguments of the core:\n{}",
        broken.join("\n")
    );
}

/// Returns every path below `std::` in bare code, with braces spelt out: `net::{A, B}` is `net::A` and `net::B`.
fn std_paths(code: &str) -> Vec<String> {
    let code = code.replace(|c: char| c.is_whitespace(), " ");
    let mut paths = Vec::new();
    for (start, root) in code.match_indices("std::") {
        let whole = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if whole {
            spell_out("", &code[start + root.len()..], &mut paths);
        }
    }
    paths
}

/// Spells out the path or the braced list at the head of `rest`, and returns how many bytes it took.
fn spell_out(prefix: &str, rest: &str, paths: &mut Vec<String>) -> usize {
    let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..name]);
    if let Some(alias) = rest[name..].strip_prefix(" as ") {
        paths.push(path);
        return rest.len() - alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    }
    if !rest[name..].starts_with('{') {
        paths.push(path);
        return name;
    }
    let mut at = name + 1;
    while let Some(c) = rest[at..].chars().next() {
        at += match c {
            '}' => return at + 1,
            ' ' | ',' => 1,
            _ => spell_out(&path, &rest[at..], paths).max(c.len_utf8()),
        };
    }
    at
}

#[test]
fn std_paths_are_spelt_out() {
    let code =
        "use std::{fmt as f, net::{SocketAddr,\n UdpSocket}}; std::time::Instant::now(); my_std::fs::x();";
    let expected = ["fmt", "net::SocketAddr", "net::UdpSocket", "time::Instant::now"];
    assert_eq!(std_paths(code), expected);
}
