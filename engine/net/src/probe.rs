//! Finding out whether a peer's host and node answer when its session does not: by a TCP hello on the same port, which
//! also works where UDP is blocked, and by one UDP datagram, which a firewall of this host refuses to its face.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use iroh::{Endpoint, EndpointId, TransportAddr};
use nix::errno::Errno;
use swarmcast_core::ids::PeerId;
use swarmcast_core::node::{Input, ProbeOutcome};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::hello::{self, AskError};

/// Time in which a probe is done: the core is promised a second.
const TIME_MAX: Duration = Duration::from_millis(900);

/// Addresses that are tried at once.
const ADDRESSES_MAX: usize = 8;

/// Probes under way at once; each is of another peer.
const PROBES_MAX: usize = 64;

/// The probes of a node.
pub(crate) struct Probes {
    endpoint: Endpoint,
    probed: BTreeSet<PeerId>,
    working: FuturesUnordered<BoxFuture<'static, (PeerId, ProbeOutcome)>>,
}

impl Probes {
    /// Makes the probes of an endpoint, none so far.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, probed: BTreeSet::new(), working: FuturesUnordered::new() }
    }

    /// Starts a probe; one that is under way answers for both. Without addresses it goes where the peer was last known.
    pub(crate) fn start(&mut self, peer: PeerId, addresses: Vec<SocketAddr>) {
        if !self.probed.insert(peer) {
            return;
        }
        if self.probed.len() > PROBES_MAX {
            self.working.push(std::future::ready((peer, ProbeOutcome::Silent)).boxed());
            return;
        }
        let endpoint = self.endpoint.clone();
        let probe = async move {
            let addresses = if addresses.is_empty() { last_known(&endpoint, peer).await } else { addresses };
            (peer, probe(peer, addresses).await)
        };
        self.working.push(probe.boxed());
    }

    /// Waits for the next outcome. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Input {
        match self.working.next().await {
            Some((peer, outcome)) => {
                self.probed.remove(&peer);
                Input::Probed { peer, outcome }
            }
            None => std::future::pending().await,
        }
    }
}

async fn last_known(endpoint: &Endpoint, peer: PeerId) -> Vec<SocketAddr> {
    let Ok(id) = EndpointId::from_bytes(&peer.0) else { return Vec::new() };
    let known = timeout(TIME_MAX, endpoint.remote_info(id)).await.ok().flatten();
    let addresses = known.into_iter().flat_map(|known| known.into_addrs());
    let direct = addresses.filter_map(|address| match address.addr() {
        TransportAddr::Ip(address) => Some(*address),
        _ => None,
    });
    direct.collect()
}

/// Probes all addresses at once; what tells most counts.
async fn probe(peer: PeerId, addresses: Vec<SocketAddr>) -> ProbeOutcome {
    let probes = addresses.into_iter().take(ADDRESSES_MAX).map(|address| probe_address(peer, address));
    join_all(probes).await.into_iter().min_by_key(|outcome| worth(*outcome)).unwrap_or(ProbeOutcome::NoRoute)
}

/// Returns how much an outcome tells beside those of the peer's other addresses, most first.
fn worth(outcome: ProbeOutcome) -> u8 {
    match outcome {
        ProbeOutcome::Answered => 0,
        ProbeOutcome::Forbidden => 1,
        ProbeOutcome::Mute => 2,
        ProbeOutcome::Refused => 3,
        ProbeOutcome::Silent => 4,
        ProbeOutcome::NoRoute => 5,
    }
}

async fn probe_address(peer: PeerId, address: SocketAddr) -> ProbeOutcome {
    if let Err(error) = send_datagram(address).await
        && is_forbidden(&error)
    {
        return ProbeOutcome::Forbidden;
    }
    match hello::ask(address, TIME_MAX).await {
        Ok(answered) if answered == peer => ProbeOutcome::Answered,
        // Another node has the port: nobody listens there as the peer.
        Ok(_) => ProbeOutcome::Refused,
        Err(AskError::Mute) => ProbeOutcome::Mute,
        Err(AskError::Silent) => ProbeOutcome::Silent,
        Err(AskError::Unconnected(error)) => outcome_of(&error),
    }
}

