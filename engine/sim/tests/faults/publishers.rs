//! What viewers are told of a publisher that is killed, stopped, silent, ended, restarted or impersonated.

use swarmcast_core::health::{PathKind, Reason};
use swarmcast_core::node::CloseCause;
use swarmcast_sim::dice::Dice;
use swarmcast_sim::link::{LinkModel, LossModel};
use swarmcast_sim::network::{Between, Firewall, HostId};
use swarmcast_sim::scenario::PUBLISHER;
use swarmcast_sim::workload::DataModel;
use swarmcast_sim::world::{HostConfig, Transmission};

use super::*;

/// By multicast and by the mesh alone.
fn both(seed: u64, viewers: u32, seconds: u32) -> [Scenario; 2] {
    let by_multicast = multicast(seed, viewers, seconds);
    let by_mesh = Scenario { multicast: Default::default(), ..by_multicast.clone() };
    let by_mesh = Scenario { multicast: swarmcast_core::multicast::MulticastChoice::Off, ..by_mesh };
    [by_multicast, by_mesh]
}

#[test]
fn a_killed_publisher_is_starved_within_a_second_and_dead_after_five() {
    for scenario in both(60, 6, 14) {
        let killed = S * 6;
        let report = run(scenario, [(killed, Deed::Kill(PUBLISHER))]);
        assert_eq!(report.missing().0, 0, "{report}");
        for viewer in report.viewers() {
            let (starved, dead) = (viewer.said(Verdict::Starved), viewer.said(Verdict::Dead));
            assert_eq!((starved.len(), dead.len()), (1, 1), "{}", viewer.host);
            assert!(starved[0] <= killed + MS * 1_200, "{}: {starved:?}", viewer.host);
            // The last fragment may have come 40 ms before.
            let due = killed + S * 5 - MS * 40..killed + S * 6;
            assert!(due.contains(&dead[0]), "{}: {dead:?}", viewer.host);
            assert_eq!(viewer.closed, Some(CloseCause::Dead(Reason::PublisherGone)), "{}", viewer.host);
        }
    }
}

#[test]
fn a_stopped_publisher_that_goes_on_is_live_within_a_second() {
    for scenario in both(61, 6, 16) {
        let (stopped, goes_on) = (S * 6, S * 9);
        let report = run(scenario, [(stopped, Deed::Pause(PUBLISHER, S * 3))]);
        for viewer in report.viewers() {
            assert_eq!(viewer.said(Verdict::Starved).len(), 1, "{}", viewer.host);
            assert!(viewer.said(Verdict::Dead).is_empty() && viewer.closed.is_none(), "{}", viewer.host);
            let live = viewer.said(Verdict::Live);
            assert!(live.iter().any(|at| (goes_on..goes_on + S).contains(at)), "{}: {live:?}", viewer.host);
        }
    }
}

#[test]
fn an_ended_stream_is_drained_and_closed_once_without_alarm() {
    for scenario in both(62, 6, 12) {
        let report = run(scenario, [(S * 6, Deed::Leave(PUBLISHER))]);
        assert_unharmed(&report);
        assert!(report.viewers().all(|viewer| viewer.closed == Some(CloseCause::Ended)), "{report}");
    }
}

#[test]
fn the_end_reaches_who_lost_a_fifth_and_who_was_cut_off() {
    let scenario = multicast(63, 4, 16);
    let lossy = LinkModel { loss: LossModel::Random(0.2), ..LinkModel::default() };
    let mut deeds: Vec<_> =
        [0, 1, 2, 4].map(|other| (S * 3, Deed::SetLink(HostId(3), HostId(other), lossy))).into();
    deeds.extend([(S * 6, Deed::Cut(HostId(2), true)), (S * 8, Deed::Cut(HostId(2), false))]);
    deeds.push((S * 7 + MS * 500, Deed::Leave(PUBLISHER)));
    let report = run(scenario, deeds);
    assert!(report.viewers().all(|viewer| viewer.closed == Some(CloseCause::Ended)), "{report}");
}

#[test]
fn what_was_made_while_a_viewer_was_cut_off_is_played_late_up_to_the_end() {
    for phase in 0..8 {
        let (cut, healed) = (S * 4, S * 6);
        let end = healed - MS * 500 + MS * 125 * phase;
        let deeds = [
            (cut, Deed::Cut(HostId(2), true)),
            (healed, Deed::Cut(HostId(2), false)),
            (end, Deed::Leave(PUBLISHER)),
        ];
        let report = run(Scenario { workload: slim(), ..multicast(65, 3, 12) }, deeds);
        let viewer = &report.hosts[2];
        assert_eq!(
            (viewer.closed.clone(), viewer.missing),
            (Some(CloseCause::Ended), 0),
            "{phase}: {report}"
        );
        assert_eq!(viewer.said(Verdict::Starved).len(), 1);
        let newest: Vec<_> = report.viewers().map(|viewer| viewer.stats.newest).collect();
        assert!(newest[0].is_some() && newest.iter().all(|one| *one == newest[0]), "{newest:?}");
    }
}

