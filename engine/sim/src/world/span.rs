//! How time goes on: spans in which hosts run side by side, and between them what concerns more than one.

use std::time::Duration;

use swarmcast_core::node::Input;
use swarmcast_core::seal::EpochKeys;
use swarmcast_core::wire::peek_tag;

use super::agenda::{Happening, Turn};
use super::host::{Dispatch, Errand, Host, Letter};
use super::{Shared, World};
use crate::network::HostId;
use crate::oracle::{Breach, Violation};

/// Violations that are kept; a broken node would fill the memory otherwise.
const VIOLATIONS_MAX: usize = 64;

/// Hosts from which on a span is worth the threads' beginning: some 3 us of work each, against some 30 us.
const SHARED_FROM: usize = 64;

impl World {
    /// Runs until true time `until`, whatever rules are broken.
    pub fn run_until(&mut self, until: Duration) {
        loop {
            let next = self.due.iter().copied().min().unwrap_or(Duration::MAX);
            let turn_at = self.turns.next_at().unwrap_or(Duration::MAX);
            if turn_at.min(next) > until {
                break;
            }
            if let Some((at, turn)) = self.turns.take(next.min(until)) {
                self.now = at;
                self.take_turn(turn);
                self.hand_out(at);
            } else {
                const TICK: Duration = Duration::from_nanos(1);
                let reach = (next + self.shared.network.lookahead()).saturating_sub(TICK).max(next);
                self.run_hosts(reach.min(turn_at - TICK).min(until));
            }
        }
        self.now = self.now.max(until);
    }

    fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Emit { host } => self.emit(host),
            Turn::MayLeave { host, tries } => self.leave_when_done(host, tries),
            Turn::Deed(deed) => self.perform(deed),
        }
    }

    /// Lets every host live through what happens to it up to `reach`, then hands out what comes of it.
    #[expect(clippy::disallowed_methods, reason = "threads share out hosts that cannot meet")]
    fn run_hosts(&mut self, reach: Duration) {
        let shared = &self.shared;
        let due = &self.due;
        let is_awake = |host: &Host| due[host.id.0 as usize] <= reach;
        let awake = self.hosts.iter().filter(|host| is_awake(host)).count();
        let threads = if awake < SHARED_FROM { 1 } else { shared.config.threads.max(1) };
        // Dealt in turn, since who came early has more to do than who came late.
        let mut shares: Vec<Vec<&mut Host>> =
            (0..threads).map(|_| Vec::with_capacity(awake.div_ceil(threads))).collect();
        let hosts = self.hosts.iter_mut().filter(|host| is_awake(host));
        hosts.enumerate().for_each(|(turn, host)| shares[turn % threads].push(host));
        let run = |hosts: &mut Vec<&mut Host>| hosts.iter_mut().for_each(|host| host.run(shared, reach));
        std::thread::scope(|scope| {
            let mut shares = shares.iter_mut();
            let own = shares.next();
            for hosts in shares {
                scope.spawn(move || run(hosts));
            }
            own.into_iter().for_each(run);
        });
        for (host, due) in self.hosts.iter_mut().zip(&mut self.due).filter(|(_, due)| **due <= reach) {
            self.outbox.take(host);
            *due = host.next_at().unwrap_or(Duration::MAX);
        }
        self.hand_out(reach);
    }

    /// Lets one host do something now.
    pub(super) fn with_host<T>(&mut self, host: HostId, act: impl FnOnce(&mut Host, &Shared) -> T) -> T {
        let target = &mut self.hosts[host.0 as usize];
        target.now = self.now;
        let done = act(target, &self.shared);
        self.gather(host);
        done
    }

    /// Gives a process one input and drains it.
    pub(super) fn feed(&mut self, host: HostId, input: Input) {
        self.with_host(host, |target, shared| target.feed(shared, input, 0));
    }

    /// Lets something happen to a host by itself, as soon as it may.
    pub(super) fn plan(&mut self, at: Duration, host: HostId, happening: Happening) {
        let (at, place) = (at.max(self.horizon), host.0 as usize);
        self.hosts[place].agenda.plan(at, happening);
        self.due[place] = self.due[place].min(at);
    }

    /// Hands out what hosts have left behind since all had run up to `reach`.
    pub(super) fn hand_out(&mut self, reach: Duration) {
        self.horizon = self.horizon.max(reach);
        while !self.outbox.is_empty() {
            let Outbox { letters, mut errands, mut lines, breaches } = std::mem::take(&mut self.outbox);
            for letter in letters {
                debug_assert!(letter.at >= reach, "{letter:?} to one that has run up to {reach:?}");
                self.plan(letter.at, letter.to, letter.happening);
            }
            errands.sort_by_key(|(at, ..)| *at);
            for (at, host, errand) in errands {
                self.now = at;
                self.run_errand(host, errand);
            }
            lines.sort_by_key(|(at, _)| *at);
            if let Some(sink) = &mut self.sink {
                lines.iter().for_each(|(_, line)| (sink.0)(line));
            }
            let seed = self.shared.config.seed;
            let broken = breaches.into_iter().map(|(at, host, breach)| Violation { seed, at, host, breach });
            self.violations.extend(broken.take(VIOLATIONS_MAX.saturating_sub(self.violations.len())));
        }
        self.now = reach;
    }

    fn run_errand(&mut self, host: HostId, errand: Errand) {
        match errand {
            Errand::Announce(announcement) => self.announce(host, announcement),
            Errand::Published(key) => {
                if let Some(run) = self.shared.ledger.run_of(host) {
                    let keys = EpochKeys::derive(&self.shared.group, key, run.epoch);
                    (run.key, run.tag) = (Some(key), keys.ok().map(|keys| keys.tag()));
                }
            }
            Errand::Vouch(datagram) => {
                let run = self.shared.ledger.run_of(host).filter(|run| run.tag == peek_tag(&datagram));
                run.into_iter().for_each(|run| run.sent(&datagram));
            }
            Errand::OpenMulticast(channel, groups) => self.open_multicast(host, channel, &groups),
            Errand::RejoinMulticast(path) => self.shared.network.lan.renew(self.now, host, path),
            Errand::CloseMulticast(channel) => self.shared.network.lan.close(host, channel),
            Errand::Multicast { departs, path, datagram, hops } => {
                self.send_multicast(host, (departs, path), &datagram, hops);
            }
            Errand::Send(dispatch) => self.dispatch(host, dispatch),
        }
    }

    /// Sends something through the lines between LANs.
    fn dispatch(&mut self, host: HostId, dispatch: Dispatch) {
        let target = &mut self.hosts[host.0 as usize];
        target.now = self.now;
        let (shared, through) = (&self.shared, Some(&mut self.trunks));
        match dispatch {
            Dispatch::Handshake { session, flight, tries } => {
                target.send_handshake(shared, through, session, flight, tries);
            }
            Dispatch::Datagram { session, datagram, hops } => {
                target.send_datagram(shared, through, session, datagram, hops);
            }
            Dispatch::Control { session, number, message, packets, tries } => {
                target.send_control_packets(shared, through, session, (number, message), (packets, tries));
            }
        }
        self.gather(host);
    }

    /// Takes what a host left behind, and looks when it has something to do again.
    fn gather(&mut self, host: HostId) {
        let place = host.0 as usize;
        self.outbox.take(&mut self.hosts[place]);
        self.due[place] = self.hosts[place].next_at().unwrap_or(Duration::MAX);
    }
}

/// What hosts leave behind, in the order of hosts.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    letters: Vec<Letter>,
    errands: Vec<(Duration, HostId, Errand)>,
    lines: Vec<(Duration, String)>,
    breaches: Vec<(Duration, HostId, Breach)>,
}

impl Outbox {
    fn take(&mut self, host: &mut Host) {
        let id = host.id;
        self.letters.append(&mut host.letters);
        self.errands.extend(host.errands.drain(..).map(|(at, errand)| (at, id, errand)));
        self.breaches.extend(host.breaches.drain(..).map(|(at, breach)| (at, id, breach)));
        self.lines.append(&mut host.trace.take_lines());
    }

    fn is_empty(&self) -> bool {
        self.letters.is_empty()
            && self.errands.is_empty()
            && self.lines.is_empty()
            && self.breaches.is_empty()
    }
}
