//! Isolates reassembly: verified shards to access units, AES-128-GCM into the unit's own buffer, the one copy; and
//! the same for a block that parity has to complete first, which is what a viewer pays for a block that lost a tenth.
//!
//! Sizes: a unit of sound, a mean picture; with loss 40 shards of which 4 are lost, and 12 parity. Bytes are those of
//! the access unit.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use swarmcast_benches::{PICTURE_SHARDS, criterion, header, sealer, unit};
use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::fragment::Joiner;
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::seal::{EpochKeys, SealedBlock, Sealer};
use swarmcast_core::window::Window;
use swarmcast_core::wire::{RecordWriter, SHARD_PLAIN_BYTES};

/// Data shards lost of 40.
const LOST: usize = 4;
/// Parity shards, of which as many are held as data shards are lost.
const PARITY: u8 = 12;

fn sealed(sealer: &Sealer, bytes: usize, parity: u8) -> SealedBlock {
    let (unit, mut plain) = (unit(bytes), Vec::new());
    RecordWriter::new().put(&unit, &mut plain);
    plain.extend_from_slice(&unit.payload);
    sealer.seal(header(0), &plain, parity)
}

fn window(sealed: &SealedBlock, lost: usize) -> Window {
    let mut window = Window::new(BlockId(0), 64 << 20, Duration::from_secs(8));
    window.insert_header(Now(0), sealed.header.clone());
    let held = sealed.fragments.iter().skip(lost).take(PICTURE_SHARDS);
    held.for_each(|fragment| {
        window.insert_fragment(Now(0), fragment.clone());
    });
    window
}

fn join(keys: &EpochKeys, sealed: &SealedBlock, window: &Window) -> Vec<AccessUnit> {
    let mut units = Vec::with_capacity(1);
    let shards = window.slot(BlockId(0)).into_iter().flat_map(|slot| slot.shards());
    let joined = Joiner::default().push(keys, sealed.header.header(), shards, &mut units);
    assert!(joined.is_ok() && units.len() == 1);
    units
}

fn with_loss(criterion: &mut Criterion, sealer: &Sealer) {
    let mut group = criterion.benchmark_group("reassemble/with_loss");
    let bytes = PICTURE_SHARDS * SHARD_PLAIN_BYTES - 100;
    let mended = sealed(sealer, bytes, PARITY);
    group.throughput(Throughput::Bytes(bytes as u64));
    for lost in [0, 1, LOST] {
        let lossy = window(&mended, lost);
        group.bench_function(format!("{lost}_of_{PICTURE_SHARDS}"), |bencher| {
            bencher.iter_batched_ref(
                || lossy.clone(),
                |window| {
                    window.recover(Now(0), BlockId(0)).expect("parity is sound");
                    join(sealer.keys(), &mended, window)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    let sealer = sealer();
    let mut group = criterion.benchmark_group("reassemble");
    for (name, bytes) in [("sound_160", 160), ("picture_40k", 40_000)] {
        let sealed = sealed(&sealer, bytes, 0);
        let window = window(&sealed, 0);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| bencher.iter(|| join(sealer.keys(), &sealed, &window)));
    }
    group.finish();
    with_loss(&mut criterion, &sealer);
    criterion.final_summary();
}
