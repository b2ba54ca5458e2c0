//! Isolates verification, the cost of every fragment at every hop: one signature a block, one hash a shard. A run is
//! verified as it comes out of the socket: parsed, hashed side by side, compared with the header's leaves.
//!
//! `hash_16_shards` compares the hashes that the format could have had: BLAKE3 on exactly 1,024 bytes is one chunk of
//! its tree, so 16 shards are hashed at once, a lane each; SHA-256 has instructions of its own and no lanes.
//!
//! Sizes: one shard, 16, and whole blocks of 8, 40 and 62, with the block's header and without; five headers that
//! share a signature. Bytes are those of the sealed shards: divided by 1,024 they are fragments.

use std::hint::black_box;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use ring::digest::{SHA256, digest};
use swarmcast_benches::{PICTURE_SHARDS, block, criterion, header, sealer};
use swarmcast_core::seal::{
    EpochKeys, Hashed, SealedBlock, SignedRoots, Unsealed, VerifiedHeader, leaf, leaves,
};
use swarmcast_core::wire::{Datagram, SHARD_BYTES, SHARD_PLAIN_BYTES};

fn hash(criterion: &mut Criterion) {
    let shards: Vec<[u8; SHARD_BYTES]> = (0..16).map(|n| [n; SHARD_BYTES]).collect();
    let mut group = criterion.benchmark_group("verify/hash_16_shards");
    group.throughput(Throughput::Bytes(16 * SHARD_BYTES as u64));
    group.bench_function("sha256", |bencher| {
        bencher.iter(|| black_box(&shards).iter().map(|shard| digest(&SHA256, shard).as_ref()[0]).max());
    });
    group.bench_function("blake3_one_by_one", |bencher| {
        bencher.iter(|| black_box(&shards).iter().map(|shard| leaf(shard)[0]).max());
    });
    let mut hashes = Vec::with_capacity(16);
    group.bench_function("blake3_side_by_side", |bencher| {
        bencher.iter(|| {
            hashes.clear();
            leaves(black_box(&shards).iter().map(|shard| &shard[..]), &mut hashes);
        });
    });
    group.finish();
}

fn verify_run(header: &VerifiedHeader, run: Vec<Bytes>) -> usize {
    let verified = Hashed::run(run, |_| true).into_iter().filter(|hashed| {
        let Ok(Datagram::Fragment(view)) = Datagram::decode(hashed.datagram()) else { return false };
        header.verify(view, hashed.clone()).is_ok()
    });
    verified.count()
}

fn verify_block(keys: &EpochKeys, sealed: &SealedBlock, run: Vec<Bytes>) -> usize {
    let header = keys.verify_header(sealed.header.datagram().clone()).expect("it is genuine");
    verify_run(&header, run)
}

/// The headers of five blocks that share a signature, as a viewer takes them in.
fn batch(group: &mut BenchmarkGroup<'_, WallTime>) {
    let sealer = sealer();
    let plain = vec![7; 62 * SHARD_PLAIN_BYTES];
    let block = |number| Unsealed { header: header(number), plain: &plain, parity: 0 };
    let sealed = sealer.seal_all((0..5).map(block).collect());
    let headers: Vec<Bytes> = sealed.iter().map(|block| block.header.datagram().clone()).collect();
    group.throughput(Throughput::Bytes(headers.iter().map(|header| header.len() as u64).sum()));
    group.bench_function("batch_of_5_headers", |bencher| {
        bencher.iter(|| {
            let mut roots = SignedRoots::default();
            let verify =
                |header: &Bytes| sealer.keys().verify_header_among(header.clone(), &mut roots).is_ok();
            assert_eq!(headers.iter().map(verify).filter(|verified| *verified).count(), headers.len());
        });
    });
}

fn main() {
    let mut criterion = criterion();
    hash(&mut criterion);
    let sealer = sealer();
    let mut group = criterion.benchmark_group("verify");
    for shards in [8, PICTURE_SHARDS, 62] {
        let sealed = block(&sealer, 9, shards);
        let run: Vec<Bytes> = sealed.fragments.iter().map(|fragment| fragment.datagram().clone()).collect();
        assert_eq!(verify_block(sealer.keys(), &sealed, run.clone()), shards);
        group.throughput(Throughput::Bytes((shards * SHARD_BYTES) as u64));
        group.bench_function(format!("run_of_{shards}"), |bencher| {
            bencher.iter(|| verify_run(&sealed.header, run.clone()));
        });
        group.bench_function(format!("block_of_{shards}"), |bencher| {
            bencher.iter(|| verify_block(sealer.keys(), &sealed, run.clone()));
        });
    }
    let sealed = block(&sealer, 9, PICTURE_SHARDS);
    let one = sealed.fragments[3].datagram();
    let Ok(Datagram::Fragment(view)) = Datagram::decode(one) else { return };
    group.throughput(Throughput::Bytes(SHARD_BYTES as u64));
    group.bench_function("fragment_alone", |bencher| {
        bencher.iter(|| sealed.header.verify(view, one.clone()).is_ok());
    });
    let honest = sealed.header.datagram().clone();
    let mut forged = honest.to_vec();
    forged[20] ^= 1;
    for (name, datagram) in [("header_of_40", honest), ("forged_header_of_40", Bytes::from(forged))] {
        group.throughput(Throughput::Bytes(datagram.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| sealer.keys().verify_header(datagram.clone()).is_ok());
        });
    }
    batch(&mut group);
    group.finish();
    criterion.final_summary();
}
