//! Small programs that embed Swarmcast, each in one file under `src/bin`:
//!
//! - `health` watches a stream and prints how it fares.
