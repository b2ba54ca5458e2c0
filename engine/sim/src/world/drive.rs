//! The driver's loop of one process: one input, then drain, as the core's contract says.

use swarmcast_core::ids::{PathId, StreamHandle};
use swarmcast_core::node::{Action, Batch, Event, Input};
use swarmcast_core::seal::EpochKeys;
use swarmcast_core::wire::{BlockHeader, Control, Datagram};

use super::World;
use super::agenda::Happening;
use super::host::Condition;
use crate::network::HostId;
use crate::oracle::{Breach, HostOracle};
use crate::session::Phase;

impl World {
    /// Gives a process one input and drains it; one that is stopped gets it later, one that is gone never.
    pub(super) fn feed(&mut self, host: HostId, input: Input) {
        let buffer_bytes = self.config.transport.receive_buffer_bytes;
        let at = self.now;
        let target = self.host_mut(host);
        match target.condition {
            Condition::Gone => return,
            Condition::Paused(_) => return target.backlog.keep(input, buffer_bytes),
            Condition::Running => {}
        }
        let now = target.clock.now(at);
        target.inputs += 1;
        let number = target.inputs;
        let (kind, content) = describe(&input);
        self.trace.note((at, host), kind, number, content, || tell_input(&input));
        self.witness(host, &input);
        let target = self.host_mut(host);
        let is_timeout = matches!(input, Input::Timeout);
        target.process.handle(now, input);
        self.drain(host);
        if is_timeout {
            let target = self.host_mut(host);
            let next = target.process.poll_timeout();
            let verdict = target.oracle.saw_timeout(now, next);
            self.report(host, verdict);
        }
    }

    /// Wakes a process at the time it asked for.
    pub(super) fn wake(&mut self, host: HostId, number: u64) {
        let target = self.host_mut(host);
        if target.wake.0 == number {
            target.wake.1 = None;
            self.feed(host, Input::Timeout);
        }
    }

    /// Takes everything that a process has to say, then plans its next wake-up.
    pub(super) fn drain(&mut self, host: HostId) {
        self.drain_events(host);
        self.drain_actions(host);
        let mut asked = 0;
        while let Some(path) = self.host_mut(host).process.poll_ready() {
            self.fill(host, path);
            asked += 1;
            if asked > HostOracle::QUEUE_MAX {
                let limit = HostOracle::QUEUE_MAX;
                return self.report(host, Err(Breach::Flood { what: "ready paths", limit }));
            }
        }
        self.plan_wake(host);
    }

    /// Fills a path as far as its credit reaches, and plans the next try when that was not far enough.
    pub(super) fn fill(&mut self, host: HostId, path: PathId) {
        let (at, transport) = (self.now, self.config.transport);
        if self.network.lan.has(host, path) {
            return self.fill_multicast(host, path);
        }
        let target = self.host_mut(host);
        let now = target.clock.now(at);
        let Some((id, side)) = target.paths.get(&path).copied() else {
            // A session that the node was not yet told to be over: nothing to send on.
            return;
        };
        let Some(session) = self.sessions.get_mut(id) else { return };
        let limit = datagram_limit(session.end(side).up_at, at, &transport);
        let end = session.end_mut(side);
        if end.phase != Phase::Up(path) {
            return;
        }
        let credit = end.flight.credit(at, transport.window_bytes);
        if credit >= limit {
            let mut batch = Batch::default();
            self.host_mut(host).process.fill(now, path, credit, &mut batch);
            let bytes: usize = batch.datagrams.iter().map(|datagram| datagram.len()).sum();
            let largest = batch.datagrams.iter().map(|datagram| datagram.len()).max().unwrap_or(0);
            if bytes > credit || largest > limit {
                let (bytes, limit) = if largest > limit { (largest, limit) } else { (bytes, credit) };
                self.report(host, Err(Breach::Oversized { path, bytes, limit }));
            }
            for datagram in batch.datagrams {
                self.trace.note((at, host), "datagram out", u64::from(path.0), &datagram, || {
                    tell_datagram(&datagram)
                });
                self.vouch(host, &datagram);
                self.send_datagram(id, side, datagram);
            }
        }
        self.plan_credit(id, side, limit);
    }

    fn drain_events(&mut self, host: HostId) {
        let mut count = 0;
        while let Some(event) = self.host_mut(host).process.poll_event() {
            self.take_event(host, &event);
            count += 1;
            if count > HostOracle::QUEUE_MAX {
                let limit = HostOracle::QUEUE_MAX;
                return self.report(host, Err(Breach::Flood { what: "events", limit }));
            }
        }
    }

    fn drain_actions(&mut self, host: HostId) {
        let mut count = 0;
        while let Some(action) = self.host_mut(host).process.poll_action() {
            self.take_action(host, action);
            count += 1;
            if count > HostOracle::QUEUE_MAX {
                let limit = HostOracle::QUEUE_MAX;
                return self.report(host, Err(Breach::Flood { what: "actions", limit }));
            }
        }
    }

