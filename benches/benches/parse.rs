//! Isolates parsing: datagram to fields, no crypto. What a node pays for each datagram before it knows whether
//! it is any good.

use std::hint::black_box;

use swarmcast_benches::{PICTURE_SHARDS, block, criterion, sealer};
use swarmcast_core::ids::BlockId;
use swarmcast_core::wire::{BlockHeader, Datagram, Want, peek_tag};

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("parse");
    let sealer = sealer();
    let sealed = block(&sealer, 400_000, PICTURE_SHARDS);
    let (header, fragment) = (sealed.header.datagram(), sealed.fragments[7].datagram());
    let wants: Vec<Want> = (0..8).map(|n| Want { block: BlockId(400_000 + n), word: 0xff }).collect();
    let pull = Datagram::encode_pull(sealer.keys().tag(), &wants);
    group.bench_function("tag", |bencher| bencher.iter(|| peek_tag(black_box(fragment))));
    group.bench_function("fragment", |bencher| bencher.iter(|| Datagram::decode(black_box(fragment))));
    group.bench_function("header_of_40", |bencher| bencher.iter(|| BlockHeader::decode(black_box(header))));
    group.bench_function("pull_of_8", |bencher| bencher.iter(|| Datagram::decode(black_box(&pull))));
    group.finish();
    criterion.final_summary();
}
