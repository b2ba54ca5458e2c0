//! The lines themselves: names and units of every field that programs read.

use serde::Serialize;
use swarmcast::{Health, Publisher, Rates, SinkCounts, StreamStats, Swarm, TransportCounters};

use super::listing::{
    DeviceLine, GroupLine, QualityLine, RenditionLine, StreamLine, TrackLine, describe, qualities,
};
use super::player::PlayerLine;
use super::words::{self, ReasonLine};

/// One report. `event` is its name in snake case.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The node listens; a publisher's stream exists.
    Started(Box<Started>),
    /// A viewer found the stream.
    Opened {
        key: String,
        epoch: u64,
        tracks: Vec<TrackLine>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        renditions: Vec<RenditionLine>,
    },
    /// A viewer's first access unit. `since_start` in seconds since the kernel started the process.
    FirstAccessUnit { track: u8, dts: i64, pts: i64, key: bool, since_start: Option<f64> },
    /// Health, each second.
    Stats(Box<Stats>),
    /// Access units are missing; media times in seconds.
    Gap { track: Option<u8>, from: f64, to: f64, cause: &'static str },
    /// Another rendition of the programme takes over; `opened` follows.
    Quality(Box<QualityLine>),
    /// The publisher was restarted.
    Reset { old: u64, new: u64 },
    /// The verdict on a viewer's stream changed.
    Verdict(Box<VerdictLine>),
    /// Delivery goes over to another path.
    Path(Box<PathLine>),
    /// Delivery should go over to another path, and is not.
    PathDue(Box<PathLine>),
    /// The state of one path changed.
    PathVerdict(Box<PathVerdictLine>),
    /// The services that find peers came or went.
    ControlPlane { to: &'static str, code: Option<&'static str> },
    /// What follows comes from the fallback URL.
    Foreign { tracks: Vec<TrackLine> },
    /// A viewer's subscription is over; exactly one, before `ended` or `error`.
    Closed(ClosedLine),
    /// A recording goes on in another file.
    Part { output: String },
    /// A session with a peer came up or went down.
    Neighbour { peer: String, up: bool },
    /// Something was left out; the command goes on.
    Warning { code: &'static str, message: String },
    /// A group on the LAN.
    Group(GroupLine),
    /// A stream on the LAN.
    Stream(StreamLine),
    /// A capture device of this machine.
    Device(DeviceLine),
    /// The command is over.
    Ended(Box<Ended>),
    /// The command failed.
    Error { code: &'static str, message: String },
}

#[derive(Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) role: &'static str,
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) endpoint: String,
    pub(crate) ticket: String,
    pub(crate) addresses: Vec<String>,
    #[serde(flatten)]
    pub(crate) publication: Option<PublicationLine>,
}

/// What only a publisher tells when it starts.
#[derive(Debug, Serialize)]
pub(crate) struct PublicationLine {
    pub(crate) key: String,
    pub(crate) epoch: u64,
    /// The second of `CLOCK_MONOTONIC` at which the publisher's `closed` clock is 0.
    pub(crate) epoch_t: f64,
    pub(crate) tracks: Vec<TrackLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) renditions: Vec<RenditionLine>,
}

/// Times in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct VerdictLine {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    #[serde(flatten)]
    pub(crate) reason: ReasonLine,
    pub(crate) code: Option<&'static str>,
    pub(crate) path: &'static str,
    pub(crate) last_media_time: Option<f64>,
    pub(crate) since_last_fragment: Option<f64>,
    #[serde(skip)]
    pub(crate) text: Option<String>,
}

/// Times in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct PathLine {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) cause: &'static str,
    pub(crate) interface: Option<String>,
    pub(crate) last_media_time: Option<f64>,
    pub(crate) retry_after: Option<f64>,
    pub(crate) code: Option<&'static str>,
    #[serde(skip)]
    pub(crate) text: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PathVerdictLine {
    pub(crate) path: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    #[serde(flatten)]
    pub(crate) reason: ReasonLine,
    #[serde(skip)]
    pub(crate) text: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ClosedLine {
    pub(crate) cause: &'static str,
    #[serde(flatten)]
    pub(crate) reason: ReasonLine,
    pub(crate) code: &'static str,
}

/// The last counters say how many access units were published, or written by a viewer.
#[derive(Debug, Serialize)]
pub(crate) struct Ended {
    cause: &'static str,
    bytes: u64,
    #[serde(flatten)]
    stats: Stats,
}

/// Health in numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stats {
    #[serde(flatten)]
    pub(crate) counters: Counters,
    #[serde(flatten)]
    pub(crate) transport: Transport,
    #[serde(flatten)]
    pub(crate) rates: RatesLine,
    /// None at a publisher.
    pub(crate) health: Option<HealthLine>,
    /// Bits per second of access units over the last second.
    pub(crate) bitrate: u64,
    /// Bytes sent by bytes of payload received or published.
    pub(crate) uplink_ratio: f64,
    /// Seconds; none at a publisher.
    pub(crate) playout_delay: Option<f64>,
    /// Seconds; the smallest of all neighbours.
    pub(crate) rtt: Option<f64>,
    /// Newest access unit delivered; none at a publisher.
    pub(crate) latest: Option<Latest>,
    /// None at a publisher and with an output.
    pub(crate) player: Option<PlayerLine>,
}