    fn take_action(&mut self, host: HostId, action: Action) {
        match action {
            Action::Connect { peer, .. } => {
                self.trace.note((self.now, host), "connect", 0, &peer.0, String::new);
                self.dial(host, peer);
            }
            Action::Control { path, message } => {
                self.trace.note((self.now, host), "control out", u64::from(path.0), &message, || {
                    format!("{:?}", Control::decode(&message))
                });
                self.send_control(host, path, message);
            }
            Action::Disconnect { path } => {
                self.trace.note((self.now, host), "disconnect", u64::from(path.0), &[], String::new);
                self.hang_up(host, path);
            }
            Action::Announce(announcement) => {
                let names = announcement.publishes.concat() + &announcement.watches.concat();
                self.trace.note((self.now, host), "announce", 0, names.as_bytes(), String::new);
                self.announce(host, announcement);
            }
            Action::OpenMulticast { channel, groups } => {
                self.trace.note((self.now, host), "open multicast", u64::from(channel.0), &[], || {
                    format!("{groups:?}")
                });
                self.open_multicast(host, channel, &groups);
            }
            Action::RejoinMulticast { path } => {
                self.trace.note((self.now, host), "rejoin multicast", u64::from(path.0), &[], String::new);
                self.network.lan.renew(self.now, host, path);
            }
            Action::CloseMulticast { channel } => {
                let number = u64::from(channel.0);
                self.trace.note((self.now, host), "close multicast", number, &[], String::new);
                self.network.lan.close(host, channel);
            }
            Action::Probe { peer, .. } => {
                self.trace.note((self.now, host), "probe", 0, &peer.0, String::new);
                self.probe(host, peer);
            }
        }
    }

    fn take_event(&mut self, host: HostId, event: &Event) {
        let (kind, content): (_, &[u8]) = match event {
            Event::AccessUnit { unit, .. } => ("access unit", &unit.payload),
            Event::Gap { .. } => ("gap", &[]),
            Event::Opened { key, .. } => ("opened", &key.0),
            Event::Closed { .. } => ("closed", &[]),
            Event::NeighbourUp { peer, .. } => ("neighbour up", &peer.0),
            Event::NeighbourDown { peer, .. } => ("neighbour down", &peer.0),
            _ => ("event", &[]),
        };
        self.trace.note((self.now, host), kind, 0, content, || tell_event(event));
        if self.host(host).is_hostile {
            return;
        }
        let verdict = self.host_mut(host).oracle.saw_event(event);
        self.report(host, verdict);
        let verdict = self.judge_event(host, event);
        self.report(host, verdict);
    }

    fn judge_event(&mut self, host: HostId, event: &Event) -> Result<(), Breach> {
        let at = self.now;
        match event {
            Event::Published { stream, key } => {
                let run = self.ledger.run_of(host).filter(|run| run.handle == *stream);
                let run = run.ok_or(Breach::UnknownHandle { stream: *stream })?;
                let keys = EpochKeys::derive(&self.group, *key, run.epoch);
                (run.key, run.tag) = (Some(*key), keys.ok().map(|keys| keys.tag()));
                Ok(())
            }
            Event::Unpublished { stream, .. } | Event::BadName { stream, .. } => {
                let known = self.host(host).publications.contains(stream);
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
                self.judge_health(host, stream, Some(event))?;
                let ledger = std::mem::take(&mut self.ledger);
                let subscription = self.subscription_mut(host, stream);
                let verdict = subscription
                    .ok_or(Breach::UnknownHandle { stream })
                    .and_then(|subscription| subscription.saw(at, event, &ledger));
                self.ledger = ledger;
                verdict
            }
            _ => Ok(()),
        }
    }

    fn plan_wake(&mut self, host: HostId) {
        let slack = self.dice.duration(std::time::Duration::ZERO, self.config.transport.timer_slack);
        let at = self.now;
        let target = self.host_mut(host);
        let due = target.process.poll_timeout();
        if due == target.wake.1 {
            return;
        }
        target.wake = (target.wake.0 + 1, due);
        let number = target.wake.0;
        if let Some(due) = due {
            // A wake-up in the past is a wake-up at the next microsecond: time goes on.
            let fires = target.clock.when(due).max(at + std::time::Duration::from_micros(1)) + slack;
            self.agenda.plan(fires, Happening::Wake { host, number });
        }
    }

    /// Plans a wake-up of a path whose credit does not reach for one more datagram.
    fn plan_credit(&mut self, id: crate::session::SessionId, side: crate::session::Side, limit: usize) {
        let (at, window_bytes) = (self.now, self.config.transport.window_bytes);
        let Some(session) = self.sessions.get_mut(id) else { return };
        let flight = &mut session.end_mut(side).flight;
        if flight.waits || flight.credit(at, window_bytes) >= limit {
            return;
        }
        if let Some(settles) = flight.next_credit(at) {
            flight.waits = true;
            self.agenda.plan(settles, Happening::Credit { session: id, side });
        }
    }
}

/// Returns the largest datagram that a session carries at `at`.
pub(super) fn datagram_limit(
    up_at: std::time::Duration,
    at: std::time::Duration,
    transport: &crate::session::TransportModel,
) -> usize {
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
        Input::PathSample { path, sample } => format!("{} {sample:?}", path.0),
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
        Input::PathSample { .. } => ("sample", &[]),
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
