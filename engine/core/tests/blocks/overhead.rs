//! The overhead table of `docs/wire.md`: modelled streams are cut, sealed and counted, and computed by hand beside it.

use std::time::Duration;

use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_core::fragment::{Cutter, Draft, Submission};
use swarmcast_core::ids::{BlockId, MediaTime, Now, Priority, Stripe, WallClock};
use swarmcast_core::seal::{SealedBlock, Sealer};
use swarmcast_core::wire::{Beacon, BlockHeader, StreamState};

use crate::material::{EPOCH, sealer};

const PAGE: &str = include_str!("../../../../docs/wire.md");

/// IPv4 (RFC 791) and UDP (RFC 768) headers.
const IP_UDP_BYTES: u64 = 20 + 8;
/// A 1-RTT packet: flags 1, connection id 8, packet number 2, AEAD tag 16 (RFC 9000, section 17.3.1).
const QUIC_PACKET_BYTES: u64 = 1 + 8 + 2 + 16;
/// Type and length of a DATAGRAM frame (RFC 9221, section 4).
const QUIC_FRAME_BYTES: u64 = 3;
/// UDP payload once path-MTU discovery has found Ethernet's 1,500 bytes.
const QUIC_PACKET_BYTES_MAX: u64 = 1452;
const SECONDS: u64 = 20;
/// The model starts where a stream is after 2.8 hours: its numbers take the bytes that they take for most of its life.
const START: Duration = Duration::from_secs(10_000);
const FIRST_BLOCK: u64 = 400_000;

/// What a modelled stream cost.
#[derive(Default)]
struct Cost {
    payload: u64,
    blocks: u64,
    datagrams: u64,
    /// Datagrams' bytes.
    bytes: u64,
    /// Packets, when QUIC puts datagrams of one block together where they fit.
    packed: u64,
}

impl Cost {
    fn percent(&self, bytes: u64) -> f64 {
        100.0 * bytes as f64 / self.payload as f64
    }

    /// The format's own share: records, tags, fragment heads, block headers.
    fn format(&self) -> f64 {
        self.percent(self.bytes - self.payload)
    }

    /// On multicast: every datagram is a packet.
    fn multicast(&self) -> f64 {
        self.format() + self.percent(self.datagrams * IP_UDP_BYTES)
    }

    /// On a session's first packets: every datagram is a QUIC packet.
    fn mesh(&self) -> f64 {
        self.format() + self.percent(self.datagrams * (IP_UDP_BYTES + QUIC_PACKET_BYTES + QUIC_FRAME_BYTES))
    }

    /// On a session whose path carries 1,500 bytes.
    fn mesh_packed(&self) -> f64 {
        let packets = self.packed * (IP_UDP_BYTES + QUIC_PACKET_BYTES);
        self.format() + self.percent(packets + self.datagrams * QUIC_FRAME_BYTES)
    }

    fn beacons(&self) -> f64 {
        let packet = IP_UDP_BYTES + QUIC_PACKET_BYTES + QUIC_FRAME_BYTES + beacon_bytes();
        self.percent(SECONDS * 4 * packet)
    }

    fn add(&mut self, sizes: &[u64]) {
        self.blocks += 1;
        self.datagrams += sizes.len() as u64;
        self.bytes += sizes.iter().sum::<u64>();
        let mut room = 0;
        for size in sizes.iter().map(|size| size + QUIC_FRAME_BYTES) {
            if size > room {
                self.packed += 1;
                room = QUIC_PACKET_BYTES_MAX - QUIC_PACKET_BYTES;
            }
            room -= size;
        }
    }

    fn row(&self, name: &str) -> String {
        let second = |count: u64| count as f64 / SECONDS as f64;
        format!(
            "| {name} | {:.0} | {:.0} | {:.1} % | {:.1} % | {:.1} % | {:.1} % | {:.1} % |",
            second(self.blocks),
            second(self.datagrams),
            self.format(),
            self.multicast(),
            self.mesh(),
            self.mesh_packed(),
            self.beacons(),
        )
    }
}