/// When the newest access unit was delivered, and when its block was closed at the publisher, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Latest {
    pub(crate) t: f64,
    pub(crate) closed: f64,
}

/// Mirrors every field of the engine's counters; a field that is added there does not compile here until it is
/// told too.
macro_rules! counters {
    (numbers: $($number:ident)*; seconds: $($span:ident)*) => {
        /// The engine's counters under their own names; times in seconds.
        #[derive(Clone, Debug, Default, Serialize)]
        pub(crate) struct Counters {
            $(pub(crate) $number: u64,)*
            $(pub(crate) $span: f64,)*
            pub(crate) newest: Option<u64>,
            /// Seconds; none where nobody asks for the publisher's time.
            pub(crate) clock_error: Option<f64>,
        }

        impl From<StreamStats> for Counters {
            fn from(stats: StreamStats) -> Self {
                let StreamStats { $($number,)* $($span,)* newest, clock_error } = stats;
                Self {
                    $($number: $number.into(),)*
                    $($span: $span.as_secs_f64(),)*
                    newest: newest.map(|block| block.0),
                    clock_error: clock_error.map(|error| error.as_secs_f64()),
                }
            }
        }
    };
}
counters! {
    numbers:
        bytes_pushed_to_peers fragments_pushed_to_peers bytes_pushed_from_peers
        fragments_pushed_from_peers bytes_requested_by_peers fragments_requested_by_peers
        bytes_requested_from_peers fragments_requested_from_peers control_bytes_to_peers
        control_bytes_to_server control_bytes_from_peers access_units access_unit_bytes lost
        repaired repaired_by_parity repaired_by_peer repaired_by_publisher late duplicate orphan
        replay forged malformed unkept shed skipped overflowed window_bytes suppliers consumers
        neighbours viewers bytes_received_from_server fragments_received_from_server
        bytes_received_from_ip_multicast fragments_received_from_ip_multicast
        bytes_sent_to_ip_multicast fragments_sent_to_ip_multicast multicast_loss parity_percent
        reporters reported_loss_p50 reported_loss_p95 reported_loss_max;
    seconds: since_last_fragment distance_to_live_edge
}

/// What is known of a viewer's stream; `buffer` in seconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HealthLine {
    verdict: &'static str,
    #[serde(flatten)]
    reason: ReasonLine,
    path: &'static str,
    multicast: &'static str,
    mesh: &'static str,
    unicast: &'static str,
    control_plane: &'static str,
    buffer: f64,
}

impl From<&Health> for HealthLine {
    fn from(health: &Health) -> Self {
        Self {
            verdict: words::verdict(health.verdict),
            reason: health.reason.as_ref().into(),
            path: words::path(health.path),
            multicast: words::path_verdict(health.multicast),
            mesh: words::path_verdict(health.mesh),
            unicast: words::path_verdict(health.unicast),
            control_plane: words::control_plane(health.control_plane),
            buffer: health.buffer.as_secs_f64(),
        }
    }
}

/// Bytes per second over the last second.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RatesLine {
    receive_data_bytes_per_second: u64,
    receive_data_bytes_per_second_from_ip_multicast: u64,
    receive_data_bytes_per_second_from_server: u64,
    receive_control_bytes_per_second: u64,
    send_data_bytes_per_second: u64,
    send_control_bytes_per_second: u64,
    send_control_bytes_per_second_to_server: u64,
}

impl From<Rates> for RatesLine {
    fn from(rates: Rates) -> Self {
        Self {
            receive_data_bytes_per_second: rates.receive_data_bytes_per_second,
            receive_data_bytes_per_second_from_ip_multicast: rates
                .receive_data_bytes_per_second_from_ip_multicast,
            receive_data_bytes_per_second_from_server: rates.receive_data_bytes_per_second_from_server,
            receive_control_bytes_per_second: rates.receive_control_bytes_per_second,
            send_data_bytes_per_second: rates.send_data_bytes_per_second,
            send_control_bytes_per_second: rates.send_control_bytes_per_second,
            send_control_bytes_per_second_to_server: rates.send_control_bytes_per_second_to_server,
        }
    }
}

/// UDP payload of the process, over all its sessions ever.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Transport {
    udp_bytes_sent: u64,
    udp_datagrams_sent: u64,
    udp_bytes_received: u64,
    udp_datagrams_received: u64,
}

