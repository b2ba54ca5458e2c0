//! Nodes on this host find each other; the record is held by the core.

use std::time::Duration;

use swarmcast_core::group::GroupSpec;

use super::*;

fn group() -> GroupSpec {
    GroupSpec::open("discovery test").expect("valid")
}

/// Waits until the browser tells of `peer`, and returns what.
async fn wait_for(browser: &mut Browser, peer: PeerId, wanted: impl Fn(&LanChange) -> bool) -> LanChange {
    let wait = async {
        loop {
            let change = browser.next().await;
            let about = match &change {
                LanChange::Found(node) => node.peer,
                LanChange::Lost(peer) => *peer,
            };
            if about == peer && wanted(&change) {
                return change;
            }
        }
    };
    timeout(Duration::from_secs(10), wait).await.expect("told in time")
}

/// A peer that no other test announces.
fn fresh_peer() -> PeerId {
    PeerId(*iroh::SecretKey::generate().public().as_bytes())
}

#[tokio::test]
async fn nodes_of_one_host_find_each_other_and_notice_the_end() {
    let (a, b) = (fresh_peer(), fresh_peer());
    let (first, mut at_first) = start(a, group(), 4001, &[]).expect("started");
    let (second, mut at_second) = start(b, group(), 4002, &[]).expect("started");
    let found = |change: &LanChange| matches!(change, LanChange::Found(_));
    let (at_a, at_b) = tokio::join!(wait_for(&mut at_first, b, found), wait_for(&mut at_second, a, found));
    for (change, port) in [(at_a, 4002), (at_b, 4001)] {
        let LanChange::Found(node) = change else { panic!("not found") };
        assert_eq!((node.group, node.group_name.as_deref()), (group().id(), Some("discovery test")));
        assert!(!node.addresses.is_empty() && node.addresses.iter().all(|address| address.port() == port));
    }

    let streams = Announcement { publishes: vec!["cam".into()], watches: vec!["other".into()] };
    second.announce(&streams).expect("announced");
    let named = |change: &LanChange| matches!(change, LanChange::Found(node) if node.publishes == ["cam"]);
    wait_for(&mut at_first, b, named).await;

    second.stop().await;
    let lost = |change: &LanChange| matches!(change, LanChange::Lost(_));
    wait_for(&mut at_first, b, lost).await;
    first.stop().await;
}

#[tokio::test]
async fn a_browser_that_starts_later_sees_a_running_node_at_once() {
    let peer = fresh_peer();
    let (announcer, mut browser) = start(peer, group(), 4003, &[]).expect("started");
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = crate::clock::now();
        let mut late = Browser::start(&[]).expect("started");
        let heard = wait_for(&mut late, peer, |change| matches!(change, LanChange::Found(_)));
        tokio::select! {
            _ = heard => {}
            // The first node answers from its daemon's thread, and hears nobody: later browsers announce nothing.
            change = wait_for(&mut browser, peer, |_| true) => panic!("its own record: {change:?}"),
        }
        times.push(crate::clock::now().since(started));
        late.stop().await;
    }
    times.sort_unstable();
    println!("seen after {times:?}");
    assert!(times[2] < Duration::from_millis(150), "{times:?}");
    announcer.stop().await;
}
