//! Processor time of a viewer and of a publisher, beside iroh carrying the same bytes and doing nothing else.

use anyhow::Result;

use super::span;
use super::usage::{Usage, plain_iroh, usage};
use crate::clip::Clip;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let time = span(report, 8, 60);
    report.enter_case("viewer at 20 Mbit/s");
    let network = Network::bridged(lab, 2)?;
    let swarm = Swarm::new(lab, &network, "cpu")?;
    let publisher = swarm.publish_loop(0, &Clip::FAST.file(lab)?)?;
    let viewers = swarm.watch_all(1..2, &Watch::default())?;
    let viewer = usage(&viewers[0].member.process, network.host(1), time)?;
    viewers[0].stop()?;
    publisher.stop()?;
    let (_, receiver) = plain_iroh(&network, viewer.rate(viewer.passed.rx_bytes), time)?;
    add(report, &viewer, &receiver);

    report.enter_case("publisher at 8 Mbit/s with 8 viewers");
    let network = Network::bridged(lab, 9)?;
    let swarm = Swarm::new(lab, &network, "cpu")?;
    let publisher = swarm.publish_loop(0, &Clip::STANDARD.file(lab)?)?;
    let viewers = swarm.watch_all(1..9, &Watch::default())?;
    let sender = usage(&publisher.member.process, network.host(0), time)?;
    drop(viewers);
    publisher.stop()?;
    let (plain_sender, _) = plain_iroh(&network, sender.rate(sender.passed.tx_bytes), time)?;
    add(report, &sender, &plain_sender);
    Ok(())
}

fn add(report: &mut Report, measured: &Usage, plain: &Usage) {
    let per_minute = Unit::CpuSecondsPerMinute;
    let bytes = |usage: &Usage| usage.passed.rx_bytes + usage.passed.tx_bytes;
    report.add("user time", measured.user_per_minute(), per_minute, Goal::None);
    report.add("system time", measured.system_per_minute(), per_minute, Goal::None);
    report.add("user time of plain iroh", plain.user_per_minute(), per_minute, Goal::None);
    report.add("system time of plain iroh", plain.system_per_minute(), per_minute, Goal::None);
    let carried = plain.rate(bytes(plain)) / measured.rate(bytes(measured));
    report.add("bytes of plain iroh by those of the stream", carried, Unit::Ratio, Goal::AtLeast(0.9));
    let ratio = measured.user_per_minute() / plain.user_per_minute();
    report.add("user time by that of plain iroh", ratio, Unit::Ratio, Goal::None);
}
