//! The source: an input's tracks and its access units, at their pace.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, bounded, select};
use swarmcast_core::catalogue::{
    AccessUnit, RENDITIONS_MAX, TRACKS_MAX, TimeBase, Track, TrackId, TrackKind,
};

use crate::capture::{Delays, Encoding};
use crate::demux::{Demuxer, Opening};
use crate::error::SourceError;
use crate::ffi;
use crate::input::{self, Input};
use crate::interrupt::Interrupt;
use crate::timeline::Pacer;

/// What to read and how.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// File, URL, `-` for stdin, or capture devices as `KIND:NAME`, several joined by `+`
    /// (`v4l2:/dev/video0?framerate=30+alsa:default`, `lavfi:testsrc2=size=1280x720:rate=25`).
    pub input: String,
    /// Whether to begin again at the end; timestamps go on.
    pub looped: bool,
    /// Whether units leave at the pace of their decoding times. Devices and live protocols have a pace of their own.
    pub paced: bool,
    /// Whether a data track follows the input's tracks; its access units come from the caller.
    pub data: bool,
    /// Whether a URL has to play soon or fail: its tracks are told after at most 1 s of media, as those of live
    /// protocols are and not after the 5 s that ffmpeg may take, and a server that is silent for 5 s is given up.
    pub prompt: bool,
    /// How raw pictures are encoded.
    pub pictures: PictureConfig,
    /// In which qualities the first track of pictures is encoded, whatever it comes as; as it is when empty. At most
    /// [`swarmcast_core::catalogue::RENDITIONS_MAX`].
    pub renditions: Vec<RenditionConfig>,
    /// Whether an input that ends or fails is waited for and opened again, as a listener's next sender or a device that
    /// is plugged in again; its timestamps go on by the time that has passed. Never for what is looped.
    pub reconnect: bool,
    /// Makes the calls return.
    pub interrupt: Interrupt,
}

impl SourceConfig {
    /// Makes the configuration for `input`: paced, not looped, without data track, in no hurry.
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: input.into(),
            looped: false,
            paced: true,
            data: false,
            prompt: false,
            pictures: PictureConfig::default(),
            renditions: Vec::new(),
            reconnect: false,
            interrupt: Interrupt::new(),
        }
    }
}

/// How raw pictures are encoded; what is encoded already passes through untouched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureConfig {
    /// Bits per second; by the size of the pictures when none.
    pub bitrate: Option<u32>,
    /// ffmpeg's name of the encoder, such as `libx265` or `h264_nvenc`; `libx264` when none.
    pub encoder: Option<String>,
    /// Whether an encoder of a graphics card goes before libx264 or libx265 where one opens.
    pub hardware: bool,
    /// The encoder's own name for how much work it spends; the fastest of x264 and x265 when none.
    pub preset: Option<String>,
}

/// One quality in which pictures are encoded: a track of its own, whose key units have the same timestamps as those of
/// the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenditionConfig {
    /// Width and height in pixels, made even; the source's when none. Pixels get the shape that keeps the picture's.
    pub size: Option<(u16, u16)>,
    /// Bits per second; by the size when none.
    pub bitrate: Option<u32>,
}

/// Tells that an input which is opened again went away, or that it is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It ended, or failed for the cause told; it is waited for.
    Lost {
        /// The input, as it was named.
        input: String,
        /// Why; none at its end.
        cause: Option<SourceError>,
    },
    /// It is read again.
    Restored {
        /// The input, as it was named.
        input: String,
    },
}

/// The losses and returns of a source's inputs, at most 16 that nobody has asked for; ends with the source.
#[derive(Debug)]
pub struct Connections(Receiver<Connection>);

impl Iterator for Connections {
    type Item = Connection;

    /// Waits for the next one.
    fn next(&mut self) -> Option<Connection> {
        self.0.recv().ok()
    }
}

