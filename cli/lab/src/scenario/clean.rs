//! Three viewers on a clean network: everything arrives as it was sent, and everybody counts the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::span;
use crate::clip::Clip;
use crate::compare::{Comparison, Source};
use crate::lab::Lab;
use crate::network::Network;
use crate::process::Process;
use crate::recording::Recording;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Publisher, Snapshot, Swarm, Viewer, Watch};

/// By how much two accounts of the same bytes may differ.
const COUNTERS_DIFFER_PERCENT: f64 = 2.0;
/// By how much in the short form: on a busy machine a tenth of a second between two readings is 1 % of it.
const COUNTERS_DIFFER_PERCENT_SHORT: f64 = 6.0;

/// Largest error of a timestamp: Matroska keeps milliseconds, rounded at both ends.
const TIME_ERROR_SECONDS: f64 = 0.002;

/// What an Ethernet, an IPv4 and a UDP header add to each datagram.
const HEADER_BYTES: f64 = 14.0 + 20.0 + 8.0;

/// Bytes a second of ARP, IGMP and neighbour discovery, which the interface counts and no process does: two packets.
const OTHER_BYTES: f64 = 120.0;

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let clip = Clip::STANDARD.file(lab)?;
    let source = Source::read(&clip)?;
    let network = Network::bridged(lab, 4)?;
    for host in network.hosts() {
        host.watch_strangers()?;
    }
    network.host(0).watch_discovery()?;
    let swarm = Swarm::new(lab, &network, "clean")?;
    let publisher = swarm.publish_loop(0, &clip)?;
    let duration = span(report, 12, 60);
    let watch = Watch { duration: Some(duration), ..Watch::recording() };
    let viewers = swarm.watch_all(1..4, &watch)?;
    // Behind the bursts of the joins, and short of the end, where viewers leave one by one.
    super::let_run(Duration::from_secs(1));
    let before = moment(&publisher)?;
    super::let_run(duration.saturating_sub(Duration::from_secs(5)));
    let after = moment(&publisher)?;
    for viewer in &viewers {
        viewer.wait(duration)?;
        ensure_order(&viewer.member.process)?;
        report.enter_case(viewer.member.process.label());
        let comparison = source.compare(viewer.recording()?)?;
        add_comparison(report, &comparison, duration);
        add_own_account(report, viewer)?;
    }
    publisher.stop()?;
    report.enter_case("all hosts");
    let strangers = network.hosts().iter().map(|host| host.strangers()).sum::<Result<u64>>()?;
    report.add("packets to other networks", strangers as f64, Unit::Count, Goal::AtMost(0.0));
    report.enter_case("publisher");
    add_interface_account(report, &before, &after)
}

/// A viewer tells its life in the order in which it happens.
fn ensure_order(process: &Process) -> Result<()> {
    let lines = process.lines();
    let names = lines.iter().filter_map(|line| line.event.as_ref()).map(|event| event.name().to_owned());
    let names: Vec<String> = names.collect();
    let first = |name: &str| {
        names.iter().position(|other| other == name).with_context(|| format!("no event `{name}`"))
    };
    let milestones = [first("started")?, first("opened")?, first("first_access_unit")?, first("ended")?];
    ensure!(milestones.is_sorted(), "{}: events out of order: {names:?}", process.label());
    ensure!(milestones[3] == names.len() - 1, "{}: events behind `ended`: {names:?}", process.label());
    Ok(())
}

/// The recording against the source.
fn add_comparison(report: &mut Report, comparison: &Comparison, duration: Duration) {
    let none = Goal::AtMost(0.0);
    report.add("access units recorded", comparison.units() as f64, Unit::Count, Goal::None);
    report.add("missing", comparison.missing() as f64, Unit::Count, none);
    report.add("extra, double or out of order", comparison.wrong() as f64, Unit::Count, none);
    let torn = comparison.tracks.iter().filter(|track| !track.starts_at_random_access).count();
    report.add("tracks that start elsewhere than at a random-access point", torn as f64, Unit::Count, none);
    // Counted as a ratio: slack on times is for those that a busy machine stretches.
    let off = comparison.time_error / TIME_ERROR_SECONDS;
    report.add("error of timestamps by the container's rounding", off, Unit::Ratio, Goal::AtMost(1.0));
    let covered = comparison.seconds() / duration.as_secs_f64();
    report.add("recorded by asked time", covered, Unit::Ratio, Goal::AtLeast(0.95));
}

/// The viewer's own numbers against its recording.
fn add_own_account(report: &mut Report, viewer: &Viewer) -> Result<()> {
    let ended = viewer.member.process.wait_event("ended", Duration::ZERO)?;
    let recording = Recording::read(viewer.recording()?)?;
    let told = |name: &str| ended.number(name).with_context(|| format!("`ended` does not tell `{name}`"));
    add_difference(report, "access units told and recorded", told("access_units")?, recording.units() as f64);
    add_difference(report, "bytes told and recorded", told("bytes")?, recording.bytes() as f64);
    Ok(())
}

/// A moment at the publisher, with the mDNS that its interface carried beside what the process tells of.
type Moment = (Snapshot, (u64, u64));

fn moment(publisher: &Publisher) -> Result<Moment> {
    Ok((publisher.member.snapshot()?, publisher.member.host.discovery_bytes()?))
}

/// The publisher's own numbers against its interface: bytes a second, since the two are not read at once.
fn add_interface_account(report: &mut Report, before: &Moment, after: &Moment) -> Result<()> {
    let ((before, found_before), (after, found_after)) = (before, after);
    let interface = after.interface - before.interface;
    let seconds = after.interface_t - before.interface_t;
    let told = |bytes: &str, datagrams: &str| {
        let headers = after.growth(before, &[datagrams])? * HEADER_BYTES;
        anyhow::Ok((after.growth(before, &[bytes])? + headers) / (after.t - before.t))
    };
    let (received, sent) = (found_after.0 - found_before.0, found_after.1 - found_before.1);
    let stream = told("udp_bytes_sent", "udp_datagrams_sent")?;
    let carried = (interface.tx_bytes - sent) as f64 / seconds;
    add_difference(report, "bytes told and sent", stream, carried);
    let stream = told("udp_bytes_received", "udp_datagrams_received")?;
    let carried = (interface.rx_bytes - received) as f64 / seconds;
    add_difference(report, "bytes told and received", stream, carried);
    let share = received as f64 * 100.0 / interface.rx_bytes as f64;
    report.add("discovery in bytes received", share, Unit::Percent, Goal::None);
    Ok(())
}

fn add_difference(report: &mut Report, name: &str, told: f64, measured: f64) {
    let percent = ((told - measured).abs() - OTHER_BYTES).max(0.0) / measured * 100.0;
    let limit = report.length().pick(COUNTERS_DIFFER_PERCENT_SHORT, COUNTERS_DIFFER_PERCENT);
    report.add(&format!("difference of {name}"), percent, Unit::Percent, Goal::AtMost(limit));
}
