//! Publish and watch live streams in a LAN swarm.
//!
//! A [`Swarm`] is one node in one [`Group`]. It publishes streams ([`Publisher`]) and watches them ([`Subscriber`]);
//! what it watches it also passes on to others, verified and still sealed. Nodes find each other on the LAN, or are
//! told of each other as [`PeerAddress`]es. Nothing runs behind the caller's back: [`Swarm::bind`] returns a
//! [`Driver`] that the caller spawns.

mod browse;
mod counters;
mod event;
mod group;
mod identity;
mod media_clock;
mod publish;
mod record;
mod subscribe;
mod swarm;

pub use bytes::Bytes;
pub use swarmcast_core::catalogue::{
    ACCESS_UNIT_BYTES_MAX, AccessUnit, Catalogue, TRACKS_MAX, TimeBase, Track, TrackId, TrackKind,
};
pub use swarmcast_core::group::{GroupError, check_name};
pub use swarmcast_core::ids::{BlockId, Epoch, GroupId, MediaTime, Now, PeerId, StreamKey};
pub use swarmcast_core::node::GapCause;
pub use swarmcast_core::stats::{KnownStream, StreamStats};
pub use swarmcast_media::{
    CaptureDelay, Interrupt, Sink, SinkConfig, SinkError, Source, SourceConfig, SourceError, data_track,
};
pub use swarmcast_net::{
    BindError, DiscoveryError, Driver, Neighbour, PEER_ADDRESSES_MAX, PeerAddress, PeerAddressError, now,
};

pub use browse::{LanGroup, browse};
pub use counters::Counters;
pub use event::{CloseCause, Delivery, Event};
pub use group::{Group, GroupKeyError};
pub use identity::{Identity, IdentityError, StateDir, parse_stream_key};
pub use publish::{
    DATA_BYTES_MAX, DataError, FeedError, PublishConfig, PublishError, Publisher, SendError, Sender,
    Unpublished,
};
pub use record::{RecordError, Recorded, Recorder};
pub use subscribe::{Stopper, SubscribeConfig, SubscribeError, Subscriber, TimedOut};
pub use swarm::{NeighbourChange, NeighbourChanges, Stopped, Swarm, SwarmConfig};