/// Time from the capture of a picture or of 20 ms of sound to the end of its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureDelay {
    /// Of the newest unit.
    pub last: Duration,
    /// Median of the newest 256 units.
    pub p50: Duration,
    /// 95th percentile of the newest 256 units.
    pub p95: Duration,
}

/// Makes the track for data that the caller sends: timed records of JSON, timestamps in microseconds.
pub fn data_track(id: TrackId) -> Track {
    Track {
        id,
        kind: TrackKind::Data,
        codec: "json".to_owned(),
        time_base: TimeBase::MICROS,
        bitrate: 0,
        parameters: Bytes::new(),
    }
}

/// An open input. Blocks in [`Source::open`] and [`Source::next`]; belongs on a thread of its own.
pub struct Source {
    tracks: Vec<Track>,
    renditions: Vec<TrackId>,
    encoder: Option<String>,
    config: SourceConfig,
    feed: Feed,
    ready: VecDeque<AccessUnit>,
    pacer: Option<Pacer>,
    delays: Delays,
    connections: Receiver<Connection>,
}

/// Where units come from.
enum Feed {
    /// One input, read by the caller's thread.
    Direct(Box<Demuxer>),
    /// Devices, each read by a thread, since their reads can neither be interrupted nor waited for together.
    Threads(Receiver<Result<AccessUnit, SourceError>>),
}

/// Units that device threads may be ahead of the caller: the next one of each of a few devices. A caller that is
/// slower makes the devices' own buffers drop.
const DEVICE_UNITS_MAX: usize = 4;

/// Losses and returns of inputs that wait to be asked for.
const CONNECTIONS_MAX: usize = 16;

impl Source {
    /// Opens the input and learns its tracks.
    ///
    /// # Errors
    /// [`SourceError`] tells what is wrong with the input and what to do; [`SourceError::Interrupted`] when stopped.
    pub fn open(config: SourceConfig) -> Result<Self, SourceError> {
        ffi::init();
        let inputs = input::parse(&config.input);
        let seekable = |input: &Input| matches!(input, Input::Url { live: false, .. });
        if config.looped && !inputs.iter().all(seekable) {
            return Err(SourceError::NotLoopable { input: config.input });
        }
        let delays = Delays::default();
        let mut wanted = config.renditions.clone();
        wanted.truncate(RENDITIONS_MAX);
        let (told, connections) = bounded(CONNECTIONS_MAX);
        let reconnect = (config.reconnect && !config.looped).then_some(told);
        let own_pace = |input: &Input| matches!(input, Input::Device(_) | Input::Url { live: true, .. });
        let paced = config.paced && !inputs.iter().all(own_pace);
        let threaded =
            inputs.len() > 1 || matches!(&inputs[..], [Input::Device(device)] if !device.is_virtual());
        let origin = Instant::now();
        let (mut tracks, mut demuxers, mut renditions) = (Vec::new(), Vec::new(), Vec::new());
        let mut encoder = None;
        for input in inputs {
            let (pictures, delays) = (config.pictures.clone(), delays.clone());
            let encoding = Encoding { pictures, renditions: wanted.clone(), delays };
            let opening = Opening {
                input,
                text: config.input.clone(),
                first_track: tracks.len(),
                paced: config.paced,
                prompt: config.prompt,
                origin,
                encoding,
                reconnect: reconnect.clone(),
                interrupt: config.interrupt.clone(),
            };
            let demuxer = Demuxer::open(opening)?;
            tracks.extend_from_slice(demuxer.tracks());
            encoder = encoder.or_else(|| demuxer.encoder().map(str::to_owned));
            if !demuxer.renditions().is_empty() {
                renditions = demuxer.renditions().to_vec();
                wanted.clear();
            }
            demuxers.push(demuxer);
        }
        if !wanted.is_empty() {
            return Err(SourceError::NoPictures { input: config.input });
        }
        let max = TRACKS_MAX - usize::from(config.data);
        if tracks.len() > max {
            return Err(SourceError::TooManyTracks { input: config.input, tracks: tracks.len(), max });
        }
        if config.data {
            tracks.push(data_track(TrackId(tracks.len() as u8)));
        }
        let feed = match demuxers.pop() {
            Some(only) if !threaded => Feed::Direct(Box::new(only)),
            last => Feed::Threads(read_on_threads(demuxers.into_iter().chain(last), &config)?),
        };
        let pacer = paced.then(Pacer::default);
        Ok(Self {
            tracks,
            renditions,
            encoder,
            config,
            feed,
            ready: VecDeque::new(),
            pacer,
            delays,
            connections,
        })
    }

