//! The driver's loop of one process: one input, then drain, as the core's contract says.

use std::time::Duration;

use swarmcast_core::ids::{PathId, StreamHandle};
use swarmcast_core::node::{Action, Batch, Event, Input};
use swarmcast_core::wire::{BlockHeader, Control, Datagram};

use super::Shared;
use super::agenda::Happening;
use super::host::{Condition, Errand, Host};
use crate::oracle::{Breach, HostOracle};
use crate::session::{SessionId, TransportModel};

impl Host {
    /// Lives through everything that its own agenda holds, as far as it may.
    pub(super) fn run(&mut self, shared: &Shared) {
        while let Some(at) = self.next_at().filter(|at| *at <= self.reach) {
            self.now = at;
            if self.wake.is_some_and(|(_, fires)| fires == at) {
                self.wake = None;
                self.feed(shared, Input::Timeout, 0);
            } else if let Some((_, happening)) = self.agenda.take(at) {
                self.happen(shared, happening);
            }
        }
    }

    fn happen(&mut self, shared: &Shared, happening: Happening) {
        match happening {
            Happening::Feed { input, hops } => self.feed(shared, *input, hops),
            Happening::Arrive { session, number, datagram, hops } => {
                self.arrive(shared, session, number, datagram, hops);
            }
            Happening::Deliver { session, parcel } => self.deliver(shared, session, parcel),
            Happening::Resolve { session, number, settles } => self.resolve(session, number, settles),
            Happening::Credit { session } => self.restore_credit(shared, session),
            Happening::HandshakeSend { session, flight, tries } => {
                self.send_handshake(shared, None, session, flight, tries);
            }
            Happening::HandshakeArrive { session, flight } => self.take_handshake(shared, session, flight),
            Happening::Confirmed { session } => self.confirm(session),
            Happening::DialTimeout { session } => self.time_out_dial(shared, session),
            Happening::GivenUp { session } => self.give_up(session),
            Happening::ControlRetry { session, number, message, packets, tries } => {
                self.send_control_packets(shared, None, session, (number, message), (packets, tries));
            }
            Happening::ArriveMulticast { path, source, datagram, hops } => {
                self.arrive_multicast(path, source, datagram, hops);
            }
            Happening::RefillMulticast { path } => self.refill_multicast(shared, path),
            Happening::CloseArrive { session } => self.close_end(shared, session),
            Happening::Silence { session, since } => self.judge_silence(shared, session, since),
            Happening::Sample => self.sample(shared),
            Happening::Sighted { of } => self.sight(shared, of),
            Happening::Vanished { of } => self.withdraw(shared, of),
        }
    }

    /// Gives the process one input and drains it; one that is stopped gets it later, one that is gone never. A header
    /// in it has taken `hops`.
    pub(super) fn feed(&mut self, shared: &Shared, input: Input, hops: u8) {
        match shared.standing(self.id).condition {
            Condition::Gone => return,
            Condition::Paused(_) => {
                return self.backlog.keep(input, hops, shared.config.transport.receive_buffer_bytes);
            }
            Condition::Running => {}
        }
        let now = self.clock.now(self.now);
        self.inputs += 1;
        let (kind, content) = describe(&input);
        self.trace.note((self.now, self.id), kind, self.inputs, content, || tell_input(&input));
        self.witness(shared, &input, hops);
        let is_timeout = matches!(input, Input::Timeout);
        self.process.handle(now, input);
        self.drain(shared);
        if is_timeout {
            let next = self.process.poll_timeout();
            let verdict = self.oracle.saw_timeout(now, next);
            self.report(verdict);
        }
    }

    /// Takes everything that the process has to say, then plans its next wake-up.
    pub(super) fn drain(&mut self, shared: &Shared) {
        self.drain_events(shared);
        self.drain_actions(shared);
        let mut asked = 0;
        while let Some(path) = self.process.poll_ready() {
            self.fill(shared, path);
            asked += 1;
            if asked > HostOracle::QUEUE_MAX {
                let limit = HostOracle::QUEUE_MAX;
                return self.report(Err(Breach::Flood { what: "ready paths", limit }));
            }
        }
        self.plan_wake(shared);
    }

    /// Fills a path as far as its credit reaches, and plans the next try when that was not far enough.
    pub(super) fn fill(&mut self, shared: &Shared, path: PathId) {
        let (at, transport) = (self.now, &shared.config.transport);
        if shared.network.lan.has(self.id, path) {
            return self.fill_multicast(shared, path);
        }
        // Without an end it is a session that the node was not yet told to be over: nothing to send on.
        let Some(id) = self.paths.get(&path).copied() else { return };
        let Some(end) = self.sessions.get_mut(&id) else { return };
        let limit = datagram_limit(end.up_at, at, transport);
        let credit = end.flight.credit(at, transport.window_bytes);
        if credit >= limit {
            let mut batch = Batch::default();
            self.process.fill(self.clock.now(at), path, credit, &mut batch);
            let bytes: usize = batch.datagrams.iter().map(|datagram| datagram.len()).sum();
            let largest = batch.datagrams.iter().map(|datagram| datagram.len()).max().unwrap_or(0);
            if bytes > credit || largest > limit {
                let (bytes, limit) = if largest > limit { (largest, limit) } else { (bytes, credit) };
                self.report(Err(Breach::Oversized { path, bytes, limit }));
            }
            for datagram in batch.datagrams {
                self.trace.note((at, self.id), "datagram out", u64::from(path.0), &datagram, || {
                    tell_datagram(&datagram)
                });
                let hops = self.hops_by_now(shared, &datagram);
                self.vouch(shared, &datagram);
                self.send_datagram(shared, None, id, datagram, hops);
            }
        }
        self.plan_credit(shared, id, limit);
    }

