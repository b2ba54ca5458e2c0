//! What benches need of this crate's inside.

use std::io;

use bytes::Bytes;
use swarmcast_core::ids::{ChannelId, PathId};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::node::{Input, NodeConfig};

use crate::multicast::{Multicast, MulticastEvent};
use crate::sessions::PathIds;
use crate::{BindError, Driver, Handle, NetConfig, bind_with};

/// As [`crate::bind`], for a node that takes at most so many neighbours.
///
/// # Errors
/// As [`crate::bind`].
pub async fn bind_with_neighbours(
    config: NetConfig,
    neighbours_max: usize,
) -> Result<(Handle, Driver), BindError> {
    bind_with(config, |node| NodeConfig { neighbours_max, ..node }).await
}

/// Two nodes' multicast on loopback, without the nodes.
pub struct MulticastPair {
    sender: (Multicast, PathId),
    receiver: Multicast,
}

impl std::fmt::Debug for MulticastPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MulticastPair").finish_non_exhaustive()
    }
}

impl MulticastPair {
    /// Joins both to a group. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] when loopback carries no multicast.
    pub async fn new(group: MulticastGroup) -> io::Result<Self> {
        let (sender, path) = joined(group).await?;
        let (receiver, _) = joined(group).await?;
        Ok(Self { sender: (sender, path), receiver })
    }

    /// Carries datagrams across, at most as many as the sockets' buffers hold, and returns those that arrived; what the
    /// system dropped is not waited for.
    pub async fn carry(&mut self, datagrams: Vec<Bytes>) -> Vec<Bytes> {
        let sent = datagrams.len();
        self.send(datagrams).await;
        self.receive(sent).await
    }

    /// The first half of [`MulticastPair::carry`].
    pub async fn send(&mut self, mut datagrams: Vec<Bytes>) {
        let (multicast, path) = &mut self.sender;
        multicast.send(*path, &mut datagrams);
        while multicast.credit(*path) == Some(0) {
            multicast.next().await;
        }
    }

    /// The second half of it, for as many datagrams as were sent.
    pub async fn receive(&mut self, sent: usize) -> Vec<Bytes> {
        let mut arrived = Vec::with_capacity(sent);
        let mut count = 0;
        while count < sent as u64 {
            if let MulticastEvent::Received { datagrams, overflow, .. } = self.receiver.next().await {
                count += datagrams.len() as u64 + overflow;
                arrived.extend(datagrams.into_iter().map(|(_, datagram)| datagram));
            }
        }
        arrived
    }
}

async fn joined(group: MulticastGroup) -> io::Result<(Multicast, PathId)> {
    let mut multicast = Multicast::new(vec!["lo".to_owned()], PathIds::default());
    multicast.open(ChannelId(0), vec![group]);
    // Whether the network is up is told before.
    for _ in 0..2 {
        if let MulticastEvent::Told(Input::MulticastUp { path, .. }) = multicast.next().await {
            return Ok((multicast, path));
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}
