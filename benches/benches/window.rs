//! Isolates the window: verified fragments in, word and holes kept, oldest out. No crypto, since everything is verified
//! before, but for what parity gives back: that is hashed.

use std::time::Duration;

use criterion::{BatchSize, Throughput};
use swarmcast_benches::{PICTURE_SHARDS, block, criterion, header, sealer};
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::window::Window;
use swarmcast_core::wire::SHARD_PLAIN_BYTES;

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("window");
    let sealer = sealer();
    let empty = || Window::new(BlockId(0), 64 << 20, Duration::from_secs(8));
    let sealed = block(&sealer, 0, PICTURE_SHARDS);
    group.throughput(Throughput::Elements(PICTURE_SHARDS as u64));
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
    criterion.final_summary();
}
