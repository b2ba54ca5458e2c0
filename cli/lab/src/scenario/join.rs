//! From the start of a viewer's process to its first access unit, into a swarm that runs.

use anyhow::Result;

use super::{is_full, percentiles};
use crate::clip::Clip;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// Milliseconds to the first access unit with `--peer`: half of the joins.
const PEER_P50: f64 = 150.0;
/// Milliseconds with discovery: half of the joins, and 19 of 20.
const DISCOVERY: (f64, f64) = (300.0, 600.0);

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for clip in [Clip::STANDARD, Clip::LONG_GOP] {
        let network = Network::bridged(lab, 3)?;
        let swarm = Swarm::new(lab, &network, "join")?;
        let publisher = swarm.publish_loop(0, &clip.file(lab)?)?;
        let _standing = swarm.watch_all(1..2, &Watch::default())?;
        let ticket = publisher.ticket()?;
        for peer in [Some(ticket), None] {
            let way = if peer.is_some() { "--peer" } else { "discovery" };
            report.enter_case(format!("{way}, {} s GOP", clip.gop_seconds));
            let goals = if peer.is_some() {
                (Goal::AtMost(PEER_P50), Goal::None)
            } else {
                // Of a few joins the 95th percentile is the worst.
                let worst = if is_full(report) { Goal::AtMost(DISCOVERY.1) } else { Goal::None };
                (Goal::AtMost(DISCOVERY.0), worst)
            };
            let watch = Watch { peer, ..Watch::default() };
            let (p50, p95) = percentiles(join_times(&swarm, &watch, report.length().pick(5, 30))?);
            report.add("first access unit, p50", p50, Unit::Milliseconds, goals.0);
            report.add("first access unit, p95", p95, Unit::Milliseconds, goals.1);
        }
    }
    Ok(())
}

/// Milliseconds that each of `count` viewers needed, one after the other.
fn join_times(swarm: &Swarm, watch: &Watch, count: u32) -> Result<Vec<f64>> {
    let join = |_| {
        let viewer = swarm.watch(2, watch)?;
        let first = viewer.first_access_unit()?;
        let milliseconds = (first.t() - viewer.member.process.spawned_at()) * 1e3;
        viewer.stop()?;
        Ok(milliseconds)
    };
    (0..count).map(join).collect()
}
