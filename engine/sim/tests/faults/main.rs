//! Faults on the multicast path and at the publisher: what viewers get, and what they are told, under virtual time.
//!
//! `SWARMCAST_SIM_TRACE=1` prints each step.

#[path = "../common/mod.rs"]
mod common;
mod crowds;
mod forgery;
mod long;
mod loss;
mod paths;
mod publishers;

use std::time::Duration;

use swarmcast_core::health::{PathCause, PathKind, Verdict};
use swarmcast_sim::lan::{Blockade, Whom};
use swarmcast_sim::network::HostId;
use swarmcast_sim::report::{HostReport, Report};
use swarmcast_sim::scenario::Scenario;
use swarmcast_sim::workload::{AudioModel, VideoModel, Workload};
use swarmcast_sim::world::{Deed, World};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

/// A stream of 1 Mbit/s that is multicast, with a hold-down that fits a short run.
fn multicast(seed: u64, viewers: u32, seconds: u32) -> Scenario {
    Scenario { duration: S * seconds, hold_down: S * 2, ..Scenario::new(seed, viewers).with_multicast() }
}

/// Ten pictures a second and sound in units of 100 ms: a stream that many viewers, or long runs, can afford.
fn slim() -> Workload {
    let (bits_per_second, gop) = (150_000, S);
    let audio = AudioModel { bits_per_second: 24_000, sample_rate: 48_000, samples_per_unit: 4_800 };
    Workload {
        video: Some(VideoModel { bits_per_second, pictures_per_second: 10, gop, b_pictures: 0 }),
        audio: Some(audio),
        ..Workload::television(0)
    }
}

/// Runs a scenario with `deeds` in which no rule may be broken, and everybody who is there gets the stream.
fn run(mut scenario: Scenario, deeds: impl IntoIterator<Item = (Duration, Deed)>) -> Report {
    scenario.deeds.extend(deeds);
    let mut world = scenario.build().unwrap();
    finish(&mut world, &scenario)
}

/// Runs a world to its end and judges it.
fn finish(world: &mut World, scenario: &Scenario) -> Report {
    if std::env::var_os("SWARMCAST_SIM_TRACE").is_some() {
        world.trace_to(Box::new(|line| eprintln!("{line}")));
    }
    world.run_until(scenario.duration);
    world.judge_end();
    common::judged(Report::of(world, scenario.world.seed))
}

/// Nobody misses anything, and nobody is told that the stream is starved or worse.
fn assert_unharmed(report: &Report) {
    assert_eq!(report.missing().0, 0, "{report}");
    assert_no_alarm(report);
}

/// Nobody is told that the stream is starved or worse.
fn assert_no_alarm(report: &Report) {
    for viewer in report.viewers() {
        let alarms = [viewer.said(Verdict::Starved), viewer.said(Verdict::Dead)].concat();
        assert!(alarms.is_empty(), "{}: {alarms:?}", viewer.host);
    }
}

/// Returns when a viewer went over from one path to the other, between two times.
fn turned(
    viewer: &HostReport,
    (from, to): (PathKind, PathKind),
    within: std::ops::Range<Duration>,
) -> Option<(Duration, PathCause)> {
    let mut turns = viewer.paths.iter().filter(|change| within.contains(&change.at));
    turns.find(|change| (change.from, change.to) == (from, to)).map(|c| (c.at, c.cause.clone()))
}

/// A viewer was told within half a second that multicast is silent, and came back to it once it was clean again.
fn assert_left_and_returned(viewer: &HostReport, blocked: Duration, lifted: Duration, hold_down: Duration) {
    let left = turned(viewer, (PathKind::Multicast, PathKind::Mesh), blocked..blocked + MS * 500);
    let cause = left.map(|(_, cause)| cause);
    assert!(matches!(cause, Some(PathCause::MulticastSilent { .. })), "{}: {cause:?}", viewer.host);
    let back = lifted + hold_down;
    let healed = turned(viewer, (PathKind::Mesh, PathKind::Multicast), back..back + S * 4);
    assert_eq!(healed.map(|(_, cause)| cause), Some(PathCause::Healed), "{}", viewer.host);
}

/// Blocks multicast from one time to another.
fn blocked(whom: Whom, blockade: Blockade, from: Duration, to: Duration) -> [(Duration, Deed); 2] {
    [(from, Deed::BlockMulticast(whom, blockade)), (to, Deed::BlockMulticast(whom, Blockade::Lifted))]
}
