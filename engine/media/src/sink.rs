//! The sink: access units into a file, a pipe or a URL, or nowhere.

use ffmpeg_next::format::context::{Output, StreamIo};
use ffmpeg_next::{Dictionary, Error, Packet, Rational, Rescale, codec, error, format};
use swarmcast_core::catalogue::{AccessUnit, TimeBase, Track, TrackId, TrackKind};

use crate::error::{FfmpegError, SinkError};
use crate::ffi::{self, Interruptible};
use crate::interrupt::Interrupt;
use crate::parameters::{CodecParameters, ParametersError};
use crate::stdio::Stoppable;

/// Where to write.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// File, URL, or `-` for MPEG-TS on stdout.
    pub output: String,
    /// ffmpeg's name of the format, by the output's extension or protocol when none; `null` only counts.
    pub format: Option<String>,
    /// Makes the calls return.
    pub interrupt: Interrupt,
}

impl SinkConfig {
    /// Makes the configuration for `output`, in the format that its name tells.
    pub fn new(output: impl Into<String>) -> Self {
        Self { output: output.into(), format: None, interrupt: Interrupt::new() }
    }

    /// Makes the configuration of a sink that counts and writes nothing.
    pub fn headless() -> Self {
        Self { format: Some(HEADLESS.to_owned()), ..Self::new("") }
    }
}

/// What a sink has taken, left-out tracks not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Access units written.
    pub access_units: u64,
    /// Their payload, in bytes.
    pub bytes: u64,
}

/// An open output. Blocks while its reader is slow; belongs on a thread of its own.
///
/// Timestamps are converted from the tracks' time bases to the container's, as `ffmpeg -c copy` does. Matroska keeps
/// them as they are, MP4 begins at zero, MPEG-TS adds its usual lead. What is written survives a kill but for the last
/// second. Call [`Sink::finish`] at the end; a sink that is dropped leaves what a kill would leave.
pub struct Sink {
    config: SinkConfig,
    muxer: Option<Interruptible<Output>>,
    lanes: Vec<Lane>,
    left_out: Vec<TrackId>,
    counts: SinkCounts,
}

/// One track's stream in the output.
struct Lane {
    id: TrackId,
    index: usize,
    from: TimeBase,
    /// Last decoding time written, in the container's time base.
    last: Option<i64>,
    /// Least distance of the container's decoding times.
    step: i64,
    /// What to add to timestamps for the container, in its time base.
    offset: i64,
}

/// Name of the format that writes nothing.
const HEADLESS: &str = "null";

/// Longest that a unit waits for those of other tracks to be ordered with, in microseconds.
const INTERLEAVE_MICROS: &str = "200000";

/// Longest run of media that a kill loses, in milliseconds: what Matroska and MP4 hold back to index it.
const HELD_BACK_MILLIS: u32 = 500;

/// How far MPEG-TS timestamps are ahead of its clock, in microseconds: a player's room to buffer.
const TS_LEAD_MICROS: &str = "200000";

impl Sink {
    /// Creates the output and writes its header. Data tracks are left out, and so are subtitles that the container
    /// cannot hold.
    ///
    /// # Errors
    /// [`SinkError`] tells what is wrong with the output or the tracks and what to do.
    pub fn open(config: SinkConfig, tracks: &[Track]) -> Result<Self, SinkError> {
        ffi::init();
        let mut sink = Self {
            config,
            muxer: None,
            lanes: Vec::new(),
            left_out: Vec::new(),
            counts: SinkCounts::default(),
        };
        if sink.config.format.as_deref() == Some(HEADLESS) {
            sink.lanes = tracks.iter().map(|track| Lane::new(track, 0)).collect();
            return Ok(sink);
        }
        // All that can be known to fail is known before a file is created or cut to nothing.
        let described = describe(tracks)?;
        let format = sink.format()?;
        let mut muxer = sink.create(&format)?;
        let mut written = Vec::new();
        for (track, parameters, built) in &described {
            if !held(&muxer.context, &format, track, built) {
                if track.kind != TrackKind::Subtitle {
                    return Err(SinkError::NotHeld { format, codec: track.codec.clone() });
                }
                sink.left_out.push(track.id);
                continue;
            }
            let time_base = (signed(track.time_base.numerator), signed(track.time_base.denominator));
            let added = ffi::add_stream(&mut muxer.context, built, parameters, time_base);
            let index = added.map_err(|cause| sink.begin_error(cause))?;
            if let Some(mut stream) =
                muxer.context.stream_mut(index).filter(|_| !parameters.language.is_empty())
            {
                stream.set_metadata(Dictionary::from_iter([("language", parameters.language.as_str())]));
            }
            sink.lanes.push(Lane::new(track, index));
            written.push(parameters);
        }
        let data = tracks.iter().filter(|track| track.kind == TrackKind::Data);
        sink.left_out.extend(data.map(|track| track.id));
        if sink.lanes.is_empty() {
            return Err(SinkError::NoTracks { format });
        }
        let options = options(&format, &described);
        let begun = muxer.context.write_header_with(options).map(drop);
        begun.map_err(|cause| sink.begin_error(cause))?;
        ffi::allow_filters(&mut muxer.context);
        let step = i64::from(ffi::dts_must_rise(&muxer.context));
        for (lane, parameters) in sink.lanes.iter_mut().zip(&written) {
            lane.step = step;
            let stream = muxer.context.stream(lane.index);
            lane.offset = stream.map_or(0, |stream| codec_delay(&format, parameters, stream.time_base()));
        }
        sink.muxer = Some(muxer);
        Ok(sink)
    }

