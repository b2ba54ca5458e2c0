//! Rules for a process as a whole: bounded queues, neighbours, memory, progress.

use swarmcast_core::ids::Now;
use swarmcast_core::node::Event;
use swarmcast_core::stats::StreamStats;

use super::Breach;

/// Timeouts in a row that may leave the next one due already: a node may split its work, not spin.
const OVERDUE_TIMEOUTS_MAX: u32 = 16;

/// Watches one process.
#[derive(Clone, Debug)]
pub(crate) struct HostOracle {
    neighbours_max: usize,
    window_bytes_max: u64,
    neighbours: usize,
    /// Sessions with neighbours that ended.
    pub(crate) neighbours_lost: u64,
    overdue_timeouts: u32,
}

impl HostOracle {
    /// Most events, actions or batches that one step may leave behind: a resumed node delivers a whole
    /// window (8 s of 100 units a second), everything else is far less.
    pub(crate) const QUEUE_MAX: usize = 4_096;

    pub(crate) fn new(neighbours_max: usize, window_bytes_max: usize) -> Self {
        let window_bytes_max = window_bytes_max as u64;
        Self { neighbours_max, window_bytes_max, neighbours: 0, neighbours_lost: 0, overdue_timeouts: 0 }
    }

    pub(crate) fn saw_event(&mut self, event: &Event) -> Result<(), Breach> {
        match event {
            Event::NeighbourUp { .. } => self.neighbours += 1,
            Event::NeighbourDown { .. } => {
                self.neighbours = self.neighbours.saturating_sub(1);
                self.neighbours_lost += 1;
            }
            _ => return Ok(()),
        }
        self.judge_neighbours(self.neighbours)
    }

    /// Judges what a timeout left: `next` must lie ahead of `now` sooner or later.
    pub(crate) fn saw_timeout(&mut self, now: Now, next: Option<Now>) -> Result<(), Breach> {
        self.overdue_timeouts =
            if next.is_some_and(|next| next <= now) { self.overdue_timeouts + 1 } else { 0 };
        if self.overdue_timeouts > OVERDUE_TIMEOUTS_MAX {
            let calls = std::mem::take(&mut self.overdue_timeouts);
            return Err(Breach::NoProgress { calls });
        }
        Ok(())
    }

    pub(crate) fn saw_stats(&self, stats: &StreamStats) -> Result<(), Breach> {
        if stats.window_bytes > self.window_bytes_max {
            return Err(Breach::WindowBytes { bytes: stats.window_bytes, limit: self.window_bytes_max });
        }
        self.judge_neighbours(stats.neighbours as usize)
    }

    fn judge_neighbours(&self, count: usize) -> Result<(), Breach> {
        let limit = self.neighbours_max;
        if count > limit { Err(Breach::Neighbours { count, limit }) } else { Ok(()) }
    }
}
