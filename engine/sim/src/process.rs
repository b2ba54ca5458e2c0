//! What runs on a host: the core's face, and nothing else, so that a world can drive more than a `Node`.

use swarmcast_core::ids::{Now, PathId, StreamHandle};
use swarmcast_core::node::{Action, Batch, Event, Input, Node};
use swarmcast_core::stats::StreamStats;

/// The calls of [`Node`] that a driver uses.
pub(crate) trait Process: std::fmt::Debug + Send {
    fn handle(&mut self, now: Now, input: Input);
    fn poll_event(&mut self) -> Option<Event>;
    fn poll_action(&mut self) -> Option<Action>;
    fn poll_ready(&mut self) -> Option<PathId>;
    fn fill(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch);
    fn poll_timeout(&self) -> Option<Now>;
    fn lingers(&self) -> bool;
    fn stats(&self, now: Now, stream: StreamHandle) -> Option<StreamStats>;
}

impl Process for Node {
    fn handle(&mut self, now: Now, input: Input) {
        Self::handle(self, now, input);
    }

    fn poll_event(&mut self) -> Option<Event> {
        Self::poll_event(self)
    }

    fn poll_action(&mut self) -> Option<Action> {
        Self::poll_action(self)
    }

    fn poll_ready(&mut self) -> Option<PathId> {
        Self::poll_ready(self)
    }

    fn fill(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        Self::fill(self, now, path, budget_bytes, batch);
    }

    fn poll_timeout(&self) -> Option<Now> {
        Self::poll_timeout(self)
    }

    fn lingers(&self) -> bool {
        Self::lingers(self)
    }

    fn stats(&self, now: Now, stream: StreamHandle) -> Option<StreamStats> {
        Self::stats(self, now, stream)
    }
}
