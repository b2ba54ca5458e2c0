//! Multicast alone, blocked, expired, and with sessions blocked beside it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use swarmcast_core::health::{PathCause, PathKind, PathVerdict, Reason, Verdict};
use swarmcast_core::ids::StreamHandle;
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::Command;
use swarmcast_sim::lan::{Blockade, Whom};
use swarmcast_sim::network::{Between, Firewall, HostId};
use swarmcast_sim::oracle::PathVerdictChange;
use swarmcast_sim::report::Report;
use swarmcast_sim::scenario::{PUBLISHER, Scenario};
use swarmcast_sim::workload::Workload;
use swarmcast_sim::world::{Deed, HostConfig};

use super::*;

/// Bytes on the publisher's wire, and media pushed to all viewers, between 5 s and the end.
fn settled_traffic(viewers: u32) -> (u64, u64) {
    let address = "239.255.7.7:24600,source=10.0.0.0";
    let scenario = Scenario {
        workload: Workload::television(8_000_000),
        multicast: address.parse::<MulticastChoice>().unwrap(),
        ..multicast(40, viewers, 10)
    };
    let mut world = scenario.build().unwrap();
    world.run_until(S * 5);
    let before = Report::of(&world, 40);
    let after = finish(&mut world, &scenario);
    assert_unharmed(&after);
    let pushed = |report: &Report| report.viewers().map(|v| v.stats.bytes_pushed_from_peers).sum::<u64>();
    let sent = |report: &Report| report.hosts[0].sent.wire_bytes;
    (sent(&after) - sent(&before), pushed(&after) - pushed(&before))
}

#[test]
fn the_publisher_sends_the_same_for_1_8_and_40_viewers() {
    let traffic = [1, 8, 40].map(settled_traffic);
    let sent = traffic.map(|(sent, _)| sent);
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!((most - least) * 20 <= *least, "bytes: {sent:?}");
    assert_eq!(traffic.map(|(_, pushed)| pushed), [0; 3], "stripes are parked");
}

#[test]
fn one_viewer_without_multicast_is_served_by_the_mesh_until_it_heals() {
    let deeds = blocked(Whom::Host(HostId(2)), Blockade::Everything, S * 5, S * 9);
    let report = run(multicast(41, 5, 14), deeds);
    assert_unharmed(&report);
    for viewer in report.viewers() {
        if viewer.host == HostId(2) {
            assert_left_and_returned(viewer, S * 5, S * 9, S * 2);
        } else {
            assert_eq!(viewer.path(), Some(PathKind::Multicast), "{}", viewer.host);
            assert!(turned(viewer, (PathKind::Multicast, PathKind::Mesh), S * 5..S * 14).is_none());
        }
    }
}

#[test]
fn when_nobody_gets_multicast_everybody_is_served_by_the_mesh_until_it_heals() {
    let report = run(multicast(42, 5, 16), blocked(Whom::All, Blockade::Everything, S * 5, S * 9));
    assert_unharmed(&report);
    report.viewers().for_each(|viewer| assert_left_and_returned(viewer, S * 5, S * 9, S * 2));
}

#[test]
fn beacons_that_pass_do_not_hide_that_media_does_not() {
    let report = run(multicast(43, 5, 16), blocked(Whom::All, Blockade::LongerThan(400), S * 5, S * 9));
    assert_unharmed(&report);
    for viewer in report.viewers() {
        // Half of the playout delay, and what it takes until neighbours bring something.
        let left = turned(viewer, (PathKind::Multicast, PathKind::Mesh), S * 5..S * 5 + MS * 650);
        let named =
            matches!(left, Some((_, PathCause::MulticastSilent { .. } | PathCause::MulticastLossy { .. })));
        assert!(named, "{}: {left:?}", viewer.host);
    }
}

