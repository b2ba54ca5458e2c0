//! Sessions at work: set-up, datagrams, the reliable stream, the end.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{PathId, PeerId};
use swarmcast_core::node::{CONTROL_BYTES_MAX, ConnectError, Input};

use super::Shared;
use super::agenda::Happening;
use super::drive::datagram_limit;
use super::host::{Condition, Dispatch, Errand, Host, Letter, address_of};
use crate::line::{Load, Transit};
use crate::network::{HostId, Trunks};
use crate::oracle::Breach;
use crate::session::{End, Parcel, Phase, SessionId};

/// Bytes of the reliable stream in one packet.
const CONTROL_PACKET_BYTES: usize = 1_200;

/// Bytes of a handshake packet: QUIC pads them.
const HANDSHAKE_BYTES: usize = 1_200;

/// Longest time between two tries of the reliable stream.
const RETRY_MAX: Duration = Duration::from_secs(2);

impl Host {
    /// Opens a session, as `Action::Connect` asks.
    pub(super) fn dial(&mut self, shared: &Shared, peer: PeerId) {
        let Some(to) = shared.by_peer.get(&peer).copied().filter(|to| *to != self.id) else {
            return self.feed_later(Input::ConnectFailed { peer, why: ConnectError::Unreachable });
        };
        let session = SessionId { dialer: self.id, number: self.dialled };
        self.dialled += 1;
        self.sessions.insert(session, End::new(to, shared.network.round_trip_min(self.id, to)));
        self.agenda.plan(self.now, Happening::HandshakeSend { session, flight: 0, tries: 0 });
        let gives_up = self.now + shared.config.transport.connect_timeout;
        self.agenda.plan(gives_up, Happening::DialTimeout { session });
    }

    /// Sends a flight of the handshake; whoever waits for an answer sends his own flight again.
    pub(super) fn send_handshake(
        &mut self,
        shared: &Shared,
        trunks: Option<&mut Trunks>,
        session: SessionId,
        flight: u8,
        tries: u32,
    ) {
        let Some(end) = self.sessions.get(&session) else { return };
        let (other, condition) = (end.other, shared.standing(self.id).condition);
        let answered = match flight {
            0 => end.phase != Phase::Opening,
            2 => end.confirmed,
            _ => false,
        };
        if answered || condition == Condition::Gone {
            return;
        }
        if trunks.is_none() && shared.network.trunks_between((self.id, other)).is_some() {
            return self.defer(Dispatch::Handshake { session, flight, tries });
        }
        if condition == Condition::Running {
            let transit = self.transmit(shared, trunks, other, Load::Control, HANDSHAKE_BYTES);
            if let Some(arrival) = transit.arrivals[0] {
                self.write(arrival, other, Happening::HandshakeArrive { session, flight });
            }
        }
        let retry = match flight {
            0 => shared.config.transport.handshake_retry,
            2 => shared.network.round_trip_min(self.id, other) * 2 + Duration::from_millis(25),
            _ => return,
        };
        let at = self.now + retry * 2_u32.pow(tries.min(6));
        self.agenda.plan(at, Happening::HandshakeSend { session, flight, tries: tries + 1 });
    }

    pub(super) fn take_handshake(&mut self, shared: &Shared, session: SessionId, flight: u8) {
        if !shared.standing(self.id).is_running() {
            return;
        }
        if flight == 0 && !self.behind_nat {
            let round_trip = shared.network.round_trip_min(self.id, session.dialer);
            self.sessions.entry(session).or_insert_with(|| End::new(session.dialer, round_trip));
            return self.send_handshake(shared, None, session, 1, 0);
        }
        let Some(end) = self.sessions.get(&session).filter(|end| end.phase == Phase::Opening) else { return };
        match flight {
            1 => {
                self.come_up(shared, session);
                self.send_handshake(shared, None, session, 2, 0);
            }
            2 => {
                let at = self.now + shared.network.latency((self.id, end.other));
                self.write(at, end.other, Happening::Confirmed { session });
                self.come_up(shared, session);
            }
            _ => {}
        }
    }

