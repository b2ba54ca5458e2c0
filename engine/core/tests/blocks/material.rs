//! What the tests are made of: keys, and strategies for everything that travels.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use swarmcast_core::catalogue::{
    AccessUnit, Catalogue, Rendition, TRACKS_MAX, TimeBase, Track, TrackId, TrackKind,
};
use swarmcast_core::fragment::Submission;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{
    BlockId, Epoch, GroupId, MediaTime, PeerId, Priority, STRIPES, StreamKey, StreamTag, Stripe, WallClock,
};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::seal::{EpochKeys, Sealer};
use swarmcast_core::wire::{
    Beacon, BlockHeader, Control, HAVE_BLOCKS_MAX, HaveMap, Hello, INTRODUCED_MAX, NONCES_MAX, PARTIALS_MAX,
    Report, SHARD_BYTES, SHARDS_MAX, StreamState, StripeMask, SubscribeFrom, TIMESTAMP_TICKS_MAX, VARINT_MAX,
    WANTS_MAX, Want,
};

pub(crate) const SEED: [u8; 32] = [7; 32];
pub(crate) const EPOCH: Epoch = Epoch(1_795_000_000_000);

pub(crate) fn group(name: &str) -> GroupSpec {
    GroupSpec::open(name).expect("the name is acceptable")
}

pub(crate) fn sealer() -> Sealer {
    Sealer::new(&group("lobby"), &SEED, EPOCH).expect("every seed makes a key")
}

/// A header that describes a block to be sealed.
pub(crate) fn blank_header(block: u64) -> BlockHeader {
    BlockHeader {
        block: BlockId(block),
        stripe: Stripe((block % 8) as u8),
        priority: Priority::Reference,
        continues: false,
        random_access: false,
        data: 0,
        parity: 0,
        last_shard_bytes: 0,
        closed: Duration::from_millis(10 * block),
        media_time: MediaTime(10_000 * block as i64),
        leaves: Vec::new(),
    }
}

pub(crate) fn varint() -> impl Strategy<Value = u64> {
    let widths =
        prop_oneof![Just(0x3f_u64), Just(0x40), Just(0x3fff), Just(0x4000), Just(0x3fff_ffff), Just(1 << 30)];
    prop_oneof![widths, 0..=VARINT_MAX, Just(VARINT_MAX), 0_u64..1000]
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::Essential), Just(Priority::Reference), Just(Priority::Disposable)]
}

/// A header as it can be on the wire: with leaves, or without them for the shard in its own datagram.
pub(crate) fn header() -> impl Strategy<Value = BlockHeader> {
    let counts = (1..=SHARDS_MAX).prop_flat_map(|data| (Just(data), 0..=SHARDS_MAX - data, any::<bool>()));
    let flags = (0..STRIPES, priority(), any::<bool>(), any::<bool>());
    let ticks = (varint().prop_map(|ticks| ticks.min(i64::MAX as u64 / 100)), -(1_i64 << 50)..1 << 50);
    (varint(), flags, counts, 17..=SHARD_BYTES as u16, ticks, any::<u8>()).prop_map(
        |(block, (stripe, priority, continues, random_access), (data, parity, inline), last, ticks, fill)| {
            let (data, parity) = if inline { (1, 0) } else { (data as u8, parity as u8) };
            let leaves =
                if inline { Vec::new() } else { (0..data + parity).map(|i| [fill ^ i; 16]).collect() };
            BlockHeader {
                block: BlockId(block),
                stripe: Stripe(stripe),
                priority,
                continues,
                random_access,
                data,
                parity,
                last_shard_bytes: last,
                closed: Duration::from_micros(ticks.0 * 100),
                media_time: MediaTime(ticks.1 * 100),
                leaves,
            }
        },
    )
}

pub(crate) fn beacon() -> impl Strategy<Value = Beacon> {
    let state = prop_oneof![Just(StreamState::Live), Just(StreamState::Paused), Just(StreamState::Ended)];
    let blocks = varint().prop_flat_map(|blocks| (Just(blocks), proptest::option::of(0..blocks.max(1))));
    let state = (state, any::<bool>(), any::<bool>());
    let nonces = vec(any::<u64>(), 0..=NONCES_MAX);
    (any::<u64>(), varint(), varint(), state, blocks, varint(), nonces).prop_map(
        |(epoch, at, wall, (state, multicast, full), (blocks, random_access), rate, nonces)| Beacon {
            epoch: Epoch(epoch),
            at: Duration::from_micros(at),
            wall: WallClock(wall),
            state,
            multicast,
            full,
            blocks,
            random_access: random_access.filter(|block| *block < blocks).map(BlockId),
            rate,
            nonces,
        },
    )
}

