//! Peers that the user named: who they are, and whether somebody else listens there by now.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use swarmcast_core::ids::PeerId;
use swarmcast_core::node::{Input, Sighting};
use tokio::time::{Instant, sleep_until};

use crate::PeerAddress;
use crate::clock::instant_after;
use crate::hello;

/// Wait before the second hello to a peer that did not answer; doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_millis(200);

/// Wait between hellos to a peer that has no session: it may have been restarted under another identity.
const WAIT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Named {
    address: SocketAddr,
    peer: Option<PeerId>,
    up: bool,
    /// When to ask; `None` while an answer is awaited.
    ask_at: Option<Instant>,
    wait: Duration,
}

/// The peers that the user named.
pub(crate) struct NamedPeers {
    own: PeerId,
    named: Vec<Named>,
    asking: FuturesUnordered<BoxFuture<'static, (usize, Option<PeerId>)>>,
    inputs: VecDeque<Input>,
}

impl NamedPeers {
    /// Takes what the user named. Those with an identity are sighted at once, the others are asked for it.
    pub(crate) fn new(own: PeerId, peers: Vec<PeerAddress>) -> Self {
        let mut this =
            Self { own, named: Vec::new(), asking: FuturesUnordered::new(), inputs: VecDeque::new() };
        for PeerAddress { peer, addresses } in peers {
            if let Some(peer) = peer {
                this.sight(peer, addresses);
                continue;
            }
            let ask_at = Some(instant_after(Duration::ZERO));
            let named = addresses.into_iter().map(|address| Named {
                address,
                peer,
                up: false,
                ask_at,
                wait: WAIT_MIN,
            });
            this.named.extend(named);
        }
        this
    }

    /// Waits for the next thing to tell the core. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                return input;
            }
            let due = self.named.iter().enumerate().filter(|(_, named)| !named.up);
            let due = due.filter_map(|(place, named)| Some((named.ask_at?, place))).min();
            tokio::select! {
                Some((place, answer)) = self.asking.next() => self.handle_answer(place, answer),
                Some(place) = wait_for(due) => self.ask(place),
                else => std::future::pending().await,
            }
        }
    }

    /// Notes whether a session with a peer is up: then there is nothing to ask.
    pub(crate) fn set_up(&mut self, peer: PeerId, up: bool) {
        for named in self.named.iter_mut().filter(|named| named.peer == Some(peer)) {
            named.up = up;
        }
    }

    fn ask(&mut self, place: usize) {
        let named = &mut self.named[place];
        named.ask_at = None;
        self.asking
            .push(hello::ask(named.address, hello::TIME_MAX).map(move |answer| (place, answer.ok())).boxed());
    }

    fn handle_answer(&mut self, place: usize, answer: Option<PeerId>) {
        let named = &mut self.named[place];
        let wait = if answer.is_some() { WAIT_MAX } else { named.wait };
        named.wait = (named.wait * 2).min(WAIT_MAX);
        named.ask_at = Some(instant_after(wait));
        let Some(peer) = answer.filter(|peer| *peer != self.own && named.peer != Some(*peer)) else { return };
        let address = named.address;
        if let Some(before) = named.peer.replace(peer) {
            self.inputs.push_back(Input::Vanished(before));
        }
        self.sight(peer, vec![address]);
    }

    fn sight(&mut self, peer: PeerId, addresses: Vec<SocketAddr>) {
        let sighting = Sighting { peer, addresses, group: None, manual: true, publishes: Vec::new() };
        self.inputs.push_back(Input::Sighted(sighting));
    }
}

async fn wait_for(due: Option<(Instant, usize)>) -> Option<usize> {
    let (at, place) = due?;
    sleep_until(at).await;
    Some(place)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn sighted(input: Input) -> Sighting {
        match input {
            Input::Sighted(sighting) => sighting,
            other => panic!("not a sighting: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_peer_with_identity_is_sighted_at_once() {
        let text = format!("{}@127.0.0.1:9", "07".repeat(32));
        let mut peers = NamedPeers::new(PeerId([0; 32]), vec![text.parse().expect("valid")]);
        let sighting = sighted(peers.next().await);
        assert_eq!((sighting.peer, sighting.manual), (PeerId([7; 32]), true));
    }

    #[tokio::test]
    async fn a_peer_is_asked_until_it_answers_and_again_after_its_restart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let mut peers = NamedPeers::new(PeerId([0; 32]), vec![address.to_string().parse().expect("valid")]);
        let before_it_listens = tokio::time::timeout(WAIT_MIN / 2, peers.next()).await;
        assert!(before_it_listens.is_err());
        let serve_as = async |peers: &mut NamedPeers, id: u8| {
            let listeners = [TcpListener::bind(address).await.expect("free again")];
            tokio::select! {
                _ = hello::serve(&listeners, PeerId([id; 32])) => None,
                input = peers.next() => Some(input),
            }
        };
        let first = serve_as(&mut peers, 1).await.map(sighted).expect("it answers");
        assert_eq!((first.peer, first.addresses), (PeerId([1; 32]), vec![address]));
        let gone = serve_as(&mut peers, 2).await.expect("it answers");
        assert!(matches!(gone, Input::Vanished(peer) if peer == PeerId([1; 32])));
        assert_eq!(sighted(peers.next().await).peer, PeerId([2; 32]));
    }
}