    /// Writes one access unit; those of left-out tracks are passed over.
    ///
    /// # Errors
    /// [`SinkError::Closed`], [`SinkError::Write`] and [`SinkError::Interrupted`] end the sink;
    /// [`SinkError::UnknownTrack`] concerns this access unit alone.
    pub fn write(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == unit.track) else {
            let known = self.left_out.contains(&unit.track);
            return if known { Ok(()) } else { Err(SinkError::UnknownTrack { track: unit.track.0 }) };
        };
        if unit.payload.is_empty() {
            return Ok(());
        }
        if let Some(muxer) = &mut self.muxer {
            let Some(stream) = muxer.context.stream(lane.index) else {
                return Err(SinkError::UnknownTrack { track: unit.track.0 });
            };
            let packet = lane.packet(unit, stream.time_base());
            let written = packet.write_interleaved(&mut muxer.context);
            written.map_err(|cause| self.write_error(cause))?;
        }
        self.counts.access_units += 1;
        self.counts.bytes += unit.payload.len() as u64;
        Ok(())
    }

    /// Completes the output: writes what waits, and the index where the format has one.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn finish(mut self) -> Result<SinkCounts, SinkError> {
        if let Some(mut muxer) = self.muxer.take() {
            muxer.context.write_trailer().map_err(|cause| self.write_error(cause))?;
        }
        Ok(self.counts)
    }

    /// Returns what has been taken so far.
    pub fn counts(&self) -> SinkCounts {
        self.counts
    }

    /// Returns the tracks that the container cannot hold and that are passed over.
    pub fn left_out(&self) -> &[TrackId] {
        &self.left_out
    }

    /// Returns ffmpeg's name of the format to write.
    fn format(&self) -> Result<String, SinkError> {
        let output = &self.config.output;
        let protocol = output.split_once("://").map(|(protocol, _)| protocol);
        let format = match (&self.config.format, protocol) {
            (Some(format), _) => Some(format.clone()),
            (None, _) if output == "-" => Some("mpegts".to_owned()),
            (None, Some("udp" | "srt" | "rist" | "tcp")) => Some("mpegts".to_owned()),
            (None, Some("rtmp" | "rtmps" | "rtmpt")) => Some("flv".to_owned()),
            (None, Some("rtsp" | "rtsps")) => Some("rtsp".to_owned()),
            (None, _) => ffi::format_by_name(output),
        };
        format.ok_or_else(|| SinkError::UnknownFormat { output: output.clone() })
    }

    fn create(&self, format: &str) -> Result<Interruptible<Output>, SinkError> {
        drop(ffi::take_last_log());
        let SinkConfig { output, interrupt, .. } = &self.config;
        let created = if output == "-" {
            open_stdout(format, interrupt)
        } else {
            // A colon in a file's name would else be taken for the end of a protocol's.
            let url = if output.contains("://") { output.clone() } else { format!("file:{output}") };
            ffi::open_output(&url, format, interrupt)
        };
        created.map_err(|cause| match cause {
            _ if interrupt.is_set() => SinkError::Interrupted,
            Error::MuxerNotFound => SinkError::UnknownFormat { output: output.clone() },
            cause => SinkError::Unwritable { output: output.clone(), cause: FfmpegError::new(cause) },
        })
    }

    fn begin_error(&self, cause: Error) -> SinkError {
        match cause {
            _ if self.config.interrupt.is_set() => SinkError::Interrupted,
            cause => SinkError::Begin { output: self.config.output.clone(), cause: FfmpegError::new(cause) },
        }
    }

    fn write_error(&self, cause: Error) -> SinkError {
        let output = self.config.output.clone();
        match cause {
            _ if self.config.interrupt.is_set() => SinkError::Interrupted,
            Error::Other { errno: error::EPIPE | error::ECONNRESET } => SinkError::Closed { output },
            cause => SinkError::Write { output, cause: FfmpegError::new(cause) },
        }
    }
}

impl Lane {
    fn new(track: &Track, index: usize) -> Self {
        Self { id: track.id, index, from: track.time_base, last: None, step: 0, offset: 0 }
    }

