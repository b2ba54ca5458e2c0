//! What can go wrong with an input or an output, each with a line that says what to do.

use std::fmt;

use crate::ffi;
use crate::parameters::ParametersError;

/// What ffmpeg answered: its error number and the last line that it logged about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FfmpegError {
    text: String,
    detail: Option<String>,
}

impl FfmpegError {
    /// Takes the last line that ffmpeg logged on this thread along with `error`.
    pub(crate) fn new(error: ffmpeg_next::Error) -> Self {
        Self { text: error.to_string(), detail: ffi::take_last_log() }
    }
}

impl fmt::Display for FfmpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for FfmpegError {}

/// Why a [`crate::Source`] cannot be opened or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such file.
    #[error("there is no file {input:?}: check the path")]
    Missing {
        /// What was asked for.
        input: String,
    },
    /// The file or device may not be read by this user.
    #[error("{input:?} may not be read: check its permissions, or run as a user who may")]
    Permission {
        /// What was asked for.
        input: String,
    },
    /// The input can be read, but ffmpeg recognises no media in it.
    #[error("{input:?} holds no media that ffmpeg recognises: give a media file, a URL or a device")]
    NotMedia {
        /// What was asked for.
        input: String,
    },
    /// The input has no audio, video or subtitle track.
    #[error("{input:?} has no audio, video or subtitle track")]
    NoTracks {
        /// What was asked for.
        input: String,
    },
    /// The input has more tracks than a stream may have.
    #[error("{input:?} has {tracks} tracks, a stream has at most {max}: remux it with fewer")]
    TooManyTracks {
        /// What was asked for.
        input: String,
        /// Tracks in it.
        tracks: usize,
        /// Most that are allowed.
        max: usize,
    },
    /// A track's codec is not known to this ffmpeg.
    #[error(
        "track {index} of {input:?} has a codec that this ffmpeg does not know: convert it, for example to h264"
    )]
    UnknownCodec {
        /// What was asked for.
        input: String,
        /// Number of the track in the input, from 0.
        index: usize,
    },
    /// A track's codec parameters cannot travel in a catalogue.
    #[error("track {index} of {input:?} cannot be published: {cause}")]
    Parameters {
        /// What was asked for.
        input: String,
        /// Number of the track in the input, from 0.
        index: usize,
        /// What is wrong with them.
        cause: ParametersError,
    },
    /// The part of ffmpeg that reads capture devices is not installed, or does not fit the rest.
    #[error("capture devices need {library}, which cannot be loaded ({cause}): install ffmpeg's libavdevice")]
    NoDevices {
        /// Name of the library's file.
        library: String,
        /// What the system's loader answered.
        cause: String,
    },
    /// This ffmpeg has no such kind of capture device.
    #[error("this ffmpeg has no {format:?} devices: `ffmpeg -devices` lists what it has")]
    UnknownDevice {
        /// The kind asked for, such as `v4l2`.
        format: String,
    },
    /// The capture device cannot be opened.
    #[error(
        "cannot open the {format} device {device:?}: {cause}; check that it is plugged in and not in use"
    )]
    Device {
        /// Its kind, such as `v4l2`.
        format: String,
        /// Its name, such as `/dev/video0`.
        device: String,
        /// What ffmpeg answered.
        cause: FfmpegError,
    },
    /// A URL cannot be opened.
    #[error("cannot open {input:?}: {cause}; check the address, and that the other side is up")]
    Open {
        /// What was asked for.
        input: String,
        /// What ffmpeg answered.
        cause: FfmpegError,
    },
    /// This ffmpeg has no such encoder of pictures.
    #[error("this ffmpeg has no video encoder {encoder:?}: `ffmpeg -encoders` lists what it has")]
    NoEncoder {
        /// Its name.
        encoder: String,
    },
    /// Several qualities were asked for, of an input without pictures.
    #[error("{input:?} has no pictures to make renditions of: leave the renditions out")]
    NoPictures {
        /// The input, as it was named.
        input: String,
    },
    /// The input cannot be read from its start again.
    #[error(
        "{input:?} cannot be looped, since it has no start to go back to: loop a file, or leave the loop out"
    )]
    NotLoopable {
        /// What was asked for.
        input: String,
    },
    /// Reading failed in mid-stream.
    #[error("reading {input:?} failed: {cause}; check the medium or the connection, and publish again")]
    Read {
        /// What was asked for.
        input: String,
        /// What ffmpeg answered.
        cause: FfmpegError,
    },
    /// A track's codec parameters changed in mid-stream, so that its catalogue holds no longer.
    #[error("a track of {input:?} changed its codec parameters on the way: publish it again")]
    Changed {
        /// What was asked for.
        input: String,
    },
    /// An access unit is larger than the stream may carry.
    #[error(
        "{input:?} holds an access unit of {bytes} bytes, at most {max} can be sent: encode it at a lower rate"
    )]
    Oversize {
        /// What was asked for.
        input: String,
        /// Its size.
        bytes: usize,
        /// Most that is allowed.
        max: usize,
    },
    /// Raw capture could not be decoded, converted or encoded.
    #[error("{input:?} cannot be encoded: {cause}; try another format or size of the device")]
    Encode {
        /// What was asked for.
        input: String,
        /// What the codec answered.
        cause: FfmpegError,
    },
    /// Raw sound could not be encoded.
    #[error("the sound of {input:?} cannot be encoded: {cause}; try another format of the device")]
    EncodeSound {
        /// What was asked for.
        input: String,
        /// What the Opus encoder answered.
        cause: String,
    },
    /// No thread could be started for a device.
    #[error("cannot start a thread to read {input:?}: raise the limit on processes")]
    Threads {
        /// What was asked for.
        input: String,
    },
    /// The caller's [`crate::Interrupt`] fired.
    #[error("stopped before the input ended")]
    Interrupted,
}

