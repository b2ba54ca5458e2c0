//! The lobby: who finds no place at a full node is introduced to others before it is sent away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::rand_core::Rng;

use super::{Action, Node};
use crate::ids::{Now, PathId, PeerId};
use crate::session::Session;
use crate::wire::{Control, Hello, INTRODUCED_MAX};

/// Most guests at a time: a hundred that come in a second, on paths of any length.
const GUESTS_MAX: usize = 256;
/// Time that a guest has to greet and to take its introductions.
const STAY: Duration = Duration::from_secs(2);
/// Members that are remembered to be introduced: a sample of all that ever greeted, so that who comes by one node meets
/// others from the whole group.
const MET_MAX: usize = 64;

/// Guests, and members that were met.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    guests: BTreeMap<PathId, Guest>,
    met: Vec<(PeerId, SocketAddr)>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Guest {
    peer: PeerId,
    remote: Option<SocketAddr>,
    leaves: Now,
}

impl Lobby {
    /// Takes a guest in; returns whether there is room.
    pub(super) fn enter(&mut self, now: Now, path: PathId, peer: PeerId, remote: Option<SocketAddr>) -> bool {
        let room = self.guests.len() < GUESTS_MAX;
        if room {
            self.guests.insert(path, Guest { peer, remote, leaves: now.after(STAY) });
        }
        room
    }

    /// Forgets a guest; returns whether it was one.
    pub(super) fn leave(&mut self, path: PathId) -> bool {
        self.guests.remove(&path).is_some()
    }

    /// Returns when the next guest has to leave.
    pub(super) fn next_timeout(&self) -> Option<Now> {
        self.guests.values().map(|guest| guest.leaves).min()
    }

    /// Remembers a member that has proven to be one; `chance` decides whom it replaces, so that each that was met is
    /// among the sample with the same chance.
    fn meet(&mut self, peer: PeerId, remote: SocketAddr, chance: u64) {
        self.count += 1;
        if let Some(known) = self.met.iter_mut().find(|(met, _)| *met == peer) {
            known.1 = remote;
        } else if self.met.len() < MET_MAX {
            self.met.push((peer, remote));
        } else if let Some(place) = self.met.get_mut((chance % self.count) as usize) {
            *place = (peer, remote);
        }
    }
}

impl Node {
    /// Greets a peer that finds no place here, so that it can be introduced to others; returns whether there is room.
    pub(super) fn receive_guest(
        &mut self,
        now: Now,
        path: PathId,
        peer: PeerId,
        remote: Option<SocketAddr>,
    ) -> bool {
        let entered = self.lobby.enter(now, path, peer, remote);
        if entered {
            let proof = self.config.group.proof(self.config.peer, peer);
            self.send_control(path, &Control::Hello(Hello { group: self.config.group.id(), proof }));
        }
        entered
    }

    /// Takes what a guest says; returns whether it came from one. Whoever does not greet as a member has to leave.
    pub(super) fn handle_guest(&mut self, path: PathId, message: &[u8]) -> bool {
        let Some(Guest { peer, remote, .. }) = self.lobby.guests.get(&path).copied() else { return false };
        let proof = self.config.group.proof(peer, self.config.peer);
        match Control::decode(message) {
            Ok(Control::Hello(hello)) if hello.group == self.config.group.id() && hello.proof == proof => {
                let others = self.introductions(path, peer);
                self.send_control(path, &Control::Full(others));
                self.meet(peer, remote);
            }
            Ok(_) => {}
            Err(_) => self.dismiss(path),
        }
        true
    }

    /// Sends guests away whose time is over.
    pub(super) fn dismiss_guests(&mut self, now: Now) {
        let over = self.lobby.guests.iter().filter(|(_, guest)| guest.leaves <= now);
        let over: Vec<_> = over.map(|(path, _)| *path).collect();
        over.into_iter().for_each(|path| self.dismiss(path));
    }

    fn dismiss(&mut self, path: PathId) {
        if self.lobby.leave(path) {
            self.actions.push_back(Action::Disconnect { path });
        }
    }

    /// Chooses whom a member is introduced to: neighbours of this node, and members that were met before.
    pub(super) fn introductions(&mut self, path: PathId, peer: PeerId) -> Vec<(PeerId, SocketAddr)> {
        let near = |session: &Session| Some((session.peer, session.remote.filter(|_| session.greeted)?));
        let neighbours = self.sessions.values().filter(|other| other.path != path).filter_map(near);
        let mut others: Vec<_> = neighbours.chain(self.lobby.met.iter().copied()).collect();
        others.retain(|(other, _)| *other != peer);
        others.sort_unstable();
        others.dedup_by_key(|(other, _)| *other);
        for place in 0..others.len().min(INTRODUCED_MAX) {
            let pick = place + self.rng.next_u32() as usize % (others.len() - place);
            others.swap(place, pick);
        }
        others.truncate(INTRODUCED_MAX);
        others
    }

    /// Remembers a member, to introduce it to others.
    pub(super) fn meet(&mut self, peer: PeerId, remote: Option<SocketAddr>) {
        if let Some(remote) = remote {
            let chance = self.rng.next_u64();
            self.lobby.meet(peer, remote, chance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u64) -> PeerId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        PeerId(id)
    }

    #[test]
    fn the_lobby_has_limits_and_samples_all_that_came() {
        let mut lobby = Lobby::default();
        let entered = (0..1_000).filter(|n| lobby.enter(Now(0), PathId(*n), peer(0), None)).count();
        assert_eq!(entered, GUESTS_MAX);
        assert!(lobby.leave(PathId(3)) && !lobby.leave(PathId(3)));
        let address = SocketAddr::from(([10, 0, 0, 1], 9));
        let mut chance = 1_u64;
        for number in 0..6_400 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            lobby.meet(peer(number), address, chance >> 20);
        }
        let numbers = lobby.met.iter().map(|(met, _)| u64::from_be_bytes(met.0[..8].try_into().unwrap()));
        let early = numbers.filter(|number| *number < 3_200).count();
        assert!(lobby.met.len() == MET_MAX && (16..48).contains(&early), "{early} of the first half");
    }
}
