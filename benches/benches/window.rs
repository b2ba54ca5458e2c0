//! Isolates the window: verified fragments in, word and holes kept, oldest out; and the have-map, its state to a
//! datagram and back, 40 ms apart at its most frequent. No crypto, since everything is verified before, but for what
//! parity gives back: that is hashed.
//!
//! Sizes: a block of 40 shards, 1 and 3 of them lost; holes of 1,000 blocks, a have-map of 400. Bytes are those of
//! the shards, and of the have-map's datagram.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use swarmcast_benches::{PICTURE_SHARDS, block, criterion, header, sealer};
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::window::Window;
use swarmcast_core::wire::{Datagram, HaveMap, SHARD_BYTES, SHARD_PLAIN_BYTES};

fn hold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window");
    let sealer = sealer();
    let empty = || Window::new(BlockId(0), 64 << 20, Duration::from_secs(8));
    let sealed = block(&sealer, 0, PICTURE_SHARDS);
    group.throughput(Throughput::Bytes((PICTURE_SHARDS * SHARD_BYTES) as u64));
    group.bench_function("insert_block_of_40", |bencher| {
        bencher.iter_batched(
            || (empty(), sealed.clone()),
            |(mut window, sealed)| {
                window.insert_header(Now(0), sealed.header);
                for fragment in sealed.fragments {
                    window.insert_fragment(Now(0), fragment);
                }
                window.trim(Now(0), BlockId(0));
                window
            },
            BatchSize::SmallInput,
        );
    });
    let mended = sealer.seal(header(0), &vec![7; PICTURE_SHARDS * SHARD_PLAIN_BYTES], 3);
    for lost in [1, 3] {
        let mut lossy = empty();
        lossy.insert_header(Now(0), mended.header.clone());
        for fragment in &mended.fragments[lost..] {
            lossy.insert_fragment(Now(0), fragment.clone());
        }
        group.bench_function(format!("recover_{lost}_of_40"), |bencher| {
            bencher.iter_batched_ref(
                || lossy.clone(),
                |window| window.recover(Now(0), BlockId(0)),
                BatchSize::SmallInput,
            );
        });
    }
    let mut holey = empty();
    for number in (0..1000).filter(|number| number % 10 != 3) {
        holey.insert_header(Now(0), block(&sealer, number, 1).header);
    }
    group.throughput(Throughput::Elements(1000));
    group.bench_function("holes_of_1000_blocks", |bencher| {
        bencher.iter(|| holey.holes(BlockId(0)).map(|(block, _)| block.0).sum::<u64>());
    });
    group.finish();
}

fn have_map(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window/have_map");
    let sealer = sealer();
    let mut window = Window::new(BlockId(0), 64 << 20, Duration::from_secs(8));
    for number in 0..400 {
        let sealed = block(&sealer, number, if number % 2 == 0 { 1 } else { 3 });
        window.insert_header(Now(0), sealed.header);
        let kept = if number % 7 == 5 { 1 } else { 3 };
        for fragment in sealed.fragments.into_iter().take(kept) {
            window.insert_fragment(Now(0), fragment);
        }
    }
    let mut map = HaveMap::default();
    window.describe(&mut map, BlockId(0));
    let tag = sealer.keys().tag();
    let datagram = Datagram::encode_have(tag, &map);
    group.throughput(Throughput::Bytes(datagram.len() as u64));
    group.bench_function("describe_400_blocks", |bencher| {
        bencher.iter(|| {
            let mut map = HaveMap::default();
            window.describe(&mut map, BlockId(0));
            map
        });
    });
    group.bench_function("encode", |bencher| bencher.iter(|| Datagram::encode_have(tag, black_box(&map))));
    group.bench_function("decode", |bencher| bencher.iter(|| Datagram::decode(black_box(&datagram))));
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    hold(&mut criterion);
    have_map(&mut criterion);
    criterion.final_summary();
}
