//! What comes out of a node: the other half of the contract between the core and its driver.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::catalogue::{AccessUnit, Catalogue, TrackId};
use crate::health::{CloseCause, ControlPlane, PathCause, PathKind, PathVerdict, Reason, Verdict};
use crate::ids::{ChannelId, Epoch, MediaTime, Now, PathId, PeerId, StreamHandle, StreamKey};
use crate::multicast::MulticastGroup;

/// What the driver is asked to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Opens a session with a peer.
    Connect {
        /// Whom.
        peer: PeerId,
        /// Where.
        addresses: Vec<SocketAddr>,
    },
    /// Sends one message on a session's reliable stream, in order.
    Control {
        /// The session.
        path: PathId,
        /// The message, without length prefix.
        message: Bytes,
    },
    /// Closes a session.
    Disconnect {
        /// The session.
        path: PathId,
    },
    /// Replaces what this node announces on the LAN.
    Announce(Announcement),
    /// Joins a group on each interface: the first of `groups` whose family the interface has. Each is answered by
    /// `Input::MulticastUp`, also for interfaces that come up later.
    OpenMulticast {
        /// Number under which it is spoken of.
        channel: ChannelId,
        /// The same stream's groups, best first.
        groups: Vec<MulticastGroup>,
    },
    /// Leaves the group on an interface and joins it again, so that switches and routers hear of it.
    RejoinMulticast {
        /// The path.
        path: PathId,
    },
    /// Leaves a channel's groups everywhere; its paths are over without further word.
    CloseMulticast {
        /// The channel.
        channel: ChannelId,
    },
    /// Finds out whether a peer's host and node answer, by its TCP port; answered by `Input::Probed` within 1 s.
    Probe {
        /// Whom.
        peer: PeerId,
        /// Where.
        addresses: Vec<SocketAddr>,
    },
}

/// What a node tells the LAN of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Names of streams published here.
    pub publishes: Vec<String>,
    /// Names of streams watched here.
    pub watches: Vec<String>,
}

/// What a node tells its embedder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A publication runs.
    Published {
        /// The publication.
        stream: StreamHandle,
        /// Its identity.
        key: StreamKey,
    },
    /// A publication has ended and lingers no longer.
    Unpublished {
        /// The publication.
        stream: StreamHandle,
        /// Whether every neighbour had acknowledged the last fragment.
        complete: bool,
    },
    /// A publication lost its name to a newer run with the same key, and is over.
    BadName {
        /// The publication.
        stream: StreamHandle,
        /// The epoch that took over.
        newer: Epoch,
    },
    /// The stream was found, its publisher is pinned, and its catalogue verified. Precedes every access unit.
    Opened {
        /// The subscription.
        stream: StreamHandle,
        /// Who publishes.
        key: StreamKey,
        /// Which run.
        epoch: Epoch,
        /// What it is made of.
        catalogue: Catalogue,
    },
    /// Two or more keys publish under the name; the subscription is closed, the caller must name one.
    Ambiguous {
        /// The subscription.
        stream: StreamHandle,
        /// All keys found.
        keys: Vec<StreamKey>,
    },
    /// One access unit, verified, opened and in order.
    AccessUnit {
        /// The subscription.
        stream: StreamHandle,
        /// What the publisher sent.
        unit: AccessUnit,
        /// When it should be presented, on this node's clock.
        due: Now,
        /// Close time of its block on the publisher's clock, in microseconds since its epoch began.
        closed: Duration,
    },
    /// Access units are missing and will not come.
    Gap {
        /// The subscription.
        stream: StreamHandle,
        /// The track that skips to its next random-access point; `None` when it concerns all.
        track: Option<TrackId>,
        /// Media time of the last access unit before.
        from: MediaTime,
        /// Media time of the first access unit behind.
        to: MediaTime,
        /// Why.
        cause: GapCause,
    },
    /// The publisher was restarted; what follows belongs to the new run and opens with `Opened`.
    Reset {
        /// The subscription.
        stream: StreamHandle,
        /// The run that ended.
        old: Epoch,
        /// The run that follows.
        new: Epoch,
    },
    /// The verdict on a subscription's stream changed.
    Verdict {
        /// The subscription.
        stream: StreamHandle,
        /// What it was.
        from: Verdict,
        /// What it is.
        to: Verdict,
        /// Why, unless all is well.
        reason: Option<Reason>,
        /// Where the media came from.
        path: PathKind,
        /// Media time of the last access unit delivered.
        last_media: Option<MediaTime>,
        /// Time since the last verified fragment that was of use.
        since_last_fragment: Option<Duration>,
    },
    /// Delivery goes over to another path, or has to ([`PathKind::Foreign`]: the caller plays its own source now).
    Path {
        /// The subscription.
        stream: StreamHandle,
        /// What it came by.
        from: PathKind,
        /// What it comes by.
        to: PathKind,
        /// Why.
        cause: PathCause,
        /// Media time of the last access unit delivered: a foreign source begins behind it.
        last_media: Option<MediaTime>,
    },
    /// Delivery should go over to another path, and the policy leaves that to the caller
    /// ([`crate::node::Command::Fall`]), or it was refused.
    PathDue {
        /// The subscription.
        stream: StreamHandle,
        /// What it comes by.
        from: PathKind,
        /// What it should come by.
        to: PathKind,
        /// Why.
        cause: PathCause,
        /// Media time of the last access unit delivered.
        last_media: Option<MediaTime>,
    },
    /// The state of one path changed; delivery may go on by it all the same.
    PathVerdict {
        /// The subscription.
        stream: StreamHandle,
        /// Which path.
        path: PathKind,
        /// What it was.
        from: PathVerdict,
        /// What it is.
        to: PathVerdict,
        /// Why, unless all is well.
        reason: Option<Reason>,
    },
    /// The services that find peers came or went; says nothing of the stream.
    ControlPlane {
        /// The subscription.
        stream: StreamHandle,
        /// What it is.
        to: ControlPlane,
    },
    /// The subscription is over; nothing follows.
    Closed {
        /// The subscription.
        stream: StreamHandle,
        /// Why.
        cause: CloseCause,
    },
    /// A session with a peer of the group is up.
    NeighbourUp {
        /// The peer.
        peer: PeerId,
        /// Its session.
        path: PathId,
    },
    /// A session with a peer is over.
    NeighbourDown {
        /// The peer.
        peer: PeerId,
        /// Its session.
        path: PathId,
    },
}

/// Why access units are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// They did not come within the playout delay.
    Late,
    /// Senders shed them, since the path carries less than the stream's rate.
    Shed,
}

/// A run of datagrams for one path, as [`super::Node::fill`] returns it.
#[derive(Debug, Default)]
pub struct Batch {
    /// The datagrams in sending order; each is shared with the window, not copied.
    pub datagrams: Vec<Bytes>,
}
