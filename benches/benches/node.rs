//! All stages of the core together: a publisher's node and a viewer's, one picture from `Send` to `AccessUnit`,
//! with the scheduling between them and no transport. What a profile of a whole process shows beyond this is the
//! driver's.

use std::time::Duration;

use criterion::Throughput;
use swarmcast_benches::{EPOCH, catalogue, criterion, unit};
use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{Now, PathId, PeerId, StreamHandle, WallClock};
use swarmcast_core::node::{
    Action, Batch, Command, Event, Input, Node, NodeConfig, Publication, Subscription,
};

const STREAM: StreamHandle = StreamHandle(1);
const PATH: PathId = PathId(1);

/// A publisher and a viewer with one session between them.
struct Pair {
    now: Now,
    nodes: [Node; 2],
    pictures: i64,
    delivered: u64,
}

impl Pair {
    fn new() -> Self {
        let group = GroupSpec::open("bench").expect("the name is acceptable");
        let now = Now(1_000_000);
        let nodes = [0, 1].map(|n| Node::new(now, NodeConfig::new(PeerId([n; 32]), group.clone(), [n; 32])));
        let mut pair = Self { now, nodes, pictures: 0, delivered: 0 };
        let publication = Publication::new(STREAM, catalogue(), [7; 32], EPOCH);
        let subscription = Subscription::new(STREAM, "clip", Duration::from_secs(1));
        pair.command(0, Command::Publish(Box::new(publication)));
        pair.command(1, Command::Subscribe(Box::new(subscription)));
        for n in [0, 1_u8] {
            let node = &mut pair.nodes[usize::from(n)];
            node.handle(now, Input::WallClock(WallClock(EPOCH.0)));
            let peer = PeerId([1 - n; 32]);
            let connected =
                Input::Connected { path: PATH, peer, dialed: n == 1, remote: None, datagram_bytes_max: 1162 };
            node.handle(now, connected);
        }
        while pair.delivered < 50 {
            assert!(pair.pictures < 1000, "the viewer gets the stream");
            pair.send(&unit(1000));
        }
        pair
    }

    fn command(&mut self, node: usize, command: Command) {
        self.nodes[node].handle(self.now, Input::Command(command));
    }

    /// Sends one picture, a key picture each second, and lets both nodes do all they have to do.
    fn send(&mut self, picture: &AccessUnit) {
        self.now = self.now.after(Duration::from_millis(40));
        let dts = 3_600 * self.pictures;
        let unit = AccessUnit { dts, pts: dts, key: self.pictures % 25 == 0, ..picture.clone() };
        self.pictures += 1;
        self.command(0, Command::Send { stream: STREAM, unit, more: false });
        while self.pump() {}
    }

    /// Carries everything that is due from each node to the other; returns whether there was anything.
    fn pump(&mut self) -> bool {
        let mut moved = false;
        for from in [0, 1] {
            if self.nodes[from].poll_timeout().is_some_and(|at| at <= self.now) {
                self.nodes[from].handle(self.now, Input::Timeout);
            }
            while let Some(event) = self.nodes[from].poll_event() {
                self.delivered += u64::from(matches!(event, Event::AccessUnit { .. }));
            }
            while let Some(action) = self.nodes[from].poll_action() {
                if let Action::Control { path, message } = action {
                    self.nodes[1 - from].handle(self.now, Input::Control { path, message });
                    moved = true;
                }
            }
            while let Some(path) = self.nodes[from].poll_ready() {
                let mut batch = Batch::default();
                self.nodes[from].fill(self.now, path, 1 << 20, &mut batch);
                for datagram in batch.datagrams {
                    self.nodes[1 - from].handle(self.now, Input::Datagram { path, datagram });
                    moved = true;
                }
            }
        }
        moved
    }
}

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("node");
    for (name, bytes) in [("picture_5k", 5_000), ("picture_40k", 40_000)] {
        let (mut pair, picture) = (Pair::new(), unit(bytes));
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(|| pair.send(&picture)));
        assert!(pair.delivered * 10 > pair.pictures as u64 * 9, "{} of {}", pair.delivered, pair.pictures);
    }
    group.finish();
    criterion.final_summary();
}
