//! How time goes on: spans in which hosts run side by side, and between them what concerns more than one.

use std::panic::resume_unwind;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
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

/// The least time there is.
const TICK: Duration = Duration::from_nanos(1);

/// Hosts from which on a span is worth the threads' beginning: some 3 us of work each, against some 30 us.
const SHARED_FROM: usize = 64;

/// Shares for each thread that a span's hosts are dealt into.
const SHARES: usize = 8;

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
                self.run_hosts(until.min(turn_at - TICK));
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

    /// Lets the hosts that lag behind live through what happens to them, each for as long as no other can reach it and
    /// at most up to `limit`, then hands out what comes of it.
    fn run_hosts(&mut self, limit: Duration) {
        let network = &self.shared.network;
        let out = |host: &HostId| network.own_latency(*host);
        let due = || (0..).map(HostId).zip(&self.due).filter(|(_, due)| **due <= limit);
        // What any host does next is on the links between the access lines then, or later.
        let Some(front) = due().map(|(host, due)| *due + out(&host)).min() else { return };
        let ahead = network.lookahead();
        let awake = due().filter_map(|(host, due)| {
            let own = out(&host);
            let reach = (front + network.least_latency() + own).saturating_sub(TICK).max(front - own);
            let lags = *due + own <= front + ahead && *due <= reach;
            lags.then_some((host, reach.min(limit)))
        });
        let awake: Vec<_> = awake.collect();
        let threads = if awake.len() < SHARED_FROM { 1 } else { self.shared.config.threads.max(1) };
        let range = self.hosts.len().div_ceil(threads).max(1);
        let now = self.due.iter().copied().min().unwrap_or(limit);
        let hauls = self.wake(awake, threads, range);

        let mut mail: Vec<Vec<Vec<Letter>>> = (0..threads).map(|_| Vec::with_capacity(threads)).collect();
        for haul in hauls {
            self.outbox.append(haul.outbox);
            haul.due.into_iter().for_each(|(host, at)| self.due[host.0 as usize] = at);
            mail.iter_mut().zip(haul.mail).for_each(|(range, letters)| range.push(letters));
        }
        let ranges = self.hosts.chunks_mut(range).zip(self.due.chunks_mut(range));
        let deliveries = ranges.zip(mail).enumerate();
        let deliveries = deliveries.map(|(turn, (places, mail))| (turn * range, places, mail)).collect();
        side_by_side(deliveries, |(first, (hosts, due), mail)| {
            for letter in by_sender(mail) {
                let place = letter.to.0 as usize - first;
                due[place] = due[place].min(hosts[place].expect(letter));
            }
        });
        self.hand_out(now);
    }

    /// Lets hosts live up to where each may; letters to each `range` of hosts lie together.
    fn wake(&mut self, awake: Vec<(HostId, Duration)>, threads: usize, range: usize) -> Vec<Haul> {
        // Taken share by share by whoever has time: what hosts have to do is as different as they are.
        let share = awake.len().div_ceil(threads * SHARES).max(1);
        let shares = ArrayQueue::new(awake.len().div_ceil(share).max(1));
        let mut reaches = awake.into_iter().peekable();
        let mut hosts = self.hosts.iter_mut().filter_map(|host| {
            let (_, reach) = reaches.next_if(|(id, _)| *id == host.id)?;
            host.reach = reach;
            Some(host)
        });
        while shares.push(hosts.by_ref().take(share).collect::<Vec<_>>()).is_ok() {}
        let (shares, shared) = (&shares, &self.shared);
        let taken = || std::iter::from_fn(|| shares.pop()).flatten();
        side_by_side(vec![(); threads], |()| Haul::of(taken(), shared, range))
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
        let place = host.0 as usize;
        self.due[place] = self.due[place].min(self.hosts[place].plan(at, happening));
    }

    /// Hands out what hosts have left behind; it is `now` in the world behind that.
    pub(super) fn hand_out(&mut self, now: Duration) {
        while !self.outbox.is_empty() {
            let Outbox { letters, mut errands, mut lines, mut breaches } = std::mem::take(&mut self.outbox);
            for letter in letters {
                let place = letter.to.0 as usize;
                self.due[place] = self.due[place].min(self.hosts[place].expect(letter));
            }
            errands.sort_by_key(|(at, host, _)| (*at, *host));
            for (at, host, errand) in errands {
                self.now = at;
                self.run_errand(host, errand);
            }
            lines.sort_by_key(|(at, host, _)| (*at, *host));
            if let Some(sink) = &mut self.sink {
                lines.iter().for_each(|(.., line)| (sink.0)(line));
            }
            breaches.sort_by_key(|(_, host, _)| *host);
            let seed = self.shared.config.seed;
            let broken = breaches.into_iter().map(|(at, host, breach)| Violation { seed, at, host, breach });
            self.violations.extend(broken.take(VIOLATIONS_MAX.saturating_sub(self.violations.len())));
        }
        self.now = now;
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

impl Host {
    /// Plans what another host lets happen to this one; returns when.
    fn expect(&mut self, letter: Letter) -> Duration {
        debug_assert!(letter.at >= self.reach, "{letter:?} to one that has run up to {:?}", self.reach);
        self.plan(letter.at, letter.happening)
    }

    /// Plans something, as soon as it may happen; returns when.
    fn plan(&mut self, at: Duration, happening: Happening) -> Duration {
        let at = at.max(self.reach);
        self.agenda.plan(at, happening);
        at
    }
}

/// Gives each share of some work a thread of its own, the first of them this one.
#[expect(clippy::disallowed_methods, reason = "threads share out hosts that cannot meet")]
fn side_by_side<S: Send, T: Send>(shares: Vec<S>, work: impl Fn(S) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let mut shares = shares.into_iter();
        let own = shares.next();
        let others: Vec<_> = shares.map(|share| scope.spawn(move || work(share))).collect();
        let own = own.map(work);
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|why| resume_unwind(why)));
        own.into_iter().chain(others).collect()
    })
}

