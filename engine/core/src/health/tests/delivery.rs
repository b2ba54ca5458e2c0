//! Which path is in use, and when the next one is started.

use super::*;
use crate::health::FallbackPolicy;

/// Blocks multicast and the mesh, and returns when the last fragment came.
fn leave_only_the_origin(scene: &mut Scene) -> u64 {
    scene.blocked = vec![PathKind::Multicast, PathKind::Mesh];
    scene.last_fragment()
}

#[test]
fn unicast_is_asked_for_in_time_for_every_playout_delay() {
    for (delay, limit) in [(200, 250), (500, 330), (1000, 420), (3000, 650)] {
        let delay_subscription = Subscription { playout_delay: ms(delay), ..subscription() };
        let mut scene = Scene::running(&delay_subscription);
        let last = leave_only_the_origin(&mut scene);
        scene.run(delay.max(1000));
        let asked = scene.wished(Wish::StartUnicast);
        assert!(asked.len() == 1 && asked[0] <= last + limit, "{asked:?} after {last} with {delay}");
        let switches = scene.switches();
        assert_eq!(switches.len(), 1, "{switches:?}");
        assert_eq!(switches[0].1, PathKind::Unicast);
        assert!(switches[0].0 < asked[0] + 50, "{switches:?}");
        let starved = scene.verdicts().iter().any(|(_, to, _)| *to == Verdict::Starved);
        assert!(delay > 1000 || !starved, "{delay}");
    }
}

#[test]
fn unicast_is_left_when_multicast_heals() {
    let mut scene = Scene::running(&subscription());
    leave_only_the_origin(&mut scene);
    scene.run(5000);
    assert_eq!((scene.path, scene.pushes), (Some(PathKind::Unicast), (false, true)));
    scene.forget();
    let healed = scene.ms();
    scene.blocked.clear();
    scene.run(8000);
    let switches = scene.switches();
    assert_eq!(switches[0].1, PathKind::Multicast, "{switches:?}");
    assert_eq!(switches[0].2, PathCause::Healed);
    assert!((healed + 5000..healed + 5100).contains(&switches[0].0), "{switches:?} after {healed}");
    assert_eq!(scene.pushes, (false, false));
    assert_eq!((scene.verdicts(), scene.paths[2]), (Vec::new(), PathVerdict::Off));
}

#[test]
fn unicast_is_left_for_the_mesh_when_neighbours_are_back() {
    let mut scene = Scene::running(&subscription());
    leave_only_the_origin(&mut scene);
    scene.run(5000);
    scene.forget();
    scene.blocked = vec![PathKind::Multicast];
    scene.run(10_000);
    assert_eq!(scene.switches().iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [PathKind::Mesh]);
    assert_eq!(scene.wished(Wish::StopUnicast).len(), 1);
    assert_eq!((scene.verdicts(), scene.pushes), (Vec::new(), (true, false)));
}

#[test]
fn a_hold_down_doubles_with_each_relapse_up_to_a_minute() {
    let mut scene = Scene::running(&subscription());
    let mut waits = Vec::new();
    for _ in 0..6 {
        scene.blocked = vec![PathKind::Multicast];
        scene.run(2000);
        scene.forget();
        scene.blocked.clear();
        let healed = scene.ms();
        while scene.path != Some(PathKind::Multicast) {
            scene.run(BLOCK);
        }
        waits.push((scene.ms() - healed + 50) / 1000);
    }
    assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    // A minute without a relapse forgives.
    scene.run(61_000);
    scene.blocked = vec![PathKind::Multicast];
    scene.run(2000);
    scene.forget();
    scene.blocked.clear();
    let healed = scene.ms();
    scene.run(5200);
    assert!(scene.switches().first().is_some_and(|(at, ..)| at - healed < 5100));
}

#[test]
fn the_publishers_death_changes_no_path() {
    for multicast in [true, false] {
        let mut scene = Scene::running(&subscription());
        if !multicast {
            scene.blocked = vec![PathKind::Multicast];
            scene.run(5000);
            scene.forget();
        }
        let last = scene.last_fragment();
        scene.wait_among_neighbours(10_000);
        assert_eq!(scene.switches(), []);
        assert_eq!(scene.verdicts()[0].0, last + 500);
        assert!(!scene.multicast().iter().any(|(_, to, _)| *to == PathVerdict::Silent));
    }
}

