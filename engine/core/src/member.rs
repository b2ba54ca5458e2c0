//! Members: who might be there, who is dialled, and who is not wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::{Now, PeerId};
use crate::node::Sighting;

/// Most peers that are remembered: of more, a random sample and those that publish.
const CANDIDATES_MAX: usize = 256;
/// Most addresses of one peer.
const ADDRESSES_MAX: usize = 16;
/// Most peers that are shunned at a time.
const BANNED_MAX: usize = 256;
/// Time before a peer that could not be reached is dialled again, doubled with each failure.
const RETRY: Duration = Duration::from_millis(500);
/// Longest such time.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Failures behind which a peer that the user named is dialled like any other, when there is need of it.
const INSISTENCE: u32 = 4;
/// Time for which a peer that sent forgeries is shunned.
const BAN: Duration = Duration::from_secs(60);
/// Time that a node without need leaves to the other side to dial: two nodes that find each other do not both dial.
const COURTESY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Dialing,
    Connected,
}

#[derive(Clone, Debug)]
struct Candidate {
    addresses: Vec<SocketAddr>,
    manual: bool,
    publishes: Vec<String>,
    state: State,
    /// How many of its addresses were known when it was last dialled.
    tried: usize,
    /// When it may be dialled.
    dial_at: Now,
    /// When it was sighted, plus the courtesy.
    polite_at: Now,
    failures: u32,
    shuffle: u32,
}

/// The peers that a node knows of.
#[derive(Debug)]
pub(crate) struct Members {
    own: PeerId,
    candidates: BTreeMap<PeerId, Candidate>,
    /// Those of them that are dialled, and those that the user named: asked for at every step, and few of many.
    dialing: BTreeSet<PeerId>,
    manual: BTreeSet<PeerId>,
    /// When one of those that the user named is to be dialled.
    next_named: Option<Now>,
    banned: BTreeMap<PeerId, Now>,
}

impl Members {
    pub(crate) fn new(own: PeerId) -> Self {
        Self {
            own,
            candidates: BTreeMap::new(),
            dialing: BTreeSet::new(),
            manual: BTreeSet::new(),
            next_named: None,
            banned: BTreeMap::new(),
        }
    }

    /// Takes a sighting; `shuffle` is a random number that orders dialling, `connected` tells of a session there is.
    pub(crate) fn handle_sighting(&mut self, now: Now, sighting: Sighting, shuffle: u32, connected: bool) {
        let known = self.candidates.contains_key(&sighting.peer);
        let full = !known && self.candidates.len() >= CANDIDATES_MAX;
        if sighting.peer == self.own || (full && !self.make_way(&sighting, shuffle)) {
            return;
        }
        let candidate = self.candidates.entry(sighting.peer).or_insert_with(|| Candidate {
            addresses: Vec::new(),
            manual: false,
            publishes: Vec::new(),
            state: if connected { State::Connected } else { State::Idle },
            tried: 0,
            dial_at: now,
            polite_at: now.after(COURTESY + Duration::from_millis(u64::from(shuffle % 1000))),
            failures: 0,
            shuffle,
        });
        candidate.manual |= sighting.manual;
        if sighting.manual {
            self.manual.insert(sighting.peer);
        }
        if !sighting.publishes.is_empty() {
            candidate.publishes = sighting.publishes;
        }
        for address in sighting.addresses {
            if !candidate.addresses.contains(&address) && candidate.addresses.len() < ADDRESSES_MAX {
                candidate.addresses.push(address);
                // What failed by the addresses known before is worth another attempt at once.
                candidate.dial_at = candidate.dial_at.min(now);
            }
        }
        self.look_at_named();
    }

    /// Forgets a peer for one that is sighted, if there is one of less use; returns whether there was. What failed is
    /// not forgotten for that: it would be dialled again as soon as it is heard of.
    fn make_way(&mut self, sighting: &Sighting, shuffle: u32) -> bool {
        let sighted = (!sighting.manual, sighting.publishes.is_empty(), shuffle);
        let idle = self.candidates.iter().filter(|(_, candidate)| candidate.state == State::Idle);
        let use_of =
            |candidate: &Candidate| (!candidate.manual, candidate.publishes.is_empty(), candidate.shuffle);
        let least = idle.map(|(peer, candidate)| (use_of(candidate), *peer)).max();
        let Some((_, peer)) = least.filter(|(least, _)| *least > sighted) else { return false };
        self.manual.remove(&peer);
        self.candidates.remove(&peer).is_some()
    }

    /// Forgets a peer that said good-bye.
    pub(crate) fn handle_vanished(&mut self, peer: PeerId) {
        if self
            .candidates
            .get(&peer)
            .is_some_and(|candidate| candidate.state == State::Idle && !candidate.manual)
        {
            self.candidates.remove(&peer);
        }
    }

