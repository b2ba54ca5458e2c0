//! Publish and watch live streams in a LAN swarm.
//!
//! A [`Swarm`] is one node in one [`Group`]. It publishes streams ([`Publisher`]) and watches them ([`Subscriber`]);
//! what it watches it also passes on to others, verified and still sealed. Nodes find each other on the LAN, or are
//! told of each other as [`PeerAddress`]es. Nothing runs behind the caller's back: [`Swarm::bind`] returns a
//! [`Driver`] that the caller spawns.
//!
//! Watching takes ten lines. Here the other node, which publishes by hand, runs in the same program:
//!
//! ```
//! use swarmcast::{
//!     Event, Group, Identity, PublishConfig, SubscribeConfig, Swarm, SwarmConfig, TrackId, data_track,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lobby = SwarmConfig::new(Group::open("lobby")?);
//! # let lobby = SwarmConfig { interfaces: vec!["lo".to_owned()], discovery: false, ..lobby };
//!
//! let (publishing, driver) = Swarm::bind(lobby.clone()).await?;
//! tokio::spawn(driver.run());
//! let stream = PublishConfig::new("scores", vec![data_track(TrackId(0))], Identity::ephemeral()?);
//! let publisher = publishing.publish(stream).await?;
//! publisher.data("{\"home\":1,\"guest\":0}").await?;
//!
//! let config = SwarmConfig { peers: vec![publishing.ticket()], ..lobby };
//! let (watching, driver) = Swarm::bind(config).await?;
//! tokio::spawn(driver.run());
//! let mut scores = watching.subscribe(SubscribeConfig::new("scores")).await?;
//! while let Some(event) = scores.next().await {
//!     match event {
//!         Event::AccessUnit(delivery) => {
//!             assert_eq!(delivery.unit.payload, "{\"home\":1,\"guest\":0}");
//!             break;
//!         }
//!         other => println!("{other:?} {:?}", other.code()),
//!     }
//! }
//! watching.close().await;
//! publisher.end().await;
//! publishing.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A subscription tells how it fares twice: as events ([`Event::Verdict`], [`Event::Path`] and others, each with a
//! [`Event::code`]) and as a value that can be read and watched from anywhere ([`Subscriber::health`]). When neither
//! multicast nor neighbours nor the publisher deliver, it plays a URL of the caller's ([`SubscribeConfig::foreign`]),
//! or leaves that to the caller ([`FallbackPolicy::Manual`]).
//!
//! Media comes from a [`Source`] (any ffmpeg input) by [`Sender::feed`], and goes into a [`Sink`] (any ffmpeg
//! output) by a [`Recorder`]; both block, so they run on threads of the caller's. A [`Player`] decodes a subscription
//! and gives pictures and sound at their time, for a window of the caller's. A stream keeps its identity between runs
//! when its [`Identity`] comes from a [`StateDir`].

mod browse;
mod counters;
mod event;
mod foreign;
mod group;
mod health;
mod identity;
mod media_clock;
mod play;
mod publish;
mod rates;
mod record;
mod subscribe;
mod swarm;

pub use bytes::Bytes;
pub use swarmcast_core::catalogue::{
    ACCESS_UNIT_BYTES_MAX, AccessUnit, Catalogue, Quality, RENDITIONS_MAX, Rendition, TRACKS_MAX, TimeBase,
    Track, TrackId, TrackKind,
};
pub use swarmcast_core::group::{GroupError, check_name};
pub use swarmcast_core::health::{
    ControlPlane, FallbackPolicy, Health, PathCause, PathKind, PathVerdict, Reason, Unreached, Verdict,
};
pub use swarmcast_core::ids::{BlockId, Epoch, GroupId, MediaTime, Now, PeerId, StreamKey};
pub use swarmcast_core::multicast::{MulticastChoice, MulticastChoiceError, MulticastGroup};
pub use swarmcast_core::node::GapCause;
pub use swarmcast_core::stats::{KnownStream, StreamStats};
pub use swarmcast_media::{
    CaptureDelay, CaptureDevice, CaptureFormat, Connection, Connections, DeviceKind, Interrupt, Picture,
    PictureConfig, Plane, PlayConfig, PlayError, PlayStats, RenditionConfig, Screen, Sink, SinkConfig,
    SinkCounts, SinkError, Source, SourceConfig, SourceError, Speaker, data_track, devices,
};
pub use swarmcast_net::{
    BindError, DiscoveryError, Driver, Neighbour, PEER_ADDRESSES_MAX, PeerAddress, PeerAddressError,
    TransportCounters, now,
};

pub use browse::{LanGroup, browse};
pub use counters::Counters;
pub use event::{CloseCause, Delivery, Event, QualityCause};
pub use foreign::ForeignSource;
pub use group::{Group, GroupKeyError};
pub use health::HealthWatch;
pub use identity::{Identity, IdentityError, StateDir, parse_stream_key};
pub use play::Player;
pub use publish::{
    DATA_BYTES_MAX, DataError, FeedError, PublishConfig, PublishError, Publisher, SendError, Sender,
    Unpublished,
};
pub use rates::{RateMeter, Rates};
pub use record::{RecordError, Recorded, Recorder};
pub use subscribe::{Stopper, SubscribeConfig, SubscribeError, Subscriber, TimedOut};
pub use swarm::{NeighbourChange, NeighbourChanges, Stopped, Swarm, SwarmConfig};
