//! Eight viewers: the publisher sends the stream little more than twice, the rest is theirs.

use anyhow::Result;

use super::{let_run, span};
use crate::clip::Clip;
use crate::compare::Source;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Snapshot, Swarm, Viewer, Watch};

const VIEWERS: usize = 8;

/// Fragments that a viewer received.
const RECEIVED: &[&str] = &["fragments_pushed_from_peers", "fragments_requested_from_peers"];

/// Their payload, bytes.
const RECEIVED_BYTES: &[&str] = &["bytes_pushed_from_peers", "bytes_requested_from_peers"];

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let clip = Clip::STANDARD.file(lab)?;
    let bitrate = Source::read(&clip)?.bitrate();
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let swarm = Swarm::without_multicast(lab, &network, "upload")?;
    let publisher = swarm.publish_loop(0, &clip)?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &Watch::default())?;
    // The mesh settles: who pushes to whom is decided anew for a few seconds.
    let_run(span(report, 3, 5));
    let (publisher_before, viewers_before) = (publisher.member.snapshot()?, snapshots(&viewers)?);
    let_run(span(report, 15, 60));
    let (publisher_after, viewers_after) = (publisher.member.snapshot()?, snapshots(&viewers)?);

    report.enter_case(format!("{VIEWERS} viewers"));
    let sent = (publisher_after.interface - publisher_before.interface).tx_bytes as f64 * 8.0;
    let ratio = sent / (publisher_after.t - publisher_before.t) / bitrate;
    report.add("publisher's upload by bitrate", ratio, Unit::Ratio, Goal::AtMost(2.5));
    let sum = |names: &[&str]| growth(&viewers_before, &viewers_after, names);
    let duplicate = sum(&["duplicate"])? / sum(RECEIVED)? * 100.0;
    report.add("duplicates by fragments received", duplicate, Unit::Percent, Goal::AtMost(3.0));
    let control = sum(&["control_bytes_from_peers"])? / sum(RECEIVED_BYTES)? * 100.0;
    report.add("control by payload received", control, Unit::Percent, Goal::AtMost(5.0));
    report.add("lost fragments", sum(&["lost"])?, Unit::Count, Goal::AtMost(0.0));
    let received = viewers_before.iter().zip(&viewers_after).map(|(before, after)| {
        (after.interface - before.interface).rx_bytes as f64 * 8.0 / (after.t - before.t)
    });
    let download = received.sum::<f64>() / VIEWERS as f64 / bitrate;
    report.add("a viewer's download by bitrate", download, Unit::Ratio, Goal::None);
    Ok(())
}

/// What each of the viewers has counted by now.
pub(super) fn snapshots(viewers: &[Viewer]) -> Result<Vec<Snapshot>> {
    viewers.iter().map(|viewer| viewer.member.snapshot()).collect()
}

/// By how much some counters of the viewers grew, all together.
pub(super) fn growth(before: &[Snapshot], after: &[Snapshot], names: &[&str]) -> Result<f64> {
    before.iter().zip(after).map(|(before, after)| after.growth(before, names)).sum()
}
