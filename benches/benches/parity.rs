//! Isolates the parity code: full shards in, parity out, and back: one data shard lost, and as many as there is parity.

use criterion::{BenchmarkId, Throughput};
use swarmcast_benches::criterion;
use swarmcast_core::parity::{Shard, encode, recover};
use swarmcast_core::wire::SHARD_BYTES;

fn main() {
    let mut criterion = criterion();
    for (data, parity) in [(4, 1), (8, 2), (16, 4), (32, 8), (48, 14)] {
        let shards: Vec<Shard> = (0..data).map(|at| [at as u8 ^ 0xa5; SHARD_BYTES]).collect();
        let data: Vec<&[u8]> = shards.iter().map(|shard| &shard[..]).collect();
        let made = encode(&data, parity).expect("the counts are in range");
        let name = format!("{}+{parity}", data.len());
        let mut group = criterion.benchmark_group("parity");
        group.throughput(Throughput::Bytes((data.len() * SHARD_BYTES) as u64));
        group.bench_function(BenchmarkId::new("encode", &name), |bencher| {
            bencher.iter(|| encode(&data, parity))
        });
        for (what, lost) in [("recover_1", 1), ("recover_all", parity.min(data.len()))] {
            let held: Vec<_> =
                data.iter().enumerate().map(|(at, shard)| (at >= lost).then_some(*shard)).collect();
            let parity: Vec<_> = made.iter().map(|shard| Some(&shard[..])).collect();
            let back = recover(&held, &parity).expect("enough is held");
            assert!(back.iter().all(|(index, shard)| shard[..] == *data[usize::from(*index)]));
            group.bench_function(BenchmarkId::new(what, &name), |bencher| {
                bencher.iter(|| recover(&held, &parity))
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
