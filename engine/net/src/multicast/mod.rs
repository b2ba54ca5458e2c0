//! IP multicast: the groups of each channel on every interface, and which interfaces there are.
//!
//! Sockets are those of [`socket2`] and [`nix`], both of which the node has anyway: `nix` alone offers runs of
//! datagrams in both directions from several buffers without a copy, the count of what the system dropped, and no line
//! of `unsafe`.

mod changes;
mod receive;
mod send;
mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, BoxFuture};
use futures_util::stream::{self, BoxStream, FuturesUnordered, SelectAll, StreamExt};
use socket2::SockRef;
use swarmcast_core::ids::{ChannelId, PathId};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::node::Input;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use self::receive::{Arrived, Receiver, is_same_socket};
use self::send::Sender;
use self::socket::Place;
use crate::interfaces::{Interface, interfaces};
use crate::sessions::PathIds;
use crate::transport::TransportCounters;

/// Most paths; interfaces beyond carry no multicast. Each has two sockets and 4 MiB of the system's memory at worst.
const PATHS_MAX: usize = 64;

/// Time between leaving a group and joining it again. While another process of the host is a member the system stays
/// silent; all of them notice the same silence, and this long none of them is.
const REJOIN_GAP: Duration = Duration::from_millis(30);

/// What happens to multicast.
#[derive(Debug)]
pub(crate) enum MulticastEvent {
    /// Something rare that the core is told as it is.
    Told(Input),
    /// Datagrams of other nodes, each with its sender, and how many more the system dropped just before them.
    Received { path: PathId, datagrams: Vec<(SocketAddr, Bytes)>, overflow: u64 },
    /// A path takes datagrams again.
    Writable(PathId),
}

/// A group on one interface.
#[derive(Debug)]
struct Path {
    channel: ChannelId,
    place: Place,
    receiver: Arc<UdpSocket>,
    sender: Sender,
    datagram_bytes_max: usize,
    listening: AbortHandle,
}

