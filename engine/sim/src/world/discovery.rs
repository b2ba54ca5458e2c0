//! Discovery on the LAN: who announces is sighted by all others of the group, a random while later.

use std::time::Duration;

use swarmcast_core::node::{Announcement, Input, Sighting};

use super::World;
use super::agenda::Happening;
use super::host::Condition;
use crate::network::HostId;

/// How long a record outlives a host that vanished without withdrawing it (RFC 6762 section 10).
const RECORD_LIFETIME: Duration = Duration::from_secs(120);

impl World {
    /// Replaces what a host announces and spreads the word.
    pub(super) fn announce(&mut self, host: HostId, announcement: Announcement) {
        self.host_mut(host).announced = Some(announcement);
        for other in self.others(host) {
            let at = self.now + self.draw_sighting();
            self.agenda.plan(at, Happening::Sighted { host: other, of: host });
        }
    }

    /// Lets a host that has just started ask who is there.
    pub(super) fn discover_all(&mut self, host: HostId) {
        for other in self.others(host) {
            let at = self.now + self.draw_sighting();
            self.agenda.plan(at, Happening::Sighted { host, of: other });
        }
    }

    pub(super) fn sight(&mut self, host: HostId, of: HostId) {
        let seen = self.host(of);
        let Some(announced) = seen.announced.clone() else { return };
        let listens = self.host(host).discovery && seen.discovery && self.network.reachable(host, of);
        if !listens || seen.condition == Condition::Gone {
            return;
        }
        let sighting = Sighting {
            peer: seen.peer,
            addresses: vec![seen.address()],
            group: Some(self.group.id()),
            manual: false,
            publishes: announced.publishes,
        };
        self.feed(host, Input::Sighted(sighting));
    }

    /// Tells a host of a peer that its user named.
    pub(super) fn name_peer(&mut self, host: HostId, peer: HostId) {
        let named = self.host(peer);
        let sighting = Sighting {
            peer: named.peer,
            addresses: vec![named.address()],
            group: None,
            manual: true,
            publishes: Vec::new(),
        };
        self.feed(host, Input::Sighted(sighting));
    }

    /// Spreads the word that a host is gone: at once when it said good-bye, else when its record expires.
    pub(super) fn forget(&mut self, host: HostId, said_goodbye: bool) {
        let lifetime = if said_goodbye { Duration::ZERO } else { RECORD_LIFETIME };
        for other in self.others(host) {
            let at = self.now + lifetime + self.draw_sighting();
            self.agenda.plan(at, Happening::Vanished { host: other, of: host });
        }
    }

    pub(super) fn withdraw(&mut self, host: HostId, of: HostId) {
        if self.host(host).discovery && self.network.reachable(host, of) {
            let peer = self.host(of).peer;
            self.feed(host, Input::Vanished(peer));
        }
    }

    fn draw_sighting(&mut self) -> Duration {
        let (low, high) = self.config.sighting;
        self.dice.duration(low, high)
    }

    fn others(&self, host: HostId) -> Vec<HostId> {
        let others = self.hosts.iter().filter(|h| h.id != host && h.condition != Condition::Gone);
        others.map(|h| h.id).filter(|other| self.network.is_one_lan(host, *other)).collect()
    }
}
