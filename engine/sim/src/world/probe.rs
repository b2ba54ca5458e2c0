//! Probes by TCP: what a host answers depends on whether its kernel, and whether its process, is there.

use std::time::Duration;

use swarmcast_core::ids::PeerId;
use swarmcast_core::node::{Input, ProbeOutcome};

use super::World;
use super::agenda::Happening;
use super::host::Condition;
use crate::network::HostId;

/// How long a driver waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl World {
    /// Finds out whether a peer's host and node answer, as `Action::Probe` asks.
    pub(super) fn probe(&mut self, host: HostId, peer: PeerId) {
        let (outcome, after) = self.probed(host, peer);
        let input = Box::new(Input::Probed { peer, outcome });
        self.agenda.plan(self.now + after, Happening::Feed { host, input });
    }

    fn probed(&self, host: HostId, peer: PeerId) -> (ProbeOutcome, Duration) {
        let to = self.by_peer.get(&peer).copied();
        let Some(to) = to.filter(|_| !self.host(host).unplugged) else {
            return (ProbeOutcome::NoRoute, Duration::ZERO);
        };
        if !self.network.probes(host, to) {
            return (ProbeOutcome::Silent, PATIENCE);
        }
        let round_trip = self.network.round_trip_min(host, to);
        match self.host(to).condition {
            Condition::Running => (ProbeOutcome::Answered, (round_trip * 2).min(PATIENCE)),
            Condition::Paused(_) => (ProbeOutcome::Mute, PATIENCE),
            Condition::Gone => (ProbeOutcome::Refused, round_trip.min(PATIENCE)),
        }
    }
}