/// One access unit of the model: when it is there, in microseconds, and what it is.
struct Arrival {
    at: u64,
    work: Submission,
}

fn arrival(track: u8, at: u64, bytes: u64, priority: Priority, key: bool) -> Arrival {
    let micros = START.as_micros() as i64 + at as i64;
    let unit = AccessUnit {
        track: TrackId(track),
        dts: micros * 9 / 100,
        pts: micros * 9 / 100 + 3_600,
        duration: 3_600,
        key,
        disposable: priority == Priority::Disposable,
        payload: vec![0; bytes as usize].into(),
    };
    let random_access = key && track == 0;
    Arrival { at, work: Submission { unit, priority, random_access, media_time: MediaTime(micros) } }
}

/// Opus: a unit of constant size every 20 ms.
fn audio(track: u8, bitrate: u64) -> Vec<Arrival> {
    let bytes = bitrate / 8 / 50;
    (0..SECONDS * 50).map(|n| arrival(track, n * 20_000, bytes, Priority::Essential, true)).collect()
}

/// Bytes of each of the 25 pictures of a second: a random-access point of 7 times the mean, then references of 1.3
/// times the mean, each behind two droppable pictures of 0.4 times the mean.
fn pictures(bitrate: u64) -> [(u64, Priority); 25] {
    let unit = bitrate / 8 / (16 + 8 * 3 + 16);
    std::array::from_fn(|place| match place {
        0 => (16 * unit, Priority::Reference),
        place if place % 3 == 0 => (3 * unit, Priority::Reference),
        _ => (unit, Priority::Disposable),
    })
}

fn video(bitrate: u64) -> Vec<Arrival> {
    let pictures = pictures(bitrate);
    (0..SECONDS * 25)
        .map(|n| {
            let (bytes, priority) = pictures[n as usize % 25];
            arrival(0, n * 40_000, bytes, priority, n % 25 == 0)
        })
        .collect()
}

/// Cuts and seals everything. A timer that is due when a unit arrives fires first.
fn measured(mut arrivals: Vec<Arrival>) -> Cost {
    arrivals.sort_by_key(|arrival| arrival.at);
    let (sealer, mut cutter, mut drafts) = (sealer(), Cutter::default(), Vec::new());
    let mut cost = Cost::default();
    for arrival in &arrivals {
        let now = Now(arrival.at);
        while let Some(due) = cutter.next_timeout().filter(|due| *due <= now) {
            cutter.close_due(due, &mut drafts);
        }
        cutter.push(now, &arrival.work, false, &mut drafts);
        count(&sealer, now, &mut drafts, &mut cost);
        cost.payload += arrival.work.unit.payload.len() as u64;
    }
    cutter.close_all(&mut drafts);
    count(&sealer, Now(SECONDS * 1_000_000), &mut drafts, &mut cost);
    cost
}

fn count(sealer: &Sealer, now: Now, drafts: &mut Vec<Draft>, cost: &mut Cost) {
    for draft in drafts.drain(..) {
        let header = BlockHeader {
            block: BlockId(FIRST_BLOCK + cost.blocks),
            stripe: Stripe(0),
            priority: draft.priority,
            continues: draft.continues,
            random_access: draft.random_access,
            data: 0,
            parity: 0,
            last_shard_bytes: 0,
            closed: START + now.since(Now(0)),
            media_time: draft.media_time,
            leaves: Vec::new(),
        };
        let SealedBlock { header, fragments } = sealer.seal(header, &draft.plain, 0);
        let datagrams = fragments.iter().map(|fragment| fragment.datagram());
        let sizes: Vec<u64> = std::iter::once(header.datagram())
            .chain(datagrams)
            .map(|datagram| datagram.len() as u64)
            .collect();
        cost.add(&sizes);
    }
}

