//! Faults of the viewer's own side: each is told with the right reason, and none is blamed on the source.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Moment, Scene, add_all, add_none, add_time, closed_well, recorded};
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::Report;
use crate::swarm::{Swarm, Viewer, Watch};

/// Seconds until the stream is dead for a viewer in mid-stream, and for one that never found it (`--wait` is 5 s by
/// default), with the time that telling it may take.
const DEAD: f64 = 5.5;
const NOT_FOUND: f64 = 6.5;

/// How long processes stand still whose playout delay hides it, milliseconds; and one that overruns, seconds.
const STARVATIONS: [u64; 2] = [200, 500];
const OVERRUN: f64 = 3.0;
/// Seconds until it plays again.
const RECOVERED: f64 = 1.0;

/// Viewers in the order of their hosts.
const CUT: usize = 1;
const SILENCED: usize = 2;
const NO_UDP: usize = 3;
const STARVED: usize = 4;
const OVERRUNNING: usize = 5;
const VIEWERS: usize = 5;
/// Hosts on which nobody watches at first.
const SEEKER: usize = VIEWERS + 1;
const NO_UDP_SEEKER: usize = VIEWERS + 2;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, NO_UDP_SEEKER + 1)?;
    let mut watches = vec![Watch::default(); VIEWERS];
    watches[STARVED - 1] = Watch::recording();
    let scene = Scene::set(lab, &network, "fault-local", &[], &watches)?;
    let desert = Network::bridged(lab, 1)?;
    let lonely = Swarm::new(lab, &desert, "fault-local-alone")?.watch(0, &Watch::default())?;
    scene.play(1.0);

    // Viewers suffer side by side: each has a host to itself.
    let moment = Moment::now();
    network.host(CUT).cut()?;
    network.host(SILENCED).set_faults(&Faults::block([Blocked::Everything]))?;
    network.host(NO_UDP).set_faults(&Faults::block([Blocked::Udp]))?;
    network.host(NO_UDP_SEEKER).set_faults(&Faults::block([Blocked::Udp]))?;
    let overrunning = &scene.viewers[OVERRUNNING - 1];
    overrunning.member.process.signal(Signal::SIGSTOP)?;
    let peer = Some(scene.publisher.ticket()?);
    let no_udp_seeker = scene.swarm.watch(NO_UDP_SEEKER, &Watch { peer, ..Watch::default() })?;
    let seeker = scene.swarm.watch_name(SEEKER, "nothing", &Watch::default())?;
    starve(&scene.viewers[STARVED - 1])?;
    moment.run_until(OVERRUN);
    let continued = Moment::now();
    overrunning.member.process.signal(Signal::SIGCONT)?;

    let alone = Moment { t: lonely.member.process.spawned_at() };
    for (case, moment, viewer, reason, limit, code) in [
        ("own link cut", moment, &scene.viewers[CUT - 1], "network-down", DEAD, 9),
        ("all peers silent", moment, &scene.viewers[SILENCED - 1], "partitioned-local", DEAD, 9),
        ("UDP blocked in mid-stream", moment, &scene.viewers[NO_UDP - 1], "udp-blocked", DEAD, 9),
        ("UDP blocked from the start", moment, &no_udp_seeker, "udp-blocked", NOT_FOUND, 9),
        ("no such stream", moment, &seeker, "no-such-stream", NOT_FOUND, 4),
        ("no peer at all", alone, &lonely, "no-reachable-peers", NOT_FOUND, 5),
    ] {
        report.enter_case(case);
        let closed = moment.event(&viewer.member.process, "closed", limit, |_| true);
        add_time(report, "closed behind the fault", moment.seconds(closed.as_ref()), limit);
        add_dead(report, moment, viewer, reason, code);
    }
    report.enter_case("process stopped for 3 s");
    let live = continued.recovered(overrunning, moment, RECOVERED);
    add_time(report, "live behind the stop", live, RECOVERED);
    add_none(report, "verdicts with another reason than overrun", moment.not_local(overrunning));
    add_none(report, "subscriptions closed", moment.all(overrunning, "closed").len());
    report.enter_case("process starved for 200 and 500 ms");
    let starved = &scene.viewers[STARVED - 1];
    add_none(report, "verdicts with another reason than overrun", moment.not_local(starved));
    add_none(report, "times dead", moment.all(starved, "closed").len());
    add_none(report, "access units missing", recorded(starved, &scene.source)?.missing());
    Ok(())
}

/// Stops a viewer as long as a busy machine does, with a second in between.
fn starve(viewer: &Viewer) -> Result<()> {
    for milliseconds in STARVATIONS {
        let process = &viewer.member.process;
        process.signal(Signal::SIGSTOP)?;
        super::let_run(Duration::from_millis(milliseconds));
        process.signal(Signal::SIGCONT)?;
        super::let_run(Duration::from_secs(1));
    }
    Ok(())
}

/// Adds that the viewer's stream died for this reason, and nobody else was blamed.
fn add_dead(report: &mut Report, moment: Moment, viewer: &Viewer, reason: &str, code: i32) {
    let closed = closed_well(std::slice::from_ref(viewer), "dead", Some(reason), code);
    add_all(report, &format!("viewers with one `closed`, {reason}, exit {code}"), closed, 1);
    let (verdicts, closed) = (moment.all(viewer, "verdict"), moment.all(viewer, "closed"));
    let told = verdicts.iter().chain(&closed);
    let blames = told.filter(|event| event.text("reason") == Some("publisher-gone")).count();
    add_none(report, "times that the source was blamed", blames);
}
