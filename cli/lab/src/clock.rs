//! The clock that the events of every process on this machine share.

use nix::time::{ClockId, clock_gettime};

/// Reads CLOCK_MONOTONIC, in seconds: the `t` of every event.
pub fn monotonic() -> f64 {
    // The call fails only for a clock that the kernel does not have.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9)
}
