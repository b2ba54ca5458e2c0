//! Small programs that embed Swarmcast, each in one file under `src/bin`:
//!
//! - `health` watches a stream and prints how it fares;
//! - `fallback` plays a URL of its own while the stream starves.
