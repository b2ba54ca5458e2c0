//! One-shot questions: what makes a node that starts see the others within milliseconds.
//!
//! Ordinary mDNS waits on purpose: a querier 20 to 120 ms before it asks, a responder as long before it answers, and an
//! answer that was multicast within the last second is not repeated. A question from another port than 5353 is
//! answered at once, by unicast (RFC 6762 sections 5.1 and 6.7), so a node asks that way at its start, and leaves
//! everything after to its ordinary browser.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use simple_dns::{CLASS, Name, Packet, QTYPE, Question, TYPE};
use socket2::{Domain, Protocol, Socket, Type};
use swarmcast_core::discovery::LanNode;
use tokio::net::UdpSocket;

use super::SERVICE;
use super::answer;
use crate::PEER_ADDRESSES_MAX;
use crate::interfaces::{is_dialable, local_addresses};

const MDNS_PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Largest answer that is read: a DNS message on an Ethernet.
const ANSWER_BYTES_MAX: usize = 1500;

/// A pair of sockets that ask on all interfaces.
#[derive(Debug)]
pub(super) struct Questioner {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    interfaces: Vec<String>,
}

impl Questioner {
    /// Opens the sockets; a host without one of the families asks by the other.
    pub(super) fn open(interfaces: &[String]) -> Self {
        let v4 = open_socket(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).ok();
        let v6 = open_socket(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)).ok();
        Self { v4, v6, interfaces: interfaces.to_vec() }
    }

    /// Asks everybody, once on each interface. An interface that refuses is left to the ordinary browser.
    pub(super) fn ask(&self) {
        let Some(question) = question() else { return };
        for address in local_addresses(&self.interfaces).unwrap_or_default() {
            let _ = match address.ip {
                IpAddr::V4(ip) => self.v4.as_ref().map(|socket| ask_v4(socket, ip, &question)),
                IpAddr::V6(_) => self.v6.as_ref().map(|socket| ask_v6(socket, address.index, &question)),
            };
        }
    }

    /// Waits for the next well-formed answer.
    pub(super) async fn next(&self) -> LanNode {
        loop {
            let mut answer = [0; ANSWER_BYTES_MAX];
            let mut other = [0; ANSWER_BYTES_MAX];
            let received = tokio::select! {
                Ok((size, _)) = receive(self.v4.as_ref(), &mut answer) => read(&answer[..size]),
                Ok((size, _)) = receive(self.v6.as_ref(), &mut other) => read(&other[..size]),
                else => None,
            };
            match received {
                Some(node) => return node,
                // An error of both sockets at once would spin.
                None => tokio::task::yield_now().await,
            }
        }
    }
}

fn open_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(255)?;
    } else {
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(255)?;
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn ask_v4(socket: &UdpSocket, interface: Ipv4Addr, question: &[u8]) -> io::Result<usize> {
    socket2::SockRef::from(socket).set_multicast_if_v4(&interface)?;
    socket.try_send_to(question, (GROUP_V4, MDNS_PORT).into())
}

fn ask_v6(socket: &UdpSocket, interface: u32, question: &[u8]) -> io::Result<usize> {
    socket2::SockRef::from(socket).set_multicast_if_v6(interface)?;
    socket.try_send_to(question, SocketAddrV6::new(GROUP_V6, MDNS_PORT, 0, interface).into())
}

async fn receive(socket: Option<&UdpSocket>, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(into).await,
        None => std::future::pending().await,
    }
}

fn question() -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(0);
    let name = Name::new(SERVICE).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::PTR), CLASS::IN.into(), true));
    packet.build_bytes_vec().ok()
}

fn read(message: &[u8]) -> Option<LanNode> {
    answer::read(message, SERVICE, PEER_ADDRESSES_MAX, is_dialable)
}