    pub(super) fn confirm(&mut self, session: SessionId) {
        if let Some(end) = self.sessions.get_mut(&session) {
            end.confirmed = true;
        }
    }

    pub(super) fn time_out_dial(&mut self, shared: &Shared, session: SessionId) {
        let Some(end) = self.sessions.get(&session).filter(|end| end.phase == Phase::Opening) else { return };
        let other = end.other;
        self.sessions.remove(&session);
        self.write(
            self.now + shared.network.latency((self.id, other)),
            other,
            Happening::GivenUp { session },
        );
        let peer = shared.standing(other).peer;
        self.feed(shared, Input::ConnectFailed { peer, why: ConnectError::TimedOut }, 0);
    }

    /// Forgets a session whose dialer was not answered.
    pub(super) fn give_up(&mut self, session: SessionId) {
        if self.sessions.get(&session).is_some_and(|end| end.phase == Phase::Opening) {
            self.sessions.remove(&session);
        }
    }

    /// Sends a message on the reliable stream, as `Action::Control` asks.
    pub(super) fn send_control(&mut self, shared: &Shared, path: PathId, message: Bytes) {
        if message.len() > CONTROL_BYTES_MAX {
            let breach = Breach::Oversized { path, bytes: message.len(), limit: CONTROL_BYTES_MAX };
            return self.report(Err(breach));
        }
        let Some(session) = self.paths.get(&path).copied() else { return };
        let Some(end) = self.sessions.get_mut(&session) else { return };
        let number = end.next_out;
        end.next_out += 1;
        let packets = message.len().div_ceil(CONTROL_PACKET_BYTES).max(1);
        self.send_control_packets(shared, None, session, (number, message), (packets, 0));
    }

    /// Sends `packets` of a message; what is lost of them is sent again, later each time.
    pub(super) fn send_control_packets(
        &mut self,
        shared: &Shared,
        mut trunks: Option<&mut Trunks>,
        session: SessionId,
        (number, message): (u64, Bytes),
        (packets, tries): (usize, u32),
    ) {
        let Some(end) = self.sessions.get(&session) else { return };
        let other = end.other;
        if !matches!(end.phase, Phase::Up(_)) {
            return;
        }
        if trunks.is_none() && shared.network.trunks_between((self.id, other)).is_some() {
            return self.defer(Dispatch::Control { session, number, message, packets, tries });
        }
        let bytes = message.len().div_ceil(message.len().div_ceil(CONTROL_PACKET_BYTES).max(1));
        let (mut lost, mut complete_at) = (0, self.now);
        for _ in 0..packets {
            if !shared.standing(self.id).is_running() {
                lost += 1;
                continue;
            }
            let transit = self.transmit(shared, trunks.as_deref_mut(), other, Load::Control, bytes);
            self.sent(session, bytes, &transit, false);
            match transit.arrivals[0] {
                Some(arrival) => complete_at = complete_at.max(arrival),
                None => lost += 1,
            }
        }
        if lost == 0 {
            let parcel = Parcel::Control(number, message);
            return self.write(complete_at, other, Happening::Deliver { session, parcel });
        }
        let round_trip = self.sessions.get(&session).map_or(Duration::ZERO, |end| end.flight.round_trip());
        let wait = (round_trip * 3 / 2 + Duration::from_millis(5)) * 2_u32.pow(tries.min(8));
        let (at, tries) = (self.now + wait.min(RETRY_MAX), tries + 1);
        let retry = Happening::ControlRetry { session, number, message, packets: lost, tries };
        self.agenda.plan(at, retry);
    }

