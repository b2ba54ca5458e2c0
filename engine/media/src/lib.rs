//! Capture, demux, encode and mux through ffmpeg and opus.
//!
//! A [`Source`] turns any input that ffmpeg can open (file, URL, stdin, capture device) into tracks and access
//! units; a [`Sink`] turns those back into any output that ffmpeg can write. What is already encoded passes through
//! untouched: payload, timestamps, flags and codec data. Only raw capture is encoded, to H.264 and Opus. A [`Player`]
//! decodes access units and gives pictures and sound to whoever shows them, each at its time.
//!
//! All calls block and belong on threads of the caller's; an [`Interrupt`] makes them return promptly.
//!
//! ```no_run
//! use swarmcast_media::{Sink, SinkConfig, Source, SourceConfig};
//!
//! let mut source = Source::open(SourceConfig { paced: false, ..SourceConfig::new("clip.mkv") })?;
//! let mut sink = Sink::open(SinkConfig::new("copy.mp4"), source.tracks())?;
//! while let Some(unit) = source.next()? {
//!     sink.write(&unit)?;
//! }
//! sink.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod capture;
mod demux;
mod devices;
mod error;
mod ffi;
mod input;
mod interrupt;
mod lane;
mod nal;
mod parameters;
mod play;
mod sink;
mod source;
mod stdio;
mod timeline;

pub use devices::{CaptureDevice, CaptureFormat, DeviceKind, devices};
pub use error::{FfmpegError, SinkError, SourceError};
pub use interrupt::Interrupt;
pub use parameters::{CodecParameters, Medium, ParametersError};
pub use play::{Picture, Plane, PlayConfig, PlayError, PlayStats, Player, Screen, Speaker};
pub use sink::{Sink, SinkConfig, SinkCounts};
pub use source::{
    CaptureDelay, Connection, Connections, PictureConfig, RenditionConfig, Source, SourceConfig, data_track,
};