    /// Returns the tracks, in the order of their numbers.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Returns the tracks that are [`SourceConfig::renditions`] of the same pictures, in that order; empty without.
    pub fn renditions(&self) -> &[TrackId] {
        &self.renditions
    }

    /// Returns ffmpeg's name of what encodes the pictures; none where they pass through.
    pub fn encoder(&self) -> Option<&str> {
        self.encoder.as_deref()
    }

    /// Returns the next access unit when it is due; none at the end of the input.
    ///
    /// # Errors
    /// [`SourceError::Read`], [`SourceError::Changed`], [`SourceError::Oversize`] and the encoding errors end the
    /// source; [`SourceError::Interrupted`] when stopped.
    #[expect(clippy::should_implement_trait, reason = "a source can fail, and must not be read on then")]
    pub fn next(&mut self) -> Result<Option<AccessUnit>, SourceError> {
        let unit = loop {
            if self.config.interrupt.is_set() {
                return Err(SourceError::Interrupted);
            }
            if let Some(unit) = self.ready.pop_front() {
                break unit;
            }
            // The end of an input may still bring what an encoder held back.
            if !self.fill()? && self.ready.is_empty() {
                return Ok(None);
            }
        };
        if let (Some(pacer), Some(track)) = (&mut self.pacer, self.tracks.get(usize::from(unit.track.0))) {
            let due = pacer.wait(track.time_base.to_micros(unit.dts), &self.config.interrupt);
            due.ok_or(SourceError::Interrupted)?;
        }
        Ok(Some(unit))
    }

    /// Returns what happens to inputs that are opened again.
    pub fn connections(&self) -> Connections {
        Connections(self.connections.clone())
    }

    /// Returns how long a track's encoding takes, none where it passes through; what a device takes to hand over its
    /// picture is not in it.
    pub fn capture_delay(&self, track: TrackId) -> Option<CaptureDelay> {
        self.delays.summary(track)
    }

    /// Reads on; false at the end.
    fn fill(&mut self) -> Result<bool, SourceError> {
        match &mut self.feed {
            Feed::Direct(demuxer) => {
                Ok(demuxer.read(&mut self.ready)? || (self.config.looped && demuxer.rewind()?))
            }
            Feed::Threads(units) => select! {
                recv(units) -> unit => match unit {
                    Ok(unit) => { self.ready.push_back(unit?); Ok(true) }
                    Err(_) => Ok(false),
                },
                recv(self.config.interrupt.fired()) -> _ => Err(SourceError::Interrupted),
            },
        }
    }
}

/// Starts a thread a device; each ends with its device, with the first error, or once nobody receives.
fn read_on_threads(
    demuxers: impl Iterator<Item = Demuxer>,
    config: &SourceConfig,
) -> Result<Receiver<Result<AccessUnit, SourceError>>, SourceError> {
    let (sender, receiver) = bounded(DEVICE_UNITS_MAX);
    for mut demuxer in demuxers {
        let sender = sender.clone();
        let run = move || {
            let mut ready = VecDeque::new();
            loop {
                let more = demuxer.read(&mut ready);
                let units = ready.drain(..).map(Ok).chain(more.clone().err().map(Err));
                if units.into_iter().any(|unit| sender.send(unit).is_err()) || more != Ok(true) {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new().name("capture".to_owned()).spawn(run);
        spawned.map_err(|_| SourceError::Threads { input: config.input.clone() })?;
    }
    Ok(receiver)
}
