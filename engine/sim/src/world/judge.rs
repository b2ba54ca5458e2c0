//! Oracles at work: what each process gets is noted, what it tells and what it counts is judged.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::StreamHandle;
use swarmcast_core::node::{Event, Input};
use swarmcast_core::wire::BlockHeader;

use super::host::{Condition, Errand, Host, host_at};
use super::{Shared, World};
use crate::network::HostId;
use crate::oracle::{Breach, HOPS_MAX, Scene, SubscriptionOracle};

/// Time behind the playout deadline at which a unit must be delivered or told as missing: blocks wait up to 40 ms
/// for company, and a gap is told when the next random-access point is complete, at most a few GOPs of 1 s later.
const COMPLETENESS_SLACK: Duration = Duration::from_secs(3);

/// A verdict looks back so far: `Dead` comes 5 s after the last fragment.
const VERDICT_MEMORY: Duration = Duration::from_secs(6);

impl Host {
    /// Notes a datagram that a viewer's process gets, if it is genuine; a header has taken `hops`.
    pub(super) fn witness(&mut self, shared: &Shared, input: &Input, hops: u8) {
        let (datagram, sender, by_multicast) = match input {
            Input::Datagram { path, datagram } => {
                let end = self.paths.get(path).and_then(|session| self.sessions.get(session));
                (datagram, end.map(|end| end.other), false)
            }
            Input::Multicast { from, datagram, .. } => (datagram, host_at(from.ip()), true),
            _ => return,
        };
        let (Some(sender), Some(run)) = (sender, shared.ledger.run_in(datagram)) else { return };
        let is_hostile = shared.standings.get(sender.0 as usize).is_none_or(|standing| standing.is_hostile);
        if is_hostile && !run.is_genuine(datagram) {
            return;
        }
        if let Some(subscription) = self.subscriptions.last() {
            let playout_delay = subscription.playout_delay;
            self.evidence.saw(self.now, run, datagram, by_multicast, playout_delay, hops);
        }
    }

    /// Returns the hops that a header will have taken when it is there: those that it took to here, and one.
    pub(super) fn hops_by_now(&self, shared: &Shared, datagram: &[u8]) -> u8 {
        let known = || {
            let (header, ..) = BlockHeader::decode(datagram).ok()?;
            let run = shared.ledger.run_in(datagram).filter(|run| run.host != self.id)?;
            self.evidence.of(run)?.hops_of(header.block)
        };
        known().unwrap_or(0).saturating_add(1)
    }

    /// Has kept what a publisher sent, where somebody may forge it.
    pub(super) fn vouch(&mut self, shared: &Shared, datagram: &Bytes) {
        if shared.has_hostile && self.source.is_some() {
            self.errands.push((self.now, Errand::Vouch(datagram.clone())));
        }
    }

    /// Judges what a subscription tells of its health, or without an event what it should have told.
    pub(super) fn judge_health(
        &mut self,
        shared: &Shared,
        stream: StreamHandle,
        event: Option<&Event>,
    ) -> Result<(), Breach> {
        let at = self.now;
        let mut watched = self.subscriptions.iter_mut();
        let Some(subscription) = watched.find(|known| known.handle == stream) else { return Ok(()) };
        let run = subscription.run(&shared.ledger);
        let scene = Scene {
            at,
            run,
            witness: run.and_then(|run| self.evidence.of(run)),
            pauses: &shared.standing(self.id).pauses,
            publisher_is_well: run.is_some_and(|run| {
                run.ended.or(run.vanished).is_none() && shared.has_been_well(run.host, at)
            }),
            has_cable: shared.has_had_cable(self.id, at),
        };
        match event {
            Some(event) => subscription.saw_health(event, &scene),
            None => subscription.judge_health(&scene),
        }
    }

    /// Judges the counters.
    pub(super) fn inspect(&mut self, shared: &Shared) {
        let standing = shared.standing(self.id);
        if standing.condition == Condition::Gone || standing.is_hostile {
            return;
        }
        let now = self.clock.now(self.now);
        let streams = self.subscriptions.iter().map(|s| s.handle).chain(self.publications.iter().copied());
        let verdict = streams
            .filter_map(|stream| self.process.stats(now, stream))
            .try_for_each(|stats| self.oracle.saw_stats(&stats));
        self.report(verdict);
        // A process that is stopped can tell nothing.
        let told = self.subscriptions.iter().filter(|_| standing.is_running());
        let streams: Vec<_> = told.map(|subscription| subscription.handle).collect();
        for stream in streams {
            let verdict = self.judge_health(shared, stream, None);
            self.report(verdict);
        }
    }

    pub(super) fn judge_completeness(&mut self, shared: &Shared) {
        let (now, standing) = (self.now, shared.standing(self.id));
        if standing.is_hostile || !standing.is_running() {
            return;
        }
        let mut verdicts = Vec::new();
        for subscription in &mut self.subscriptions {
            let patience = subscription.playout_delay + COMPLETENESS_SLACK;
            let calm = self.disturbed_at.is_none_or(|at| at + patience * 2 < now);
            let horizon = now.saturating_sub(patience);
            let vanished = subscription.run(&shared.ledger).and_then(|run| run.vanished);
            let horizon = vanished.map_or(horizon, |at| horizon.min(at.saturating_sub(patience)));
            if calm {
                verdicts.push(subscription.judge_rest(horizon, &shared.ledger));
                verdicts.push(subscription.judge_turn(now, patience, &shared.ledger));
            }
        }
        verdicts.into_iter().for_each(|verdict| self.report(verdict));
    }
}

impl Shared {
    /// Returns whether a process ran, on a host with a cable, for as long as a verdict looks back.
    fn has_been_well(&self, host: HostId, at: Duration) -> bool {
        let standing = self.standing(host);
        let stopped = standing.pauses.iter().any(|(_, until)| *until + VERDICT_MEMORY > at);
        standing.is_running() && !stopped && self.has_had_cable(host, at)
    }

    fn has_had_cable(&self, host: HostId, at: Duration) -> bool {
        let cable_at = self.standing(host).cable_at;
        !self.network.is_cut(host) && cable_at.is_none_or(|cut_at| cut_at + VERDICT_MEMORY < at)
    }
}

impl World {
    /// Returns how many blocks reached a host by how many hops.
    pub(crate) fn hops(&self, host: HostId) -> [u64; HOPS_MAX] {
        let runs = self.ledger().runs().iter().filter_map(|run| self.host(host).evidence.of(run));
        runs.fold([0; HOPS_MAX], |mut sum, witness| {
            sum.iter_mut().zip(witness.hops).for_each(|(sum, count)| *sum += count);
            sum
        })
    }

    /// Returns the share of a subscription's headers and fragments that came by multicast.
    pub(crate) fn multicast_share(&self, host: HostId, subscription: &SubscriptionOracle) -> f64 {
        let run = subscription.run(self.ledger());
        let witness = run.and_then(|run| self.host(host).evidence.of(run));
        witness.map_or(0.0, |witness| witness.counts.0 as f64 / witness.counts.1.max(1) as f64)
    }
}
