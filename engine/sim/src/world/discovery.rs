//! Discovery on the LAN: who announces is sighted by all others of the group, a random while later.

use std::time::Duration;

use swarmcast_core::node::{Announcement, Input, Sighting};

use super::agenda::Happening;
use super::host::{Condition, Host, address_of};
use super::{Shared, World};
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
        self.shared.standing_mut(host).announced = Some(announcement);
        let others = self.others(host);
        for other in if publishes { others } else { self.pick_heard(others) } {
            let at = self.now + self.draw_sighting();
            self.plan(at, other, Happening::Sighted { of: host });
        }
    }

    /// Lets a host that has just started ask who is there.
    pub(super) fn discover_all(&mut self, host: HostId) {
        let others = self.others(host);
        for other in self.pick_heard(others) {
            let at = self.now + self.draw_sighting();
            self.plan(at, host, Happening::Sighted { of: other });
        }
    }

    /// Leaves the publishers and, where there are many, as many others at random as are heard of.
    fn pick_heard(&mut self, mut others: Vec<HostId>) -> Vec<HostId> {
        if others.len() <= SIGHTED_MAX {
            return others;
        }
        let announced = |host: HostId| self.shared.standing(host).announced.as_ref();
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

    /// Spreads the word that a host is gone: at once when it said good-bye, else when its record expires.
    pub(super) fn forget(&mut self, host: HostId, said_goodbye: bool) {
        let lifetime = if said_goodbye { Duration::ZERO } else { RECORD_LIFETIME };
        for other in self.others(host) {
            let at = self.now + lifetime + self.draw_sighting();
            self.plan(at, other, Happening::Vanished { of: host });
        }
    }

    fn draw_sighting(&mut self) -> Duration {
        let (low, high) = self.shared.config.sighting;
        self.dice.duration(low, high)
    }

    /// Returns the hosts that hear of this one, and it of them.
    fn others(&self, host: HostId) -> Vec<HostId> {
        let shared = &self.shared;
        if !shared.standing(host).discovery {
            return Vec::new();
        }
        let others = (0..).map(HostId).zip(&shared.standings).filter(|(other, standing)| {
            let hears = standing.discovery && standing.condition != Condition::Gone;
            *other != host && hears && shared.network.is_one_lan(host, *other)
        });
        others.map(|(other, _)| other).collect()
    }
}

impl Host {
    pub(super) fn sight(&mut self, shared: &Shared, of: HostId) {
        let seen = shared.standing(of);
        let Some(announced) = &seen.announced else { return };
        if !shared.network.reachable(self.id, of) || seen.condition == Condition::Gone {
            return;
        }
        let sighting = Sighting {
            peer: seen.peer,
            addresses: vec![address_of(of)],
            group: Some(shared.group.id()),
            manual: false,
            publishes: announced.publishes.clone(),
        };
        self.feed(shared, Input::Sighted(sighting), 0);
    }

    /// Takes in a peer that the host's user named.
    pub(super) fn learn_peer(&mut self, shared: &Shared, peer: HostId) {
        let sighting = Sighting {
            peer: shared.standing(peer).peer,
            addresses: vec![address_of(peer)],
            group: None,
            manual: true,
            publishes: Vec::new(),
        };
        self.feed(shared, Input::Sighted(sighting), 0);
    }

    pub(super) fn withdraw(&mut self, shared: &Shared, of: HostId) {
        if shared.network.reachable(self.id, of) {
            let peer = shared.standing(of).peer;
            self.feed(shared, Input::Vanished(peer), 0);
        }
    }
}
