//! Isolates the leaf hash, the cost of every fragment at every hop: which hash goes into the format?
//!
//! BLAKE3 on exactly 1,024 bytes is one chunk of its tree, so 16 shards can be hashed side by side, a lane each.
//! The crate's public API hashes one input at a time; its lanes are reached through `platform`, which it calls
//! unstable and hides from its documentation. What it takes is below in `side_by_side`: full shards only, the
//! chunk's flags by hand.

use std::hint::black_box;

use blake3::IncrementCounter;
use blake3::platform::Platform;
use criterion::Throughput;
use ring::digest::{SHA256, digest};
use swarmcast_benches::{block, criterion, sealer};
use swarmcast_core::seal::leaf;
use swarmcast_core::wire::{Datagram, SHARD_BYTES};

/// First words of the fractional parts of the square roots of the first eight primes, as in SHA-256.
const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

/// Hashes full shards, as many at once as the processor has lanes.
fn side_by_side(platform: Platform, shards: &[&[u8; SHARD_BYTES]], out: &mut [u8]) {
    platform.hash_many(shards, &IV, 0, IncrementCounter::No, 0, CHUNK_START, CHUNK_END | ROOT, out);
}

fn main() {
    let mut criterion = criterion();
    let shards: Vec<[u8; SHARD_BYTES]> = (0..16).map(|n| [n; SHARD_BYTES]).collect();
    let shards: Vec<&[u8; SHARD_BYTES]> = shards.iter().collect();
    let (platform, mut out) = (Platform::detect(), [0; 16 * 32]);
    side_by_side(platform, &shards, &mut out);
    for (shard, hash) in shards.iter().zip(out.as_chunks::<32>().0) {
        assert_eq!(blake3::hash(*shard).as_bytes(), hash, "both are BLAKE3");
    }

    let mut group = criterion.benchmark_group("hash_16_shards");
    group.throughput(Throughput::Bytes(16 * SHARD_BYTES as u64));
    group.bench_function("sha256", |bencher| {
        bencher.iter(|| black_box(&shards).iter().map(|shard| digest(&SHA256, *shard).as_ref()[0]).max());
    });
    group.bench_function("blake3_one_by_one", |bencher| {
        bencher.iter(|| black_box(&shards).iter().map(|shard| leaf(*shard)[0]).max());
    });
    group.bench_function("blake3_side_by_side", |bencher| {
        bencher.iter(|| side_by_side(platform, black_box(&shards), &mut out));
    });
    if let Some(platform) = Platform::avx2() {
        group.bench_function("blake3_side_by_side_avx2", |bencher| {
            bencher.iter(|| side_by_side(platform, black_box(&shards), &mut out));
        });
    }
    group.finish();

    let sealed = block(&sealer(), 9, 16);
    let datagram = sealed.fragments[3].datagram();
    let Ok(Datagram::Fragment(view)) = Datagram::decode(datagram) else { return };
    let mut group = criterion.benchmark_group("verify_shard");
    group.throughput(Throughput::Bytes(SHARD_BYTES as u64));
    group.bench_function("one", |bencher| {
        bencher.iter(|| sealed.header.verify(view, datagram.clone()).is_ok());
    });
    group.finish();
    criterion.final_summary();
}
