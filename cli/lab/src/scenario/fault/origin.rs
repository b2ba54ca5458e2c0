//! Neither multicast nor other viewers can be had, the origin can: it sends everything to each.

use std::time::Duration;

use anyhow::Result;

use super::{HOLD_DOWN, Moment, RETURN, Scene, add_none, add_recordings, add_time, longest};
use crate::compare::Comparison;
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Snapshot, Viewer, Watch};

const VIEWERS: usize = 3;

/// Seconds until media flows from the origin.
const FLOWS: f64 = 0.6;
/// How long the block lasts, seconds.
const LASTS: f64 = 3.0;
/// Longest gap with a playout delay of 200 ms, seconds.
const GAP: f64 = 0.3;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    for delay in [1_000, 200] {
        report.enter_case(format!("only the origin reachable, {delay} ms playout delay"));
        only_the_origin(lab, report, Duration::from_millis(delay))?;
    }
    Ok(())
}

fn only_the_origin(lab: &Lab, report: &mut Report, playout_delay: Duration) -> Result<()> {
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let watch = Watch { playout_delay, ..Watch::recording() }.with(&["--hold-down", &HOLD_DOWN.to_string()]);
    let scene = Scene::set(lab, &network, "fault-origin", &["--unicast-max", "4"], &vec![watch; VIEWERS])?;
    scene.play(1.0);
    let blocked = Moment::now();
    for index in 1..=VIEWERS {
        let others = (1..=VIEWERS).filter(|&other| other != index).map(Blocked::UnicastOf);
        network.host(index).set_ingress_faults(&Faults::block(others.chain([Blocked::Multicast])))?;
    }
    // A buffer that the mesh keeps full leaves unicast unasked for: either path has but the origin to come from.
    let other = scene.viewers.iter().map(|viewer| blocked.path(viewer, &["mesh", "unicast"], FLOWS));
    let other = longest(other.map(|event| blocked.seconds(event.as_ref())));
    add_time(report, "another path behind the block", other, FLOWS);
    blocked.run_until(FLOWS);
    let before = snapshots(&scene.viewers)?;
    blocked.run_until(LASTS);
    let after = snapshots(&scene.viewers)?;
    let shares = before.iter().zip(&after).map(|(before, after)| {
        let origin = after.growth(before, &["bytes_received_from_server"])?;
        Ok(origin * 8.0 / (after.t - before.t) / scene.source.bitrate())
    });
    let least = shares.collect::<Result<Vec<f64>>>()?.into_iter().fold(f64::INFINITY, f64::min);
    report.add("media from the origin by bitrate, at least", least, Unit::Ratio, Goal::AtLeast(0.9));
    let healed = Moment::now();
    for index in 1..=VIEWERS {
        network.host(index).set_ingress_faults(&Faults::default())?;
    }
    let back = scene.viewers.iter().map(|viewer| healed.path(viewer, &["multicast", "mesh"], RETURN));
    let back = longest(back.map(|event| healed.seconds(event.as_ref())));
    add_time(report, "back on a better path behind the healing", back, RETURN);
    add_none(report, "times starved or dead", blocked.alarms(&scene.viewers));
    let comparisons = scene.recorded()?;
    if playout_delay >= Duration::from_secs(1) {
        add_recordings(report, &comparisons);
    } else {
        let gap = longest(comparisons.iter().map(Comparison::longest_gap));
        // What people see, however busy this machine is: a ratio has no slack.
        report.add("longest gap by 300 ms", gap / GAP, Unit::Ratio, Goal::AtMost(1.0));
        let wrong = comparisons.iter().map(Comparison::wrong).sum();
        add_none(report, "extra, double or out of order", wrong);
    }
    Ok(())
}

fn snapshots(viewers: &[Viewer]) -> Result<Vec<Snapshot>> {
    viewers.iter().map(|viewer| viewer.member.snapshot()).collect()
}
