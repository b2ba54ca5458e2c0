//! What a scenario does to the world: publish, subscribe, join, leave, kill, pause, cut.

use std::time::Duration;

use swarmcast_core::ids::{Epoch, StreamHandle};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::{Command, Input, Publication, Subscription};

use super::World;
use super::agenda::Turn;
use super::host::{Broadcast, Condition, Host, HostConfig};
use crate::lan::{Blockade, Whom};
use crate::link::LinkModel;
use crate::network::{Between, Firewall, HostId};
use crate::oracle::SubscriptionOracle;
use crate::workload::{Source, Workload};

/// How often a leaving host is asked whether it lingers, and for how long at most.
const LEAVE_POLL: Duration = Duration::from_millis(20);
const LEAVE_POLLS_MAX: u32 = 300;

/// Handle of the one stream that a host publishes or watches.
pub(crate) const STREAM: StreamHandle = StreamHandle(1);

/// A stream as its publisher is told to send it.
#[derive(Clone, Debug)]
pub struct Transmission {
    /// What is sent.
    pub workload: Workload,
    /// Seed of the stream key; equal ones make it another run of the same stream.
    pub key_seed: [u8; 32],
    /// Whether and where it is multicast.
    pub multicast: MulticastChoice,
    /// Most bits a second by multicast.
    pub multicast_rate_max: u64,
    /// Most viewers that may have all of it pushed.
    pub unicast_max: usize,
}

/// A deed of the script.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Starts a stream and its source.
    Publish {
        /// The publisher.
        host: HostId,
        /// The stream.
        transmission: Box<Transmission>,
    },
    /// Adds a host that publishes at once.
    Serve {
        /// The new host.
        config: Box<HostConfig>,
        /// The stream.
        transmission: Box<Transmission>,
    },
    /// Lets a publisher's source send nothing for a while; its media time stands still.
    PauseSource(HostId, Duration),
    /// Stops the source and ends the stream.
    End {
        /// The publisher.
        host: HostId,
    },
    /// Subscribes to a stream by name.
    Subscribe {
        /// The viewer.
        host: HostId,
        /// What it watches; the world gives it its handle.
        subscription: Box<Subscription>,
    },
    /// Ends the subscription.
    Unsubscribe {
        /// The viewer.
        host: HostId,
    },
    /// Adds a host that subscribes at once.
    Join {
        /// The new host.
        config: Box<HostConfig>,
        /// What it watches; the world gives it its handle.
        subscription: Box<Subscription>,
    },
    /// Gives the node of a viewer a command.
    Command(HostId, Command),
    /// Ends everything on a host in good order, and then its process.
    Leave(HostId),
    /// Ends a process without a word.
    Kill(HostId),
    /// Kills the viewer that has sent most.
    KillBusiest,
    /// Kills this share of the viewers that run, all at once.
    KillShare(f64),
    /// Stops a process for a while, as SIGSTOP and SIGCONT do.
    Pause(HostId, Duration),
    /// Stops the viewer that has sent most.
    PauseBusiest(Duration),
    /// Goes on after a pause.
    Resume(HostId),
    /// Cuts a host off somewhere behind the switch, or joins it again: its interface keeps its carrier.
    Cut(HostId, bool),
    /// Pulls a host's cable, or plugs it in again.
    Unplug(HostId, bool),
    /// Cuts two hosts off from each other, or joins them again.
    CutPair(HostId, HostId, bool),
    /// Changes the link between two hosts.
    SetLink(HostId, HostId, LinkModel),
    /// Changes what multicast datagrams meet on their way to a receiver, or to each of all.
    SetMulticast(Whom, LinkModel),
    /// Keeps multicast from one host or from all.
    BlockMulticast(Whom, Blockade),
    /// Makes a host's next `datagrams` that are longer than so many bytes reach nobody by multicast.
    DropMulticast {
        /// The sender.
        host: HostId,
        /// How many.
        datagrams: u32,
        /// Shorter ones pass.
        longer_than: usize,
    },
    /// Keeps membership queries from hosts: memberships end after that time unless they are renewed. `None` ends it.
    StopQueries(Whom, Option<Duration>),
    /// Changes what a firewall does to sessions and probes.
    SetFirewall(Between, Firewall),
}

