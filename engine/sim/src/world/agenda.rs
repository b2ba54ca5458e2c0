//! What is going to happen, ordered by time and then by the order in which it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::PathId;
use swarmcast_core::node::Input;

use crate::network::HostId;
use crate::session::{Parcel, SessionId};

use super::script::Deed;

/// Everything that can happen to one host by itself.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram from the session's other side, its packet `number`, reached the access line; one that is a header
    /// has taken `hops`.
    Arrive { session: SessionId, number: u64, datagram: Bytes, hops: u8 },
    /// A parcel is in.
    Deliver { session: SessionId, parcel: Parcel },
    /// The other side's access line took a packet, which is acknowledged at `settles`, or dropped it.
    Resolve { session: SessionId, number: u64, settles: Option<Duration> },
    /// A path that had run out of credit has some again.
    Credit { session: SessionId },
    /// A flight of the handshake is to be sent: 0 and 2 by the dialer, 1 by the acceptor.
    HandshakeSend { session: SessionId, flight: u8, tries: u32 },
    /// A flight of the handshake arrived.
    HandshakeArrive { session: SessionId, flight: u8 },
    /// The acceptor is up.
    Confirmed { session: SessionId },
    /// The dialer waits no longer.
    DialTimeout { session: SessionId },
    /// The dialer has given up.
    GivenUp { session: SessionId },
    /// Packets of a message on the reliable stream are to be sent again.
    ControlRetry { session: SessionId, number: u64, message: Bytes, packets: usize, tries: u32 },
    /// The process is to be told something; a header in it has taken `hops`.
    Feed { input: Box<Input>, hops: u8 },
    /// A multicast datagram reached the access line.
    ArriveMulticast { path: PathId, source: SocketAddr, datagram: Bytes, hops: u8 },
    /// A multicast path that had run out of credit has some again.
    RefillMulticast { path: PathId },
    /// The other side closed the session.
    CloseArrive { session: SessionId },
    /// A session may have been silent for too long.
    Silence { session: SessionId, since: Duration },
    /// Paths are sampled and counters inspected.
    Sample,
    /// Discovery tells of another host.
    Sighted { of: HostId },
    /// Discovery tells that another host withdrew.
    Vanished { of: HostId },
}

/// What happens to more than one host, while all others stand still.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The publisher's source has its next unit.
    Emit { host: HostId },
    /// A host that was asked to leave may be done.
    MayLeave { host: HostId, tries: u32 },
    /// The script's turn.
    Deed(Deed),
}

/// When and in which order something happens, and its place among the things that are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Duration,
    sequence: u64,
    place: u32,
}

/// What is planned. The heap orders small entries; what they stand for lies still.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    planned: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), sequence: 0, planned: Vec::new(), free: Vec::new() }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn plan(&mut self, at: Duration, what: T) {
        self.sequence += 1;
        let place = self.keep(what);
        self.entries.push(Reverse(Entry { at, sequence: self.sequence, place }));
    }

    /// Returns when the next thing is due.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next thing that is due at `until` or before.
    pub(crate) fn take(&mut self, until: Duration) -> Option<(Duration, T)> {
        let next = self.entries.peek_mut().filter(|next| next.0.at <= until)?;
        let Reverse(entry) = PeekMut::pop(next);
        self.free.push(entry.place);
        let what = self.planned.get_mut(entry.place as usize)?.take()?;
        Some((entry.at, what))
    }

    fn keep(&mut self, what: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.planned[place as usize] = Some(what);
            return place;
        }
        self.planned.push(Some(what));
        self.planned.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_happens_in_the_order_of_time_and_then_of_planning() {
        let (mut agenda, mut dice) = (Agenda::default(), crate::dice::Dice::new(1));
        let (mut planned, mut happened, mut now) = (Vec::new(), Vec::new(), Duration::ZERO);
        for number in 0..20_000_u32 {
            let wait = [0, 1_000, 60_000, 5_000_000, 3_000_000_000][dice.below(5) as usize];
            let at = now + Duration::from_nanos(dice.below(wait + 1));
            agenda.plan(at, number);
            planned.push((at, number));
            if number % 3 == 0 {
                now += Duration::from_micros(dice.below(400));
                happened.extend(std::iter::from_fn(|| agenda.take(now)));
            }
        }
        happened.extend(std::iter::from_fn(|| agenda.take(Duration::from_secs(60))));
        planned.sort_unstable();
        assert_eq!(happened, planned);
        assert_eq!(agenda.next_at(), None);
        assert!(agenda.planned.len() < 20_000, "places are used again");
    }
}
