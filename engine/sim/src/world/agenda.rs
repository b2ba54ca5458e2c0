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

/// A slot of the wheel spans 2^16 ns, 65 us: some hundred happenings among ten thousand hosts.
const SLOT_BITS: u32 = 16;
/// Slots of the wheel: it turns in 1.07 s, beyond which only few things are planned.
const SLOTS: usize = 1 << 14;

/// When and in which order something happens, and its place among the happenings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at_ns: u64,
    sequence: u64,
    place: u32,
}

impl Entry {
    fn slot(self) -> u64 {
        self.at_ns >> SLOT_BITS
    }
}

/// What is planned, as a wheel of slots: with millions of things under way a heap is a walk through memory each time.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// Up to the end of the slot `turned`, the next one last.
    soon: Vec<Entry>,
    /// The slots behind `turned`, unsorted.
    wheel: Vec<Vec<Entry>>,
    /// What lies beyond the wheel.
    far: BinaryHeap<Reverse<Entry>>,
    turned: u64,
    sequence: u64,
    happenings: Vec<Option<Happening>>,
    free: Vec<u32>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            soon: Vec::new(),
            wheel: vec![Vec::new(); SLOTS],
            far: BinaryHeap::new(),
            turned: 0,
            sequence: 0,
            happenings: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: Duration, happening: Happening) {
        self.sequence += 1;
        let at_ns = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let place = self.keep(happening);
        self.enter(Entry { at_ns, sequence: self.sequence, place });
    }

    /// Takes the next happening that is due at `until` or before.
    pub(crate) fn take(&mut self, until: Duration) -> Option<(Duration, Happening)> {
        let until_ns = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        while self.soon.is_empty() && self.turned < until_ns >> SLOT_BITS {
            self.turn();
        }
        let entry = self.soon.pop_if(|entry| entry.at_ns <= until_ns)?;
        self.free.push(entry.place);
        let happening = self.happenings.get_mut(entry.place as usize)?.take()?;
        Some((Duration::from_nanos(entry.at_ns), happening))
    }

    fn keep(&mut self, happening: Happening) -> u32 {
        if let Some(place) = self.free.pop() {
            self.happenings[place as usize] = Some(happening);
            return place;
        }
        self.happenings.push(Some(happening));
        self.happenings.len() as u32 - 1
    }

    fn enter(&mut self, entry: Entry) {
        let slot = entry.slot();
        if slot <= self.turned {
            let place = self.soon.partition_point(|other| *other > entry);
            self.soon.insert(place, entry);
        } else if slot < self.turned + SLOTS as u64 {
            self.wheel[slot as usize % SLOTS].push(entry);
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// Goes on by one slot.
    fn turn(&mut self) {
        self.turned += 1;
        let end = self.turned + SLOTS as u64;
        while let Some(Reverse(entry)) = self.far.peek().copied().filter(|Reverse(entry)| entry.slot() < end)
        {
            self.far.pop();
            self.wheel[entry.slot() as usize % SLOTS].push(entry);
        }
        let slot = std::mem::take(&mut self.wheel[self.turned as usize % SLOTS]);
        self.soon.extend(slot);
        self.soon.sort_unstable_by(|a, b| b.cmp(a));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(happening: &Happening) -> u32 {
        match happening {
            Happening::Emit { host } => host.0,
            _ => u32::MAX,
        }
    }

    #[test]
    fn what_is_planned_happens_in_the_order_of_time_and_then_of_planning() {
        let (mut agenda, mut dice) = (Agenda::default(), crate::dice::Dice::new(1));
        let mut planned = Vec::new();
        let mut now = Duration::ZERO;
        let mut happened = Vec::new();
        for number in 0..20_000_u32 {
            // From the same instant to far beyond one turn of the wheel.
            let wait = [0, 1_000, 60_000, 5_000_000, 3_000_000_000][dice.below(5) as usize];
            let at = now + Duration::from_nanos(dice.below(wait + 1));
            agenda.plan(at, Happening::Emit { host: HostId(number) });
            planned.push((at, number));
            if number % 3 == 0 {
                let until = now + Duration::from_micros(dice.below(400));
                while let Some((at, happening)) = agenda.take(until) {
                    happened.push((at, host(&happening)));
                }
                now = until;
            }
        }
        while let Some((at, happening)) = agenda.take(Duration::from_secs(60)) {
            happened.push((at, host(&happening)));
        }
        planned.sort_unstable();
        assert_eq!(happened, planned);
        assert!(agenda.happenings.len() < 20_000, "places are used again");
    }
}
