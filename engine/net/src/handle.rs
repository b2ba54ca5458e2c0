//! What a caller holds: the node's handle, and one for every publication and subscription.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::discovery::LanNode;
use swarmcast_core::health::PathKind;
use swarmcast_core::ids::{Epoch, Now, PathId, PeerId, StreamHandle, StreamKey};
use swarmcast_core::node::{Command, Publication, Subscription};
use swarmcast_core::stats::{KnownStream, StreamStats};
use tokio::runtime;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock;
use crate::health::{HealthSender, HealthWatch, health_channel};
use crate::interfaces::{local_addresses, reachable};
use crate::playout::{Playout, PlayoutReceiver, PlayoutSender, ReceiveError, playout_queue};
use crate::publish::{PublishQueue, SendError};
use crate::{PeerAddress, TransportCounters};

/// Requests that wait for the driver.
pub(crate) const REQUESTS_MAX: usize = 64;

/// The driver has ended, or was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has ended")]
pub struct Ended;

/// Why a stream is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The driver has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The core refuses the publication: its catalogue breaks a limit.
    #[error("the catalogue is not acceptable")]
    Refused,
}

/// Whether a publication runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicationState {
    /// It does.
    Running,
    /// A newer run with the same key has taken the name.
    Superseded {
        /// That run.
        newer: Epoch,
    },
    /// It has ended.
    Ended {
        /// Whether every neighbour had acknowledged the last fragment.
        complete: bool,
    },
}

/// A neighbour, as `Handle::neighbours` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub peer: PeerId,
    /// Its session.
    pub path: PathId,
    /// Smoothed round-trip time, at most 250 ms old.
    pub rtt: Duration,
}

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Request {
    Publish {
        publication: Box<Publication>,
        queue: Arc<PublishQueue>,
        state: watch::Sender<PublicationState>,
        published: oneshot::Sender<StreamKey>,
    },
    Subscribe {
        subscription: Box<Subscription>,
        playout: PlayoutSender,
        health: HealthSender,
    },
    Command(Command),
    Stats {
        stream: StreamHandle,
        answer: oneshot::Sender<Option<StreamStats>>,
    },
    KnownStreams {
        answer: oneshot::Sender<Vec<KnownStream>>,
    },
    Close,
}

/// What handles and driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer: PeerId,
    pub(crate) port: u16,
    pub(crate) interfaces: Vec<String>,
    pub(crate) filled: Arc<Notify>,
    pub(crate) streams_used: AtomicU32,
    pub(crate) neighbours: watch::Receiver<Vec<Neighbour>>,
    pub(crate) transport: watch::Receiver<TransportCounters>,
    pub(crate) lan: watch::Receiver<BTreeMap<PeerId, LanNode>>,
    pub(crate) runtime: runtime::Handle,
}

