//! What is already encoded comes out of a recording exactly as it went in.

use swarmcast_core::catalogue::{AccessUnit, TrackId, TrackKind};
use swarmcast_media::{CodecParameters, Sink, SinkConfig, Source};

use crate::clips::{
    assert_same_packets, clip, copy, directory, ffmpeg, ffprobe, hashes, make, path, read, streams, unpaced,
};

/// Copies into Matroska and compares packets, timestamps and codec data; returns the codecs.
fn assert_identical(source: &str) -> Vec<String> {
    let directory = directory();
    let recording = path(&directory, "recording.mkv");
    let units = copy(source, &recording);
    assert_eq!(hashes(source).values().map(Vec::len).sum::<usize>(), units.len());
    assert_same_packets(source, &recording);
    assert_eq!(streams(source), streams(&recording));
    let source = Source::open(unpaced(source)).expect("an input");
    source.tracks().iter().map(|track| track.codec.clone()).collect()
}

#[test]
fn the_shipped_clip_is_bit_identical() {
    assert_eq!(assert_identical(&clip()), ["h264", "aac"]);
    let (source, units) = read(&clip());
    assert_eq!(source.tracks().len(), 2);
    assert!(units.iter().any(|unit| unit.pts != unit.dts), "it has B-pictures");
    let video: Vec<_> = units.iter().filter(|unit| unit.track == TrackId(0)).collect();
    let keys = video.iter().filter(|unit| unit.key).count();
    let disposable = video.iter().filter(|unit| unit.disposable).count();
    assert_eq!((video.len(), keys), (250, 10));
    assert!((60..=170).contains(&disposable), "{disposable} of 250 are B-pictures that nothing refers to");
    assert!(video.iter().all(|unit| !(unit.key && unit.disposable)));
}

#[test]
fn hevc_is_bit_identical() {
    let directory = directory();
    let options =
        ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25:bframes=3"];
    let file = make(&directory, "hevc.mkv", "3", &[&options[..], &["-c:a", "libmp3lame"]].concat());
    assert_eq!(assert_identical(&file), ["hevc", "mp3"]);
    let (_, units) = read(&file);
    assert!(units.iter().any(|unit| unit.disposable), "it has B-pictures that nothing refers to");
}

#[test]
fn vp9_and_opus_are_bit_identical() {
    let directory = directory();
    let options =
        ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-c:a", "libopus"];
    let file = make(&directory, "vp9.mkv", "2", &options);
    assert_eq!(assert_identical(&file), ["vp9", "opus"]);
}

#[test]
fn vp8_is_bit_identical() {
    let directory = directory();
    let options =
        ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-c:a", "libopus"];
    assert_eq!(assert_identical(&make(&directory, "vp8.mkv", "2", &options)), ["vp8", "opus"]);
}