    fn drain_events(&mut self, shared: &Shared) {
        let mut count = 0;
        while let Some(event) = self.process.poll_event() {
            self.take_event(shared, &event);
            count += 1;
            if count > HostOracle::QUEUE_MAX {
                let limit = HostOracle::QUEUE_MAX;
                return self.report(Err(Breach::Flood { what: "events", limit }));
            }
        }
    }

    fn drain_actions(&mut self, shared: &Shared) {
        let mut count = 0;
        while let Some(action) = self.process.poll_action() {
            self.take_action(shared, action);
            count += 1;
            if count > HostOracle::QUEUE_MAX {
                let limit = HostOracle::QUEUE_MAX;
                return self.report(Err(Breach::Flood { what: "actions", limit }));
            }
        }
    }

    fn take_action(&mut self, shared: &Shared, action: Action) {
        let at = self.now;
        let mut note = |kind, number, content: &[u8], said: &dyn Fn() -> String| {
            self.trace.note((at, self.id), kind, number, content, said);
        };
        match action {
            Action::Connect { peer, .. } => {
                note("connect", 0, &peer.0, &String::new);
                self.dial(shared, peer);
            }
            Action::Control { path, message } => {
                let said = || format!("{:?}", Control::decode(&message));
                note("control out", u64::from(path.0), &message, &said);
                self.send_control(shared, path, message);
            }
            Action::Disconnect { path } => {
                note("disconnect", u64::from(path.0), &[], &String::new);
                self.hang_up(shared, path);
            }
            Action::Announce(announcement) => {
                let names = announcement.publishes.concat() + &announcement.watches.concat();
                note("announce", 0, names.as_bytes(), &String::new);
                self.errands.push((at, Errand::Announce(announcement)));
            }
            Action::OpenMulticast { channel, groups } => {
                note("open multicast", u64::from(channel.0), &[], &|| format!("{groups:?}"));
                self.errands.push((at, Errand::OpenMulticast(channel, groups)));
            }
            Action::RejoinMulticast { path } => {
                note("rejoin multicast", u64::from(path.0), &[], &String::new);
                self.errands.push((at, Errand::RejoinMulticast(path)));
            }
            Action::CloseMulticast { channel } => {
                note("close multicast", u64::from(channel.0), &[], &String::new);
                self.errands.push((at, Errand::CloseMulticast(channel)));
            }
            Action::Probe { peer, .. } => {
                note("probe", 0, &peer.0, &String::new);
                self.probe(shared, peer);
            }
        }
    }

    fn take_event(&mut self, shared: &Shared, event: &Event) {
        let (kind, content): (_, &[u8]) = match event {
            Event::AccessUnit { unit, .. } => ("access unit", &unit.payload),
            Event::Gap { .. } => ("gap", &[]),
            Event::Opened { key, .. } => ("opened", &key.0),
            Event::Closed { .. } => ("closed", &[]),
            Event::NeighbourUp { peer, .. } => ("neighbour up", &peer.0),
            Event::NeighbourDown { peer, .. } => ("neighbour down", &peer.0),
            _ => ("event", &[]),
        };
        self.trace.note((self.now, self.id), kind, 0, content, || tell_event(event));
        if shared.standing(self.id).is_hostile {
            return;
        }
        let verdict = self.oracle.saw_event(event);
        self.report(verdict);
        let verdict = self.judge_event(shared, event);
        self.report(verdict);
    }

    fn judge_event(&mut self, shared: &Shared, event: &Event) -> Result<(), Breach> {
        match event {
            Event::Published { stream, key } => {
                let run = shared.ledger.run_by(self.id).filter(|run| run.handle == *stream);
                run.ok_or(Breach::UnknownHandle { stream: *stream })?;
                self.errands.push((self.now, Errand::Published(*key)));
                Ok(())
            }
            Event::Unpublished { stream, .. } | Event::BadName { stream, .. } => {
                let known = self.publications.contains(stream);
                known.then_some(()).ok_or(Breach::UnknownHandle { stream: *stream })
            }
            Event::NeighbourUp { .. } | Event::NeighbourDown { .. } => Ok(()),
            Event::Opened { stream, .. }
            | Event::Ambiguous { stream, .. }
            | Event::AccessUnit { stream, .. }
            | Event::Gap { stream, .. }
            | Event::Reset { stream, .. }
            | Event::Verdict { stream, .. }
            | Event::Path { stream, .. }
            | Event::PathVerdict { stream, .. }
            | Event::ControlPlane { stream, .. }
            | Event::Closed { stream, .. } => {
                let stream: StreamHandle = *stream;
                self.judge_health(shared, stream, Some(event))?;
                let subscription = self.subscriptions.iter_mut().find(|known| known.handle == stream);
                let subscription = subscription.ok_or(Breach::UnknownHandle { stream })?;
                subscription.saw(self.now, event, &shared.ledger)
            }
            _ => Ok(()),
        }
    }

