//! What comes out of a monitor.

use std::time::Duration;

use super::{CloseCause, ControlPlane, PathCause, PathKind, PathVerdict, Reason, Verdict};
use crate::ids::PathId;

/// What a node is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Challenges the publisher through all neighbours that carry the stream.
    Challenge,
    /// Probes the publisher's TCP port; a peer's that was sighted when there is no publisher so far.
    Probe,
    /// Joins the multicast group again.
    Rejoin(PathId),
    /// Has the neighbours push again.
    ResumeMesh,
    /// Tells the neighbours not to push.
    ParkMesh,
    /// Asks the publisher to push all stripes, from the first block that is missing.
    StartUnicast,
    /// Lets the publisher go, neighbours asked before.
    StopUnicast,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The verdict on the stream. With `from` equal to `to`, a reason that could not be told before is known.
    Verdict { from: Verdict, to: Verdict, reason: Option<Reason>, since_last_fragment: Option<Duration> },
    /// The path in use.
    Path { from: PathKind, to: PathKind, cause: PathCause },
    /// Another path should be in use, and that is left to the caller, or was refused.
    PathDue { from: PathKind, to: PathKind, cause: PathCause },
    /// The verdict on a path.
    PathVerdict { path: PathKind, from: PathVerdict, to: PathVerdict, reason: Option<Reason> },
    /// The state of the control plane.
    ControlPlane(ControlPlane),
    /// The node is to do something.
    Wish(Wish),
    /// The subscription is over; nothing follows.
    Close(CloseCause),
}

/// Returns a part of a time that `seed` chooses (the finalizer of SplitMix64, Steele et al. 2014).
pub(crate) fn scatter(seed: u64, most: Duration) -> Duration {
    let mut mixed = seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    Duration::from_micros(mixed.checked_rem(most.as_micros() as u64 + 1).unwrap_or(0))
}
