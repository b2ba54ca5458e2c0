//! What a report measures is what was done to the world.

use std::time::Duration;

use swarmcast_sim::link::RateModel;
use swarmcast_sim::network::{HostId, Trunk};
use swarmcast_sim::report::{Fairness, HostReport, Report};
use swarmcast_sim::scenario::{HostShare, Scenario};
use swarmcast_sim::workload::Workload;
use swarmcast_sim::world::{Deed, HostConfig};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn run(scenario: &Scenario) -> Report {
    let report = scenario.run().unwrap();
    assert!(report.violations.is_empty(), "{report}");
    report
}

#[test]
fn a_share_of_the_viewers_is_killed_at_once() {
    let mut scenario = Scenario { duration: S * 8, ..Scenario::new(31, 12) };
    scenario.deeds.push((S * 5, Deed::KillShare(0.5)));
    let report = run(&scenario);
    assert_eq!(report.viewers().filter(|host| host.alive).count(), 6, "{report}");
    for host in report.viewers() {
        let lived_to = if host.alive { S * 8 } else { S * 5 };
        let began = lived_to.saturating_sub(host.present);
        assert!(Scenario::FIRST_JOIN <= began && began < S * 2, "{began:?} {report}");
        assert!(!host.alive || host.continuity.share() == 1.0, "survivors miss nothing: {report}");
    }
}

#[test]
fn each_share_of_the_viewers_has_its_own_line() {
    let far = HostConfig { latency: (MS * 50, MS * 60), ..HostConfig::default() };
    let mut scenario = Scenario::new(40, 12);
    scenario.others.push(HostShare { share: 0.25, config: far });
    let report = run(&scenario);
    let is_far = |delay: Duration| delay >= MS * 50;
    assert_eq!(report.viewers().filter(|host| is_far(host.latency.p50)).count(), 3, "{report}");
    // 12 x 25 % is 3, and delays of the whole are those of its parts.
    assert_eq!(report.delays.len(), 1_001);
    assert!(report.delays.is_sorted() && !is_far(report.delays[500]) && is_far(report.delays[900]));
    assert!(report.delay().max <= scenario.playout_delay, "{:?}", report.delay());
}

#[test]
fn continuity_breaks_where_a_viewer_was_cut_off_and_nowhere_else() {
    let mut scenario = Scenario { duration: S * 14, ..Scenario::new(33, 4) };
    let back_at = S * 7 + MS * 500;
    scenario.deeds.extend([(S * 4, Deed::Cut(HostId(2), true)), (back_at, Deed::Cut(HostId(2), false))]);
    let report = run(&scenario);
    let share = |second: u64| report.continuity[&second].share();
    // One of four got nothing until its sessions were given up and new ones up, and then what was left of it late.
    assert_eq!([1, 2, 4, 5, 11].map(share), [1.0, 1.0, 0.75, 0.75, 1.0], "{:?}", report.continuity);
    for host in report.viewers() {
        assert_eq!(host.continuity.share() < 1.0, host.host == HostId(2), "{report}");
        // What it lacked came late, or was given up.
        let hole = host.gap_max.max(host.latency.max);
        assert_eq!(hole > MS * 500, host.host == HostId(2), "{hole:?} {report}");
    }
    let total = report.total_continuity();
    let due: u64 = report.continuity.values().map(|part| part.due).sum();
    assert_eq!(total.due, due);
    // 25 pictures and 47 sounds a second, for four viewers and some 12 s of those that count.
    assert!((3_000..4 * 12 * 72).contains(&due), "{due}");
}

#[test]
fn fairness_tells_equal_loads_from_one_that_bears_all() {
    assert_eq!(Fairness::of(&[2.0, 2.0, 2.0]), Fairness { mean: 2.0, max: 2.0, jain: 1.0 });
    assert_eq!(Fairness::of(&[4.0, 0.0, 0.0, 0.0]), Fairness { mean: 1.0, max: 4.0, jain: 0.25 });
    assert_eq!(Fairness::of(&[]), Fairness { mean: 0.0, max: 0.0, jain: 1.0 });
}

#[test]
fn far_viewers_are_fed_by_flat_trees_that_bring_each_fragment_once() {
    let far = HostConfig { latency: (MS * 5, MS * 25), ..HostConfig::default() };
    let scenario = Scenario { duration: S * 24, host: far, ..Scenario::new(39, 60) };
    let mut world = scenario.build().unwrap();
    world.run_until(S * 12);
    world.mark();
    world.run_until(scenario.duration);
    world.judge_end();
    let report = Report::of(&world, 34);
    assert!(report.violations.is_empty(), "{report}");
    // The links take 10 to 50 ms one way.
    let settled = report.settled.as_ref().unwrap();
    assert!(settled.delay.p50 < MS * 150 && settled.delay.p99 < MS * 300, "{settled:?}");
    assert!(settled.redundancy < 0.02 && report.duplicate_share() < 0.03, "{settled:?}");
    assert!(settled.publisher < 4.0, "{settled:?}");
    assert!(report.total_continuity().share() == 1.0, "{report}");
}

