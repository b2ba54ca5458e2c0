//! Who pushes which stripe to this node.

mod guest;
mod offerer;
mod place;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::offerer::{Distance, Lead, Offerer};
use self::place::{Heir, Place, Supplier, Word};
use crate::ids::{BlockId, Now, PathId, STRIPES, Stripe};
use crate::wire::{HaveMap, StripeMask};

/// Time after which a neighbour that refused a stripe is asked again, doubled with each refusal.
const REFUSAL: Duration = Duration::from_millis(500);
/// Longest such time.
const REFUSAL_MAX: Duration = Duration::from_secs(16);
/// Time for which only neighbours that were no deeper are asked, so that nobody is fed by who he feeds.
const DEPTH_MEMORY: Duration = Duration::from_millis(300);

/// Time by which a stripe must come sooner from another neighbour to be taken from its supplier.
const GAIN_MIN: Duration = Duration::from_millis(6);
/// Hops by which a neighbour must be nearer to the publisher to be asked in a supplier's place where uploads are
/// limited, and what each of them takes at least.
const HOPS_MIN: u8 = 3;
const HOP: Duration = Duration::from_millis(10);
/// Time in which a neighbour that was asked in a supplier's place has to push, behind the time it is expected to take.
const HEIR_MAX: Duration = Duration::from_secs(8);
/// Time beside a round trip in which it refuses, if it does.
const ANSWER: Duration = Duration::from_millis(20);
/// Time after which a better supplier of a stripe is looked for again, doubled each time: at first the trees are deep,
/// later everybody is about as near as can be.
const IMPROVED_MIN: Duration = Duration::from_millis(500);
const IMPROVED_MAX: Duration = Duration::from_secs(32);

/// A change of suppliers at a block: to be asked of the one, and told to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(crate) stripe: Stripe,
    pub(crate) heir: PathId,
    pub(crate) former: PathId,
    pub(crate) from: BlockId,
}

/// The suppliers of one stream.
#[derive(Debug)]
pub(crate) struct Supply {
    places: [Place; STRIPES as usize],
    /// What it was before the publisher was asked for all stripes, until it pushes.
    mesh: Option<[Place; STRIPES as usize]>,
    refused: BTreeMap<(PathId, u8), (Now, Duration)>,
}

impl Supply {
    pub(crate) fn new(now: Now) -> Self {
        let place = Place {
            supplier: None,
            until: None,
            heir: None,
            depth: HaveMap::NO_DEPTH,
            told: Distance::NONE,
            is_guest: false,
            vacant_since: now,
            improved_at: now,
            wait: IMPROVED_MIN,
        };
        Self { places: [place; STRIPES as usize], mesh: None, refused: BTreeMap::new() }
    }

    /// Finds suppliers for the stripes that have none, or will have none from a block on: the nearest to the publisher,
    /// then who supplies least already, or where uploads are `limited` who gives most stripes. `end` is the first block
    /// that nothing is known of. Returns who is asked for what, and from which block on when that is not the next.
    pub(crate) fn assign(
        &mut self,
        now: Now,
        end: BlockId,
        offerers: &[Offerer],
        limited: bool,
    ) -> BTreeMap<(PathId, Option<BlockId>), StripeMask> {
        let mut asked = BTreeMap::<_, StripeMask>::new();
        for stripe in StripeMask::ALL.iter() {
            let place = &mut self.places[usize::from(stripe.0)];
            if place.heir.is_none() && place.until.is_some_and(|until| until <= end) {
                (place.supplier, place.until) = (None, None);
                (place.vacant_since, place.is_guest) = (now, false);
            }
            let place = *place;
            if !place.seeks() {
                continue;
            }
            let wary = place.depth < HaveMap::NO_DEPTH
                && (place.supplier.is_some() || now.since(place.vacant_since) < DEPTH_MEMORY);
            let depth_max = if wary { place.depth } else { HaveMap::NO_DEPTH - 2 };
            let ahead = |offerer: &Offerer| {
                let lead = offerer.leads[usize::from(stripe.0)];
                place.supplier.is_some_and(|supplier| lead.over(supplier.since, now) > Duration::ZERO)
            };
            let fit = |offerer: &&Offerer| {
                let distance = offerer.distances[usize::from(stripe.0)];
                let leads_here = match limited {
                    true => !place.may_hang_on(distance),
                    false => distance.depth > depth_max && !ahead(offerer),
                };
                distance.depth < HaveMap::NO_DEPTH - 1
                    && !leads_here
                    && place.supplier.is_none_or(|supplier| supplier.path != offerer.path)
                    && !offerer.consumes.has(stripe)
                    && !self.is_refused(now, offerer, stripe, limited)
                    && (!limited || offerer.gives.0.has(stripe))
            };
            let rank = |offerer: &&Offerer| {
                let depth = offerer.distances[usize::from(stripe.0)].depth;
                let crowding = if limited { u32::from(STRIPES) - offerer.gives.0.len() } else { 0 };
                (
                    offerer.failures,
                    depth,
                    crowding,
                    self.supplied_by(offerer.path).len(),
                    offerer.rtt,
                    offerer.path,
                )
            };
            if let Some(best) = offerers.iter().filter(fit).min_by_key(rank) {
                let supplier = Supplier::new(now, best.path);
                let place = &mut self.places[usize::from(stripe.0)];
                match place.until {
                    Some(from) => place.heir = Some(Heir { supplier, from, until: None, word: Word::Its }),
                    None => (place.supplier, place.is_guest) = (Some(supplier), false),
                }
                let mask = asked.entry((best.path, place.until)).or_default();
                *mask = mask.with(stripe);
            }
        }
        asked
    }