fn outcome_of(error: &io::Error) -> ProbeOutcome {
    match error.kind() {
        _ if is_forbidden(error) => ProbeOutcome::Forbidden,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => ProbeOutcome::Refused,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown | io::ErrorKind::AddrNotAvailable => {
            ProbeOutcome::NoRoute
        }
        // Among them `HostUnreachable`: the host does not say who has the address.
        _ => ProbeOutcome::Silent,
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    [Errno::EPERM, Errno::EACCES].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Sends an empty datagram, which QUIC ignores, from a port of its own.
async fn send_datagram(address: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.send_to(&[], address).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::tests::namespace::Namespace;

    const PEER: PeerId = PeerId([7; 32]);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    async fn outcome(addresses: &[SocketAddr]) -> ProbeOutcome {
        let probe = timeout(Duration::from_secs(1), probe(PEER, addresses.to_vec()));
        probe.await.expect("the core is promised a second")
    }

    #[tokio::test]
    async fn a_host_is_told_from_a_node_and_a_node_from_another() {
        let (closed, refusing) = listener().await;
        drop(closed);
        let (_mute, silent) = listener().await;
        let (answering, address) = listener().await;
        assert_eq!(outcome(&[]).await, ProbeOutcome::NoRoute);
        assert_eq!(outcome(&[refusing]).await, ProbeOutcome::Refused);
        assert_eq!(outcome(&[refusing, silent]).await, ProbeOutcome::Mute);
        for (own, expected) in [(PEER, ProbeOutcome::Answered), (PeerId([8; 32]), ProbeOutcome::Refused)] {
            let answered = tokio::select! {
                _ = hello::serve(std::slice::from_ref(&answering), own) => None,
                outcome = async { outcome(&[refusing, address]).await } => Some(outcome),
            };
            assert_eq!(answered, Some(expected));
        }
    }

    #[tokio::test]
    async fn silence_a_missing_route_and_a_ban_are_told_apart() {
        let Some(host) = Namespace::new() else { return };
        let _inside = host.enter();
        let (_dropped, address) = listener().await;
        let elsewhere = "192.0.2.1:9".parse().expect("an address");
        assert_eq!(outcome(&[elsewhere]).await, ProbeOutcome::NoRoute);
        host.run(&format!(
            "nft add table inet t
             nft add chain inet t in '{{ type filter hook input priority 0; }}'
             nft add rule inet t in tcp dport {} drop",
            address.port()
        ));
        assert_eq!(outcome(&[elsewhere, address]).await, ProbeOutcome::Silent);
        host.run(
            "nft add chain inet t out '{ type filter hook output priority 0; }'
             nft add rule inet t out meta l4proto udp drop",
        );
        assert_eq!(outcome(&[elsewhere, address]).await, ProbeOutcome::Forbidden);
    }

    #[tokio::test]
    async fn a_peer_under_probe_is_not_probed_twice() {
        let endpoint = Endpoint::builder(iroh::endpoint::presets::Minimal);
        let endpoint = endpoint.relay_mode(iroh::RelayMode::Disabled).clear_ip_transports();
        let endpoint = endpoint.bind_addr("127.0.0.1:0").expect("an address").bind().await.expect("loopback");
        let (closed, refusing) = listener().await;
        drop(closed);
        let mut probes = Probes::new(endpoint.clone());
        probes.start(PEER, vec![refusing]);
        probes.start(PEER, Vec::new());
        let Input::Probed { peer, outcome } = probes.next().await else { panic!("not of a probe") };
        assert_eq!((peer, outcome), (PEER, ProbeOutcome::Refused));
        assert!(probes.working.is_empty());
        // Nothing is known of a peer that nobody ever met.
        probes.start(PEER, Vec::new());
        let Input::Probed { outcome, .. } = probes.next().await else { panic!("not of a probe") };
        assert_eq!(outcome, ProbeOutcome::NoRoute);
        endpoint.close().await;
    }
}
