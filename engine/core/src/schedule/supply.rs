//! Who pushes which stripe to this node.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Now, PathId, STRIPES, Stripe};
use crate::wire::{HaveMap, StripeMask};

/// Time after which a neighbour that refused a stripe is asked again, doubled with each refusal.
const REFUSAL: Duration = Duration::from_millis(500);
/// Longest such time.
const REFUSAL_MAX: Duration = Duration::from_secs(16);
/// Time a stripe may be without a new block from its supplier while others have newer ones.
const SILENCE_MAX: Duration = Duration::from_millis(60);
/// Blocks of a stripe that had to be repaired whole, in a row, before its supplier is given up.
const MISSED_MAX: u32 = 2;
/// Time for which only neighbours that were no deeper are asked, so that nobody is fed by who he feeds.
const DEPTH_MEMORY: Duration = Duration::from_millis(300);

/// Time that a hop costs beside its path: a have-map's word of it, a queue, a scheduler.
const HOP: Duration = Duration::from_millis(25);
/// Time by which a stripe must come sooner from another neighbour to be taken from its supplier.
const GAIN_MIN: Duration = Duration::from_millis(6);
/// Time in which a neighbour that was asked in a supplier's place has to push.
const HEIR_MAX: Duration = Duration::from_secs(2);

/// A neighbour that carries the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offerer {
    pub(crate) path: PathId,
    /// Hops to the publisher by stripe, as its newest have-map says.
    pub(crate) depths: [u8; STRIPES as usize],
    /// Stripes that this node pushes to it.
    pub(crate) consumes: StripeMask,
    pub(crate) rtt: Duration,
    pub(crate) failures: u32,
}

#[derive(Clone, Copy, Debug)]
struct Supplier {
    path: PathId,
    last: Now,
    missed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    supplier: Option<Supplier>,
    /// Who was asked in its place and has not pushed yet.
    heir: Option<Supplier>,
    depth: u8,
    vacant_since: Now,
}

/// The suppliers of one stream.
#[derive(Debug)]
pub(crate) struct Supply {
    places: [Place; STRIPES as usize],
    refused: BTreeMap<(PathId, u8), (Now, Duration)>,
}

impl Supply {
    pub(crate) fn new(now: Now) -> Self {
        let place = Place { supplier: None, heir: None, depth: HaveMap::NO_DEPTH, vacant_since: now };
        Self { places: [place; STRIPES as usize], refused: BTreeMap::new() }
    }

    /// Finds suppliers for the stripes that have none: the nearest to the publisher, then who supplies least already.
    pub(crate) fn assign(&mut self, now: Now, offerers: &[Offerer]) -> BTreeMap<PathId, StripeMask> {
        let mut asked = BTreeMap::<PathId, StripeMask>::new();
        for stripe in StripeMask::ALL.iter() {
            let place = self.places[usize::from(stripe.0)];
            if place.supplier.is_some() {
                continue;
            }
            let wary = place.depth < HaveMap::NO_DEPTH && now.since(place.vacant_since) < DEPTH_MEMORY;
            let depth_max = if wary { place.depth } else { HaveMap::NO_DEPTH - 2 };
            let fit = |offerer: &&Offerer| {
                offerer.depths[usize::from(stripe.0)] <= depth_max
                    && !offerer.consumes.has(stripe)
                    && !self.is_refused(now, offerer.path, stripe)
            };
            let rank = |offerer: &&Offerer| {
                let depth = offerer.depths[usize::from(stripe.0)];
                (offerer.failures, depth, self.supplied_by(offerer.path).len(), offerer.rtt, offerer.path)
            };
            if let Some(best) = offerers.iter().filter(fit).min_by_key(rank) {
                let supplier = Supplier { path: best.path, last: now, missed: 0 };
                self.places[usize::from(stripe.0)].supplier = Some(supplier);
                let mask = asked.entry(best.path).or_default();
                *mask = mask.with(stripe);
            }
        }
        asked
    }

    /// Looks for a neighbour that would bring a stripe sooner than its supplier does, and takes it for asked. It is no
    /// deeper than the supplier, so it is not fed by this node.
    pub(crate) fn improve(&mut self, now: Now, offerers: &[Offerer]) -> Option<(PathId, Stripe)> {
        let mut best = None;
        for stripe in StripeMask::ALL.iter() {
            let at = usize::from(stripe.0);
            let Place { supplier: Some(supplier), heir: None, .. } = self.places[at] else { continue };
            let Some(current) = offerers.iter().find(|offerer| offerer.path == supplier.path) else {
                continue;
            };
            let cost = |offerer: &Offerer| HOP * u32::from(offerer.depths[at]) + offerer.rtt / 2;
            let fit = |offerer: &&Offerer| {
                offerer.path != current.path
                    && offerer.depths[at] <= current.depths[at]
                    && offerer.failures <= current.failures
                    && !offerer.consumes.has(stripe)
                    && !self.is_refused(now, offerer.path, stripe)
            };
            let gain = |offerer: &Offerer| cost(current).saturating_sub(cost(offerer));
            let other =
                offerers.iter().filter(fit).map(|offerer| (gain(offerer), offerer.path, stripe)).max();
            best = best.max(other.filter(|(gain, ..)| *gain > GAIN_MIN));
        }
        let (_, path, stripe) = best?;
        self.places[usize::from(stripe.0)].heir = Some(Supplier { path, last: now, missed: 0 });
        Some((path, stripe))
    }