/// Why a [`crate::Sink`] cannot be opened or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// Neither the name's extension nor the format asked for is one that ffmpeg can write.
    #[error("no output format for {output:?}: end the name in .mkv, .mp4 or .ts, or name a format")]
    UnknownFormat {
        /// What was asked for.
        output: String,
    },
    /// The output cannot be created.
    #[error("cannot write to {output:?}: {cause}; check the directory, its permissions and the free space")]
    Unwritable {
        /// What was asked for.
        output: String,
        /// What ffmpeg answered.
        cause: FfmpegError,
    },
    /// A track's codec parameters cannot be understood.
    #[error("track {track} cannot be written: {cause}")]
    Parameters {
        /// Number of the track.
        track: u8,
        /// What is wrong with them.
        cause: ParametersError,
    },
    /// The container cannot hold a track's codec.
    #[error("a {format} file cannot hold {codec}: write .mkv, which holds nearly everything")]
    NotHeld {
        /// The container.
        format: String,
        /// The codec.
        codec: String,
    },
    /// No track can be written to this container.
    #[error("the stream has no track that a {format} file can hold: write .mkv")]
    NoTracks {
        /// The container.
        format: String,
    },
    /// The container refused the tracks.
    #[error("cannot begin {output:?}: {cause}; try .mkv, which holds nearly everything")]
    Begin {
        /// What was asked for.
        output: String,
        /// What ffmpeg answered.
        cause: FfmpegError,
    },
    /// Whoever read the output went away.
    #[error("the reader of {output:?} went away")]
    Closed {
        /// What was asked for.
        output: String,
    },
    /// Writing failed in mid-stream.
    #[error("writing {output:?} failed: {cause}; check the free space or the connection")]
    Write {
        /// What was asked for.
        output: String,
        /// What ffmpeg answered.
        cause: FfmpegError,
    },
    /// The access unit belongs to no track that the sink was opened with.
    #[error("access unit of unknown track {track}: open the sink with the tracks of that stream")]
    UnknownTrack {
        /// Number of the track.
        track: u8,
    },
    /// The caller's [`crate::Interrupt`] fired.
    #[error("stopped before the output was complete")]
    Interrupted,
}
