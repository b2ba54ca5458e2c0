//! The publisher ends: everybody drains to the last fragment, also behind a bad link and behind a cut.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{Moment, Scene, add_all, add_none, closed_well, settle};
use crate::clip::Clip;
use crate::compare::Source;
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::recording::Recording;
use crate::report::Report;
use crate::swarm::{PATIENCE, Swarm, Viewer, Watch};

const VIEWERS: usize = 3;

/// The viewer behind a link that loses, and how much, percent.
const LOSSY: usize = 2;
const LOSS: f64 = 20.0;

/// The viewer that is cut off until the end, and for how long, seconds.
const CUT_OFF: usize = 3;
const CUT: f64 = 2.0;

/// Plays the end of a file in eight seconds.
const FILE: Clip = Clip { seconds: 8, ..Clip::STANDARD };

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("Ctrl-C");
    interrupted(lab, report)?;
    report.enter_case("end of file");
    at_end_of_file(lab, report)
}

fn interrupted(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let scene = Scene::set(lab, &network, "fault-end", &[], &vec![Watch::recording(); VIEWERS])?;
    network.host(LOSSY).set_ingress_faults(&Faults::loss(LOSS))?;
    scene.play(1.0);
    let cut = Moment::now();
    network.host(CUT_OFF).set_faults(&Faults::block([Blocked::Everything]))?;
    cut.run_until(CUT);
    scene.publisher.member.process.signal(Signal::SIGINT)?;
    network.host(CUT_OFF).set_faults(&Faults::default())?;
    let exit = scene.publisher.member.process.wait_exit(PATIENCE)?;
    add_all(report, "publishers that exit with 0", usize::from(exit.code == Some(0)), 1);
    add_ends(report, &scene.viewers);
    // Whoever was never cut off misses nothing.
    add_last(report, &scene.viewers, last_of(&scene.viewers[0])?)?;
    let whole = scene.source.compare(scene.viewers[0].recording()?)?;
    add_none(report, "access units missing behind the clean link", whole.missing());
    Ok(())
}

fn at_end_of_file(lab: &Lab, report: &mut Report) -> Result<()> {
    let clip = FILE.file(lab)?;
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let swarm = Swarm::new(lab, &network, "fault-end")?;
    let publisher = swarm.publish(0, &[&clip.to_string_lossy()])?;
    let began = Moment::now();
    let viewers = swarm.watch_all(1..VIEWERS + 1, &Watch::recording())?;
    viewers.iter().try_for_each(settle)?;
    network.host(LOSSY).set_ingress_faults(&Faults::loss(LOSS))?;
    began.run_until(f64::from(FILE.seconds) - CUT);
    network.host(CUT_OFF).set_faults(&Faults::block([Blocked::Everything]))?;
    began.run_until(f64::from(FILE.seconds));
    network.host(CUT_OFF).set_faults(&Faults::default())?;
    let exit = publisher.member.process.wait_exit(PATIENCE)?;
    add_all(report, "publishers that exit with 0", usize::from(exit.code == Some(0)), 1);
    add_ends(report, &viewers);
    let last =
        Recording::read(&clip)?.track("video").and_then(|track| Some(track.units.last()?.hash.clone()));
    add_last(report, &viewers, last.context("the clip has pictures")?)?;
    let whole = Source::read(&clip)?.compare(viewers[0].recording()?)?;
    add_none(report, "access units missing behind the clean link", whole.missing());
    Ok(())
}

fn add_ends(report: &mut Report, viewers: &[Viewer]) {
    let closed = closed_well(viewers, "ended", None, 0);
    add_all(report, "viewers with one `closed`, ended, exit 0", closed, viewers.len());
    let newest = |viewer: &Viewer| {
        let ended = viewer.member.process.events("ended");
        ended.first().and_then(|ended| ended.number("newest"))
    };
    let first = viewers.first().and_then(newest);
    let same = viewers.iter().filter(|viewer| first.is_some() && newest(viewer) == first).count();
    add_all(report, "viewers that know the same last block", same, viewers.len());
}

/// How many recordings end with the picture whose hash is `last`.
fn add_last(report: &mut Report, viewers: &[Viewer], last: String) -> Result<()> {
    let mut drained = 0;
    for viewer in viewers {
        drained += usize::from(last_of(viewer)? == last);
    }
    add_all(report, "viewers that recorded the last picture", drained, viewers.len());
    Ok(())
}

fn last_of(viewer: &Viewer) -> Result<String> {
    let recording = Recording::read(viewer.recording()?)?;
    let last = recording.track("video").and_then(|track| track.units.last());
    Ok(last.context("the recording has no pictures")?.hash.clone())
}
