//! What multicast costs: its publisher the same for one viewer and for many, all of them beside plain unicast.

use std::time::Duration;

use anyhow::Result;

use super::{Scene, named_group};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::scenario::usage::{Usage, plain_iroh, usages};
use crate::scenario::{is_full, span};
use crate::swarm::Watch;

/// Audiences.
const VIEWERS: [usize; 3] = [1, 4, 8];
/// The one that is compared with unicast.
const COMPARED: usize = 4;

/// By how much the publisher's user time may differ from that with one viewer, and its interface's bytes, percent.
const CPU_DIFFERS: f64 = 15.0;
const BYTES_DIFFER: f64 = 2.0;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let time = span(report, 5, 60);
    let mut alone: Option<Usage> = None;
    for viewers in VIEWERS {
        report.enter_case(format!("{viewers} viewers by multicast"));
        let (publisher, _) = multicast(lab, viewers, time, false)?;
        report.add(
            "publisher's user time",
            publisher.user_per_minute(),
            Unit::CpuSecondsPerMinute,
            Goal::None,
        );
        report.add(
            "publisher sends",
            publisher.rate(publisher.passed.tx_bytes) / 1e6,
            Unit::MegabitsPerSecond,
            Goal::None,
        );
        match &alone {
            None => alone = Some(publisher),
            Some(alone) => {
                let cpu = (publisher.cpu.user / alone.cpu.user - 1.0) * 100.0;
                report.add(
                    "user time over that with one viewer",
                    cpu,
                    Unit::Percent,
                    Goal::AtMost(CPU_DIFFERS),
                );
                let bytes = publisher.passed.tx_bytes as f64 / alone.passed.tx_bytes as f64;
                let bytes = (bytes - 1.0) * 100.0;
                report.add(
                    "bytes over those with one viewer",
                    bytes,
                    Unit::Percent,
                    Goal::AtMost(BYTES_DIFFER),
                );
            }
        }
    }
    // The short form keeps to what does not need a quiet machine.
    let segmentations: &[bool] = if is_full(report) { &[true, false] } else { &[] };
    for &segmentation in segmentations {
        let state = if segmentation { "on" } else { "off" };
        report.enter_case(format!("{COMPARED} viewers, tx-udp-segmentation {state}"));
        compare(lab, report, time, segmentation)?;
    }
    Ok(())
}

/// What the publisher and one viewer use.
fn multicast(lab: &Lab, viewers: usize, time: Duration, segmentation: bool) -> Result<(Usage, Usage)> {
    let network = Network::bridged(lab, viewers + 1)?;
    set_segmentation(&network, segmentation)?;
    let [flag, group] = named_group();
    let words = [&*flag, &*group];
    let watches = vec![Watch::default().with(&words); viewers];
    let scene = Scene::set(lab, &network, "multicast-cost", &words, &watches)?;
    let publisher = (&scene.publisher.member.process, network.host(0));
    let viewer = (&scene.viewers[0].member.process, network.host(1));
    let [publisher, viewer] = usages([publisher, viewer], time)?;
    Ok((publisher, viewer))
}

/// Adds seconds of processor time for each GB that all viewers together get, by multicast and by plain iroh.
fn compare(lab: &Lab, report: &mut Report, time: Duration, segmentation: bool) -> Result<()> {
    let (publisher, viewer) = multicast(lab, COMPARED, time, segmentation)?;
    let network = Network::bridged(lab, COMPARED + 1)?;
    set_segmentation(&network, segmentation)?;
    // Unicast sends to each what multicast sends to all.
    let rate = publisher.rate(publisher.passed.tx_bytes) * COMPARED as f64;
    let (plain_sender, plain_receiver) = plain_iroh(&network, rate, time)?;
    let multicast = add(report, "multicast", &publisher, &viewer);
    let plain = add(report, "plain iroh", &plain_sender, &plain_receiver);
    report.add("multicast by plain iroh", multicast / plain, Unit::Ratio, Goal::None);
    Ok(())
}

/// Adds what sender and receivers use for each GB that reaches the receivers, and returns the sum.
fn add(report: &mut Report, name: &str, sender: &Usage, receiver: &Usage) -> f64 {
    let gigabytes = receiver.passed.rx_bytes as f64 * COMPARED as f64 / 1e9;
    let cpu = |usage: &Usage| usage.cpu.user + usage.cpu.system;
    let (sending, receiving) = (cpu(sender) / gigabytes, cpu(receiver) * COMPARED as f64 / gigabytes);
    report.add(&format!("{name}, sender"), sending, Unit::CpuSecondsPerGigabyte, Goal::None);
    report.add(&format!("{name}, receivers"), receiving, Unit::CpuSecondsPerGigabyte, Goal::None);
    sending + receiving
}

fn set_segmentation(network: &Network, on: bool) -> Result<()> {
    network.hosts().iter().try_for_each(|host| host.set_segmentation(on))
}
