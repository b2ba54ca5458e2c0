//! A camera that ffmpeg simulates: from capture to delivery.

use anyhow::{Context, Result};

use super::{let_run, percentiles, span};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// 1280 x 720 pictures at 25 a second.
const CAMERA: &str = "lavfi:testsrc2=size=1280x720:rate=25";

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, 2)?;
    let swarm = Swarm::new(lab, &network, "webcam")?;
    let publisher = swarm.publish(0, &[CAMERA])?;
    let viewers = swarm.watch_all(1..2, &Watch::default())?;
    let_run(span(report, 8, 60));
    report.enter_case("1280x720, 25 a second");
    let epoch_t = publisher.epoch_t()?;
    for viewer in &viewers {
        let mut latencies = Vec::new();
        for stats in viewer.member.process.events("stats") {
            let Some(delivered) = stats.number("latest/t") else { continue };
            let closed = stats.number("latest/closed").context("`latest` does not tell `closed`")?;
            latencies.push((delivered - epoch_t - closed) * 1e3);
        }
        let (p50, p95) = percentiles(latencies);
        report.add("block closed to delivery, p50", p50, Unit::Milliseconds, Goal::AtMost(150.0));
        report.add("block closed to delivery, p95", p95, Unit::Milliseconds, Goal::None);
    }
    Ok(())
}
