//! Health: what is known of a stream, a subscription and each path, and why.

mod carrier;
mod change;
mod closure;
mod control_plane;
mod evidence;
mod machine;
mod monitor;
mod path;
mod paths;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::change::{Change, Wish, scatter};
pub(crate) use self::evidence::{Neighbours, Word};
pub use self::machine::{Machine, machines};
pub(crate) use self::monitor::Monitor;
pub(crate) use self::paths::{Paths, Via};
use crate::ids::{MediaTime, Now};

/// State of a stream as a viewer sees it, driven by delivered fragments alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Nothing was delivered so far.
    #[default]
    Joining,
    /// Verified fragments arrive, and all of them in time.
    Live,
    /// They arrive, and some are missing at their deadline.
    Degraded,
    /// None has arrived for half a second, and the publisher has not said that it pauses.
    Starved,
    /// None has arrived for five seconds.
    Dead,
    /// The publisher lives and has nothing to send.
    Paused,
    /// The publisher ended the stream.
    Ended,
}

/// One way by which a subscription gets its media, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathKind {
    /// IP multicast, repaired by the mesh.
    Multicast,
    /// Pushed and pulled among neighbours.
    Mesh,
    /// Pushed whole by the publisher.
    Unicast,
    /// A URL outside of the swarm, which the caller opens.
    Foreign,
}

/// State of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathVerdict {
    /// It is not used.
    #[default]
    Off,
    /// It was asked for, and has not delivered so far.
    Joining,
    /// It would deliver: beacons or have-maps come, and no media is to be expected, since it is parked, the publisher
    /// sends beacons only, or the whole stream is silent.
    Standby,
    /// Verified fragments come by it.
    Delivering,
    /// It was delivering, and is silent while another path advances: the network is at fault, not the source.
    Silent,
    /// It delivers less than it should.
    Lossy,
    /// It was refused.
    Refused,
}

/// Whether the services that find peers are there; says nothing of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ControlPlane {
    /// Nobody was found so far.
    #[default]
    Searching,
    /// At least one neighbour is there.
    Up,
    /// All neighbours are gone.
    Lost,
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Neighbours or the publisher's host answer, nobody advances, and the publisher does not answer a direct probe.
    PublisherGone,
    /// Neighbours are there, and none carries a stream of that name.
    NoSuchStream,
    /// No session came up.
    NoReachablePeers {
        /// Peers that were tried.
        attempted: u32,
        /// What the last of them met.
        why: Unreached,
    },
    /// All neighbours fell silent at once while an interface is up.
    PartitionedLocal,
    /// This process or host was too slow: the time is charged to nobody else.
    Overrun,
    /// No interface of this host is up.
    NetworkDown,
    /// Multicast brings nothing on this interface while another path advances.
    MulticastBlocked {
        /// The interface.
        interface: Arc<str>,
    },
    /// Multicast fell silent on this interface and came back by joining again: membership queries do not arrive.
    QuerierTimeoutSuspected {
        /// The interface.
        interface: Arc<str>,
    },
    /// A peer answers by TCP and not by UDP, or the system forbids to send.
    UdpBlocked,
    /// What arrives fails verification.
    AuthFailures,
    /// More is lost than repair makes good.
    ExcessLoss,
    /// The evidence fits several reasons.
    Undetermined {
        /// Those that are left.
        candidates: Vec<Reason>,
    },
}

/// What the attempts to reach peers met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreached {
    /// Nobody was found to be tried.
    NobodyFound,
    /// Nobody answered.
    NoAnswer,
    /// Somebody refused.
    Refused,
    /// There is no route.
    NoRoute,
}

/// Why delivery goes over to another path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathCause {
    /// The first path of a subscription.
    Started,
    /// A better path has delivered cleanly for the hold-down.
    Healed,
    /// Multicast fell silent while another path advances.
    MulticastSilent {
        /// The interface.
        interface: Arc<str>,
    },
    /// Multicast loses more than 15 %.
    MulticastLossy {
        /// The interface.
        interface: Arc<str>,
    },
    /// The buffer fell below half the playout delay.
    BufferLow,
    /// The publisher refused: all of its places for unicast are taken.
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// No session with the publisher can be had.
    Unreachable,
    /// The caller asked for it.
    Asked,
    /// The caller's own source failed or ended.
    ForeignFailed,
}

/// Why a subscription ended; exactly one of them closes each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The publisher ended the stream and its last fragment was delivered.
    Ended,
    /// The stream is dead.
    Dead(Reason),
    /// The caller ended the subscription.
    Local,
    /// More than one key publishes under the name.
    Refused,
}

/// Who decides on fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FallbackPolicy {
    /// The engine goes down and up between the paths by itself.
    #[default]
    Auto,
    /// Multicast and mesh repair each other; unicast and the foreign URL wait for [`crate::node::Command::Fall`].
    Manual,
    /// Multicast and mesh only.
    Off,
}

/// Published health: a value that says until when it may be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// State of the stream.
    pub verdict: Verdict,
    /// Why, unless all is well.
    pub reason: Option<Reason>,
    /// Where the media comes from.
    pub path: PathKind,
    /// State of the multicast path.
    pub multicast: PathVerdict,
    /// State of the mesh.
    pub mesh: PathVerdict,
    /// State of unicast from the publisher.
    pub unicast: PathVerdict,
    /// State of the control plane.
    pub control_plane: ControlPlane,
    /// Media time of the last access unit delivered.
    pub last_media: Option<MediaTime>,
    /// When the last verified fragment that was of use arrived.
    pub last_fragment: Option<Now>,
    /// Time left until playout runs dry.
    pub buffer: Duration,
    /// When this value is out of date: whoever reads it later computes [`Reason::Overrun`] himself.
    pub valid_until: Now,
}

impl Health {
    /// How long a published value may be believed; a driver that does not renew it by then has stalled.
    pub const VALIDITY: Duration = Duration::from_millis(500);

    /// Returns the value as it must be read at `now`: out of date, it says that this process was too slow. What was
    /// not playing is not said to be playing by that, and what has ended stays so.
    pub fn at(mut self, now: Now) -> Self {
        if now <= self.valid_until || matches!(self.verdict, Verdict::Ended | Verdict::Dead) {
            return self;
        }
        self.reason = Some(Reason::Overrun);
        if self.verdict != Verdict::Joining {
            self.verdict = Verdict::Starved;
        }
        self
    }
}
