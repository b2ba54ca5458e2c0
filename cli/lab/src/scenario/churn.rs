//! The viewer that relays most is lost: the others do not notice.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{let_run, span};
use crate::clip::Clip;
use crate::compare::Source;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Snapshot, Swarm, Viewer, Watch};

const VIEWERS: usize = 5;

/// Payload that a viewer relays, bytes.
const RELAYED: &[&str] = &["bytes_pushed_to_peers", "bytes_requested_by_peers"];

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for (signal, case) in [(Signal::SIGKILL, "killed"), (Signal::SIGSTOP, "stopped")] {
        report.enter_case(format!("busiest of {VIEWERS} viewers {case}, 1 s playout delay"));
        lose_the_busiest(lab, report, signal)?;
    }
    Ok(())
}

fn lose_the_busiest(lab: &Lab, report: &mut Report, signal: Signal) -> Result<()> {
    let clip = Clip::STANDARD.file(lab)?;
    let source = Source::read(&clip)?;
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let swarm = Swarm::without_multicast(lab, &network, "churn")?;
    let _publisher = swarm.publish_loop(0, &clip)?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &Watch::recording())?;
    let all = || -> Result<Vec<Snapshot>> { viewers.iter().map(|viewer| viewer.member.snapshot()).collect() };
    let before = all()?;
    let_run(span(report, 4, 10));
    let after = all()?;
    let relayed: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.growth(before, RELAYED))
        .collect::<Result<_>>()?;
    let busiest = (0..VIEWERS).max_by(|&left, &right| relayed[left].total_cmp(&relayed[right]));
    let busiest = busiest.context("there are viewers")?;
    let total: f64 = relayed.iter().sum();
    report.add(
        "share of all relaying that it did",
        relayed[busiest] / total * 100.0,
        Unit::Percent,
        Goal::None,
    );
    viewers[busiest].member.process.signal(signal)?;
    let_run(span(report, 8, 30));
    let (mut missing, mut wrong) = (0, 0);
    for (_, viewer) in viewers.iter().enumerate().filter(|(index, _)| *index != busiest) {
        let comparison = stopped(viewer, &source)?;
        missing += comparison.missing();
        wrong += comparison.wrong();
    }
    report.add("access units missing at the others", missing as f64, Unit::Count, Goal::AtMost(0.0));
    report.add("extra, double or out of order", wrong as f64, Unit::Count, Goal::AtMost(0.0));
    Ok(())
}

fn stopped(viewer: &Viewer, source: &Source) -> Result<crate::compare::Comparison> {
    viewer.stop()?;
    source.compare(viewer.recording()?)
}