    fn plan_wake(&mut self, shared: &Shared) {
        let due = self.process.poll_timeout();
        if due == self.wake.map(|(due, _)| due) {
            return;
        }
        self.wake = due.map(|due| {
            let slack = self.dice.duration(Duration::ZERO, shared.config.transport.timer_slack);
            // A wake-up in the past is a wake-up at the next microsecond: time goes on.
            (due, self.clock.when(due).max(self.now + Duration::from_micros(1)) + slack)
        });
    }

    /// Plans a wake-up of a path whose credit does not reach for one more datagram.
    fn plan_credit(&mut self, shared: &Shared, id: SessionId, limit: usize) {
        let Some(end) = self.sessions.get_mut(&id) else { return };
        let flight = &mut end.flight;
        if flight.waits || flight.credit(self.now, shared.config.transport.window_bytes) >= limit {
            return;
        }
        if let Some(settles) = flight.next_credit(self.now) {
            flight.waits = true;
            self.agenda.plan(settles, Happening::Credit { session: id });
        }
    }
}

/// Returns the largest datagram that a session carries at `at`.
pub(super) fn datagram_limit(up_at: Duration, at: Duration, transport: &TransportModel) -> usize {
    if at >= up_at + transport.discovery_of_mtu {
        transport.datagram_bytes_later
    } else {
        transport.datagram_bytes_first
    }
}

/// Says what a datagram is, for the textual trace.
pub(super) fn tell_datagram(datagram: &[u8]) -> String {
    match Datagram::decode(datagram) {
        Ok(Datagram::Header) => match BlockHeader::decode(datagram) {
            Ok((h, ..)) => {
                format!("header {} stripe {} {:?} {} shards", h.block, h.stripe.0, h.priority, h.data)
            }
            Err(error) => format!("header: {error}"),
        },
        Ok(Datagram::Fragment(view)) => format!("fragment {}.{}", view.id.block, view.id.index),
        Ok(Datagram::Have(map)) => format!("have {}..{}", map.oldest, map.base),
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

fn tell_input(input: &Input) -> String {
    match input {
        Input::Datagram { path, datagram } | Input::Multicast { path, datagram, .. } => {
            format!("{} {}", path.0, tell_datagram(datagram))
        }
        Input::Control { path, message } => format!("{} {:?}", path.0, Control::decode(message)),
        Input::PathSamples(samples) => format!("{samples:?}"),
        Input::Connected { path, dialed, .. } => format!("{} dialed {dialed}", path.0),
        Input::Disconnected { path } | Input::MulticastDown { path } => path.0.to_string(),
        Input::MulticastUp { path, channel, .. } => format!("{} {channel:?}", path.0),
        Input::Overflow { .. } | Input::Probed { .. } | Input::Network { .. } => format!("{input:?}"),
        _ => String::new(),
    }
}

fn tell_event(event: &Event) -> String {
    match event {
        Event::AccessUnit { unit, .. } => format!("track {} dts {}", unit.track.0, unit.dts),
        Event::Opened { epoch, .. } => format!("{epoch:?}"),
        other => format!("{other:?}"),
    }
}

fn describe(input: &Input) -> (&'static str, &[u8]) {
    match input {
        Input::Timeout => ("timeout", &[]),
        Input::Stalled(_) => ("stalled", &[]),
        Input::WallClock(_) => ("wall clock", &[]),
        Input::Sighted(sighting) => ("sighted", &sighting.peer.0),
        Input::Vanished(peer) => ("vanished", &peer.0),
        Input::Connected { peer, .. } => ("connected", &peer.0),
        Input::ConnectFailed { peer, .. } => ("connect failed", &peer.0),
        Input::Disconnected { .. } => ("disconnected", &[]),
        Input::Control { message, .. } => ("control in", message),
        Input::Datagram { datagram, .. } => ("datagram in", datagram),
        Input::PathSamples(_) => ("samples", &[]),
        Input::Command(_) => ("command", &[]),
        Input::MulticastUp { .. } => ("multicast up", &[]),
        Input::MulticastDown { .. } => ("multicast down", &[]),
        Input::Multicast { datagram, .. } => ("multicast in", datagram),
        Input::Run { .. } => ("run in", &[]),
        Input::Overflow { .. } => ("overflow", &[]),
        Input::Probed { peer, .. } => ("probed", &peer.0),
        Input::Network { .. } => ("network", &[]),
    }
}
