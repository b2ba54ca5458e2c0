//! Isolates sealing: plaintext of a block to datagrams. AES-128-GCM and a leaf hash a shard, one signature a block; the
//! difference between 1 and 40 shards, divided by 39, is the cost of a shard without the signature, and what parity
//! adds to 40, divided by its count, that of a parity shard.

use criterion::Throughput;
use swarmcast_benches::{PICTURE_SHARDS, criterion, header, sealer};
use swarmcast_core::wire::SHARD_PLAIN_BYTES;

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("seal");
    let sealer = sealer();
    for (shards, parity) in [(1, 0), (PICTURE_SHARDS, 0), (PICTURE_SHARDS, 3), (PICTURE_SHARDS, 12)] {
        let plain = vec![7; shards * SHARD_PLAIN_BYTES];
        group.throughput(Throughput::Bytes(plain.len() as u64));
        let name = if parity == 0 {
            format!("block_of_{shards}")
        } else {
            format!("block_of_{shards}_and_{parity}")
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| sealer.seal(header(9), &plain, parity));
        });
    }
    group.finish();
    criterion.final_summary();
}
