//! Capture, by ffmpeg's virtual devices: encoded at once, decodable, in time.

use std::time::{Duration, Instant};

use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_media::{CodecParameters, Sink, SinkConfig, Source, SourceConfig};

use crate::clips::{decode, directory, ffmpeg, path, read, run_for_stderr};

/// Records what `units` says of `source` and returns the file's pictures and seconds of sound.
fn record(source: &Source, units: &[AccessUnit], file: &str) -> (usize, f64) {
    let mut sink = Sink::open(SinkConfig::new(file), source.tracks()).expect("an output");
    units.iter().for_each(|unit| sink.write(unit).expect("writable"));
    sink.finish().expect("completed");
    decode(file)
}

#[test]
fn pictures_become_low_latency_h264() {
    let (source, units) = read("lavfi:testsrc2=size=1280x720:rate=25:duration=3");
    let parameters = CodecParameters::decode(&source.tracks()[0].parameters).expect("whole");
    assert_eq!((parameters.codec.as_str(), parameters.width, parameters.height), ("h264", 1_280, 720));
    assert_eq!((parameters.video_delay, parameters.frame_rate), (0, (25, 1)));
    assert!(!parameters.extradata.is_empty(), "the catalogue has the codec data");
    assert_eq!(units.len(), 75);
    assert!(units.iter().all(|unit| unit.pts == unit.dts), "no picture waits for another");
    let keys: Vec<_> = units.iter().enumerate().filter(|(_, unit)| unit.key).map(|(at, _)| at).collect();
    assert_eq!(keys, [0, 25, 50], "one a second");
    let directory = directory();
    assert_eq!(record(&source, &units, &path(&directory, "pictures.mkv")).0, 75);
    assert_eq!(record(&source, &units, &path(&directory, "pictures.mp4")).0, 75);
}

#[test]
fn odd_sizes_and_other_formats_are_converted() {
    let (source, units) = read("lavfi:testsrc=size=321x181:rate=30:duration=1,format=rgb24");
    let parameters = CodecParameters::decode(&source.tracks()[0].parameters).expect("whole");
    assert_eq!((parameters.width, parameters.height, parameters.format.as_str()), (320, 180, "yuv420p"));
    assert_eq!(record(&source, &units, &path(&directory(), "odd.mkv")).0, 30);
}

#[test]
fn sound_becomes_opus() {
    let directory = directory();
    for (rate, channels) in [(48_000, 1), (44_100, 2)] {
        let graph = format!(
            "lavfi:sine=frequency=440:sample_rate={rate}:duration=2,aformat=channel_layouts={channels}c"
        );
        let (source, units) = read(&graph);
        let track = &source.tracks()[0];
        let parameters = CodecParameters::decode(&track.parameters).expect("whole");
        assert_eq!((parameters.codec.as_str(), parameters.channels), ("opus", channels));
        assert!(units.windows(2).all(|pair| pair[1].dts - pair[0].dts == 960), "20 ms each, at 48 kHz");
        let file = path(&directory, "sound.mkv");
        let mut sink = Sink::open(SinkConfig::new(&file), source.tracks()).expect("an output");
        units.iter().for_each(|unit| sink.write(unit).expect("writable"));
        sink.finish().expect("completed");
        // The tone has an eighth of full scale, -21 dB, and 3 dB less where it is spread over two channels.
        let mean = |filter: &str| {
            let report = run_for_stderr(&["-i", &file, "-af", filter, "-f", "null", "-"]);
            let mean = report.split("mean_volume: ").nth(1).expect("a mean");
            mean.split(' ').next().expect("a word").parse::<f64>().expect("a number")
        };
        let tone = mean("volumedetect");
        let expected = if channels == 1 { -21.0 } else { -24.0 };
        assert!((tone - expected).abs() < 1.0, "{tone} dB");
        let rest = mean("bandreject=f=440:width_type=q:w=1,volumedetect");
        assert!(rest < tone - 20.0, "{rest} dB beside the tone");
        let length = decode_sound(&file);
        assert!((1.98..2.03).contains(&length), "{length} s");
    }
}

#[test]
fn a_microphone_whose_clock_is_off_stays_with_the_pictures() {
    for ppm in [500, -500] {
        let factor = 1.0 + f64::from(ppm) / 1e6;
        let graph = format!("lavfi:sine=frequency=440:sample_rate=48000:duration=120,asetpts=PTS*{factor}");
        let (_, units) = read(&graph);
        assert!(units.windows(2).all(|pair| pair[1].dts - pair[0].dts == 960), "no jump is heard");
        // A device is stamped from when it was opened, so it begins whenever its first packet comes.
        let lasts = units.last().map(|unit| (unit.pts + 960 - units[0].pts) as f64 / 48.0).expect("sound");
        // The last unit is filled up, by 20 ms at most, and the encoder's own delay.
        let off = lasts - 120_000.0 * factor;
        assert!((-6.0..34.0).contains(&off), "{off} ms at {ppm} ppm, uncorrected 60 ms");
    }
}

fn decode_sound(file: &str) -> f64 {
    let raw = ffmpeg(&["-i", file, "-f", "s16le", "-ac", "1", "-ar", "48000", "-"]);
    raw.len() as f64 / 2.0 / 48_000.0
}

#[test]
fn raw_files_are_encoded_too() {
    let directory = directory();
    let file = path(&directory, "tone.wav");
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", &file]);
    let (source, units) = read(&file);
    assert_eq!(source.tracks()[0].codec, "opus");
    assert!((50..=52).contains(&units.len()), "{} units of 20 ms", units.len());
    let mut looped =
        Source::open(SourceConfig { looped: true, paced: false, ..SourceConfig::new(&file) }).expect("open");
    let times: Vec<_> = (0..160).map(|_| looped.next().expect("readable").expect("endless").dts).collect();
    assert!(times.windows(2).all(|pair| (1..=1_920).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn a_camera_and_a_microphone_share_a_clock() {
    let input = "lavfi:testsrc2=size=320x180:rate=25:duration=1+lavfi:sine=sample_rate=48000:duration=1";
    let start = Instant::now();
    let mut source = Source::open(SourceConfig::new(input)).expect("devices");
    let mut units = Vec::new();
    while let Some(unit) = source.next().expect("readable") {
        units.push(unit);
    }
    assert!(start.elapsed() >= Duration::from_millis(900), "real time: {:?}", start.elapsed());
    let first = |track: u8| {
        let unit = units.iter().find(|unit| unit.track == TrackId(track)).expect("a unit");
        source.tracks()[usize::from(track)].time_base.to_micros(unit.pts)
    };
    let apart = (first(0) - first(1)).abs();
    assert!(apart < 200_000, "the tracks begin {apart} us apart");
    let (pictures, sound) = record(&source, &units, &path(&directory(), "both.mkv"));
    assert_eq!(pictures, 25);
    assert!((0.95..1.1).contains(&sound), "{sound} s of sound");
    for track in source.tracks() {
        let delay = source.capture_delay(track.id).expect("it encodes");
        assert!(delay.p50 <= delay.p95 && delay.p95 < Duration::from_secs(1), "{delay:?}");
    }
}

#[test]
fn what_passes_through_has_no_capture_delay() {
    assert_eq!(read(&crate::clips::clip()).0.capture_delay(TrackId(0)), None);
}
