//! The node: owns sessions, streams and windows, and routes every input to them.

mod face;

use std::time::Duration;

pub use face::{
    Action, Announcement, Batch, CONTROL_BYTES_MAX, CloseCause, Command, ConnectError, Event, GapCause,
    Input, PathSample, Publication, Sighting, Subscription,
};

use crate::group::GroupSpec;
use crate::ids::{Now, PathId, PeerId, StreamHandle};
use crate::stats::{KnownStream, StreamStats};

/// What a node is told once, at its making.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its own transport key.
    pub peer: PeerId,
    /// The group it belongs to.
    pub group: GroupSpec,
    /// Seed of all its random choices.
    pub seed: [u8; 32],
    /// Most bytes a stream's window may pin (default 64 MiB).
    pub window_bytes_max: usize,
    /// How long a block stays in the window (default 8 s).
    pub window_duration: Duration,
    /// Most sessions (default 16).
    pub neighbours_max: usize,
    /// Most pushes of one stripe at once (default 2: a publisher's upload stays under 2.5 times the bitrate).
    pub pushes_per_stripe_max: usize,
}

impl NodeConfig {
    /// Returns the defaults for a node.
    pub fn new(peer: PeerId, group: GroupSpec, seed: [u8; 32]) -> Self {
        Self {
            peer,
            group,
            seed,
            window_bytes_max: 64 << 20,
            window_duration: Duration::from_secs(8),
            neighbours_max: 16,
            pushes_per_stripe_max: 2,
        }
    }
}

/// A member of a group, as a state machine without I/O.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
}

impl Node {
    /// Makes a node without streams and sessions.
    pub fn new(now: Now, config: NodeConfig) -> Self {
        let _ = now;
        Self { config }
    }

    /// Takes one input. Then drain: `poll_event`, `poll_action`, `poll_ready` with `fill`, `poll_timeout`.
    pub fn handle(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// Returns the next path that has datagrams to send.
    pub fn poll_ready(&mut self) -> Option<PathId> {
        None
    }

    /// Fills `batch` with datagrams for `path`, at most `budget_bytes` of them; whatever is too old is shed here.
    pub fn fill(&mut self, now: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        let _ = (now, path, budget_bytes, batch);
    }

    /// Returns the next thing the driver has to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }

    /// Returns the next thing the embedder should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Returns when `Input::Timeout` is due.
    pub fn poll_timeout(&self) -> Option<Now> {
        None
    }

    /// Returns the counters of a publication or subscription.
    pub fn stats(&self, now: Now, stream: StreamHandle) -> Option<StreamStats> {
        let _ = (now, stream);
        None
    }

    /// Returns the streams that this node and its neighbours carry.
    pub fn known_streams(&self) -> Vec<KnownStream> {
        Vec::new()
    }

    /// Returns whether an ended stream is still being handed to neighbours, at most 5 s: a driver that was asked to
    /// close goes on until this is false.
    pub fn lingers(&self) -> bool {
        false
    }

    /// Returns how the node was configured.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }
}
