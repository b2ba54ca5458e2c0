//! What a subscriber is told, with the status codes that people know.

use std::time::Duration;

use swarmcast_core::catalogue::{AccessUnit, Catalogue, TrackId};
use swarmcast_core::ids::{Epoch, MediaTime, Now, StreamKey};
use swarmcast_core::node::GapCause;

/// What happened to a subscription. The order is fixed: `Opened`, then access units with `Started` directly
/// before the first one that can be decoded by itself; `Reset` is followed by another `Opened`; `Closed` comes
/// exactly once and last.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The stream was found, its publisher is pinned and its catalogue verified.
    Opened {
        /// Who publishes.
        key: StreamKey,
        /// Which run.
        epoch: Epoch,
        /// What the stream is made of.
        catalogue: Catalogue,
    },
    /// Playing can start with the access unit that follows.
    Started {
        /// Its track.
        track: TrackId,
    },
    /// One access unit, verified and in order.
    AccessUnit(Delivery),
    /// Access units are missing and will not come.
    Gap {
        /// The track that goes on at its next random-access point; `None` when it concerns all.
        track: Option<TrackId>,
        /// Media time of the last access unit before.
        from: MediaTime,
        /// Media time of the first access unit behind.
        to: MediaTime,
        /// Why.
        cause: GapCause,
    },
    /// The subscriber took events too slowly, so that access units were dropped before the next one; each track
    /// goes on where it can be decoded.
    Overrun {
        /// How many.
        access_units: u64,
    },
    /// The publisher was restarted.
    Reset {
        /// The run that ended.
        old: Epoch,
        /// The run that follows.
        new: Epoch,
    },
    /// The subscription is over.
    Closed(CloseCause),
}

/// An access unit with its times.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What the publisher sent.
    pub unit: AccessUnit,
    /// When it should be presented, on the clock that [`crate::now`] reads.
    pub due: Now,
    /// Close time of its block on the publisher's clock, since its epoch began.
    pub closed: Duration,
}

/// Why a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The publisher ended the stream, and all of it was delivered.
    Ended,
    /// The caller ended the subscription.
    Local,
    /// Several keys publish under the name: the caller must say which one is meant.
    Ambiguous {
        /// All that were found.
        keys: Vec<StreamKey>,
    },
    /// The driver of the swarm stopped.
    Stopped,
}

impl Event {
    /// Returns the status code that people know the event by, when there is one.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Opened { .. } => Some("NetStream.Play.PublishNotify"),
            Self::Started { .. } => Some("NetStream.Play.Start"),
            Self::Gap { cause: GapCause::Shed, .. } => Some("NetStream.Play.InsufficientBW"),
            Self::Gap { .. } => Some("NetStream.Buffer.Empty"),
            Self::Reset { .. } => Some("NetStream.MulticastStream.Reset"),
            Self::Closed(cause) => Some(cause.code()),
            Self::AccessUnit(_) | Self::Overrun { .. } => None,
        }
    }
}

impl CloseCause {
    /// Returns the status code that people know the end by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ended => "NetStream.Play.UnpublishNotify",
            Self::Local => "NetStream.Play.Stop",
            Self::Ambiguous { .. } => "NetStream.Connect.Rejected",
            Self::Stopped => "NetStream.Connect.Closed",
        }
    }
}