impl World {
    /// Does a deed now.
    pub(super) fn perform(&mut self, deed: Deed) {
        match deed {
            Deed::Publish { host, transmission } => self.publish(host, *transmission),
            Deed::Serve { config, transmission } => {
                let host = self.add_host(*config);
                self.publish(host, *transmission);
            }
            Deed::PauseSource(host, span) => self.pause_source(host, span),
            Deed::End { host } => self.end(host),
            Deed::Subscribe { host, subscription } => self.subscribe(host, *subscription),
            Deed::Unsubscribe { host } => self.unsubscribe(host),
            Deed::Join { config, subscription } => {
                let host = self.add_host(*config);
                self.subscribe(host, *subscription);
            }
            Deed::Command(host, command) => self.feed(host, Input::Command(command)),
            Deed::Leave(host) => {
                self.unsubscribe(host);
                self.end(host);
                self.turns.plan(self.now + LEAVE_POLL, Turn::MayLeave { host, tries: 0 });
            }
            Deed::Kill(host) => self.kill(host),
            Deed::KillBusiest => {
                if let Some(host) = self.busiest_relay() {
                    self.kill(host);
                }
            }
            Deed::KillShare(share) => self.kill_share(share),
            Deed::Pause(host, span) => self.pause(host, span),
            Deed::PauseBusiest(span) => {
                if let Some(host) = self.busiest_relay() {
                    self.pause(host, span);
                }
            }
            Deed::Resume(host) => self.resume(host),
            fault => self.perform_fault(fault),
        }
    }

    /// Changes the network.
    fn perform_fault(&mut self, fault: Deed) {
        match fault {
            Deed::Cut(host, cut) => {
                self.shared.network.set_cut(host, cut);
                self.disturb(&[host], cut);
            }
            Deed::Unplug(host, unplugged) => {
                self.shared.network.set_cut(host, unplugged);
                self.unplug(host, unplugged);
                self.disturb(&[host], unplugged);
            }
            Deed::CutPair(a, b, cut) => {
                self.shared.network.set_pair_cut(a, b, cut);
                self.disturb(&[a, b], cut);
            }
            Deed::SetLink(a, b, model) => self.set_link(a, b, model),
            Deed::SetMulticast(whom, model) => self.shared.network.set_multicast(whom, model),
            Deed::BlockMulticast(whom, blockade) => self.shared.network.lan.block(whom, blockade),
            Deed::DropMulticast { host, datagrams, longer_than } => {
                self.shared.network.lan.doom(host, datagrams, longer_than);
            }
            Deed::StopQueries(whom, lifetime) => {
                self.shared.network.lan.stop_queries(self.now, whom, lifetime);
            }
            Deed::SetFirewall(between, firewall) => {
                self.shared.network.set_firewall(between, firewall);
                self.survey_sessions();
            }
            _ => {}
        }
    }

    /// Sends all units that are due, and plans the next.
    pub(super) fn emit(&mut self, host: HostId) {
        let at = self.now;
        let is_running = self.shared.standing(host).is_running();
        loop {
            let target = self.host_mut(host);
            let now = target.clock.now(at);
            let Some(broadcast) = target.source.as_mut().filter(|_| is_running) else { return };
            if broadcast.due() > now {
                break;
            }
            let Some(unit) = broadcast.source.draw() else { return };
            let (stream, more) = (broadcast.handle, broadcast.due() <= now);
            self.shared.ledger.record(host, &unit, at);
            self.feed(host, Input::Command(Command::Send { stream, unit, more }));
        }
        let target = self.host(host);
        if let Some(broadcast) = &target.source {
            let due = target.clock.when(broadcast.due());
            self.turns.plan(due.max(at), Turn::Emit { host });
        }
    }

    pub(super) fn leave_when_done(&mut self, host: HostId, tries: u32) {
        if self.shared.standing(host).condition == Condition::Gone {
            return;
        }
        if self.host(host).process.lingers() && tries < LEAVE_POLLS_MAX {
            let turn = Turn::MayLeave { host, tries: tries + 1 };
            return self.turns.plan(self.now + LEAVE_POLL, turn);
        }
        self.with_host(host, |target, shared| {
            let paths: Vec<_> = target.paths.keys().copied().collect();
            paths.into_iter().for_each(|path| target.hang_up(shared, path));
        });
        self.stop(host, true);
    }

    fn publish(&mut self, host: HostId, transmission: Transmission) {
        let Transmission { workload, key_seed, multicast, multicast_rate_max, unicast_max } = transmission;
        let at = self.now;
        let salt = self.dice.below(u64::MAX);
        let target = self.host_mut(host);
        let clock = target.clock;
        let epoch = Epoch(target.clock.wall(at).0);
        let began = target.clock.now(at);
        let catalogue = workload.catalogue();
        target.publications.push(STREAM);
        target.source = Some(Broadcast { handle: STREAM, source: Source::new(workload, salt), began });
        self.shared.ledger.open(host, STREAM, epoch, catalogue.clone(), salt, (at, clock));
        let publication = Publication {
            multicast,
            multicast_rate_max,
            unicast_max,
            ..Publication::new(STREAM, catalogue, key_seed, epoch)
        };
        self.feed(host, Input::Command(Command::Publish(Box::new(publication))));
        self.turns.plan(at, Turn::Emit { host });
    }

