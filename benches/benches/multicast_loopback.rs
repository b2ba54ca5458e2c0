//! The multicast path on loopback, from one socket to another through the same code as a node's. `runs` and
//! `one_by_one` have nothing of the core: their difference is what runs save (loopback never splits one, so a real
//! interface saves less). `verified` has a publisher's node before the sockets and a viewer's behind them: from
//! picture to access unit. All of it runs on one core, so a publisher and a viewer with a core each carry up to twice
//! as much.
//!
//! Sizes: the 60 datagrams of a full block; pictures of 40 and 61 kB, the last a full block too. Bytes are those of
//! the datagrams, and of the access unit.

use bytes::Bytes;
use criterion::Throughput;
use swarmcast_benches::nodes::Nodes;
use swarmcast_benches::{criterion, unit};
use swarmcast_core::multicast::{MulticastChoice, MulticastGroup};
use swarmcast_net::bench::MulticastPair;

/// Datagrams of a full block.
const DATAGRAMS: usize = 60;

/// Bytes of a shard with its header.
const DATAGRAM_BYTES: usize = 1085;

fn group(text: &str) -> MulticastGroup {
    match text.parse() {
        Ok(MulticastChoice::At(group)) => group,
        other => unreachable!("{text} is a group, not {other:?}"),
    }
}

fn main() {
    let mut criterion = criterion();
    let mut benches = criterion.benchmark_group("multicast_loopback");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut pair = runtime
        .block_on(MulticastPair::new(group("239.255.9.20:24620")))
        .expect("loopback carries multicast");
    let datagram = |bytes: usize| (0..bytes).map(|at| at as u8).collect::<Bytes>();
    let equal: Vec<_> = (0..DATAGRAMS).map(|_| datagram(DATAGRAM_BYTES)).collect();
    // Each is longer than the one before, so that no two make a run.
    let growing: Vec<_> =
        (0..DATAGRAMS).map(|more| datagram(DATAGRAM_BYTES - DATAGRAMS / 2 + more)).collect();
    for (name, datagrams) in [("runs", &equal), ("one_by_one", &growing)] {
        let bytes: usize = datagrams.iter().map(Bytes::len).sum();
        benches.throughput(Throughput::Bytes(bytes as u64));
        benches.bench_function(name, |bench| {
            bench.iter(|| assert_eq!(runtime.block_on(pair.carry(datagrams.clone())).len(), DATAGRAMS));
        });
    }
    for (name, bytes) in [("verified_40k", 40_000), ("verified_61k", 61_000)] {
        let (mut nodes, picture) = (Nodes::new(1, true), unit(bytes));
        benches.throughput(Throughput::Bytes(bytes as u64));
        benches.bench_function(name, |bench| {
            bench.iter(|| nodes.send(&picture, |datagrams| runtime.block_on(pair.carry(datagrams))));
        });
        let (sent, delivered) = nodes.counts();
        assert!(delivered * 10 > sent * 9, "{delivered} of {sent}");
    }
    benches.finish();
    criterion.final_summary();
}
