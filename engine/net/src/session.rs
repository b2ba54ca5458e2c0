//! One session: a QUIC connection with a neighbour, its reliable stream, and how both are made.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use iroh::endpoint::{Connection, Incoming, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, EndpointAddr, EndpointId, TransportAddr};
use swarmcast_core::ids::{Now, PathId, PeerId};
use swarmcast_core::node::{ConnectError, PathSample};
use tokio::time::timeout;

use crate::congestion;
use crate::control::{self, ControlError, Outbox};
use crate::endpoint::{ALPN, SEND_BUFFER_BYTES, SEND_CREDIT_BYTES};
use crate::transport::TransportCounters;

/// Time within which a dialled session must be up: a first packet and three repeats on a LAN.
pub(crate) const DIAL_MAX: Duration = Duration::from_secs(4);

/// Datagrams taken from the QUIC stack at once, so that one neighbour's flood leaves others their turn.
const READ_DATAGRAMS_MAX: usize = 64;

/// Why a node closes a session, as its neighbour is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CloseCode {
    /// The node ends, or has better neighbours.
    Done = 0,
    /// Another session with the same neighbour survives.
    Duplicate = 1,
    /// The neighbour broke the protocol.
    Violation = 2,
}

/// A connection whose reliable stream is open, not yet numbered.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) receive: RecvStream,
    pub(crate) dialed: bool,
}

impl Opened {
    /// Returns who is at the other end, as TLS proved it.
    pub(crate) fn peer(&self) -> PeerId {
        PeerId(*self.connection.remote_id().as_bytes())
    }
}

/// What a session's streams tell.
#[derive(Debug)]
pub(crate) enum Received {
    /// Datagrams in the order of their arrival, each in memory of its own.
    Datagrams(Vec<Bytes>),
    /// A message of the reliable stream.
    Control(Bytes),
    /// The connection, or its reliable stream, ended.
    Ended(Option<ControlError>),
}

/// Dials a peer and opens the reliable stream.
pub(crate) async fn dial(
    endpoint: Endpoint,
    peer: PeerId,
    addresses: Vec<SocketAddr>,
) -> Result<Opened, ConnectError> {
    let id = EndpointId::from_bytes(&peer.0).map_err(|_| ConnectError::Unreachable)?;
    if addresses.is_empty() {
        return Err(ConnectError::Unreachable);
    }
    let address = EndpointAddr::from_parts(id, addresses.into_iter().map(TransportAddr::Ip));
    let open = async {
        let connection = endpoint.connect(address, ALPN).await.map_err(|_| ConnectError::Refused)?;
        let (mut send, receive) = connection.open_bi().await.map_err(|_| ConnectError::Refused)?;
        control::write_opening(&mut send).await.map_err(|_| ConnectError::Refused)?;
        Ok(Opened { connection, send, receive, dialed: true })
    };
    timeout(DIAL_MAX, open).await.unwrap_or(Err(ConnectError::TimedOut))
}

/// Takes a connection and waits for its reliable stream; `None` when either does not come in time.
pub(crate) async fn accept(incoming: Incoming) -> Option<Opened> {
    let open = async {
        let connection = incoming.accept().ok()?.await.ok()?;
        let (send, mut receive) = connection.accept_bi().await.ok()?;
        control::read_opening(&mut receive).await.ok()?;
        Some(Opened { connection, send, receive, dialed: false })
    };
    timeout(DIAL_MAX, open).await.ok()?
}

/// A session that is up.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: PeerId,
    pub(crate) dialed: bool,
    pub(crate) since: Now,
    connection: Connection,
    outbox: Outbox,
    /// Present while nothing is being written.
    send: Option<SendStream>,
    packets_lost: u64,
    /// Whether datagrams went out since the last sample.
    has_sent: bool,
}

impl Session {
    /// Splits a connection into what the driver keeps and what it listens to.
    pub(crate) fn new(
        path: PathId,
        opened: Opened,
        now: Now,
    ) -> (Self, BoxStream<'static, (PathId, Received)>) {
        let peer = opened.peer();
        let Opened { connection, send, receive, dialed } = opened;
        let datagrams = datagrams(connection.clone());
        let received =
            stream::select(datagrams, messages(receive)).map(move |received| (path, received)).boxed();
        let send = Some(send);
        let outbox = Outbox::default();
        let session =
            Self { peer, dialed, since: now, connection, outbox, send, packets_lost: 0, has_sent: false };
        (session, received)
    }

    /// Queues a message for the reliable stream.
    pub(crate) fn push_control(&mut self, message: Bytes) -> Result<(), ControlError> {
        self.outbox.push(message)
    }