    fn end(&mut self, host: HostId) {
        let at = self.now;
        if self.host_mut(host).source.take().is_some() {
            if let Some(run) = self.shared.ledger.run_of(host) {
                run.ended = Some(at);
            }
            self.feed(host, Input::Command(Command::End { stream: STREAM }));
        }
    }

    /// Shifts the source's time; the turn that is planned already finds nothing due and plans the next.
    fn pause_source(&mut self, host: HostId, span: Duration) {
        let at = self.now;
        if let Some(broadcast) = &mut self.host_mut(host).source {
            broadcast.began = broadcast.began.after(span);
            if let Some(run) = self.shared.ledger.run_of(host) {
                run.silences.push((at, at + span));
            }
        }
    }

    fn subscribe(&mut self, host: HostId, subscription: Subscription) {
        let at = self.now;
        let subscription = Subscription { handle: STREAM, ..subscription };
        self.host_mut(host).subscriptions.push(SubscriptionOracle::new(&subscription, at));
        self.feed(host, Input::Command(Command::Subscribe(Box::new(subscription))));
    }

    fn unsubscribe(&mut self, host: HostId) {
        if self.host(host).subscriptions.iter().any(|subscription| subscription.closed.is_none()) {
            self.feed(host, Input::Command(Command::Unsubscribe { stream: STREAM }));
        }
    }

    fn kill(&mut self, host: HostId) {
        self.stop(host, false);
        self.survey_sessions();
    }

    fn kill_share(&mut self, share: f64) {
        let mut running: Vec<HostId> = self.relays().collect();
        let doomed = (running.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        for _ in 0..doomed {
            let pick = self.dice.below(running.len() as u64) as usize;
            self.stop(running.swap_remove(pick), false);
        }
        self.survey_sessions();
    }

    /// Ends a process.
    fn stop(&mut self, host: HostId, said_goodbye: bool) {
        let at = self.now;
        let standing = self.shared.standing_mut(host);
        if standing.condition == Condition::Gone {
            return;
        }
        (standing.condition, standing.announced) = (Condition::Gone, None);
        let target = self.host_mut(host);
        target.trace.note((at, host), "stop", u64::from(said_goodbye), &[], String::new);
        target.lived.1 = Some(at);
        target.source = None;
        target.wake = None;
        target.backlog.drain();
        self.shared.network.lan.forget(host);
        if let Some(run) = self.shared.ledger.run_of(host).filter(|run| run.ended.is_none()) {
            run.vanished = Some(at);
        }
        self.forget(host, said_goodbye);
    }

    fn pause(&mut self, host: HostId, span: Duration) {
        let at = self.now;
        let standing = self.shared.standing_mut(host);
        if standing.is_running() {
            standing.condition = Condition::Paused(at);
            self.survey_sessions();
            self.turns.plan(at + span, Turn::Deed(Deed::Resume(host)));
        }
    }

    /// Lets a stopped process go on: it learns how late it is, then gets what waited for it.
    fn resume(&mut self, host: HostId) {
        let at = self.now;
        let standing = self.shared.standing_mut(host);
        let Condition::Paused(since) = standing.condition else { return };
        standing.condition = Condition::Running;
        standing.pauses.push((since, at));
        let target = self.host_mut(host);
        target.disturbed_at = Some(at);
        let waiting = target.backlog.drain();
        self.survey_sessions();
        self.feed(host, Input::Stalled(at.saturating_sub(since)));
        self.with_host(host, |target, shared| {
            waiting.into_iter().for_each(|(input, hops)| target.feed(shared, input, hops));
        });
        if self.host(host).source.is_some() {
            self.turns.plan(at, Turn::Emit { host });
        }
    }

    fn disturb(&mut self, hosts: &[HostId], cut: bool) {
        let at = self.now;
        for host in hosts {
            self.host_mut(*host).disturbed_at = Some(at);
            self.shared.standing_mut(*host).cable_at = Some(at);
        }
        self.survey_sessions();
        if !cut {
            // Discovery asks again when an interface comes up.
            hosts.iter().for_each(|host| self.discover_all(*host));
        }
    }

    fn set_link(&mut self, a: HostId, b: HostId, model: LinkModel) {
        self.shared.network.set_link(a, b, model);
        for way in [(a, b), (b, a)] {
            self.hosts[way.0.0 as usize].line.set_link(&self.shared.network, way);
        }
    }

    /// Looks which sessions of all hosts have fallen silent or speak again.
    fn survey_sessions(&mut self) {
        for place in 0..self.hosts.len() as u32 {
            self.with_host(HostId(place), Host::survey_sessions);
        }
    }
}
