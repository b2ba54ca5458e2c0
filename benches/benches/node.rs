//! All stages of the core together: a publisher's node and a viewer's, one picture from `Send` to `AccessUnit`, with
//! the scheduling between them and no transport. What a profile of a whole process shows beyond this is the driver's.
//!
//! Sizes: pictures of 5, 40 and 61 kB, the last a full block, pushed by a session, and by multicast. Bytes are those
//! of the access unit.

use criterion::Throughput;
use swarmcast_benches::nodes::Nodes;
use swarmcast_benches::{criterion, unit};

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("node");
    for (name, bytes) in [("5k", 5_000), ("40k", 40_000), ("61k", 61_000)] {
        for (way, multicast) in [("push", false), ("multicast", true)] {
            let (mut nodes, picture) = (Nodes::new(1, multicast), unit(bytes));
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(format!("{way}_{name}"), |bencher| {
                bencher.iter(|| nodes.send(&picture, |datagrams| datagrams));
            });
            nodes.check();
        }
    }
    group.finish();
    criterion.final_summary();
}
