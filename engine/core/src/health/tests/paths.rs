//! Verdicts on paths, and what is done about a silent one.

use super::*;

fn blocked() -> Option<Reason> {
    Some(Reason::MulticastBlocked { interface: "eth0".into() })
}

fn silent() -> PathCause {
    PathCause::MulticastSilent { interface: "eth0".into() }
}

#[test]
fn multicast_is_proven_by_media_and_parks_the_mesh() {
    let mut scene = Scene::new(&subscription());
    scene.meet(3);
    scene.monitor.handle_opened(scene.now);
    scene.monitor.handle_multicast_up(ETH0, "eth0".into());
    scene.drain();
    scene.multicast_beacon();
    scene.run(3000);
    let verdicts: Vec<_> = scene.multicast().into_iter().map(|(_, to, _)| to).collect();
    assert_eq!(verdicts, [PathVerdict::Joining, PathVerdict::Standby, PathVerdict::Delivering]);
    assert_eq!(scene.switches(), [(0, PathKind::Multicast, PathCause::Started)]);
    assert_eq!(scene.wished(Wish::ParkMesh).len(), 1);
    assert_eq!(scene.paths[1], PathVerdict::Standby);
}

#[test]
fn blocked_multicast_is_named_within_half_a_second_and_comes_back_after_the_hold_down() {
    let mut scene = Scene::running(&subscription());
    let last = scene.last_fragment();
    scene.blocked = vec![PathKind::Multicast];
    scene.run(12_000);
    let resumed = scene.wished(Wish::ResumeMesh);
    assert!(resumed.len() == 1 && resumed[0] <= last + 140, "{resumed:?} after {last}");
    let multicast = scene.multicast();
    assert!(multicast.len() == 1 && multicast[0].0 < last + 300, "{multicast:?} after {last}");
    assert_eq!((multicast[0].1, multicast[0].2.clone()), (PathVerdict::Silent, blocked()));
    let switches = scene.switches();
    assert!(switches.len() == 1 && switches[0].0 < last + 300, "{switches:?} after {last}");
    assert_eq!((switches[0].1, switches[0].2.clone()), (PathKind::Mesh, silent()));
    let rejoins: Vec<_> = scene.wished(Wish::Rejoin(ETH0)).iter().map(|at| (at - last) / 100).collect();
    assert_eq!(rejoins, [5, 55, 105]);
    assert_eq!(scene.verdicts(), []);

    scene.forget();
    let healed = scene.ms();
    scene.blocked.clear();
    scene.run(8000);
    let switches = scene.switches();
    assert_eq!(switches.len(), 1, "{switches:?}");
    assert_eq!((switches[0].1, switches[0].2.clone()), (PathKind::Multicast, PathCause::Healed));
    assert!((healed + 5000..healed + 5100).contains(&switches[0].0), "{switches:?} after {healed}");
    assert_eq!(scene.pushes, (false, false));
    assert_eq!(scene.verdicts(), []);
}

#[test]
fn beacons_that_pass_do_not_excuse_media_that_does_not() {
    let mut scene = Scene::running(&subscription());
    let last = scene.last_fragment();
    scene.blocked = vec![PathKind::Multicast];
    for _ in 0..20 {
        scene.multicast_beacon();
        scene.run(250);
    }
    let multicast = scene.multicast();
    assert!(multicast.len() == 1 && multicast[0].0 < last + 400, "{multicast:?} after {last}");
    assert_eq!((multicast[0].1, multicast[0].2.clone()), (PathVerdict::Silent, blocked()));
}

#[test]
fn a_membership_that_joining_again_restored_had_no_querier() {
    let mut scene = Scene::running(&subscription());
    scene.blocked = vec![PathKind::Multicast];
    let last = scene.last_fragment();
    while scene.wished(Wish::Rejoin(ETH0)).is_empty() {
        scene.run(BLOCK);
    }
    scene.blocked.clear();
    scene.run(1000);
    let multicast = scene.multicast();
    assert_eq!(multicast.len(), 2, "{multicast:?}");
    let suspected = Reason::QuerierTimeoutSuspected { interface: "eth0".into() };
    assert_eq!((multicast[1].1, multicast[1].2.clone()), (PathVerdict::Delivering, Some(suspected)));
    assert!(multicast[1].0 < last + 1000);
    assert_eq!(scene.verdicts(), []);
}

#[test]
fn multicast_that_heals_by_itself_raises_no_suspicion() {
    let mut scene = Scene::running(&subscription());
    scene.blocked = vec![PathKind::Multicast];
    scene.run(3000);
    scene.blocked.clear();
    scene.run(1000);
    let multicast = scene.multicast();
    assert_eq!((multicast[1].1, multicast[1].2.clone()), (PathVerdict::Delivering, None));
}

