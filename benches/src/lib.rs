//! Criterion benches, one file per stage of the path: fragment, seal, verify, parity, window, schedule, reassemble;
//! node, which is all of them together, for two and (`node_simulated`) for a hundred; `multicast_loopback`, with the
//! sockets, and `mesh_loopback`, which is nine whole nodes; media, which is ffmpeg's side. Each file says what it
//! isolates.
//!
//! `make bench` runs them all, about five minutes, and prints a table; `cargo bench -p swarmcast-benches --bench
//! verify` runs one. `docs/performance.md` explains the table.

pub mod nodes;

use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use swarmcast_core::catalogue::{AccessUnit, Catalogue, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::fragment::Submission;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{BlockId, Epoch, MediaTime, Priority, Stripe};
use swarmcast_core::seal::{SealedBlock, Sealer};
use swarmcast_core::wire::{BlockHeader, SHARD_PLAIN_BYTES};

/// Epoch of everything that is sealed here.
pub const EPOCH: Epoch = Epoch(1_795_000_000_000);

/// Shards of a mean picture of an 8 Mbit/s stream of 25 pictures a second.
pub const PICTURE_SHARDS: usize = 40;

/// Access units of an 8 Mbit/s stream: a unit of sound, a mean and a key picture.
pub const UNITS: [(&str, usize); 3] =
    [("sound_160", 160), ("picture_40k", 40_000), ("key_picture_280k", 280_000)];

/// Makes a runner whose benches take about a second each; the command line may say otherwise.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .configure_from_args()
}

/// Makes the sealer of a fixed stream in the open group `bench`.
///
/// # Panics
/// Never: name and seed are acceptable.
pub fn sealer() -> Sealer {
    let group = GroupSpec::open("bench").expect("the name is acceptable");
    Sealer::new(&group, &[7; 32], EPOCH).expect("every seed makes a key")
}

/// Makes the catalogue of a stream called `clip` with one track of pictures.
pub fn catalogue() -> Catalogue {
    let track = Track {
        id: TrackId(0),
        kind: TrackKind::Video,
        codec: "h264".into(),
        time_base: TimeBase { numerator: 1, denominator: 90_000 },
        bitrate: 8_000_000,
        parameters: Bytes::new(),
    };
    Catalogue {
        name: "clip".into(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track],
        renditions: Vec::new(),
        multicast: None,
    }
}

/// Makes an access unit of `bytes` bytes on track 0.
pub fn unit(bytes: usize) -> AccessUnit {
    let payload: Bytes = (0..bytes).map(|at| at as u8).collect();
    AccessUnit {
        track: TrackId(0),
        dts: 90_000,
        pts: 93_600,
        duration: 3_600,
        key: false,
        disposable: false,
        payload,
    }
}

/// Makes what a cutter is given of an access unit of `bytes` bytes that others refer to.
pub fn submission(bytes: usize) -> Submission {
    let (priority, media_time) = (Priority::Reference, MediaTime(0));
    Submission { unit: unit(bytes), priority, random_access: false, media_time }
}

/// Makes a header that describes block `block`, to be sealed.
pub fn header(block: u64) -> BlockHeader {
    BlockHeader {
        block: BlockId(block),
        stripe: Stripe(0),
        priority: Priority::Reference,
        continues: false,
        random_access: block.is_multiple_of(25),
        data: 0,
        parity: 0,
        last_shard_bytes: 0,
        closed: Duration::from_millis(40 * block),
        media_time: MediaTime(40_000 * block as i64),
        leaves: Vec::new(),
    }
}

/// Seals a block of `shards` full shards.
pub fn block(sealer: &Sealer, number: u64, shards: usize) -> SealedBlock {
    sealer.seal(header(number), &vec![7; shards * SHARD_PLAIN_BYTES], 0)
}
