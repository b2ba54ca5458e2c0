//! Sockets, clock and driver of a Swarmcast node: iroh, IP multicast, mDNS.
//!
//! [`bind`] opens the sockets and returns a [`Handle`] and a [`Driver`]. The caller runs the driver, on whatever task
//! it likes; the handle publishes, subscribes and asks. The driver is one task that owns the core's
//! [`Node`], all sessions and the clock, and follows the contract in
//! [`swarmcast_core`]: one input, then drain.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use swarmcast_core::group::GroupSpec;
//! use swarmcast_net::{NetConfig, bind};
//!
//! let (handle, driver) = bind(NetConfig::new(GroupSpec::open("lobby")?)).await?;
//! let running = tokio::spawn(driver.run());
//! println!("others reach this node with --peer {}", handle.ticket());
//! handle.close().await;
//! running.await?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "bench")]
pub mod bench;
mod clock;
mod congestion;
mod control;
mod discovery;
mod driver;
mod endpoint;
mod handle;
mod health;
mod hello;
mod interfaces;
mod multicast;
mod peers;
mod playout;
mod probe;
mod publish;
mod sampling;
mod session;
mod sessions;
mod streams;
#[cfg(test)]
mod tests;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use iroh::SecretKey;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::node::{Node, NodeConfig};
use tokio::runtime;
use tokio::sync::{Notify, mpsc, watch};

pub use clock::now;
pub use discovery::{Browser, DiscoveryError, LanChange};
pub use driver::Driver;
pub use endpoint::BindError;
pub use handle::{
    Ended, Handle, Neighbour, PublicationHandle, PublicationState, PublishError, SubscriptionHandle,
};
pub use health::HealthWatch;
pub use playout::{Playout, ReceiveError};
pub use publish::SendError;
pub use swarmcast_core::address::{PEER_ADDRESSES_MAX, PeerAddress, PeerAddressError};
pub use swarmcast_core::discovery::LanNode;
pub use transport::TransportCounters;

use endpoint::Sockets;
use handle::{REQUESTS_MAX, Shared};
use peers::NamedPeers;

/// How a node is bound to its network.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The group that it belongs to.
    pub group: GroupSpec,
    /// Names of the interfaces that it uses; all when empty, and then loopback carries multicast only where no other
    /// interface has an address.
    pub interfaces: Vec<String>,
    /// Its port; one that is free when `None`.
    pub port: Option<u16>,
    /// Peers that the user named.
    pub peers: Vec<PeerAddress>,
    /// Whether it announces itself on the LAN and looks for others there (default yes).
    pub discovery: bool,
    /// Most bytes a second that it sends to peers, with all headers (default `None`: no limit).
    pub upload_max: Option<u64>,
}

impl NetConfig {
    /// Returns the defaults: all interfaces, any port, no named peers, discovery, no limit.
    pub fn new(group: GroupSpec) -> Self {
        let (interfaces, peers) = (Vec::new(), Vec::new());
        Self { group, interfaces, port: None, peers, discovery: true, upload_max: None }
    }
}

/// Opens the sockets of a node and announces it. Needs a Tokio runtime, which must still run when the handle is used.
///
/// # Errors
/// [`BindError::PortInUse`] when somebody else has the port, [`BindError::UnknownInterface`] when a named interface has
/// no address, the other variants when the system refuses sockets or threads.
pub async fn bind(config: NetConfig) -> Result<(Handle, Driver), BindError> {
    bind_with(config, |node| node).await
}

/// As [`bind`], with the core's own limits changed.
async fn bind_with(
    config: NetConfig,
    limit: impl FnOnce(NodeConfig) -> NodeConfig,
) -> Result<(Handle, Driver), BindError> {
    let NetConfig { group, interfaces, port, peers, discovery, upload_max } = config;
    let sockets = Sockets::open(port, &interfaces).await?;
    let (peer, port) = (sockets.peer(), sockets.port);
    let (announcer, browser) = if discovery {
        discovery::start(peer, group.clone(), port, &interfaces).map(|(a, b)| (Some(a), Some(b)))?
    } else {
        (None, None)
    };
    let (neighbours, neighbours_watched) = watch::channel(Vec::new());
    let (transport, transport_watched) = watch::channel(TransportCounters::default());
    let (lan, lan_watched) = watch::channel(BTreeMap::new());
    let (requests, requested) = mpsc::channel(REQUESTS_MAX);
    let filled = Arc::new(Notify::new());
    let shared = Shared {
        peer,
        port,
        interfaces: interfaces.clone(),
        filled: Arc::clone(&filled),
        streams_used: AtomicU32::new(0),
        neighbours: neighbours_watched,
        transport: transport_watched,
        lan: lan_watched,
        runtime: runtime::Handle::current(),
    };
    // A fresh secret key is 32 bytes of the system's randomness.
    let seed = SecretKey::generate().to_bytes();
    let driver = Driver::new(driver::Parts {
        node: Node::new(now(), limit(NodeConfig { upload_max, ..NodeConfig::new(peer, group, seed) })),
        endpoint: sockets.quic,
        hello: sockets.hello,
        interfaces,
        announcer,
        browser,
        peers: NamedPeers::new(peer, peers),
        requests: requested,
        filled,
        neighbours,
        transport,
        lan,
    });
    Ok((Handle { shared: Arc::new(shared), requests }, driver))
}
