//! Isolates scheduling: who is sent which part of a block, and when. One picture from `Send` until the publisher's
//! node has given out every datagram for it; what the viewers do is not timed. Sealing is in it, the same for any
//! number of viewers: what 4 and 16 cost beyond 1, divided by the fragments more, is the scheduling of a fragment.
//!
//! Sizes: pictures of 5 and 40 kB, pushed whole to 1, 4 and 16 viewers, and multicast to 4. Bytes are those given
//! out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Bencher, Throughput};
use swarmcast_benches::nodes::{Nodes, Sent};
use swarmcast_benches::{criterion, unit};

fn given(sent: &Sent) -> usize {
    sent.iter().flat_map(|(_, datagrams)| datagrams).map(Bytes::len).sum()
}

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("schedule");
    for (name, bytes) in [("5k", 5_000), ("40k", 40_000)] {
        for (viewers, multicast) in [(1, false), (4, false), (16, false), (4, true)] {
            let (mut nodes, picture) = (Nodes::new(viewers, multicast), unit(bytes));
            let sent = nodes.publish(&picture);
            group.throughput(Throughput::Bytes(given(&sent) as u64));
            nodes.settle(sent, &mut |datagrams| datagrams);
            let way = if multicast { "multicast" } else { "push" };
            group.bench_function(format!("{way}_{name}_to_{viewers}"), |bencher: &mut Bencher<'_>| {
                bencher.iter_custom(|iterations| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..iterations {
                        let begun = Instant::now();
                        let sent = nodes.publish(&picture);
                        spent += begun.elapsed();
                        nodes.settle(sent, &mut |datagrams| datagrams);
                    }
                    spent
                });
            });
            nodes.check();
        }
    }
    group.finish();
    criterion.final_summary();
}
