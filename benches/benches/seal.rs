//! Isolates sealing: plaintext of a block to datagrams. AES-128-GCM and a leaf hash a shard, one signature a block; the
//! difference between 1 and 40 shards, divided by 39, is the cost of a shard without the signature.

use criterion::Throughput;
use swarmcast_benches::{PICTURE_SHARDS, criterion, header, sealer};
use swarmcast_core::wire::SHARD_PLAIN_BYTES;

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("seal");
    let sealer = sealer();
    for shards in [1, PICTURE_SHARDS] {
        let plain = vec![7; shards * SHARD_PLAIN_BYTES];
        group.throughput(Throughput::Bytes(plain.len() as u64));
        group.bench_function(format!("block_of_{shards}"), |bencher| {
            bencher.iter(|| sealer.seal(header(9), &plain, 0));
        });
    }
    group.finish();
    criterion.final_summary();
}