    pub(super) fn send_datagram(
        &mut self,
        shared: &Shared,
        trunks: Option<&mut Trunks>,
        session: SessionId,
        datagram: Bytes,
        hops: u8,
    ) {
        let Some(other) = self.sessions.get(&session).map(|end| end.other) else { return };
        if trunks.is_none() && shared.network.trunks_between((self.id, other)).is_some() {
            return self.defer(Dispatch::Datagram { session, datagram, hops });
        }
        let transit = self.transmit(shared, trunks, other, Load::Datagram, datagram.len());
        let queues = shared.network.place(other).queues;
        let number = self.sent(session, datagram.len(), &transit, queues);
        for arrival in transit.arrivals.into_iter().flatten() {
            let datagram = datagram.clone();
            let happening = if queues {
                Happening::Arrive { session, number, datagram, hops }
            } else {
                Happening::Deliver { session, parcel: Parcel::Datagram(datagram, hops) }
            };
            self.write(arrival, other, happening);
        }
    }

    /// Takes a datagram through the access line, and lets its sender know; it is in at once when nothing else happens
    /// before.
    pub(super) fn arrive(
        &mut self,
        shared: &Shared,
        session: SessionId,
        number: u64,
        datagram: Bytes,
        hops: u8,
    ) {
        let Some(other) = self.sessions.get(&session).map(|end| end.other) else { return };
        let passed = self.line.receive(self.now, datagram.len());
        let back = shared.network.round_trip_min(self.id, other) / 2;
        let settles = passed.map(|at| at + back);
        self.write(self.now + back, other, Happening::Resolve { session, number, settles });
        let Some(at) = passed else { return };
        let parcel = Parcel::Datagram(datagram, hops);
        if at <= self.reach && self.next_at().is_none_or(|next| at < next) {
            self.now = at;
            return self.deliver(shared, session, parcel);
        }
        self.agenda.plan(at, Happening::Deliver { session, parcel });
    }

    /// Takes word of what the other side's access line did with a packet.
    pub(super) fn resolve(&mut self, session: SessionId, number: u64, settles: Option<Duration>) {
        let Some(end) = self.sessions.get_mut(&session) else { return };
        end.flight.resolve(number, self.now, settles);
        if settles.is_none() {
            self.line.handle_drop(end.other);
        }
    }

    pub(super) fn deliver(&mut self, shared: &Shared, session: SessionId, parcel: Parcel) {
        let Some(end) = self.sessions.get_mut(&session) else { return };
        match parcel {
            Parcel::Datagram(datagram, hops) => {
                if let Phase::Up(path) = end.phase {
                    self.feed(shared, Input::Datagram { path, datagram }, hops);
                }
            }
            Parcel::Control(number, message) => {
                end.keep(number, message);
                self.hand_over_control(shared, session);
            }
        }
    }

    /// Gives a path that had none its credit back.
    pub(super) fn restore_credit(&mut self, shared: &Shared, session: SessionId) {
        let Some(end) = self.sessions.get_mut(&session) else { return };
        end.flight.waits = false;
        if let (Phase::Up(path), true) = (end.phase, shared.standing(self.id).is_running()) {
            self.fill(shared, path);
            self.drain(shared);
        }
    }

    /// Closes a session, as `Action::Disconnect` asks: the node is told too, as a transport would. The other side is
    /// told when it can be; else it learns by the silence.
    pub(super) fn hang_up(&mut self, shared: &Shared, path: PathId) {
        let Some(session) = self.paths.get(&path).copied() else { return };
        let Some(other) = self.sessions.get(&session).map(|end| end.other) else { return };
        self.agenda.plan(self.now, Happening::CloseArrive { session });
        if shared.network.connects(self.id, other) {
            let at = self.now + shared.network.round_trip_min(self.id, other) / 2;
            self.write(at, other, Happening::CloseArrive { session });
        }
    }

    /// Ends this end of a session and tells the process.
    pub(super) fn close_end(&mut self, shared: &Shared, session: SessionId) {
        let Some(end) = self.sessions.remove(&session) else { return };
        if let Phase::Up(path) = end.phase {
            self.paths.remove(&path);
            self.feed(shared, Input::Disconnected { path }, 0);
        }
    }

