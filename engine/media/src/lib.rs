//! Capture, demux, encode, decode and mux through ffmpeg and opus.
