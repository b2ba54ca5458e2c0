//! Sessions as the binary has them: the same protocol name, framing and way to open, from the liar's own hands.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use iroh::endpoint::{
    Connection, ConnectionError, PortmapperConfig, QuicTransportConfig, RecvStream, SendStream, VarInt,
    presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, TransportAddr};
use swarmcast_core::ids::{PathId, PeerId};
use swarmcast_core::node::{CONTROL_BYTES_MAX, PathSample};
use tokio::sync::mpsc;
use tokio::time::timeout;

const ALPN: &[u8] = b"swarmcast/1";

/// Bytes of datagrams that one session holds unsent: 50 ms of the flood.
const SEND_BUFFER_BYTES: usize = 512 << 10;

/// Time within which a session must be up.
const OPEN_MAX: Duration = Duration::from_secs(4);

/// Messages that wait to be written to one neighbour.
const WRITES_MAX: usize = 256;

/// Close codes of the protocol that it uses: the end, and a second session with the same neighbour.
pub(crate) const DONE: u32 = 0;
pub(crate) const DUPLICATE: u32 = 1;

/// What the liar's loop hears from its sessions.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A session is up; `life` is that of the endpoint that opened it.
    Up {
        life: u32,
        opened: Opened,
    },
    /// Nobody answered.
    Failed {
        life: u32,
        peer: PeerId,
    },
    Control(PathId, Bytes),
    Datagram(PathId, Bytes),
    /// A session ended; `thrown_out` when the neighbour wanted it so.
    Down {
        path: PathId,
        thrown_out: bool,
    },
}

/// A connection and its reliable stream.
#[derive(Debug)]
pub(crate) struct Opened {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    pub(crate) dialed: bool,
}

impl Opened {
    pub(crate) fn peer(&self) -> PeerId {
        PeerId(*self.connection.remote_id().as_bytes())
    }

    pub(crate) fn close(self, code: u32) {
        self.connection.close(VarInt::from_u32(code), b"");
    }
}

/// Opens an endpoint with a new identity, on any port.
pub(crate) async fn endpoint() -> Result<Endpoint, Box<dyn Error>> {
    let transport = QuicTransportConfig::builder()
        .keep_alive_interval(Duration::from_millis(750))
        .datagram_send_buffer_size(SEND_BUFFER_BYTES)
        .datagram_receive_buffer_size(Some(2 << 20))
        .build();
    let builder = Endpoint::builder(presets::Minimal)
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(transport);
    Ok(builder.bind().await?)
}

/// Dials a peer, and tells the loop what came of it.
pub(crate) async fn dial(
    endpoint: Endpoint,
    life: u32,
    (peer, addresses): (PeerId, Vec<SocketAddr>),
    heard: mpsc::Sender<Heard>,
) {
    let open = async {
        let id = EndpointId::from_bytes(&peer.0).ok()?;
        let address = EndpointAddr::from_parts(id, addresses.into_iter().map(TransportAddr::Ip));
        let connection = endpoint.connect(address, ALPN).await.ok()?;
        let (mut send, receive) = connection.open_bi().await.ok()?;
        // A message of length zero shows the stream to the other side.
        send.write_all(&0u32.to_le_bytes()).await.ok()?;
        Some(Opened { connection, send, receive, dialed: true })
    };
    let told = match timeout(OPEN_MAX, open).await.ok().flatten() {
        Some(opened) => Heard::Up { life, opened },
        None => Heard::Failed { life, peer },
    };
    // A loop that has ended needs no answer; the same holds for every other task here.
    let _ = heard.send(told).await;
}

/// Accepts sessions, one after the other, until the endpoint closes.
pub(crate) async fn accept(endpoint: Endpoint, life: u32, heard: mpsc::Sender<Heard>) {
    while let Some(incoming) = endpoint.accept().await {
        let open = async {
            let connection = incoming.accept().ok()?.await.ok()?;
            let (send, mut receive) = connection.accept_bi().await.ok()?;
            let length = read_length(&mut receive).await?;
            (length == 0).then_some(Opened { connection, send, receive, dialed: false })
        };
        if let Ok(Some(opened)) = timeout(OPEN_MAX, open).await
            && heard.send(Heard::Up { life, opened }).await.is_err()
        {
            return;
        }
    }
}

