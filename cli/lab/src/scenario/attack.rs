//! A member of the group that lies: the others deliver nothing false and miss nothing.
//!
//! The liar is a program of its own, a cargo example called `hostile`; where it was not built, the scenario is skipped.
//! It is started as `hostile SCRIPT --group GROUP --name NAME --peer TICKET`, watches and relays the stream as any
//! viewer does, tells `started` with its `ticket` and `endpoint` as the binary does, and from then on, until it is
//! killed:
//! - `alter` flips bits in what it passes on;
//! - `replay` sends again the first run of the stream that it saw, once there is a second;
//! - `boast` claims fragments that it does not have, and sends none;
//! - `flood` sends 50 Mbit/s of forged headers for 10 s to one viewer, then nothing. Thrown out, it comes back under a
//!   new name, and sends from outside meanwhile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{is_full, let_run, span};
use crate::clip::Clip;
use crate::compare::Source;
use crate::lab::Lab;
use crate::network::Network;
use crate::process::Process;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{GROUP, PATIENCE, Publisher, STREAM, Snapshot, Swarm, Viewer, Watch, companions};

/// What the liar does, and as what its victims count it.
const SCRIPTS: &[(&str, &[&str])] = &[
    ("alter", &["forged", "malformed"]),
    ("replay", &["replay"]),
    ("boast", &["unkept"]),
    ("flood", &["forged"]),
];

/// What the flood brings to its victim, Mbit/s. The stream comes on top.
const FLOOD: f64 = 50.0;
/// Seconds of it over which the cost is measured: it lasts 10 and begins when the viewers do.
const FLOOD_SECONDS: u64 = 8;

/// Share of a core that a victim may use in all, stream and lies together, percent.
const CORE_PERCENT: f64 = 50.0;

const LIAR: usize = 1;
const VIEWERS: std::ops::Range<usize> = 2..5;

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    // The newest: one that was built for an older protocol is heard by nobody.
    let built = |program: &PathBuf| program.metadata().and_then(|found| found.modified()).ok();
    let Some(program) = companions("hostile").into_iter().max_by_key(built) else {
        eprintln!("SKIPPED attack: there is no example called `hostile` in the target directory");
        return Ok(());
    };
    for &(script, counters) in SCRIPTS {
        report.enter_case(script);
        attack(lab, report, &program, (script, counters))?;
    }
    Ok(())
}

fn attack(lab: &Lab, report: &mut Report, program: &Path, (script, counters): (&str, &[&str])) -> Result<()> {
    let clip = Clip::STANDARD.file(lab)?;
    let source = Source::read(&clip)?;
    let network = Network::bridged(lab, VIEWERS.end)?;
    let swarm = Swarm::without_multicast(lab, &network, "attack")?;
    let mut publisher = swarm.publish_loop(0, &clip)?;
    let liar = spawn(&network, program, script, &publisher)?;
    let started = liar.wait_event("started", PATIENCE)?;
    let known =
        |name: &str| started.text(name).map(str::to_owned).context("`started` of the liar lacks a field");
    let (ticket, endpoint) = (known("ticket")?, known("endpoint")?);
    if script == "replay" {
        // The liar hears a first run; the viewers see only the second.
        let_run(span(report, 3, 5));
        publisher.stop()?;
        drop(publisher);
        publisher = swarm.publish_loop(0, &clip)?;
    }
    let viewers = swarm.watch_all(VIEWERS, &Watch { peer: Some(ticket), ..Watch::recording() })?;
    let before = snapshots(&viewers)?;
    let flooded = script == "flood";
    let_run(if flooded { Duration::from_secs(FLOOD_SECONDS) } else { span(report, 12, 30) });
    let after = snapshots(&viewers)?;
    if flooded {
        // And on, behind its end.
        let_run(span(report, 4, 22));
    }

    let (mut missing, mut wrong, mut found_out, mut dropped) = (0, 0, 0.0, 0);
    let (mut busiest, mut arrived) = (0.0_f64, 0.0_f64);
    for (index, viewer) in viewers.iter().enumerate() {
        let (then, now) = (&before[index], &after[index]);
        found_out += counters.iter().filter_map(|counter| now.0.stats.number(counter)).sum::<f64>();
        let seconds = now.0.t - then.0.t;
        busiest = busiest.max((now.1 - then.1) / seconds * 100.0);
        let bytes = (now.0.interface - then.0.interface).rx_bytes;
        arrived = arrived.max(bytes as f64 * 8.0 / seconds / 1e6);
        let left = |event: &&crate::event::Event| {
            event.text("peer") == Some(&endpoint) && event.flag("up") == Some(false)
        };
        dropped += viewer.member.process.events("neighbour").iter().filter(left).count();
        viewer.stop()?;
        let comparison = source.compare(viewer.recording()?)?;
        missing += comparison.missing();
        wrong += comparison.wrong();
    }
    publisher.stop()?;
    report.add("false, double or out of order", wrong as f64, Unit::Count, Goal::AtMost(0.0));
    report.add("access units missing", missing as f64, Unit::Count, Goal::AtMost(0.0));
    report.add("lies counted", found_out, Unit::Count, Goal::AtLeast(1.0));
    report.add("times that a viewer dropped the liar", dropped as f64, Unit::Count, Goal::None);
    if flooded {
        // What a busy machine can flood says nothing of who is flooded.
        let goal = if is_full(report) { Goal::AtLeast(FLOOD) } else { Goal::None };
        report.add("arrived at the busiest viewer", arrived, Unit::MegabitsPerSecond, goal);
    }
    report.add("busiest viewer, of a core", busiest, Unit::Percent, Goal::AtMost(CORE_PERCENT));
    Ok(())
}

fn spawn(network: &Network, program: &Path, script: &str, publisher: &Publisher) -> Result<Process> {
    let mut command = Command::new(program);
    command.args([script, "--group", GROUP, "--name", STREAM, "--peer", &publisher.ticket()?]);
    Process::spawn(network.host(LIAR), "liar", &mut command)
}

/// The counters of each viewer, and the seconds of processor time that it has used.
fn snapshots(viewers: &[Viewer]) -> Result<Vec<(Snapshot, f64)>> {
    let snapshot = |viewer: &Viewer| {
        let snapshot = viewer.member.snapshot()?;
        let cpu = viewer.member.process.cpu()?;
        Ok((snapshot, cpu.user + cpu.system))
    };
    viewers.iter().map(snapshot).collect()
}
