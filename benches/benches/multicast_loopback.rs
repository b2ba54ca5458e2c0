//! The multicast path on loopback, from one socket to another through the same code as a node's. `runs` and
//! `one_by_one` have nothing of the core: their difference is what runs save (loopback never splits one, so a real
//! interface saves less). `verified` has a publisher's node before the sockets and a viewer's behind them: from
//! picture to access unit, all of it on one core. `publisher` and `viewer` are its two halves, timed apart: the slower
//! one is what both carry with a core each. The publisher's half ends when the system has taken the last datagram,
//! which on loopback is when the viewer's socket has it; the viewer's begins with reading it, and holds whatever
//! either node does then.
//!
//! Sizes: the 60 datagrams of a full block; pictures of 40, 61 and 240 kB, of which the second is a full block and the
//! last four, about what a publisher multicasts in one burst. Bytes are those of the datagrams, and of the access
//! unit.

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::Throughput;
use swarmcast_benches::nodes::{MULTICAST, Nodes};
use swarmcast_benches::{criterion, unit};
use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::multicast::{MulticastChoice, MulticastGroup};
use swarmcast_net::bench::MulticastPair;
use tokio::runtime::Runtime;

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

const PICTURES: [(&str, usize); 3] = [("40k", 40_000), ("61k", 61_000), ("240k", 240_000)];

/// Carries a picture; returns the time that the publisher took and that the viewer did.
fn carry(
    nodes: &mut Nodes,
    picture: &AccessUnit,
    runtime: &Runtime,
    pair: &mut MulticastPair,
) -> [Duration; 2] {
    let began = Instant::now();
    let sent = nodes.publish(picture);
    let mut gone = 0;
    for (_, datagrams) in sent.iter().filter(|(path, _)| *path == MULTICAST) {
        runtime.block_on(pair.send(datagrams.clone()));
        gone += 1;
    }
    let publisher = began.elapsed();
    nodes.settle(sent, &mut |datagrams| {
        if gone == 0 {
            return runtime.block_on(pair.carry(datagrams));
        }
        gone -= 1;
        runtime.block_on(pair.receive(datagrams.len()))
    });
    [publisher, began.elapsed() - publisher]
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
    for (name, bytes) in PICTURES {
        let (mut nodes, picture) = (Nodes::new(1, true), unit(bytes));
        benches.throughput(Throughput::Bytes(bytes as u64));
        benches.bench_function(format!("verified_{name}"), |bench| {
            bench.iter(|| carry(&mut nodes, &picture, &runtime, &mut pair));
        });
        for (half, at) in [("publisher", 0), ("viewer", 1)] {
            benches.bench_function(format!("{half}_{name}"), |bench| {
                bench.iter_custom(|times| {
                    (0..times).map(|_| carry(&mut nodes, &picture, &runtime, &mut pair)[at]).sum()
                });
            });
        }
        nodes.check();
    }
    benches.finish();
    criterion.final_summary();
}