impl From<TransportCounters> for Transport {
    fn from(counters: TransportCounters) -> Self {
        let TransportCounters {
            udp_bytes_sent,
            udp_datagrams_sent,
            udp_bytes_received,
            udp_datagrams_received,
            ..
        } = counters;
        Self { udp_bytes_sent, udp_datagrams_sent, udp_bytes_received, udp_datagrams_received }
    }
}

impl Line {
    /// Returns the text of a line that is what the command was asked for.
    pub(crate) fn result(&self) -> Option<String> {
        match self {
            Self::Group(group) => Some(group.for_people()),
            Self::Stream(stream) => Some(stream.for_people()),
            Self::Device(device) => Some(device.for_people()),
            _ => None,
        }
    }

    /// Says it in the picture to who watches; `None` when that is of no use there.
    pub(crate) fn for_viewers(&self) -> Option<String> {
        match self {
            Self::Opened { .. } | Self::FirstAccessUnit { .. } | Self::Ended(_) => None,
            _ => self.for_people(),
        }
    }

    /// Says it to people; `None` when they are told otherwise or not at all.
    pub(crate) fn for_people(&self) -> Option<String> {
        Some(match self {
            Self::Started(started) => started.for_people(),
            Self::Opened { key, tracks, .. } => format!("found: {} (publisher {key})", describe(tracks)),
            Self::FirstAccessUnit { since_start: Some(seconds), .. } => {
                format!("first access unit {:.0} ms after the start", seconds * 1e3)
            }
            Self::Gap { track, from, to, cause } => {
                let which = track.map_or("all tracks".to_owned(), |id| format!("track {id}"));
                let seconds = to - from;
                format!(
                    "{seconds:.2} s of {which} are missing ({cause}): on from the next random-access point"
                )
            }
            Self::Quality(line) => line.for_people(),
            Self::Reset { .. } => "the publisher was restarted".to_owned(),
            Self::Verdict(line) => return line.text.clone(),
            Self::Path(line) | Self::PathDue(line) => return line.text.clone(),
            Self::PathVerdict(line) => return line.text.clone(),
            Self::Foreign { tracks } => format!("playing the fallback URL: {}", describe(tracks)),
            Self::Part { output } => format!("its tracks differ: the recording goes on in {output}"),
            Self::Warning { message, .. } => format!("warning: {message}"),
            Self::Ended(ended) => {
                format!(
                    "ended ({}): {} access units, {} bytes",
                    ended.cause, ended.stats.counters.access_units, ended.bytes
                )
            }
            Self::FirstAccessUnit { since_start: None, .. }
            | Self::Stats(_)
            | Self::ControlPlane { .. }
            | Self::Closed(_)
            | Self::Neighbour { .. }
            | Self::Group(_)
            | Self::Stream(_)
            | Self::Device(_)
            | Self::Error { .. } => return None,
        })
    }
}

impl Ended {
    /// Makes the line of an end with that cause.
    pub(crate) fn new(cause: &'static str, stats: Stats) -> Self {
        Self { cause, bytes: stats.counters.access_unit_bytes, stats }
    }

    /// Makes the line of a viewer's end: what its output took counts, not what was delivered.
    pub(crate) fn viewer(cause: &'static str, mut stats: Stats, written: SinkCounts) -> Self {
        stats.counters.access_units = written.access_units;
        stats.counters.access_unit_bytes = written.bytes;
        Self::new(cause, stats)
    }
}

impl Started {
    /// Makes the line of a viewer.
    pub(crate) fn viewer(swarm: &Swarm, name: &str) -> Self {
        Self {
            role: "viewer",
            group: swarm.group().name().to_owned(),
            name: name.to_owned(),
            pid: std::process::id(),
            endpoint: swarm.endpoint().to_string(),
            ticket: swarm.ticket().to_string(),
            addresses: swarm.addresses().iter().map(ToString::to_string).collect(),
            publication: None,
        }
    }

    /// Makes the line of a publisher.
    pub(crate) fn publisher(swarm: &Swarm, publisher: &Publisher) -> Self {
        let catalogue = publisher.catalogue();
        let publication = PublicationLine {
            key: publisher.key().to_string(),
            epoch: publisher.epoch().0,
            epoch_t: publisher.began().0 as f64 / 1e6,
            tracks: catalogue.tracks.iter().map(TrackLine::from).collect(),
            renditions: catalogue.renditions.iter().map(RenditionLine::from).collect(),
        };
        Self { role: "publisher", publication: Some(publication), ..Self::viewer(swarm, &catalogue.name) }
    }

    fn for_people(&self) -> String {
        let Self { group, name, ticket, .. } = self;
        match &self.publication {
            Some(publication) => {
                let tracks = describe(&publication.tracks);
                let qualities = qualities(&publication.renditions);
                format!(
                    "publishing {name} in group {group}: {tracks}{qualities}\n  \
                     watch it: swarmcast play {name} --group {group}\n  \
                     from elsewhere, add: --peer {ticket}"
                )
            }
            None => format!("looking for {name} in group {group}"),
        }
    }
}
