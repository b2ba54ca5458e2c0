//! The TCP hello: whoever connects is told who listens here, and nothing else.
//!
//! It lets a user name a peer by address alone, and shows later whether a host answers at all when its UDP does not.
//! The server writes [`MAGIC`] and its 32-byte endpoint id, and closes; it reads nothing.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use swarmcast_core::ids::PeerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout, timeout_at};

use crate::clock::instant_after;

/// First bytes of the answer: name and version of the hello.
const MAGIC: [u8; 4] = *b"SWC\x01";

/// Time within which a connection must be done.
pub(crate) const TIME_MAX: Duration = Duration::from_millis(1500);

/// Connections served at once; more wait in the listener's backlog of 16.
const SERVED_MAX: usize = 8;

/// Shortest time between two connections once a burst of [`SERVED_MAX`] has been served: 50 a second.
const PACE: Duration = Duration::from_millis(20);

/// Answers hellos on all `listeners` for as long as it is polled.
pub(crate) async fn serve(listeners: &[TcpListener], peer: PeerId) -> Infallible {
    let mut serving = FuturesUnordered::new();
    let mut credit = SERVED_MAX;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some(()) = serving.next() => {}
            _ = pace.tick(), if credit < SERVED_MAX => credit += 1,
            stream = accept(listeners), if credit > 0 && serving.len() < SERVED_MAX => {
                credit -= 1;
                if let Ok(stream) = stream {
                    serving.push(answer(stream, peer));
                }
            }
        }
    }
}

async fn accept(listeners: &[TcpListener]) -> io::Result<TcpStream> {
    if listeners.is_empty() {
        std::future::pending::<()>().await;
    }
    let (accepted, ..) = select_all(listeners.iter().map(|l| Box::pin(l.accept()))).await;
    accepted.map(|(stream, _)| stream)
}

/// A peer that does not take the answer is nobody's loss, so errors end here.
async fn answer(mut stream: TcpStream, peer: PeerId) {
    let mut hello = [0; 36];
    hello[..4].copy_from_slice(&MAGIC);
    hello[4..].copy_from_slice(&peer.0);
    let write = async {
        stream.write_all(&hello).await?;
        stream.shutdown().await
    };
    let _ = timeout(TIME_MAX, write).await;
}

/// Why nobody is known to listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The connection did not come up.
    #[error("no connection: {0}")]
    Unconnected(io::Error),
    /// Nothing came back in time.
    #[error("no answer")]
    Silent,
    /// Somebody took the connection and did not say a hello in time, or said something else.
    #[error("no hello")]
    Mute,
}

/// Asks who listens at `address`, at most for `time_max`.
///
/// # Errors
/// [`AskError::Unconnected`] when the system or the host refuses the connection, [`AskError::Silent`] when it did not
/// come up in time, [`AskError::Mute`] when nobody of ours answered by it.
pub(crate) async fn ask(address: SocketAddr, time_max: Duration) -> Result<PeerId, AskError> {
    let end = instant_after(time_max);
    let connect = timeout_at(end, TcpStream::connect(address));
    let mut stream = connect.await.map_err(|_| AskError::Silent)?.map_err(AskError::Unconnected)?;
    let mut hello = [0; 36];
    let read = timeout_at(end, stream.read_exact(&mut hello)).await;
    read.map_err(|_| AskError::Mute)?.map_err(|_| AskError::Mute)?;
    let (magic, id) = hello.split_at(4);
    let id = id.try_into().ok().filter(|_| magic == MAGIC);
    id.map(PeerId).ok_or(AskError::Mute)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    #[tokio::test]
    async fn who_asks_is_told_who_listens() {
        let (listener, address) = listener().await;
        let peer = PeerId([7; 32]);
        let answered = tokio::select! {
            _ = serve(std::slice::from_ref(&listener), peer) => None,
            answer = ask(address, TIME_MAX) => answer.ok(),
        };
        assert_eq!(answered, Some(peer));
    }

    #[tokio::test]
    async fn idle_connections_do_not_keep_others_out() {
        let (listener, address) = listener().await;
        let peer = PeerId([8; 32]);
        let flood = async {
            let mut idle = Vec::new();
            for _ in 0..2 * SERVED_MAX {
                idle.push(TcpStream::connect(address).await.expect("the backlog takes it"));
            }
            let answer = ask(address, TIME_MAX).await.ok();
            drop(idle);
            answer
        };
        let answered = tokio::select! {
            _ = serve(std::slice::from_ref(&listener), peer) => None,
            answer = flood => answer,
        };
        assert_eq!(answered, Some(peer));
    }

    #[tokio::test]
    async fn another_service_on_the_port_is_not_taken_for_a_peer() {
        let (listener, address) = listener().await;
        let other = async {
            let (mut stream, _) = listener.accept().await.expect("asked");
            stream.write_all(&[b'x'; 64]).await.expect("written");
            std::future::pending::<()>().await;
        };
        let answered = tokio::select! {
            () = other => Some(PeerId([0; 32])),
            answer = ask(address, TIME_MAX) => answer.ok(),
        };
        assert_eq!(answered, None);
    }
}
