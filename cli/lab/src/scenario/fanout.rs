//! A fast stream to eight viewers by the mesh, beside as many plain unicast streams from one process.

use anyhow::Result;

use super::upload::{growth, snapshots};
use super::usage::{plain_iroh_to_all, sum};
use super::{let_run, span};
use crate::clip::Clip;
use crate::compare::Source;
use crate::host::Host;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

const VIEWERS: usize = 8;

/// Processor time by that of plain unicast, and the publisher's upload by the bitrate.
const CPU_BY_PLAIN: f64 = 1.3;
const UPLOAD_BY_BITRATE: f64 = 2.5;

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for joins_arrivals in [false, true] {
        compare(lab, report, joins_arrivals)?;
    }
    Ok(())
}

/// Compares on hosts whose interfaces join what arrives together, or do not.
fn compare(lab: &Lab, report: &mut Report, joins_arrivals: bool) -> Result<()> {
    let time = span(report, 5, 30);
    let rate = report.length().pick(8_000_000, 50_000_000);
    let clip = Clip { bitrate: rate, picture: Some((1920, 1080)), ..Clip::STANDARD }.file(lab)?;
    let bitrate = Source::read(&clip)?.bitrate();
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let offload = if joins_arrivals { ", GRO" } else { "" };
    report.enter_case(format!("{} Mbit/s to {VIEWERS} viewers{offload}", rate / 1_000_000));
    if joins_arrivals {
        network.hosts().iter().try_for_each(Host::join_arrivals)?;
    }

    let swarm = Swarm::without_multicast(lab, &network, "fanout")?;
    let publisher = swarm.publish_loop(0, &clip)?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &Watch::default())?;
    // The mesh settles: who pushes to whom is decided anew for a few seconds.
    let_run(span(report, 3, 5));
    let (publisher_before, before) = (publisher.member.snapshot()?, snapshots(&viewers)?);
    let members = viewers.iter().map(|viewer| &viewer.member.process);
    let used = sum(members.chain([&publisher.member.process]), time)?;
    let (publisher_after, after) = (publisher.member.snapshot()?, snapshots(&viewers)?);
    drop((viewers, publisher));

    let sent = (publisher_after.interface - publisher_before.interface).tx_bytes as f64 * 8.0;
    let upload = sent / (publisher_after.interface_t - publisher_before.interface_t) / bitrate;
    report.add("publisher's upload by bitrate", upload, Unit::Ratio, Goal::AtMost(UPLOAD_BY_BITRATE));
    let lost = growth(&before, &after, &["lost"])?;
    report.add("lost fragments", lost, Unit::Count, Goal::AtMost(0.0));
    let mesh = used.per_gigabyte(bitrate * VIEWERS as f64);
    report.add("all processes", mesh, Unit::CpuSecondsPerGigabyte, Goal::None);

    let (plain, delivered) = plain_iroh_to_all(&network, bitrate * VIEWERS as f64, time)?;
    let plain = plain.per_gigabyte(delivered);
    report.add("plain iroh, all processes", plain, Unit::CpuSecondsPerGigabyte, Goal::None);
    report.add("mesh by plain iroh", mesh / plain, Unit::Ratio, Goal::AtMost(CPU_BY_PLAIN));
    Ok(())
}
