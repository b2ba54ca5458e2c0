//! All paths of one subscription: multicast on each interface, the mesh, unicast.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::carrier::{Carrier, Elsewhere, SIGN_QUIET};
use super::path::Event;
use super::{PathKind, PathVerdict, Reason};
use crate::ids::{BlockId, Now, PathId};

/// By which path something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Multicast, on the interface that this path stands for.
    Multicast(PathId),
    /// A neighbour.
    Mesh,
    /// The publisher, which was asked to push all.
    Unicast,
}

/// The paths of one subscription.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    multicast: BTreeMap<PathId, Carrier>,
    pub(crate) mesh: Carrier,
    pub(crate) unicast: Carrier,
    /// Newest block that came, or that a neighbour has.
    newest: Option<BlockId>,
    /// Since when media has come without a long gap, and when it came last.
    flowing: Option<(Now, Now)>,
    /// Whether neighbours were told not to push.
    pub(crate) parked: bool,
}

impl Paths {
    /// Starts with the mesh, which is always asked for.
    pub(crate) fn new() -> Self {
        let mut paths = Self::default();
        paths.mesh.apply(Event::Asked);
        paths
    }

    pub(crate) fn handle_up(&mut self, path: PathId, interface: Arc<str>) {
        self.multicast.insert(path, Carrier::multicast(interface));
    }

    pub(crate) fn handle_down(&mut self, path: PathId) {
        self.multicast.remove(&path);
    }

    fn carrier_mut(&mut self, via: Via) -> Option<&mut Carrier> {
        match via {
            Via::Multicast(path) => self.multicast.get_mut(&path),
            Via::Mesh => Some(&mut self.mesh),
            Via::Unicast => Some(&mut self.unicast),
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Carrier> {
        self.multicast.values_mut().chain([&mut self.mesh, &mut self.unicast])
    }

    pub(crate) fn handle_media(&mut self, now: Now, via: Via, block: BlockId, useful: bool) {
        self.newest = self.newest.max(Some(block));
        let since = self.flowing(now).unwrap_or(now);
        self.flowing = Some((since, now));
        if via == Via::Mesh && self.parked {
            // Repair of what another path lost says nothing of pushes.
            self.mesh.handle_sign(now);
        } else if let Some(carrier) = self.carrier_mut(via) {
            carrier.handle_media(now, block, useful);
        }
    }

    pub(crate) fn handle_sign(&mut self, now: Now, via: Via) {
        if let Some(carrier) = self.carrier_mut(via) {
            carrier.handle_sign(now);
        }
    }

    pub(crate) fn handle_others(&mut self, newest: Option<BlockId>) {
        self.newest = self.newest.max(newest);
    }

    pub(crate) fn handle_loss(&mut self, path: PathId, share: f64) {
        if let Some(carrier) = self.multicast.get_mut(&path) {
            carrier.handle_loss(share);
        }
    }

    /// The publisher says that it multicasts beacons only.
    pub(crate) fn handle_rest(&mut self) {
        self.multicast.values_mut().for_each(|carrier| carrier.apply(Event::Rest));
    }

    /// Another run of the publisher begins at block 0.
    pub(crate) fn handle_reset(&mut self) {
        self.newest = None;
        self.all_mut().for_each(Carrier::handle_reset);
    }

    pub(crate) fn handle_stalled(&mut self, now: Now, stall: Duration) {
        let shift = |at: Now| at.after(stall).min(now);
        self.flowing = self.flowing.map(|(since, last)| (shift(since), shift(last)));
        self.all_mut().for_each(|carrier| carrier.handle_stalled(now, stall));
    }

    /// Judges every path by what the others bring.
    pub(crate) fn judge(&mut self, now: Now, expected: bool, starved: bool, mesh_fault: Option<Reason>) {
        let elsewhere = Elsewhere { newest: self.newest, flowing: self.flowing(now), starved };
        if !expected && !starved {
            return;
        }
        for carrier in self.multicast.values_mut() {
            let fault = carrier.interface.clone().map(|interface| Reason::MulticastBlocked { interface });
            carrier.judge(now, elsewhere, fault);
        }
        self.mesh.judge(now, elsewhere, mesh_fault);
        self.unicast.judge(now, elsewhere, None);
    }

    /// Returns the next multicast path that is to be joined again, and takes note of it.
    pub(crate) fn poll_rejoin(&mut self, now: Now, expected: bool) -> Option<PathId> {
        let due = |carrier: &Carrier| carrier.rejoins_at(expected).is_some_and(|at| at <= now);
        let (path, carrier) = self.multicast.iter_mut().find(|(_, carrier)| due(carrier))?;
        carrier.handle_rejoined(now);
        Some(*path)
    }

    pub(crate) fn next_timeout(&self, now: Now, expected: bool) -> Option<Now> {
        let judged = if expected { self.judged_at(now) } else { None };
        let rejoined = self.multicast.values().filter_map(|carrier| carrier.rejoins_at(expected)).min();
        judged.into_iter().chain(rejoined).min()
    }

    /// Returns when a path that delivers falls quiet. One that is quiet already is judged with whatever comes next.
    fn judged_at(&self, now: Now) -> Option<Now> {
        let multicast = self.multicast.values().filter_map(Carrier::next_timeout);
        let others = [&self.mesh, &self.unicast].into_iter().filter_map(Carrier::next_timeout);
        multicast.chain(others).filter(|at| *at > now).min()
    }

    /// Returns since when media has come without a long gap, while it does.
    fn flowing(&self, now: Now) -> Option<Now> {
        let (since, last) = self.flowing?;
        if now.since(last) < SIGN_QUIET / 2 { Some(since) } else { None }
    }

    /// Returns when something useful came last, by whatever path.
    pub(crate) fn last_useful(&self) -> Option<Now> {
        let multicast = self.multicast.values().filter_map(|carrier| carrier.last_useful).max();
        multicast.max(self.mesh.last_useful).max(self.unicast.last_useful)
    }

    /// Returns the multicast path that does best.
    pub(crate) fn multicast(&self) -> Option<&Carrier> {
        let rank = |carrier: &&Carrier| match carrier.verdict {
            PathVerdict::Delivering => 0,
            PathVerdict::Lossy => 1,
            PathVerdict::Standby => 2,
            PathVerdict::Silent => 3,
            PathVerdict::Refused => 4,
            PathVerdict::Joining => 5,
            PathVerdict::Off => 6,
        };
        self.multicast.values().min_by_key(rank)
    }

    /// Returns a path that has a verdict of its own.
    pub(crate) fn carrier(&self, kind: PathKind) -> Option<&Carrier> {
        match kind {
            PathKind::Multicast => self.multicast(),
            PathKind::Mesh => Some(&self.mesh),
            PathKind::Unicast => Some(&self.unicast),
            PathKind::Foreign => None,
        }
    }

    /// Returns a path's verdict.
    pub(crate) fn verdict(&self, kind: PathKind) -> PathVerdict {
        self.carrier(kind).map_or(PathVerdict::Off, |carrier| carrier.verdict)
    }
}