    /// Gives up who was asked in a supplier's place and does not push.
    pub(crate) fn expire(&mut self, now: Now) -> Vec<(PathId, Stripe)> {
        let late = |heir: &Supplier| now.since(heir.last) > HEIR_MAX;
        let mut left = Vec::new();
        for stripe in StripeMask::ALL.iter() {
            if let Some(heir) = self.places[usize::from(stripe.0)].heir.filter(late) {
                self.handle_choke(now, heir.path, StripeMask::default().with(stripe));
                left.push((heir.path, stripe));
            }
        }
        self.refused.retain(|_, (until, _)| now < until.after(REFUSAL_MAX));
        left
    }

    /// Takes note that a neighbour pushed what was there already. Returns whether it is given up: asked in a supplier's
    /// place, it lost the race.
    pub(crate) fn handle_late(&mut self, now: Now, path: PathId, stripe: Stripe) -> bool {
        let place = &mut self.places[usize::from(stripe.0)];
        let lost = place.heir.take_if(|heir| heir.path == path).is_some();
        if lost {
            self.refused.insert((path, stripe.0), (now.after(REFUSAL_MAX), REFUSAL_MAX));
        }
        lost
    }

    fn is_refused(&self, now: Now, path: PathId, stripe: Stripe) -> bool {
        self.refused.get(&(path, stripe.0)).is_some_and(|(until, _)| *until > now)
    }

    /// Takes note of a refusal.
    pub(crate) fn handle_choke(&mut self, now: Now, path: PathId, stripes: StripeMask) {
        for stripe in stripes.iter() {
            let before = self.refused.get(&(path, stripe.0)).map_or(REFUSAL / 2, |(_, wait)| *wait);
            let wait = (before * 2).min(REFUSAL_MAX);
            self.refused.insert((path, stripe.0), (now.after(wait), wait));
            self.vacate(now, stripe, path);
        }
    }

    /// Takes note of a push. Returns the former supplier when it was the first of its heir.
    pub(crate) fn handle_push(&mut self, now: Now, path: PathId, stripe: Stripe) -> Option<PathId> {
        let place = &mut self.places[usize::from(stripe.0)];
        let former = if place.heir.is_some_and(|heir| heir.path == path) {
            std::mem::replace(&mut place.supplier, place.heir.take()).map(|former| former.path)
        } else {
            None
        };
        if let Some(supplier) = place.supplier.as_mut().filter(|supplier| supplier.path == path) {
            supplier.last = now;
            supplier.missed = 0;
            self.refused.remove(&(path, stripe.0));
        }
        former.filter(|former| *former != path)
    }

    /// Takes note that a block of the stripe had to be pulled whole. Returns the supplier when it is given up for that.
    pub(crate) fn handle_missed(&mut self, now: Now, stripe: Stripe) -> Option<PathId> {
        let supplier = self.places[usize::from(stripe.0)].supplier.as_mut()?;
        supplier.missed += 1;
        let (path, given_up) =
            (supplier.path, supplier.missed >= MISSED_MAX && now.since(supplier.last) > SILENCE_MAX);
        if !given_up {
            return None;
        }
        self.handle_choke(now, path, StripeMask::default().with(stripe));
        Some(path)
    }

    /// Makes one neighbour the supplier of all stripes; returns who supplied which before.
    pub(crate) fn replace_all(&mut self, now: Now, path: PathId) -> Vec<(PathId, StripeMask)> {
        let mut former = BTreeMap::<PathId, StripeMask>::new();
        for stripe in StripeMask::ALL.iter() {
            if let Some(before) = self.supplier(stripe).filter(|before| *before != path) {
                let mask = former.entry(before).or_default();
                *mask = mask.with(stripe);
            }
            let place = &mut self.places[usize::from(stripe.0)];
            (place.supplier, place.heir) = (Some(Supplier { path, last: now, missed: 0 }), None);
        }
        former.into_iter().collect()
    }

    /// Gives stripes without supplier back to a neighbour.
    pub(crate) fn restore(&mut self, now: Now, path: PathId, stripes: StripeMask) {
        for stripe in stripes.iter() {
            let place = &mut self.places[usize::from(stripe.0)];
            place.supplier = place.supplier.or(Some(Supplier { path, last: now, missed: 0 }));
        }
    }

    /// Forgets a neighbour that is gone.
    pub(crate) fn drop_path(&mut self, now: Now, path: PathId) {
        StripeMask::ALL.iter().for_each(|stripe| self.vacate(now, stripe, path));
        self.refused.retain(|(refuser, _), _| *refuser != path);
    }

    /// Returns the stripes that a neighbour supplies.
    pub(crate) fn supplied_by(&self, path: PathId) -> StripeMask {
        let supplies = |stripe: &Stripe| self.supplier(*stripe) == Some(path);
        StripeMask::ALL.iter().filter(supplies).fold(StripeMask::default(), StripeMask::with)
    }

