//! What goes into a node and what comes out: the whole contract between the core and its driver.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::catalogue::{AccessUnit, Catalogue, TrackId};
use crate::ids::{Epoch, GroupId, MediaTime, Now, PathId, PeerId, StreamHandle, StreamKey, WallClock};

/// Everything that can happen to a node. One call of [`super::Node::handle`] takes one.
#[derive(Clone, Debug)]
pub enum Input {
    /// The time that `poll_timeout` named has come. Harmless when early.
    Timeout,
    /// The driver woke late by this much; nobody else is charged for that time.
    Stalled(Duration),
    /// Wall clock against `now`; given at the start, and when the clock was set.
    WallClock(WallClock),
    /// A peer was found, or named by the user.
    Sighted(Sighting),
    /// A discovered peer withdrew its record.
    Vanished(PeerId),
    /// A session with a peer is up.
    Connected {
        /// Its number, never used before.
        path: PathId,
        /// Who is there, as the transport authenticated it.
        peer: PeerId,
        /// Whether this node dialled.
        dialed: bool,
        /// Where the peer was seen, so that it can be introduced to others; `None` behind a relay.
        remote: Option<SocketAddr>,
        /// Largest datagram payload in bytes that the path carries.
        datagram_bytes_max: usize,
    },
    /// A session that `Action::Connect` asked for did not come up.
    ConnectFailed {
        /// Whom it should have reached.
        peer: PeerId,
        /// Why not.
        why: ConnectError,
    },
    /// A session ended.
    Disconnected {
        /// Which.
        path: PathId,
    },
    /// One whole message of the session's reliable stream.
    Control {
        /// The session it came by.
        path: PathId,
        /// The message, without its length prefix; at most [`CONTROL_BYTES_MAX`].
        message: Bytes,
    },
    /// One datagram.
    Datagram {
        /// The path it came by.
        path: PathId,
        /// All of it.
        datagram: Bytes,
    },
    /// What the transport measured on a path; about every 50 ms while the path is in use.
    PathSample {
        /// The path.
        path: PathId,
        /// The figures.
        sample: PathSample,
    },
    /// A command of the embedder.
    Command(Command),
}

/// Largest message on a session's reliable stream: a catalogue with 32 tracks of ordinary parameters.
pub const CONTROL_BYTES_MAX: usize = 64 << 10;

/// What the embedder asks of a node.
#[derive(Clone, Debug)]
pub enum Command {
    /// Starts a stream; answered by [`Event::Published`].
    Publish(Box<Publication>),
    /// Sends one access unit. Invalid units are dropped and counted.
    Send {
        /// The publication.
        stream: StreamHandle,
        /// What to send.
        unit: AccessUnit,
        /// Whether another unit is already waiting behind this one, so that a block may wait for it.
        more: bool,
    },
    /// Ends a publication: tells everybody the last fragment, and lingers until they have it, at most 5 s.
    End {
        /// The publication.
        stream: StreamHandle,
    },
    /// Subscribes to a stream by name; answered by events.
    Subscribe(Box<Subscription>),
    /// Ends a subscription; answered by one [`Event::Closed`].
    Unsubscribe {
        /// The subscription.
        stream: StreamHandle,
    },
}

/// How a stream is published.
#[derive(Clone)]
pub struct Publication {
    /// Number under which events and commands speak of it; chosen by the embedder, unique in the node.
    pub handle: StreamHandle,
    /// What it is made of.
    pub catalogue: Catalogue,
    /// Ed25519 seed of the stream key.
    pub key_seed: [u8; 32],
    /// This run's epoch, already stored where the next run finds it.
    pub epoch: Epoch,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication")
            .field("handle", &self.handle)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What is watched, and how patiently.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Number under which events and commands speak of it; chosen by the embedder, unique in the node.
    pub handle: StreamHandle,
    /// The stream's name.
    pub name: String,
    /// The publisher, when the user pinned it.
    pub publisher: Option<StreamKey>,
    /// How long after its close time at the publisher a block may still be waited for (50 ms to 60 s).
    pub playout_delay: Duration,
}

/// A peer that may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its transport key.
    pub peer: PeerId,
    /// Where it can be reached; may be empty when the transport knows by itself.
    pub addresses: Vec<SocketAddr>,
    /// The group it says it belongs to; `None` when the user named the peer.
    pub group: Option<GroupId>,
    /// Whether the user named it: always dialled, and again when lost.
    pub manual: bool,
    /// Names of the streams that it publishes itself, as announced: a hint that orders dialling, nothing more.
    pub publishes: Vec<String>,
}

/// What the transport knows of a path, cumulative since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathSample {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Smallest round-trip time of late.
    pub rtt_min: Duration,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that the transport declared lost.
    pub packets_lost: u64,
    /// Bytes that the transport holds unsent.
    pub bytes_queued: u64,
    /// Largest datagram payload now; grows with path-MTU discovery.
    pub datagram_bytes_max: usize,
}

/// Why a session did not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing answered within the time limit.
    #[error("no answer")]
    TimedOut,
    /// Something answered that refused.
    #[error("refused")]
    Refused,
    /// No route, or no address at all.
    #[error("unreachable")]
    Unreachable,
}

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

/// Why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The publisher ended the stream and its last fragment was delivered.
    Ended,
    /// The caller ended the subscription.
    Local,
    /// More than one key publishes under the name.
    Refused,
}

/// A run of datagrams for one path, as [`super::Node::fill`] returns it.
#[derive(Debug, Default)]
pub struct Batch {
    /// The datagrams in sending order; each is shared with the window, not copied.
    pub datagrams: Vec<Bytes>,
}
