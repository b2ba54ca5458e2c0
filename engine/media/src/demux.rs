//! One opened input: its tracks and the reading of its packets.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use ffmpeg_next::format::context::{Input as Context, StreamIo};
use ffmpeg_next::{Dictionary, Error, Packet, error, format};
use swarmcast_core::catalogue::{AccessUnit, TimeBase, Track, TrackId, TrackKind};

use crate::capture::Encoding;
use crate::error::{FfmpegError, SourceError};
use crate::ffi;
use crate::input::{Device, Input};
use crate::interrupt::Interrupt;
use crate::lane::{Lane, Layout, lay_out};
use crate::parameters::{CodecParameters, ParametersError};
use crate::source::Connection;
use crate::stdio::{Stoppable, duplicate};
use crate::timeline::{Pacer, Passes, Timeline};

/// Damaged packets in a row after which an input counts as unreadable.
const DAMAGED_MAX: usize = 1_000;

/// How long to wait for an input that has nothing yet and does not block.
const AGAIN: Duration = Duration::from_millis(2);

/// How often an input that is gone is looked for.
const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// What is needed to open an input, and to open it again for another pass.
pub(crate) struct Opening {
    pub(crate) input: Input,
    /// The input as the user named it, for errors.
    pub(crate) text: String,
    /// Number of its first track in the stream.
    pub(crate) first_track: usize,
    /// Whether a virtual device is held to real time.
    pub(crate) paced: bool,
    /// Whether a URL has to play soon or fail.
    pub(crate) prompt: bool,
    /// The moment that is time zero of all devices.
    pub(crate) origin: Instant,
    pub(crate) encoding: Encoding,
    /// Who is told when an input that is opened again goes and comes; none when it is not.
    pub(crate) reconnect: Option<Sender<Connection>>,
    pub(crate) interrupt: Interrupt,
}

/// An opened input.
pub(crate) struct Demuxer {
    opening: Opening,
    /// None while the input is gone.
    context: Option<Context>,
    layout: Layout,
    passes: Passes,
    pacer: Option<Pacer>,
    /// What to add to a device's timestamps, in microseconds, so that they count from the origin.
    shift: Option<i64>,
}

impl Demuxer {
    pub(crate) fn open(opening: Opening) -> Result<Self, SourceError> {
        let context = open_context(&opening)?;
        // A filter graph runs as fast as it is read; real devices wait by themselves.
        let graph = matches!(&opening.input, Input::Device(device) if device.is_virtual());
        let pacer = (graph && opening.paced).then(Pacer::default);
        let layout = lay_out(&context, &opening)?;
        let passes = Passes::default();
        Ok(Self { opening, context: Some(context), layout, passes, pacer, shift: None })
    }

    /// Returns the tracks, numbered from `Opening::first_track`.
    pub(crate) fn tracks(&self) -> &[Track] {
        &self.layout.tracks
    }

    /// Returns the tracks that have the same pictures, one for each rendition.
    pub(crate) fn renditions(&self) -> &[TrackId] {
        &self.layout.renditions
    }

    /// Returns ffmpeg's name of what encodes the pictures; none where they pass through.
    pub(crate) fn encoder(&self) -> Option<&str> {
        self.layout.lanes.iter().flatten().find_map(Lane::encoder)
    }

    /// Reads one packet and appends the access units that come of it; false at the end of the input. One that is opened
    /// again has no end.
    pub(crate) fn read(&mut self, ready: &mut VecDeque<AccessUnit>) -> Result<bool, SourceError> {
        let cause = match (self.read_once(ready), &self.opening.reconnect) {
            (Ok(false), Some(_)) => None,
            (Err(cause @ SourceError::Read { .. }), Some(_)) => Some(cause),
            (read, _) => return read,
        };
        self.reconnect(cause)?;
        Ok(true)
    }

