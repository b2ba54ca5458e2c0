//! Isolates sealing: a block's plaintext to datagrams. AES-128-GCM and a leaf hash a shard, one signature a block; the
//! difference between 1 and 40 shards, divided by 39, is the cost of a shard without the signature, and what parity
//! adds to 40, divided by its count, that of a parity shard. `from_picture` has the cut before it: all that a
//! publisher does to a picture before it is sent; a key picture is several blocks, which share a signature.
//!
//! Sizes: 1, 8, 40 and 62 data shards; 40 and 48 with parity of 7.5, 25 and 30 %; pictures of 48 kB and 280 kB. Bytes
//! are those of the plaintext.

use criterion::Throughput;
use swarmcast_benches::{PICTURE_SHARDS, criterion, header, sealer, submission};
use swarmcast_core::fragment::Cutter;
use swarmcast_core::ids::Now;
use swarmcast_core::seal::Unsealed;
use swarmcast_core::wire::SHARD_PLAIN_BYTES;

/// Data and parity shards.
const BLOCKS: [(usize, u8); 7] =
    [(1, 0), (8, 0), (PICTURE_SHARDS, 0), (62, 0), (PICTURE_SHARDS, 3), (48, 12), (PICTURE_SHARDS, 12)];

/// Pictures: data shards, and parity shards of each of their blocks.
const PICTURES: [(&str, usize, u8); 4] =
    [("picture", 48, 0), ("picture", 48, 12), ("key_picture", 278, 0), ("key_picture", 278, 12)];

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("seal");
    let sealer = sealer();
    for (shards, parity) in BLOCKS {
        let plain = vec![7; shards * SHARD_PLAIN_BYTES];
        group.throughput(Throughput::Bytes(plain.len() as u64));
        group.bench_function(format!("block_of_{shards}+{parity}"), |bencher| {
            bencher.iter(|| sealer.seal(header(9), &plain, parity));
        });
    }
    for (name, shards, parity) in PICTURES {
        let bytes = shards * SHARD_PLAIN_BYTES - 100;
        let work = submission(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("from_{name}_{shards}+{parity}"), |bencher| {
            bencher.iter(|| {
                let (mut cutter, mut drafts) = (Cutter::default(), Vec::new());
                if parity > 0 {
                    cutter.limit_data(48);
                }
                cutter.push(Now(0), &work, false, &mut drafts);
                let blocks = drafts.iter().zip(9..);
                let unsealed = blocks.map(|(draft, block)| Unsealed {
                    header: header(block),
                    plain: &draft.plain,
                    parity,
                });
                sealer.seal_all(unsealed.collect())
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
