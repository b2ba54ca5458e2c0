//! Whole nodes on one host: real sockets, real discovery, synthetic access units.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::health::Verdict;
use swarmcast_core::ids::{Epoch, Now, StreamHandle};
use swarmcast_core::node::{CloseCause, Event, Publication, Subscription};
use swarmcast_net::{
    Handle, HealthWatch, NetConfig, PeerAddress, Playout, PublicationHandle, ReceiveError,
    SubscriptionHandle, bind, now,
};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

/// Longest wait for anything that must happen.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Milliseconds between two access units of the test stream, and how many make a group of pictures.
const UNIT_MS: u64 = 10;
const GOP_UNITS: u64 = 25;

struct TestNode {
    handle: Handle,
    running: JoinHandle<()>,
}

impl TestNode {
    async fn start(group: &str, change: impl FnOnce(&mut NetConfig)) -> Self {
        let mut config = NetConfig::new(GroupSpec::open(group).expect("valid"));
        config.discovery = false;
        config.interfaces = vec!["lo".into()];
        change(&mut config);
        let (handle, driver) = bind(config).await.expect("sockets");
        Self { handle, running: tokio::spawn(driver.run()) }
    }

    /// The address alone, so that who it is must be asked by TCP.
    fn address(&self) -> PeerAddress {
        PeerAddress { peer: None, addresses: vec![([127, 0, 0, 1], self.handle.port()).into()] }
    }

    async fn close(self) {
        timeout(WAIT_MAX, self.handle.close()).await.expect("it ends in time");
        self.running.await.expect("no panic");
    }
}

fn publication(name: &str) -> Publication {
    let track = |id: u8, kind| Track {
        id: TrackId(id),
        kind,
        codec: "test".into(),
        time_base: TimeBase { numerator: 1, denominator: 1000 },
        bitrate: 0,
        parameters: Bytes::from_static(b"parameters"),
    };
    let tracks = vec![track(0, TrackKind::Video), track(1, TrackKind::Audio)];
    let catalogue = Catalogue {
        name: name.into(),
        expiry: Catalogue::EXPIRY,
        tracks,
        renditions: Vec::new(),
        multicast: None,
    };
    Publication::new(StreamHandle(0), catalogue, [3; 32], Epoch(1_800_000_000_000))
}

/// Unit `number` of the stream: three of video, of 500 to 8,000 bytes, to one of audio.
fn unit(number: u64) -> AccessUnit {
    let audio = number % 4 == 3;
    let key = audio || number.is_multiple_of(GOP_UNITS * 4);
    let size = if audio { 160 } else { 500 + (number * 7919 % 7500) as usize };
    let fill = |at: usize| (number as usize * 31 + at) as u8;
    AccessUnit {
        track: TrackId(u8::from(audio)),
        dts: (number * UNIT_MS) as i64,
        pts: (number * UNIT_MS) as i64 + 40,
        duration: UNIT_MS as u32,
        key,
        disposable: false,
        payload: (0..size).map(fill).collect(),
    }
}

fn number_of(unit: &AccessUnit) -> u64 {
    unit.dts as u64 / UNIT_MS
}

/// Publishes units `0..count` at their pace.
async fn publish(publication: &PublicationHandle, count: u64) {
    let mut pace = interval(Duration::from_millis(UNIT_MS));
    for number in 0..count {
        pace.tick().await;
        publication.send(unit(number)).await.expect("the publication runs");
    }
}

async fn subscribe(handle: &Handle, name: &str) -> SubscriptionHandle {
    let playout_delay = Duration::from_secs(1);
    let subscription = Subscription::new(StreamHandle(0), name, playout_delay);
    handle.subscribe(subscription).await.expect("the node runs")
}

/// What a viewer got until its subscription closed.
#[derive(Debug, Default)]
struct Watched {
    units: Vec<AccessUnit>,
    first_at: Option<Now>,
    opened: u32,
    gaps: u32,
    verdicts: Vec<Verdict>,
    closed: Option<CloseCause>,
}

async fn watch(subscription: &SubscriptionHandle) -> Watched {
    let mut watched = Watched::default();
    loop {
        match timeout(WAIT_MAX, subscription.receive()).await.expect("something in time") {
            Ok(Playout::Event(Event::AccessUnit { unit, .. })) => {
                watched.first_at.get_or_insert(now());
                watched.units.push(unit);
            }
            Ok(Playout::Event(Event::Opened { .. })) => watched.opened += 1,
            Ok(Playout::Event(Event::Gap { .. })) => watched.gaps += 1,
            Ok(Playout::Event(Event::Closed { cause, .. })) => watched.closed = Some(cause),
            Ok(Playout::Event(Event::Verdict { to, .. })) => {
                // Who hears of a verdict can read it, unless another one came meanwhile.
                watched.verdicts.push(to);
                assert_ne!(subscription.health().current().verdict, Verdict::Joining);
            }
            Ok(Playout::Event(
                Event::Path { .. } | Event::PathVerdict { .. } | Event::ControlPlane { .. },
            )) => {}
            Ok(other) => panic!("unexpected: {other:?}"),
            Err(ReceiveError::Closed) => return watched,
            Err(error) => panic!("it waits: {error}"),
        }
    }
}

