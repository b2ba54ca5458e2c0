//! A recording held against the source that was published in a loop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Result, ensure};

use crate::recording::{Recording, Track, Unit, random_access_points};

/// Access units looked at to find where a recording starts in the source.
const START_RUN: usize = 64;

/// A published file: what every recording of it must repeat.
#[derive(Clone, Debug)]
pub struct Source {
    recording: Recording,
    random_access: Vec<Vec<bool>>,
    /// Length of one loop, seconds.
    length: f64,
}

/// How a recording differs from its source; all zero, `true` and small for a perfect one.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The tracks, in the order of the source.
    pub tracks: Vec<TrackComparison>,
    /// Largest time by which an access unit is off against the others of its loop, all tracks together, seconds.
    pub time_error: f64,
}

/// How one track differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrackComparison {
    /// What it carries.
    pub kind: String,
    /// Access units recorded.
    pub units: usize,
    /// Access units of the source that are not there, between the first and the last recorded.
    pub missing: usize,
    /// Access units that the source does not have: altered or foreign.
    pub extra: usize,
    /// Access units that are there once more.
    pub double: usize,
    /// Access units that stand behind a later one.
    pub out_of_order: usize,
    /// Whether the first is a random-access point.
    pub starts_at_random_access: bool,
    /// Longest run of missing access units, seconds.
    pub longest_gap: f64,
    /// Presentation time of the first, seconds.
    pub first: f64,
    /// Presentation time of the last, seconds.
    pub last: f64,
}

impl Source {
    /// Reads a file that is, or was, published.
    ///
    /// # Errors
    /// ffmpeg cannot read it, or it has no access units.
    pub fn read(file: &Path) -> Result<Self> {
        let (recording, random_access) = (Recording::read(file)?, random_access_points(file)?);
        ensure!(
            recording.tracks.iter().all(|track| !track.units.is_empty()),
            "the source has an empty track"
        );
        let length = recording.tracks.iter().map(|track| track_length(&track.units)).fold(0.0, f64::max);
        Ok(Self { recording, random_access, length })
    }

    /// Its payload rate, bit/s.
    pub fn bitrate(&self) -> f64 {
        self.recording.bytes() as f64 * 8.0 / self.length
    }

    /// Compares a recording of it, made from any point of any loop on.
    ///
    /// # Errors
    /// ffmpeg cannot read the recording, or it lacks a track.
    pub fn compare(&self, file: &Path) -> Result<Comparison> {
        self.compare_recording(&Recording::read(file)?)
    }

    fn compare_recording(&self, recording: &Recording) -> Result<Comparison> {
        let mut tracks = Vec::new();
        let mut alignments = Vec::new();
        for (index, source) in self.recording.tracks.iter().enumerate() {
            let kind = &source.kind;
            let Some(recorded) = recording.track(kind).filter(|track| !track.units.is_empty()) else {
                anyhow::bail!("the recording has no {kind}");
            };
            let alignment = Alignment::new(&source.units, self.length, &recorded.units);
            let start = alignment.placed.first().map(|&(place, _)| place % source.units.len());
            let keys = &self.random_access[index];
            tracks.push(TrackComparison {
                starts_at_random_access: start.is_some_and(|start| keys.get(start) == Some(&true)),
                ..alignment.differences(recorded, source)
            });
            alignments.push(alignment);
        }
        Ok(Comparison { time_error: time_error(&alignments, self.length), tracks })
    }
}

impl Comparison {
    /// Access units missing, in all tracks.
    pub fn missing(&self) -> usize {
        self.tracks.iter().map(|track| track.missing).sum()
    }

    /// Access units that should not be there or not there: extra, double, out of order.
    pub fn wrong(&self) -> usize {
        self.tracks.iter().map(|track| track.extra + track.double + track.out_of_order).sum()
    }

    /// Access units recorded, in all tracks.
    pub fn units(&self) -> usize {
        self.tracks.iter().map(|track| track.units).sum()
    }

    /// Share of the access units that is missing, 0 to 1.
    pub fn missing_share(&self) -> f64 {
        self.missing() as f64 / (self.missing() + self.units()).max(1) as f64
    }

    /// The track of a kind.
    pub fn track(&self, kind: &str) -> Option<&TrackComparison> {
        self.tracks.iter().find(|track| track.kind == kind)
    }

    /// Longest run of missing access units of any track, seconds.
    pub fn longest_gap(&self) -> f64 {
        self.tracks.iter().map(|track| track.longest_gap).fold(0.0, f64::max)
    }

    /// Time from the first to the last access unit that every track covers, seconds.
    pub fn seconds(&self) -> f64 {
        self.tracks.iter().map(|track| track.last - track.first).fold(f64::INFINITY, f64::min)
    }
}

/// Where each recorded access unit stands in the endless repetition of the source's track.
struct Alignment {
    /// Place and recorded time offset against the source (`recorded time - source time`), in the order of the
    /// recording; place = loop x units of the source + index.
    placed: Vec<(usize, f64)>,
    extra: usize,
    units_a_loop: usize,
}

