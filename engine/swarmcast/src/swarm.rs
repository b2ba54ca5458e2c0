//! One node in one group.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use swarmcast_core::ids::PeerId;
use swarmcast_core::stats::KnownStream;
use swarmcast_net::{BindError, Driver, Handle, NetConfig, PeerAddress, TransportCounters};
use tokio::sync::watch;

use crate::publish::{PublishConfig, PublishError, Publisher};
use crate::subscribe::{SubscribeConfig, SubscribeError, Subscriber};
use crate::{Group, LanGroup, Neighbour, browse};

/// How a node is bound.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// The group that it joins.
    pub group: Group,
    /// Names of the network interfaces that it uses; all when empty, which is the default.
    pub interfaces: Vec<String>,
    /// UDP and TCP port that it listens on; by default one that is free.
    pub port: Option<u16>,
    /// Peers that it connects to besides those that it finds.
    pub peers: Vec<PeerAddress>,
    /// Whether it announces itself on the LAN and looks for others there; it does by default.
    pub discovery: bool,
    /// Most bytes a second that it sends to peers, with all headers; by default there is no limit. What goes by IP
    /// multicast is not counted. What a node promises to others is bounded by this: they turn to those who have room.
    pub upload_max: Option<u64>,
}

impl SwarmConfig {
    /// Joins `group` on all interfaces, with discovery, on a free port, and sends as much as is of use.
    pub fn new(group: Group) -> Self {
        let (interfaces, peers) = (Vec::new(), Vec::new());
        Self { group, interfaces, port: None, peers, discovery: true, upload_max: None }
    }
}

/// A node in a group: publishes and watches streams, and passes on what it watches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Swarm {
    node: Handle,
    group: Group,
    closes: Arc<AtomicBool>,
}

/// The driver of a node has ended, so nothing can be asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

impl Swarm {
    /// Opens the node's sockets. Nothing happens until the driver runs: spawn `driver.run()`, or poll it beside
    /// what you do.
    ///
    /// # Errors
    /// [`BindError::PortInUse`], [`BindError::UnknownInterface`], and what else the system refuses.
    pub async fn bind(config: SwarmConfig) -> Result<(Self, Driver), BindError> {
        let SwarmConfig { group, interfaces, port, peers, discovery, upload_max } = config;
        let net = NetConfig {
            interfaces,
            port,
            peers,
            discovery,
            upload_max,
            ..NetConfig::new(group.clone().into_spec())
        };
        let (node, driver) = swarmcast_net::bind(net).await?;
        Ok((Self { node, group, closes: Arc::default() }, driver))
    }

    /// Publishes a stream, or all renditions of a programme.
    ///
    /// # Errors
    /// [`PublishError::Name`] and [`PublishError::Refused`] when the stream cannot be described, and
    /// [`PublishError::Stopped`] without a driver.
    pub async fn publish(&self, config: PublishConfig) -> Result<Publisher, PublishError> {
        let group = self.group.clone().into_spec();
        Publisher::start(&self.node, Arc::clone(&self.closes), &group, config).await
    }

    /// Watches a stream. It need not exist yet: the first event comes once it does.
    ///
    /// # Errors
    /// [`SubscribeError::Name`] and [`SubscribeError::PlayoutDelay`] when the configuration is out of range, and
    /// [`SubscribeError::Stopped`] without a driver.
    pub async fn subscribe(&self, config: SubscribeConfig) -> Result<Subscriber, SubscribeError> {
        Subscriber::start(&self.node, config).await
    }

    /// Returns the streams that this node and its neighbours carry.
    ///
    /// # Errors
    /// [`Stopped`] without a driver.
    pub async fn streams(&self) -> Result<Vec<KnownStream>, Stopped> {
        self.node.known_streams().await.map_err(|_| Stopped)
    }

    /// Returns the group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Returns the node's transport key.
    pub fn endpoint(&self) -> PeerId {
        self.node.peer()
    }

    /// Returns the addresses under which others reach this node, best first; they change with the network.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.node.local_addresses()
    }

    /// Returns what another node takes as a peer to reach this one.
    pub fn ticket(&self) -> PeerAddress {
        self.node.ticket()
    }

    /// Returns the peers that have a session with this node.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.node.neighbours()
    }

    /// Returns what all sessions of the node ever sent and received, at most 50 ms old.
    pub fn transport(&self) -> TransportCounters {
        self.node.transport()
    }

    /// Returns the comings and goings of neighbours from here on; those that are there come first.
    pub fn neighbour_changes(&self) -> NeighbourChanges {
        NeighbourChanges { now: self.node.watch_neighbours(), known: Vec::new() }
    }

    /// Returns what other nodes announce on the LAN, of all groups, as far as it was heard by now.
    pub fn lan(&self) -> Vec<LanGroup> {
        browse::group(self.node.sightings().iter())
    }

    /// Ends the node and waits until it has: streams that it publishes linger until their neighbours have
    /// everything, at most 5 s; a second call ends them at once.
    pub async fn close(&self) {
        self.closes.store(true, Ordering::Release);
        self.node.close().await;
    }
}

/// The comings and goings of neighbours.
#[derive(Debug)]
pub struct NeighbourChanges {
    now: watch::Receiver<Vec<Neighbour>>,
    known: Vec<PeerId>,
}

/// A session with a peer came up or went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourChange {
    /// The peer.
    pub peer: PeerId,
    /// Whether its session is up.
    pub up: bool,
}

impl NeighbourChange {
    /// Returns the status code that people know it by.
    pub fn code(&self) -> &'static str {
        if self.up { "NetGroup.Neighbor.Connect" } else { "NetGroup.Neighbor.Disconnect" }
    }
}

impl NeighbourChanges {
    /// Waits for the next change; `None` once the driver has ended. Dropping the future loses nothing. A session
    /// that came and went while nobody waited is not told.
    pub async fn next(&mut self) -> Option<NeighbourChange> {
        loop {
            if let Some(change) = self.step() {
                return Some(change);
            }
            self.now.changed().await.ok()?;
        }
    }

    /// Takes over one difference between what is and what was told.
    fn step(&mut self) -> Option<NeighbourChange> {
        let now = self.now.borrow_and_update();
        let is_up = |peer: &PeerId| now.iter().any(|neighbour| neighbour.peer == *peer);
        if let Some(place) = self.known.iter().position(|peer| !is_up(peer)) {
            return Some(NeighbourChange { peer: self.known.swap_remove(place), up: false });
        }
        let peer = now.iter().map(|neighbour| neighbour.peer).find(|peer| !self.known.contains(peer))?;
        self.known.push(peer);
        Some(NeighbourChange { peer, up: true })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swarmcast_core::ids::PathId;

    use super::*;

    fn neighbour(id: u8) -> Neighbour {
        Neighbour { peer: PeerId([id; 32]), path: PathId(id.into()), rtt: Duration::ZERO }
    }

    #[tokio::test]
    async fn each_neighbour_comes_and_goes_once() {
        let (sender, now) = watch::channel(vec![neighbour(1)]);
        let mut changes = NeighbourChanges { now, known: Vec::new() };
        let change = |id, up| Some(NeighbourChange { peer: PeerId([id; 32]), up });
        assert_eq!(changes.next().await, change(1, true));
        sender.send_replace(vec![neighbour(2), neighbour(3)]);
        assert_eq!(changes.next().await, change(1, false));
        assert_eq!(changes.next().await, change(2, true));
        assert_eq!(changes.next().await, change(3, true));
        drop(sender);
        assert_eq!(changes.next().await, None);
    }
}
