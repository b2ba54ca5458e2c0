//! Encoding of raw capture, with as little delay as the encoders allow.

mod audio;
mod drift;
mod video;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use swarmcast_core::catalogue::TrackId;

pub(crate) use audio::{AudioEncoder, layout, new_frame, samples_of};
pub(crate) use video::VideoEncoder;

use crate::source::{CaptureDelay, PictureConfig, RenditionConfig};

/// How to encode, and where to tell how long it takes.
#[derive(Clone)]
pub(crate) struct Encoding {
    pub(crate) pictures: PictureConfig,
    /// In which qualities the first track of pictures is encoded.
    pub(crate) renditions: Vec<RenditionConfig>,
    pub(crate) delays: Delays,
}

/// A coded unit in ticks of its track, before missing timestamps are filled in.
pub(crate) struct Encoded {
    /// Which of the tracks that are made of one.
    pub(crate) place: usize,
    pub(crate) dts: Option<i64>,
    pub(crate) pts: Option<i64>,
    pub(crate) duration: i64,
    pub(crate) key: bool,
    pub(crate) disposable: bool,
    pub(crate) payload: Bytes,
}

/// Units of a track over which capture delays are summed up: 10 s of pictures at 25 a second.
const DELAYS_MAX: usize = 256;

/// Capture delays of the newest units of each track, noted by the threads that encode.
#[derive(Clone, Default)]
pub(crate) struct Delays {
    newest: Arc<Mutex<BTreeMap<TrackId, VecDeque<Duration>>>>,
}

impl Delays {
    /// Notes that a unit captured then is encoded.
    fn note(&self, track: TrackId, captured: Instant) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(track).or_default();
        if newest.len() == DELAYS_MAX {
            newest.pop_front();
        }
        newest.push_back(captured.elapsed());
    }

    pub(crate) fn summary(&self, track: TrackId) -> Option<CaptureDelay> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.get(&track)?;
        let last = *newest.back()?;
        let mut sorted: Vec<_> = newest.iter().copied().collect();
        sorted.sort_unstable();
        Some(CaptureDelay { last, p50: sorted[sorted.len() / 2], p95: sorted[sorted.len() * 95 / 100] })
    }
}
