//! Who pushes which stripe to this node.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{Now, PathId, STRIPES, Stripe};
use crate::wire::{HaveMap, StripeMask};

/// Time after which a neighbour that refused a stripe is asked again, doubled with each refusal.
const REFUSAL: Duration = Duration::from_millis(500);
/// Longest such time.
const REFUSAL_MAX: Duration = Duration::from_secs(8);
/// Time a stripe may be without a new block from its supplier while others have newer ones.
const SILENCE_MAX: Duration = Duration::from_millis(60);
/// Blocks of a stripe that had to be repaired whole, in a row, before its supplier is given up.
const MISSED_MAX: u32 = 2;
/// Time for which only neighbours that were no deeper are asked, so that nobody is fed by who he feeds.
const DEPTH_MEMORY: Duration = Duration::from_millis(300);

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
        let place = Place { supplier: None, depth: HaveMap::NO_DEPTH, vacant_since: now };
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
                    && self.refused.get(&(offerer.path, stripe.0)).is_none_or(|(until, _)| *until <= now)
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

    /// Takes note of a refusal.
    pub(crate) fn handle_choke(&mut self, now: Now, path: PathId, stripes: StripeMask) {
        for stripe in stripes.iter() {
            let before = self.refused.get(&(path, stripe.0)).map_or(REFUSAL / 2, |(_, wait)| *wait);
            let wait = (before * 2).min(REFUSAL_MAX);
            self.refused.insert((path, stripe.0), (now.after(wait), wait));
            self.vacate(now, stripe, path);
        }
    }

    /// Takes note of a push.
    pub(crate) fn handle_push(&mut self, now: Now, path: PathId, stripe: Stripe) {
        if let Some(supplier) = &mut self.places[usize::from(stripe.0)].supplier
            && supplier.path == path
        {
            supplier.last = now;
            supplier.missed = 0;
            self.refused.remove(&(path, stripe.0));
        }
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
            self.places[usize::from(stripe.0)].supplier = Some(Supplier { path, last: now, missed: 0 });
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
        if place.supplier.is_some_and(|supplier| supplier.path == path) {
            place.supplier = None;
            place.vacant_since = now;
        }
    }
}
