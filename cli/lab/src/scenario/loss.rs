//! Random loss on every link: what repair makes good within the playout delay.

use std::time::Duration;

use anyhow::Result;

use super::{is_full, let_run, span};
use crate::clip::Clip;
use crate::compare::{Comparison, Source};
use crate::faults::Faults;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// Loss in percent, playout delay in milliseconds, and the share of access units that may be missing, percent.
const CASES: &[(f64, u64, Goal)] = &[
    (1.0, 1_000, Goal::AtMost(0.0)),
    (5.0, 1_000, Goal::AtMost(0.0)),
    (10.0, 1_000, Goal::AtMost(0.0)),
    (20.0, 1_000, Goal::AtMost(0.01)),
    (1.0, 200, Goal::AtMost(0.0)),
    (5.0, 200, Goal::AtMost(0.01)),
    (10.0, 200, Goal::None),
    (20.0, 200, Goal::None),
];

/// Those that the short form runs.
const SHORT: &[(f64, u64)] = &[(10.0, 1_000), (1.0, 200)];

const VIEWERS: usize = 3;

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let full = is_full(report);
    for &(percent, delay, goal) in CASES.iter().filter(|case| full || SHORT.contains(&(case.0, case.1))) {
        report.enter_case(format!("{percent} % loss, {delay} ms playout delay"));
        let viewers = comparisons(lab, percent, Duration::from_millis(delay), span(report, 12, 60))?;
        let missing: usize = viewers.iter().map(Comparison::missing).sum();
        let units: usize = viewers.iter().map(Comparison::units).sum();
        let share = missing as f64 * 100.0 / (missing + units) as f64;
        report.add("access units missing", share, Unit::Percent, goal);
        let wrong: usize = viewers.iter().map(Comparison::wrong).sum();
        report.add("extra, double or out of order", wrong as f64, Unit::Count, Goal::AtMost(0.0));
    }
    Ok(())
}

/// The recordings of a swarm in which every host loses `percent` of what reaches it.
fn comparisons(lab: &Lab, percent: f64, delay: Duration, time: Duration) -> Result<Vec<Comparison>> {
    let clip = Clip::STANDARD.file(lab)?;
    let source = Source::read(&clip)?;
    let network = Network::bridged(lab, VIEWERS + 1)?;
    for host in network.hosts() {
        host.set_ingress_faults(&Faults::loss(percent))?;
    }
    let swarm = Swarm::without_multicast(lab, &network, "loss")?;
    let _publisher = swarm.publish_loop(0, &clip)?;
    let watch = Watch { playout_delay: delay, ..Watch::recording() };
    let viewers = swarm.watch_all(1..VIEWERS + 1, &watch)?;
    let_run(time);
    let compare = |viewer: &crate::swarm::Viewer| {
        viewer.stop()?;
        source.compare(viewer.recording()?)
    };
    viewers.iter().map(compare).collect()
}
