//! Multicast at work: groups joined and left, datagrams sent once and taken by every member.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{ChannelId, PathId};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::node::{Batch, Input};

use super::World;
use super::agenda::Happening;
use super::drive::tell_datagram;
use crate::network::HostId;
use crate::oracle::Breach;

/// Largest UDP payload of an Ethernet packet by IPv4.
const DATAGRAM_BYTES_MAX: usize = 1_500 - 20 - 8;

/// Name of every host's one interface.
const INTERFACE: &str = "eth0";

impl World {
    /// Joins a channel's group, as `Action::OpenMulticast` asks: hosts of this world speak IPv4.
    pub(super) fn open_multicast(&mut self, host: HostId, channel: ChannelId, groups: &[MulticastGroup]) {
        let Some(group) = groups.iter().find(|group| group.address.is_ipv4()) else { return };
        self.network.lan.open(host, channel, *group);
        self.join_group(host, channel);
    }

    /// Makes the host a member by a new path, unless its cable is out.
    pub(super) fn join_group(&mut self, host: HostId, channel: ChannelId) {
        let target = self.host_mut(host);
        if target.unplugged {
            return;
        }
        let (path, local) = (target.new_path(), target.address().ip());
        self.network.lan.join(self.now, host, channel, path);
        let interface = Arc::from(INTERFACE);
        let datagram_bytes_max = DATAGRAM_BYTES_MAX;
        self.feed_later(host, Input::MulticastUp { path, channel, interface, local, datagram_bytes_max });
    }

    /// Takes a host's interface down, or up again with new paths.
    pub(super) fn unplug(&mut self, host: HostId, unplugged: bool) {
        if std::mem::replace(&mut self.host_mut(host).unplugged, unplugged) == unplugged {
            return;
        }
        self.feed(host, Input::Network { up: !unplugged });
        if unplugged {
            for path in self.network.lan.leave(host) {
                self.feed(host, Input::MulticastDown { path });
            }
        } else {
            for channel in self.network.lan.channels(host) {
                self.join_group(host, channel);
            }
        }
    }

    /// Fills a multicast path as far as its socket takes it, and plans the next try when that was not far enough.
    pub(super) fn fill_multicast(&mut self, host: HostId, path: PathId) {
        let at = self.now;
        let (credit, more_at) = self.network.multicast_credit(at, host);
        if credit < DATAGRAM_BYTES_MAX {
            return self.plan_multicast(host, path, more_at);
        }
        let target = self.host_mut(host);
        let (now, address) = (target.clock.now(at), target.address().ip());
        let mut batch = Batch::default();
        target.process.fill(now, path, credit, &mut batch);
        let bytes: usize = batch.datagrams.iter().map(Bytes::len).sum();
        let largest = batch.datagrams.iter().map(Bytes::len).max().unwrap_or(0);
        if bytes > credit || largest > DATAGRAM_BYTES_MAX {
            let is_long = largest > DATAGRAM_BYTES_MAX;
            let (bytes, limit) = if is_long { (largest, DATAGRAM_BYTES_MAX) } else { (bytes, credit) };
            self.report(host, Err(Breach::Oversized { path, bytes, limit }));
        }
        for datagram in batch.datagrams {
            self.trace
                .note((at, host), "multicast out", u64::from(path.0), &datagram, || tell_datagram(&datagram));
            self.vouch(host, &datagram);
            self.send_multicast((host, address, path), &datagram);
        }
        if bytes + DATAGRAM_BYTES_MAX > credit {
            let (_, more_at) = self.network.multicast_credit(at, host);
            self.plan_multicast(host, path, more_at);
        }
    }

    /// Gives a multicast path its credit back.
    pub(super) fn refill_multicast(&mut self, host: HostId, path: PathId) {
        self.host_mut(host).multicast_waits.remove(&path);
        if self.host(host).is_running() && self.network.lan.has(host, path) {
            self.fill_multicast(host, path);
            self.drain(host);
        }
    }

    /// Takes a multicast datagram through the receiver's access line.
    pub(super) fn arrive_multicast(
        &mut self,
        (from, to): (HostId, HostId),
        path: PathId,
        source: SocketAddr,
        datagram: Bytes,
    ) {
        if let Some(at) = self.network.receive_multicast(self.now, (from, to), datagram.len()) {
            let input = Box::new(Input::Multicast { path, from: source, datagram });
            self.agenda.plan(at, Happening::Feed { host: to, input });
        }
    }

    fn send_multicast(&mut self, from: (HostId, std::net::IpAddr, PathId), datagram: &Bytes) {
        let source = self.host(from.0).address();
        for copies in self.network.multicast(&mut self.dice, self.now, from, datagram.len()) {
            let (to, path) = (copies.host, copies.path);
            let queues = self.network.has_downlink_limit(to);
            for arrival in copies.arrivals.into_iter().flatten() {
                let datagram = datagram.clone();
                let happening = if queues {
                    Happening::ArriveMulticast { way: (from.0, to), path, source, datagram }
                } else {
                    let input = Box::new(Input::Multicast { path, from: source, datagram });
                    Happening::Feed { host: to, input }
                };
                self.agenda.plan(arrival, happening);
            }
        }
    }

    fn plan_multicast(&mut self, host: HostId, path: PathId, at: Duration) {
        if self.host_mut(host).multicast_waits.insert(path) {
            let at = at.max(self.now + Duration::from_micros(100));
            self.agenda.plan(at, Happening::RefillMulticast { host, path });
        }
    }
}
