//! A narrow link that the stream shares with a TCP connection: both live, sound is complete, losses are told.

use anyhow::Result;

use super::{let_run, span};
use crate::clip::Clip;
use crate::compare::Source;
use crate::flow::TcpFlow;
use crate::lab::Lab;
use crate::network::Network;
use crate::recording::Recording;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// What the publisher's link carries, bit/s.
const LINK: u64 = 10_000_000;

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let clip = Clip::STANDARD.file(lab)?;
    let source = Source::read(&clip)?;
    let network = Network::bridged(lab, 2)?;
    network.host(0).limit_egress(LINK)?;
    let swarm = Swarm::without_multicast(lab, &network, "bottleneck")?;
    let publisher = swarm.publish_loop(0, &clip)?;
    let viewers = swarm.watch_all(1..2, &Watch::recording())?;
    let rival = TcpFlow::start(network.host(0), network.host(1))?;
    let_run(span(report, 15, 60));
    let tcp = rival.bits_per_second();
    drop(rival);
    report.enter_case("10 Mbit/s, one TCP flow");
    report.add("TCP", tcp / 1e6, Unit::MegabitsPerSecond, Goal::AtLeast(2.0));
    for viewer in &viewers {
        let last = publisher.member.snapshot()?;
        viewer.stop()?;
        let comparison = source.compare(viewer.recording()?)?;
        let bytes = Recording::read(viewer.recording()?)?.bytes() as f64;
        let rate = bytes * 8.0 / comparison.seconds() / 1e6;
        report.add("stream delivered", rate, Unit::MegabitsPerSecond, Goal::AtLeast(4.0));
        let silent = comparison.track("audio").map_or(f64::NAN, |audio| audio.missing as f64);
        report.add("audio missing", silent, Unit::Count, Goal::AtMost(0.0));
        report.add("longest gap", comparison.longest_gap(), Unit::Seconds, Goal::AtMost(1.0));
        report.add("access units missing", comparison.missing_share() * 100.0, Unit::Percent, Goal::None);
        let gaps = viewer.member.process.events("gap").len() as f64;
        let told = gaps + last.stats.number("shed").unwrap_or(0.0);
        let goal = if comparison.missing() > 0 { Goal::AtLeast(1.0) } else { Goal::None };
        report.add("gaps told and fragments told as shed", told, Unit::Count, goal);
    }
    Ok(())
}