/// A running node. Cheap to clone; the node ends when the last clone and all of its streams are dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Handle {
    /// Starts a stream. The number in `publication.handle` is replaced by a fresh one.
    ///
    /// # Errors
    /// [`PublishError::Refused`] when the catalogue breaks a limit, [`PublishError::Ended`] when the driver has ended.
    pub async fn publish(&self, mut publication: Publication) -> Result<PublicationHandle, PublishError> {
        let stream = self.fresh_stream();
        publication.handle = stream;
        let queue = Arc::new(PublishQueue::new(Arc::clone(&self.shared.filled)));
        let (state, watched) = watch::channel(PublicationState::Running);
        let (published, answer) = oneshot::channel();
        let publication = Box::new(publication);
        let request = Request::Publish { publication, queue: Arc::clone(&queue), state, published };
        self.request(request).await?;
        let key = answer
            .await
            .map_err(|_| if self.requests.is_closed() { Ended.into() } else { PublishError::Refused })?;
        Ok(PublicationHandle { stream, key, queue, state: watched, node: self.clone() })
    }

    /// Watches a stream. The number in `subscription.handle` is replaced by a fresh one.
    ///
    /// # Errors
    /// [`Ended`] when the driver has.
    pub async fn subscribe(&self, mut subscription: Subscription) -> Result<SubscriptionHandle, Ended> {
        let stream = self.fresh_stream();
        subscription.handle = stream;
        let (sender, playout) = playout_queue(subscription.playout_delay);
        let (published, health) = health_channel(clock::now());
        let subscription = Box::new(subscription);
        self.request(Request::Subscribe { subscription, playout: sender, health: published }).await?;
        Ok(SubscriptionHandle { stream, playout, health, node: self.clone() })
    }

    /// Returns the counters of a publication or subscription; `None` when there is none of that number.
    ///
    /// # Errors
    /// [`Ended`] when the driver has.
    pub async fn stats(&self, stream: StreamHandle) -> Result<Option<StreamStats>, Ended> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Stats { stream, answer }).await?;
        answered.await.map_err(|_| Ended)
    }

    /// Returns the streams that this node and its neighbours carry.
    ///
    /// # Errors
    /// [`Ended`] when the driver has.
    pub async fn known_streams(&self) -> Result<Vec<KnownStream>, Ended> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::KnownStreams { answer }).await?;
        answered.await.map_err(|_| Ended)
    }

    /// Returns the peers of the group that have a session with this node.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        self.shared.neighbours.borrow().clone()
    }

    /// Returns the neighbours as a value to watch: it changes when one comes or goes.
    pub fn watch_neighbours(&self) -> watch::Receiver<Vec<Neighbour>> {
        self.shared.neighbours.clone()
    }

    /// Returns what the node's sessions and multicast groups sent and received, those that are closed included; at most
    /// 250 ms old.
    pub fn transport(&self) -> TransportCounters {
        *self.shared.transport.borrow()
    }

    /// Returns the other nodes, of all groups, that announce themselves on the LAN.
    pub fn sightings(&self) -> Vec<LanNode> {
        self.shared.lan.borrow().values().cloned().collect()
    }

    /// Returns who this node is.
    pub fn peer(&self) -> PeerId {
        self.shared.peer
    }

    /// Returns the port number of UDP and TCP, IPv4 and IPv6.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Returns the addresses under which others reach this node, best first; they change with the network.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let all = local_addresses(&self.shared.interfaces).unwrap_or_default();
        reachable(all).into_iter().map(|ip| SocketAddr::new(ip, self.shared.port)).collect()
    }

    /// Returns what another user gives as `--peer` to reach this node.
    pub fn ticket(&self) -> PeerAddress {
        let mut addresses = self.local_addresses();
        addresses.truncate(crate::PEER_ADDRESSES_MAX);
        PeerAddress { peer: Some(self.shared.peer), addresses }
    }

    /// Returns the node's clock, `CLOCK_MONOTONIC` in microseconds.
    pub fn now(&self) -> Now {
        clock::now()
    }

    /// Ends the node and waits until it has: publications linger until their neighbours have everything, at most 5 s;
    /// a second call ends them at once.
    pub async fn close(&self) {
        if self.request(Request::Close).await.is_ok() {
            self.requests.closed().await;
        }
    }

    fn fresh_stream(&self) -> StreamHandle {
        StreamHandle(self.shared.streams_used.fetch_add(1, Ordering::Relaxed))
    }

    async fn request(&self, request: Request) -> Result<(), Ended> {
        self.requests.send(request).await.map_err(|_| Ended)
    }
}

/// A stream that this node publishes. Dropping it ends the publication.
#[derive(Debug)]
pub struct PublicationHandle {
    stream: StreamHandle,
    key: StreamKey,
    queue: Arc<PublishQueue>,
    state: watch::Receiver<PublicationState>,
    node: Handle,
}

impl PublicationHandle {
    /// Returns the number under which counters are asked for.
    pub fn stream(&self) -> StreamHandle {
        self.stream
    }

    /// Returns the stream's identity.
    pub fn key(&self) -> StreamKey {
        self.key
    }

    /// Queues an access unit, waiting for room. Dropping the future drops the unit.
    ///
    /// # Errors
    /// [`SendError::Ended`] when the publication is over.
    pub async fn send(&self, unit: AccessUnit) -> Result<(), SendError> {
        self.queue.push(unit).await
    }

    /// Queues an access unit if there is room.
    ///
    /// # Errors
    /// [`SendError::Full`] with the unit when there is none, [`SendError::Ended`] when the publication is over.
    pub fn try_send(&self, unit: AccessUnit) -> Result<(), SendError> {
        self.queue.try_push(unit)
    }