    /// Looks which sessions have fallen silent or speak again.
    pub(super) fn survey_sessions(&mut self, shared: &Shared) {
        let silence_max = shared.config.transport.silence_max;
        for (session, end) in &mut self.sessions {
            let both_run = shared.standing(self.id).is_running() && shared.standing(end.other).is_running();
            let speaks = both_run && shared.network.connects(self.id, end.other);
            if speaks {
                end.silent_since = None;
            } else if end.silent_since.is_none() {
                end.silent_since = Some(self.now);
                let silence = Happening::Silence { session: *session, since: self.now };
                self.agenda.plan(self.now + silence_max, silence);
            }
        }
    }

    pub(super) fn judge_silence(&mut self, shared: &Shared, session: SessionId, since: Duration) {
        if self.sessions.get(&session).is_some_and(|end| end.silent_since == Some(since)) {
            self.close_end(shared, session);
        }
    }

    /// Samples the paths and counters, and plans the next time.
    pub(super) fn sample(&mut self, shared: &Shared) {
        let (at, transport) = (self.now, &shared.config.transport);
        let condition = shared.standing(self.id).condition;
        if condition == Condition::Gone {
            return;
        }
        self.agenda.plan(at + transport.sample_every, Happening::Sample);
        if condition != Condition::Running {
            return;
        }
        let mut samples = Vec::with_capacity(self.paths.len());
        for (path, session) in &self.paths {
            let Some(end) = self.sessions.get_mut(session) else { continue };
            let limit = datagram_limit(end.up_at, at, transport);
            let sample = end.flight.sample(at, transport.sample_every, limit);
            samples.extend(sample.map(|sample| (*path, sample)));
        }
        if !samples.is_empty() {
            self.feed(shared, Input::PathSamples(samples), 0);
        }
        self.inspect(shared);
    }

    /// Feeds an input as a happening of its own, so that no node is called from within its own drain.
    pub(super) fn feed_later(&mut self, input: Input) {
        self.agenda.plan(self.now, Happening::Feed { input: Box::new(input), hops: 0 });
    }

    /// Lets something happen to another host.
    pub(super) fn write(&mut self, at: Duration, to: HostId, happening: Happening) {
        self.letters.push(Letter { at, from: self.id, to, happening });
    }

    /// Leaves it to the world to send something: the lines between LANs carry what all hosts send.
    fn defer(&mut self, dispatch: Dispatch) {
        self.errands.push((self.now, Errand::Send(dispatch)));
    }

    fn transmit(
        &mut self,
        shared: &Shared,
        trunks: Option<&mut Trunks>,
        to: HostId,
        load: Load,
        bytes: usize,
    ) -> Transit {
        let means = (&shared.network, trunks, &mut self.dice);
        self.line.transmit(means, self.now, (self.id, to), load, bytes)
    }

    /// Notes a packet of a session as sent and returns its number.
    fn sent(&mut self, session: SessionId, bytes: usize, transit: &Transit, meets_queue: bool) -> u64 {
        let now = self.now;
        let end = self.sessions.get_mut(&session);
        end.map_or(0, |end| end.flight.sent(now, bytes, transit, meets_queue))
    }

    fn come_up(&mut self, shared: &Shared, session: SessionId) {
        let path = self.new_path();
        let Some(end) = self.sessions.get_mut(&session) else { return };
        (end.phase, end.up_at) = (Phase::Up(path), self.now);
        let other = end.other;
        self.paths.insert(path, session);
        let input = Input::Connected {
            path,
            peer: shared.standing(other).peer,
            dialed: session.dialer == self.id,
            remote: Some(address_of(other)),
            datagram_bytes_max: shared.config.transport.datagram_bytes_first,
        };
        self.survey_sessions(shared);
        self.feed(shared, input, 0);
        self.hand_over_control(shared, session);
    }

    fn hand_over_control(&mut self, shared: &Shared, session: SessionId) {
        while let Some((path, message)) = self.sessions.get_mut(&session).and_then(End::take) {
            self.feed(shared, Input::Control { path, message }, 0);
        }
    }
}
