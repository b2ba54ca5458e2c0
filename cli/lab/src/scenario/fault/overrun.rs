//! A viewer stands still for longer than its receive buffers last: local loss, counted as such and blamed on nobody.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Moment, add_none, add_time, settle};
use crate::clip::Clip;
use crate::event::Event;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

const VIEWERS: usize = 2;

/// How long it stands still: the buffers of 4 MiB last half as long at 20 Mbit/s, seconds.
const STOPPED: f64 = 3.0;
/// Seconds until it plays again.
const RECOVERED: f64 = 1.0;
/// How long it is watched then, seconds.
const WATCHED: f64 = 3.0;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("viewer stopped for 3 s at 20 Mbit/s");
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let swarm = Swarm::new(lab, &network, "fault-overrun")?;
    let _publisher = swarm.publish_loop(0, &Clip::FAST.file(lab)?)?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &Watch::default())?;
    viewers.iter().try_for_each(settle)?;
    let viewer = viewers.first().context("there are viewers")?;
    let before = viewer.member.snapshot()?;

    let stopped = Moment::now();
    viewer.member.process.signal(Signal::SIGSTOP)?;
    stopped.run_until(STOPPED);
    let continued = Moment::now();
    viewer.member.process.signal(Signal::SIGCONT)?;
    continued.run_until(WATCHED);
    add_time(report, "live behind the stop", continued.recovered(viewer, stopped, RECOVERED), RECOVERED);
    let after = viewer.member.snapshot()?;
    let overflowed = after.growth(&before, &["overflowed"])?;
    report.add("datagrams told as overflowed", overflowed, Unit::Count, Goal::AtLeast(1.0));
    add_none(report, "verdicts with another reason than overrun", stopped.not_local(viewer));
    let lossy = |event: &&Event| {
        event.text("reason") == Some("excess-loss") || event.text("cause") == Some("multicast-lossy")
    };
    let blamed = ["path", "path_verdict"].map(|name| stopped.all(viewer, name).iter().filter(lossy).count());
    add_none(report, "times that the network is said to lose", blamed.iter().sum());
    add_none(report, "subscriptions closed", stopped.all(viewer, "closed").len());
    let elsewhere = viewers.iter().skip(1).map(|other| stopped.all(other, "verdict").len()).sum();
    add_none(report, "verdicts of the other viewer", elsewhere);
    Ok(())
}