fn beacon_bytes() -> u64 {
    let beacon = Beacon {
        epoch: EPOCH,
        at: START,
        wall: WallClock(EPOCH.0),
        state: StreamState::Live,
        multicast: false,
        full: false,
        blocks: FIRST_BLOCK,
        random_access: Some(BlockId(FIRST_BLOCK - 20)),
        rate: 150_000,
        nonces: Vec::new(),
    };
    sealer().seal_beacon(&beacon).len() as u64
}

/// The same by hand, from the field sizes in `docs/wire.md`: one block a picture, one block two units of audio.
fn computed(audio_bitrate: u64, pictures: &[(u64, Priority)]) -> Cost {
    let mut cost = Cost::default();
    for _ in 0..SECONDS {
        let unit = audio_bitrate / 8 / 50;
        (0..25).for_each(|_| add_computed(&mut cost, &[unit, unit]));
        pictures.iter().for_each(|(bytes, _)| add_computed(&mut cost, &[*bytes]));
    }
    cost
}

fn add_computed(cost: &mut Cost, units: &[u64]) {
    // Flags 1, dts 8 at first and 2 as a difference, pts 2, duration 2, length 1, 2 or 4 bytes.
    let length = |unit: u64| if unit < 64 { 1 } else { 2 + 2 * u64::from(unit >= 1 << 14) };
    let records =
        units.iter().zip(0..).map(|(unit, n)| 1 + if n == 0 { 8 } else { 2 } + 2 + 2 + length(*unit));
    let mut rest = records.sum::<u64>() + units.iter().sum::<u64>();
    cost.payload += units.iter().sum::<u64>();
    // Kind 1, tag 4, block 4, flags 1, close time 4, media time 4, signature 64.
    let header = 1 + 4 + 4 + 1 + 4 + 4 + 64;
    while rest > 0 {
        let plain = rest.min(62 * 1008);
        rest -= plain;
        let shards = plain.div_ceil(1008);
        if shards == 1 {
            cost.add(&[header + plain + 16]);
            continue;
        }
        let mut sizes = vec![header + 4 + 16 * shards];
        let fragment = 1 + 4 + 4 + 1 + 16;
        sizes.extend((0..shards).map(|index| fragment + (plain - index * 1008).min(1008)));
        cost.add(&sizes);
    }
}

fn with_audio(bitrate: u64) -> Vec<Arrival> {
    let mut arrivals = video(bitrate - 64_000);
    arrivals.extend(audio(1, 64_000));
    arrivals
}

#[test]
fn the_table_is_what_is_computed_and_measured() {
    let streams = [
        ("Opus alone, 64 kbit/s", measured(audio(0, 64_000)), computed(64_000, &[])),
        ("300 kbit/s, 25 fps, Opus", measured(with_audio(300_000)), computed(64_000, &pictures(236_000))),
        ("1 Mbit/s, 25 fps, Opus", measured(with_audio(1_000_000)), computed(64_000, &pictures(936_000))),
        ("1 Mbit/s, 25 fps, no sound", measured(video(1_000_000)), {
            let mut cost = Cost::default();
            (0..SECONDS).flat_map(|_| pictures(1_000_000)).for_each(|(b, _)| add_computed(&mut cost, &[b]));
            cost
        }),
        ("8 Mbit/s, 25 fps, Opus", measured(with_audio(8_000_000)), computed(64_000, &pictures(7_936_000))),
    ];
    for (name, measured, computed) in &streams {
        println!("{}\n  computed {}", measured.row(name), computed.row(name));
        let far =
            (measured.mesh() - computed.mesh()).abs().max((measured.format() - computed.format()).abs());
        assert!(far < 0.2, "{name}: computed and measured are {far:.2} points apart");
        assert!(PAGE.contains(&measured.row(name)), "docs/wire.md says otherwise: {}", measured.row(name));
    }
    let [alone, low, middle, silent, high] = streams.map(|(_, measured, _)| measured);
    assert!(alone.mesh() <= 60.0 && low.mesh_packed() <= 30.0);
    assert!(middle.format() <= 12.0 && middle.mesh_packed() <= 16.0 && silent.multicast() <= 12.0);
    assert!(high.format() <= 6.0);
}
