//! Isolates the two ends of a block's plaintext and of a datagram: access units cut to plaintext (one copy, no
//! crypto), and datagrams parsed to fields, which is what a node pays for each before it knows whether it is any
//! good.
//!
//! Sizes: a unit of sound, a mean and a key picture of 8 Mbit/s; of what is parsed, one datagram each.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use swarmcast_benches::{PICTURE_SHARDS, UNITS, block, criterion, sealer, submission};
use swarmcast_core::fragment::Cutter;
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::wire::{BlockHeader, Datagram, Want, peek_tag};

fn cut(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fragment/cut");
    for (name, bytes) in UNITS {
        let work = submission(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                Cutter::default,
                |mut cutter| {
                    let mut out = Vec::new();
                    cutter.push(Now(0), &work, false, &mut out);
                    cutter.close_all(&mut out);
                    out
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fragment/parse");
    let sealer = sealer();
    let sealed = block(&sealer, 400_000, PICTURE_SHARDS);
    let (header, fragment) = (sealed.header.datagram(), sealed.fragments[7].datagram());
    let wants: Vec<Want> = (0..8).map(|n| Want { block: BlockId(400_000 + n), word: 0xff }).collect();
    let pull = Datagram::encode_pull(sealer.keys().tag(), &wants);
    group.throughput(Throughput::Bytes(fragment.len() as u64));
    group.bench_function("tag", |bencher| bencher.iter(|| peek_tag(black_box(fragment))));
    group.bench_function("fragment", |bencher| bencher.iter(|| Datagram::decode(black_box(fragment))));
    group.throughput(Throughput::Bytes(header.len() as u64));
    group.bench_function("header_of_40", |bencher| bencher.iter(|| BlockHeader::decode(black_box(header))));
    group.throughput(Throughput::Bytes(pull.len() as u64));
    group.bench_function("pull_of_8", |bencher| bencher.iter(|| Datagram::decode(black_box(&pull))));
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    cut(&mut criterion);
    parse(&mut criterion);
    criterion.final_summary();
}
