//! The TOML of a scenario as it stands in its file; `docs/simulator.md` is its reference.

use serde::Deserialize;
use swarmcast::MulticastChoice;

use crate::args::rate;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    pub(super) description: String,
    pub(super) duration_s: f64,
    pub(super) settled_s: Option<f64>,
    pub(super) viewers: Viewers,
    #[serde(default)]
    pub(super) stream: Stream,
    #[serde(default)]
    pub(super) network: Network,
    #[serde(default)]
    pub(super) lans: Lans,
    #[serde(default)]
    pub(super) line: Line,
    #[serde(default)]
    pub(super) publisher_line: Line,
    #[serde(default)]
    pub(super) others: Vec<Others>,
    #[serde(default)]
    pub(super) hostile: Vec<Hostile>,
    #[serde(default)]
    pub(super) deed: Vec<Deed>,
}

/// Who watches, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Viewers {
    pub(super) count: u32,
    #[serde(default = "half")]
    pub(super) join_within_s: f64,
    #[serde(default = "thousand")]
    pub(super) playout_delay_ms: f64,
    pub(super) hold_down_s: Option<f64>,
    #[serde(default)]
    pub(super) churn: f64,
    #[serde(default)]
    pub(super) waits: bool,
}

/// What is published.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Stream {
    pub(super) rate: Rate,
    pub(super) gop_s: f64,
    pub(super) pictures_per_second: u32,
    pub(super) b_pictures: u8,
    pub(super) audio: Audio,
    pub(super) multicast: Multicast,
    pub(super) unicast_max: Option<u32>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            rate: Rate(1_000_000),
            gop_s: 1.0,
            pictures_per_second: 25,
            b_pictures: 2,
            audio: Audio::Aac,
            multicast: Multicast(MulticastChoice::Off),
            unicast_max: None,
        }
    }
}

/// Sound beside the pictures.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Audio {
    Aac,
    Opus,
    Off,
}

/// What lies between any two hosts, apart from their lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Network {
    pub(super) latency_ms: f64,
    pub(super) jitter_ms: f64,
    pub(super) loss: f64,
    pub(super) loss_burst: f64,
    pub(super) reorder: f64,
    pub(super) duplicate: f64,
    pub(super) multicast_loss: Option<f64>,
    pub(super) discovery: bool,
    pub(super) clock_drift_ppm: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency_ms: 0.2,
            jitter_ms: 0.0,
            loss: 0.0,
            loss_burst: 1.0,
            reorder: 0.0,
            duplicate: 0.0,
            multicast_loss: None,
            discovery: true,
            clock_drift_ppm: 50,
        }
    }
}

/// LANs that the viewers are dealt to, and what joins them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lans {
    pub(super) count: u32,
    pub(super) rate: Option<Rate>,
    pub(super) queue_ms: f64,
    pub(super) latency_ms: f64,
}

impl Default for Lans {
    fn default() -> Self {
        Self { count: 1, rate: None, queue_ms: 50.0, latency_ms: 0.0 }
    }
}

/// What is between a host and the network; what is left out is as in the table above it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) up: Option<Rate>,
    pub(super) down: Option<Rate>,
    pub(super) queue_ms: Option<f64>,
    pub(super) latency_ms: Option<Span>,
    pub(super) neighbours_max: Option<u32>,
    pub(super) nat: Option<bool>,
    pub(super) up_told: Option<bool>,
}

/// A share of the viewers whose line is another one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Others {
    pub(super) share: f64,
    pub(super) line: Line,
}

/// Members that do harm.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hostile {
    #[serde(default = "one")]
    pub(super) count: u32,
    #[serde(default)]
    pub(super) alter: f64,
    #[serde(default)]
    pub(super) withhold: f64,
    #[serde(default)]
    pub(super) boast: bool,
    #[serde(default)]
    pub(super) replay: bool,
    #[serde(default)]
    pub(super) outsider: bool,
    pub(super) flood: Option<Flood>,
}

/// A flood of forged datagrams.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flood {
    pub(super) after_s: f64,
    pub(super) for_s: f64,
    pub(super) rate: Rate,
}

/// What happens at a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deed {
    pub(super) at_s: f64,
    #[serde(rename = "do")]
    pub(super) act: Act,
    pub(super) who: Option<Who>,
    pub(super) share: Option<f64>,
    pub(super) count: Option<u32>,
    pub(super) for_s: Option<f64>,
    pub(super) longer_than_bytes: Option<u32>,
    pub(super) lifetime_s: Option<f64>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Act {
    Join,
    Leave,
    Kill,
    Stop,
    Cut,
    Unplug,
    PauseSource,
    BlockMulticast,
    StopQueries,
    BlockUdp,
}

/// To whom it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Who {
    Publisher,
    /// The viewer that has sent most.
    Busiest,
    /// In the order of their joining, from 1.
    Viewer(u32),
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_prefix("viewer ").and_then(|number| number.parse().ok());
        match (text.as_str(), number) {
            ("publisher", _) => Ok(Self::Publisher),
            ("busiest", _) => Ok(Self::Busiest),
            (_, Some(number)) if number > 0 => Ok(Self::Viewer(number)),
            _ => Err(format!("`{text}` is nobody: give \"publisher\", \"busiest\" or \"viewer N\" from 1")),
        }
    }
}

/// Bits per second, as the command line writes them.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Rate(pub(super) u64);

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        rate(&text).map(Self).map_err(|advice| format!("`{text}`: give {advice}"))
    }
}

/// Whether and where it is multicast, as the command line writes it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Multicast(pub(super) MulticastChoice);

impl TryFrom<String> for Multicast {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: swarmcast::MulticastChoiceError| error.to_string())
    }
}

/// A number, or a range that each host draws its own from.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a range such as [5, 75]")]
pub(super) enum Span {
    One(f64),
    Range([f64; 2]),
}

fn half() -> f64 {
    0.5
}

fn one() -> u32 {
    1
}

fn thousand() -> f64 {
    1_000.0
}
