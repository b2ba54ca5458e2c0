//! A session between two hosts, as QUIC would carry it: set-up, datagrams with credit, one reliable stream.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::PathId;
use swarmcast_core::node::{PathSample, RttLow};

use crate::line::Transit;
use crate::network::HostId;

/// What the transport under the sessions does. The defaults are what QUIC does on a LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportModel {
    /// Bytes that may be under way on a path; `fill` is not called beyond.
    pub window_bytes: usize,
    /// Largest datagram at first.
    pub datagram_bytes_first: usize,
    /// Largest datagram once path-MTU discovery is through.
    pub datagram_bytes_later: usize,
    /// How long path-MTU discovery takes.
    pub discovery_of_mtu: Duration,
    /// How long a silent peer keeps its session.
    pub silence_max: Duration,
    /// How long a session may take to come up.
    pub connect_timeout: Duration,
    /// When an unanswered first packet is sent again; doubles each time.
    pub handshake_retry: Duration,
    /// Header bytes of a packet: Ethernet, IP, UDP, QUIC with its tag.
    pub overhead_bytes: usize,
    /// Time between two samples of a path in use; ten times that of an idle one.
    pub sample_every: Duration,
    /// Longest lateness of a timer.
    pub timer_slack: Duration,
    /// Datagram bytes that wait for a process which does not read; what comes then is lost.
    pub receive_buffer_bytes: usize,
}

impl Default for TransportModel {
    fn default() -> Self {
        Self {
            window_bytes: 256 << 10,
            datagram_bytes_first: 1_162,
            datagram_bytes_later: 1_414,
            discovery_of_mtu: Duration::from_secs(1),
            silence_max: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(5),
            handshake_retry: Duration::from_secs(1),
            overhead_bytes: 14 + 20 + 8 + 30,
            sample_every: Duration::from_millis(50),
            timer_slack: Duration::from_millis(1),
            receive_buffer_bytes: 1 << 20,
        }
    }
}

/// Name of a session: who dialled, and how many times it had dialled before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId {
    pub(crate) dialer: HostId,
    pub(crate) number: u32,
}

/// How far an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Opening,
    Up(PathId),
}

/// What arrives at an end.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// One datagram; if it is a header, the hops that it has taken.
    Datagram(Bytes, u8),
    /// One message of the reliable stream, complete, with its place in it.
    Control(u64, Bytes),
}

/// One end's state.
#[derive(Debug)]
pub(crate) struct End {
    /// Who is at the other end.
    pub(crate) other: HostId,
    pub(crate) phase: Phase,
    pub(crate) up_at: Duration,
    /// Whether the dialer knows the acceptor to be up.
    pub(crate) confirmed: bool,
    /// Since when nothing gets through.
    pub(crate) silent_since: Option<Duration>,
    pub(crate) flight: Flight,
    /// Number of the next message to send.
    pub(crate) next_out: u64,
    /// Number of the next message to hand over.
    next_in: u64,
    early: BTreeMap<u64, Bytes>,
}

impl End {
    pub(crate) fn new(other: HostId, round_trip: Duration) -> Self {
        Self {
            other,
            phase: Phase::Opening,
            up_at: Duration::ZERO,
            confirmed: false,
            silent_since: None,
            flight: Flight::new(round_trip),
            next_out: 0,
            next_in: 0,
            early: BTreeMap::new(),
        }
    }

    /// Takes a message of the reliable stream; a copy of one that was there already is dropped.
    pub(crate) fn keep(&mut self, number: u64, message: Bytes) {
        if number >= self.next_in {
            self.early.insert(number, message);
        }
    }

    /// Returns the next message in order, once this end is up.
    pub(crate) fn take(&mut self) -> Option<(PathId, Bytes)> {
        let Phase::Up(path) = self.phase else { return None };
        let message = self.early.remove(&self.next_in)?;
        self.next_in += 1;
        Some((path, message))
    }
}

/// What one end has under way, and what its transport learns from it.
#[derive(Debug)]
pub(crate) struct Flight {
    /// The newest ones, up to number `sent`.
    under_way: VecDeque<Packet>,
    bytes: usize,
    sent: u64,
    lost: u64,
    round_trip: Duration,
    low: RttLow,
    /// Whether the path waits for credit, so that a wake-up is on its way.
    pub(crate) waits: bool,
    sampled_at: Duration,
    sampled_sent: u64,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    sent_at: Duration,
    /// When the sender learns its fate; a guess while it is under way.
    settles: Duration,
    bytes: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// On its way to the receiver's access line, whose queue decides.
    UnderWay,
    Received,
    Lost,
}

impl Flight {
    fn new(round_trip: Duration) -> Self {
        Self {
            under_way: VecDeque::new(),
            bytes: 0,
            sent: 0,
            lost: 0,
            round_trip,
            low: RttLow::default(),
            waits: false,
            sampled_at: Duration::ZERO,
            sampled_sent: 0,
        }
    }

    /// Notes a packet that was sent at `at` and returns its number. A lost one is declared so after one and a half
    /// round trips; of one that meets another queue, [`Flight::resolve`] tells the rest.
    pub(crate) fn sent(&mut self, at: Duration, bytes: usize, transit: &Transit, meets_queue: bool) -> u64 {
        let (settles, fate) = match transit.arrivals[0] {
            None => (at + self.round_trip * 3 / 2, Fate::Lost),
            Some(_) if meets_queue => (at + transit.round_trip, Fate::UnderWay),
            Some(_) => (at + transit.round_trip, Fate::Received),
        };
        self.under_way.push_back(Packet { sent_at: at, settles, bytes, fate });
        self.bytes += bytes;
        self.sent += 1;
        self.sent - 1
    }

