//! Loops and pacing.

use std::time::{Duration, Instant};

use swarmcast_media::{Source, SourceConfig};

use crate::clips::{clip, directory, ffmpeg, path, read, unpaced};

/// Reads `passes` times over `input` and holds every track to going on without a step.
fn assert_goes_on(input: &str, passes: usize) {
    let (_, once) = read(input);
    let mut source = Source::open(SourceConfig { looped: true, ..unpaced(input) }).expect("an input");
    let mut last = vec![None; source.tracks().len()];
    let mut offsets = Vec::new();
    for pass in 0..passes {
        for first in &once {
            let unit = source.next().expect("readable").expect("endless");
            assert_eq!(unit.payload, first.payload, "pass {pass}");
            assert_eq!((unit.track, unit.key, unit.disposable), (first.track, first.key, first.disposable));
            assert_eq!(unit.pts - unit.dts, first.pts - first.dts);
            let time_base = source.tracks()[usize::from(unit.track.0)].time_base;
            let last = &mut last[usize::from(unit.track.0)];
            if let Some(last) = last.replace(unit.dts) {
                let step = time_base.to_micros(unit.dts - last);
                assert!((1..=70_000).contains(&step), "pass {pass}: track {} steps {step} us", unit.track.0);
            }
            let offset = time_base.to_micros(unit.dts) - time_base.to_micros(first.dts);
            offsets.resize(pass + 1, offset);
            let apart = (offset - offsets[pass]).abs();
            assert!(apart <= 1_000, "pass {pass}: tracks are {apart} us apart, a tick is at most 1 ms");
        }
    }
    let length = offsets[1];
    assert!((10_000_000..10_050_000).contains(&length), "a pass of the 10 s clip is {length} us long");
}

#[test]
fn a_looped_clip_goes_on() {
    assert_goes_on(&clip(), 5);
}

#[test]
fn other_containers_go_on() {
    let directory = directory();
    for name in ["clip.mp4", "clip.ts"] {
        let file = path(&directory, name);
        ffmpeg(&["-i", &clip(), "-c", "copy", &file]);
        assert_goes_on(&file, 3);
    }
}

#[test]
fn units_leave_at_their_pace() {
    let mut source = Source::open(SourceConfig::new(clip())).expect("an input");
    let start = Instant::now();
    let mut first = None;
    loop {
        let unit = source.next().expect("readable").expect("10 s");
        let dts = source.tracks()[usize::from(unit.track.0)].time_base.to_micros(unit.dts);
        let due = dts - *first.get_or_insert(dts);
        let early = Duration::from_micros(due.max(0).unsigned_abs()).saturating_sub(start.elapsed());
        assert!(early < Duration::from_millis(5), "{early:?} too early");
        if due > 1_000_000 {
            break;
        }
    }
}
