//! The two sockets of a group on one interface: one that is joined, one that sends.
//!
//! Every process of a host has its own pair. `SO_REUSEADDR` lets them all bind the group's address, and the system then
//! hands a copy to each; with `SO_REUSEPORT` other users' processes could not join in.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{ip_mtu, ipv6_mtu};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use swarmcast_core::multicast::MulticastGroup;
use tokio::net::UdpSocket;

use crate::interfaces::Interface;

/// Bytes that wait for a process that is busy: 4 s of 8 Mbit/s. The system counts them with its own overhead, for which
/// it doubles the number.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Routers a datagram may pass: none.
const HOPS_MAX: u32 = 1;

/// Smallest datagram that the core counts on: QUIC's first packets carry as much.
const DATAGRAM_BYTES_MIN: usize = 1162;

/// Largest datagram: what QUIC carries in an Ethernet's MTU. Blocks are cut once for all paths.
const DATAGRAM_BYTES_MAX: usize = 1414;

/// Bytes of the headers of IPv4 and UDP, and of IPv6 and UDP.
const HEADER_BYTES: [usize; 2] = [28, 48];

/// Where a pair of sockets belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) interface: Interface,
    pub(super) group: MulticastGroup,
    /// The interface's address that is sent from.
    pub(super) local: IpAddr,
}

impl Place {
    /// Returns a group's place on an interface that has an address of its family.
    pub(super) fn new(interface: &Interface, group: MulticastGroup) -> Option<Self> {
        let local = interface.source(group.address.is_ipv6())?;
        Some(Self { interface: interface.clone(), group, local })
    }

    /// Opens the joined socket.
    pub(super) fn receiver(&self) -> io::Result<UdpSocket> {
        let socket = self.open()?;
        socket.set_reuse_address(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)
            .map_err(io::Error::from)
            .or_else(|_| socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES))?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        // Without it, or on an old kernel, datagrams come one by one.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        // What other processes joined elsewhere is not for this socket.
        match self.group.address {
            IpAddr::V4(_) => socket.set_multicast_all_v4(false)?,
            IpAddr::V6(_) => socket.set_multicast_all_v6(false)?,
        }
        socket.bind(&self.address(self.group.address, self.group.port).into())?;
        self.join(SockRef::from(&socket))?;
        UdpSocket::from_std(socket.into())
    }

    /// Opens the sending socket, connected to the group.
    pub(super) fn sender(&self) -> io::Result<UdpSocket> {
        let socket = self.open()?;
        match self.local {
            IpAddr::V4(local) => {
                socket.set_multicast_if_v4(&local)?;
                socket.set_multicast_ttl_v4(HOPS_MAX)?;
                // Other nodes of this host listen too.
                socket.set_multicast_loop_v4(true)?;
            }
            IpAddr::V6(_) => {
                socket.set_multicast_if_v6(self.interface.index)?;
                socket.set_multicast_hops_v6(HOPS_MAX)?;
                socket.set_multicast_loop_v6(true)?;
            }
        }
        socket.bind(&self.address(self.local, 0).into())?;
        socket.connect(&self.address(self.group.address, self.group.port).into())?;
        UdpSocket::from_std(socket.into())
    }

    /// Returns the largest payload that crosses the interface whole, as a sending socket knows it.
    pub(super) fn datagram_bytes_max(&self, sender: &UdpSocket) -> usize {
        let v6 = self.local.is_ipv6();
        let mtu = if v6 { ipv6_mtu(sender) } else { ip_mtu(sender) };
        let payload = mtu.map_or(0, |mtu| (mtu as usize).saturating_sub(HEADER_BYTES[usize::from(v6)]));
        payload.clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX)
    }

    /// Makes the interface a member of the group on behalf of a socket.
    pub(super) fn join(&self, socket: SockRef<'_>) -> io::Result<()> {
        let index = InterfaceIndexOrAddress::Index(self.interface.index);
        match (self.group.address, self.local, self.only_source()) {
            (IpAddr::V4(group), IpAddr::V4(local), Some(IpAddr::V4(source))) => {
                socket.join_ssm_v4(&source, &group, &local)
            }
            (IpAddr::V4(group), ..) => socket.join_multicast_v4_n(&group, &index),
            (IpAddr::V6(group), ..) => socket.join_multicast_v6(&group, self.interface.index),
        }
    }

    /// Ends what [`Place::join`] began.
    pub(super) fn leave(&self, socket: SockRef<'_>) -> io::Result<()> {
        let index = InterfaceIndexOrAddress::Index(self.interface.index);
        match (self.group.address, self.local, self.only_source()) {
            (IpAddr::V4(group), IpAddr::V4(local), Some(IpAddr::V4(source))) => {
                socket.leave_ssm_v4(&source, &group, &local)
            }
            (IpAddr::V4(group), ..) => socket.leave_multicast_v4_n(&group, &index),
            (IpAddr::V6(group), ..) => socket.leave_multicast_v6(&group, self.interface.index),
        }
    }

    /// Returns the one source that is listened to. The source itself listens to all: its viewers report to it here.
    ///
    /// No safe wrapper has the IPv6 call for one source, so an IPv6 group is joined for all and others are dropped as
    /// they are read.
    pub(super) fn only_source(&self) -> Option<IpAddr> {
        self.group.source.filter(|source| !self.interface.addresses.contains(source))
    }

    fn open(&self) -> io::Result<Socket> {
        let socket =
            Socket::new(Domain::for_address(self.group.socket_address()), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if self.group.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // IPv6 hands what came by one interface also to sockets that joined the group on another, unless they are bound
        // to theirs. Before Linux 5.7 that took a privilege; without it such datagrams are duplicates, no more.
        let _ = socket.bind_device(Some(self.interface.name.as_bytes()));
        Ok(socket)
    }

    fn address(&self, ip: IpAddr, port: u16) -> SocketAddr {
        match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.interface.index).into(),
        }
    }
}
