//! Health and paths of a real subscription, in one process on the loopback interface.

use std::path::Path;
use std::thread;
use std::time::Duration;

use swarmcast::{
    Event, FallbackPolicy, Group, Identity, Interrupt, MulticastChoice, PathCause, PathKind, PublishConfig,
    Publisher, Source, SourceConfig, SubscribeConfig, Subscriber, Swarm, SwarmConfig, Verdict,
};
use tokio::time::timeout;

/// Longest wait for an event; ten times what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn clip() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/clip.mkv").to_string_lossy().into_owned()
}

/// A publisher of the clip, and a subscriber in another node.
struct Pair {
    publishing: Swarm,
    publisher: Option<Publisher>,
    interrupt: Interrupt,
    watching: Swarm,
    subscriber: Subscriber,
}

impl Pair {
    async fn start(name: &str, config: SubscribeConfig) -> Self {
        let group = Group::open(&format!("{name} {}", std::process::id())).unwrap();
        let interfaces = vec!["lo".to_owned()];
        let lobby = SwarmConfig { interfaces, discovery: false, ..SwarmConfig::new(group) };
        let (publishing, driver) = Swarm::bind(lobby.clone()).await.unwrap();
        tokio::spawn(driver.run());
        let interrupt = Interrupt::new();
        let source = SourceConfig { looped: true, interrupt: interrupt.clone(), ..SourceConfig::new(clip()) };
        let mut source = Source::open(source).unwrap();
        let identity = Identity::ephemeral().unwrap();
        let stream = PublishConfig::new("cam", source.tracks().to_vec(), identity);
        let stream = PublishConfig { multicast: MulticastChoice::Off, ..stream };
        let publisher = publishing.publish(stream).await.unwrap();
        let sender = publisher.sender();
        let publisher = Some(publisher);
        thread::spawn(move || sender.feed(&mut source));
        let (watching, driver) =
            Swarm::bind(SwarmConfig { peers: vec![publishing.ticket()], ..lobby }).await.unwrap();
        tokio::spawn(driver.run());
        let subscriber = watching.subscribe(config).await.unwrap();
        Self { publishing, publisher, interrupt, watching, subscriber }
    }

    /// Waits for an event that fits, and returns what it was.
    async fn expect(&mut self, fits: impl Fn(&Event) -> bool) -> Event {
        timeout(PATIENCE, async {
            loop {
                let event = self.subscriber.next().await.expect("it is not over");
                if fits(&event) {
                    return event;
                }
            }
        })
        .await
        .expect("in time")
    }

    async fn expect_path(&mut self, to: PathKind) -> PathCause {
        match self.expect(|event| matches!(event, Event::Path { to: there, .. } if *there == to)).await {
            Event::Path { cause, .. } => cause,
            other => panic!("{other:?}"),
        }
    }

    async fn end(mut self) {
        self.interrupt.interrupt();
        self.publisher.take().expect("it runs").end().await;
        self.expect(|event| matches!(event, Event::Closed(_))).await;
        assert!(self.subscriber.next().await.is_none());
        self.watching.close().await;
        self.publishing.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_live_while_media_comes_and_says_the_end() {
    let mut pair = Pair::start("health", SubscribeConfig::new("cam")).await;
    let mut health = pair.subscriber.health();
    pair.expect(|event| matches!(event, Event::Started { .. })).await;
    let live = async {
        loop {
            let changed = health.changed().await.expect("it is not over");
            if changed.verdict == Verdict::Live {
                return changed;
            }
        }
    };
    let live = timeout(PATIENCE, live).await.expect("in time");
    assert_eq!((live.reason, live.path), (None, PathKind::Mesh));
    pair.end().await;
    assert_eq!(health.current().verdict, Verdict::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_falls_to_its_url_and_takes_that_back() {
    let config = SubscribeConfig {
        fallback: FallbackPolicy::Manual,
        foreign: Some(clip()),
        ..SubscribeConfig::new("cam")
    };
    let mut pair = Pair::start("fall", config).await;
    let source = pair.subscriber.foreign_source().expect("there is a URL");
    let playing = thread::spawn(move || source.run());
    pair.expect(|event| matches!(event, Event::Started { .. })).await;

    pair.subscriber.fall(PathKind::Foreign).await.unwrap();
    assert_eq!(pair.expect_path(PathKind::Foreign).await, PathCause::Asked);
    pair.expect(|event| matches!(event, Event::Foreign { .. })).await;
    let foreign = |event: &Event| matches!(event, Event::AccessUnit(delivery) if delivery.closed.is_none());
    let own = |event: &Event| matches!(event, Event::AccessUnit(delivery) if delivery.closed.is_some());
    // Only the URL's media is told while it plays, and a whole second of it.
    for _ in 0..70 {
        let event = pair.expect(|event| matches!(event, Event::AccessUnit(_))).await;
        assert!(foreign(&event), "{event:?}");
    }

    pair.subscriber.fall(PathKind::Mesh).await.unwrap();
    pair.expect_path(PathKind::Mesh).await;
    pair.expect(|event| matches!(event, Event::Opened { .. })).await;
    for _ in 0..70 {
        let event = pair.expect(|event| matches!(event, Event::AccessUnit(_))).await;
        assert!(own(&event), "{event:?}");
    }
    pair.end().await;
    playing.join().unwrap();
}
