//! Multicast at work: groups joined and left, datagrams sent once and taken by every member.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{ChannelId, PathId};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::node::{Batch, Input};

use super::agenda::Happening;
use super::drive::tell_datagram;
use super::host::{Errand, Host, address_of};
use super::{Shared, World};
use crate::network::HostId;
use crate::oracle::Breach;

/// Largest UDP payload of an Ethernet packet by IPv4.
const DATAGRAM_BYTES_MAX: usize = 1_500 - 20 - 8;

/// Name of every host's one interface.
const INTERFACE: &str = "eth0";

impl Host {
    /// Fills a multicast path as far as its socket takes it, and plans the next try when that was not far enough.
    pub(super) fn fill_multicast(&mut self, shared: &Shared, path: PathId) {
        let at = self.now;
        let (credit, more_at) = self.line.multicast_credit(at);
        if credit < DATAGRAM_BYTES_MAX {
            return self.plan_multicast(path, more_at);
        }
        let mut batch = Batch::default();
        self.process.fill(self.clock.now(at), path, credit, &mut batch);
        let bytes: usize = batch.datagrams.iter().map(Bytes::len).sum();
        let largest = batch.datagrams.iter().map(Bytes::len).max().unwrap_or(0);
        if bytes > credit || largest > DATAGRAM_BYTES_MAX {
            let is_long = largest > DATAGRAM_BYTES_MAX;
            let (bytes, limit) = if is_long { (largest, DATAGRAM_BYTES_MAX) } else { (bytes, credit) };
            self.report(Err(Breach::Oversized { path, bytes, limit }));
        }
        for datagram in batch.datagrams {
            self.trace.note((at, self.id), "multicast out", u64::from(path.0), &datagram, || {
                tell_datagram(&datagram)
            });
            self.vouch(shared, &datagram);
            let hops = self.hops_by_now(shared, &datagram);
            let cut = shared.network.is_cut(self.id);
            if let Some(departs) = self.line.multicast(at, cut, datagram.len()) {
                self.errands.push((at, Errand::Multicast { departs, path, datagram, hops }));
            }
        }
        if bytes + DATAGRAM_BYTES_MAX > credit {
            let (_, more_at) = self.line.multicast_credit(at);
            self.plan_multicast(path, more_at);
        }
    }

    /// Gives a multicast path its credit back.
    pub(super) fn refill_multicast(&mut self, shared: &Shared, path: PathId) {
        self.multicast_waits.remove(&path);
        if shared.standing(self.id).is_running() && shared.network.lan.has(self.id, path) {
            self.fill_multicast(shared, path);
            self.drain(shared);
        }
    }

    /// Takes a multicast datagram through the access line.
    pub(super) fn arrive_multicast(&mut self, path: PathId, source: SocketAddr, datagram: Bytes, hops: u8) {
        if let Some(at) = self.line.receive_multicast(self.now, datagram.len()) {
            let input = Box::new(Input::Multicast { path, from: source, datagram });
            self.agenda.plan(at, Happening::Feed { input, hops });
        }
    }

    fn plan_multicast(&mut self, path: PathId, at: Duration) {
        if self.multicast_waits.insert(path) {
            let at = at.max(self.now + Duration::from_micros(100));
            self.agenda.plan(at, Happening::RefillMulticast { path });
        }
    }
}

impl World {
    /// Joins a channel's group, as `Action::OpenMulticast` asks: hosts of this world speak IPv4.
    pub(super) fn open_multicast(&mut self, host: HostId, channel: ChannelId, groups: &[MulticastGroup]) {
        let Some(group) = groups.iter().find(|group| group.address.is_ipv4()) else { return };
        self.shared.network.lan.open(host, channel, *group);
        self.join_group(host, channel);
    }

    /// Takes a host's interface down, or up again with new paths.
    pub(super) fn unplug(&mut self, host: HostId, unplugged: bool) {
        if std::mem::replace(&mut self.host_mut(host).unplugged, unplugged) == unplugged {
            return;
        }
        self.feed(host, Input::Network { up: !unplugged });
        if unplugged {
            for path in self.shared.network.lan.leave(host) {
                self.feed(host, Input::MulticastDown { path });
            }
        } else {
            for channel in self.shared.network.lan.channels(host) {
                self.join_group(host, channel);
            }
        }
    }

    /// Carries a multicast datagram that has left its host to everybody whom it reaches.
    pub(super) fn send_multicast(
        &mut self,
        from: HostId,
        (departs, path): (Duration, PathId),
        datagram: &Bytes,
        hops: u8,
    ) {
        let source = address_of(from);
        let dice = &mut self.hosts[from.0 as usize].dice;
        let by = (from, source.ip(), path);
        for copies in self.shared.network.multicast(dice, departs, by, datagram.len()) {
            let (to, path) = (copies.host, copies.path);
            let queues = self.shared.network.place(to).queues;
            for arrival in copies.arrivals.into_iter().flatten() {
                let datagram = datagram.clone();
                let happening = if queues {
                    Happening::ArriveMulticast { path, source, datagram, hops }
                } else {
                    let input = Box::new(Input::Multicast { path, from: source, datagram });
                    Happening::Feed { input, hops }
                };
                self.plan(arrival, to, happening);
            }
        }
    }

    /// Makes the host a member by a new path, unless its cable is out.
    fn join_group(&mut self, host: HostId, channel: ChannelId) {
        let now = self.now;
        let target = self.host_mut(host);
        if target.unplugged {
            return;
        }
        let (path, local) = (target.new_path(), address_of(host).ip());
        self.shared.network.lan.join(now, host, channel, path);
        let (interface, datagram_bytes_max) = (Arc::from(INTERFACE), DATAGRAM_BYTES_MAX);
        let input = Input::MulticastUp { path, channel, interface, local, datagram_bytes_max };
        self.plan(now, host, Happening::Feed { input: Box::new(input), hops: 0 });
    }
}