    fn read_once(&mut self, ready: &mut VecDeque<AccessUnit>) -> Result<bool, SourceError> {
        let Some(packet) = self.read_packet()? else {
            for lane in self.layout.lanes.iter_mut().flatten() {
                lane.flush(ready).map_err(|cause| cause.told(&self.opening))?;
            }
            return Ok(false);
        };
        let Some(Some(lane)) = self.layout.lanes.get_mut(packet.stream()) else { return Ok(true) };
        let mut captured = Instant::now();
        let stamp = packet.pts().or(packet.dts());
        let stamp_micros = stamp.map_or(0, |stamp| lane.time_base.to_micros(stamp));
        if let Some(pacer) = &mut self.pacer {
            captured = pacer.wait(stamp_micros, &self.opening.interrupt).ok_or(SourceError::Interrupted)?;
        }
        let shift = if matches!(self.opening.input, Input::Device(_)) || self.opening.reconnect.is_some() {
            let since = captured.saturating_duration_since(self.opening.origin).as_micros();
            let since = i64::try_from(since).unwrap_or(i64::MAX);
            *self.shift.get_or_insert(since.saturating_sub(stamp_micros))
        } else {
            0
        };
        lane.take(&packet, captured, shift, ready).map_err(|cause| cause.told(&self.opening))?;
        Ok(true)
    }

    /// Opens the input again for another pass, so that it begins with exactly the same packets, which a seek does not
    /// promise; false when the last pass had nothing in it.
    pub(crate) fn rewind(&mut self) -> Result<bool, SourceError> {
        if !self.passes.next(timelines(&mut self.layout.lanes)) {
            return Ok(false);
        }
        let context = open_context(&self.opening)?;
        let layout = lay_out(&context, &self.opening)?;
        if layout.tracks != self.layout.tracks {
            return Err(SourceError::Changed { input: self.opening.text.clone() });
        }
        self.go_on(context, layout.lanes);
        Ok(true)
    }

    /// Waits for an input that went away, and goes on with it by the time that has passed.
    fn reconnect(&mut self, cause: Option<SourceError>) -> Result<(), SourceError> {
        let input = self.opening.text.clone();
        self.opening.tell(Connection::Lost { input: input.clone(), cause });
        // A port or a device is free again once who had it is gone.
        self.context = None;
        let (context, layout) = loop {
            match open_context(&self.opening).and_then(|context| {
                let layout = lay_out(&context, &self.opening)?;
                Ok((context, layout))
            }) {
                Ok(opened) => break opened,
                Err(SourceError::Interrupted) => return Err(SourceError::Interrupted),
                Err(_) if self.opening.interrupt.wait_until(Instant::now() + RECONNECT_EVERY) => {}
                Err(_) => return Err(SourceError::Interrupted),
            }
        };
        if !layout.tracks.iter().map(essence).eq(self.layout.tracks.iter().map(essence)) {
            return Err(SourceError::Changed { input });
        }
        self.go_on(context, layout.lanes);
        timelines(&mut self.layout.lanes).for_each(Timeline::part);
        self.shift = None;
        self.opening.tell(Connection::Restored { input });
        Ok(())
    }

    /// Reads on from an input that was opened again, on the timelines of before.
    fn go_on(&mut self, context: Context, mut lanes: Vec<Option<Lane>>) {
        let before = std::mem::take(&mut self.layout.lanes);
        for (lane, before) in lanes.iter_mut().flatten().zip(before.into_iter().flatten()) {
            lane.timelines = before.timelines;
        }
        (self.context, self.layout.lanes) = (Some(context), lanes);
    }

    /// Reads the next packet that is whole; none at the end.
    fn read_packet(&mut self) -> Result<Option<Packet>, SourceError> {
        let Some(context) = &mut self.context else { return Ok(None) };
        let mut packet = Packet::empty();
        for _ in 0..DAMAGED_MAX {
            let read = packet.read(context);
            if self.opening.interrupt.is_set() {
                return Err(SourceError::Interrupted);
            }
            match read {
                Ok(()) => return Ok(Some(packet)),
                Err(Error::Eof) => return Ok(None),
                Err(Error::Exit) => return Err(SourceError::Interrupted),
                Err(Error::InvalidData) => {}
                Err(Error::Other { errno: error::EAGAIN }) => {
                    self.opening.interrupt.wait_until(Instant::now() + AGAIN);
                }
                Err(cause) => return Err(self.opening.read_error(cause)),
            }
        }
        Err(self.opening.read_error(Error::InvalidData))
    }
}

fn timelines(lanes: &mut [Option<Lane>]) -> impl Iterator<Item = &mut Timeline> {
    lanes.iter_mut().flatten().flat_map(|lane| &mut lane.timelines)
}

