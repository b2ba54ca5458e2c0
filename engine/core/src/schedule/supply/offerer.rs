//! Neighbours that may push a stripe, and what is known and proven of them.

use std::time::Duration;

use crate::ids::{Now, PathId, STRIPES};
use crate::wire::{HaveMap, StripeMask};

/// Age past which a proof that a stripe would come sooner says nothing.
const LEAD_MEMORY: Duration = Duration::from_secs(4);

/// How far from the publisher a stripe is, as was last confirmed from there.
///
/// Where uploads are limited only who is nearer than this node ever told to be is asked to push to it, so that nobody
/// is fed by who he feeds, be it over many (the feasibility condition of Babel, RFC 8966 section 3.5.1): who is fed
/// from here is told of each round later, and is deeper in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    /// Round of the publisher's in which it was: they come down the tree, so that they stop where it is cut off.
    pub(crate) round: u64,
    /// Hops to the publisher.
    pub(crate) depth: u8,
}

impl Distance {
    pub(crate) const NONE: Self = Self { round: 0, depth: HaveMap::NO_DEPTH };

    pub(super) fn is_nearer(self, than: Self) -> bool {
        self.round > than.round || self.round == than.round && self.depth < than.depth
    }
}

/// A neighbour that carries the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offerer {
    pub(crate) path: PathId,
    /// Its distances by stripe, as its newest have-map says.
    pub(crate) distances: [Distance; STRIPES as usize],
    /// By how much its have-maps were ahead of the suppliers, by stripe.
    pub(crate) leads: [Lead; STRIPES as usize],
    /// Stripes that this node pushes to it.
    pub(crate) consumes: StripeMask,
    /// Stripes of which it would push one more, as it told at a time.
    pub(crate) gives: (StripeMask, Now),
    pub(crate) rtt: Duration,
    pub(crate) failures: u32,
}

/// The longest time of late by which a neighbour told of a block before its supplier pushed it. Its own push would have
/// come no later than its word: so much is proven to be won by asking it, and that it is not fed from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead {
    by: Duration,
    at: Now,
}

impl Lead {
    /// Takes one more.
    pub(crate) fn note(&mut self, now: Now, by: Duration) {
        if by >= self.by || now.since(self.at) > LEAD_MEMORY {
            (self.by, self.at) = (by, now);
        }
    }

    /// Returns it, unless it is old or was before `since`, when the supplier took its place.
    pub(super) fn over(self, since: Now, now: Now) -> Duration {
        if self.at > since && now.since(self.at) <= LEAD_MEMORY { self.by } else { Duration::ZERO }
    }
}
