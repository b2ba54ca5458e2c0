//! What is already encoded comes out of a recording exactly as it went in.

mod common;

use common::{clip, copy, directory, hashes, make, path, read, streams, unpaced};
use swarmcast_core::catalogue::{TrackId, TrackKind};
use swarmcast_media::{Sink, SinkConfig, Source, SourceConfig};

/// Copies into Matroska and compares packets, timestamps and codec data.
fn assert_identical(source: &str) {
    let directory = directory();
    let recording = path(&directory, "recording.mkv");
    let units = copy(source, &recording);
    let (before, after) = (hashes(source), hashes(&recording));
    assert_eq!(before.values().map(Vec::len).sum::<usize>(), units.len());
    assert_eq!(before, after);
    assert_eq!(streams(source), streams(&recording));
}

#[test]
fn the_shipped_clip_is_bit_identical() {
    assert_identical(&clip());
    let (source, units) = read(&clip());
    assert_eq!(source.tracks().len(), 2);
    assert!(units.iter().any(|unit| unit.pts != unit.dts), "it has B-pictures");
    let video = units.iter().filter(|unit| unit.track == TrackId(0));
    let keys = video.clone().filter(|unit| unit.key).count();
    let disposable = video.clone().filter(|unit| unit.disposable).count();
    assert_eq!((video.clone().count(), keys), (250, 10));
    assert!((60..=170).contains(&disposable), "{disposable} of 250 are B-pictures that nothing refers to");
    assert!(video.clone().all(|unit| !(unit.key && unit.disposable)));
}
