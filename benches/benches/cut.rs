//! Isolates the cutter: access units to plaintext of blocks, one copy, no crypto.

use criterion::{BatchSize, Throughput};
use swarmcast_benches::{criterion, unit};
use swarmcast_core::fragment::{Cutter, Submission};
use swarmcast_core::ids::{MediaTime, Now, Priority};

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("cut");
    for (name, bytes) in [("sound_160", 160), ("picture_40k", 40_000), ("key_picture_280k", 280_000)] {
        let work = Submission {
            unit: unit(bytes),
            priority: Priority::Reference,
            random_access: false,
            media_time: MediaTime(0),
        };
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
    criterion.final_summary();
}
