//! What is going to happen, ordered by time and then by the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::PathId;
use swarmcast_core::node::Input;

use crate::network::HostId;
use crate::session::{Parcel, SessionId, Side};

use super::script::Deed;

/// Everything that can happen in a world.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A process asked to be woken; void when its number is not the host's latest.
    Wake { host: HostId, number: u64 },
    /// A datagram from the session's other side, its packet `number`, reached the access line of `to`.
    Arrive { session: SessionId, to: Side, number: u64, datagram: Bytes },
    /// A parcel is in.
    Deliver { session: SessionId, to: Side, parcel: Parcel },
    /// A path that had run out of credit has some again.
    Credit { session: SessionId, side: Side },
    /// A flight of the handshake is to be sent: 0 and 2 by the dialer, 1 by the acceptor.
    HandshakeSend { session: SessionId, flight: u8, tries: u32 },
    /// A flight of the handshake arrived.
    HandshakeArrive { session: SessionId, flight: u8 },
    /// The dialer waits no longer.
    DialTimeout { session: SessionId },
    /// Packets of a message on the reliable stream are to be sent again.
    ControlRetry { session: SessionId, from: Side, number: u64, message: Bytes, packets: usize, tries: u32 },
    /// A process is to be told something that its own drain brought about.
    Feed { host: HostId, input: Box<Input> },
    /// A multicast datagram reached a receiver's access line.
    ArriveMulticast { way: (HostId, HostId), path: PathId, source: SocketAddr, datagram: Bytes },
    /// A multicast path that had run out of credit has some again.
    RefillMulticast { host: HostId, path: PathId },
    /// The other side closed the session.
    CloseArrive { session: SessionId, to: Side },
    /// A session may have been silent for too long.
    Silence { session: SessionId, since: Duration },
    /// Paths are sampled and counters inspected.
    Sample { host: HostId },
    /// Discovery tells `host` of `of`.
    Sighted { host: HostId, of: HostId },
    /// Discovery tells `host` that `of` withdrew.
    Vanished { host: HostId, of: HostId },
    /// The publisher's source has its next unit.
    Emit { host: HostId },
    /// A host that was asked to leave may be done.
    MayLeave { host: HostId, tries: u32 },
    /// The script's turn.
    Deed(Deed),
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// The heap of happenings.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, happening }));
    }

    /// Takes the next happening that is due at `until` or before.
    pub(crate) fn take(&mut self, until: Duration) -> Option<(Duration, Happening)> {
        if self.heap.peek().is_none_or(|Reverse(entry)| entry.at > until) {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.happening))
    }
}
