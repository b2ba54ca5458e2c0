//! Delivery's machine: what each event makes of the path in use, and what is done for it.

use crate::health::PathKind;

/// What delivery acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Multicast brings too little while the stream is live.
    MulticastFails,
    /// The buffer is below half the playout delay, and what was started has had its grace.
    BufferLow,
    /// The mesh brings what the path in use does not.
    MeshBrings,
    /// The publisher's own pushes bring what the path in use does not.
    UnicastBrings,
    /// No path of the swarm brings anything, and the caller has a source of its own.
    Hopeless,
    /// The caller's own source failed or ended.
    ForeignFailed,
    /// Multicast has been clean for the hold-down.
    MulticastHealed,
    /// The mesh has been clean for the hold-down.
    MeshHealed,
    /// Unicast has been clean for the hold-down.
    UnicastHealed,
}

/// What is done when an event comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Keep,
    /// Neighbours are asked to push, beside the path in use.
    StartMesh,
    /// The publisher is asked to push, beside the path in use.
    StartUnicast,
    /// Every path but the one in use is put to rest.
    Settle,
}

impl PathKind {
    /// All kinds, best first, in the order of the table's columns.
    pub(crate) const ALL: [Self; 4] = [Self::Multicast, Self::Mesh, Self::Unicast, Self::Foreign];
}

impl Event {
    /// All events.
    pub(crate) const ALL: [Self; 9] = [
        Self::MulticastFails,
        Self::BufferLow,
        Self::MeshBrings,
        Self::UnicastBrings,
        Self::Hopeless,
        Self::ForeignFailed,
        Self::MulticastHealed,
        Self::MeshHealed,
        Self::UnicastHealed,
    ];
}

/// Returns the path in use from then on, and what is done. The next path is started beside the one in use, and put in
/// use when it brings something: make before break. Healing never leads down.
pub(crate) const fn next(path: PathKind, event: Event) -> (PathKind, Act) {
    use Act::{Keep, Settle, StartMesh, StartUnicast};
    use PathKind::{Foreign, Mesh, Multicast, Unicast};
    match (event, path) {
        (Event::MulticastFails, Multicast) => (Multicast, StartMesh),
        (Event::BufferLow, Multicast) => (Multicast, StartUnicast),
        (Event::BufferLow, Mesh) => (Mesh, StartUnicast),
        (Event::BufferLow, Foreign) => (Foreign, StartUnicast),
        (Event::MeshBrings, Multicast | Unicast) => (Mesh, Settle),
        (Event::UnicastBrings, Multicast | Mesh) => (Unicast, Settle),
        (Event::Hopeless, Multicast | Mesh | Unicast) => (Foreign, StartMesh),
        (Event::ForeignFailed, Foreign) => (Mesh, StartMesh),
        (Event::MulticastHealed, Mesh | Unicast | Foreign) => (Multicast, Settle),
        (Event::MeshHealed, Unicast | Foreign) => (Mesh, Settle),
        (Event::UnicastHealed, Foreign) => (Unicast, Settle),
        (Event::MulticastFails, Mesh | Unicast | Foreign)
        | (Event::BufferLow, Unicast)
        | (Event::MeshBrings | Event::UnicastBrings | Event::Hopeless, Foreign)
        | (Event::MeshBrings, Mesh)
        | (Event::UnicastBrings, Unicast)
        | (Event::ForeignFailed, Multicast | Mesh | Unicast)
        | (Event::MulticastHealed, Multicast)
        | (Event::MeshHealed, Multicast | Mesh)
        | (Event::UnicastHealed, Multicast | Mesh | Unicast) => (path, Keep),
    }
}
