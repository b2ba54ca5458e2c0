//! What the sockets of a node carried.

use std::ops::AddAssign;

use iroh::endpoint::ConnectionStats;

/// UDP payload of all sessions that a node ever had: whole QUIC packets, without the headers of UDP and below.
///
/// Handshakes that led to no session are left out, and so is the last packet that closes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportCounters {
    /// Bytes sent.
    pub udp_bytes_sent: u64,
    /// Datagrams sent.
    pub udp_datagrams_sent: u64,
    /// Bytes received.
    pub udp_bytes_received: u64,
    /// Datagrams received.
    pub udp_datagrams_received: u64,
}

impl From<ConnectionStats> for TransportCounters {
    fn from(stats: ConnectionStats) -> Self {
        Self {
            udp_bytes_sent: stats.udp_tx.bytes,
            udp_datagrams_sent: stats.udp_tx.datagrams,
            udp_bytes_received: stats.udp_rx.bytes,
            udp_datagrams_received: stats.udp_rx.datagrams,
        }
    }
}

impl AddAssign for TransportCounters {
    fn add_assign(&mut self, other: Self) {
        self.udp_bytes_sent += other.udp_bytes_sent;
        self.udp_datagrams_sent += other.udp_datagrams_sent;
        self.udp_bytes_received += other.udp_bytes_received;
        self.udp_datagrams_received += other.udp_datagrams_received;
    }
}
