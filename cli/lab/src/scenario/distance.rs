//! Two hosts with a long line between them.

use std::time::Duration;

use anyhow::Result;

use super::{let_run, span};
use crate::clip::Clip;
use crate::compare::Source;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};
use crate::switch::LinkProfile;

/// Time from host to host.
const DELAY: Duration = Duration::from_millis(30);

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let clip = Clip::STANDARD.file(lab)?;
    let source = Source::read(&clip)?;
    let line = LinkProfile { delay: DELAY, loss: 0.01, ..LinkProfile::default() };
    let network = Network::switched(lab, 2, line)?;
    let swarm = Swarm::without_multicast(lab, &network, "distance")?;
    let _publisher = swarm.publish_loop(0, &clip)?;
    let viewers = swarm.watch_all(1..2, &Watch::recording())?;
    let_run(span(report, 12, 60));
    report.enter_case("30 ms each way, 1 % loss, 1 s playout delay");
    for viewer in &viewers {
        let snapshot = viewer.member.snapshot()?;
        viewer.stop()?;
        let comparison = source.compare(viewer.recording()?)?;
        report.add("access units missing", comparison.missing() as f64, Unit::Count, Goal::AtMost(0.0));
        let wrong = comparison.wrong() as f64;
        report.add("extra, double or out of order", wrong, Unit::Count, Goal::AtMost(0.0));
        let rtt = snapshot.stats.number("rtt").unwrap_or(f64::NAN) * 1e3;
        report.add("round-trip time told", rtt, Unit::Milliseconds, Goal::None);
    }
    Ok(())
}