    /// Returns who supplies a stripe.
    pub(crate) fn supplier(&self, stripe: Stripe) -> Option<PathId> {
        self.places[usize::from(stripe.0)].supplier.map(|supplier| supplier.path)
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

    /// Returns this node's own depths, from those of its suppliers.
    pub(crate) fn depths(&mut self, offerers: &[Offerer]) -> [u8; STRIPES as usize] {
        let mut depths = [HaveMap::NO_DEPTH; STRIPES as usize];
        for (at, place) in self.places.iter_mut().enumerate() {
            let supplier =
                place.supplier.and_then(|supplier| offerers.iter().find(|o| o.path == supplier.path));
            if let Some(offerer) = supplier {
                depths[at] = offerer.depths[at].saturating_add(1).min(HaveMap::NO_DEPTH);
                place.depth = depths[at];
            }
        }
        depths
    }

    fn vacate(&mut self, now: Now, stripe: Stripe, path: PathId) {
        let place = &mut self.places[usize::from(stripe.0)];
        place.heir = place.heir.filter(|heir| heir.path != path);
        if place.supplier.is_some_and(|supplier| supplier.path == path) {
            place.supplier = place.heir.take();
            place.vacant_since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;
    const STRIPE: Stripe = Stripe(3);

    fn offerer(path: u32, depth: u8, rtt_ms: u64) -> Offerer {
        Offerer {
            path: PathId(path),
            depths: [depth; STRIPES as usize],
            consumes: StripeMask::default(),
            rtt: Duration::from_millis(rtt_ms),
            failures: 0,
        }
    }

    /// One neighbour three hops from the publisher supplies everything.
    fn supplied() -> Supply {
        let mut supply = Supply::new(Now(0));
        assert_eq!(supply.assign(Now(0), &[offerer(1, 3, 20)])[&PathId(1)], StripeMask::ALL);
        supply
    }

    fn asked(supply: &mut Supply, others: &[Offerer]) -> Option<(PathId, Stripe)> {
        supply.improve(Now(0), &[&[offerer(1, 3, 20)], others].concat())
    }

    #[test]
    fn a_nearer_supplier_is_asked_and_a_deeper_one_is_not() {
        assert_eq!(asked(&mut supplied(), &[offerer(2, 4, 1)]), None, "it may be fed from here");
        assert_eq!(asked(&mut supplied(), &[offerer(2, 3, 15)]), None, "too little is won");
        let path = |asked: Option<(PathId, Stripe)>| asked.map(|(path, _)| path.0);
        assert_eq!(path(asked(&mut supplied(), &[offerer(2, 2, 20)])), Some(2));
        assert_eq!(path(asked(&mut supplied(), &[offerer(2, 3, 1)])), Some(2));
        assert_eq!(path(asked(&mut supplied(), &[offerer(2, 2, 20), offerer(3, 0, 30)])), Some(3));
        let consumer = Offerer { consumes: StripeMask::ALL, ..offerer(2, 0, 1) };
        assert_eq!(asked(&mut supplied(), &[consumer]), None, "it is fed from here");
    }

    #[test]
    fn the_supplier_stays_until_who_is_asked_in_its_place_pushes_first() {
        let mut supply = supplied();
        let (heir, stripe) = asked(&mut supply, &[offerer(2, 0, 1)]).unwrap();
        assert_eq!(supply.supplier(stripe), Some(PathId(1)));
        assert_eq!(supply.handle_push(Now(1), PathId(1), stripe), None);
        assert_eq!(supply.handle_push(Now(2), heir, stripe), Some(PathId(1)), "who is to be left");
        assert_eq!(supply.supplier(stripe), Some(heir));
    }

    #[test]
    fn who_loses_the_race_or_is_silent_is_left_and_not_asked_again_at_once() {
        let mut supply = supplied();
        let (heir, stripe) = asked(&mut supply, &[offerer(2, 0, 1)]).unwrap();
        assert!(!supply.handle_late(Now(1), PathId(1), stripe), "the supplier is no heir");
        assert!(supply.handle_late(Now(1), heir, stripe));
        assert_eq!(supply.supplier(stripe), Some(PathId(1)));
        let (other, silent) = asked(&mut supply, &[offerer(2, 0, 1)]).unwrap();
        assert_ne!(silent, stripe, "refused for a while");
        assert_eq!(supply.expire(Now(1_000 * MS)), []);
        assert_eq!(supply.expire(Now(2_001 * MS)), [(other, silent)]);
        assert_eq!(supply.supplier(silent), Some(PathId(1)));
    }

    #[test]
    fn who_is_asked_takes_the_place_of_a_supplier_that_goes() {
        let mut supply = supplied();
        let (heir, stripe) = asked(&mut supply, &[offerer(2, 0, 1)]).unwrap();
        supply.drop_path(Now(1), PathId(1));
        assert_eq!(supply.supplier(stripe), Some(heir));
        assert_eq!(supply.supplied_by(heir).len(), 1);
        assert!(supply.is_vacant() && supply.supplier(STRIPE) != Some(PathId(1)));
    }
}