/// A session that is up.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) peer: PeerId,
    pub(crate) dialed: bool,
    /// Whether the neighbour was lied to.
    pub(crate) lied_to: bool,
    /// Whether both have proved that they belong to the group.
    pub(crate) greeted: bool,
    connection: Connection,
    writes: mpsc::Sender<Bytes>,
    rtt_min: Duration,
}

impl Session {
    /// Starts to read and write; all that arrives is told under the number `path`.
    pub(crate) fn start(path: PathId, opened: Opened, heard: &mpsc::Sender<Heard>) -> Self {
        let peer = opened.peer();
        let Opened { connection, send, receive, dialed } = opened;
        let (writes, written) = mpsc::channel(WRITES_MAX);
        tokio::spawn(write_messages(send, written));
        tokio::spawn(read_messages(receive, path, heard.clone()));
        tokio::spawn(read_datagrams(connection.clone(), path, heard.clone()));
        let rtt_min = Duration::MAX;
        Self { peer, dialed, lied_to: false, greeted: false, connection, writes, rtt_min }
    }

    pub(crate) fn control(&self, message: Bytes) {
        // A neighbour that does not read its stream misses a message.
        let _ = self.writes.try_send(message);
    }

    pub(crate) fn datagram(&self, datagram: Bytes) {
        // One that is too large for the path is lost, as any may be.
        let _ = self.connection.send_datagram(datagram);
    }

    /// Returns the bytes of datagrams that it takes.
    pub(crate) fn credit(&self) -> usize {
        self.connection.datagram_send_buffer_space().saturating_sub(SEND_BUFFER_BYTES / 2)
    }

    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or(0)
    }

    /// Returns where the neighbour is.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        let paths = self.connection.paths();
        paths.iter().filter(|path| path.is_selected()).find_map(|path| match path.remote_addr() {
            TransportAddr::Ip(address) => Some(*address),
            _ => None,
        })
    }

    pub(crate) fn sample(&mut self) -> PathSample {
        let totals = self.connection.stats();
        let paths = self.connection.paths();
        let rtt = paths.iter().find(|path| path.is_selected()).map_or(Duration::ZERO, |path| path.rtt());
        self.rtt_min = self.rtt_min.min(rtt);
        PathSample {
            rtt,
            rtt_low: self.rtt_min,
            packets_sent: totals.sent_packets,
            packets_lost: totals.lost_packets,
            bytes_queued: (SEND_BUFFER_BYTES - self.connection.datagram_send_buffer_space()) as u64,
            datagram_bytes_max: self.datagram_bytes_max(),
        }
    }

    pub(crate) fn close(&self, code: u32) {
        self.connection.close(VarInt::from_u32(code), b"");
    }
}

async fn write_messages(mut send: SendStream, mut written: mpsc::Receiver<Bytes>) {
    while let Some(message) = written.recv().await {
        let mut wire = BytesMut::with_capacity(4 + message.len());
        wire.put_u32_le(message.len() as u32);
        wire.put(message);
        if send.write_all(&wire).await.is_err() {
            return;
        }
    }
}

async fn read_messages(mut receive: RecvStream, path: PathId, heard: mpsc::Sender<Heard>) {
    while let Some(length) = read_length(&mut receive).await {
        let length = length as usize;
        let mut message = vec![0; length.min(CONTROL_BYTES_MAX)];
        if length > CONTROL_BYTES_MAX || receive.read_exact(&mut message).await.is_err() {
            return;
        }
        if heard.send(Heard::Control(path, message.into())).await.is_err() {
            return;
        }
    }
}

async fn read_length(receive: &mut RecvStream) -> Option<u32> {
    let mut prefix = [0; 4];
    receive.read_exact(&mut prefix).await.ok()?;
    Some(u32::from_le_bytes(prefix))
}

async fn read_datagrams(connection: Connection, path: PathId, heard: mpsc::Sender<Heard>) {
    loop {
        let told = match connection.read_datagram().await {
            // A slice of the received packet would keep all of it in memory.
            Ok(datagram) => Heard::Datagram(path, Bytes::copy_from_slice(&datagram)),
            Err(error) => {
                Heard::Down { path, thrown_out: matches!(error, ConnectionError::ApplicationClosed(_)) }
            }
        };
        let last = matches!(told, Heard::Down { .. });
        if heard.send(told).await.is_err() || last {
            return;
        }
    }
}
