use std::future::{pending, ready};

use super::*;

#[test]
fn what_is_out_of_range_is_refused() {
    let with = |millis| {
        let playout_delay = Duration::from_millis(millis);
        SubscribeConfig { playout_delay, ..SubscribeConfig::new("cam") }.validate()
    };
    assert_eq!(with(49), Err(SubscribeError::PlayoutDelay(Duration::from_millis(49))));
    assert_eq!((with(50), with(60_000)), (Ok(()), Ok(())));
    assert_eq!(with(60_001), Err(SubscribeError::PlayoutDelay(Duration::from_millis(60_001))));
    assert_eq!(SubscribeConfig::new("a\nb").validate(), Err(SubscribeError::Name));

    let holding =
        |hold_down| SubscribeConfig { hold_down, ..SubscribeConfig::new("cam") }.validate().map_err(|_| ());
    let (shortest, longest) = (SubscribeConfig::HOLD_DOWN_MIN, SubscribeConfig::HOLD_DOWN_MAX);
    assert_eq!((holding(shortest), holding(longest)), (Ok(()), Ok(())));
    assert_eq!(holding(shortest - Duration::from_millis(1)), Err(()));
    assert_eq!(holding(longest + Duration::from_millis(1)), Err(()));

    let last_resort = |url: &str, fallback| {
        let foreign = Some(url.to_owned());
        SubscribeConfig { foreign, fallback, ..SubscribeConfig::new("cam") }.validate()
    };
    assert_eq!(last_resort("http://10.0.0.1/x.ts", FallbackPolicy::Manual), Ok(()));
    assert_eq!(last_resort("http://10.0.0.1/x.ts", FallbackPolicy::Off), Err(SubscribeError::Foreign));
    assert_eq!(last_resort("-", FallbackPolicy::Auto), Err(SubscribeError::Foreign));
    assert_eq!(last_resort("", FallbackPolicy::Auto), Err(SubscribeError::Foreign));
}

#[test]
fn the_node_is_asked_for_what_was_configured() {
    let config = SubscribeConfig {
        multicast: MulticastChoice::Off,
        fallback: FallbackPolicy::Manual,
        hold_down: Duration::from_secs(3),
        find_within: Some(Duration::from_secs(7)),
        waits: true,
        foreign: Some("x.ts".to_owned()),
        ..SubscribeConfig::new("cam")
    };
    let asked = config.subscription();
    assert_eq!((asked.multicast, asked.fallback), (MulticastChoice::Off, FallbackPolicy::Manual));
    assert_eq!((asked.hold_down, asked.find_within), (Duration::from_secs(3), Some(Duration::from_secs(7))));
    assert!(asked.waits && asked.foreign);
    assert!(!SubscribeConfig::new("cam").subscription().foreign);
}

#[test]
fn a_thread_waits_for_a_future_or_for_its_time() {
    let start = std::time::Instant::now();
    assert_eq!(block_on(ready(7), Duration::ZERO), Some(7));
    assert_eq!(block_on(pending::<()>(), Duration::from_millis(20)), None);
    assert!(start.elapsed() >= Duration::from_millis(20));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let waker = std::thread::spawn(move || sender.send(8));
    assert_eq!(block_on(receiver, WAIT_MAX), Some(Ok(8)));
    assert_eq!(waker.join().ok(), Some(Ok(())));
}
