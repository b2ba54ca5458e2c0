//! The publisher is killed and started again under the same name, by the same key or by another.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Moment, Scene, add_all, add_none, add_time, closed_well, longest};
use crate::clip::Clip;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::Report;
use crate::swarm::{Publisher, Viewer, Watch};

const VIEWERS: usize = 3;

/// Seconds to the new publisher that viewers still live to see, and to the one that takes `--wait`.
const SOON: f64 = 2.0;
const LATE: f64 = 10.0;
const LATE_SHORT: f64 = 6.5;

/// Seconds from the start of the new publisher, which begins with a random-access point, until its stream plays.
const PLAYING: f64 = 1.0;

/// A setting that nobody has by default, milliseconds: it must outlive the restart.
const PLAYOUT_DELAY: u64 = 700;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    // In any case later than a stream is dead.
    let late = report.length().pick(LATE_SHORT, LATE);
    for (seconds, words) in [(SOON, &[][..]), (late, &["--wait"])] {
        report.enter_case(format!("same key, {seconds} s later"));
        same_key(lab, report, seconds, words)?;
    }
    report.enter_case("other key, 2 s later");
    other_key(lab, report)
}

fn same_key(lab: &Lab, report: &mut Report, later: f64, words: &[&str]) -> Result<()> {
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let playout_delay = std::time::Duration::from_millis(PLAYOUT_DELAY);
    let watch = Watch { playout_delay, ..Watch::default() }.with(words);
    let scene = Scene::set(lab, &network, "fault-restart", &[], &vec![watch; VIEWERS])?;
    let killed = Moment::now();
    let old = epoch(&scene.publisher)?;
    scene.publisher.member.process.signal(Signal::SIGKILL)?;
    killed.run_until(later);
    let again = scene.swarm.publish_loop(0, &Clip::STANDARD.file(lab)?)?;
    let started = Moment { t: again.started().t() };
    let live = scene.viewers.iter().map(|viewer| started.verdict(viewer, "live", PLAYING));
    let live = longest(live.map(|event| started.seconds(event.as_ref())));
    add_time(report, "live behind the new publisher's start", live, PLAYING);
    let new = epoch(&again)?;
    let mut told = 0;
    let mut kept = 0;
    for viewer in &scene.viewers {
        let resets = killed.all(viewer, "reset");
        let right = |reset: &crate::event::Event| {
            reset.number("old") == Some(old) && reset.number("new") == Some(new)
        };
        told += usize::from(resets.len() == 1 && resets.iter().all(right));
        let delay = viewer.member.snapshot()?.stats.number("playout_delay");
        kept += usize::from(delay == Some(PLAYOUT_DELAY as f64 / 1e3));
    }
    add_all(report, "viewers with one `reset` of these epochs", told, VIEWERS);
    add_all(report, "viewers whose playout delay is kept", kept, VIEWERS);
    add_none(report, "subscriptions closed", closed(&scene.viewers));
    Ok(())
}

fn other_key(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, VIEWERS + 2)?;
    let scene = Scene::set(lab, &network, "fault-restart", &[], &vec![Watch::recording(); VIEWERS])?;
    let killed = Moment::now();
    scene.publisher.member.process.signal(Signal::SIGKILL)?;
    killed.run_until(SOON);
    // Another host has another key, and here other pictures.
    let _foreign = scene.swarm.publish_loop(VIEWERS + 1, &Clip::SLOW.file(lab)?)?;
    let dead = closed_well(&scene.viewers, "dead", Some("publisher-gone"), 8);
    add_all(report, "viewers with one `closed`, publisher-gone, exit 8", dead, VIEWERS);
    let resets = scene.viewers.iter().map(|viewer| killed.all(viewer, "reset").len()).sum();
    add_none(report, "resets told", resets);
    let mut foreign = 0;
    for viewer in &scene.viewers {
        foreign += scene.source.compare(viewer.recording()?)?.wrong();
    }
    add_none(report, "foreign access units recorded", foreign);
    Ok(())
}

fn epoch(publisher: &Publisher) -> Result<f64> {
    publisher.started().number("epoch").context("`started` does not tell `epoch`")
}

fn closed(viewers: &[Viewer]) -> usize {
    viewers.iter().map(|viewer| viewer.member.process.events("closed").len()).sum()
}