pub(crate) fn have_map() -> impl Strategy<Value = HaveMap> {
    let partial = vec((0..HAVE_BLOCKS_MAX as u16, any::<u64>()), 0..=PARTIALS_MAX);
    let range = (0..=VARINT_MAX / 2, 0..=VARINT_MAX / 2);
    let nibbles = || proptest::array::uniform8(0..16_u8);
    let distances = (nibbles(), nibbles(), any::<u8>());
    (distances, varint(), range, vec(any::<u8>(), 0..=HAVE_BLOCKS_MAX / 8), partial).prop_map(
        |((depths, ages, gives), beacon_ms, (oldest, held), complete, partial)| HaveMap {
            depths,
            ages,
            gives: StripeMask(gives),
            beacon_ms,
            oldest: BlockId(oldest),
            base: BlockId(oldest + held),
            complete,
            partial,
        },
    )
}

pub(crate) fn wants() -> impl Strategy<Value = Vec<Want>> {
    vec(
        (varint(), 1..=u64::MAX).prop_map(|(block, word)| Want { block: BlockId(block), word }),
        1..=WANTS_MAX,
    )
}

pub(crate) fn tag() -> impl Strategy<Value = StreamTag> {
    any::<[u8; 4]>().prop_map(StreamTag)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

pub(crate) fn report() -> impl Strategy<Value = Report> {
    let source = prop_oneof![Just(None), address().prop_map(|address| Some(address.ip()))];
    let count = 0..VARINT_MAX / 2;
    (any::<u64>(), varint(), source, any::<[bool; 3]>(), (count.clone(), count.clone(), count.clone(), count))
        .prop_map(
            |(reporter, beacon_ms, source, [hears, hurried, pushed], (received, missed, timely, lost))| {
                let due = timely + lost;
                Report { reporter, beacon_ms, source, hears, hurried, pushed, received, missed, due, lost }
            },
        )
}

/// Keys of the run in the open group of that name.
pub(crate) fn keys(name: &str) -> EpochKeys {
    Sealer::new(&group(name), &SEED, EPOCH).expect("every seed makes a key").keys().clone()
}

/// Every message of the reliable stream but the offer, which needs a sealer.
pub(crate) fn control() -> impl Strategy<Value = Control> {
    let stripes = any::<u8>().prop_map(StripeMask);
    let blocks = || (0..VARINT_MAX).prop_map(BlockId);
    let from = prop_oneof![
        Just(SubscribeFrom::RandomAccess),
        (0..VARINT_MAX).prop_map(|block| SubscribeFrom::Block(BlockId(block)))
    ];
    let peers = || vec((any::<[u8; 32]>().prop_map(PeerId), address()), 0..=INTRODUCED_MAX);
    prop_oneof![
        (any::<[u8; 16]>(), any::<[u8; 32]>())
            .prop_map(|(group, proof)| Control::Hello(Hello { group: GroupId(group), proof })),
        (tag(), any::<u64>()).prop_map(|(tag, nonce)| Control::Challenge { tag, nonce }),
        (tag(), stripes.clone(), from, any::<u32>()).prop_map(|(tag, stripes, from, patience_ms)| {
            Control::Subscribe { tag, stripes, from, patience_ms }
        }),
        (tag(), stripes.clone(), blocks()).prop_map(|(tag, stripes, from)| Control::Unsubscribe {
            tag,
            stripes,
            from
        }),
        (tag(), stripes, blocks()).prop_map(|(tag, stripes, from)| Control::Choke { tag, stripes, from }),
        peers().prop_map(Control::Peers),
        peers().prop_map(Control::Full),
        tag().prop_map(|tag| Control::Finished { tag }),
        (tag(), any::<u64>()).prop_map(|(tag, nonce)| Control::AskTime { tag, nonce }),
        (tag(), any::<u64>(), 0..VARINT_MAX, 0..VARINT_MAX).prop_map(|(tag, nonce, at, error)| {
            let (at, error) = (Duration::from_micros(at), Duration::from_micros(error));
            Control::Time { tag, nonce, at, error }
        }),
        tag().prop_map(|tag| Control::Park { tag }),
        (tag(), 0..VARINT_MAX).prop_map(|(tag, from)| Control::Resume { tag, from: BlockId(from) }),
        (tag(), 0..VARINT_MAX, any::<u32>()).prop_map(|(tag, from, patience_ms)| Control::Unicast {
            tag,
            from: BlockId(from),
            patience_ms
        }),
        (tag(), any::<u32>()).prop_map(|(tag, retry_after_ms)| Control::Busy { tag, retry_after_ms }),
    ]
}

pub(crate) fn track(id: u8) -> Track {
    Track {
        id: TrackId(id),
        kind: TrackKind::Data,
        codec: "json".into(),
        time_base: TimeBase::MICROS,
        bitrate: 0,
        parameters: Bytes::new(),
    }
}

pub(crate) fn small_catalogue() -> Catalogue {
    Catalogue {
        name: "clip".into(),
        expiry: Catalogue::EXPIRY,
        tracks: vec![track(0)],
        renditions: Vec::new(),
        multicast: None,
    }
}

pub(crate) fn catalogue() -> impl Strategy<Value = Catalogue> {
    let kind = prop_oneof![
        Just(TrackKind::Video),
        Just(TrackKind::Audio),
        Just(TrackKind::Data),
        Just(TrackKind::Subtitle)
    ];
    let base =
        (1..=u32::MAX, 1..=u32::MAX).prop_map(|(numerator, denominator)| TimeBase { numerator, denominator });
    let track = (kind, "[a-z0-9_]{0,32}", base, any::<u32>(), vec(any::<u8>(), 0..300)).prop_map(
        |(kind, codec, time_base, bitrate, parameters)| Track {
            id: TrackId(0),
            kind,
            codec,
            time_base,
            bitrate,
            parameters: parameters.into(),
        },
    );
    let rendition = (any::<[u8; 32]>(), "[^\\p{Cc}]{1,8}", any::<(u16, u16, u32)>());
    let rendition = rendition.prop_map(|(key, name, (width, height, bitrate))| Rendition {
        key: StreamKey(key),
        name,
        width,
        height,
        bitrate,
    });
    let tracks = vec(track, 1..=TRACKS_MAX);
    let group =
        ["239.1.2.3:5000", "232.1.2.3,source=10.0.0.1", "[ff15::7]:9,source=fe80::1"].map(|text| match text
            .parse()
        {
            Ok(MulticastChoice::At(group)) => group,
            other => panic!("{other:?}"),
        });
    let group = proptest::option::of(proptest::sample::select(group.to_vec()));
    ("[^\\p{Cc}]{1,32}", 0..=60_000_000_u64, tracks, vec(rendition, 0..=16), group).prop_map(
        |(name, expiry, mut tracks, renditions, multicast)| {
            (0..).zip(&mut tracks).for_each(|(id, track)| track.id = TrackId(id));
            Catalogue { name, expiry: Duration::from_micros(expiry), tracks, renditions, multicast }
        },
    )
}

pub(crate) fn payload_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..600_usize,
        3 => 600..5_000_usize,
        2 => 5_000..70_000_usize,
        // Around the places where a shard and a block are full.
        2 => prop_oneof![960..1_020_usize, 62_440..62_520_usize],
        1 => 70_000..=200_000_usize,
    ]
}

