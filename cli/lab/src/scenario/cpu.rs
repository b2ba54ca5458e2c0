//! Processor time of a viewer and of a publisher.

use anyhow::Result;

use super::{let_run, span};
use crate::clip::Clip;
use crate::lab::Lab;
use crate::network::Network;
use crate::output::CpuTime;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Member, Swarm, Watch};

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for (case, clip, viewers) in
        [("viewer at 20 Mbit/s", Clip::FAST, 1), ("publisher at 8 Mbit/s with 8 viewers", Clip::STANDARD, 8)]
    {
        report.enter_case(case);
        let network = Network::bridged(lab, viewers + 1)?;
        let swarm = Swarm::new(lab, &network, "cpu")?;
        let publisher = swarm.publish_loop(0, &clip.file(lab)?)?;
        let watching = swarm.watch_all(1..viewers + 1, &Watch::default())?;
        let measured = if viewers == 1 { &watching[0].member } else { &publisher.member };
        let used = used_per_minute(measured, span(report, 8, 60))?;
        report.add("user time", used.user, Unit::CpuSecondsPerMinute, Goal::None);
        report.add("system time", used.system, Unit::CpuSecondsPerMinute, Goal::None);
    }
    Ok(())
}

/// Processor time that a member uses, in seconds for each minute.
fn used_per_minute(member: &Member, time: std::time::Duration) -> Result<CpuTime> {
    let before = member.process.cpu()?;
    let_run(time);
    let after = member.process.cpu()?;
    let minutes = time.as_secs_f64() / 60.0;
    let user = (after.user - before.user) / minutes;
    Ok(CpuTime { user, system: (after.system - before.system) / minutes })
}