/// Returns what a track needs to go on behind another: all but what ffmpeg guesses from the first seconds.
fn essence(track: &Track) -> (TrackKind, &str, TimeBase, Option<CodecParameters>) {
    let parameters = CodecParameters::decode(&track.parameters).ok();
    let parameters = parameters.map(|known| CodecParameters { bit_rate: 0, frame_rate: (0, 1), ..known });
    (track.kind, &track.codec, track.time_base, parameters)
}

impl Opening {
    /// Tells who asked; what nobody fetches is dropped.
    fn tell(&self, connection: Connection) {
        self.reconnect.iter().for_each(|told| drop(told.try_send(connection.clone())));
    }

    /// Tells which stream has parameters that cannot be had or carried.
    pub(crate) fn parameters_error(&self, index: usize, cause: ParametersError) -> SourceError {
        let input = self.text.clone();
        match cause {
            ParametersError::UnknownCodec(_) => SourceError::UnknownCodec { input, index },
            cause => SourceError::Parameters { input, index, cause },
        }
    }

    fn read_error(&self, cause: Error) -> SourceError {
        SourceError::Read { input: self.text.clone(), cause: FfmpegError::new(cause) }
    }

    fn open_error(&self, cause: Error) -> SourceError {
        let input = self.text.clone();
        if self.interrupt.is_set() || cause == Error::Exit {
            return SourceError::Interrupted;
        }
        let url = input.contains("://");
        match (cause, &self.input) {
            (Error::Other { errno: error::EACCES | error::EPERM }, _) => SourceError::Permission { input },
            (Error::DemuxerNotFound, Input::Device(device)) => {
                SourceError::UnknownDevice { format: device.format.clone() }
            }
            (cause, Input::Device(Device { format, name, .. })) => SourceError::Device {
                format: format.clone(),
                device: name.clone(),
                cause: FfmpegError::new(cause),
            },
            (Error::Other { errno: error::ENOENT } | Error::ProtocolNotFound, Input::Url { .. }) if !url => {
                SourceError::Missing { input }
            }
            (Error::InvalidData | Error::Eof | Error::Other { errno: error::EISDIR }, _) => {
                SourceError::NotMedia { input }
            }
            (cause, _) => SourceError::Open { input, cause: FfmpegError::new(cause) },
        }
    }
}

fn open_context(opening: &Opening) -> Result<Context, SourceError> {
    let interrupt = &opening.interrupt;
    // A line that an earlier failure left must not be taken for this one's.
    drop(ffi::take_last_log());
    let mut options = Dictionary::new();
    // Derives missing presentation times from the decoding times that follow; leaves given ones alone.
    options.set("fflags", "+genpts");
    let opened = match &opening.input {
        Input::Stdin => open_stdin(interrupt, options),
        Input::Url { url, options: own, live } => {
            own.iter().for_each(|(key, value)| options.set(key, value));
            if *live || opening.prompt {
                // Microseconds of media to look at: a viewer should not wait the 5 s of ffmpeg's default.
                options.set("analyzeduration", "1000000");
            }
            if opening.prompt {
                // Microseconds without a byte, also for the parts of a playlist.
                options.set("rw_timeout", "5000000");
            }
            ffi::open_input(url, None, options, interrupt)
        }
        Input::Device(device) => {
            ffi::load_devices().map_err(|(library, cause)| SourceError::NoDevices { library, cause })?;
            // A device tells its rate; nothing has to be measured.
            options.set("fpsprobesize", "0");
            device.options.iter().for_each(|(key, value)| options.set(key, value));
            ffi::open_input(&device.name, Some(&device.format), options, interrupt)
        }
    };
    opened.map_err(|cause| opening.open_error(cause))
}

fn open_stdin(interrupt: &Interrupt, options: Dictionary<'_>) -> Result<Context, Error> {
    let stdin = duplicate(std::io::stdin()).map_err(|_| Error::Other { errno: error::EBADF })?;
    let stream = StreamIo::from_read(Stoppable::new(stdin, interrupt.clone()))?;
    let stop = interrupt.clone();
    format::input_from_stream_with_interrupt(stream, None, Some(options), move || stop.is_set())
}