#[test]
fn one_interface_of_two_may_fall_silent_unnoticed_and_is_joined_again() {
    let wlan = PathId(8);
    let mut scene = Scene::running(&subscription());
    scene.monitor.handle_multicast_up(wlan, "wlan0".into());
    scene.drain();
    scene.block(&[Via::Multicast(ETH0), Via::Multicast(wlan)]);
    scene.run(2000);
    assert_eq!((scene.multicast(), scene.switches()), (Vec::new(), Vec::new()));
    assert_eq!(scene.wished(Wish::Rejoin(wlan)).len(), 1);
    assert_eq!(scene.wished(Wish::Rejoin(ETH0)), []);
    // The other goes down: what is left is silent, and has a name.
    scene.monitor.handle_multicast_down(ETH0);
    scene.blocked = vec![PathKind::Multicast];
    scene.run(1000);
    let reason = Some(Reason::MulticastBlocked { interface: "wlan0".into() });
    assert_eq!(
        scene.multicast().last().map(|(_, to, why)| (*to, why.clone())),
        Some((PathVerdict::Silent, reason))
    );
    assert_eq!(scene.path, Some(PathKind::Mesh));
}

#[test]
fn lossy_multicast_leaves_the_stream_to_the_mesh() {
    let mut scene = Scene::running(&subscription());
    scene.monitor.handle_multicast_loss(ETH0, 0.14);
    scene.run(1000);
    assert_eq!(scene.multicast(), []);
    scene.monitor.handle_multicast_loss(ETH0, 0.16);
    scene.run(1000);
    let multicast = scene.multicast();
    assert_eq!((multicast[0].1, multicast[0].2.clone()), (PathVerdict::Lossy, Some(Reason::ExcessLoss)));
    assert_eq!(scene.pushes, (true, false));
    // What the mesh brings first is of use; multicast's copy is not.
    scene.play(500, &[Via::Mesh, Via::Multicast(ETH0)]);
    let lossy = PathCause::MulticastLossy { interface: "eth0".into() };
    assert_eq!(
        scene.switches().first().map(|(_, to, why)| (*to, why.clone())),
        Some((PathKind::Mesh, lossy))
    );
    scene.monitor.handle_multicast_loss(ETH0, 0.05);
    scene.run(7000);
    assert_eq!(scene.path, Some(PathKind::Multicast));
}

#[test]
fn beacons_only_are_no_fault_of_the_network() {
    let mut scene = Scene::running(&subscription());
    scene.monitor.handle_multicast_rest();
    scene.blocked = vec![PathKind::Multicast];
    for _ in 0..12 {
        scene.multicast_beacon();
        scene.run(250);
    }
    let multicast = scene.multicast();
    assert_eq!(multicast.len(), 1, "{multicast:?}");
    assert_eq!((multicast[0].1, multicast[0].2.clone()), (PathVerdict::Standby, None));
    assert_eq!(scene.path, Some(PathKind::Mesh));
}

#[test]
fn sessions_that_are_blocked_are_no_fault_of_multicast() {
    let mut scene = Scene::running(&subscription());
    scene.blocked = vec![PathKind::Mesh, PathKind::Unicast];
    scene.meet(0);
    scene.run(8000);
    assert_eq!((scene.verdicts(), scene.switches(), scene.multicast()), (Vec::new(), Vec::new(), Vec::new()));
    assert_eq!(scene.paths[1], PathVerdict::Joining);
}

#[test]
fn a_repair_of_the_last_block_is_no_proof_that_others_advance() {
    let mut scene = Scene::running(&subscription());
    // The publisher is gone, and a neighbour has the one block more that this node lost.
    scene.wait(60);
    scene.monitor.handle_fragment(scene.now, Via::Mesh, BlockId(scene.block + 1), true);
    scene.drain();
    scene.wait(4000);
    let silent = |(_, to, _): &(u64, PathVerdict, Option<Reason>)| *to == PathVerdict::Silent;
    assert!(!scene.multicast().iter().any(silent), "{:?}", scene.multicast());
    assert_eq!(scene.switches(), []);
}

#[test]
fn repair_by_neighbours_that_are_parked_is_no_delivery() {
    let mut scene = Scene::running(&subscription());
    for _ in 0..20 {
        scene.monitor.handle_fragment(scene.now, Via::Mesh, BlockId(scene.block), true);
        scene.drain();
        scene.run(200);
    }
    assert_eq!((scene.paths[1], scene.told.len()), (PathVerdict::Standby, 0), "{:?}", scene.told);
}
