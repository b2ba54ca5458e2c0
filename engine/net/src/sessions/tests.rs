//! Two or three sets of sessions on loopback, without a node.

use std::time::Duration;

use swarmcast_core::node::CONTROL_BYTES_MAX;
use tokio::time::timeout;

use super::*;
use crate::endpoint::{ALPN, Sockets};

/// Longest wait for anything that must happen.
const WAIT_MAX: Duration = Duration::from_secs(8);

struct Peer {
    sessions: Sessions,
    id: PeerId,
    address: SocketAddr,
}

impl Peer {
    async fn new() -> Self {
        let Sockets { quic, port, .. } = Sockets::open(None, &["lo".to_owned()]).await.expect("loopback");
        let sessions = Sessions::new(quic, PathIds::default());
        Self { id: sessions.own, sessions, address: ([127, 0, 0, 1], port).into() }
    }

    async fn event(&mut self) -> SessionEvent {
        timeout(WAIT_MAX, self.sessions.next()).await.expect("an event in time")
    }

    /// Goes on until a session is up, and returns it.
    async fn up(&mut self) -> (PathId, bool) {
        loop {
            if let SessionEvent::Up { path, dialed, datagram_bytes_max, .. } = self.event().await {
                assert!(datagram_bytes_max >= 1100);
                return (path, dialed);
            }
        }
    }

    async fn close(self) {
        self.sessions.endpoint.close().await;
    }
}

async fn connected() -> ((Peer, PathId), (Peer, PathId)) {
    let (mut a, mut b) = (Peer::new().await, Peer::new().await);
    a.sessions.dial(b.id, vec![b.address]);
    let ((at_a, dialed), (at_b, _)) = tokio::join!(a.up(), b.up());
    assert!(dialed);
    ((a, at_a), (b, at_b))
}

async fn close_all(peers: impl IntoIterator<Item = Peer>) {
    futures_util::future::join_all(peers.into_iter().map(Peer::close)).await;
}

#[tokio::test]
async fn messages_of_every_size_arrive_whole_and_in_order() {
    let ((mut a, at_a), (mut b, at_b)) = connected().await;
    let sizes = [1, 2, 8191, 8192, 8193, CONTROL_BYTES_MAX];
    for (number, size) in sizes.into_iter().enumerate() {
        a.sessions.send_control(at_a, vec![number as u8; size].into());
    }
    let send = async { while !matches!(a.sessions.next().await, SessionEvent::Down { .. }) {} };
    let receive = async {
        for (number, size) in sizes.into_iter().enumerate() {
            match b.event().await {
                SessionEvent::Control { path, message } => {
                    assert_eq!((path, message.len()), (at_b, size));
                    assert!(message.iter().all(|byte| *byte == number as u8));
                }
                other => panic!("not a message: {other:?}"),
            }
        }
    };
    tokio::select! {
        () = send => panic!("the session must stay up"),
        () = receive => {}
    }
    close_all([a, b]).await;
}

#[tokio::test]
async fn both_sides_can_speak_first() {
    let ((mut a, _), (mut b, at_b)) = connected().await;
    b.sessions.send_control(at_b, Bytes::from_static(b"from the side that was dialled"));
    let message = tokio::select! {
        event = a.event() => event,
        event = b.event() => panic!("nothing happens here: {event:?}"),
    };
    assert!(
        matches!(message, SessionEvent::Control { message, .. } if message.starts_with(b"from the side"))
    );
    close_all([a, b]).await;
}

#[tokio::test]
async fn a_burst_within_the_credit_is_lost_nowhere() {
    let ((mut a, at_a), (mut b, at_b)) = connected().await;
    let session = a.sessions.session_mut(at_a).expect("up");
    let credit = session.credit();
    assert_eq!(credit, crate::endpoint::SEND_CREDIT_BYTES - 32);
    let burst: Vec<Bytes> = (0..credit / 1100).map(|n| Bytes::from(vec![n as u8; 1100])).collect();
    assert_eq!(session.send(&burst), 0);
    let mut received = Vec::new();
    while received.len() < burst.len() {
        if let SessionEvent::Datagrams { path, datagrams } = b.event().await {
            assert_eq!(path, at_b);
            received.extend(datagrams);
        }
    }
    assert_eq!(received, burst);
    close_all([a, b]).await;
}

#[tokio::test]
async fn what_a_session_carried_is_counted_beyond_its_end() {
    let ((mut a, at_a), (mut b, _)) = connected().await;
    let (a_before, b_before) = (a.sessions.transport(), b.sessions.transport());
    assert!(a_before.udp_bytes_sent > 1200, "the handshake counts: {a_before:?}");
    let batch = vec![Bytes::from(vec![7; 1100]); 20];
    assert_eq!(a.sessions.session_mut(at_a).expect("up").send(&batch), 0);
    let mut received = 0;
    while received < batch.len() {
        if let SessionEvent::Datagrams { datagrams, .. } = b.event().await {
            received += datagrams.len();
        }
    }
    let (sent, arrived) = (a.sessions.transport(), b.sessions.transport());
    assert!(sent.udp_bytes_sent >= a_before.udp_bytes_sent + 20 * 1100, "{sent:?}");
    assert!(sent.udp_datagrams_sent >= a_before.udp_datagrams_sent + 20, "{sent:?}");
    assert!(arrived.udp_bytes_received >= b_before.udp_bytes_received + 20 * 1100, "{arrived:?}");
    assert!(arrived.udp_datagrams_received >= b_before.udp_datagrams_received + 20, "{arrived:?}");
    a.sessions.close(at_a);
    while !matches!(b.event().await, SessionEvent::Down { .. }) {}
    for (peer, before) in [(&a, sent), (&b, arrived)] {
        let after = peer.sessions.transport();
        assert!(after.udp_bytes_sent >= before.udp_bytes_sent, "{after:?}");
        assert!(after.udp_bytes_received >= before.udp_bytes_received, "{after:?}");
    }
    close_all([a, b]).await;
}

