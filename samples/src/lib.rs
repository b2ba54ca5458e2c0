//! Small programs that embed Swarmcast.
