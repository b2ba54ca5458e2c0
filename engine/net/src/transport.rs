//! What the sockets of a node carried.

use std::ops::AddAssign;

use iroh::endpoint::ConnectionStats;

/// UDP payload of all sessions and multicast groups that a node ever had: whole QUIC packets and multicast datagrams,
/// without the headers of UDP and below.
///
/// Handshakes that led to no session are left out, and so is the last packet that closes one. What a node multicasts
/// comes back to its own sockets too, and is not counted as received.
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
    /// Bytes sent by multicast, on each interface; part of `udp_bytes_sent`.
    pub multicast_bytes_sent: u64,
    /// Datagrams sent by multicast, on each interface; part of `udp_datagrams_sent`.
    pub multicast_datagrams_sent: u64,
    /// Datagrams that the system refused to multicast: a firewall of this host, or an interface that just went down.
    pub multicast_datagrams_refused: u64,
    /// Bytes received by multicast; part of `udp_bytes_received`.
    pub multicast_bytes_received: u64,
    /// Datagrams received by multicast; part of `udp_datagrams_received`.
    pub multicast_datagrams_received: u64,
}

impl TransportCounters {
    /// Counts what was multicast.
    pub(crate) fn add_multicast_sent(&mut self, bytes: u64, datagrams: u64) {
        self.udp_bytes_sent += bytes;
        self.udp_datagrams_sent += datagrams;
        self.multicast_bytes_sent += bytes;
        self.multicast_datagrams_sent += datagrams;
    }

    /// Counts what others multicast.
    pub(crate) fn add_multicast_received(&mut self, bytes: u64, datagrams: u64) {
        self.udp_bytes_received += bytes;
        self.udp_datagrams_received += datagrams;
        self.multicast_bytes_received += bytes;
        self.multicast_datagrams_received += datagrams;
    }
}

impl From<ConnectionStats> for TransportCounters {
    fn from(stats: ConnectionStats) -> Self {
        Self {
            udp_bytes_sent: stats.udp_tx.bytes,
            udp_datagrams_sent: stats.udp_tx.datagrams,
            udp_bytes_received: stats.udp_rx.bytes,
            udp_datagrams_received: stats.udp_rx.datagrams,
            ..Self::default()
        }
    }
}

impl AddAssign for TransportCounters {
    fn add_assign(&mut self, other: Self) {
        self.udp_bytes_sent += other.udp_bytes_sent;
        self.udp_datagrams_sent += other.udp_datagrams_sent;
        self.udp_bytes_received += other.udp_bytes_received;
        self.udp_datagrams_received += other.udp_datagrams_received;
        self.multicast_bytes_sent += other.multicast_bytes_sent;
        self.multicast_datagrams_sent += other.multicast_datagrams_sent;
        self.multicast_datagrams_refused += other.multicast_datagrams_refused;
        self.multicast_bytes_received += other.multicast_bytes_received;
        self.multicast_datagrams_received += other.multicast_datagrams_received;
    }
}
