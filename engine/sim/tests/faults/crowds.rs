//! Two hundred viewers that all lose the same thing at once.

use std::cell::RefCell;
use std::rc::Rc;

use swarmcast_sim::lan::{Blockade, Whom};
use swarmcast_sim::scenario::PUBLISHER;

use super::*;

fn crowd(seed: u64, seconds: u32) -> Scenario {
    Scenario { workload: slim(), join_spread: S, ..multicast(seed, 200, seconds) }
}

#[test]
fn two_hundred_that_lose_multicast_are_all_served_and_few_by_the_publisher() {
    let scenario = crowd(100, 8);
    let unicast_max = scenario.unicast_max;
    let report = run(scenario, blocked(Whom::All, Blockade::Everything, S * 5, S * 60));
    assert_unharmed(&report);
    let mut by_publisher: i64 = 0;
    let mut most = 0;
    let mut turns: Vec<_> = report.viewers().flat_map(|viewer| &viewer.paths).collect();
    turns.sort_by_key(|change| change.at);
    for turn in turns {
        by_publisher += i64::from(turn.to == PathKind::Unicast) - i64::from(turn.from == PathKind::Unicast);
        most = most.max(by_publisher);
    }
    assert!(most <= unicast_max as i64, "{most} were served by the publisher at once");
    for viewer in report.viewers() {
        let left = turned(viewer, (PathKind::Multicast, PathKind::Mesh), S * 5..S * 5 + MS * 500);
        assert!(left.is_some(), "{}", viewer.host);
    }
}

#[test]
fn what_two_hundred_miss_is_sent_again_twice_at_most() {
    let mut scenario = crowd(101, 6);
    let at = S * 4;
    scenario.deeds.push((at, Deed::DropMulticast { host: PUBLISHER, datagrams: 1, longer_than: 700 }));
    let mut world = scenario.build().unwrap();
    let sent = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&sent);
    world.trace_to(Box::new(move |line| {
        // "7.012345 h0 multicast out 1 1042 B 0123456789abcdef fragment 700.3"
        let words: Vec<&str> = line.split(' ').collect();
        let seconds: f64 = words[0].parse().unwrap_or(0.0);
        let is_media = words[1] == "h0" && words.get(3) == Some(&"out") && words.get(8) == Some(&"fragment");
        if is_media && seconds >= at.as_secs_f64() {
            let bytes: usize = words[5].parse().unwrap_or(0);
            sink.borrow_mut().push((words[2] == "multicast", bytes, words[9].to_owned()));
        }
    }));
    let report = finish(&mut world, &scenario);
    assert_unharmed(&report);
    let sent = sent.take();
    let lost = sent.iter().find(|(multicast, bytes, _)| *multicast && *bytes > 700).unwrap();
    let copies = sent.iter().filter(|(.., id)| *id == lost.2).count() - 1;
    assert!((1..=2).contains(&copies), "{copies} copies of {}", lost.2);
}