#[test]
fn a_publisher_that_stops_for_three_seconds_changes_no_path() {
    for first in [Via::Mesh, Via::Multicast(ETH0)] {
        let mut scene = Scene::running(&subscription());
        while scene.wished(Wish::Probe).is_empty() {
            scene.wait_among_neighbours(50);
        }
        assert_eq!(scene.pushes, (false, true), "unicast is tried before it is known who is silent");
        scene.monitor.handle_probe(crate::node::ProbeOutcome::Mute);
        scene.drain();
        assert_eq!(scene.wished(Wish::StopUnicast).len(), 1);
        scene.wait_among_neighbours(2300);
        assert_eq!(scene.wished(Wish::StartUnicast).len(), 1, "nobody is asked who is gone");
        // It goes on, and one path is a little quicker than the other.
        scene.block(&[first]);
        scene.wait(BLOCK);
        scene.run(3000);
        assert_eq!((scene.switches(), scene.verdict), (Vec::new(), Verdict::Live));
        assert_eq!(scene.pushes, (false, false));
    }
}

#[test]
fn a_short_gap_starts_the_mesh_and_parks_it_again() {
    let mut scene = Scene::running(&subscription());
    scene.wait(180);
    scene.run(2000);
    assert_eq!((scene.wished(Wish::ResumeMesh).len(), scene.wished(Wish::ParkMesh).len()), (1, 1));
    assert_eq!((scene.switches(), scene.pushes), (Vec::new(), (false, false)));
}

#[test]
fn blocks_that_are_far_apart_are_not_overdue() {
    // Five pictures a second and nothing else, with 200 ms of playout delay.
    let mut scene = Scene::running(&Subscription { playout_delay: ms(200), ..subscription() });
    for _ in 0..4 {
        scene.block(&[Via::Multicast(ETH0)]);
        scene.wait(200);
    }
    scene.forget();
    for _ in 0..50 {
        scene.block(&[Via::Multicast(ETH0)]);
        scene.wait(200);
    }
    assert_eq!(scene.wished(Wish::ResumeMesh), []);
    assert_eq!(scene.wished(Wish::StartUnicast), []);
}

#[test]
fn a_hole_is_want_enough() {
    let mut scene = Scene::running(&subscription());
    scene.blocked = vec![PathKind::Multicast];
    scene.run(1500);
    assert_eq!(scene.path, Some(PathKind::Mesh));
    scene.forget();
    // Newer blocks come, one before them does not.
    let hole = scene.ms();
    let dry = scene.now.after(ms(1000));
    for _ in 0..30 {
        scene.block += 1;
        scene.monitor.handle_fragment(scene.now, Via::Mesh, BlockId(scene.block), true);
        scene.monitor.handle_buffer(dry, true);
        scene.drain();
        scene.wait(BLOCK);
    }
    let asked = scene.wished(Wish::StartUnicast);
    assert!(asked.len() == 1 && (500..=560).contains(&(asked[0] - hole)), "{asked:?} after {hole}");
}

#[test]
fn viewers_do_not_roll_over_in_the_same_moment() {
    let asked: std::collections::BTreeSet<_> = (0..200)
        .map(|seed| {
            let mut scene = Scene::with_seed(&subscription(), seed * 7919);
            scene.meet(2);
            scene.monitor.handle_opened(scene.now);
            scene.monitor.handle_multicast_up(ETH0, "eth0".into());
            scene.drain();
            scene.run(3000);
            let last = leave_only_the_origin(&mut scene);
            scene.run(800);
            scene.wished(Wish::StartUnicast)[0] - last
        })
        .collect();
    assert!(asked.len() > 20, "{asked:?}");
    assert!(asked.iter().all(|after| (350..=420).contains(after)), "{asked:?}");
}

