//! The sockets of a node: one QUIC endpoint and one TCP listener that share a port number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{AckFrequencyConfig, BindOpts, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, RelayMode, SecretKey};
use socket2::{Domain, Protocol, Socket, Type};
use swarmcast_core::ids::PeerId;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::congestion::FixedWindow;
use crate::discovery::DiscoveryError;
use crate::interfaces::{LocalAddress, is_dialable, local_addresses};

/// Protocol name in the TLS handshake.
pub(crate) const ALPN: &[u8] = b"swarmcast/1";

/// Silence after which a path is given up: three keep-alives and the longest scheduling delay that a busy host shows.
const IDLE_MAX: Duration = Duration::from_secs(3);

/// Silence after which a node says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_millis(750);

/// Round trip assumed before one was measured: a lost first packet is repeated after three of them.
const RTT_INITIAL: Duration = Duration::from_millis(60);

/// Bytes of datagrams handed to the QUIC stack before they are sent: 100 ms of 20 Mbit/s. The core keeps the rest,
/// where it can still be shed.
pub(crate) const SEND_CREDIT_BYTES: usize = 256 << 10;

/// Room for them there. The stack drops the oldest when this is full, and counts 32 bytes of its own for each, so as
/// much again is left free for datagrams of any size.
pub(crate) const SEND_BUFFER_BYTES: usize = 2 * SEND_CREDIT_BYTES;

/// Packets that are acknowledged together, or after 25 ms: two blocks, so that one that was pushed is acknowledged
/// once. QUIC acknowledges every second packet, which at 8 Mbit/s is 3 % of the traffic and more of the processor's
/// time; nothing here waits for an acknowledgement.
const ACK_EVERY: u32 = 128;

/// Packets by which others may overtake one, and round trips that it may take, before it counts as lost. A picture
/// leaves at once, and 30 ms of jitter mix all of its packets: by QUIC's own 3 packets and 9/8 of a round trip a third
/// of them would, which passes for a path that is overrun. Only the messages of the reliable stream wait for it.
const OVERTAKEN_MAX: u32 = 256;
const ROUND_TRIPS_MAX: f32 = 2.0;

/// Datagrams held for the driver: 200 ms, the delay at which it declares itself stalled, of 80 Mbit/s.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// Tries to find a port number that is free for UDP and TCP, IPv4 and IPv6.
const PORT_TRIES_MAX: u32 = 16;

/// Wait before a fixed port is tried again: iroh lets go of its sockets up to 20 ms after its endpoint has closed, so a
/// node that follows another at once would find its port in use.
const PORT_WAIT: Duration = Duration::from_millis(5);

/// Why a node could not open its sockets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody else has the port.
    #[error("port {0} is in use; choose another, or none")]
    PortInUse(u16),
    /// No interface of that name has an address.
    #[error("no interface `{0}` with an address; `ip address` lists them")]
    UnknownInterface(String),
    /// The system refuses.
    #[error("cannot open sockets: {0}")]
    Sockets(#[from] io::Error),
    /// The node cannot be announced.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The QUIC endpoint did not start, for another reason than its sockets.
    #[error("cannot start the QUIC endpoint: {0}")]
    Endpoint(String),
}

/// The open sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) quic: Endpoint,
    pub(crate) hello: Vec<TcpListener>,
    pub(crate) port: u16,
}

impl Sockets {
    /// Opens them on `port`, or on one that is free, on all interfaces or on the named ones.
    pub(crate) async fn open(port: Option<u16>, interfaces: &[String]) -> Result<Self, BindError> {
        let addresses = wanted_addresses(interfaces)?;
        let fixed = port.filter(|port| *port != 0);
        for _ in 1..PORT_TRIES_MAX {
            match Self::try_open(fixed.unwrap_or(0), &addresses).await {
                Err(BindError::PortInUse(_)) if fixed.is_some() => sleep(PORT_WAIT).await,
                Err(BindError::PortInUse(_)) => {}
                done => return done,
            }
        }
        Self::try_open(fixed.unwrap_or(0), &addresses).await
    }

    async fn try_open(port: u16, addresses: &[LocalAddress]) -> Result<Self, BindError> {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let any = any.map(|ip| LocalAddress {
            interface: String::new(),
            index: 0,
            ip,
            prefix_bits: 0,
            loopback: false,
        });
        let all = if addresses.is_empty() { &any[..] } else { addresses };
        let mut hello = Vec::new();
        let mut port = port;
        for address in all {
            match listen(SocketAddr::new(address.ip, port)) {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    hello.push(listener);
                }
                // A host may have been built without IPv6.
                Err(e) if address.ip.is_ipv6() && e.kind() != io::ErrorKind::AddrInUse => {}
                Err(e) => return Err(socket_error(e, port)),
            }
        }
        let quic = open_quic(port, all).await?;
        Ok(Self { quic, hello, port })
    }

    /// Returns who this node is.
    pub(crate) fn peer(&self) -> PeerId {
        PeerId(*self.quic.id().as_bytes())
    }
}

fn wanted_addresses(interfaces: &[String]) -> Result<Vec<LocalAddress>, BindError> {
    if interfaces.is_empty() {
        return Ok(Vec::new());
    }
    let mut addresses = local_addresses(interfaces)?;
    addresses.retain(|a| is_dialable(a.ip));
    match interfaces.iter().find(|name| !addresses.iter().any(|a| a.interface == **name)) {
        Some(name) => Err(BindError::UnknownInterface(name.clone())),
        None => Ok(addresses),
    }
}

/// Opens a listener that does not also take IPv4 when it is bound to IPv6.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a node that just ended must not keep its fixed port from the next one.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    TcpListener::from_std(socket.into())
}

/// Starts iroh so that it speaks to nobody unasked: no relay, no lookup service, no port mapper.
async fn open_quic(port: u16, addresses: &[LocalAddress]) -> Result<Endpoint, BindError> {
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::generate())
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(transport_config())
        .clear_ip_transports();
    let mut has_default = [false; 2];
    for address in addresses {
        // The first address of each family also takes what no named subnet contains.
        let default = &mut has_default[usize::from(address.ip.is_ipv6())];
        let options = BindOpts::default()
            .set_prefix_len(address.prefix_bits)
            .set_is_default_route(!*default)
            .set_is_required(address.ip.is_ipv4());
        *default = true;
        builder = builder
            .bind_addr_with_opts(SocketAddr::new(address.ip, port), options)
            .map_err(|e| BindError::Endpoint(e.to_string()))?;
    }
    builder.bind().await.map_err(|error| match error {
        iroh::endpoint::BindError::Sockets { source, .. } => socket_error(source, port),
        other => BindError::Endpoint(other.to_string()),
    })
}

fn socket_error(error: io::Error, port: u16) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::PortInUse(port),
        _ => BindError::Sockets(error),
    }
}

fn transport_config() -> QuicTransportConfig {
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(ACK_EVERY - 1));
    let idle = VarInt::from_u32(IDLE_MAX.as_millis() as u32);
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(idle.into()))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(IDLE_MAX)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .initial_rtt(RTT_INITIAL)
        .ack_frequency_config(Some(acknowledgements))
        .datagram_send_buffer_size(SEND_BUFFER_BYTES)
        .datagram_receive_buffer_size(Some(RECEIVE_BUFFER_BYTES))
        .packet_threshold(OVERTAKEN_MAX)
        .time_threshold(ROUND_TRIPS_MAX)
        .congestion_controller_factory(Arc::new(FixedWindow))
        .build()
}