/// What the hosts of one thread leave behind.
struct Haul {
    /// All but their letters.
    outbox: Outbox,
    /// When something happens to each next by itself.
    due: Vec<(HostId, Duration)>,
    /// Letters by ranges of those they go to, in the order of those they are from.
    mail: Vec<Vec<Letter>>,
}

impl Haul {
    /// Lets hosts live as far as each may; letters to each `range` of hosts lie together.
    fn of<'a>(hosts: impl Iterator<Item = &'a mut Host>, shared: &Shared, range: usize) -> Self {
        let mut haul = Self { outbox: Outbox::default(), due: Vec::new(), mail: Vec::new() };
        for host in hosts {
            host.run(shared);
            for letter in host.letters.drain(..) {
                let to = letter.to.0 as usize / range;
                haul.mail.resize_with(haul.mail.len().max(to + 1), Vec::new);
                haul.mail[to].push(letter);
            }
            haul.outbox.take(host);
            haul.due.push((host.id, host.next_at().unwrap_or(Duration::MAX)));
        }
        haul
    }
}

/// Merges letters that lie in the order of their senders.
fn by_sender(mail: Vec<Vec<Letter>>) -> impl Iterator<Item = Letter> {
    let mut piles: Vec<_> = mail.into_iter().map(|pile| pile.into_iter().peekable()).collect();
    std::iter::from_fn(move || {
        let next = piles.iter_mut().filter_map(|pile| Some((pile.peek()?.from, pile)));
        next.min_by_key(|(from, _)| *from).and_then(|(_, pile)| pile.next())
    })
}

/// What hosts leave behind, of each host in its order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    letters: Vec<Letter>,
    errands: Vec<(Duration, HostId, Errand)>,
    lines: Vec<(Duration, HostId, String)>,
    breaches: Vec<(Duration, HostId, Breach)>,
}

impl Outbox {
    fn take(&mut self, host: &mut Host) {
        let id = host.id;
        self.letters.append(&mut host.letters);
        self.errands.extend(host.errands.drain(..).map(|(at, errand)| (at, id, errand)));
        self.breaches.extend(host.breaches.drain(..).map(|(at, breach)| (at, id, breach)));
        self.lines.extend(host.trace.take_lines().into_iter().map(|(at, line)| (at, id, line)));
    }

    fn append(&mut self, mut other: Self) {
        self.letters.append(&mut other.letters);
        self.errands.append(&mut other.errands);
        self.lines.append(&mut other.lines);
        self.breaches.append(&mut other.breaches);
    }

    fn is_empty(&self) -> bool {
        self.letters.is_empty()
            && self.errands.is_empty()
            && self.lines.is_empty()
            && self.breaches.is_empty()
    }
}
