//! Clips made by the ffmpeg program, and what it says about files.

use std::collections::BTreeMap;
use std::process::Command;

use swarmcast_core::catalogue::AccessUnit;
use swarmcast_media::{Sink, SinkConfig, Source, SourceConfig};
use tempfile::TempDir;

/// The shipped clip: H.264 with B-pictures and AAC, 10 s.
pub(crate) fn clip() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/clip.mkv").to_owned()
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

pub(crate) fn path(directory: &TempDir, name: &str) -> String {
    directory.path().join(name).to_str().expect("a UTF-8 path").to_owned()
}

/// Runs ffmpeg and returns its stdout; panics with its stderr.
pub(crate) fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    run("ffmpeg", &[&["-nostdin", "-hide_banner", "-loglevel", "error", "-y"], arguments].concat())
}

/// Runs ffprobe and returns its stdout.
pub(crate) fn ffprobe(arguments: &[&str]) -> String {
    String::from_utf8(run("ffprobe", &[&["-loglevel", "error"], arguments].concat())).expect("text")
}

/// Runs ffmpeg with its report and returns that.
pub(crate) fn run_for_stderr(arguments: &[&str]) -> String {
    let output = Command::new("ffmpeg").args(["-nostdin", "-hide_banner"]).args(arguments).output();
    let output = output.expect("ffmpeg is installed");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{program} {}\n{stderr}", arguments.join(" "));
    output.stdout
}

/// Hashes every packet, by stream: dts, pts, duration, size and hash as `ffmpeg -f framehash -c copy` prints them.
/// Side data, of which access units have none, is cut off: samples to drop at the very end of a file.
pub(crate) fn hashes(file: &str) -> BTreeMap<u32, Vec<String>> {
    let text =
        ffmpeg(&["-copyts", "-i", file, "-map", "0", "-c", "copy", "-f", "framehash", "-hash", "md5", "-"]);
    let mut streams: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in String::from_utf8(text).expect("text").lines().filter(|line| !line.starts_with('#')) {
        let (stream, packet) = line.split_once(',').expect("fields");
        let fields: Vec<_> = packet.split(',').map(str::trim).take(5).collect();
        streams.entry(stream.trim().parse().expect("a number")).or_default().push(fields.join(","));
    }
    streams
}

/// Holds two files to the same packets, and names the first that differs.
pub(crate) fn assert_same_packets(before: &str, after: &str) {
    let (before, after) = (hashes(before), hashes(after));
    for (stream, before) in &before {
        let after = after.get(stream).map(Vec::as_slice).unwrap_or_default();
        let differs = before.iter().zip(after).find(|(before, after)| before != after);
        assert_eq!(differs, None, "stream {stream}");
        assert_eq!(before.len(), after.len(), "stream {stream}");
    }
    assert_eq!(before.len(), after.len());
}

/// Describes the streams and their codec data.
pub(crate) fn streams(file: &str) -> String {
    const ENTRIES: &str = "stream=codec_name,profile,level,width,height,pix_fmt,sample_rate,channels,channel_layout,\
        extradata_size,extradata_hash,avg_frame_rate,sample_aspect_ratio,color_range,color_space:\
        stream_tags=language:stream_disposition=default";
    ffprobe(&["-show_data_hash", "md5", "-show_entries", ENTRIES, "-of", "compact", file])
}

pub(crate) fn unpaced(input: &str) -> SourceConfig {
    SourceConfig { paced: false, ..SourceConfig::new(input) }
}

/// Reads all of an input.
pub(crate) fn read(input: &str) -> (Source, Vec<AccessUnit>) {
    let mut source = Source::open(unpaced(input)).expect("an input");
    let mut units = Vec::new();
    while let Some(unit) = source.next().expect("readable") {
        units.push(unit);
    }
    (source, units)
}

/// Copies all of an input and returns its access units.
pub(crate) fn copy(input: &str, output: &str) -> Vec<AccessUnit> {
    let (source, units) = read(input);
    let mut sink = Sink::open(SinkConfig::new(output), source.tracks()).expect("an output");
    for unit in &units {
        sink.write(unit).expect("writable");
    }
    let counts = sink.finish().expect("completed");
    assert_eq!(counts.access_units, units.len() as u64);
    units
}

/// Decodes a file to the end and returns the pictures and the seconds of sound that come out; errors are panics.
pub(crate) fn decode(file: &str) -> (usize, f64) {
    let text =
        ffmpeg(&["-i", file, "-map", "0:v?", "-map", "0:a?", "-f", "framehash", "-hash", "crc32", "-"]);
    let text = String::from_utf8(text).expect("text");
    let rate = text.lines().find_map(|line| line.strip_prefix("#sample_rate 1: "));
    let rate: f64 = rate.map_or(48_000.0, |rate| rate.parse().expect("a number"));
    let (mut pictures, mut samples) = (0, 0.0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(',').map(str::trim).collect();
        match fields[0] {
            "0" => pictures += 1,
            _ => samples += fields[3].parse::<f64>().expect("a duration"),
        }
    }
    (pictures, samples / rate)
}

/// Makes a clip of `seconds` with the codecs that `options` name.
pub(crate) fn make(directory: &TempDir, name: &str, seconds: &str, options: &[&str]) -> String {
    let file = path(directory, name);
    let inputs = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=320x180:rate=25",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000",
        "-t",
        seconds,
    ];
    ffmpeg(&[&inputs, options, &[&file]].concat());
    file
}
