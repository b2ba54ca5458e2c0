//! Encoding of raw capture, with as little delay as the encoders allow.

mod audio;
mod video;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use audio::AudioEncoder;
pub(crate) use video::VideoEncoder;

use crate::source::CaptureDelay;

/// How to encode, and where to tell how long it takes.
#[derive(Clone)]
pub(crate) struct Encoding {
    /// Bits per second of pictures; by their size when none.
    pub(crate) video_bitrate: Option<u32>,
    pub(crate) delays: Delays,
}

/// A coded unit in ticks of its track, before missing timestamps are filled in.
pub(crate) struct Encoded {
    pub(crate) dts: Option<i64>,
    pub(crate) pts: Option<i64>,
    pub(crate) duration: i64,
    pub(crate) key: bool,
    pub(crate) disposable: bool,
    pub(crate) payload: Bytes,
}

/// Units over which capture delays are summed up: 10 s of pictures at 25 a second.
const DELAYS_MAX: usize = 256;

/// Capture delays of the newest units, noted by the threads that encode.
#[derive(Clone, Default)]
pub(crate) struct Delays {
    newest: Arc<Mutex<VecDeque<Duration>>>,
}

impl Delays {
    /// Notes that a unit captured then is encoded.
    fn note(&self, captured: Instant) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() == DELAYS_MAX {
            newest.pop_front();
        }
        newest.push_back(captured.elapsed());
    }

    pub(crate) fn summary(&self) -> Option<CaptureDelay> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let last = *newest.back()?;
        let mut sorted: Vec<_> = newest.iter().copied().collect();
        sorted.sort_unstable();
        Some(CaptureDelay { last, p50: sorted[sorted.len() / 2], p95: sorted[sorted.len() * 95 / 100] })
    }
}
