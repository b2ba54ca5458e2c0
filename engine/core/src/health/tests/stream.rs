//! Verdicts on the stream, and the end of the subscription.

use super::*;
use crate::health::{ControlPlane, Health};
use crate::ids::MediaTime;

#[test]
fn a_fragment_makes_live_and_nothing_else_does() {
    let mut scene = Scene::new(&subscription());
    scene.meet(3);
    scene.monitor.handle_offered(scene.now);
    scene.monitor.handle_opened(scene.now);
    scene.monitor.handle_multicast_up(ETH0, "eth0".into());
    scene.drain();
    for _ in 0..8 {
        scene.beacon(StreamState::Live, false);
        scene.multicast_beacon();
        scene.hear();
        scene.wait(250);
    }
    assert_eq!(scene.verdict, Verdict::Joining);
    assert_eq!(scene.paths[0], PathVerdict::Standby);
    scene.block(&[Via::Mesh]);
    assert_eq!(scene.verdict, Verdict::Live);
    assert_eq!(scene.verdicts().len(), 1);
}

#[test]
fn a_duplicate_keeps_nothing_alive() {
    let mut scene = Scene::playing(&subscription(), 3000);
    let last = scene.ms();
    for _ in 0..20 {
        scene.monitor.handle_fragment(scene.now, Via::Mesh, BlockId(1), false);
        scene.wait(50);
    }
    assert_eq!(scene.verdict, Verdict::Starved);
    let starved = scene.verdicts().last().map(|(at, ..)| *at).expect("it starved");
    assert!((last + 450..=last + 510).contains(&starved), "{starved} after {last}");
}

#[test]
fn a_stream_starves_after_half_a_second_and_dies_after_five() {
    let mut scene = Scene::playing(&subscription(), 3000);
    let last = scene.monitor.health(scene.now).last_fragment.expect("it played").0 / 1000;
    scene.forget();
    scene.wait(10_000);
    let verdicts: Vec<_> = scene.verdicts().iter().map(|(at, to, _)| (*at - last, *to)).collect();
    assert_eq!(verdicts, [(500, Verdict::Starved), (5000, Verdict::Dead)]);
    assert_eq!(scene.closes().len(), 1);
    assert_eq!(scene.monitor.next_timeout(scene.now), None);
}

#[test]
fn a_pause_excuses_silence_while_beacons_come() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.forget();
    scene.wait(200);
    for _ in 0..40 {
        scene.beacon(StreamState::Paused, true);
        scene.multicast_beacon();
        scene.wait(250);
    }
    assert_eq!(scene.verdicts().iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [Verdict::Paused]);
    // What was begun before the pause was told of is all that is done.
    assert!(!scene.told.iter().any(|(at, change)| {
        *at > 3300 && matches!(change, Change::Path { .. } | Change::Wish(Wish::StartUnicast | Wish::Probe))
    }));
    // The publisher dies in its pause.
    scene.forget();
    let made = scene.ms() - 250;
    scene.wait(10_000);
    let verdicts: Vec<_> = scene.verdicts().iter().map(|(at, to, _)| (*at - made, *to)).collect();
    assert_eq!(verdicts, [(900, Verdict::Starved), (5000, Verdict::Dead)]);
}

#[test]
fn a_pause_ends_with_the_next_fragment_and_its_beacon_is_no_proof_of_life() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.wait(200);
    scene.beacon(StreamState::Paused, true);
    assert_eq!(scene.verdict, Verdict::Paused);
    // The fragment overtakes the beacon that announces it.
    scene.wait(100);
    scene.block(&[Via::Mesh]);
    assert_eq!(scene.verdict, Verdict::Live);
    scene.wait(200);
    scene.beacon(StreamState::Paused, true);
    assert_eq!(scene.verdict, Verdict::Paused);
    // The publisher says that it goes on, and nothing comes.
    scene.wait(200);
    scene.beacon(StreamState::Live, false);
    assert_eq!(scene.verdict, Verdict::Paused);
    scene.wait(499);
    assert_eq!(scene.verdict, Verdict::Paused);
    scene.wait(1);
    assert_eq!(scene.verdict, Verdict::Starved);
}

#[test]
fn a_pause_with_something_missing_is_no_pause() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.wait(200);
    scene.beacon(StreamState::Paused, false);
    assert_eq!(scene.verdict, Verdict::Live);
    scene.wait(600);
    assert_eq!(scene.verdict, Verdict::Live, "the beacon excuses silence all the same");
    scene.beacon(StreamState::Paused, true);
    assert_eq!(scene.verdict, Verdict::Paused);
}

#[test]
fn losses_degrade_and_two_clean_seconds_mend() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.forget();
    for _ in 0..3 {
        scene.monitor.handle_lost(scene.now);
        scene.drain();
        scene.play(990, &[Via::Multicast(ETH0)]);
    }
    let last = scene.ms() - 990;
    scene.play(3000, &[Via::Multicast(ETH0)]);
    let verdicts = scene.verdicts();
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert_eq!(verdicts[0].1, Verdict::Degraded);
    assert_eq!(verdicts[0].2, Some(Reason::ExcessLoss));
    assert_eq!((verdicts[1].1, verdicts[1].0 / 10), (Verdict::Live, (last + 2000) / 10));
}