    pub(crate) fn handle_connected(&mut self, peer: PeerId) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.state = State::Connected;
            self.dialing.remove(&peer);
            self.look_at_named();
        }
    }

    /// Takes the end of a session, or of the attempt; the peer is dialled again after a while, or at once when another
    /// of its addresses became known meanwhile.
    pub(crate) fn handle_gone(&mut self, now: Now, peer: PeerId) {
        let Some(candidate) = self.candidates.get_mut(&peer) else { return };
        let wait = (RETRY * 2u32.saturating_pow(candidate.failures.min(8))).min(RETRY_MAX);
        let learned = candidate.state == State::Dialing && candidate.addresses.len() > candidate.tried;
        candidate.state = State::Idle;
        self.dialing.remove(&peer);
        candidate.failures += 1;
        candidate.dial_at = if learned { now } else { now.after(wait) };
        self.look_at_named();
    }

    /// Takes note of a session that lasted: failures of the past are forgiven.
    pub(crate) fn handle_settled(&mut self, peer: PeerId) {
        if let Some(candidate) = self.candidates.get_mut(&peer) {
            candidate.failures = 0;
            self.look_at_named();
        }
    }

    /// Shuns a peer for a while.
    pub(crate) fn ban(&mut self, now: Now, peer: PeerId) {
        self.banned.retain(|_, until| *until > now);
        if self.banned.len() < BANNED_MAX {
            self.banned.insert(peer, now.after(BAN));
        }
        self.look_at_named();
    }

    pub(crate) fn is_banned(&self, now: Now, peer: PeerId) -> bool {
        self.banned.get(&peer).is_some_and(|until| *until > now)
    }

    /// Picks the next peer to dial and takes it for dialled. A hungry node, one that still looks for a stream or
    /// for suppliers, does not wait for the other side. First come peers that the user named, then publishers of
    /// `wanted`.
    pub(crate) fn dial(
        &mut self,
        now: Now,
        hungry: bool,
        wanted: &[&str],
    ) -> Option<(PeerId, Vec<SocketAddr>)> {
        let banned = &self.banned;
        let due = |(peer, candidate): &(&PeerId, &mut Candidate)| {
            candidate.may_be_dialled()
                && now >= candidate.ready_at(hungry)
                && banned.get(peer).is_none_or(|until| *until <= now)
        };
        let rank = |(_, candidate): &(&PeerId, &mut Candidate)| {
            let publishes = candidate.publishes.iter().any(|name| wanted.contains(&name.as_str()));
            (!candidate.manual, candidate.failures, !publishes, candidate.shuffle)
        };
        let (peer, candidate) = self.candidates.iter_mut().filter(due).min_by_key(rank)?;
        candidate.state = State::Dialing;
        self.dialing.insert(*peer);
        candidate.tried = candidate.addresses.len();
        let dialled = (*peer, candidate.addresses.clone());
        self.look_at_named();
        Some(dialled)
    }

    /// Takes a peer for dialled, whatever it failed at before; `None` when it is dialled already, or connected.
    pub(crate) fn dial_at_once(&mut self, peer: PeerId) -> Option<(PeerId, Vec<SocketAddr>)> {
        let candidate = self.candidates.get_mut(&peer).filter(|candidate| candidate.state == State::Idle)?;
        candidate.state = State::Dialing;
        self.dialing.insert(peer);
        candidate.tried = candidate.addresses.len();
        let dialled = (peer, candidate.addresses.clone());
        self.look_at_named();
        Some(dialled)
    }

    /// Returns the peer that is most worth a question: one that the user named, else the one that failed least.
    pub(crate) fn likeliest(&self) -> Option<PeerId> {
        let rank = |(_, candidate): &(&PeerId, &Candidate)| {
            (!candidate.manual, candidate.failures, candidate.shuffle)
        };
        self.candidates.iter().min_by_key(rank).map(|(peer, _)| *peer)
    }

    /// Returns where a peer may be reached.
    pub(crate) fn addresses(&self, peer: PeerId) -> Vec<SocketAddr> {
        self.candidates.get(&peer).map_or_else(Vec::new, |candidate| candidate.addresses.clone())
    }

    /// Returns how many attempts are running.
    pub(crate) fn dialing(&self) -> usize {
        self.dialing.len()
    }

    /// Returns when [`Members::dial`] may have somebody.
    pub(crate) fn next_timeout(&self, hungry: bool) -> Option<Now> {
        let idle = self.candidates.iter().filter(|(_, candidate)| candidate.may_be_dialled());
        idle.map(|(peer, candidate)| candidate.ready_at(hungry).max(self.banned_until(peer))).min()
    }

    /// Returns when a user-named peer is to be dialled, however many sessions there are.
    pub(crate) fn next_named(&self) -> Option<Now> {
        self.next_named
    }

    /// Finds that out, behind whatever may have changed it: it is asked for at every step.
    fn look_at_named(&mut self) {
        let named = self.manual.iter().filter_map(|peer| Some((peer, self.candidates.get(peer)?)));
        let insists =
            named.filter(|(_, candidate)| candidate.may_be_dialled() && candidate.failures < INSISTENCE);
        self.next_named =
            insists.map(|(peer, candidate)| candidate.dial_at.max(self.banned_until(peer))).min();
    }

    fn banned_until(&self, peer: &PeerId) -> Now {
        self.banned.get(peer).copied().unwrap_or_default()
    }
}