    /// Takes at `at` what the queue before the receiver did with a packet: its acknowledgement comes at `settles`, or
    /// it was dropped half a round trip ago, and those behind it will tell.
    pub(crate) fn resolve(&mut self, number: u64, at: Duration, settles: Option<Duration>) {
        let round_trip = self.round_trip;
        let oldest = self.sent - self.under_way.len() as u64;
        let place = number.checked_sub(oldest).and_then(|place| usize::try_from(place).ok());
        let packet = place.and_then(|place| self.under_way.get_mut(place));
        let Some(packet) = packet.filter(|packet| packet.fate == Fate::UnderWay) else { return };
        (packet.settles, packet.fate) = match settles {
            Some(settles) => (settles, Fate::Received),
            None => (at + round_trip / 2, Fate::Lost),
        };
    }

    /// Returns the bytes that may still be sent at `at`.
    pub(crate) fn credit(&mut self, at: Duration, window_bytes: usize) -> usize {
        self.settle(at);
        window_bytes.saturating_sub(self.bytes)
    }

    /// Returns when the oldest packet settles, a while later when that is not known.
    pub(crate) fn next_credit(&self, at: Duration) -> Option<Duration> {
        let soon = at + Duration::from_micros(500);
        self.under_way.front().map(|packet| packet.settles.max(soon))
    }

    /// Returns a sample when one is due: every `every` in use, ten times that when idle.
    pub(crate) fn sample(
        &mut self,
        at: Duration,
        every: Duration,
        datagram_bytes_max: usize,
    ) -> Option<PathSample> {
        self.settle(at);
        if self.sent == self.sampled_sent && at < self.sampled_at + every * 10 {
            return None;
        }
        (self.sampled_at, self.sampled_sent) = (at, self.sent);
        Some(PathSample {
            rtt: self.round_trip,
            rtt_low: self.low.get().unwrap_or(self.round_trip),
            packets_sent: self.sent,
            packets_lost: self.lost,
            bytes_queued: 0,
            datagram_bytes_max,
        })
    }

    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    fn settle(&mut self, at: Duration) {
        while let Some(packet) = self.under_way.front().copied() {
            if packet.fate == Fate::UnderWay || packet.settles > at {
                return;
            }
            self.under_way.pop_front();
            self.bytes -= packet.bytes;
            self.lost += u64::from(packet.fate == Fate::Lost);
            if packet.fate == Fate::Received {
                self.learn(packet.settles, packet.settles - packet.sent_at);
            }
        }
    }

    /// Smooths the round-trip time as RFC 9002 section 5.3 does.
    fn learn(&mut self, at: Duration, round_trip: Duration) {
        self.round_trip = (self.round_trip * 7 + round_trip) / 8;
        self.low.add(at, round_trip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transit(arrives: bool, round_trip: Duration) -> Transit {
        Transit { arrivals: [arrives.then_some(round_trip / 2), None], round_trip }
    }

    #[test]
    fn credit_comes_back_with_the_round_trip_and_losses_are_counted() {
        let ms = Duration::from_millis(10);
        let mut flight = Flight::new(ms);
        flight.sent(Duration::ZERO, 600, &transit(true, ms), false);
        flight.sent(Duration::ZERO, 600, &transit(false, ms), false);
        assert_eq!(flight.credit(ms / 2, 1_000), 0);
        assert_eq!(flight.credit(ms, 1_000), 400);
        assert_eq!(flight.credit(ms * 2, 1_000), 1_000);
        let sample = flight.sample(ms * 50, ms * 5, 1_162).unwrap();
        assert_eq!((sample.packets_sent, sample.packets_lost, sample.rtt), (2, 1, ms));
        assert_eq!(flight.sample(ms * 55, ms * 5, 1_162), None, "nothing was sent since");
        assert!(flight.sample(ms * 100, ms * 5, 1_162).is_some());
    }

    #[test]
    fn the_queue_before_the_receiver_decides_what_a_packet_teaches() {
        let ms = Duration::from_millis(10);
        let mut flight = Flight::new(ms);
        let slow = flight.sent(Duration::ZERO, 600, &transit(true, ms), true);
        let dropped = flight.sent(Duration::ZERO, 600, &transit(true, ms), true);
        assert_eq!(flight.credit(ms * 9, 1_200), 0, "nobody knows yet");
        flight.resolve(slow, ms, Some(ms * 9));
        flight.resolve(dropped, ms, None);
        assert_eq!(flight.credit(ms * 9, 1_200), 1_200);
        let sample = flight.sample(ms * 9, ms, 1_162).unwrap();
        assert_eq!((sample.packets_lost, sample.rtt, sample.rtt_low), (1, ms * 2, ms * 9));
    }

    #[test]
    fn the_reliable_stream_is_handed_over_in_order_and_once() {
        let mut end = End::new(HostId(0), Duration::ZERO);
        end.keep(1, Bytes::from_static(b"b"));
        end.keep(0, Bytes::from_static(b"a"));
        assert!(end.take().is_none(), "not up yet");
        end.phase = Phase::Up(PathId(4));
        assert_eq!(end.take().unwrap().1, "a");
        end.keep(0, Bytes::from_static(b"a"));
        assert_eq!(end.take().unwrap().1, "b");
        assert!(end.take().is_none());
    }
}
