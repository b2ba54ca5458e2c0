//! Sources and sinks against the ffmpeg program, which makes the clips and judges the recordings.

mod capture;
mod clips;
mod containers;
mod errors;
mod interrupts;
mod loops;
mod passthrough;
mod renditions;
