//! Oracles at work: what each process gets is noted, what it tells and what it counts is judged.

use std::time::Duration;

use swarmcast_core::ids::StreamHandle;
use swarmcast_core::node::{Event, Input};
use swarmcast_core::wire::{BlockHeader, peek_tag};

use super::World;
use super::host::{Condition, host_at};
use crate::ledger::Run;
use crate::network::HostId;
use crate::oracle::{Breach, HOPS_MAX, Scene, SubscriptionOracle};

/// Time behind the playout deadline at which a unit must be delivered or told as missing: blocks wait up to 40 ms
/// for company, and a gap is told when the next random-access point is complete, at most a few GOPs of 1 s later.
const COMPLETENESS_SLACK: Duration = Duration::from_secs(3);

/// A verdict looks back so far: `Dead` comes 5 s after the last fragment.
const VERDICT_MEMORY: Duration = Duration::from_secs(6);

impl World {
    /// Notes a datagram that a viewer's process gets, if it is genuine.
    pub(super) fn witness(&mut self, host: HostId, input: &Input) {
        let (datagram, sender, by_multicast) = match input {
            Input::Datagram { path, datagram } => {
                let end = self.host(host).paths.get(path);
                let way = end.and_then(|(id, side)| Some(self.sessions.get(*id)?.way(*side)));
                (datagram, way.map(|(_, from)| from), false)
            }
            Input::Multicast { from, datagram, .. } => (datagram, host_at(from.ip()), true),
            _ => return,
        };
        let (Some(sender), Some(run)) = (sender, self.ledger.run_in(datagram)) else { return };
        let is_hostile = |host: HostId| self.hosts.get(host.0 as usize).is_none_or(|host| host.is_hostile);
        if is_hostile(sender) && !run.is_genuine(datagram) {
            return;
        }
        let hops = self.hops_from(sender, run, datagram);
        let target = &mut self.hosts[host.0 as usize];
        if let Some(subscription) = target.subscriptions.last() {
            let playout_delay = subscription.playout_delay;
            target.evidence.saw(self.now, run, datagram, by_multicast, playout_delay, hops);
        }
    }

    /// Returns the hops that a header took to whom it comes from, and the one from there.
    fn hops_from(&self, sender: HostId, run: &Run, datagram: &[u8]) -> u8 {
        let known = || {
            let (header, ..) = BlockHeader::decode(datagram).ok()?;
            self.host(sender).evidence.of(run)?.hops_of(header.block)
        };
        if run.host == sender { 1 } else { known().unwrap_or(0).saturating_add(1) }
    }

    /// Returns how many blocks reached a host by how many hops.
    pub(crate) fn hops(&self, host: HostId) -> [u64; HOPS_MAX] {
        let runs = self.ledger.runs().iter().filter_map(|run| self.host(host).evidence.of(run));
        runs.fold([0; HOPS_MAX], |mut sum, witness| {
            sum.iter_mut().zip(witness.hops).for_each(|(sum, count)| *sum += count);
            sum
        })
    }

    /// Keeps what a publisher sent, where somebody may forge it.
    pub(super) fn vouch(&mut self, host: HostId, datagram: &[u8]) {
        if self.has_hostile && self.host(host).source.is_some() {
            let run = self.ledger.run_of(host).filter(|run| run.tag == peek_tag(datagram));
            run.into_iter().for_each(|run| run.sent(datagram));
        }
    }