    /// Queues an access unit, blocking the thread until there is room. Not for asynchronous code.
    ///
    /// # Errors
    /// [`SendError::Ended`] when the publication is over.
    pub fn send_blocking(&self, unit: AccessUnit) -> Result<(), SendError> {
        match self.queue.try_push(unit) {
            Err(SendError::Full(unit)) => self.node.shared.runtime.block_on(self.queue.push(unit)),
            done => done,
        }
    }

    /// Returns whether the publication runs, as a value to watch.
    pub fn state(&self) -> watch::Receiver<PublicationState> {
        self.state.clone()
    }

    /// Ends the publication behind what is queued, and waits until it lingers no longer, at most 5 s.
    ///
    /// Returns whether every neighbour had everything.
    ///
    /// # Errors
    /// [`Ended`] when the driver has, before the publication did.
    pub async fn end(mut self) -> Result<bool, Ended> {
        self.queue.end();
        loop {
            if let PublicationState::Ended { complete } = *self.state.borrow_and_update() {
                return Ok(complete);
            }
            self.state.changed().await.map_err(|_| Ended)?;
        }
    }
}

impl Drop for PublicationHandle {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// A stream that this node watches. Dropping it ends the subscription.
#[derive(Debug)]
pub struct SubscriptionHandle {
    stream: StreamHandle,
    playout: PlayoutReceiver,
    health: HealthWatch,
    node: Handle,
}

impl SubscriptionHandle {
    /// Returns the number under which counters are asked for.
    pub fn stream(&self) -> StreamHandle {
        self.stream
    }

    /// Returns the stream's health, to read and to watch; it outlives this handle.
    pub fn health(&self) -> HealthWatch {
        self.health.clone()
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`] when nothing will come.
    pub async fn receive(&self) -> Result<Playout, ReceiveError> {
        self.playout.receive().await
    }

    /// Takes what waits.
    ///
    /// # Errors
    /// [`ReceiveError::Empty`] when nothing does, [`ReceiveError::Closed`] when nothing will.
    pub fn try_receive(&self) -> Result<Playout, ReceiveError> {
        self.playout.try_receive()
    }

    /// Blocks the thread until something comes, at most for `wait`. Not for asynchronous code.
    ///
    /// # Errors
    /// [`ReceiveError::Empty`] when nothing came in time, [`ReceiveError::Closed`] when nothing will.
    pub fn receive_timeout(&self, wait: Duration) -> Result<Playout, ReceiveError> {
        self.playout.receive_timeout(wait)
    }

    /// Asks for the end of the subscription; what is queued, and then `Closed`, can still be received.
    ///
    /// # Errors
    /// [`Ended`] when the driver has.
    pub async fn unsubscribe(&self) -> Result<(), Ended> {
        self.node.request(Request::Command(Command::Unsubscribe { stream: self.stream })).await
    }

    /// Goes over to a path now, whatever the policy.
    ///
    /// # Errors
    /// [`Ended`] when the driver has.
    pub async fn fall(&self, to: PathKind) -> Result<(), Ended> {
        self.node.request(Request::Command(Command::Fall { stream: self.stream, to })).await
    }

    /// Tells that everything is played so much later than it is due, so that lost fragments are waited for as long.
    ///
    /// # Errors
    /// [`Ended`] without a driver.
    pub async fn grown(&self, by: Duration) -> Result<(), Ended> {
        self.node.request(Request::Command(Command::Grown { stream: self.stream, by })).await
    }

    /// Tells how the caller's foreign source does.
    ///
    /// # Errors
    /// [`Ended`] when the driver has.
    pub async fn foreign(&self, plays: bool) -> Result<(), Ended> {
        self.node.request(Request::Command(Command::Foreign { stream: self.stream, plays })).await
    }
}

impl Drop for SubscriptionHandle {
    fn drop(&mut self) {
        // With too many requests waiting, the driver notices at the next event that nobody takes it.
        let command = Command::Unsubscribe { stream: self.stream };
        let _ = self.node.requests.try_send(Request::Command(command));
    }
}