#[test]
fn excess_loss_never_reads_starved() {
    let mut scene = Scene::playing(&subscription(), 3000);
    for _ in 0..30 {
        scene.block(&[Via::Mesh]);
        for _ in 0..9 {
            scene.monitor.handle_lost(scene.now);
            scene.drain();
            scene.wait(45);
        }
    }
    assert!(scene.verdicts().iter().all(|(_, to, _)| *to != Verdict::Starved));
    assert_eq!(scene.verdict, Verdict::Degraded);
}

#[test]
fn a_dead_stream_that_is_waited_for_comes_back() {
    let mut scene = Scene::playing(&Subscription { waits: true, ..subscription() }, 3000);
    scene.wait(8000);
    assert_eq!((scene.verdict, scene.closed), (Verdict::Dead, false));
    scene.forget();
    scene.block(&[Via::Mesh]);
    assert_eq!(scene.verdicts().iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [Verdict::Live]);
}

#[test]
fn a_restart_begins_anew_and_has_its_own_five_seconds() {
    let mut scene = Scene::playing(&Subscription { waits: true, ..subscription() }, 3000);
    scene.wait(7000);
    scene.monitor.handle_reset(scene.now);
    scene.drain();
    assert_eq!(scene.verdict, Verdict::Joining);
    let reset = scene.ms();
    scene.wait(4999);
    assert_eq!(scene.verdict, Verdict::Joining);
    scene.wait(1);
    assert_eq!((scene.verdict, scene.ms() - reset), (Verdict::Dead, 5000));
    scene.monitor.handle_reset(scene.now);
    scene.drain();
    scene.block = 0;
    scene.block(&[Via::Multicast(ETH0)]);
    assert_eq!(scene.verdict, Verdict::Live);
}

#[test]
fn what_comes_of_two_runs_between_two_looks_is_told_apart() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.monitor.handle_fragment(scene.now, Via::Mesh, BlockId(500), true);
    scene.monitor.handle_reset(scene.now);
    scene.drain();
    assert_eq!(scene.verdict, Verdict::Joining);
    scene.monitor.handle_reset(scene.now);
    scene.monitor.handle_fragment(scene.now, Via::Mesh, BlockId(0), true);
    scene.drain();
    assert_eq!(scene.verdict, Verdict::Live);
}

#[test]
fn an_ended_stream_drains_without_alarm_and_closes_once() {
    let slow = Subscription { playout_delay: Duration::from_secs(4), ..subscription() };
    let mut scene = Scene::playing(&slow, 3000);
    scene.forget();
    scene.beacon(StreamState::Ended, false);
    scene.wait(4000);
    assert_eq!(scene.verdicts(), []);
    scene.monitor.handle_drained();
    scene.drain();
    assert_eq!(scene.verdict, Verdict::Ended);
    assert_eq!(scene.closes().into_iter().map(|(_, cause)| cause).collect::<Vec<_>>(), [CloseCause::Ended]);
    scene.monitor.handle_left();
    scene.monitor.handle_drained();
    scene.wait(10_000);
    assert_eq!(scene.closes().len(), 1);
}

#[test]
fn the_callers_leave_and_a_rivals_name_close_with_their_cause() {
    for (leave, cause) in [(true, CloseCause::Local), (false, CloseCause::Refused)] {
        let mut scene = Scene::new(&subscription());
        if leave {
            scene.monitor.handle_left()
        } else {
            scene.monitor.handle_rejected()
        }
        scene.drain();
        assert_eq!(scene.closes(), [(0, cause)]);
    }
}

#[test]
fn a_joiner_waits_as_long_as_it_was_told() {
    let mut patient = Scene::new(&subscription());
    patient.meet(2);
    patient.wait(60_000);
    assert_eq!(patient.verdicts(), []);
    let mut limited = Scene::new(&Subscription { find_within: Some(ms(3000)), ..subscription() });
    limited.meet(2);
    limited.wait(60_000);
    assert_eq!(limited.verdicts(), [(3000, Verdict::Dead, Some(Reason::NoSuchStream))]);
    assert_eq!(limited.closes(), [(3000, CloseCause::Dead(Reason::NoSuchStream))]);
}

#[test]
fn the_control_plane_is_lost_and_restored_without_a_word_on_the_stream() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.forget();
    scene.meet(0);
    scene.play(3000, &[Via::Multicast(ETH0)]);
    scene.meet(1);
    let planes: Vec<_> = scene
        .told
        .iter()
        .filter_map(|(_, change)| match change {
            Change::ControlPlane(to) => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(planes, [ControlPlane::Lost, ControlPlane::Up]);
    assert_eq!(scene.verdicts(), []);
}

#[test]
fn a_value_that_is_not_renewed_accuses_this_process() {
    let mut scene = Scene::playing(&subscription(), 3000);
    scene.monitor.handle_delivered(MediaTime(5));
    let health = scene.monitor.health(scene.now);
    assert_eq!((health.verdict, health.last_media), (Verdict::Live, Some(MediaTime(5))));
    let due = scene.now.after(Health::VALIDITY);
    assert_eq!(health.clone().at(due).verdict, Verdict::Live);
    let late = health.at(Now(due.0 + 1));
    assert_eq!((late.verdict, late.reason.clone()), (Verdict::Starved, Some(Reason::Overrun)));
    let dead = Health { verdict: Verdict::Dead, ..late };
    assert_eq!(dead.at(due.after(ms(9999))).verdict, Verdict::Dead);
}
