//! Long runs: clocks that drift apart for two hours, and bad weather for as long as is asked for.
//!
//! `SWARMCAST_SIM_SEEDS=1..101 SWARMCAST_SIM_MINUTES=60` runs a hundred seeds of an hour each.

use std::ops::Range;

use swarmcast_core::health::Reason;
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::CloseCause;
use swarmcast_sim::clock::HostClock;
use swarmcast_sim::link::LossModel;
use swarmcast_sim::scenario::PUBLISHER;
use swarmcast_sim::workload::{AudioModel, Workload};
use swarmcast_sim::world::HostConfig;

use super::*;

/// Seeds of an ordinary test run.
const SEEDS: Range<u64> = 1..6;
/// Minutes of each.
const MINUTES: u32 = 5;

fn drifting(drift_ppm: i32) -> HostConfig {
    let clock = HostClock { drift_ppm, offset_us: 1_000_000, wall_skew_ms: 0 };
    HostConfig { clock: Some(clock), ..HostConfig::default() }
}

#[test]
fn clocks_that_drift_apart_by_200_ppm_make_no_unit_late_in_two_hours() {
    // A unit of half a second, so that two hours are run through in seconds.
    let voice = AudioModel { bits_per_second: 16_000, sample_rate: 48_000, samples_per_unit: 24_000 };
    let workload = Workload { video: None, audio: Some(voice), ..Workload::television(0) };
    for choice in [MulticastChoice::Auto, MulticastChoice::Off] {
        let mut scenario =
            Scenario { workload: workload.clone(), multicast: choice, ..multicast(110, 0, 7_200) };
        scenario.host = drifting(100);
        let joins = [-100, 100].map(|ppm| (S, scenario.join(drifting(ppm))));
        let report = run(scenario, joins);
        assert_unharmed(&report);
        for viewer in report.viewers() {
            assert_eq!(viewer.stats.late, 0, "{}", viewer.host);
            assert!(viewer.latency.max < MS * 500, "{}: {:?}", viewer.host, viewer.latency);
        }
    }
}

fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var("SWARMCAST_SIM_SEEDS") else { return SEEDS };
    let bounds = wanted.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    match bounds {
        Some((Ok(from), Ok(to))) => from..to,
        _ => panic!("SWARMCAST_SIM_SEEDS is FROM..TO, not {wanted}"),
    }
}

/// 5 % of all packets are lost in bursts of four; a fifth of the viewers go; in the end the publisher is killed.
fn bad_weather(seed: u64, minutes: u32) -> Scenario {
    let mut scenario =
        Scenario { workload: slim(), churn: 0.2, join_spread: S * 5, ..multicast(seed, 20, minutes * 60) };
    scenario.world.link.loss =
        LossModel::Bursty { worsens: 0.25 * 0.0625 / 0.9375, recovers: 0.25, good: 0.0, bad: 0.8 };
    scenario.world.drift_ppm_max = 100;
    if seed.is_multiple_of(2) {
        scenario.multicast = MulticastChoice::Off;
    }
    scenario
}

#[test]
fn bad_weather_brings_no_false_starved_and_hides_no_death() {
    let minutes = std::env::var("SWARMCAST_SIM_MINUTES").ok().and_then(|text| text.parse().ok());
    for seed in seeds() {
        let scenario = bad_weather(seed, minutes.unwrap_or(MINUTES));
        let killed = scenario.duration - S * 10;
        let report = run(scenario, [(killed, Deed::Kill(PUBLISHER))]);
        for viewer in report.viewers().filter(|viewer| viewer.alive) {
            let closed = viewer.closed.clone();
            assert_eq!(closed, Some(CloseCause::Dead(Reason::PublisherGone)), "seed {seed}: {}", viewer.host);
            let early = viewer.said(Verdict::Starved).into_iter().find(|at| *at < killed);
            assert_eq!(early, None, "seed {seed}: {}", viewer.host);
        }
    }
}
