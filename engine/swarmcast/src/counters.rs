//! Counters of a stream, readable from anywhere.

use std::sync::Arc;

use parking_lot::Mutex;
use swarmcast_core::ids::StreamHandle;
use swarmcast_core::stats::StreamStats;
use swarmcast_net::Handle;

use crate::Stopped;

/// Streams that are over and not counted in yet: a node keeps no more of them.
const OVER_MAX: usize = 16;

/// The counters of one publication or subscription. Cheap to clone.
///
/// All renditions that are published or were played count together; gauges are those of the first one that is
/// published, or of the one that is played.
#[derive(Clone, Debug)]
pub struct Counters {
    node: Handle,
    streams: Arc<Mutex<Streams>>,
}

#[derive(Clone, Debug, Default)]
struct Streams {
    /// The first has the gauges.
    running: Vec<StreamHandle>,
    over: Vec<StreamHandle>,
    /// What was counted of those that are over.
    counted: StreamStats,
}

impl Counters {
    pub(crate) fn new(node: Handle, running: Vec<StreamHandle>) -> Self {
        let streams = Streams { running, ..Streams::default() };
        Self { node, streams: Arc::new(Mutex::new(streams)) }
    }

    /// Takes another stream in beside the others.
    pub(crate) fn begin(&self, stream: StreamHandle) {
        self.streams.lock().running.push(stream);
    }

    /// Takes note that a stream is over, so that the gauges are those of the one behind it.
    pub(crate) fn finish(&self, stream: StreamHandle) {
        let mut streams = self.streams.lock();
        streams.running.retain(|running| *running != stream);
        if streams.over.len() == OVER_MAX {
            streams.over.remove(0);
        }
        streams.over.push(stream);
    }

    /// Returns what was counted; `None` once the stream is closed.
    ///
    /// # Errors
    /// [`Stopped`] without a driver.
    pub async fn read(&self) -> Result<Option<StreamStats>, Stopped> {
        let Streams { running, over, .. } = self.streams.lock().clone();
        for stream in over {
            let last = self.node.stats(stream).await.map_err(|_| Stopped)?;
            let mut streams = self.streams.lock();
            if let Some(place) = streams.over.iter().position(|waiting| *waiting == stream) {
                streams.over.remove(place);
                streams.counted.add_counters(&last.unwrap_or_default());
            }
        }
        let mut all: Option<StreamStats> = None;
        for stream in running {
            let Some(stats) = self.node.stats(stream).await.map_err(|_| Stopped)? else { continue };
            match &mut all {
                Some(all) => {
                    all.add_counters(&stats);
                    all.viewers += stats.viewers;
                    all.consumers += stats.consumers;
                }
                none => *none = Some(stats),
            }
        }
        let counted = self.streams.lock().counted;
        all.iter_mut().for_each(|all| all.add_counters(&counted));
        Ok(all)
    }
}
