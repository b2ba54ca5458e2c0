//! Whole nodes over iroh on loopback: one publisher and eight viewers that push to each other. One iteration is one
//! picture from `send` until the last viewer has delivered it, so it holds QUIC, the driver and every stage of the
//! core; bytes are those of all viewers together. Beside `node` it shows what transport and tasks cost.

use std::time::Duration;

use criterion::Throughput;
use swarmcast_benches::{EPOCH, catalogue, criterion, unit};
use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::StreamHandle;
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::{Event, Publication, Subscription};
use swarmcast_net::{Handle, NetConfig, PeerAddress, Playout, PublicationHandle, SubscriptionHandle, bind};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const VIEWERS: usize = 8;

/// Longest wait for a picture: one that does not arrive must end the run, not hang it.
const WAIT_MAX: Duration = Duration::from_secs(10);

struct Mesh {
    publication: PublicationHandle,
    viewers: Vec<SubscriptionHandle>,
    /// Decoding time of the next picture, in ticks of 1/90,000 s.
    dts: i64,
    _nodes: Vec<Handle>,
}

impl Mesh {
    async fn new() -> Self {
        let publisher = node(Vec::new()).await;
        let mut nodes = vec![publisher.clone()];
        let publication = Publication::new(StreamHandle(0), catalogue(), [7; 32], EPOCH);
        let publication = Publication { multicast: MulticastChoice::Off, ..publication };
        let publication = publisher.publish(publication).await.expect("the catalogue is acceptable");
        let mut viewers = Vec::new();
        for _ in 0..VIEWERS {
            let viewer = node(vec![publisher.ticket()]).await;
            let subscription = Subscription::new(StreamHandle(0), "clip", Duration::from_secs(1));
            let subscription = Subscription { multicast: MulticastChoice::Off, ..subscription };
            viewers.push(viewer.subscribe(subscription).await.expect("the node runs"));
            nodes.push(viewer);
        }
        let mut mesh = Self { publication, viewers, dts: 0, _nodes: nodes };
        // Until a viewer has joined, each of the pictures begins a group.
        for viewer in 0..VIEWERS {
            while !mesh.has_joined(viewer).await {
                mesh.send(&unit(5_000)).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        mesh
    }

    async fn has_joined(&mut self, viewer: usize) -> bool {
        let received = timeout(Duration::from_millis(1), delivered(&self.viewers[viewer])).await;
        received.is_ok()
    }

    async fn send(&mut self, picture: &AccessUnit) -> i64 {
        self.dts += 3_600;
        let unit = AccessUnit { dts: self.dts, pts: self.dts, key: true, ..picture.clone() };
        self.publication.send(unit).await.expect("the publication runs");
        self.dts
    }

    /// Sends one picture and waits until all viewers have it.
    async fn carry(&mut self, picture: &AccessUnit) {
        let dts = self.send(picture).await;
        for viewer in &self.viewers {
            let arrived = async { while delivered(viewer).await < dts {} };
            timeout(WAIT_MAX, arrived).await.expect("every picture is delivered");
        }
    }
}

async fn node(peers: Vec<PeerAddress>) -> Handle {
    let mut config = NetConfig::new(GroupSpec::open("bench").expect("the name is acceptable"));
    config.discovery = false;
    config.interfaces = vec!["lo".into()];
    config.peers = peers;
    let (handle, driver) = bind(config).await.expect("loopback has ports");
    tokio::spawn(driver.run());
    handle
}

/// Returns the decoding time of the next access unit that a viewer gets.
async fn delivered(viewer: &SubscriptionHandle) -> i64 {
    loop {
        match viewer.receive().await {
            Ok(Playout::Event(Event::AccessUnit { unit, .. })) => return unit.dts,
            Ok(_) => {}
            Err(error) => panic!("the subscription ended: {error}"),
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("mesh_loopback");
    let runtime = runtime();
    let mut mesh = runtime.block_on(Mesh::new());
    for (name, bytes) in [("picture_5k", 5_000), ("picture_40k", 40_000)] {
        let picture = unit(bytes);
        group.throughput(Throughput::Bytes((bytes * VIEWERS) as u64));
        group.bench_function(name, |bencher| bencher.iter(|| runtime.block_on(mesh.carry(&picture))));
    }
    group.finish();
    criterion.final_summary();
}