    /// Looks for a neighbour that is proven to bring a stripe sooner than its supplier does, and takes it for asked. It
    /// is no deeper than the supplier, so that the trees stay flat. Where uploads are `limited`, that is one which is
    /// nearer to the publisher by [`HOPS_MIN`]: proofs are rare there, and each hop takes long. The supplier is told
    /// when the other one has had a round trip to refuse; `after` returns the first block that it has yet to push in
    /// such a time.
    pub(crate) fn improve(
        &mut self,
        now: Now,
        offerers: &[Offerer],
        after: impl Fn(Duration) -> BlockId,
        limited: bool,
    ) -> Option<Handover> {
        let mut best = None;
        for stripe in StripeMask::ALL.iter() {
            let at = usize::from(stripe.0);
            let place = self.places[at];
            let Place { supplier: Some(supplier), heir: None, until: None, .. } = place else { continue };
            let current = offerers.iter().find(|offerer| offerer.path == supplier.path);
            let Some(current) = current.filter(|_| place.improved_at <= now) else { continue };
            let depth = current.distances[at].depth;
            let is_nearer = |offerer: &Offerer| {
                let distance = offerer.distances[at];
                match limited {
                    true => {
                        let gives = offerer.gives.0.has(stripe) && place.may_hang_on(distance);
                        gives && distance.depth + HOPS_MIN <= depth
                    }
                    false => distance.depth <= depth,
                }
            };
            let fit = |offerer: &&Offerer| {
                offerer.path != current.path
                    && is_nearer(offerer)
                    && offerer.failures <= current.failures
                    && !offerer.consumes.has(stripe)
                    && !self.is_refused(now, offerer, stripe, limited)
            };
            let gain = |offerer: &Offerer| match limited {
                true => HOP * u32::from(depth - offerer.distances[at].depth),
                false => offerer.leads[at].over(supplier.since, now),
            };
            let others = offerers.iter().filter(fit);
            let other = others.map(|o| (gain(o), o.path, stripe, (o.rtt, current.rtt))).max();
            best = best.max(other.filter(|(gain, ..)| *gain > GAIN_MIN));
        }
        let (_, heir, stripe, (rtt, former_rtt)) = best?;
        let from = after(rtt + ANSWER + former_rtt);
        let place = &mut self.places[usize::from(stripe.0)];
        place.improved_at = now.after(place.wait);
        place.wait = (place.wait * 2).min(IMPROVED_MAX);
        let supplier = Supplier::new(now.after(rtt + ANSWER + former_rtt), heir);
        let word = Word::Due(now.after(rtt + ANSWER));
        place.heir = Some(Heir { supplier, from, until: None, word });
        let former = place.supplier?.path;
        Some(Handover { stripe, heir, former, from })
    }

    /// Returns a supplier that is to be told from which block on it is not needed.
    pub(crate) fn poll_telling(&mut self, now: Now) -> Option<Handover> {
        for stripe in StripeMask::ALL.iter() {
            let place = &mut self.places[usize::from(stripe.0)];
            let (Some(supplier), Some(heir)) = (place.supplier, &mut place.heir) else { continue };
            if matches!(heir.word, Word::Due(at) if at <= now) {
                heir.word = Word::Given;
                let (former, from) = (supplier.path, heir.from);
                return Some(Handover { stripe, heir: heir.supplier.path, former, from });
            }
        }
        None
    }

    /// Returns when the next supplier is to be told.
    pub(crate) fn tells_at(&self) -> Option<Now> {
        let due = |place: &Place| match place.heir?.word {
            Word::Due(at) => Some(at),
            Word::Its | Word::Given => None,
        };
        self.places.iter().filter_map(due).min()
    }

