use anyhow::Result;

use super::{Comparison, Source};
use crate::recording::{Recording, Track, Unit};

/// 10 units of video 0.1 s apart, the first of each five a random-access point, and 20 of audio; the payload
/// of `silence` is the same everywhere.
fn source() -> Source {
    let unit = |name: &str, index: usize, step: f64| {
        let hash = if name == "a" && index % 4 == 3 { "silence".into() } else { format!("{name}{index}") };
        Unit { time: index as f64 * step, bytes: 100, hash }
    };
    let track = |kind: &str, name, count, step| {
        let units = (0..count).map(|index| unit(name, index, step)).collect();
        Track { kind: kind.into(), units }
    };
    let tracks = vec![track("video", "v", 10, 0.1), track("audio", "a", 20, 0.05)];
    let random_access = vec![(0..10).map(|index| index % 5 == 0).collect(), vec![true; 20]];
    Source { recording: Recording { tracks }, random_access, length: 1.0 }
}

/// The endless repetition from `first` seconds on, 3 s of it, on a clock of its own.
fn recorded(source: &Source, first: f64) -> Recording {
    let repeat = |track: &Track| {
        let units = (0..5).flat_map(|round| {
            track.units.iter().map(move |unit| Unit { time: unit.time + f64::from(round), ..unit.clone() })
        });
        let wanted = units.filter(|unit| unit.time > first - 0.01 && unit.time < first + 3.0);
        let units = wanted.map(|unit| Unit { time: unit.time - first + 7.0, ..unit }).collect();
        Track { kind: track.kind.clone(), units }
    };
    Recording { tracks: source.recording.tracks.iter().map(repeat).collect() }
}

fn differences(change: impl FnOnce(&mut Vec<Unit>)) -> Result<Comparison> {
    let source = source();
    let mut recording = recorded(&source, 0.5);
    change(&mut recording.tracks[0].units);
    source.compare_recording(&recording)
}

#[test]
fn a_perfect_recording_has_no_differences() -> Result<()> {
    let comparison = differences(|_| {})?;
    assert_eq!((comparison.missing(), comparison.wrong(), comparison.units()), (0, 0, 90));
    assert!(comparison.tracks.iter().all(|track| track.starts_at_random_access));
    assert!(comparison.time_error < 1e-6, "{}", comparison.time_error);
    assert!((comparison.seconds() - 2.9).abs() < 1e-6);
    Ok(())
}

#[test]
fn each_kind_of_damage_is_told_apart() -> Result<()> {
    let missing = differences(|units| drop(units.drain(4..12)))?;
    assert_eq!((missing.missing(), missing.wrong()), (8, 0));
    assert!((missing.longest_gap() - 0.8).abs() < 1e-6);

    let altered = differences(|units| units[4].hash = "x".into())?;
    assert_eq!((altered.missing(), altered.tracks[0].extra), (1, 1));

    let double = differences(|units| units.insert(5, units[4].clone()))?;
    assert_eq!((double.missing(), double.tracks[0].double), (0, 1));

    let swapped = differences(|units| units.swap(6, 7))?;
    assert_eq!((swapped.missing(), swapped.tracks[0].out_of_order), (0, 1));

    let late_start = differences(|units| drop(units.remove(0)))?;
    assert_eq!(late_start.missing(), 0);
    assert!(!late_start.tracks[0].starts_at_random_access);
    Ok(())
}

#[test]
fn a_whole_loop_that_is_missing_is_noticed() -> Result<()> {
    let comparison = differences(|units| drop(units.drain(3..13)))?;
    assert_eq!((comparison.missing(), comparison.wrong()), (10, 0));
    Ok(())
}

#[test]
fn times_that_slip_are_noticed() -> Result<()> {
    let slipped = differences(|units| units.iter_mut().for_each(|unit| unit.time += 0.04))?;
    assert!((slipped.time_error - 0.04).abs() < 1e-6, "{}", slipped.time_error);
    let drifting = differences(|units| units[20..].iter_mut().for_each(|unit| unit.time += 0.02))?;
    assert!(drifting.time_error > 0.019, "{}", drifting.time_error);
    Ok(())
}

#[test]
fn a_recording_without_a_track_is_refused() {
    let source = source();
    let mut recording = recorded(&source, 0.5);
    recording.tracks.pop();
    assert!(source.compare_recording(&recording).is_err());
}
