//! Discovery on the LAN: who announces is sighted by all others of the group, a random while later.

use std::time::Duration;

use swarmcast_core::node::{Announcement, Input, Sighting};

use super::World;
use super::agenda::Happening;
use super::host::Condition;
use crate::network::HostId;

/// How long a record outlives a host that vanished without withdrawing it (RFC 6762 section 10).
const RECORD_LIFETIME: Duration = Duration::from_secs(120);

/// Most other members that hear of a host, or it of them, when it appears; publishers are heard of by all. A node
/// remembers no more than some hundred in any case, and among thousands each pair would be millions of records.
const SIGHTED_MAX: usize = 256;

impl World {
    /// Replaces what a host announces and spreads the word.
    pub(super) fn announce(&mut self, host: HostId, announcement: Announcement) {
        let publishes = !announcement.publishes.is_empty();
        self.host_mut(host).announced = Some(announcement);
        let others = self.others(host);
        for other in if publishes { others } else { self.pick_heard(others) } {
            let at = self.now + self.draw_sighting();
            self.agenda.plan(at, Happening::Sighted { host: other, of: host });
        }
    }

    /// Lets a host that has just started ask who is there.
    pub(super) fn discover_all(&mut self, host: HostId) {
        let others = self.others(host);
        for other in self.pick_heard(others) {
            let at = self.now + self.draw_sighting();
            self.agenda.plan(at, Happening::Sighted { host, of: other });
        }
    }

    /// Leaves the publishers and, where there are many, as many others at random as are heard of.
    fn pick_heard(&mut self, mut others: Vec<HostId>) -> Vec<HostId> {
        if others.len() <= SIGHTED_MAX {
            return others;
        }
        let announced = |host: HostId| self.host(host).announced.as_ref();
        let publishes = |host: &HostId| announced(*host).is_some_and(|told| !told.publishes.is_empty());
        let mut heard: Vec<HostId> = others.extract_if(.., |host| publishes(host)).collect();
        for place in 0..SIGHTED_MAX.min(others.len()) {
            let pick = place + self.dice.below((others.len() - place) as u64) as usize;
            others.swap(place, pick);
        }
        others.truncate(SIGHTED_MAX);
        heard.append(&mut others);
        heard
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
