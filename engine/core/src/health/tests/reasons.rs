//! Why a stream is silent or lossy.

use super::*;
use crate::node::ProbeOutcome;

/// Answers every probe, 100 ms later, while `duration` passes.
fn probe(scene: &mut Scene, duration: u64, outcome: ProbeOutcome, neighbours: bool) {
    let until = scene.ms() + duration;
    let mut answered = scene.wished(Wish::Probe).len();
    while scene.ms() < until {
        if neighbours {
            scene.hear();
        }
        let asked = scene.wished(Wish::Probe);
        if asked.len() > answered && scene.ms() >= asked[answered] + 100 {
            answered += 1;
            scene.monitor.handle_probe(outcome);
            scene.drain();
        }
        scene.wait(50);
    }
}

/// Returns the reason of the one close, and holds that it came at five seconds.
fn reason_of_death(scene: &Scene, last: u64) -> Reason {
    match &scene.closes()[..] {
        [(at, CloseCause::Dead(reason))] => {
            assert_eq!(*at, last + 5000);
            reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

fn silence(outcome: ProbeOutcome, neighbours: bool) -> (Scene, u64) {
    let mut scene = Scene::playing(&subscription(), 3000);
    let last = scene.last_fragment();
    scene.forget();
    probe(&mut scene, 6000, outcome, neighbours);
    (scene, last)
}

#[test]
fn a_killed_or_stopped_publisher_is_gone() {
    for outcome in [ProbeOutcome::Refused, ProbeOutcome::Mute] {
        for neighbours in [true, false] {
            let (scene, last) = silence(outcome, neighbours);
            let verdicts = scene.verdicts();
            assert_eq!(verdicts.len(), 3, "{verdicts:?}");
            assert!(matches!(verdicts[0].2, Some(Reason::Undetermined { .. })));
            assert_eq!(verdicts[1].1, Verdict::Starved, "what was open is told once it is known");
            assert_eq!(verdicts[1].2, Some(Reason::PublisherGone));
            assert!(verdicts[1].0 <= last + 500 + 200 + 150);
            assert_eq!(reason_of_death(&scene, last), Reason::PublisherGone);
        }
    }
}

#[test]
fn a_publishers_host_that_vanished_is_gone_where_neighbours_answer() {
    for outcome in [ProbeOutcome::Silent, ProbeOutcome::NoRoute] {
        let (scene, last) = silence(outcome, true);
        assert_eq!(reason_of_death(&scene, last), Reason::PublisherGone);
        let (scene, last) = silence(outcome, false);
        assert_eq!(reason_of_death(&scene, last), Reason::PartitionedLocal);
    }
}

#[test]
fn one_neighbour_that_falls_silent_tells_nothing() {
    let mut scene = Scene::new(&subscription());
    scene.meet(1);
    scene.play(3000, &[Via::Mesh]);
    let last = scene.last_fragment();
    scene.forget();
    probe(&mut scene, 6000, ProbeOutcome::Silent, false);
    let candidates = vec![Reason::PublisherGone, Reason::PartitionedLocal];
    assert_eq!(reason_of_death(&scene, last), Reason::Undetermined { candidates });
}

#[test]
fn starving_asks_all_and_probes_within_a_fifth_of_a_second() {
    let (scene, last) = silence(ProbeOutcome::Silent, true);
    assert_eq!(scene.wished(Wish::Challenge), [last + 500]);
    let probes = scene.wished(Wish::Probe);
    assert!(probes.len() >= 2 && (500..=700).contains(&(probes[0] - last)), "{probes:?} after {last}");
    assert!(probes.iter().all(|at| *at < last + 5000));
}

#[test]
fn a_publisher_that_others_still_hear_is_not_gone() {
    let mut scene = Scene::playing(&subscription(), 3000);
    let last = scene.last_fragment();
    scene.forget();
    while scene.ms() < last + 5000 {
        scene.block += 1;
        scene.hear();
        scene.beacon(StreamState::Live, false);
        if scene.wished(Wish::Probe).len() == 1 {
            scene.monitor.handle_probe(ProbeOutcome::Refused);
        }
        scene.wait(100);
    }
    assert_eq!(reason_of_death(&scene, last), Reason::ExcessLoss);
}

#[test]
fn udp_is_blocked_where_tcp_answers_and_nothing_else_comes() {
    for (outcome, count, heard, reason) in [
        (ProbeOutcome::Answered, 0, false, Some(Reason::UdpBlocked)),
        (ProbeOutcome::Answered, 3, false, Some(Reason::UdpBlocked)),
        (ProbeOutcome::Forbidden, 3, true, Some(Reason::UdpBlocked)),
        (ProbeOutcome::Answered, 3, true, None),
    ] {
        let mut scene = Scene::playing(&subscription(), 3000);
        let last = scene.last_fragment();
        scene.meet(count);
        scene.forget();
        probe(&mut scene, 6000, outcome, heard);
        match (reason_of_death(&scene, last), reason) {
            (Reason::Undetermined { candidates }, None) => {
                assert_eq!(candidates, [Reason::UdpBlocked, Reason::ExcessLoss]);
            }
            (found, expected) => assert_eq!(Some(found), expected),
        }
    }
}

#[test]
fn no_interface_is_no_network_before_all_else() {
    let mut scene = Scene::playing(&subscription(), 3000);
    let last = scene.last_fragment();
    scene.monitor.handle_network(false);
    scene.forget();
    probe(&mut scene, 6000, ProbeOutcome::NoRoute, false);
    assert_eq!(scene.verdicts()[0], (last + 500, Verdict::Starved, Some(Reason::NetworkDown)));
    assert_eq!(reason_of_death(&scene, last), Reason::NetworkDown);
}

#[test]
fn a_stalled_process_starves_nobody_and_blames_nobody() {
    for stall in [200, 500, 3000, 20_000] {
        let mut scene = Scene::playing(&subscription(), 3000);
        scene.forget();
        // The driver notices before anything else is done with the late time.
        scene.now = scene.now.after(ms(stall));
        scene.monitor.handle_stalled(scene.now, ms(stall));
        scene.drain();
        scene.play(3000, &[Via::Multicast(ETH0), Via::Mesh]);
        assert_eq!(scene.verdicts(), [], "{stall}");
        assert_eq!((scene.switches(), scene.wished(Wish::StartUnicast)), (Vec::new(), Vec::new()), "{stall}");
    }
}

#[test]
fn what_a_stalled_process_misses_is_its_own_fault() {
    for stall in [200, 500] {
        let mut scene = Scene::playing(&subscription(), 3000);
        scene.forget();
        scene.now = scene.now.after(ms(stall));
        scene.monitor.handle_stalled(scene.now, ms(stall));
        scene.play(900, &[Via::Multicast(ETH0), Via::Mesh]);
        scene.monitor.handle_lost(scene.now);
        scene.drain();
        assert_eq!(scene.verdicts()[0].2, Some(Reason::Overrun));
        // And silence behind a stall is charged to it as well.
        scene.play(4000, &[Via::Mesh]);
        scene.forget();
        scene.now = scene.now.after(ms(stall));
        scene.monitor.handle_stalled(scene.now, ms(stall));
        scene.wait(600);
        let verdicts = scene.verdicts();
        assert_eq!((verdicts[0].1, verdicts[0].2.clone()), (Verdict::Starved, Some(Reason::Overrun)));
    }
}

#[test]
fn one_short_stall_does_not_explain_a_death() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.now = scene.now.after(ms(250));
    scene.monitor.handle_stalled(scene.now, ms(250));
    scene.drain();
    let last = scene.last_fragment();
    probe(&mut scene, 6000, ProbeOutcome::Refused, true);
    assert_eq!(reason_of_death(&scene, last), Reason::PublisherGone);
}

#[test]
fn a_receive_buffer_that_overflows_is_this_hosts_fault() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.forget();
    scene.monitor.handle_overflow(scene.now);
    scene.play(1000, &[Via::Mesh]);
    // What was dropped is missed a playout delay later.
    scene.monitor.handle_lost(scene.now);
    scene.drain();
    assert_eq!(scene.verdicts()[0].2, Some(Reason::Overrun));
    scene.play(9000, &[Via::Mesh]);
    scene.monitor.handle_lost(scene.now);
    scene.drain();
    assert_eq!(scene.verdicts().last().and_then(|(.., reason)| reason.clone()), Some(Reason::ExcessLoss));
}

#[test]
fn forgeries_alone_change_no_verdict_and_explain_a_silence_when_they_prevail() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.forget();
    for _ in 0..60 {
        (0..100).for_each(|_| scene.monitor.handle_forged(scene.now));
        scene.drain();
        scene.play(BLOCK, &[Via::Multicast(ETH0)]);
    }
    assert_eq!(scene.verdicts(), []);
    // Beacons still come, so the publisher lives; of what is called media, most is forged, or little is.
    for (copies, reason) in [(19, Reason::AuthFailures), (21, Reason::ExcessLoss)] {
        let mut scene = Scene::playing(&subscription(), 3000);
        let last = scene.last_fragment();
        while scene.ms() < last + 5000 {
            (0..20).for_each(|_| scene.monitor.handle_forged(scene.now));
            let copy = BlockId(scene.block);
            (0..copies).for_each(|_| scene.monitor.handle_fragment(scene.now, Via::Mesh, copy, false));
            scene.beacon(StreamState::Live, false);
            scene.wait(100);
        }
        assert_eq!(reason_of_death(&scene, last), reason);
    }
}

