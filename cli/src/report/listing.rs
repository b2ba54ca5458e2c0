//! Lines that tell what there is: groups, streams with their tracks and qualities, capture devices.

use serde::Serialize;
use swarmcast::{CaptureFormat, Rendition, Track, TrackKind};

#[derive(Debug, Serialize)]
pub(crate) struct TrackLine {
    pub(crate) id: u8,
    pub(crate) kind: &'static str,
    pub(crate) codec: String,
    pub(crate) bitrate: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct DeviceLine {
    pub(crate) kind: &'static str,
    pub(crate) input: String,
    pub(crate) name: String,
    pub(crate) formats: Vec<FormatLine>,
}

/// One form in which a device captures: pictures have `sizes`, sound has `channels` and `rates` in samples a second.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FormatLine {
    pub(crate) format: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sizes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rates: Vec<u32>,
}

#[derive(Debug, Serialize)]
pub(crate) struct GroupLine {
    pub(crate) group: Option<String>,
    pub(crate) id: String,
    pub(crate) keyed: bool,
    pub(crate) peers: usize,
    pub(crate) published: Vec<String>,
    pub(crate) watched: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct StreamLine {
    pub(crate) group: String,
    pub(crate) keyed: bool,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) epoch: u64,
    pub(crate) publisher: Option<String>,
    pub(crate) viewers: u32,
    pub(crate) bitrate: u64,
    pub(crate) tracks: Vec<TrackLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) renditions: Vec<RenditionLine>,
}

/// One quality of a programme; bits per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct RenditionLine {
    pub(crate) size: String,
    pub(crate) bitrate: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct QualityLine {
    pub(crate) from: RenditionLine,
    pub(crate) to: RenditionLine,
    pub(crate) cause: &'static str,
}

impl From<&Track> for TrackLine {
    fn from(track: &Track) -> Self {
        let kind = match track.kind {
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
            TrackKind::Data => "data",
            TrackKind::Subtitle => "subtitle",
        };
        Self { id: track.id.0, kind, codec: track.codec.clone(), bitrate: track.bitrate }
    }
}

impl From<&CaptureFormat> for FormatLine {
    fn from(format: &CaptureFormat) -> Self {
        match format {
            CaptureFormat::Pictures { format, sizes } => {
                let sizes = sizes.iter().map(|(width, height)| format!("{width}x{height}")).collect();
                Self { format: format.clone(), sizes, ..Self::default() }
            }
            CaptureFormat::Sound { format, channels, rates } => Self {
                format: format.clone(),
                channels: Some(*channels),
                rates: rates.clone(),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

impl DeviceLine {
    /// Says it to people: the device, and below it each format.
    pub(super) fn for_people(&self) -> String {
        let mut text = format!("{:10}  {}  {}", self.kind, self.input, self.name);
        for FormatLine { format, sizes, channels, rates } in &self.formats {
            let channels = channels.map(|channels| format!(" {channels} channels")).unwrap_or_default();
            let rates: Vec<_> = rates.iter().map(|rate| format!(" {rate} Hz")).collect();
            text += &format!("\n            {format}{channels}{} {}", rates.join(","), sizes.join(" "));
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl From<&Rendition> for RenditionLine {
    fn from(rendition: &Rendition) -> Self {
        Self { size: format!("{}x{}", rendition.width, rendition.height), bitrate: rendition.bitrate }
    }
}

impl RenditionLine {
    fn for_people(&self) -> String {
        format!("{} at {:.2} Mbit/s", self.size, f64::from(self.bitrate) / 1e6)
    }
}

impl QualityLine {
    /// Says it to people.
    pub(super) fn for_people(&self) -> String {
        let why = match self.cause {
            "overrun" => "This computer is too slow for ",
            "capacity" => "The network does not carry ",
            "clean" => "There has been no trouble with ",
            _ => "As asked, instead of ",
        };
        format!("{why}{}; playing {}", self.from.size, self.to.for_people())
    }
}

impl GroupLine {
    pub(super) fn for_people(&self) -> String {
        let secrecy = if self.keyed { "keyed" } else { "open" };
        let name = self.group.as_deref().unwrap_or(&self.id);
        let plural = if self.peers == 1 { "" } else { "s" };
        let published =
            if self.published.is_empty() { "nothing".to_owned() } else { self.published.join(", ") };
        format!("group {name} ({secrecy}): {} peer{plural}, publishing {published}", self.peers)
    }
}

impl StreamLine {
    pub(super) fn for_people(&self) -> String {
        let megabits = self.bitrate as f64 / 1e6;
        let tracks = describe(&self.tracks);
        let qualities = qualities(&self.renditions);
        format!(
            "  {}: {tracks}{qualities}, {megabits:.2} Mbit/s, {} viewers, publisher {}",
            self.name, self.viewers, self.key
        )
    }
}

/// Names what is in a stream.
pub(super) fn describe(tracks: &[TrackLine]) -> String {
    let each: Vec<_> = tracks.iter().map(|track| format!("{} {}", track.kind, track.codec)).collect();
    each.join(", ")
}

/// Names the qualities of a programme, behind its tracks; nothing where there is one.
pub(super) fn qualities(renditions: &[RenditionLine]) -> String {
    if renditions.is_empty() {
        return String::new();
    }
    let each: Vec<_> = renditions.iter().map(RenditionLine::for_people).collect();
    format!(", as {}", each.join(", "))
}
