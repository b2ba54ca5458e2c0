//! A guest of the publisher's: all stripes from there, and the way back.

use std::collections::BTreeMap;

use super::{Place, Supplier, Supply};
use crate::ids::{Now, PathId, Stripe};
use crate::wire::StripeMask;

impl Supply {
    /// Takes the publisher for the supplier of all stripes, which it was asked to be. Who supplies them goes on so far.
    pub(crate) fn begin_guest(&mut self, now: Now, path: PathId) {
        self.mesh.get_or_insert(self.places);
        for place in &mut self.places {
            place.supplier = Some(Supplier::new(now, path));
            (place.heir, place.until, place.is_guest) = (None, None, true);
        }
    }

    /// Takes note that the publisher pushed a stripe. When that shows that it does what it was asked for, returns who
    /// supplies which stripes beside it, or is to, and is to be left.
    pub(crate) fn settle_guest(&mut self, path: PathId, stripe: Stripe) -> Vec<(PathId, StripeMask)> {
        let pushed = |place: &Place| place.supplier.is_some_and(|supplier| supplier.path == path);
        let Some(mesh) = self.mesh.take_if(|mesh| !pushed(&mesh[usize::from(stripe.0)])) else {
            return Vec::new();
        };
        let mut left = BTreeMap::<PathId, StripeMask>::new();
        for (stripe, place) in StripeMask::ALL.iter().zip(&mesh) {
            let both = place.heir.map(|heir| heir.supplier).into_iter().chain(place.supplier);
            for supplier in both.filter(|supplier| supplier.path != path) {
                let mask = left.entry(supplier.path).or_default();
                *mask = mask.with(stripe);
            }
        }
        left.into_iter().collect()
    }

    /// Goes back to who supplied the stripes before the publisher was asked for all, if it has not begun; returns
    /// whether that is so.
    pub(crate) fn cancel_guest(&mut self) -> bool {
        let Some(mesh) = self.mesh.take() else { return false };
        let told = self.places.map(|place| place.told);
        self.places = std::array::from_fn(|at| Place { told: told[at], ..mesh[at] });
        true
    }

    /// Does something to the places that are taken again when the publisher refuses.
    pub(super) fn in_mesh(&mut self, change: impl FnOnce(&mut Self)) {
        if let Some(mesh) = self.mesh.take() {
            let guest = std::mem::replace(&mut self.places, mesh);
            change(self);
            self.mesh = Some(std::mem::replace(&mut self.places, guest));
        }
    }
}