    /// Judges what a subscription tells of its health, or without an event what it should have told.
    pub(super) fn judge_health(
        &mut self,
        host: HostId,
        stream: StreamHandle,
        event: Option<&Event>,
    ) -> Result<(), Breach> {
        let at = self.now;
        let has_cable = self.has_had_cable(host);
        let ledger = std::mem::take(&mut self.ledger);
        let watched = self.host(host).subscriptions.iter().find(|subscription| subscription.handle == stream);
        let run = watched.and_then(|subscription| subscription.run(&ledger));
        let publisher_is_well =
            run.is_some_and(|run| run.ended.or(run.vanished).is_none() && self.has_been_well(run.host));
        let target = &mut self.hosts[host.0 as usize];
        let scene = Scene {
            at,
            run,
            witness: run.and_then(|run| target.evidence.of(run)),
            pauses: &target.pauses,
            publisher_is_well,
            has_cable,
        };
        let mut watched = target.subscriptions.iter_mut();
        let verdict = match watched.find(|subscription| subscription.handle == stream) {
            None => Ok(()),
            Some(subscription) => match event {
                Some(event) => subscription.saw_health(event, &scene),
                None => subscription.judge_health(&scene),
            },
        };
        self.ledger = ledger;
        verdict
    }

    /// Judges a host's counters.
    pub(super) fn inspect(&mut self, index: usize) {
        let host = &self.hosts[index];
        if host.condition == Condition::Gone || host.is_hostile {
            return;
        }
        let now = host.clock.now(self.now);
        let streams = host.subscriptions.iter().map(|s| s.handle).chain(host.publications.iter().copied());
        let verdict = streams
            .filter_map(|stream| host.process.stats(now, stream))
            .try_for_each(|stats| host.oracle.saw_stats(&stats));
        let id = host.id;
        // A process that is stopped can tell nothing.
        let told = host.subscriptions.iter().filter(|_| host.is_running());
        let streams: Vec<_> = told.map(|subscription| subscription.handle).collect();
        self.report(id, verdict);
        for stream in streams {
            let verdict = self.judge_health(id, stream, None);
            self.report(id, verdict);
        }
    }

    pub(super) fn judge_completeness(&mut self, index: usize) {
        let (now, host) = (self.now, &mut self.hosts[index]);
        let id = host.id;
        if host.is_hostile || host.condition != Condition::Running {
            return;
        }
        let mut verdicts = Vec::new();
        for subscription in &mut host.subscriptions {
            let patience = subscription.playout_delay + COMPLETENESS_SLACK;
            let calm = host.disturbed_at.is_none_or(|at| at + patience * 2 < now);
            let horizon = now.saturating_sub(patience);
            let vanished = subscription.run(&self.ledger).and_then(|run| run.vanished);
            let horizon = vanished.map_or(horizon, |at| horizon.min(at.saturating_sub(patience)));
            if calm {
                verdicts.push(subscription.judge_rest(horizon, &self.ledger));
                verdicts.push(subscription.judge_turn(now, patience, &self.ledger));
            }
        }
        verdicts.into_iter().for_each(|verdict| self.report(id, verdict));
    }

    pub(super) fn subscription_mut(
        &mut self,
        host: HostId,
        stream: StreamHandle,
    ) -> Option<&mut SubscriptionOracle> {
        self.host_mut(host).subscriptions.iter_mut().find(|subscription| subscription.handle == stream)
    }

    /// Returns the share of a subscription's headers and fragments that came by multicast.
    pub(crate) fn multicast_share(&self, host: HostId, subscription: &SubscriptionOracle) -> f64 {
        let run = subscription.run(&self.ledger);
        let witness = run.and_then(|run| self.host(host).evidence.of(run));
        witness.map_or(0.0, |witness| witness.counts.0 as f64 / witness.counts.1.max(1) as f64)
    }

    /// Returns whether a process ran, on a host with a cable, for as long as a verdict looks back.
    fn has_been_well(&self, host: HostId) -> bool {
        let target = self.host(host);
        let stopped = target.pauses.iter().any(|(_, until)| *until + VERDICT_MEMORY > self.now);
        target.is_running() && !stopped && self.has_had_cable(host)
    }

    fn has_had_cable(&self, host: HostId) -> bool {
        let cable_at = self.host(host).cable_at;
        !self.network.is_cut(host) && cable_at.is_none_or(|at| at + VERDICT_MEMORY < self.now)
    }
}
