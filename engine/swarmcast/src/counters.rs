//! Counters of a stream, readable from anywhere.

use swarmcast_core::ids::StreamHandle;
use swarmcast_core::stats::StreamStats;
use swarmcast_net::Handle;

use crate::Stopped;

/// The counters of one publication or subscription. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counters {
    node: Handle,
    stream: StreamHandle,
}

impl Counters {
    pub(crate) fn new(node: Handle, stream: StreamHandle) -> Self {
        Self { node, stream }
    }

    /// Returns what was counted; `None` once the stream is closed.
    ///
    /// # Errors
    /// [`Stopped`] without a driver.
    pub async fn read(&self) -> Result<Option<StreamStats>, Stopped> {
        self.node.stats(self.stream).await.map_err(|_| Stopped)
    }
}