#[tokio::test]
async fn a_datagram_above_the_path_does_not_take_the_batch_with_it() {
    let ((mut a, at_a), (mut b, _)) = connected().await;
    let batch = [Bytes::from(vec![1; 100]), Bytes::from(vec![2; 9000]), Bytes::from(vec![3; 100])];
    assert_eq!(a.sessions.session_mut(at_a).expect("up").send(&batch), 1);
    let mut received = Vec::new();
    while received.len() < 2 {
        if let SessionEvent::Datagrams { datagrams, .. } = b.event().await {
            received.extend(datagrams);
        }
    }
    assert_eq!(received, [batch[0].clone(), batch[2].clone()]);
    close_all([a, b]).await;
}

#[tokio::test]
async fn two_that_dial_each_other_at_once_agree_on_one_session() {
    for _ in 0..10 {
        let (mut a, mut b) = (Peer::new().await, Peer::new().await);
        a.sessions.dial(b.id, vec![b.address]);
        b.sessions.dial(a.id, vec![a.address]);
        // Goes on until both have one session, dialled by the smaller, that carries a message.
        let probe = async |peer: &mut Peer, smaller: bool| {
            loop {
                match peer.event().await {
                    SessionEvent::Up { path, .. } => {
                        peer.sessions.send_control(path, Bytes::from_static(b"x"));
                    }
                    SessionEvent::Control { path, .. } => {
                        let survivor = peer.sessions.session(path).is_some_and(|s| s.dialed == smaller);
                        if survivor {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        };
        let a_is_smaller = a.id < b.id;
        tokio::join!(probe(&mut a, a_is_smaller), probe(&mut b, !a_is_smaller));
        assert!(a.sessions.open.len() == 1 && b.sessions.open.len() == 1);
        close_all([a, b]).await;
    }
}

#[tokio::test]
async fn nobody_there_is_told_within_the_time_limit() {
    let mut a = Peer::new().await;
    let nobody = PeerId(*iroh::SecretKey::generate().public().as_bytes());
    a.sessions.dial(nobody, vec![([127, 0, 0, 1], 9).into()]);
    a.sessions.dial(PeerId([1; 32]), Vec::new());
    let mut failed = Vec::new();
    while failed.len() < 2 {
        if let SessionEvent::DialFailed { peer, why } = a.event().await {
            failed.push((peer, why));
        }
    }
    assert_eq!(failed[0].1, ConnectError::Unreachable);
    assert!(failed[1].0 == nobody && failed[1].1 != ConnectError::Unreachable);
    a.close().await;
}

#[tokio::test]
async fn who_breaks_the_framing_is_disconnected() {
    for wire in [&0u32.to_le_bytes()[..], &65_537u32.to_le_bytes(), &u32::MAX.to_le_bytes()] {
        let mut victim = Peer::new().await;
        let Sockets { quic, .. } = Sockets::open(None, &["lo".to_owned()]).await.expect("loopback");
        let id = iroh::EndpointId::from_bytes(&victim.id.0).expect("a key");
        let address = iroh::EndpointAddr::from_parts(id, [iroh::TransportAddr::Ip(victim.address)]);
        let attack = async {
            let connection = quic.connect(address, ALPN).await.expect("dialled");
            let (mut send, _receive) = connection.open_bi().await.expect("opened");
            control::write_opening(&mut send).await.expect("written");
            send.write_all(wire).await.expect("written");
            connection.closed().await
        };
        let watch = async {
            victim.up().await;
            assert!(matches!(victim.event().await, SessionEvent::Down { .. }));
            std::future::pending::<()>().await;
        };
        let closed = tokio::select! {
            closed = timeout(WAIT_MAX, attack) => closed.expect("closed in time"),
            () = watch => unreachable!("it waits for ever"),
        };
        assert!(
            format!("{closed:?}").contains(&format!("error_code: {}", CloseCode::Violation as u32)),
            "{closed:?}"
        );
        tokio::join!(quic.close(), victim.close());
    }
}

#[tokio::test]
async fn who_never_opens_its_stream_gets_no_session() {
    let mut victim = Peer::new().await;
    let Sockets { quic, .. } = Sockets::open(None, &["lo".to_owned()]).await.expect("loopback");
    let id = iroh::EndpointId::from_bytes(&victim.id.0).expect("a key");
    let address = iroh::EndpointAddr::from_parts(id, [iroh::TransportAddr::Ip(victim.address)]);
    let idle = async {
        let connection = quic.connect(address, ALPN).await.expect("dialled");
        connection.closed().await;
    };
    tokio::select! {
        closed = timeout(WAIT_MAX, idle) => closed.expect("closed in time"),
        event = victim.sessions.next() => panic!("not a session: {event:?}"),
    }
    assert!(victim.sessions.open.is_empty());
    tokio::join!(quic.close(), victim.close());
}