impl Candidate {
    /// A record may name a peer before one of its addresses is known.
    fn may_be_dialled(&self) -> bool {
        self.state == State::Idle && !self.addresses.is_empty()
    }

    fn ready_at(&self, hungry: bool) -> Now {
        if hungry || self.manual { self.dial_at } else { self.dial_at.max(self.polite_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId([1; 32]);

    fn sighted(last_bytes: &[u8]) -> Sighting {
        let addresses = last_bytes.iter().map(|byte| SocketAddr::from(([10, 0, 0, *byte], 9))).collect();
        Sighting { peer: PEER, addresses, group: None, manual: false, publishes: Vec::new() }
    }

    fn members() -> Members {
        Members::new(PeerId([0; 32]))
    }

    fn dialled(members: &mut Members, now: Now) -> Option<usize> {
        members.dial(now, true, &[]).map(|(_, addresses)| addresses.len())
    }

    #[test]
    fn a_peer_without_an_address_is_dialled_as_soon_as_it_has_one() {
        let mut members = members();
        members.handle_sighting(Now(0), sighted(&[]), 0, false);
        assert_eq!(dialled(&mut members, Now(0)), None);
        assert_eq!(members.next_timeout(true), None);
        members.handle_sighting(Now(1), sighted(&[1]), 0, false);
        assert_eq!(dialled(&mut members, Now(1)), Some(1));
    }

    #[test]
    fn a_peer_that_could_not_be_reached_is_dialled_again_after_a_while() {
        let mut members = members();
        members.handle_sighting(Now(0), sighted(&[1]), 0, false);
        assert_eq!(dialled(&mut members, Now(0)), Some(1));
        members.handle_gone(Now(0), PEER);
        assert_eq!(dialled(&mut members, Now(0)), None);
        assert_eq!(dialled(&mut members, Now(0).after(RETRY)), Some(1));
    }

    #[test]
    fn attempts_are_counted_while_they_run() {
        let mut members = members();
        members.handle_sighting(Now(0), Sighting { manual: true, ..sighted(&[1]) }, 0, false);
        assert!(members.dialing() == 0 && members.next_named().is_some());
        assert_eq!(dialled(&mut members, Now(0)), Some(1));
        assert!(members.dialing() == 1 && members.next_named().is_none());
        members.handle_gone(Now(0), PEER);
        assert!(members.dialing() == 0 && members.next_named().is_some());
        assert!(members.dial_at_once(PEER).is_some());
        assert_eq!(members.dialing(), 1);
        members.handle_connected(PEER);
        assert!(members.dialing() == 0 && members.next_named().is_none());
    }

    #[test]
    fn a_peer_that_the_user_named_is_due_only_when_it_is_shunned_no_more() {
        let mut members = members();
        members.handle_sighting(Now(0), Sighting { manual: true, ..sighted(&[1]) }, 0, false);
        members.ban(Now(0), PEER);
        let free_at = Now(0).after(BAN);
        assert_eq!((dialled(&mut members, Now(1)), members.next_named()), (None, Some(free_at)));
        assert_eq!(dialled(&mut members, free_at), Some(1));
    }

    #[test]
    fn of_more_peers_than_are_remembered_there_is_a_sample_and_all_that_publish_or_were_named() {
        let mut members = members();
        let peer = |number: u32| PeerId(std::array::from_fn(|at| number.to_be_bytes()[at % 4]));
        let sighting = |number| Sighting { peer: peer(number), ..sighted(&[1]) };
        let count = CANDIDATES_MAX as u32 * 8;
        (1..=count).for_each(|n| {
            members.handle_sighting(Now(0), sighting(n), n.wrapping_mul(2_654_435_761), false);
        });
        assert_eq!(members.candidates.len(), CANDIDATES_MAX);
        let late =
            (1..=count).filter(|n| *n > count / 2 && members.candidates.contains_key(&peer(*n))).count();
        assert!((CANDIDATES_MAX / 4..CANDIDATES_MAX * 3 / 4).contains(&late), "{late} of the second half");

        let publisher = Sighting { publishes: vec!["tv".into()], ..sighting(count + 1) };
        members.handle_sighting(Now(0), publisher, u32::MAX, false);
        let named = Sighting { manual: true, ..sighting(count + 2) };
        members.handle_sighting(Now(0), named, u32::MAX, false);
        assert_eq!(members.candidates.len(), CANDIDATES_MAX);
        let dialled: Vec<_> =
            (0..2).map_while(|_| members.dial(Now(0), true, &["tv"])).map(|(peer, _)| peer).collect();
        assert_eq!(dialled, [peer(count + 2), peer(count + 1)]);
    }

    #[test]
    fn an_address_heard_of_during_an_attempt_is_tried_at_once() {
        let mut members = members();
        members.handle_sighting(Now(0), sighted(&[1]), 0, false);
        assert_eq!(dialled(&mut members, Now(0)), Some(1));
        members.handle_sighting(Now(1), sighted(&[2]), 0, false);
        members.handle_gone(Now(2), PEER);
        assert_eq!(dialled(&mut members, Now(2)), Some(2));
    }
}
