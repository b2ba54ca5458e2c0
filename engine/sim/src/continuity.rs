//! Continuity: how much of what was published while somebody watched came on time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::oracle::{ON_TIME_SLACK, SubscriptionOracle};
use crate::world::World;

/// Access units that were due, and those of them that came on time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Continuity {
    /// Published after the viewer's first access unit, and at least a playout delay before it went.
    pub due: u64,
    /// Delivered within the playout delay and 100 ms.
    pub on_time: u64,
}

impl Continuity {
    /// Returns the share that came on time; 1 when nothing was due.
    pub fn share(&self) -> f64 {
        if self.due == 0 { 1.0 } else { self.on_time as f64 / self.due as f64 }
    }

    /// Adds the figures of another time or viewer.
    pub fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.on_time += other.on_time;
    }
}

/// When each access unit was published, in order.
pub(crate) fn published_at(world: &World) -> Vec<Duration> {
    let tracks = world.ledger().runs().iter().flat_map(|run| run.tracks());
    let mut times: Vec<_> = tracks.flat_map(|(_, records)| records.iter().map(|record| record.at)).collect();
    times.sort_unstable();
    times
}

/// Counts by whole seconds of publication what was due to one subscription, which could watch until `until`.
pub(crate) fn of_subscription(
    subscription: &SubscriptionOracle,
    published: &[Duration],
    until: Duration,
) -> BTreeMap<u64, Continuity> {
    let Some(first_at) = subscription.first_at else { return BTreeMap::new() };
    let until = subscription.left_at.map_or(until, |at| at.min(until));
    let horizon = until.saturating_sub(subscription.playout_delay + ON_TIME_SLACK);
    let before = |at: Duration| published.partition_point(|published| *published < at) as u64;
    (first_at.as_secs()..horizon.as_secs())
        .map(|second| {
            let from = Duration::from_secs(second).max(first_at);
            let due = before(Duration::from_secs(second + 1)) - before(from);
            let on_time = subscription.on_time.get(&second).copied().unwrap_or(0);
            (second, Continuity { due, on_time })
        })
        .collect()
}
