//! How a file must look: length, columns, leftovers, names, reachability.

use std::collections::BTreeSet;

use swarmcast_house::{SourceFile, bare, declared_names, files, packages, root, words};

/// A reader should hold a file in mind. Tests lie in a sibling file once they are long, and count by themselves.
const RUST_LINES_MAX: usize = 500;
/// For comments, literals and prose; rustfmt breaks code at 110.
const COLUMNS_MAX: usize = 120;
const README_LINES_MAX: usize = 200;
/// The one file that may talk to C.
const FFI: &str = "engine/media/src/ffi.rs";
/// The one file of the driver that may read clocks.
const CLOCK: &str = "engine/net/src/clock.rs";
/// The one file of the simulator that may begin threads: they share out hosts that cannot meet meanwhile.
const THREADS: &str = "engine/sim/src/world/span.rs";

/// Fails with all broken rules at once, each with its place.
fn report(broken: &[String]) {
    assert!(broken.is_empty(), "{} places to tidy:\n{}", broken.len(), broken.join("\n"));
}

fn rust() -> Vec<SourceFile> {
    files(&[".rs"]).expect("the sources are readable")
}

/// Everything that people write and read: code, prose, settings and scripts, no texts of licences and no data.
fn written() -> Vec<SourceFile> {
    const ENDINGS: [&str; 4] = [".rs", ".md", ".toml", "Makefile"];
    let mut written = files(&[""]).expect("the sources are readable");
    written.retain(|f| f.path.starts_with(".ci/") || ENDINGS.iter().any(|ending| f.path.ends_with(ending)));
    written
}

/// Whether a file is a test or an example, and so may print.
fn is_program(path: &str) -> bool {
    path.contains("/tests/")
        || path.contains("/examples/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for file in rust() {
        let lines = file.text.lines().count();
        if lines > RUST_LINES_MAX {
            broken.push(format!(
                "{}: {lines} lines, at most {RUST_LINES_MAX}: split it by what it knows",
                file.path
            ));
        }
    }
    for file in files(&["README.md"]).expect("README.md is readable") {
        let lines = file.text.lines().count();
        if lines >= README_LINES_MAX {
            broken.push(format!(
                "{}: {lines} lines, fewer than {README_LINES_MAX}: move it to docs/",
                file.path
            ));
        }
    }
    report(&broken);
}

#[test]
fn lines_are_short_and_clean() {
    let mut broken = Vec::new();
    for file in written() {
        for (at, line) in file.text.lines().enumerate() {
            let place = format!("{}:{}", file.path, at + 1);
            // A row of a table and an entry of a manifest cannot be broken.
            let whole = line.starts_with('|') || file.path.ends_with(".toml");
            if line.chars().count() > COLUMNS_MAX && !whole {
                broken.push(format!("{place}: more than {COLUMNS_MAX} columns"));
            }
            if line.ends_with(char::is_whitespace) {
                broken.push(format!("{place}: blank at the end of the line"));
            }
            if line.contains('\t') && file.path.ends_with(".rs") {
                broken.push(format!("{place}: tab"));
            }
        }
        if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
            broken.push(format!("{}: ends with exactly one line break", file.path));
        }
    }
    report(&broken);
}

#[test]
fn every_file_says_what_it_is() {
    // A test module is told by the name of its file, and by the root of its tests.
    let root = |path: &str| path.rsplit('/').nth(1) == Some("tests");
    let broken: Vec<String> = rust()
        .iter()
        .filter(|file| !is_program(&file.path) || root(&file.path))
        .filter(|file| !file.text.starts_with("//!") && !file.text.starts_with("#!"))
        .map(|file| format!("{}: starts with its module doc, `//! ...`", file.path))
        .collect();
    report(&broken);
}