#[test]
fn a_silent_source_is_a_pause_without_alarm_or_fallback() {
    for scenario in both(64, 5, 18) {
        let kind =
            if scenario.multicast == Default::default() { PathKind::Multicast } else { PathKind::Mesh };
        let report = run(scenario, [(S * 6, Deed::PauseSource(PUBLISHER, S * 7))]);
        assert_unharmed(&report);
        for viewer in report.viewers() {
            assert_eq!(viewer.said(Verdict::Paused).len(), 1, "{}", viewer.host);
            let turns = viewer.paths.iter().filter(|change| change.at > S * 4).count();
            assert_eq!((turns, viewer.path()), (0, Some(kind)), "{}", viewer.host);
            assert!(viewer.said(Verdict::Live).last() > Some(&(S * 13)), "{}", viewer.host);
        }
    }
}

#[test]
fn a_source_of_one_unit_a_second_is_no_alarm() {
    let mut scenario = multicast(65, 3, 20);
    scenario.workload.video = None;
    scenario.workload.audio = None;
    scenario.workload.data = Some(DataModel { every: S, bytes: 400 });
    assert_unharmed(&run(scenario, []));
}

fn again(scenario: &Scenario, key_seed: [u8; 32]) -> Deed {
    let transmission = Box::new(Transmission { key_seed, ..scenario.transmission() });
    Deed::Serve { config: Box::new(HostConfig::default()), transmission }
}

#[test]
fn a_publisher_that_is_back_after_two_seconds_is_one_reset() {
    for scenario in both(66, 5, 16) {
        let back = again(&scenario, scenario.key_seed);
        let report = run(scenario, [(S * 6, Deed::Kill(PUBLISHER)), (S * 8, back)]);
        for viewer in report.viewers() {
            assert_eq!((viewer.resets, viewer.closed.clone()), (1, None), "{}", viewer.host);
            let live = viewer.said(Verdict::Live);
            assert!(
                live.iter().any(|at| (S * 8..S * 9 + MS * 500).contains(at)),
                "{}: {live:?}",
                viewer.host
            );
        }
    }
}

#[test]
fn who_waits_plays_on_when_the_publisher_is_back_after_ten_seconds() {
    for scenario in both(67, 5, 26) {
        let scenario = Scenario { waits: true, ..scenario };
        let back = again(&scenario, scenario.key_seed);
        let report = run(scenario, [(S * 6, Deed::Kill(PUBLISHER)), (S * 16, back)]);
        for viewer in report.viewers() {
            assert_eq!((viewer.resets, viewer.closed.clone()), (1, None), "{}", viewer.host);
            assert_eq!(viewer.said(Verdict::Dead).len(), 1, "{}", viewer.host);
            let live = viewer.said(Verdict::Live);
            assert!(live.iter().any(|at| (S * 16..S * 18).contains(at)), "{}: {live:?}", viewer.host);
        }
    }
}

#[test]
fn another_key_under_the_name_is_not_played() {
    for scenario in both(68, 5, 16) {
        let other = again(&scenario, Dice::new(99).key());
        let report = run(scenario, [(S * 4, other), (S * 8, Deed::Kill(PUBLISHER))]);
        assert_eq!(report.missing().0, 0, "{report}");
        for viewer in report.viewers() {
            assert_eq!(viewer.resets, 0, "{}", viewer.host);
            assert_eq!(viewer.closed, Some(CloseCause::Dead(Reason::PublisherGone)), "{}", viewer.host);
        }
    }
}

#[test]
fn who_is_cut_off_does_not_blame_the_publisher() {
    let scenario = multicast(69, 5, 18);
    let cut = [(S * 6, Deed::Unplug(HostId(2), true)), (S * 6, Deed::Cut(HostId(3), true))];
    let report = run(scenario, cut);
    let closed = |host: usize| report.hosts[host].closed.clone();
    assert_eq!(closed(2), Some(CloseCause::Dead(Reason::NetworkDown)));
    assert_eq!(closed(3), Some(CloseCause::Dead(Reason::PartitionedLocal)));
    assert!([1, 4, 5].into_iter().all(|host| closed(host).is_none()), "{report}");
}

#[test]
fn blocked_udp_is_named() {
    let mut scenario = multicast(70, 3, 18);
    scenario.multicast = swarmcast_core::multicast::MulticastChoice::Off;
    let report = run(scenario, [(S * 6, Deed::SetFirewall(Between::All, Firewall::Udp))]);
    for viewer in report.viewers() {
        assert_eq!(viewer.closed, Some(CloseCause::Dead(Reason::UdpBlocked)), "{}", viewer.host);
    }
}

#[test]
fn a_starved_processor_is_charged_to_nobody_else() {
    for scenario in both(71, 5, 16) {
        let deeds = [(S * 6, Deed::Pause(HostId(2), MS * 200)), (S * 9, Deed::Pause(HostId(3), MS * 500))];
        let report = run(scenario, deeds);
        for viewer in report.viewers() {
            assert!(viewer.said(Verdict::Dead).is_empty(), "{}", viewer.host);
            let blamed = viewer.verdicts.iter().filter_map(|change| change.reason.as_ref());
            assert!(blamed.into_iter().all(|reason| *reason == Reason::Overrun), "{}", viewer.host);
        }
        assert_eq!(report.missing().0, 0, "{report}");
    }
}