#[test]
fn av1_is_bit_identical() {
    let directory = directory();
    let options = ["-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "25", "-c:a", "flac"];
    assert_eq!(assert_identical(&make(&directory, "av1.mkv", "1", &options)), ["av1", "flac"]);
}

#[test]
fn subtitles_and_languages_are_bit_identical() {
    let directory = directory();
    let text = path(&directory, "text.srt");
    let lines = "1\n00:00:00,500 --> 00:00:01,200\nOne\n\n2\n00:00:01,500 --> 00:00:01,900\nTwo\n";
    std::fs::write(&text, lines).expect("written");
    let file = path(&directory, "text.mkv");
    let maps = ["-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "copy", "-c:s", "srt", "-t", "2"];
    ffmpeg(&[&["-i", &clip(), "-i", &text], &maps[..], &["-metadata:s:s:0", "language=deu", &file]].concat());
    assert_eq!(assert_identical(&file), ["h264", "aac", "subrip"]);
    let (source, units) = read(&file);
    let track = &source.tracks()[2];
    assert_eq!(
        (track.kind, units.iter().filter(|unit| unit.track == track.id).count()),
        (TrackKind::Subtitle, 2)
    );
    assert_eq!(CodecParameters::decode(&track.parameters).expect("whole").language, "deu");
}

/// What the demuxer says of a file's packets, by ffprobe.
fn probed(file: &str) -> Vec<String> {
    const ENTRIES: &str = "packet=stream_index,pts,dts,duration,size,flags";
    let text = ffprobe(&["-show_packets", "-show_entries", ENTRIES, "-of", "csv=p=0", file]);
    let packets = text.lines().filter(|line| line.contains(',')).map(|line| {
        let fields: Vec<_> = line.split(',').collect();
        let key = fields[5].starts_with('K');
        [&fields[..5], &[if key { "K" } else { "_" }]].concat().join(",")
    });
    packets.collect()
}

fn told(units: &[AccessUnit]) -> Vec<String> {
    let told = units.iter().map(|unit| {
        let AccessUnit { track, pts, dts, duration, key, payload, .. } = unit;
        let (size, key) = (payload.len(), if *key { "K" } else { "_" });
        format!("{},{pts},{dts},{duration},{size},{key}", track.0)
    });
    told.collect()
}

#[test]
fn every_container_is_read_as_it_is() {
    let directory = directory();
    for name in ["clip.mp4", "clip.ts", "clip.flv", "clip.mov"] {
        let file = path(&directory, name);
        ffmpeg(&["-i", &clip(), "-c", "copy", &file]);
        let (_, units) = read(&file);
        let (told, probed) = (told(&units), probed(&file));
        let differs = told.iter().zip(&probed).find(|(told, probed)| told != probed);
        assert_eq!((differs, told.len()), (None, probed.len()), "{name}");
    }
}

#[test]
fn a_recording_from_transport_stream_is_what_ffmpeg_would_make() {
    let directory = directory();
    let file = path(&directory, "clip.ts");
    ffmpeg(&["-i", &clip(), "-c", "copy", &file]);
    let (ours, theirs) = (path(&directory, "ours.mkv"), path(&directory, "theirs.mkv"));
    copy(&file, &ours);
    ffmpeg(&["-copyts", "-i", &file, "-c", "copy", &theirs]);
    assert_same_packets(&theirs, &ours);
    assert_eq!(streams(&ours), streams(&theirs));
}

#[test]
fn a_late_recording_keeps_its_timestamps() {
    let directory = directory();
    let recording = path(&directory, "late.mkv");
    let (source, units) = read(&clip());
    let start =
        units.iter().filter(|unit| unit.key && unit.track == TrackId(0)).nth(4).expect("ten of them").dts;
    let mut sink = Sink::open(SinkConfig::new(&recording), source.tracks()).expect("an output");
    for unit in units.iter().filter(|unit| unit.dts >= start) {
        sink.write(unit).expect("writable");
    }
    sink.finish().expect("completed");
    // Matroska stores presentation times; the demuxer guesses the first decoding times of a file.
    let without_dts = |file: &str| {
        let streams = hashes(file);
        let cut = |packet: &String| packet.split_once(',').expect("fields").1.to_owned();
        let cut = streams
            .into_iter()
            .map(|(stream, packets)| (stream, packets.iter().map(cut).collect::<Vec<_>>()));
        cut.collect::<Vec<_>>()
    };
    let (whole, late) = (without_dts(&clip()), without_dts(&recording));
    for ((_, whole), (_, late)) in whole.iter().zip(&late) {
        assert!(late.len() > 100, "six seconds are left");
        assert_eq!(&whole[whole.len() - late.len()..], late);
    }
}

#[test]
fn times_before_zero_stay_before_zero() {
    let directory = directory();
    let options = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", "aac"];
    let source = make(&directory, "clip.mp4", "1", &options);
    let recording = path(&directory, "recording.mkv");
    let units = copy(&source, &recording);
    let recorded = hashes(&recording);
    let (source, _) = read(&source);
    let first = |track: u8| {
        let first = units.iter().find(|unit| unit.track == TrackId(track)).expect("a unit");
        let sent = source.tracks()[usize::from(track)].time_base.to_micros(first.pts);
        let recorded = recorded[&u32::from(track)][0].split(',').nth(1).expect("a pts");
        (sent, recorded.parse::<i64>().expect("a number") * 1_000)
    };
    let ((video, recorded_video), (sound, recorded_sound)) = (first(0), first(1));
    assert!(sound < 0, "AAC begins with samples to drop, at {sound} us");
    assert_eq!((video, recorded_video), (0, 0));
    assert!((sound - recorded_sound).abs() <= 1_000, "{sound} us became {recorded_sound} us");
}