#[test]
fn what_is_not_found_is_told_apart() {
    let find = Subscription { find_within: Some(ms(5000)), ..subscription() };
    let reason = |prepare: &dyn Fn(&mut Scene), outcome: Option<ProbeOutcome>| {
        let mut scene = Scene::new(&find);
        prepare(&mut scene);
        match outcome {
            Some(outcome) => probe(&mut scene, 6000, outcome, false),
            None => scene.wait(6000),
        }
        reason_of_death(&scene, 0)
    };
    let nobody = Reason::NoReachablePeers { attempted: 0, why: Unreached::NobodyFound };
    let no_answer = Reason::NoReachablePeers { attempted: 4, why: Unreached::NoAnswer };
    assert_eq!(reason(&|_| (), None), nobody);
    assert_eq!(reason(&|scene| scene.meet(0), Some(ProbeOutcome::Silent)), no_answer);
    assert_eq!(reason(&|scene| scene.meet(2), None), Reason::NoSuchStream);
    assert_eq!(reason(&|scene| scene.meet(0), Some(ProbeOutcome::Answered)), Reason::UdpBlocked);
    assert_eq!(reason(&|scene| scene.meet(0), Some(ProbeOutcome::Forbidden)), Reason::UdpBlocked);
    assert_eq!(reason(&|scene| scene.monitor.handle_network(false), None), Reason::NetworkDown);
    let offered = |scene: &mut Scene| {
        scene.meet(2);
        scene.monitor.handle_offered(scene.now);
    };
    assert_eq!(reason(&offered, Some(ProbeOutcome::Refused)), Reason::PublisherGone);
}