#[test]
fn a_membership_that_expires_is_renewed_and_nothing_is_missing() {
    let scenario = Scenario { playout_delay: S * 2, ..multicast(44, 4, 20) };
    let deeds = [(S * 4, Deed::StopQueries(Whom::All, Some(S * 5)))];
    let report = run(scenario, deeds);
    assert_unharmed(&report);
    for viewer in report.viewers() {
        let left = viewer.paths.iter().filter(|change| change.from == PathKind::Multicast && change.at > S);
        assert!(
            left.count() <= 3 && viewer.multicast_share > 0.5,
            "{}: {}",
            viewer.host,
            viewer.multicast_share
        );
        let suspects = |change: &PathVerdictChange| {
            matches!(change.reason, Some(Reason::QuerierTimeoutSuspected { .. }))
        };
        assert!(viewer.path_verdicts.iter().any(suspects), "{}", viewer.host);
        let lossy = viewer.path_verdicts.iter().find(|change| change.to == PathVerdict::Lossy);
        assert_eq!(lossy, None, "{}: silence is no loss", viewer.host);
    }
}

#[test]
fn multicast_alone_is_enough_also_for_a_newcomer() {
    let scenario = multicast(45, 4, 14);
    let late = scenario.join(HostConfig::default());
    let deeds = [(S * 5, Deed::SetFirewall(Between::All, Firewall::Closed)), (S * 9, late)];
    let report = run(scenario, deeds);
    assert_no_alarm(&report);
    assert_eq!(report.missing().0, 0, "{report}");
    let newcomer = &report.hosts[5];
    assert!(newcomer.joined.is_some_and(|joined| joined < S * 3), "{:?}", newcomer.joined);
    for viewer in report.viewers() {
        assert_eq!(viewer.path(), Some(PathKind::Multicast), "{}", viewer.host);
    }
}

#[test]
fn a_group_that_the_publisher_names_is_heard_without_being_told_of_it() {
    let at = "239.255.9.9:24700".parse().unwrap();
    let scenario = Scenario { multicast: at, ..multicast(47, 0, 10) };
    let untold = Scenario { multicast: MulticastChoice::Auto, ..scenario.clone() };
    let deaf = Scenario { multicast: MulticastChoice::Off, ..scenario.clone() };
    let deeds = [&untold, &untold, &deaf].map(|scenario| (MS * 600, scenario.join(HostConfig::default())));
    let report = run(scenario, deeds);
    let paths: Vec<_> = report.viewers().map(HostReport::path).collect();
    assert_eq!(paths, [PathKind::Multicast, PathKind::Multicast, PathKind::Mesh].map(Some));
}

#[test]
fn unicast_takes_over_when_neither_multicast_nor_other_viewers_are_reached() {
    let (cut, healed) = (S * 5, S * 9);
    let others = Between::Others(PUBLISHER);
    let mut deeds = blocked(Whom::All, Blockade::Everything, cut, healed).to_vec();
    deeds.push((cut, Deed::SetFirewall(others, Firewall::Closed)));
    deeds.push((healed, Deed::SetFirewall(others, Firewall::Open)));
    let report = run(multicast(46, 5, 20), deeds);
    assert_unharmed(&report);
    for viewer in report.viewers() {
        let fell = viewer.paths.iter().find(|change| change.at >= cut && change.to > PathKind::Multicast);
        assert!(fell.is_some_and(|change| change.at <= cut + MS * 600), "{}: {fell:?}", viewer.host);
        assert!(viewer.stats.bytes_received_from_server > 300_000, "{}: 4 s of it", viewer.host);
        assert_eq!(viewer.path(), Some(PathKind::Multicast), "{} returns", viewer.host);
    }
}

#[test]
fn who_asks_for_unicast_gets_all_of_it_from_the_publisher_and_can_go_back() {
    let fall = |to| Deed::Command(HostId(2), Command::Fall { stream: StreamHandle(1), to });
    let deeds = [(S * 5, fall(PathKind::Unicast)), (S * 9, fall(PathKind::Multicast))];
    let report = run(multicast(49, 5, 13), deeds);
    assert_unharmed(&report);
    let viewer = &report.hosts[2];
    let fell = turned(viewer, (PathKind::Multicast, PathKind::Unicast), S * 5..S * 5 + MS * 600);
    assert_eq!(fell.map(|(_, cause)| cause), Some(PathCause::Asked));
    let back = turned(viewer, (PathKind::Unicast, PathKind::Multicast), S * 9..S * 9 + MS * 100);
    assert_eq!(back.map(|(_, cause)| cause), Some(PathCause::Asked));
}

