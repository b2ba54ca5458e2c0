//! The fuzz targets' corpora, replayed: what was once found stays found, on stable and without a fuzzer.

use std::path::Path;

#[path = "../../../fuzz/src/lib.rs"]
pub mod bodies;

fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(&corpus).expect("every target has a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("the corpus is readable").path()).collect();
    paths.sort();
    for path in &paths {
        // Shown when the case fails.
        println!("{}", path.display());
        body(&std::fs::read(path).expect("the case is readable"));
    }
    assert!(paths.len() >= 8, "{target} has {} cases", paths.len());
}

#[test]
fn datagram() {
    replay("datagram", bodies::datagram);
}

#[test]
fn control() {
    replay("control", bodies::control);
}

#[test]
fn header() {
    replay("header", bodies::header);
}

#[test]
fn join() {
    replay("join", bodies::join);
}

#[test]
fn journey() {
    replay("journey", bodies::journey);
}

#[test]
fn parity() {
    replay("parity", bodies::parity);
}

#[test]
fn node() {
    replay("node", bodies::node);
}

#[test]
fn catalogue() {
    replay("catalogue", bodies::catalogue);
}

#[test]
fn text() {
    replay("text", bodies::text);
}

#[test]
fn window() {
    replay("window", bodies::window);
}
