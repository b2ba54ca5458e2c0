//! The multicast sockets alone: datagrams of a block from one process's socket to another's over loopback, through the
//! same code as a node's, with nothing of the core. The difference between the two is what runs save; loopback never
//! splits a run, so a real interface saves less.

use bytes::Bytes;
use criterion::Throughput;
use swarmcast_benches::criterion;
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
            bench.iter(|| assert_eq!(runtime.block_on(pair.carry(datagrams)), bytes));
        });
    }
    benches.finish();
    criterion.final_summary();
}
