//! Sessions at work: set-up, datagrams, the reliable stream, the end.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{PathId, PeerId};
use swarmcast_core::node::{CONTROL_BYTES_MAX, ConnectError, Input};

use super::World;
use super::agenda::Happening;
use super::drive::datagram_limit;
use super::host::Condition;
use crate::network::{HostId, Load};
use crate::oracle::Breach;
use crate::session::{Parcel, Phase, Session, SessionId, Side};

/// Bytes of the reliable stream in one packet.
const CONTROL_PACKET_BYTES: usize = 1_200;

/// Bytes of a handshake packet: QUIC pads them.
const HANDSHAKE_BYTES: usize = 1_200;

/// Longest time between two tries of the reliable stream.
const RETRY_MAX: Duration = Duration::from_secs(2);

impl World {
    /// Opens a session, as `Action::Connect` asks.
    pub(super) fn dial(&mut self, host: HostId, peer: PeerId) {
        let Some(to) = self.by_peer.get(&peer).copied().filter(|to| *to != host) else {
            return self.feed_later(host, Input::ConnectFailed { peer, why: ConnectError::Unreachable });
        };
        let round_trip = self.network.round_trip_min(host, to);
        let id = self.sessions.add(Session::new(host, to, round_trip));
        self.agenda.plan(self.now, Happening::HandshakeSend { session: id, flight: 0, tries: 0 });
        let gives_up = self.now + self.config.transport.connect_timeout;
        self.agenda.plan(gives_up, Happening::DialTimeout { session: id });
    }

    /// Sends a flight of the handshake; whoever waits for an answer sends his own flight again.
    pub(super) fn send_handshake(&mut self, id: SessionId, flight: u8, tries: u32) {
        let Some(session) = self.sessions.get(id) else { return };
        let side = if flight == 1 { Side::Acceptor } else { Side::Dialer };
        let answered = match flight {
            0 => session.end(Side::Dialer).phase != Phase::Opening,
            2 => session.end(Side::Acceptor).phase != Phase::Opening,
            _ => false,
        };
        let way = session.way(side);
        if answered || self.host(way.0).condition == Condition::Gone {
            return;
        }
        if self.host(way.0).is_running() {
            let transit =
                self.network.transmit(&mut self.dice, self.now, way, Load::Control, HANDSHAKE_BYTES);
            if let Some(arrival) = transit.arrivals[0] {
                self.agenda.plan(arrival, Happening::HandshakeArrive { session: id, flight });
            }
        }
        let retry = match flight {
            0 => self.config.transport.handshake_retry,
            2 => self.network.round_trip_min(way.0, way.1) * 2 + Duration::from_millis(25),
            _ => return,
        };
        let at = self.now + retry * 2_u32.pow(tries.min(6));
        self.agenda.plan(at, Happening::HandshakeSend { session: id, flight, tries: tries + 1 });
    }

    pub(super) fn take_handshake(&mut self, id: SessionId, flight: u8) {
        let Some(session) = self.sessions.get(id) else { return };
        let to = if flight == 1 { Side::Dialer } else { Side::Acceptor };
        let (host, phase) = (session.end(to).host, session.end(to).phase);
        if !self.host(host).is_running() || phase == Phase::Closed {
            return;
        }
        match (flight, phase) {
            (0, _) if self.host(host).behind_nat => {}
            (0, _) => self.send_handshake(id, 1, 0),
            (1, Phase::Opening) => {
                self.come_up(id, Side::Dialer);
                self.send_handshake(id, 2, 0);
            }
            (2, Phase::Opening) => self.come_up(id, Side::Acceptor),
            _ => {}
        }
    }

