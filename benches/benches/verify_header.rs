//! Isolates the one signature a block: parse and Ed25519. Divided by the shards of the block it is what a
//! fragment pays; a forged header costs the same, which is what a flood of them is worth.

use criterion::BatchSize;
use swarmcast_benches::{PICTURE_SHARDS, block, criterion, sealer};

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("verify_header");
    let sealer = sealer();
    let honest = block(&sealer, 9, PICTURE_SHARDS).header.datagram().clone();
    let mut forged = honest.to_vec();
    forged[20] ^= 1;
    for (name, datagram) in [("honest_of_40", honest), ("forged_of_40", forged.into())] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || datagram.clone(),
                |datagram| sealer.keys().verify_header(datagram).is_ok(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
