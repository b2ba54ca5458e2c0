//! Probes by TCP: what a host answers depends on whether its kernel, and whether its process, is there.

use std::time::Duration;

use swarmcast_core::ids::PeerId;
use swarmcast_core::node::{Input, ProbeOutcome};

use super::Shared;
use super::agenda::Happening;
use super::host::{Condition, Host};

/// How long a driver waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Host {
    /// Finds out whether a peer's host and node answer, as `Action::Probe` asks.
    pub(super) fn probe(&mut self, shared: &Shared, peer: PeerId) {
        let (outcome, after) = self.probed(shared, peer);
        let input = Box::new(Input::Probed { peer, outcome });
        self.agenda.plan(self.now + after, Happening::Feed { input, hops: 0 });
    }

    fn probed(&self, shared: &Shared, peer: PeerId) -> (ProbeOutcome, Duration) {
        let to = shared.by_peer.get(&peer).copied();
        let Some(to) = to.filter(|_| !self.unplugged) else {
            return (ProbeOutcome::NoRoute, Duration::ZERO);
        };
        if !shared.network.probes(self.id, to) {
            return (ProbeOutcome::Silent, PATIENCE);
        }
        let round_trip = shared.network.round_trip_min(self.id, to);
        match shared.standing(to).condition {
            Condition::Running => (ProbeOutcome::Answered, (round_trip * 2).min(PATIENCE)),
            Condition::Paused(_) => (ProbeOutcome::Mute, PATIENCE),
            Condition::Gone => (ProbeOutcome::Refused, round_trip.min(PATIENCE)),
        }
    }
}