#[test]
fn nothing_is_left_over() {
    // In two halves, so that this file keeps the rule.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"], ["HA", "CK"]].map(|halves| halves.concat());
    let mut broken = Vec::new();
    for file in written() {
        for (at, line) in file.text.lines().enumerate() {
            if let Some(mark) =
                line.split(|c: char| !c.is_alphanumeric()).find(|word| marks.iter().any(|m| m == word))
            {
                broken.push(format!("{}:{}: {mark}: do it, or write down the limit", file.path, at + 1));
            }
        }
    }
    for file in rust().iter().filter(|file| file.path.starts_with("engine/") && !is_program(&file.path)) {
        for (at, line) in bare(&file.text).lines().enumerate() {
            if let Some(found) = ["println!", "print!", "dbg!"].iter().find(|call| line.contains(*call)) {
                broken.push(format!(
                    "{}:{}: {found}: a library is silent, raise an event",
                    file.path,
                    at + 1
                ));
            }
        }
    }
    report(&broken);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let mut places = vec!["/root/".to_owned(), "/home/".to_owned(), "/Users/".to_owned()];
    places.push(root().to_string_lossy().into_owned());
    places.extend(std::env::var("HOME").ok().map(|home| format!("{home}/")));
    places.extend(std::env::var("CARGO_TARGET_DIR").ok().filter(|target| target.starts_with('/')));
    let mut broken = Vec::new();
    for file in files(&[""]).expect("the sources are readable") {
        if file.path == "cli/house/tests/tidy.rs" {
            continue;
        }
        for (at, line) in file.text.lines().enumerate() {
            if let Some(place) = places.iter().find(|place| place.len() > 1 && line.contains(place.as_str()))
            {
                broken.push(format!("{}:{}: {place} is nobody else's path", file.path, at + 1));
            }
        }
    }
    report(&broken);
}

#[test]
fn unsafe_stays_in_the_ffi_file() {
    let mut broken = Vec::new();
    for file in rust().iter().filter(|file| file.path != FFI) {
        for (at, line) in bare(&file.text).lines().enumerate() {
            if line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe" || word == "unsafe_code")
            {
                broken.push(format!("{}:{}: unsafe belongs into {FFI}", file.path, at + 1));
            }
        }
    }
    report(&broken);
}

#[test]
fn lints_of_size_and_purity_stay_on() {
    const HELD: [&str; 4] =
        ["too_many_lines", "too_many_arguments", "disallowed_methods", "disallowed_types"];
    let mut broken = Vec::new();
    for file in rust().iter().filter(|file| file.path.starts_with("engine/") && !is_program(&file.path)) {
        for (at, line) in bare(&file.text).lines().enumerate() {
            let lint = HELD.iter().find(|lint| line.contains(&format!("clippy::{lint}")));
            let excepted = [CLOCK, THREADS].contains(&file.path.as_str());
            let lint = lint.filter(|lint| !excepted || **lint != "disallowed_methods");
            broken.extend(lint.map(|lint| format!("{}:{}: {lint} is no matter of taste", file.path, at + 1)));
        }
    }
    report(&broken);
}

#[test]
fn names_use_the_words_of_the_field() {
    const UNUSED: [&str; 10] =
        ["chunk", "chunks", "piece", "pieces", "segment", "segments", "manager", "helper", "helpers", "util"];
    let mut broken = Vec::new();
    for file in rust().iter().filter(|file| file.path.starts_with("engine/")) {
        for (line, name) in declared_names(&bare(&file.text)) {
            if let Some(word) = words(name).iter().find(|word| UNUSED.contains(&word.as_str())) {
                broken.push(format!(
                    "{}:{line}: `{name}`: docs/architecture.md has a word for `{word}`",
                    file.path
                ));
            }
            // A collection's has the name that those of the standard library have.
            if name.starts_with("get_") && name != "get_mut" {
                broken
                    .push(format!("{}:{line}: `{name}`: a getter is named after what it returns", file.path));
            }
        }
    }
    report(&broken);
}

#[test]
fn every_file_is_compiled() {
    let sources = rust();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<(String, bool)> = Vec::new();
    for package in packages().expect("cargo reads the manifests") {
        open.extend(package.targets.into_iter().map(|target| (target, true)));
    }
    while let Some((path, is_root)) = open.pop() {
        let Some(file) = sources.iter().find(|file| file.path == path) else { continue };
        if reached.insert(path.clone()) {
            open.extend(modules(file, is_root).into_iter().map(|module| (module, false)));
        }
    }
    let broken: Vec<String> = sources
        .iter()
        .filter(|file| !reached.contains(&file.path))
        .map(|file| format!("{}: no crate has it as a module", file.path))
        .collect();
    report(&broken);
}

/// Returns the files in which the modules that `file` declares may lie.
fn modules(file: &SourceFile, is_root: bool) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = name.trim_end_matches(".rs");
    let home = if is_root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut found = Vec::new();
    for line in bare(&file.text).lines() {
        let declaration = line.trim().trim_end_matches(';').rsplit_once("mod ");
        if let (Some((_, module)), true) = (declaration, line.trim().ends_with(';')) {
            found.push(format!("{home}/{module}.rs"));
            found.push(format!("{home}/{module}/mod.rs"));
        }
    }
    for line in file.text.lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            found.push(format!("{folder}/{path}"));
        }
    }
    found
}
