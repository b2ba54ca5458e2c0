//! Outputs that players accept, also when they are cut off.

use std::io::{BufReader, Read};
use std::process::{Command, Stdio};

use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_media::{Sink, SinkConfig, SinkCounts, data_track};

use crate::clips::{assert_same_packets, clip, copy, decode, directory, ffmpeg, make, path, read, streams};

#[test]
fn every_container_plays() {
    let directory = directory();
    for name in ["copy.mkv", "copy.mp4", "copy.ts", "copy.mov", "copy.flv"] {
        let file = path(&directory, name);
        copy(&clip(), &file);
        let (pictures, sound) = decode(&file);
        assert_eq!(pictures, 250, "{name}");
        assert!((9.9..10.1).contains(&sound), "{name}: {sound} s of sound");
    }
}

#[test]
fn opus_and_vp9_go_into_mp4_and_opus_into_transport_stream() {
    let directory = directory();
    let options = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus"];
    let source = make(&directory, "source.mkv", "2", &options);
    let file = path(&directory, "copy.mp4");
    copy(&source, &file);
    assert_eq!(decode(&file).0, 50);
    let options = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "libopus"];
    let source = make(&directory, "source2.mkv", "2", &options);
    let file = path(&directory, "copy.ts");
    copy(&source, &file);
    let (pictures, sound) = decode(&file);
    assert_eq!(pictures, 50);
    assert!((1.9..2.1).contains(&sound), "{sound} s of sound");
}

#[test]
fn transport_stream_goes_into_mp4() {
    let directory = directory();
    let (source, file) = (path(&directory, "clip.ts"), path(&directory, "copy.mp4"));
    ffmpeg(&["-i", &clip(), "-c", "copy", &source]);
    copy(&source, &file);
    assert_eq!(decode(&file).0, 250);
    assert!(streams(&file).contains("codec_name=aac"));
}

/// Writes `until` of the clip's units, looks at the file as a kill would leave it, and returns the pictures in it.
fn pictures_after_kill(name: &str, until: usize) -> usize {
    let directory = directory();
    let (file, left) = (path(&directory, name), path(&directory, &format!("left-{name}")));
    let (source, units) = read(&clip());
    let mut sink = Sink::open(SinkConfig::new(&file), source.tracks()).expect("an output");
    units[..until].iter().for_each(|unit| sink.write(unit).expect("writable"));
    std::fs::copy(&file, &left).expect("a copy");
    decode(&left).0
}

#[test]
fn a_kill_loses_less_than_a_second() {
    let (_, units) = read(&clip());
    for until in [units.len() / 3, units.len() / 2, units.len() - 1] {
        let written = units[..until].iter().filter(|unit| unit.track == TrackId(0)).count();
        for name in ["kill.mkv", "kill.mp4", "kill.ts"] {
            let left = pictures_after_kill(name, until);
            assert!(left + 25 > written, "{name}: {left} pictures of {written} are left");
        }
    }
}

#[test]
fn a_truncated_mp4_plays_up_to_the_cut() {
    let directory = directory();
    let file = path(&directory, "whole.mp4");
    copy(&clip(), &file);
    let bytes = std::fs::read(&file).expect("a file");
    let cut = path(&directory, "cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).expect("written");
    // ffmpeg complains about the end; what counts is what it shows before.
    let arguments = ["-nostdin", "-loglevel", "quiet", "-i", &cut, "-map", "0:v", "-f", "framehash", "-"];
    let output = Command::new("ffmpeg").args(arguments).output().expect("ffmpeg is installed");
    let shown = String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with('#')).count();
    assert!((140..200).contains(&shown), "{shown} of 250 pictures are in two thirds of the file");
}

/// What a child process of these tests is to copy, as `INPUT OUTPUT`.
const CHILD: &str = "SWARMCAST_MEDIA_TEST_REMUX";

/// Copies in a process of its own, with its own stdin and stdout; does nothing unless run as such.
#[test]
fn remux_as_child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let (input, output) = arguments.split_once(' ').expect("two arguments");
    copy(input, output);
}

/// Runs these tests again as a child that only copies.
fn remux(input: &str, output: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("a path"));
    child.args(["--exact", "containers::remux_as_child", "--nocapture", "--quiet"]);
    child.env(CHILD, format!("{input} {output}"));
    child
}

#[test]
fn stdin_and_stdout_are_an_input_and_an_output() {
    let directory = directory();
    let recording = path(&directory, "stdin.mkv");
    let stdin = std::fs::File::open(clip()).expect("the clip");
    let output = remux("-", &recording).stdin(stdin).output().expect("it runs");
    assert!(output.status.success());
    assert_same_packets(&clip(), &recording);
    let output = remux(&clip(), "-").output().expect("it runs");
    let stream = path(&directory, "stdout.ts");
    // The test harness says a line before, which ends before the first sync byte.
    let start = output.stdout.iter().position(|&byte| byte == 0x47).expect("a packet");
    std::fs::write(&stream, &output.stdout[start..]).expect("written");
    assert_eq!(decode(&stream).0, 250);
}

#[test]
fn a_reader_that_goes_away_is_told() {
    let mut child =
        remux(&clip(), "-").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    // The harness's line comes first, and must not be what fails.
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).bytes();
    assert!(stdout.any(|byte| byte.expect("readable") == 0x47), "the first packet");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("Closed"), "{stderr}");
}

#[test]
fn a_headless_sink_counts() {
    let (source, units) = read(&clip());
    let mut sink = Sink::open(SinkConfig::headless(), source.tracks()).expect("an output");
    units.iter().for_each(|unit| sink.write(unit).expect("counted"));
    let bytes = units.iter().map(|unit| unit.payload.len() as u64).sum();
    let counts = SinkCounts { access_units: units.len() as u64, bytes };
    assert_eq!((sink.counts(), sink.finish().expect("completed")), (counts, counts));
}

#[test]
fn data_and_what_cannot_be_held_is_left_out() {
    let directory = directory();
    let text = path(&directory, "text.srt");
    std::fs::write(&text, "1\n00:00:00,500 --> 00:00:01,200\nOne\n").expect("written");
    let source = path(&directory, "text.mkv");
    ffmpeg(&["-i", &clip(), "-i", &text, "-map", "0", "-map", "1", "-c", "copy", &source]);
    let (source, mut units) = read(&source);
    let data = TrackId(3);
    let tracks = [source.tracks(), &[data_track(data)]].concat();
    units.insert(5, AccessUnit { track: data, payload: "{}".into(), ..units[0].clone() });
    for (name, left_out) in
        [("out.mkv", &[data][..]), ("out.ts", &[TrackId(2), data]), ("out.mp4", &[TrackId(2), data])]
    {
        let file = path(&directory, name);
        let mut sink = Sink::open(SinkConfig::new(&file), &tracks).expect("an output");
        assert_eq!(sink.left_out(), left_out, "{name}");
        units.iter().for_each(|unit| sink.write(unit).expect("writable"));
        sink.finish().expect("completed");
        assert_eq!(decode(&file).0, 250, "{name}");
    }
}