    pub(super) fn time_out_dial(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id) else { return };
        let (host, to) = session.way(Side::Dialer);
        if session.end(Side::Dialer).phase == Phase::Opening {
            self.sessions.remove(id);
            let peer = self.host(to).peer;
            self.feed(host, Input::ConnectFailed { peer, why: ConnectError::TimedOut });
        }
    }

    /// Sends a message on the reliable stream, as `Action::Control` asks.
    pub(super) fn send_control(&mut self, host: HostId, path: PathId, message: Bytes) {
        if message.len() > CONTROL_BYTES_MAX {
            let breach = Breach::Oversized { path, bytes: message.len(), limit: CONTROL_BYTES_MAX };
            return self.report(host, Err(breach));
        }
        let Some((id, side)) = self.host(host).paths.get(&path).copied() else { return };
        let Some(session) = self.sessions.get_mut(id) else { return };
        let end = session.end_mut(side);
        let number = end.next_out;
        end.next_out += 1;
        let packets = message.len().div_ceil(CONTROL_PACKET_BYTES).max(1);
        self.send_control_packets(id, side, (number, message), packets, 0);
    }

    /// Sends `packets` of a message; what is lost of them is sent again, later each time.
    pub(super) fn send_control_packets(
        &mut self,
        id: SessionId,
        side: Side,
        (number, message): (u64, Bytes),
        packets: usize,
        tries: u32,
    ) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let way = session.way(side);
        if !matches!(session.end(side).phase, Phase::Up(_)) {
            return;
        }
        let bytes = message.len().div_ceil(message.len().div_ceil(CONTROL_PACKET_BYTES).max(1));
        let (mut lost, mut complete_at) = (0, self.now);
        let stopped = !self.hosts[way.0.0 as usize].is_running();
        let flight = &mut session.end_mut(side).flight;
        for _ in 0..packets {
            if stopped {
                lost += 1;
                continue;
            }
            let transit = self.network.transmit(&mut self.dice, self.now, way, Load::Control, bytes);
            flight.sent(self.now, bytes, &transit, false);
            match transit.arrivals[0] {
                Some(arrival) => complete_at = complete_at.max(arrival),
                None => lost += 1,
            }
        }
        if lost == 0 {
            let parcel = Parcel::Control(number, message);
            return self
                .agenda
                .plan(complete_at, Happening::Deliver { session: id, to: side.other(), parcel });
        }
        let wait = (flight.round_trip() * 3 / 2 + Duration::from_millis(5)) * 2_u32.pow(tries.min(8));
        let (at, tries) = (self.now + wait.min(RETRY_MAX), tries + 1);
        let retry =
            Happening::ControlRetry { session: id, from: side, number, message, packets: lost, tries };
        self.agenda.plan(at, retry);
    }

    pub(super) fn send_datagram(&mut self, id: SessionId, side: Side, datagram: Bytes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let way = session.way(side);
        let transit = self.network.transmit(&mut self.dice, self.now, way, Load::Datagram, datagram.len());
        let queues = self.network.has_downlink_limit(way.1);
        let flight = &mut session.end_mut(side).flight;
        let number = flight.sent(self.now, datagram.len(), &transit, queues);
        for arrival in transit.arrivals.into_iter().flatten() {
            let (to, datagram) = (side.other(), datagram.clone());
            let happening = if queues {
                Happening::Arrive { session: id, to, number, datagram }
            } else {
                Happening::Deliver { session: id, to, parcel: Parcel::Datagram(datagram) }
            };
            self.agenda.plan(arrival, happening);
        }
    }

    /// Takes a datagram through the receiver's access line, and lets its sender know.
    pub(super) fn arrive(&mut self, id: SessionId, to: Side, number: u64, datagram: Bytes) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let way = session.way(to.other());
        let passed = self.network.receive(self.now, way, datagram.len());
        let back = self.network.round_trip_min(way.0, way.1) / 2;
        session.end_mut(to.other()).flight.resolve(number, self.now, passed.map(|at| at + back));
        if let Some(at) = passed {
            let parcel = Parcel::Datagram(datagram);
            self.agenda.plan(at, Happening::Deliver { session: id, to, parcel });
        }
    }

    pub(super) fn deliver(&mut self, id: SessionId, to: Side, parcel: Parcel) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let end = session.end_mut(to);
        let host = end.host;
        match parcel {
            Parcel::Datagram(datagram) => {
                if let Phase::Up(path) = end.phase {
                    self.feed(host, Input::Datagram { path, datagram });
                }
            }
            Parcel::Control(number, message) => {
                end.keep(number, message);
                self.hand_over_control(id, to);
            }
        }
    }

    /// Gives a path that had none its credit back.
    pub(super) fn restore_credit(&mut self, id: SessionId, side: Side) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let end = session.end_mut(side);
        end.flight.waits = false;
        let host = end.host;
        if let (Phase::Up(path), true) = (end.phase, self.host(host).is_running()) {
            self.fill(host, path);
            self.drain(host);
        }
    }

    /// Closes a session, as `Action::Disconnect` asks: the node is told too, as a transport would.
    pub(super) fn hang_up(&mut self, host: HostId, path: PathId) {
        let Some((id, side)) = self.host(host).paths.get(&path).copied() else { return };
        let Some(session) = self.sessions.get(id) else { return };
        let way = session.way(side);
        self.agenda.plan(self.now, Happening::CloseArrive { session: id, to: side });
        if self.network.connects(way.0, way.1) {
            let at = self.now + self.network.round_trip_min(way.0, way.1) / 2;
            self.agenda.plan(at, Happening::CloseArrive { session: id, to: side.other() });
        } else {
            self.hush(id);
        }
    }

    /// Ends one end of a session and tells its process.
    pub(super) fn close_end(&mut self, id: SessionId, side: Side) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let end = session.end_mut(side);
        let (host, phase) = (end.host, std::mem::replace(&mut end.phase, Phase::Closed));
        if session.is_closed() {
            self.sessions.remove(id);
        }
        if let Phase::Up(path) = phase {
            self.host_mut(host).paths.remove(&path);
            self.feed(host, Input::Disconnected { path });
        }
    }

    /// Looks which sessions of a host, or of all, have fallen silent or speak again.
    pub(super) fn survey_sessions(&mut self) {
        for id in self.sessions.ids() {
            let Some(session) = self.sessions.get(id) else { continue };
            let (a, b) = session.way(Side::Dialer);
            let speaks =
                self.network.connects(a, b) && self.host(a).is_running() && self.host(b).is_running();
            if speaks {
                if let Some(session) = self.sessions.get_mut(id) {
                    session.silent_since = None;
                }
            } else {
                self.hush(id);
            }
        }
    }

    pub(super) fn judge_silence(&mut self, id: SessionId, since: Duration) {
        if self.sessions.get(id).is_some_and(|session| session.silent_since == Some(since)) {
            self.close_end(id, Side::Dialer);
            self.close_end(id, Side::Acceptor);
        }
    }

    /// Samples a host's paths and counters, and plans the next time.
    pub(super) fn sample(&mut self, host: HostId) {
        let (at, transport) = (self.now, self.config.transport);
        if self.host(host).condition == Condition::Gone {
            return;
        }
        self.agenda.plan(at + transport.sample_every, Happening::Sample { host });
        if !self.host(host).is_running() {
            return;
        }
        let paths: Vec<_> = self.host(host).paths.iter().map(|(path, end)| (*path, *end)).collect();
        for (path, (id, side)) in paths {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            let end = session.end_mut(side);
            let limit = datagram_limit(end.up_at, at, &transport);
            if let Some(sample) = end.flight.sample(at, transport.sample_every, limit) {
                self.feed(host, Input::PathSample { path, sample });
            }
        }
        self.inspect(host.0 as usize);
    }

    /// Feeds an input as a happening of its own, so that no node is called from within its own drain.
    pub(super) fn feed_later(&mut self, host: HostId, input: Input) {
        self.agenda.plan(self.now, Happening::Feed { host, input: Box::new(input) });
    }

    /// Notes that nothing gets through any more, and when that will be noticed.
    fn hush(&mut self, id: SessionId) {
        let (at, silence_max) = (self.now, self.config.transport.silence_max);
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.silent_since.is_none() {
            session.silent_since = Some(at);
            self.agenda.plan(at + silence_max, Happening::Silence { session: id, since: at });
        }
    }

    fn come_up(&mut self, id: SessionId, side: Side) {
        let at = self.now;
        let Some(session) = self.sessions.get_mut(id) else { return };
        let (host, other) = session.way(side);
        let path = self.hosts[host.0 as usize].new_path();
        let end = session.end_mut(side);
        (end.phase, end.up_at) = (Phase::Up(path), at);
        self.host_mut(host).paths.insert(path, (id, side));
        let peer = self.host(other);
        let input = Input::Connected {
            path,
            peer: peer.peer,
            dialed: side == Side::Dialer,
            remote: Some(peer.address()),
            datagram_bytes_max: self.config.transport.datagram_bytes_first,
        };
        self.feed(host, input);
        self.hand_over_control(id, side);
    }

    fn hand_over_control(&mut self, id: SessionId, side: Side) {
        while let Some(session) = self.sessions.get_mut(id) {
            let end = session.end_mut(side);
            let host = end.host;
            let Some((path, message)) = end.take() else { break };
            self.feed(host, Input::Control { path, message });
        }
    }
}
