//! What a subscriber is told, with the status codes that people know.

use std::time::Duration;

use swarmcast_core::catalogue::{AccessUnit, Catalogue, Rendition, Track, TrackId};
use swarmcast_core::health::{ControlPlane, PathCause, PathKind, PathVerdict, Reason, Verdict};
use swarmcast_core::ids::{Epoch, MediaTime, Now, StreamKey};
use swarmcast_core::node::GapCause;
use swarmcast_media::SourceError;

/// What happened to a subscription.
///
/// The order is fixed: `Opened`, then access units with `Started` directly before the first one that can be decoded
/// by itself. `Reset` and `Quality` are followed by another `Opened`. `Foreign` is followed by access units of the
/// caller's own URL, and, once the swarm delivers again, by another `Opened`. `Closed` comes exactly once and last.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// What follows comes from the swarm: the publisher is pinned and its catalogue verified.
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
    /// One access unit, verified and in order; not verified behind `Foreign`.
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
    /// Another rendition of the programme takes over. `Opened` follows with its catalogue; its access units go on where
    /// those before ended, on the same timeline, so that nothing is missing and nothing comes twice.
    Quality {
        /// What was played.
        from: Rendition,
        /// What is played from here on.
        to: Rendition,
        /// Why.
        cause: QualityCause,
    },
    /// The publisher was restarted.
    Reset {
        /// The run that ended.
        old: Epoch,
        /// The run that follows.
        new: Epoch,
    },
    /// The verdict on the stream changed.
    Verdict {
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
    /// Delivery goes over to another path. To [`PathKind::Foreign`]: the caller's URL is opened, or without one the
    /// caller plays now what it has, behind `last_media`.
    Path {
        /// What it came by.
        from: PathKind,
        /// What it comes by.
        to: PathKind,
        /// Why.
        cause: PathCause,
        /// Media time of the last access unit delivered.
        last_media: Option<MediaTime>,
    },
    /// Delivery should go over to another path, and by [`crate::FallbackPolicy::Manual`] that is left to the caller
    /// ([`crate::Subscriber::fall`]), or it was refused.
    PathDue {
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
        /// What they were.
        from: ControlPlane,
        /// What they are.
        to: ControlPlane,
    },
    /// What follows comes from the caller's own URL, with timestamps of its own.
    Foreign {
        /// What it is made of.
        tracks: Vec<Track>,
    },
    /// The caller's own URL brings nothing more.
    ForeignLost {
        /// Why; `None` when it came to its end.
        error: Option<SourceError>,
    },
    /// The subscription is over.
    Closed(CloseCause),
}

/// Why another rendition takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QualityCause {
    /// This host, or the program that takes the events, was too slow for the one before.
    Overrun,
    /// The one before did not come in time: the network does not carry it.
    Capacity,
    /// The one before came without trouble for the hold-down.
    Clean,
    /// [`crate::Subscriber::choose`] asked for it.
    Asked,
}

/// An access unit with its times.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What the publisher sent.
    pub unit: AccessUnit,
    /// When it should be presented, on the clock that [`crate::now`] reads.
    pub due: Now,
    /// Close time of its block on the publisher's clock, since its epoch began; `None` from a foreign source.
    pub closed: Option<Duration>,
}

/// Why a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseCause {
    /// The publisher ended the stream, and all of it was delivered.
    Ended,
    /// The stream is dead, and nobody waits for it.
    Dead(Reason),
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
            Self::Verdict { from, to, .. } => verdict_code(*from, *to),
            Self::Path { .. } => Some("NetStream.Multicast.PathChange"),
            Self::ControlPlane { to: ControlPlane::Lost, .. } => Some("NetConnection.ControlPlane.Lost"),
            Self::ControlPlane { from: ControlPlane::Lost, to: ControlPlane::Up } => {
                Some("NetConnection.ControlPlane.Restored")
            }
            Self::Closed(cause) => Some(cause.code()),
            Self::AccessUnit(_)
            | Self::Overrun { .. }
            | Self::Quality { .. }
            | Self::PathDue { .. }
            | Self::PathVerdict { .. }
            | Self::ControlPlane { .. }
            | Self::Foreign { .. }
            | Self::ForeignLost { .. } => None,
        }
    }
}

fn verdict_code(from: Verdict, to: Verdict) -> Option<&'static str> {
    match (from, to) {
        (_, Verdict::Degraded) => Some("NetStream.Multicast.Degraded"),
        (_, Verdict::Starved) => Some("NetStream.Multicast.Starved"),
        (_, Verdict::Dead) => Some("NetStream.Multicast.Dead"),
        (_, Verdict::Paused) => Some("NetStream.Publish.Idle"),
        (Verdict::Degraded | Verdict::Starved | Verdict::Dead, Verdict::Live) => {
            Some("NetStream.Multicast.Recovered")
        }
        _ => None,
    }
}

impl CloseCause {
    /// Returns the status code that people know the end by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ended => "NetStream.Play.UnpublishNotify",
            Self::Dead(Reason::NoSuchStream) => "NetStream.Play.StreamNotFound",
            Self::Dead(Reason::NoReachablePeers { .. }) => "NetStream.Connect.Failed",
            Self::Dead(_) => "NetStream.Multicast.Dead",
            Self::Local => "NetStream.Play.Stop",
            Self::Ambiguous { .. } => "NetStream.Connect.Rejected",
            Self::Stopped => "NetStream.Connect.Closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(from: Verdict, to: Verdict) -> Option<&'static str> {
        let (reason, path, last_media, since_last_fragment) = (None, PathKind::Mesh, None, None);
        Event::Verdict { from, to, reason, path, last_media, since_last_fragment }.code()
    }

    #[test]
    fn a_verdict_has_the_code_of_where_it_leads() {
        use Verdict::{Dead, Degraded, Ended, Joining, Live, Paused, Starved};
        for from in [Joining, Live, Degraded, Starved, Dead, Paused] {
            assert_eq!(of(from, Starved), Some("NetStream.Multicast.Starved"));
            assert_eq!(of(from, Dead), Some("NetStream.Multicast.Dead"));
            assert_eq!(of(from, Degraded), Some("NetStream.Multicast.Degraded"));
            assert_eq!(of(from, Paused), Some("NetStream.Publish.Idle"));
            assert_eq!(of(from, Ended), None, "told by the close");
            let recovered = matches!(from, Degraded | Starved | Dead);
            assert_eq!(of(from, Live), recovered.then_some("NetStream.Multicast.Recovered"), "{from:?}");
        }
    }

    #[test]
    fn the_control_plane_is_restored_only_after_it_was_lost() {
        use ControlPlane::{Lost, Searching, Up};
        let of = |from, to| Event::ControlPlane { from, to }.code();
        assert_eq!(of(Searching, Up), None);
        assert_eq!(of(Up, Lost), Some("NetConnection.ControlPlane.Lost"));
        assert_eq!(of(Lost, Up), Some("NetConnection.ControlPlane.Restored"));
    }

    #[test]
    fn an_end_without_a_stream_is_another_one_than_that_of_a_dead_one() {
        let none = Reason::NoReachablePeers { attempted: 0, why: crate::Unreached::NobodyFound };
        assert_eq!(CloseCause::Dead(none).code(), "NetStream.Connect.Failed");
        assert_eq!(CloseCause::Dead(Reason::NoSuchStream).code(), "NetStream.Play.StreamNotFound");
        assert_eq!(CloseCause::Dead(Reason::PublisherGone).code(), "NetStream.Multicast.Dead");
    }
}