    /// Gives up who was asked in a supplier's place and does not push.
    pub(crate) fn expire(&mut self, now: Now) -> Vec<Handover> {
        let mut left = Vec::new();
        for stripe in StripeMask::ALL.iter() {
            let heir = self.places[usize::from(stripe.0)].heir;
            let late = heir.filter(|heir| now.since(heir.supplier.last) > HEIR_MAX);
            left.extend(late.and_then(|heir| self.refuse_heir(now, stripe, heir.supplier.path)));
        }
        self.refused.retain(|_, (until, _)| now < until.after(REFUSAL_MAX));
        left
    }

    /// Returns whether a neighbour refused a stripe of late. Where uploads are `limited`, its word that it gives it,
    /// which came since, counts for more.
    fn is_refused(&self, now: Now, offerer: &Offerer, stripe: Stripe, limited: bool) -> bool {
        let (gives, told) = offerer.gives;
        let revoked = |until: Now, wait: Duration| limited && gives.has(stripe) && told.after(wait) > until;
        let refused = self.refused.get(&(offerer.path, stripe.0));
        refused.is_some_and(|(until, wait)| *until > now && !revoked(*until, *wait))
    }

    /// Takes note of a refusal, or of the block from which on a supplier pushes no longer. Returns who is to be asked
    /// again, since who was to take their place does not.
    pub(crate) fn handle_choke(
        &mut self,
        now: Now,
        path: PathId,
        stripes: StripeMask,
        from: BlockId,
    ) -> Vec<Handover> {
        let mut back = Vec::new();
        if self.mesh.is_some() {
            self.in_mesh(|supply| back = supply.handle_choke(now, path, stripes, from));
            return back;
        }
        for stripe in stripes.iter() {
            let place = &mut self.places[usize::from(stripe.0)];
            if let Some(heir) = place.heir.as_mut().filter(|heir| heir.supplier.path == path) {
                if heir.from < from {
                    heir.until = Some(from);
                } else {
                    let undone = self.refuse_heir(now, stripe, path);
                    back.extend(undone.filter(|handover| handover.former != path));
                }
            } else if from > BlockId(0) {
                let supplies = place.supplier.is_some_and(|supplier| supplier.path == path);
                place.until = place.until.or(Some(from).filter(|_| supplies));
                self.note_refusal(now, stripe, path);
            } else {
                self.note_refusal(now, stripe, path);
                self.vacate(now, stripe, path);
            }
        }
        back
    }

    fn note_refusal(&mut self, now: Now, stripe: Stripe, path: PathId) {
        let before = self.refused.get(&(path, stripe.0)).map_or(REFUSAL / 2, |(_, wait)| *wait);
        let wait = (before * 2).min(REFUSAL_MAX);
        self.refused.insert((path, stripe.0), (now.after(wait), wait));
    }

    /// Gives up an heir. Returns the handover that is to be undone: its heir to be left, its former to be asked again
    /// unless that is the heir too, in which case there is nobody to ask.
    fn refuse_heir(&mut self, now: Now, stripe: Stripe, path: PathId) -> Option<Handover> {
        self.note_refusal(now, stripe, path);
        let place = &mut self.places[usize::from(stripe.0)];
        let heir = place.heir.take()?;
        let stopped = heir.word == Word::Given && place.until.is_none();
        let former = place.supplier.filter(|_| stopped);
        let former = former.map_or(path, |supplier| supplier.path);
        Some(Handover { stripe, heir: path, former, from: heir.from })
    }

    /// Takes note of a push.
    pub(crate) fn handle_push(&mut self, now: Now, path: PathId, stripe: Stripe, block: BlockId) {
        let place = &mut self.places[usize::from(stripe.0)];
        let succeeds = |heir: &Heir| heir.supplier.path == path && block >= heir.from;
        if let Some(heir) = place.heir.take_if(|heir| succeeds(heir)) {
            (place.supplier, place.until, place.is_guest) =
                (Some(Supplier::new(now, path)), heir.until, false);
        }
        if let Some(supplier) = place.supplier.as_mut().filter(|supplier| supplier.path == path) {
            supplier.last = now;
            supplier.missed = 0;
            self.refused.remove(&(path, stripe.0));
        }
    }