    /// Returns the stream and what is to be written to it, unless nothing is or a write is under way.
    pub(crate) fn take_write(&mut self) -> Option<(SendStream, Bytes)> {
        if self.outbox.is_empty() {
            return None;
        }
        self.send.take().map(|send| (send, self.outbox.take()))
    }

    /// Takes the stream back once its write is done.
    pub(crate) fn end_write(&mut self, send: SendStream) {
        self.send = Some(send);
    }

    /// Returns whether every message has been handed to the transport.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && self.send.is_some()
    }

    /// Returns the bytes of datagrams that the transport takes without dropping any.
    pub(crate) fn credit(&self) -> usize {
        let beyond = SEND_BUFFER_BYTES - SEND_CREDIT_BYTES;
        self.connection.datagram_send_buffer_space().saturating_sub(beyond)
    }

    /// Hands datagrams to the transport; returns how many it refused as too large for the path.
    pub(crate) fn send(&mut self, datagrams: &[Bytes]) -> usize {
        self.has_sent = true;
        if self.connection.send_many_datagrams(datagrams).is_ok() {
            return 0;
        }
        // One that is too large fails the whole batch: the path's MTU fell since it was made.
        datagrams.iter().filter(|d| self.connection.send_datagram((*d).clone()).is_err()).count()
    }

    /// Returns the largest datagram payload that the path carries, in bytes.
    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    /// Returns whether datagrams went out since the last sample.
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Returns what the transport measured.
    pub(crate) fn sample(&mut self) -> PathSample {
        self.has_sent = false;
        let totals = self.connection.stats();
        let paths = self.connection.paths();
        let selected = paths.iter().find(|path| path.is_selected()).map(|path| path.stats());
        let selected = selected.unwrap_or_default();
        // Probes for a larger MTU are lost on purpose. A change of path must not make the count fall.
        let lost = totals.lost_packets.saturating_sub(selected.lost_plpmtud_probes);
        self.packets_lost = self.packets_lost.max(lost);
        PathSample {
            rtt: selected.rtt,
            rtt_low: selected.bandwidth_estimate.map_or(selected.rtt, congestion::rtt_low),
            packets_sent: totals.sent_packets,
            packets_lost: self.packets_lost,
            bytes_queued: (SEND_BUFFER_BYTES - self.connection.datagram_send_buffer_space()) as u64,
            datagram_bytes_max: self.datagram_bytes_max(),
        }
    }

    /// Returns what the session sent and received, its handshake included.
    pub(crate) fn transport(&self) -> TransportCounters {
        self.connection.stats().into()
    }

    /// Returns where the neighbour is.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        let paths = self.connection.paths();
        let addresses = paths.iter().filter(|path| path.is_selected()).map(|path| path.remote_addr().clone());
        addresses.into_iter().find_map(|address| match address {
            TransportAddr::Ip(address) => Some(address),
            _ => None,
        })
    }

    /// Returns the smoothed round-trip time.
    pub(crate) fn rtt(&self) -> Duration {
        self.connection
            .paths()
            .iter()
            .find(|path| path.is_selected())
            .map(|path| path.rtt())
            .unwrap_or_default()
    }

    /// Closes the connection.
    pub(crate) fn close(self, code: CloseCode) {
        close(&self.connection, code);
    }
}

/// Tells the other side why, and ends a connection.
pub(crate) fn close(connection: &Connection, code: CloseCode) {
    connection.close(VarInt::from_u32(code as u32), b"");
}

fn datagrams(connection: Connection) -> impl stream::Stream<Item = Received> + Send {
    let slots: Box<[Bytes; READ_DATAGRAMS_MAX]> = Box::new([const { Bytes::new() }; READ_DATAGRAMS_MAX]);
    stream::unfold(Some((connection, slots)), async |state| {
        let (connection, mut slots) = state?;
        match connection.read_many_datagrams(&mut slots[..]).await {
            // A datagram is a slice of the packet, and of all packets received with it: up to 64 KiB that the
            // window would keep for the sake of one fragment.
            Ok(count) => {
                let owned = slots[..count].iter_mut().map(|d| Bytes::copy_from_slice(&std::mem::take(d)));
                Some((Received::Datagrams(owned.collect()), Some((connection, slots))))
            }
            Err(_) => Some((Received::Ended(None), None)),
        }
    })
}

fn messages(receive: RecvStream) -> impl stream::Stream<Item = Received> + Send {
    stream::unfold(Some(receive), async |state| {
        let mut receive = state?;
        match control::read(&mut receive).await {
            Ok(message) => Some((Received::Control(message), Some(receive))),
            Err(error) => Some((Received::Ended(Some(error)), None)),
        }
    })
}