#[test]
fn busy_is_told_and_asked_again_when_it_said() {
    let mut scene = Scene::running(&subscription());
    leave_only_the_origin(&mut scene);
    scene.blocked.push(PathKind::Unicast);
    scene.run(600);
    let asked = scene.wished(Wish::StartUnicast);
    assert_eq!(asked.len(), 1);
    let busy = PathCause::Busy { retry_after: ms(1500) };
    scene.monitor.handle_unicast_refused(scene.now, busy.clone());
    scene.drain();
    let refused = scene.ms();
    assert_eq!(scene.paths[2], PathVerdict::Refused);
    assert!(
        scene
            .when(|c| matches!(c, Change::PathDue { to: PathKind::Unicast, cause, .. } if *cause == busy))
            .is_some()
    );
    scene.run(2000);
    let again = scene.wished(Wish::StartUnicast);
    assert!(again.len() == 2 && (1500..1600).contains(&(again[1] - refused)), "{again:?} after {refused}");
    // What is not needed any longer is not refused any longer.
    scene.monitor.handle_unicast_refused(scene.now, PathCause::Unreachable);
    scene.drain();
    assert_eq!(scene.paths[2], PathVerdict::Refused);
    scene.blocked.clear();
    scene.pushes = (true, false);
    scene.run(4000);
    assert_eq!(scene.paths[2], PathVerdict::Off);
}

#[test]
fn each_refusal_of_unicast_in_a_row_doubles_the_wait_and_says_so() {
    let mut scene = Scene::running(&subscription());
    leave_only_the_origin(&mut scene);
    scene.blocked.push(PathKind::Unicast);
    let mut refused = 0;
    for _ in 0..400 {
        scene.run(10);
        if scene.wished(Wish::StartUnicast).len() > refused {
            refused += 1;
            scene.monitor.handle_unicast_refused(scene.now, PathCause::Busy { retry_after: ms(1000) });
            scene.drain();
        }
    }
    let asked = scene.wished(Wish::StartUnicast);
    let waits: Vec<_> = asked.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
    assert_eq!(waits, [1, 2], "{asked:?}");
    for wait in [1000, 2000, 4000] {
        let busy = PathCause::Busy { retry_after: ms(wait) };
        let due =
            |c: &Change| matches!(c, Change::PathDue { to: PathKind::Unicast, cause, .. } if *cause == busy);
        assert!(scene.when(due).is_some(), "{wait}: {:?}", scene.told);
    }
}

#[test]
fn manual_announces_and_goes_when_it_is_told() {
    let manual = Subscription { fallback: FallbackPolicy::Manual, ..subscription() };
    let mut scene = Scene::running(&manual);
    let last = leave_only_the_origin(&mut scene);
    scene.run(1500);
    let due =
        |c: &Change| matches!(c, Change::PathDue { to: PathKind::Unicast, cause: PathCause::BufferLow, .. });
    assert!(scene.when(due).is_some_and(|at| at <= last + 360));
    assert_eq!(scene.told.iter().filter(|(_, change)| due(change)).count(), 1);
    assert_eq!(scene.wished(Wish::StartUnicast), []);
    scene.forget();
    scene.monitor.handle_fall(scene.now, PathKind::Unicast);
    scene.drain();
    scene.run(1000);
    assert_eq!(scene.switches().iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [PathKind::Unicast]);
    // It stays there until it is taken back.
    scene.blocked.clear();
    scene.run(10_000);
    assert_eq!(scene.path, Some(PathKind::Unicast));
    scene.monitor.handle_fall(scene.now, PathKind::Multicast);
    scene.drain();
    assert_eq!((scene.path, scene.pushes), (Some(PathKind::Multicast), (false, false)));
}

#[test]
fn off_stays_in_the_swarm() {
    let off = Subscription { fallback: FallbackPolicy::Off, foreign: true, ..subscription() };
    let mut scene = Scene::running(&off);
    leave_only_the_origin(&mut scene);
    scene.run(7000);
    assert_eq!(scene.wished(Wish::StartUnicast), []);
    assert_eq!(scene.switches(), []);
    assert_eq!(scene.closes().len(), 1, "a foreign source that may not be used keeps nothing open");
}