impl Alignment {
    fn new(source: &[Unit], length: f64, recorded: &[Unit]) -> Self {
        let mut indices: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, unit) in source.iter().enumerate() {
            indices.entry(&unit.hash).or_default().push(index);
        }
        let mut alignment = Self { placed: Vec::new(), extra: 0, units_a_loop: source.len() };
        let endless_time =
            |place: usize| source[place % source.len()].time + (place / source.len()) as f64 * length;
        // Recorded time against that of the endless source, as it was at the last access unit placed.
        let mut origin: Option<f64> = None;
        for (number, unit) in recorded.iter().enumerate() {
            let Some(candidates) = indices.get(unit.hash.as_str()) else {
                alignment.extra += 1;
                continue;
            };
            let expected = alignment.placed.last().map(|&(place, _)| place + 1);
            let expected = expected.filter(|&place| source[place % source.len()].hash == unit.hash);
            let place = match (expected, origin) {
                (Some(place), Some(origin))
                    if (unit.time - origin - endless_time(place)).abs() < length / 2.0 =>
                {
                    place
                }
                (_, Some(origin)) => nearest_place(source, length, candidates, unit.time - origin),
                (_, None) => start(source, candidates, &recorded[number..]),
            };
            origin = Some(unit.time - endless_time(place));
            alignment.placed.push((place, unit.time - source[place % source.len()].time));
        }
        alignment
    }

    fn differences(&self, recorded: &Track, source: &Track) -> TrackComparison {
        let (mut seen, mut newest, mut double, mut out_of_order) = (BTreeSet::new(), None, 0, 0);
        for &(place, _) in &self.placed {
            if !seen.insert(place) {
                double += 1;
            } else if newest.is_some_and(|newest| place < newest) {
                out_of_order += 1;
            }
            newest = newest.max(Some(place));
        }
        let unit_seconds = track_length(&source.units) / source.units.len() as f64;
        let places: Vec<usize> = seen.iter().copied().collect();
        let gaps = places.windows(2).map(|pair| pair[1] - pair[0] - 1);
        let time = |unit: Option<&Unit>| unit.map_or(0.0, |unit| unit.time);
        TrackComparison {
            kind: recorded.kind.clone(),
            units: recorded.units.len(),
            missing: gaps.clone().sum(),
            extra: self.extra,
            double,
            out_of_order,
            starts_at_random_access: false,
            longest_gap: gaps.max().unwrap_or(0) as f64 * unit_seconds,
            first: time(recorded.units.first()),
            last: time(recorded.units.last()),
        }
    }

    /// Smallest and largest time offset of each loop.
    fn offsets(&self) -> BTreeMap<usize, (f64, f64)> {
        let mut loops: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for &(place, offset) in &self.placed {
            let (low, high) = loops.entry(place / self.units_a_loop).or_insert((offset, offset));
            (*low, *high) = (low.min(offset), high.max(offset));
        }
        loops
    }
}

/// Length of a track, seconds: its span and one access unit more.
fn track_length(units: &[Unit]) -> f64 {
    let low = units.iter().map(|unit| unit.time).fold(f64::INFINITY, f64::min);
    let high = units.iter().map(|unit| unit.time).fold(f64::NEG_INFINITY, f64::max);
    let gaps = units.len().saturating_sub(1).max(1) as f64;
    (high - low) * (1.0 + 1.0 / gaps)
}

/// The candidate from which the source goes on most like the recording.
fn start(source: &[Unit], candidates: &[usize], recorded: &[Unit]) -> usize {
    let alike = |&candidate: &usize| {
        let follow = (0..START_RUN).map(|step| &source[(candidate + step) % source.len()].hash);
        follow.zip(recorded).filter(|(hash, unit)| **hash == unit.hash).count()
    };
    candidates.iter().copied().rev().max_by_key(alike).unwrap_or(0)
}

/// The place, of those with the right payload, whose time is nearest to `since_origin`.
fn nearest_place(source: &[Unit], length: f64, candidates: &[usize], since_origin: f64) -> usize {
    let place = |&index: &usize| {
        let behind = since_origin - source[index].time;
        let loops = (behind / length).round().max(0.0);
        ((behind - loops * length).abs(), loops as usize * source.len() + index)
    };
    let nearest = candidates.iter().map(place).min_by(|left, right| left.0.total_cmp(&right.0));
    nearest.map_or(0, |(_, place)| place)
}

/// Largest spread of the time offsets inside of a loop, over all tracks, and of the steps from loop to loop.
fn time_error(alignments: &[Alignment], length: f64) -> f64 {
    let mut loops: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    let mut reference = None;
    for alignment in alignments {
        for (number, (low, high)) in alignment.offsets() {
            // A track may start in the loop before the first of another.
            let first = low - number as f64 * length;
            let shift = ((first - *reference.get_or_insert(first)) / length).round() as i64;
            let (all_low, all_high) = loops.entry(number as i64 + shift).or_insert((low, high));
            (*all_low, *all_high) = (all_low.min(low), all_high.max(high));
        }
    }
    let spread = loops.values().map(|(low, high)| high - low).fold(0.0, f64::max);
    let starts: Vec<f64> = loops.values().map(|(low, _)| *low).collect();
    let steps: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let uneven = steps.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f64::max);
    spread.max(uneven)
}

#[cfg(test)]
mod tests;
