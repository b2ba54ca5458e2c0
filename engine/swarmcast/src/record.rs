//! Writing a subscription into a media sink, across restarts of its publisher.

use std::path::Path;

use swarmcast_core::catalogue::Track;
use swarmcast_media::{Sink, SinkConfig, SinkCounts, SinkError};

use crate::event::Event;

mod renewal;
mod splice;

use renewal::Renewal;
use splice::Splice;

/// Writes the access units of one subscription. Its calls block: use it on a thread of its own.
///
/// The output is opened when the stream is. When the publisher is restarted, or a foreign source takes over or gives
/// back, with the same tracks, the recording goes on behind what it has, with the pause that there really was; with
/// other tracks it goes on in a new file, `x.1.mkv` after `x.mkv`, while standard output and URLs are opened again.
///
/// When another rendition takes over, H.264 and HEVC as they are encoded here go on in the same output, on the same
/// timeline: every key unit brings its parameter sets from there on. What else there may be goes on in a new file.
pub struct Recorder {
    config: SinkConfig,
    open: Option<Part>,
    parts: u32,
    /// Whether what is opened next is another rendition.
    renews: bool,
    /// What the outputs before the open one took.
    completed: SinkCounts,
}

/// One output with its tracks.
struct Part {
    sink: Sink,
    /// Those that the output began with.
    tracks: Vec<Track>,
    /// Those that it is given, of another rendition perhaps.
    given: Vec<Track>,
    splice: Splice,
    renewal: Renewal,
}

/// What an event meant for the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// Nothing, or one more access unit.
    Quietly,
    /// An output was opened: the first one, or the next since the tracks differ.
    Opened {
        /// Which.
        output: String,
        /// Its number, from 0.
        part: u32,
    },
    /// Media of another origin follows with the same tracks, and the same output goes on.
    Continued,
    /// The recording is complete.
    Finished,
}

/// Why a recording failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The sink cannot be opened or written.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl Recorder {
    /// Makes a recorder that has opened nothing. [`SinkConfig::headless`] makes one that only counts.
    pub fn new(config: SinkConfig) -> Self {
        Self { config, open: None, parts: 0, renews: false, completed: SinkCounts::default() }
    }

    /// Takes the subscription's next event and writes what it brought.
    ///
    /// # Errors
    /// [`RecordError::Sink`] when the output cannot be opened, written or completed.
    pub fn handle(&mut self, event: &Event) -> Result<Recorded, RecordError> {
        match event {
            Event::Quality { .. } => {
                self.renews = true;
                Ok(Recorded::Quietly)
            }
            Event::Opened { catalogue, .. } => {
                if std::mem::take(&mut self.renews) && self.renew(&catalogue.tracks) {
                    return Ok(Recorded::Continued);
                }
                self.open(&catalogue.tracks)
            }
            Event::Foreign { tracks } => self.open(tracks),
            Event::AccessUnit(delivery) => {
                if let Some(part) = &mut self.open
                    && let Some(mut unit) = part.splice.place(delivery, &part.tracks)
                {
                    part.renewal.apply(&mut unit);
                    part.sink.write(&unit)?;
                }
                Ok(Recorded::Quietly)
            }
            Event::Closed(_) => {
                self.finish()?;
                Ok(Recorded::Finished)
            }
            _ => Ok(Recorded::Quietly),
        }
    }

    /// Completes the recording; it can be played up to its last access unit even without.
    ///
    /// # Errors
    /// [`RecordError::Sink`] when the end cannot be written.
    pub fn finish(&mut self) -> Result<(), RecordError> {
        self.completed = self.written();
        match self.open.take() {
            Some(part) => part.sink.finish().map(drop).map_err(RecordError::from),
            None => Ok(()),
        }
    }

    /// Returns what was written, to all outputs together; tracks that they cannot hold are not in it.
    pub fn written(&self) -> SinkCounts {
        let open = self.open.as_ref().map(|part| part.sink.counts()).unwrap_or_default();
        SinkCounts {
            access_units: self.completed.access_units + open.access_units,
            bytes: self.completed.bytes + open.bytes,
        }
    }

    /// Goes on with another rendition in the open output; returns whether that is possible.
    fn renew(&mut self, tracks: &[Track]) -> bool {
        let Some(part) = &mut self.open else { return false };
        let renewal = Renewal::new(&part.tracks, tracks);
        let Some(renewal) = renewal else { return false };
        (part.renewal, part.given) = (renewal, tracks.to_vec());
        true
    }

    fn open(&mut self, tracks: &[Track]) -> Result<Recorded, RecordError> {
        if let Some(part) = &mut self.open
            && part.given == tracks
        {
            part.splice.join();
            return Ok(Recorded::Continued);
        }
        self.finish()?;
        let part = self.parts;
        let output = part_name(&self.config.output, part);
        let sink = Sink::open(SinkConfig { output: output.clone(), ..self.config.clone() }, tracks)?;
        let (tracks, given) = (tracks.to_vec(), tracks.to_vec());
        let (splice, renewal) = (Splice::default(), Renewal::default());
        self.open = Some(Part { sink, tracks, given, splice, renewal });
        self.parts += 1;
        Ok(Recorded::Opened { output, part })
    }
}

/// Numbers the parts of a recording that is a file: `dir/x.mkv`, `dir/x.1.mkv`, `dir/x.2.mkv`.
fn part_name(output: &str, part: u32) -> String {
    if part == 0 || output.is_empty() || output == "-" || output.contains("://") {
        return output.to_owned();
    }
    let path = Path::new(output);
    match (path.file_stem(), path.extension()) {
        (Some(stem), Some(ending)) => {
            let name = format!("{}.{part}.{}", stem.to_string_lossy(), ending.to_string_lossy());
            path.with_file_name(name).to_string_lossy().into_owned()
        }
        _ => format!("{output}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_have_numbered_parts() {
        assert_eq!(part_name("a.b/x.mkv", 0), "a.b/x.mkv");
        assert_eq!(part_name("a.b/x.mkv", 2), "a.b/x.2.mkv");
        assert_eq!(part_name("a.b/x", 1), "a.b/x.1");
        assert_eq!(part_name("-", 1), "-");
        assert_eq!(part_name("", 1), "");
        assert_eq!(part_name("udp://10.0.0.1:5000", 1), "udp://10.0.0.1:5000");
    }
}