    /// Takes note that a block of the stripe had to be pulled whole. Returns who is given up for that: its heir is to
    /// be left, and its former to be asked again if that is another.
    pub(crate) fn handle_missed(
        &mut self,
        now: Now,
        stripe: Stripe,
        block: BlockId,
        holds: impl Fn(PathId) -> bool,
    ) -> Option<Handover> {
        let place = &mut self.places[usize::from(stripe.0)];
        if let Some(heir) = place.heir.as_mut().filter(|heir| block >= heir.from) {
            let path = heir.supplier.path;
            return if heir.supplier.miss(now, holds(path)) {
                self.refuse_heir(now, stripe, path)
            } else {
                None
            };
        }
        if place.until.is_some_and(|until| block >= until) {
            return None;
        }
        let supplier = place.supplier.as_mut()?;
        let path = supplier.path;
        if !supplier.miss(now, holds(path)) {
            return None;
        }
        self.note_refusal(now, stripe, path);
        self.vacate(now, stripe, path);
        Some(Handover { stripe, heir: path, former: path, from: block })
    }

    /// Takes note that a neighbour pushes only until a block.
    pub(crate) fn end(&mut self, path: PathId, until: BlockId) {
        for place in self.places.iter_mut().filter(|place| place.supplier.is_some_and(|s| s.path == path)) {
            place.until = place.until.or(Some(until));
        }
    }

    /// Forgets a neighbour that is gone.
    pub(crate) fn drop_path(&mut self, now: Now, path: PathId) {
        self.in_mesh(|supply| StripeMask::ALL.iter().for_each(|stripe| supply.vacate(now, stripe, path)));
        StripeMask::ALL.iter().for_each(|stripe| self.vacate(now, stripe, path));
        self.refused.retain(|(refuser, _), _| *refuser != path);
    }

    /// Returns the stripes that a neighbour supplies, or is to supply.
    pub(crate) fn supplied_by(&self, path: PathId) -> StripeMask {
        let does = |place: &Place| {
            let heir = place.heir.map(|heir| heir.supplier);
            place.supplier.into_iter().chain(heir).any(|supplier| supplier.path == path)
        };
        let supplies = |stripe: &Stripe| {
            let at = usize::from(stripe.0);
            does(&self.places[at]) || self.mesh.is_some_and(|mesh| does(&mesh[at]))
        };
        StripeMask::ALL.iter().filter(supplies).fold(StripeMask::default(), StripeMask::with)
    }

    /// Returns who supplies a stripe.
    pub(crate) fn supplier(&self, stripe: Stripe) -> Option<PathId> {
        self.places[usize::from(stripe.0)].supplier.map(|supplier| supplier.path)
    }

    /// Returns by how many hops a stripe came from the publisher when that was told last.
    pub(crate) fn depth(&self, stripe: Stripe) -> u8 {
        self.places[usize::from(stripe.0)].depth
    }

    /// Returns how many neighbours supply something.
    pub(crate) fn count(&self) -> usize {
        let paths = self.places.iter().flat_map(|place| place.supplier).map(|supplier| supplier.path);
        paths.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Returns whether some stripe has no supplier.
    pub(crate) fn is_vacant(&self) -> bool {
        self.places.iter().any(|place| place.supplier.is_none())
    }

    /// Returns whether some stripe has no supplier, or none from a block on.
    pub(crate) fn seeks(&self) -> bool {
        self.places.iter().any(Place::seeks)
    }

    /// Returns this node's own distances, from those of its suppliers, to be told to others.
    pub(crate) fn distances(&mut self, offerers: &[Offerer]) -> [Distance; STRIPES as usize] {
        let mut distances = [Distance::NONE; STRIPES as usize];
        for (at, (place, distance)) in self.places.iter_mut().zip(&mut distances).enumerate() {
            let supplier =
                place.supplier.and_then(|supplier| offerers.iter().find(|o| o.path == supplier.path));
            let Some(Distance { round, depth }) = supplier.map(|offerer| offerer.distances[at]) else {
                continue;
            };
            if !place.is_guest {
                place.depth = depth.saturating_add(1).min(HaveMap::NO_DEPTH);
            }
            *distance = Distance { round, depth: place.depth };
            if place.depth < HaveMap::NO_DEPTH && distance.is_nearer(place.told) {
                place.told = *distance;
            }
        }
        distances
    }

    fn vacate(&mut self, now: Now, stripe: Stripe, path: PathId) {
        let place = &mut self.places[usize::from(stripe.0)];
        place.heir = place.heir.filter(|heir| heir.supplier.path != path);
        if place.supplier.is_some_and(|supplier| supplier.path == path) {
            let heir = place.heir.take();
            (place.supplier, place.until) =
                (heir.map(|heir| heir.supplier), heir.and_then(|heir| heir.until));
            (place.vacant_since, place.is_guest) = (now, false);
            (place.improved_at, place.wait) = (now, IMPROVED_MIN);
        }
    }
}

#[cfg(test)]
mod tests;