#[test]
fn a_foreign_source_is_the_last_resort_and_is_left_when_the_swarm_heals() {
    let foreign = Subscription { foreign: true, ..subscription() };
    let mut scene = Scene::running(&foreign);
    let last = leave_only_the_origin(&mut scene);
    scene.blocked.push(PathKind::Unicast);
    scene.run(1500);
    let switches = scene.switches();
    assert_eq!(switches.len(), 1, "{switches:?}");
    assert_eq!(switches[0].1, PathKind::Foreign);
    assert!(switches[0].0 <= last + 1000, "{switches:?} after {last}");
    scene.monitor.handle_foreign(scene.now, true);
    scene.run(10_000);
    assert_eq!((scene.verdict, scene.closed), (Verdict::Dead, false));
    scene.forget();
    let healed = scene.ms();
    scene.blocked.clear();
    scene.run(8000);
    let switches = scene.switches();
    assert!(switches[0].0 < healed + 7100, "{switches:?} after {healed}");
    assert_eq!(switches[0].2, PathCause::Healed);
    assert_eq!((scene.path, scene.verdict), (Some(PathKind::Multicast), Verdict::Live));
}

#[test]
fn a_dead_stream_closes_when_its_foreign_source_fails_too() {
    let foreign = Subscription { foreign: true, ..subscription() };
    let mut scene = Scene::running(&foreign);
    scene.wait(6000);
    assert_eq!((scene.verdict, scene.closed, scene.path), (Verdict::Dead, false, Some(PathKind::Foreign)));
    scene.monitor.handle_foreign(scene.now, false);
    scene.wait(1);
    assert!(matches!(scene.closes()[..], [(_, CloseCause::Dead(_))]));
}

#[test]
fn a_viewer_that_never_saw_the_stream_goes_to_its_foreign_source() {
    let mut scene = Scene::new(&Subscription { foreign: true, ..subscription() });
    scene.wait(5000);
    assert_eq!(
        scene.switches().iter().map(|(at, to, _)| (*at, *to)).collect::<Vec<_>>(),
        [(2000, PathKind::Foreign)]
    );
}

#[test]
fn what_is_left_to_the_caller_is_told_once() {
    let manual = Subscription { fallback: FallbackPolicy::Manual, foreign: true, ..subscription() };
    let mut scene = Scene::running(&manual);
    // Copies of what is here already come in all the while: the path delivers, and the stream is dead.
    for _ in 0..200 {
        scene.monitor.handle_fragment(scene.now, Via::Multicast(ETH0), BlockId(scene.block), false);
        scene.wait(50);
    }
    assert_eq!((scene.verdict, scene.paths[0]), (Verdict::Dead, PathVerdict::Delivering));
    let due = |(_, change): &(u64, Change)| match change {
        Change::PathDue { to, .. } => Some(*to),
        _ => None,
    };
    let due: Vec<_> = scene.told.iter().filter_map(due).collect();
    assert_eq!(due, [PathKind::Unicast, PathKind::Foreign]);
}

#[test]
fn a_joiner_whose_neighbours_have_nothing_to_spare_starts_by_unicast() {
    let mut scene = Scene::new(&subscription());
    scene.blocked = vec![PathKind::Multicast, PathKind::Mesh];
    scene.meet(1);
    scene.monitor.handle_opened(scene.now);
    scene.run(3000);
    assert_eq!(scene.wished(Wish::StartUnicast), [500]);
    let switches = scene.switches();
    assert_eq!(
        (switches.len(), switches[0].1, switches[0].2.clone()),
        (1, PathKind::Unicast, PathCause::Started)
    );
    assert_eq!(scene.verdict, Verdict::Live);
}

#[test]
fn an_interface_that_goes_down_takes_its_path_along() {
    let mut scene = Scene::running(&subscription());
    scene.monitor.handle_multicast_down(ETH0);
    scene.drain();
    scene.blocked = vec![PathKind::Multicast];
    scene.run(1000);
    assert_eq!(scene.switches().iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [PathKind::Mesh]);
    assert_eq!((scene.verdicts(), scene.paths[0]), (Vec::new(), PathVerdict::Off));
}