impl Path {
    /// Returns whether its interface still runs, under the same address and with the same MTU.
    fn is_valid(&self, interfaces: &[Interface]) -> bool {
        let Place { interface, local, .. } = &self.place;
        let mut same = interfaces.iter().filter(|i| (i.index, &i.name) == (interface.index, &interface.name));
        same.any(|i| i.runs && i.source(local.is_ipv6()) == Some(*local))
            && self.place.datagram_bytes_max(&self.sender.socket()) == self.datagram_bytes_max
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The end of something that takes a while.
enum Done {
    Writable(PathId),
    RejoinDue(PathId),
}

/// All multicast of a node.
pub(crate) struct Multicast {
    names: Vec<String>,
    path_ids: PathIds,
    channels: BTreeMap<ChannelId, Vec<MulticastGroup>>,
    open: BTreeMap<PathId, Path>,
    /// What the paths that are closed sent, and what all received.
    transport: TransportCounters,
    changes: BoxStream<'static, ()>,
    interfaces: Vec<Interface>,
    /// Whether an interface runs, as the core was told.
    network: Option<bool>,
    received: SelectAll<BoxStream<'static, (PathId, Arrived)>>,
    working: FuturesUnordered<BoxFuture<'static, Done>>,
    inputs: VecDeque<Input>,
}

impl Multicast {
    /// Makes the multicast of a node that uses the named interfaces, or all; no group so far.
    pub(crate) fn new(names: Vec<String>, path_ids: PathIds) -> Self {
        let mut this = Self {
            names,
            path_ids,
            channels: BTreeMap::new(),
            open: BTreeMap::new(),
            transport: TransportCounters::default(),
            changes: changes::changes(),
            interfaces: Vec::new(),
            network: None,
            received: SelectAll::new(),
            working: FuturesUnordered::new(),
            inputs: VecDeque::new(),
        };
        this.look();
        this
    }

    /// Waits for the next event. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> MulticastEvent {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                return MulticastEvent::Told(input);
            }
            // What is rare goes first, so that a flood of datagrams cannot starve it.
            tokio::select! {
                biased;
                Some(()) = self.changes.next() => self.look(),
                Some(done) = self.working.next() => {
                    if let Some(event) = self.handle_done(done) {
                        return event;
                    }
                }
                Some((path, arrived)) = self.received.next() => {
                    if let Some(event) = self.handle_arrived(path, arrived) {
                        return event;
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    /// Joins one of `groups` on each interface, now and when more come up; each is told by `MulticastUp`.
    pub(crate) fn open(&mut self, channel: ChannelId, groups: Vec<MulticastGroup>) {
        self.channels.insert(channel, groups);
        self.open_missing();
    }

    /// Leaves a channel's groups, without an event.
    pub(crate) fn close(&mut self, channel: ChannelId) {
        self.channels.remove(&channel);
        let paths: Vec<_> =
            self.open.iter().filter(|(_, path)| path.channel == channel).map(|(id, _)| *id).collect();
        for path in paths {
            self.end(path);
        }
        let is_over = |input: &Input| match input {
            Input::MulticastUp { path, .. } | Input::MulticastDown { path } => !self.open.contains_key(path),
            _ => false,
        };
        self.inputs.retain(|input| !is_over(input));
    }

    /// Leaves a path's group and joins it again a moment later.
    pub(crate) fn rejoin(&mut self, id: PathId) {
        let Some(path) = self.open.get(&id) else { return };
        // Only a member can leave: who is on its way back already is none.
        if path.place.leave(SockRef::from(&*path.receiver)).is_ok() {
            self.working.push(sleep(REJOIN_GAP).map(move |()| Done::RejoinDue(id)).boxed());
        }
    }

    /// Returns how many bytes of datagrams a path takes now; `None` when there is no such path.
    pub(crate) fn credit(&self, path: PathId) -> Option<usize> {
        self.open.get(&path).map(|path| path.sender.credit())
    }

    /// Sends datagrams by a path. What the socket does not take now is kept, and `Writable` tells when all of it is
    /// gone.
    pub(crate) fn send(&mut self, path: PathId, datagrams: &mut Vec<Bytes>) {
        if let Some(open) = self.open.get_mut(&path)
            && !open.sender.send(datagrams)
        {
            self.await_writable(path);
        }
    }

    /// Returns what all paths ever sent and received.
    pub(crate) fn transport(&self) -> TransportCounters {
        let mut all = self.transport;
        self.open.values().for_each(|path| all += path.sender.transport());
        all
    }

    fn handle_done(&mut self, done: Done) -> Option<MulticastEvent> {
        match done {
            Done::Writable(path) => {
                if self.open.get_mut(&path)?.sender.flush() {
                    return Some(MulticastEvent::Writable(path));
                }
                self.await_writable(path);
            }
            Done::RejoinDue(id) => {
                let path = self.open.get(&id)?;
                if path.place.join(SockRef::from(&*path.receiver)).is_err() {
                    self.lose(id);
                }
            }
        }
        None
    }

    fn handle_arrived(&mut self, path: PathId, arrived: Arrived) -> Option<MulticastEvent> {
        let Arrived { mut datagrams, overflow, broken } = arrived;
        if !self.open.contains_key(&path) {
            return None;
        }
        // What this node sends by one interface comes back by another when both are in one network.
        datagrams
            .retain(|(from, _)| !self.open.values().any(|path| is_same_socket(*from, path.sender.local())));
        let bytes: usize = datagrams.iter().map(|(_, datagram)| datagram.len()).sum();
        self.transport.add_multicast_received(bytes as u64, datagrams.len() as u64);
        if broken {
            self.lose(path);
        }
        (overflow > 0 || !datagrams.is_empty()).then_some(MulticastEvent::Received {
            path,
            datagrams,
            overflow,
        })
    }

    /// Looks at the interfaces, ends paths whose place is gone, and opens those that are missing.
    fn look(&mut self) {
        // A system that cannot list them now has not lost them.
        let Ok(found) = interfaces(&self.names) else { return };
        self.interfaces = found;
        let up = self.interfaces.iter().any(|interface| interface.runs);
        if self.network.replace(up) != Some(up) {
            self.inputs.push_back(Input::Network { up });
        }
        let gone = self.open.iter().filter(|(_, path)| !path.is_valid(&self.interfaces));
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|path| self.lose(path));
        self.open_missing();
    }

    fn open_missing(&mut self) {
        let mut missing = Vec::new();
        for (&channel, groups) in &self.channels {
            for interface in self.interfaces.iter().filter(|interface| interface.runs && interface.multicasts)
            {
                let is_open =
                    |path: &Path| path.channel == channel && path.place.interface.index == interface.index;
                if !self.open.values().any(is_open) {
                    let places = groups.iter().filter_map(|group| Place::new(interface, *group));
                    missing.push((channel, places.collect::<Vec<_>>()));
                }
            }
        }
        for (channel, places) in missing {
            if self.open.len() >= PATHS_MAX {
                return;
            }
            // What fails now is tried again when something changes, or in a second.
            let _ = places.into_iter().find_map(|place| self.open_path(channel, place).ok());
        }
    }

    fn open_path(&mut self, channel: ChannelId, place: Place) -> io::Result<()> {
        let sender = Sender::new(place.sender()?)?;
        let datagram_bytes_max = place.datagram_bytes_max(&sender.socket());
        let socket = Arc::new(place.receiver()?);
        let receiver = Receiver::new(Arc::clone(&socket), sender.local(), place.only_source());
        let path = self.path_ids.fresh();
        let arrivals = stream::unfold(receiver, move |mut receiver| async move {
            let arrived = receiver.next().await;
            Some(((path, arrived), receiver))
        });
        let (arrivals, listening) = stream::abortable(arrivals);
        self.received.push(arrivals.boxed());
        let (interface, local) = (Arc::clone(&place.interface.name), place.local);
        self.open
            .insert(path, Path { channel, place, receiver: socket, sender, datagram_bytes_max, listening });
        self.inputs.push_back(Input::MulticastUp { path, channel, interface, local, datagram_bytes_max });
        Ok(())
    }

    fn await_writable(&mut self, path: PathId) {
        let Some(open) = self.open.get(&path) else { return };
        let socket = open.sender.socket();
        // A socket that fails is found out by the next attempt to send.
        self.working.push(async move { socket.writable().await }.map(move |_| Done::Writable(path)).boxed());
    }

    fn lose(&mut self, path: PathId) {
        if self.end(path) {
            self.inputs.push_back(Input::MulticastDown { path });
        }
    }

    /// Closes a path and keeps its counters; returns whether it was open.
    fn end(&mut self, path: PathId) -> bool {
        let ended = self.open.remove(&path);
        ended.inspect(|path| self.transport += path.sender.transport()).is_some()
    }
}

#[cfg(test)]
mod tests;