#[test]
fn a_publisher_that_told_all_to_be_full_is_asked_by_nobody() {
    let mut scenario = Scenario { unicast_max: 0, duration: S * 6, ..Scenario::new(52, 30) };
    let fall =
        |host| Deed::Command(HostId(host), Command::Fall { stream: StreamHandle(1), to: PathKind::Unicast });
    scenario.deeds.extend((1..=30).map(|host| (S * 4, fall(host))));
    let mut world = scenario.build().unwrap();
    let told = Rc::new(RefCell::new(BTreeMap::<(bool, String), usize>::new()));
    let sink = Rc::clone(&told);
    world.trace_to(Box::new(move |line| {
        // "4.012345 h7 event 0 0 B 0123456789abcdef PathDue { .., cause: Busy { retry_after: 2s } .. }"
        let words: Vec<&str> = line.split(' ').collect();
        if line.contains("Busy {") {
            *sink.borrow_mut().entry((words[1] == "h0", words[2].to_owned())).or_default() += 1;
        }
    }));
    assert_unharmed(&finish(&mut world, &scenario));
    let (publisher, viewers): (Vec<_>, Vec<_>) =
        told.take().into_iter().partition(|((publisher, _), _)| *publisher);
    assert_eq!(publisher, []);
    assert!(viewers.iter().map(|(_, count)| count).sum::<usize>() >= 30, "{viewers:?}");
}

#[test]
fn who_leaves_just_after_it_asked_for_unicast_is_pushed_nothing_more() {
    let bytes = [false, true].map(|asked| {
        let mut scenario = Scenario { duration: S * 11, ..Scenario::new(50, 5) };
        let to = PathKind::Unicast;
        let fall = Deed::Command(HostId(2), Command::Fall { stream: StreamHandle(1), to });
        scenario.deeds.extend(asked.then_some((S * 5, fall)));
        scenario.deeds.push((S * 5, Deed::Unsubscribe { host: HostId(2) }));
        let mut world = scenario.build().unwrap();
        world.run_until(S * 7);
        let sent = |report: &Report| report.hosts.iter().map(|host| host.sent.wire_bytes).sum::<u64>();
        let before = sent(&Report::of(&world, 50));
        sent(&finish(&mut world, &scenario)) - before
    });
    let [left, asked] = bytes;
    assert!(asked * 20 < left * 21, "{asked} instead of {left} bytes in 4 s for the four that stay");
}

#[test]
fn a_short_buffer_hides_the_way_down_to_unicast_but_for_a_third_of_a_second() {
    let cut = S * 5;
    let mut deeds = blocked(Whom::All, Blockade::Everything, cut, S * 60).to_vec();
    deeds.push((cut, Deed::SetFirewall(Between::Others(PUBLISHER), Firewall::Closed)));
    let scenario = Scenario { playout_delay: MS * 200, ..multicast(47, 5, 9) };
    let report = run(scenario, deeds);
    // 25 pictures a second and 47 units of sound: a third of a second is 24 of them at most.
    for viewer in report.viewers() {
        assert!(viewer.missing <= 24, "{}: {} missing", viewer.host, viewer.missing);
    }
}

#[test]
fn a_multicast_interface_that_goes_and_comes_is_used_again() {
    let deeds = [(S * 5, Deed::Unplug(HostId(2), true)), (S * 6, Deed::Unplug(HostId(2), false))];
    let report = run(multicast(48, 4, 14), deeds);
    assert_eq!(report.hosts[2].path(), Some(PathKind::Multicast));
    assert!(report.hosts[2].said(Verdict::Dead).is_empty());
    let others = report.viewers().filter(|viewer| viewer.host != HostId(2));
    assert_eq!(others.map(|viewer| viewer.missing).sum::<u64>(), 0, "{report}");
}

#[test]
fn a_publisher_beacons_once_a_second_by_the_sessions_of_those_that_multicast_reaches() {
    let control = |viewers| run(multicast(50, viewers, 20), []).hosts[0].stats.control_bytes_to_peers as f64;
    let each = (control(10) - control(2)) / 8.0 / 20.0;
    // A beacon is 120 bytes and more, a have-map 30; four of each a second were 600.
    assert!(each < 300.0, "{each:.0} bytes a second to each");
}