    /// Makes the packet, its timestamps converted and mended as `ffmpeg -c copy` does.
    fn packet(&mut self, unit: &AccessUnit, to: Rational) -> Packet {
        let mut packet = Packet::copy(&unit.payload);
        packet.set_stream(self.index);
        packet.set_dts(Some(unit.dts));
        packet.set_pts(Some(unit.pts));
        packet.set_duration(i64::from(unit.duration));
        packet.rescale_ts((signed(self.from.numerator), signed(self.from.denominator)), to);
        let offset = |stamp: Option<i64>| stamp.unwrap_or(0).saturating_add(self.offset);
        let (mut dts, mut pts) = (offset(packet.dts()), offset(packet.pts()));
        if pts < dts {
            // The middle one of both and the next to be expected.
            let mut three = [pts, dts, self.last.map_or(dts, |last| last.saturating_add(1))];
            three.sort_unstable();
            (dts, pts) = (three[1], three[1]);
        }
        if let Some(least) = self.last.map(|last| last.saturating_add(self.step)).filter(|&least| dts < least)
        {
            dts = least;
            pts = pts.max(least);
        }
        self.last = Some(dts);
        packet.set_dts(Some(dts));
        packet.set_pts(Some(pts));
        if unit.key {
            packet.set_flags(codec::packet::Flags::KEY);
        }
        packet
    }
}

type Described<'a> = (&'a Track, CodecParameters, codec::Parameters);

/// Decodes the codec parameters of all tracks but data.
fn describe(tracks: &[Track]) -> Result<Vec<Described<'_>>, SinkError> {
    let media = tracks.iter().filter(|track| track.kind != TrackKind::Data);
    let described = media.map(|track| {
        let error = |cause| SinkError::Parameters { track: track.id.0, cause };
        let TimeBase { numerator, denominator } = track.time_base;
        if ![numerator, denominator].iter().all(|part| (1..=i32::MAX as u32).contains(part)) {
            return Err(error(ParametersError::Field("time base")));
        }
        let parameters = CodecParameters::decode(&track.parameters).map_err(error)?;
        let built = ffi::build_parameters(&parameters).map_err(error)?;
        Ok((track, parameters, built))
    });
    described.collect()
}

/// Returns whether a container can hold a track so that a player finds it.
fn held(output: &Output, format: &str, track: &Track, parameters: &codec::Parameters) -> bool {
    // ffmpeg writes any codec into MPEG-TS, but what is not registered there (ISO/IEC 13818-1 and ATSC, DVB) comes out
    // as private data that no player knows.
    const MPEGTS: [&str; 17] = [
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "h264",
        "hevc",
        "vc1",
        "dirac",
        "mp2",
        "mp3",
        "aac",
        "aac_latm",
        "ac3",
        "eac3",
        "dts",
        "truehd",
        "opus",
        "dvb_subtitle",
    ];
    match format {
        "mpegts" => MPEGTS.contains(&track.codec.as_str()),
        _ => ffi::holds(output, parameters).unwrap_or(track.kind != TrackKind::Subtitle),
    }
}

/// Returns the muxer's options: write out soon, so that a kill loses little, and leave timestamps alone.
fn options(format: &str, described: &[Described<'_>]) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("flush_packets", "1");
    options.set("max_interleave_delta", INTERLEAVE_MICROS);
    match format {
        "matroska" | "webm" => {
            options.set("avoid_negative_ts", "disabled");
            options.set("cluster_time_limit", &HELD_BACK_MILLIS.to_string());
        }
        "mp4" | "mov" | "ismv" | "3gp" | "3g2" | "ipod" | "f4v" => {
            // AAC as MPEG-TS has it brings its codec data with the first unit: only then can the index be written.
            let late = described
                .iter()
                .any(|(_, parameters, _)| parameters.codec == "aac" && parameters.extradata.is_empty());
            let flags = "+frag_keyframe+empty_moov+default_base_moof";
            options.set("movflags", &format!("{flags}{}", if late { "+delay_moov" } else { "" }));
            options.set("frag_duration", &(HELD_BACK_MILLIS * 1_000).to_string());
        }
        "mpegts" => options.set("max_delay", TS_LEAD_MICROS),
        _ => {}
    }
    options
}

/// Returns what Matroska's `CodecDelay` takes off timestamps when they are read.
///
/// ffmpeg up to 5 (libavformat 59) writes the element for Opus without adding the same to the timestamps.
fn codec_delay(format: &str, parameters: &CodecParameters, time_base: Rational) -> i64 {
    let forgotten = format::version() >> 16 < 60 && matches!(format, "matroska" | "webm");
    if !forgotten || parameters.codec != "opus" {
        return 0;
    }
    i64::from(parameters.initial_padding).rescale((1, 48_000), time_base)
}

fn open_stdout(format: &str, interrupt: &Interrupt) -> Result<Interruptible<Output>, Error> {
    let stdout = Stoppable::output(std::io::stdout(), interrupt.clone());
    let stream = StreamIo::from_write(stdout.map_err(|_| Error::Other { errno: error::EBADF })?)?;
    if ffi::format_exists(format) {
        format::output_to_stream(stream, None, Some(format)).map(Interruptible::without_callback)
    } else {
        Err(Error::MuxerNotFound)
    }
}

/// Converts a time base's part, which `describe` holds to the range.
fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
