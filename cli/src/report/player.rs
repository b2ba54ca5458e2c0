//! How playing goes, as programs read it.

use serde::Serialize;
use swarmcast::PlayStats;

/// What the window, the terminal or the headless sink measures; times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct PlayerLine {
    pub(crate) pictures_shown: u64,
    pub(crate) pictures_dropped: u64,
    pub(crate) pictures_late: u64,
    pub(crate) pictures_repeated: u64,
    pub(crate) stood: f64,
    pub(crate) undecodable: u64,
    pub(crate) underruns: u64,
    pub(crate) concealed: f64,
    pub(crate) av_offset: Option<f64>,
    pub(crate) av_offset_worst: Option<f64>,
    pub(crate) buffer: f64,
    pub(crate) grown: f64,
    pub(crate) delay: Option<f64>,
}

impl From<PlayStats> for PlayerLine {
    fn from(stats: PlayStats) -> Self {
        let seconds = |micros: i64| micros as f64 / 1e6;
        Self {
            pictures_shown: stats.pictures_shown,
            pictures_dropped: stats.pictures_dropped,
            pictures_late: stats.pictures_late,
            pictures_repeated: stats.pictures_repeated,
            stood: stats.stood.as_secs_f64(),
            undecodable: stats.undecodable,
            underruns: stats.underruns,
            concealed: stats.concealed.as_secs_f64(),
            av_offset: stats.av_offset_micros.map(seconds),
            av_offset_worst: stats.av_offset_worst_micros.map(seconds),
            buffer: stats.buffer.as_secs_f64(),
            grown: stats.grown.as_secs_f64(),
            delay: stats.delay.map(|delay| delay.as_secs_f64()),
        }
    }
}
