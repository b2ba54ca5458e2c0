//! Every wrong input and output is told in one line that says what to do.

use std::fmt::Display;

use swarmcast_core::catalogue::{TimeBase, Track, TrackId, TrackKind};
use swarmcast_media::{
    CodecParameters, ParametersError, Sink, SinkConfig, SinkError, Source, SourceConfig, SourceError,
};

use crate::clips::{clip, directory, make, path, read, unpaced};

fn refused(input: &str) -> SourceError {
    let error = Source::open(unpaced(input)).err().expect("an error");
    assert_line(&error);
    error
}

fn assert_line(error: &impl Display) {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() > 20, "{line:?}");
}

#[test]
fn inputs_that_are_not_there() {
    assert!(matches!(refused("/nonexistent/clip.mkv"), SourceError::Missing { .. }));
    assert!(matches!(refused("nonsense:clip"), SourceError::Missing { .. }));
    let error = refused("v4l2:/dev/video9");
    assert!(matches!(&error, SourceError::Device { format, .. } if format == "v4l2"), "{error}");
    assert!(matches!(refused("alsa:hw:9"), SourceError::Device { .. }));
    assert!(matches!(refused("lavfi:nosuchfilter"), SourceError::Device { .. }));
    assert!(refused("lavfi:nosuchfilter").to_string().contains("nosuchfilter"), "ffmpeg's own words");
    assert!(matches!(refused("dshow:camera"), SourceError::UnknownDevice { .. }), "another system's");
    assert!(matches!(refused("tcp://127.0.0.1:1"), SourceError::Open { .. }));
    assert!(matches!(refused("clip\0.mkv"), SourceError::Open { .. }));
}

#[test]
fn inputs_that_are_no_media() {
    let directory = directory();
    let text = path(&directory, "notes");
    std::fs::write(&text, "These are notes, not media. ".repeat(100)).expect("written");
    assert!(matches!(refused(&text), SourceError::NotMedia { .. }));
    let empty = path(&directory, "empty.mkv");
    std::fs::write(&empty, "").expect("written");
    assert!(matches!(refused(&empty), SourceError::NotMedia { .. }));
    assert!(matches!(refused(directory.path().to_str().expect("UTF-8")), SourceError::NotMedia { .. }));
}

#[test]
fn a_codec_that_ffmpeg_does_not_know() {
    let directory = directory();
    let mut bytes = std::fs::read(clip()).expect("the clip");
    let name = b"V_MPEG4/ISO/AVC";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("the codec's name");
    bytes[at + 2..at + 5].copy_from_slice(b"XYZ");
    let file = path(&directory, "unknown.mkv");
    std::fs::write(&file, bytes).expect("written");
    assert!(matches!(refused(&file), SourceError::UnknownCodec { index: 0, .. }));
}

#[test]
fn inputs_that_cannot_be_looped() {
    for input in ["-", "lavfi:testsrc2", "rtmp://127.0.0.1/live/x?listen=1"] {
        let error = Source::open(SourceConfig { looped: true, ..SourceConfig::new(input) }).err();
        assert_eq!(error, Some(SourceError::NotLoopable { input: input.to_owned() }));
    }
}

fn sink_error(output: &str, tracks: &[Track]) -> SinkError {
    let error = Sink::open(SinkConfig::new(output), tracks).err().expect("an error");
    assert_line(&error);
    error
}

#[test]
fn outputs_that_cannot_be_written() {
    let directory = directory();
    let (source, units) = read(&clip());
    let tracks = source.tracks();
    assert!(matches!(sink_error(&path(&directory, "out.xyz"), tracks), SinkError::UnknownFormat { .. }));
    assert!(matches!(sink_error("/nonexistent/out.mkv", tracks), SinkError::Unwritable { .. }));
    let format = Some("nosuchformat".to_owned());
    let config = SinkConfig { format, ..SinkConfig::new(path(&directory, "out.mkv")) };
    assert!(matches!(Sink::open(config, tracks).err(), Some(SinkError::UnknownFormat { .. })));
    let config = SinkConfig { format: Some("matroska".to_owned()), ..SinkConfig::new("/dev/full") };
    let full =
        Sink::open(config, tracks).and_then(|mut sink| units.iter().try_for_each(|unit| sink.write(unit)));
    let full = full.expect_err("no space");
    assert!(matches!(full, SinkError::Begin { .. } | SinkError::Write { .. }), "{full}");
    assert!(full.to_string().contains("No space left"), "{full}");
}

#[test]
fn tracks_that_a_container_cannot_hold() {
    let directory = directory();
    let options = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    let (source, _) = read(&make(&directory, "vp9.mkv", "0.2", &options));
    let error = sink_error(&path(&directory, "out.ts"), source.tracks());
    assert!(matches!(&error, SinkError::NotHeld { codec, .. } if codec == "vp9"), "{error}");
    let data = [swarmcast_media::data_track(TrackId(0))];
    assert!(matches!(sink_error(&path(&directory, "out.mkv"), &data), SinkError::NoTracks { .. }));
}

#[test]
fn tracks_that_cannot_be_understood() {
    let directory = directory();
    let output = path(&directory, "out.mkv");
    let track = |parameters: Vec<u8>| Track {
        id: TrackId(0),
        kind: TrackKind::Video,
        codec: "h264".to_owned(),
        time_base: TimeBase::MICROS,
        bitrate: 0,
        parameters: parameters.into(),
    };
    let error = sink_error(&output, &[track(vec![1, 2, 3])]);
    assert!(matches!(error, SinkError::Parameters { track: 0, cause: ParametersError::Truncated }));
    let unknown = CodecParameters { codec: "h299".to_owned(), ..CodecParameters::default() };
    let error = sink_error(&output, &[track(unknown.encode().expect("encodes"))]);
    assert!(error.to_string().contains("h299"), "{error}");
    let known = CodecParameters {
        codec: "h264".to_owned(),
        format: "yuv999".to_owned(),
        ..CodecParameters::default()
    };
    let error = sink_error(&output, &[track(known.encode().expect("encodes"))]);
    assert!(error.to_string().contains("yuv999"), "{error}");
    let timeless = Track { time_base: TimeBase { numerator: 0, denominator: 1 }, ..track(vec![]) };
    let field = ParametersError::Field("time base");
    assert_eq!(sink_error(&output, &[timeless]), SinkError::Parameters { track: 0, cause: field });
    assert!(!std::path::Path::new(&output).exists(), "nothing was cut to nothing");
}