/// Units of several tracks and priorities; each track's decoding times rise, from anywhere.
pub(crate) fn submissions(count: usize) -> impl Strategy<Value = Vec<Submission>> {
    let edges = prop_oneof![
        Just(-TIMESTAMP_TICKS_MAX),
        Just(0_i64),
        -1_000_000..1_000_000_i64,
        Just(TIMESTAMP_TICKS_MAX - (1 << 40))
    ];
    let unit = (
        (0..4_u8, priority(), payload_bytes(), any::<u8>()),
        (0..9_000_i64, -9_000..9_000_i64, any::<u32>()),
        (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1)),
    );
    (proptest::array::uniform4(edges), vec(unit, 1..=count)).prop_map(|(mut clocks, units)| {
        units
            .into_iter()
            .map(|((track, priority, bytes, fill), (step, shift, duration), flags)| {
                let clock = &mut clocks[usize::from(track)];
                *clock += step;
                // Bytes that tell where they belong, so that a unit put together wrongly never looks right.
                let payload: Bytes = (0..bytes).map(|at| (at / 251 + at) as u8 ^ fill).collect();
                let unit = AccessUnit {
                    track: TrackId(track),
                    dts: *clock,
                    pts: (*clock + shift).clamp(-TIMESTAMP_TICKS_MAX, TIMESTAMP_TICKS_MAX),
                    duration,
                    key: flags.0,
                    disposable: flags.1,
                    payload,
                };
                let media_time = MediaTime(unit.pts / 100 * 100);
                Submission { unit, priority, random_access: flags.2, media_time }
            })
            .collect()
    })
}