#[test]
fn multicast_stays_on_its_lan_and_the_stream_crosses_to_the_others() {
    let mut scenario = Scenario { lans: 2, ..Scenario::new(35, 8).with_multicast() };
    scenario.world.trunk = Trunk { rate: RateModel::limited(20_000_000), latency: MS * 4 };
    let report = run(&scenario);
    assert_eq!(report.missing().0, 0, "{report}");
    for (index, host) in report.viewers().enumerate() {
        let is_near = index % 2 == 0;
        assert_eq!(host.multicast_share > 0.5, is_near, "{report}");
        assert!(is_near || host.multicast_share == 0.0, "{report}");
        // From one LAN to the other it is twice 4 ms.
        assert!(is_near || host.latency.p50 > MS * 8, "{report}");
    }
    assert!(report.hops[1] > 0 && report.hops_at(1_000) >= 2, "{:?}", report.hops);
}

#[test]
fn viewers_that_all_hear_multicast_seldom_wake_each_other() {
    let scenario = Scenario::new(37, 8).with_multicast();
    let mut world = scenario.build().unwrap();
    let mut count = |until: Duration| {
        world.run_until(until);
        let report = Report::of(&world, 37);
        let of = |value: fn(&HostReport) -> u64| report.viewers().map(value).sum::<u64>();
        (of(|host| host.sent.packets), of(|host| host.inputs))
    };
    let (before, after) = (count(S * 5), count(S * 15));
    let [packets, inputs] = [after.0 - before.0, after.1 - before.1].map(|count| count as f64 / (8.0 * 10.0));
    // A have-map with a beacon to seven others, twice a second.
    assert!(packets < 32.0, "{packets} packets sent a second");
    // What the others send, 25 pictures of 40 datagrams in runs, sound that leaves with them, beacons, timers.
    assert!(inputs < 260.0, "{inputs} inputs a second");
}

#[test]
fn viewers_of_the_mesh_hear_less_of_each_other_once_none_asks_for_anything() {
    let control = |playout_delay: Duration, loss: f64| {
        let workload = Workload::television(8_000_000);
        let scenario = Scenario { playout_delay, workload, ..Scenario::new(43, 8) };
        let mut world = scenario.with_loss(loss).build().unwrap();
        let mut count = |until: Duration| {
            world.run_until(until);
            Report::of(&world, 43).viewers().map(|host| host.stats.control_bytes_to_peers).sum::<u64>()
        };
        let (before, after) = (count(S * 14), count(S * 24));
        (after - before) as f64 / (8.0 * 10.0)
    };
    // Bytes a second of each viewer: have-maps of 23 with beacons of 106, to eight.
    let (content, hurried, lossy) = (control(S * 2, 0.0), control(MS * 300, 0.0), control(S * 2, 0.02));
    assert!(content < 1_200.0, "{content}, four a second");
    assert!(content * 1.3 < hurried, "{content}, {hurried}: who cannot wait is told as before");
    assert!(content * 3.0 < lossy, "{content}, {lossy}: and so is who asks, and it asks");
}

#[test]
fn who_is_behind_a_nat_is_served_by_those_that_it_dials() {
    let hidden = HostConfig { behind_nat: true, ..HostConfig::default() };
    let mut scenario = Scenario::new(36, 12);
    scenario.others.push(HostShare { share: 0.5, config: hidden });
    let report = run(&scenario);
    assert_eq!(report.missing().0, 0, "{report}");
    assert!(report.viewers().all(|host| host.stats.neighbours > 0), "{report}");
}

#[test]
fn figures_from_a_mark_on_leave_the_joining_out() {
    let scenario = Scenario { duration: S * 8, ..Scenario::new(41, 20) };
    let mut world = scenario.build().unwrap();
    world.run_until(S * 4);
    world.mark();
    world.run_until(scenario.duration);
    let report = Report::of(&world, 41);
    let settled = report.settled.as_ref().unwrap();
    assert_eq!(settled.from, S * 4);
    assert!(settled.publisher < report.upload_ratio(), "joiners draw on the publisher: {settled:?}");
    assert!(settled.delay.max <= report.delay().max && settled.delay.p50 > Duration::ZERO, "{settled:?}");
    let blocks = |hops: &[u64]| hops.iter().sum::<u64>() as f64;
    let share = blocks(&settled.hops) / blocks(&report.hops);
    assert!((0.45..0.65).contains(&share), "4 of some 7 s: {share}");
    assert!(settled.hops_at(1_000) <= report.hops_at(1_000));
    assert!(scenario.run().unwrap().settled.is_none());
}

#[test]
fn answers_to_a_crowd_that_joins_go_to_who_asked() {
    let scenario = Scenario { duration: S * 6, join_spread: S * 5, ..Scenario::new(42, 60) };
    let report = run(&scenario);
    let stats = report.viewers().map(|host| (host.stats.control_bytes_from_peers, host.present));
    let (bytes, present) = stats
        .fold((0, 0.0), |(bytes, present), (more, longer)| (bytes + more, present + longer.as_secs_f64()));
    // 5 kB; 21 to 24 kB when each answer went to everybody, with a have-map to who had passed the question on.
    assert!(bytes as f64 / present < 10_000.0, "{:.0} B a second to each viewer", bytes as f64 / present);
}
