//! Isolates opening: verified shards to access units, AES-128-GCM into the unit's own buffer, the one copy.

use criterion::Throughput;
use swarmcast_benches::{criterion, header, sealer, unit};
use swarmcast_core::fragment::Joiner;
use swarmcast_core::seal::VerifiedFragment;
use swarmcast_core::wire::RecordWriter;

fn main() {
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("open");
    let sealer = sealer();
    for (name, bytes) in [("sound_160", 160), ("picture_40k", 40_000)] {
        let (unit, mut plain) = (unit(bytes), Vec::new());
        RecordWriter::new().put(&unit, &mut plain);
        plain.extend_from_slice(&unit.payload);
        let sealed = sealer.seal(header(9), &plain, 0);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut units = Vec::with_capacity(1);
                let shards = sealed.fragments.iter().map(VerifiedFragment::shard);
                let shards = sealed.header.inline_shard().into_iter().chain(shards);
                let joined =
                    Joiner::default().push(sealer.keys(), sealed.header.header(), shards, &mut units);
                assert!(joined.is_ok() && units.len() == 1);
                units
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
