//! What a swarm does once it has settled: figures of the time from a mark on, the joining apart.

use std::time::Duration;

use swarmcast_core::stats::StreamStats;

use crate::oracle::HOPS_MAX;
use crate::report::{Fairness, Quantiles};
use crate::world::{Host, STREAM, World};

/// Figures of the time from [`World::mark`] to the end of the run.
#[derive(Clone, Debug)]
pub struct Settled {
    /// When the mark was set.
    pub from: Duration,
    /// From publication to delivery, of all access units that viewers got since.
    pub delay: Quantiles,
    /// Share of the fragments received that were there already.
    pub redundancy: f64,
    /// Share of the bytes received that were no fragments.
    pub control: f64,
    /// Bytes on the publishers' wires over the payload bytes that they published.
    pub publisher: f64,
    /// The same for each viewer that was there all the time.
    pub viewers: Fairness,
    /// Blocks by the number of hops that they took to viewers.
    pub hops: Vec<u64>,
}

/// How far everything had come when a mark was set.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    at: Duration,
    published_bytes: u64,
    hosts: Vec<Progress>,
}

/// How far one host has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    fragments: u64,
    duplicate: u64,
    payload_bytes: u64,
    control_bytes: u64,
    wire_bytes: u64,
    delays: usize,
    hops: [u64; HOPS_MAX],
}

impl Progress {
    fn of(world: &World, host: &Host) -> Self {
        let stats = world.stats(host.id, STREAM).unwrap_or_default();
        let StreamStats { bytes_pushed_from_peers: pushed, bytes_requested_from_peers: requested, .. } =
            stats;
        Self {
            fragments: stats.fragments_received(),
            duplicate: stats.duplicate,
            payload_bytes: pushed + requested + stats.bytes_received_from_ip_multicast,
            control_bytes: stats.control_bytes_from_peers,
            wire_bytes: world.sent_by(host.id).wire_bytes,
            delays: host.subscriptions.iter().map(|subscription| subscription.latencies.len()).sum(),
            hops: world.hops(host.id),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            fragments: self.fragments.saturating_sub(before.fragments),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            payload_bytes: self.payload_bytes.saturating_sub(before.payload_bytes),
            control_bytes: self.control_bytes.saturating_sub(before.control_bytes),
            wire_bytes: self.wire_bytes.saturating_sub(before.wire_bytes),
            delays: self.delays - before.delays.min(self.delays),
            hops: std::array::from_fn(|at| self.hops[at].saturating_sub(before.hops[at])),
        }
    }
}

impl Mark {
    pub(crate) fn of(world: &World) -> Self {
        let hosts = world.hosts().iter().map(|host| Progress::of(world, host)).collect();
        Self { at: world.now(), published_bytes: published_bytes(world), hosts }
    }
}

impl Settled {
    /// Gathers the figures of a world at its end; `None` when no mark was set.
    pub fn of(world: &World) -> Option<Self> {
        let mark = world.last_mark()?;
        let published = published_bytes(world).saturating_sub(mark.published_bytes);
        let (mut sum, mut publisher_bytes) = (Progress { hops: [0; HOPS_MAX], ..Progress::default() }, 0);
        let (mut delays, mut loads) = (Vec::new(), Vec::new());
        for host in world.honest() {
            let at = host.id.0 as usize;
            let before = mark.hosts.get(at).cloned().unwrap_or_default();
            let grown = Progress::of(world, host).since(&before);
            if !host.publications.is_empty() {
                publisher_bytes += grown.wire_bytes;
                continue;
            }
            sum.fragments += grown.fragments;
            sum.duplicate += grown.duplicate;
            sum.payload_bytes += grown.payload_bytes;
            sum.control_bytes += grown.control_bytes;
            sum.hops.iter_mut().zip(grown.hops).for_each(|(sum, count)| *sum += count);
            let all =
                host.subscriptions.iter().flat_map(|subscription| subscription.latencies.iter().copied());
            delays.extend(all.skip(before.delays));
            if world.standing(host.id).is_running() && at < mark.hosts.len() {
                loads.push(ratio(grown.wire_bytes, published));
            }
        }
        Some(Self {
            from: mark.at,
            delay: Quantiles::of(delays),
            redundancy: ratio(sum.duplicate, sum.fragments),
            control: ratio(sum.control_bytes, sum.control_bytes + sum.payload_bytes),
            publisher: ratio(publisher_bytes, published),
            viewers: Fairness::of(&loads),
            hops: sum.hops.to_vec(),
        })
    }

    /// Returns the most hops that so many of 1,000 blocks took.
    pub fn hops_at(&self, permille: u64) -> usize {
        let due = (self.hops.iter().sum::<u64>() * permille).div_ceil(1_000).max(1);
        let sums = self.hops.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        sums.take_while(|sum| *sum < due).count()
    }
}

fn published_bytes(world: &World) -> u64 {
    world.ledger().runs().iter().map(|run| run.totals().1).sum()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
