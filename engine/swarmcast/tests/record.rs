//! Records real access units through a real sink, as a subscription with a restarted publisher delivers them.

use std::path::Path;

use swarmcast::{
    AccessUnit, Bytes, Catalogue, CloseCause, Delivery, Epoch, Event, Now, Recorded, Recorder, SinkConfig,
    SinkCounts, Source, SourceConfig, StreamKey, Track, TrackId, data_track,
};

const SECOND: u64 = 1_000_000;

/// Reads the first seconds of the shipped clip.
fn clip(units: usize) -> (Vec<Track>, Vec<AccessUnit>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/clip.mkv");
    let config = SourceConfig { paced: false, ..SourceConfig::new(path.to_string_lossy()) };
    let mut source = Source::open(config).unwrap();
    let read = (0..units).map(|_| source.next().unwrap().unwrap()).collect();
    (source.tracks().to_vec(), read)
}

fn opened(epoch: u64, tracks: &[Track]) -> Event {
    let catalogue = Catalogue {
        name: "cam".to_owned(),
        expiry: Catalogue::EXPIRY,
        tracks: tracks.to_vec(),
        renditions: Vec::new(),
        multicast: None,
    };
    Event::Opened { key: StreamKey([1; 32]), epoch: Epoch(epoch), catalogue }
}

fn deliver(recorder: &mut Recorder, tracks: &[Track], units: &[AccessUnit], begin: u64) {
    for unit in units {
        let time = tracks[usize::from(unit.track.0)].time_base.to_micros(unit.dts);
        let due = Now(begin.saturating_add_signed(time));
        let delivery = Delivery { unit: unit.clone(), due, closed: None };
        assert_eq!(recorder.handle(&Event::AccessUnit(delivery)).unwrap(), Recorded::Quietly);
    }
}

/// Returns the presentation times of a recording's video in microseconds; Matroska keeps no others.
fn video_times(path: &Path) -> Vec<i64> {
    let config = SourceConfig { paced: false, ..SourceConfig::new(path.to_string_lossy()) };
    let mut source = Source::open(config).unwrap();
    let video = source.tracks()[0].clone();
    let mut times = Vec::new();
    while let Some(unit) = source.next().unwrap() {
        if unit.track == video.id {
            times.push(video.time_base.to_micros(unit.pts));
        }
    }
    times
}

#[test]
fn a_restarted_publisher_goes_on_in_the_same_file_after_the_real_pause() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("x.mkv");
    let (tracks, units) = clip(140);
    let mut recorder = Recorder::new(SinkConfig::new(output.to_string_lossy()));
    let first = Recorded::Opened { output: output.to_string_lossy().into_owned(), part: 0 };
    assert_eq!(recorder.handle(&opened(1, &tracks)).unwrap(), first);
    deliver(&mut recorder, &tracks, &units, SECOND);
    assert_eq!(recorder.handle(&Event::Reset { old: Epoch(1), new: Epoch(2) }).unwrap(), Recorded::Quietly);
    assert_eq!(recorder.handle(&opened(2, &tracks)).unwrap(), Recorded::Continued);
    deliver(&mut recorder, &tracks, &units, 4 * SECOND);
    assert_eq!(recorder.handle(&Event::Closed(CloseCause::Ended)).unwrap(), Recorded::Finished);
    assert_eq!(recorder.written().access_units, 280);

    let times = video_times(&output);
    let (before, after) = times.split_at(times.len() / 2);
    assert!(before.iter().max() < after.iter().min(), "{times:?}");
    assert_eq!(after[0] - before[0], 3 * SECOND as i64);
    let relative = |times: &[i64]| times.iter().map(|time| time - times[0]).collect::<Vec<_>>();
    assert_eq!(relative(before), relative(after));
}

#[test]
fn other_tracks_go_into_the_next_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("x.mkv");
    let (tracks, units) = clip(60);
    let mut recorder = Recorder::new(SinkConfig::new(output.to_string_lossy()));
    recorder.handle(&opened(1, &tracks)).unwrap();
    deliver(&mut recorder, &tracks, &units, SECOND);
    let next = directory.path().join("x.1.mkv");
    let told = Recorded::Opened { output: next.to_string_lossy().into_owned(), part: 1 };
    assert_eq!(recorder.handle(&opened(2, &tracks[..1])).unwrap(), told);
    let video: Vec<_> = units.iter().filter(|unit| unit.track == tracks[0].id).cloned().collect();
    deliver(&mut recorder, &tracks, &video, 11 * SECOND);
    recorder.finish().unwrap();
    assert_eq!(video_times(&output).len(), video.len());
    assert_eq!(video_times(&next).len(), video.len());
}

#[test]
fn without_an_output_it_counts() {
    let (tracks, units) = clip(60);
    let mut recorder = Recorder::new(SinkConfig::headless());
    recorder.handle(&opened(1, &tracks)).unwrap();
    deliver(&mut recorder, &tracks, &units, SECOND);
    recorder.handle(&Event::Closed(CloseCause::Local)).unwrap();
    let bytes = units.iter().map(|unit| unit.payload.len() as u64).sum::<u64>();
    assert_eq!(recorder.written(), SinkCounts { access_units: 60, bytes });
}

#[test]
fn only_what_the_outputs_hold_counts_as_written() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("x.mkv");
    let (media, units) = clip(60);
    let data = AccessUnit { track: TrackId(2), payload: Bytes::from_static(b"{}"), ..units[0].clone() };
    let tracks = [&media[..], &[data_track(TrackId(2))]].concat();
    let mut recorder = Recorder::new(SinkConfig::new(output.to_string_lossy()));
    recorder.handle(&opened(1, &tracks)).unwrap();
    deliver(&mut recorder, &tracks, &units, SECOND);
    deliver(&mut recorder, &tracks, &[data], 2 * SECOND);
    let bytes = units.iter().map(|unit| unit.payload.len() as u64).sum::<u64>();
    assert_eq!(recorder.written(), SinkCounts { access_units: 60, bytes });
    recorder.handle(&opened(2, &media)).unwrap();
    deliver(&mut recorder, &media, &units, 11 * SECOND);
    recorder.finish().unwrap();
    assert_eq!(recorder.written(), SinkCounts { access_units: 120, bytes: 2 * bytes });
}