/// Holds that a viewer has everything from its first random-access point to the last unit, in order and unchanged.
fn assert_complete(watched: &Watched, count: u64) {
    let first = number_of(watched.units.first().expect("something was delivered"));
    assert!(unit(first).key, "the first unit can be decoded");
    let sent: Vec<_> = (first..count).map(unit).collect();
    for track in [TrackId(0), TrackId(1)] {
        let of =
            |units: &[AccessUnit]| units.iter().filter(|u| u.track == track).cloned().collect::<Vec<_>>();
        assert!(of(&watched.units) == of(&sent), "track {track:?} differs");
    }
    assert_eq!((watched.opened, watched.gaps, watched.closed.clone()), (1, 0, Some(CloseCause::Ended)));
    assert_eq!(watched.verdicts, [Verdict::Live, Verdict::Ended]);
}

/// Reads the health of a subscription until it is closed: its verdicts, each once.
async fn read_health(mut health: HealthWatch) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    while let Ok(health) = health.changed().await {
        verdicts.push(health.verdict);
    }
    verdicts.dedup();
    verdicts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_get_every_unit_by_address_and_from_each_other() {
    const COUNT: u64 = 400;
    let publisher = TestNode::start("end to end", |_| {}).await;
    let publication = publisher.handle.publish(publication("cam")).await.expect("published");
    let stream = publication.stream();
    let node = publisher.handle.clone();
    let publishing = tokio::spawn(async move {
        publish(&publication, COUNT).await;
        let stats = node.stats(stream).await.expect("the node runs").expect("the stream runs");
        assert_eq!(stats.access_units, COUNT);
        publication.end().await.expect("the node runs")
    });
    let first = TestNode::start("end to end", |config| config.peers = vec![publisher.address()]).await;
    // The second knows the first alone, so all that it gets has been forwarded, or it was introduced.
    let second = TestNode::start("end to end", |config| config.peers = vec![first.address()]).await;
    let viewers = [subscribe(&first.handle, "cam").await, subscribe(&second.handle, "cam").await];
    let read = tokio::spawn(read_health(viewers[0].health()));
    let (at_first, at_second) = tokio::join!(watch(&viewers[0]), watch(&viewers[1]));
    assert_complete(&at_first, COUNT);
    assert_complete(&at_second, COUNT);
    assert!(publishing.await.expect("no panic"), "everybody has everything");
    assert!(!first.handle.neighbours().is_empty());
    let read = timeout(WAIT_MAX, read).await.expect("it ends in time").expect("no panic");
    // A reader that came late finds the stream live already.
    let since_live = read.strip_prefix(&[Verdict::Joining]).unwrap_or(&read);
    assert_eq!(since_live, [Verdict::Live, Verdict::Ended]);
    // Two viewers confirmed the beacons, so the media was multicast.
    let (sent, received) = (publisher.handle.transport(), first.handle.transport());
    println!(
        "multicast: sent {} bytes, received {}",
        sent.multicast_bytes_sent, received.multicast_bytes_received
    );
    assert!(sent.multicast_bytes_sent > 100_000 && received.multicast_bytes_received > 100_000);
    tokio::join!(publisher.close(), first.close(), second.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_joins_a_running_stream_in_a_fraction_of_a_second() {
    for discovery in [false, true] {
        let group = if discovery { "join by discovery" } else { "join by address" };
        let publisher = TestNode::start(group, |config| config.discovery = discovery).await;
        let publication = publisher.handle.publish(publication("cam")).await.expect("published");
        let publishing = tokio::spawn(async move {
            publish(&publication, 100_000).await;
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut times = Vec::new();
        for _ in 0..5 {
            let started = now();
            let viewer = TestNode::start(group, |config| {
                config.discovery = discovery;
                config.peers = if discovery { Vec::new() } else { vec![publisher.address()] };
            })
            .await;
            let subscription = subscribe(&viewer.handle, "cam").await;
            let first = async {
                while !matches!(subscription.receive().await, Ok(Playout::Event(Event::AccessUnit { .. }))) {}
            };
            timeout(WAIT_MAX, first).await.expect("a unit in time");
            times.push(now().since(started));
            viewer.close().await;
        }
        times.sort_unstable();
        println!("{group}: first access unit after {times:?}");
        assert!(times[2] < Duration::from_millis(300), "{group}: {times:?}");
        publishing.abort();
        publisher.close().await;
    }
}

#[tokio::test]
async fn a_port_in_use_and_an_unknown_interface_have_their_own_errors() {
    let first = TestNode::start("ports", |_| {}).await;
    let port = first.handle.port();
    let mut config = NetConfig::new(GroupSpec::open("ports").expect("valid"));
    config.port = Some(port);
    let error = bind(config.clone()).await.expect_err("somebody has it");
    assert!(matches!(error, swarmcast_net::BindError::PortInUse(in_use) if in_use == port), "{error}");
    config.port = None;
    config.interfaces = vec!["nosuch0".into()];
    let error = bind(config.clone()).await.expect_err("no such interface");
    assert!(
        matches!(&error, swarmcast_net::BindError::UnknownInterface(name) if name == "nosuch0"),
        "{error}"
    );
    first.close().await;
    config.interfaces = Vec::new();
    config.port = Some(port);
    let (handle, driver) = bind(config).await.expect("the port is free again");
    let running = tokio::spawn(driver.run());
    handle.close().await;
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_handle_without_driver_says_so_and_dropping_all_handles_ends_the_driver() {
    let node = TestNode::start("ends", |_| {}).await;
    let handle = node.handle.clone();
    node.close().await;
    assert!(handle.known_streams().await.is_err());
    assert!(handle.publish(publication("late")).await.is_err());

    let TestNode { handle, running } = TestNode::start("ends", |_| {}).await;
    drop(handle);
    timeout(WAIT_MAX, running).await.expect("it ends in time").expect("no panic");
}
