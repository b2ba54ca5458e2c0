//! Media files as the access units in them, told apart by the hash of their payload.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::command;

/// Seconds that reading a file may take.
const LIMIT_SECONDS: u32 = 120;

/// One access unit of a track.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Presentation time, seconds.
    pub time: f64,
    /// Payload, bytes.
    pub bytes: u64,
    /// SHA-256 of the payload, in hexadecimal.
    pub hash: String,
}

/// The access units of a track, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// What it carries, as ffmpeg calls it: `video`, `audio`.
    pub kind: String,
    /// All of its access units.
    pub units: Vec<Unit>,
}

/// A media file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Its tracks, in the order of the file.
    pub tracks: Vec<Track>,
}

impl Recording {
    /// Reads a file as `ffmpeg -f framehash -c copy` prints it.
    ///
    /// # Errors
    /// `ffmpeg` is missing or cannot read the file.
    pub fn read(file: &Path) -> Result<Self> {
        let name = file.to_string_lossy();
        // Without `copyinkf` ffmpeg would hide what comes before the first random-access point.
        let arguments = [
            "-hide_banner",
            "-loglevel",
            "error",
            "-nostdin",
            "-i",
            &*name,
            "-map",
            "0",
            "-c",
            "copy",
            "-copyinkf",
            "-f",
            "framehash",
            "-",
        ];
        let listing = command::run_within(LIMIT_SECONDS, "ffmpeg", &arguments, "")
            .with_context(|| format!("cannot read {name}"))?;
        parse(&listing).with_context(|| format!("cannot understand the hashes of {name}"))
    }

    /// The first track of a kind.
    pub fn track(&self, kind: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == kind)
    }

    /// Payload of all access units, bytes.
    pub fn bytes(&self) -> u64 {
        self.tracks.iter().flat_map(|track| &track.units).map(|unit| unit.bytes).sum()
    }

    /// Access units of all tracks.
    pub fn units(&self) -> usize {
        self.tracks.iter().map(|track| track.units.len()).sum()
    }
}

/// Tells for each track of a file which of its access units are random-access points.
///
/// # Errors
/// `ffprobe` is missing or cannot read the file.
pub fn random_access_points(file: &Path) -> Result<Vec<Vec<bool>>> {
    let name = file.to_string_lossy();
    let arguments = ["-v", "error", "-show_entries", "packet=stream_index,flags", "-of", "json", &*name];
    let listing = command::run_within(LIMIT_SECONDS, "ffprobe", &arguments, "")
        .with_context(|| format!("cannot read {name}"))?;
    let listing: serde_json::Value = serde_json::from_str(&listing).context("`ffprobe` writes JSON")?;
    let mut tracks: Vec<Vec<bool>> = Vec::new();
    for packet in listing["packets"].as_array().context("`ffprobe` lists packets")? {
        let index = packet["stream_index"].as_u64().context("a packet has a stream")? as usize;
        ensure!(index < 64, "a file of more than 64 tracks");
        tracks.resize(tracks.len().max(index + 1), Vec::new());
        tracks[index].push(packet["flags"].as_str().is_some_and(|flags| flags.starts_with('K')));
    }
    Ok(tracks)
}

/// Reads ffmpeg's `framehash` format, version 2.
fn parse(listing: &str) -> Result<Recording> {
    let mut recording = Recording::default();
    let mut time_bases: Vec<f64> = Vec::new();
    for line in listing.lines() {
        if let Some(declared) = line.strip_prefix("#tb ") {
            let (_, base) = declared.split_once(": ").context("a time base has a stream")?;
            let (numerator, denominator) = base.split_once('/').context("a time base is a fraction")?;
            time_bases.push(numerator.parse::<f64>()? / denominator.parse::<f64>()?);
        } else if let Some(declared) = line.strip_prefix("#media_type ") {
            let (_, kind) = declared.split_once(": ").context("a media type has a stream")?;
            recording.tracks.push(Track { kind: kind.to_owned(), units: Vec::new() });
        } else if !line.starts_with('#') {
            let (index, unit) = parse_unit(line, &time_bases).with_context(|| format!("in `{line}`"))?;
            recording.tracks.get_mut(index).context("a stream is declared first")?.units.push(unit);
        }
    }
    Ok(recording)
}

/// `stream, dts, pts, duration, size, hash`, perhaps followed by side data.
fn parse_unit(line: &str, time_bases: &[f64]) -> Result<(usize, Unit)> {
    let mut fields = line.split(',').map(str::trim);
    let mut next = || fields.next().context("a field is missing");
    let index: usize = next()?.parse()?;
    let _decode_time = next()?;
    let time = next()?.parse::<f64>()? * time_bases.get(index).context("a stream has a time base")?;
    let _duration = next()?;
    let bytes = next()?.parse()?;
    let hash = next()?.to_owned();
    Ok((index, Unit { time, bytes, hash }))
}

#[cfg(test)]
mod tests {
    use super::{Unit, parse};

    const LISTING: &str = "\
#format: frame checksums
#tb 0: 1/12800
#media_type 0: video
#tb 1: 1/48000
#media_type 1: audio
#stream#, dts,        pts, duration,     size, hash
0,      -1024,       6400,      512,   243104, 44db
1,      -1024,      -1024,     1024,      285, 5fcf, S=1,       10, 6ee9
";

    #[test]
    fn units_are_read_with_their_times_and_hashes() -> anyhow::Result<()> {
        let recording = parse(LISTING)?;
        assert_eq!(recording.tracks.len(), 2);
        let video = Unit { time: 0.5, bytes: 243_104, hash: "44db".into() };
        assert_eq!(recording.track("video").map(|track| track.units.clone()), Some(vec![video]));
        let audio = recording.track("audio").map(|track| track.units[0].hash.clone());
        assert_eq!(audio.as_deref(), Some("5fcf"), "side data is not the payload");
        assert_eq!(recording.bytes(), 243_389);
        assert!(parse("0, 1, 2\n").is_err());
        Ok(())
    }
}
