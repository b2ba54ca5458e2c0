//! No session can be had, multicast lives: viewers stay, and a new one comes.

use anyhow::Result;

use super::{Moment, Scene, add_none, add_recordings, add_time};
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::scenario::span;
use crate::swarm::Watch;

const VIEWERS: usize = 3;
const NEWCOMER: usize = VIEWERS + 1;

/// Seconds until the newcomer plays: three beacons that advance, a catalogue and a random-access point, each of which
/// comes once a second.
const STARTED: f64 = 3.0;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("sessions blocked, multicast alive");
    let network = Network::bridged(lab, NEWCOMER + 1)?;
    let scene = Scene::set(lab, &network, "fault-sessions", &[], &vec![Watch::recording(); VIEWERS])?;
    let blocked = Moment::now();
    for host in network.hosts() {
        host.set_ingress_faults(&Faults::block([Blocked::Unicast]))?;
    }
    blocked.run_until(span(report, 7, 30).as_secs_f64());
    report.enter_case("sessions blocked, multicast alive: a newcomer");
    let newcomer = scene.swarm.watch(NEWCOMER, &Watch::default())?;
    let spawned = Moment { t: newcomer.member.process.spawned_at() };
    let first = spawned.event(&newcomer.member.process, "first_access_unit", STARTED, |_| true);
    add_time(report, "first access unit", spawned.seconds(first.as_ref()), STARTED);
    let live = spawned.verdict(&newcomer, "live", STARTED);
    add_time(report, "live", spawned.seconds(live.as_ref()), STARTED);
    let path = live.as_ref().and_then(|event| event.text("path"));
    report.add(
        "by multicast",
        f64::from(u8::from(path == Some("multicast"))),
        Unit::Count,
        Goal::AtLeast(1.0),
    );
    report.enter_case("sessions blocked, multicast alive");
    add_none(report, "times starved or dead", blocked.alarms(&scene.viewers));
    let moved = scene.viewers.iter().map(|viewer| blocked.all(viewer, "path").len()).sum();
    add_none(report, "changes of path", moved);
    add_recordings(report, &scene.recorded()?);
    Ok(())
}
