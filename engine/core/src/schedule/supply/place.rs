//! The place of a stripe's supplier, and of who takes it.

use std::time::Duration;

use super::Distance;
use crate::ids::{BlockId, Now, PathId};

/// Time a stripe may be without a new block from its supplier while others have newer ones.
const SILENCE_MAX: Duration = Duration::from_millis(60);
/// Blocks of a stripe that had to be repaired whole, in a row, before its supplier is given up.
const MISSED_MAX: u32 = 2;

/// Who pushes a stripe to this node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Supplier {
    pub(super) path: PathId,
    pub(super) since: Now,
    pub(super) last: Now,
    pub(super) missed: u32,
}

impl Supplier {
    pub(super) fn new(now: Now, path: PathId) -> Self {
        Self { path, since: now, last: now, missed: 0 }
    }

    /// Takes note that one of its blocks had to be pulled whole, which it `holds` or not; returns whether it is given
    /// up for that. One that does not waits for its own supplier: to leave it would break a whole tree where one branch
    /// is mended.
    pub(super) fn miss(&mut self, now: Now, holds: bool) -> bool {
        self.missed += 1;
        let (most, silence) =
            if holds { (MISSED_MAX, SILENCE_MAX) } else { (MISSED_MAX * 4, SILENCE_MAX * 8) };
        self.missed >= most && now.since(self.last) > silence
    }
}

/// Who pushes in a supplier's place from a block on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heir {
    pub(super) supplier: Supplier,
    pub(super) from: BlockId,
    /// Block from which on it does not push, as it said.
    pub(super) until: Option<BlockId>,
    pub(super) word: Word,
}

/// How a supplier comes to know that it stops where its heir begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It said so itself.
    Its,
    /// It is told then, unless the heir refuses before.
    Due(Now),
    /// It was told.
    Given,
}

/// What is known of one stripe's supply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) supplier: Option<Supplier>,
    /// Block from which on the supplier does not push, as it said.
    pub(super) until: Option<BlockId>,
    pub(super) heir: Option<Heir>,
    /// Hops to the publisher. A guest of the publisher keeps those that it had in the mesh, where it goes back to.
    pub(super) depth: u8,
    /// The least distance that was told to others.
    pub(super) told: Distance,
    pub(super) is_guest: bool,
    pub(super) vacant_since: Now,
    /// When a better supplier is looked for again, and how long to wait after that.
    pub(super) improved_at: Now,
    pub(super) wait: Duration,
}

impl Place {
    pub(super) fn seeks(&self) -> bool {
        self.heir.is_none() && (self.supplier.is_none() || self.until.is_some())
    }

    /// Returns whether a neighbour in such a distance is not fed from here.
    pub(super) fn may_hang_on(&self, distance: Distance) -> bool {
        distance.depth == 0 || distance.is_nearer(self.told)
    }
}
