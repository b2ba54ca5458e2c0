//! The overhead table of `docs/wire.md`, measured: modelled streams are cut and sealed, and their bytes counted.

use std::time::Duration;

use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_core::fragment::{Cutter, Draft, Submission};
use swarmcast_core::ids::{BlockId, Epoch, MediaTime, Now, Priority, Stripe, WallClock};
use swarmcast_core::seal::Sealer;
use swarmcast_core::wire::{Beacon, BlockHeader, StreamState};

use crate::material::{EPOCH, sealer};

/// IPv4 (RFC 791) and UDP (RFC 768) headers.
const IP_UDP_BYTES: u64 = 20 + 8;
/// QUIC 1-RTT packet with one datagram: flags 1, connection id 8, packet number 2, frame type and length 3, AEAD tag 16
/// (RFC 9000, section 17.3; RFC 9221, section 4).
const QUIC_BYTES: u64 = 1 + 8 + 2 + 3 + 16;
const SECONDS: u64 = 20;
const BEACON_INTERVAL: Duration = Duration::from_millis(250);

/// What a modelled stream cost.
#[derive(Default)]
struct Cost {
    payload: u64,
    datagrams: u64,
    bytes: u64,
    blocks: u64,
    beacon_bytes: u64,
}

impl Cost {
    fn percent(&self, bytes: u64) -> f64 {
        100.0 * bytes as f64 / self.payload as f64
    }

    /// The format's own share: records, tags, fragment heads, block headers.
    fn format(&self) -> f64 {
        self.percent(self.bytes - self.payload)
    }

    /// With the headers of the packets that carry each datagram.
    fn on_wire(&self, packet_bytes: u64) -> f64 {
        self.format() + self.percent(self.datagrams * packet_bytes)
    }

    fn beacons(&self, packet_bytes: u64) -> f64 {
        self.percent(self.beacon_bytes + SECONDS * 4 * packet_bytes)
    }
}

/// One access unit of the model: when it is there, in microseconds, and how large.
struct Arrival {
    at: u64,
    work: Submission,
}

fn arrival(track: u8, at: u64, bytes: u64, priority: Priority, key: bool) -> Arrival {
    let unit = AccessUnit {
        track: TrackId(track),
        dts: at as i64 * 9 / 100,
        pts: at as i64 * 9 / 100 + 3_600,
        duration: 3_600,
        key,
        disposable: priority == Priority::Disposable,
        payload: vec![0; bytes as usize].into(),
    };
    let random_access = key && track == 0;
    Arrival { at, work: Submission { unit, priority, random_access, media_time: MediaTime(at as i64) } }
}

/// Opus: a unit of constant size every 20 ms.
fn audio(track: u8, bitrate: u64) -> Vec<Arrival> {
    let bytes = bitrate / 8 / 50;
    (0..SECONDS * 50).map(|n| arrival(track, n * 20_000, bytes, Priority::Essential, true)).collect()
}

/// 25 pictures a second, a random-access point a second, two droppable pictures between references. A key picture is 8
/// times as large as the mean, a droppable one half of it.
fn video(bitrate: u64) -> Vec<Arrival> {
    const WEIGHTS: u64 = 16 + 8 * 3 + 16;
    let unit = bitrate / 8 / WEIGHTS;
    let picture = |n: u64| match n % 25 {
        0 => (16 * unit, Priority::Reference, true),
        place if place % 3 == 0 => (3 * unit, Priority::Reference, false),
        _ => (unit, Priority::Disposable, false),
    };
    (0..SECONDS * 25)
        .map(|n| {
            let (bytes, priority, key) = picture(n);
            arrival(0, n * 40_000, bytes, priority, key)
        })
        .collect()
}

/// Cuts and seals everything; a timer fires `late` after it is due, as a driver's would.
fn publish(mut arrivals: Vec<Arrival>, late: Duration) -> Cost {
    arrivals.sort_by_key(|arrival| arrival.at);
    let (sealer, mut cutter, mut drafts) = (sealer(), Cutter::default(), Vec::new());
    let mut cost = Cost::default();
    for arrival in &arrivals {
        let now = Now(arrival.at);
        while let Some(due) = cutter.next_timeout().map(|due| due.after(late)).filter(|due| *due < now) {
            cutter.close_due(due, &mut drafts);
            count(&sealer, due, &mut drafts, &mut cost);
        }
        cutter.push(now, &arrival.work, false, &mut drafts);
        count(&sealer, now, &mut drafts, &mut cost);
        cost.payload += arrival.work.unit.payload.len() as u64;
    }
    cutter.close_all(&mut drafts);
    count(&sealer, Now(SECONDS * 1_000_000), &mut drafts, &mut cost);
    for at in (0..SECONDS * 1_000_000).step_by(BEACON_INTERVAL.as_micros() as usize) {
        cost.beacon_bytes += beacon(&sealer, Duration::from_micros(at), HOURS_OF_BLOCKS);
    }
    cost
}

/// A stream that has run for some hours: its numbers take the 4 bytes that they take for most of its life.
const HOURS_OF_BLOCKS: u64 = 400_000;

fn count(sealer: &Sealer, now: Now, drafts: &mut Vec<Draft>, cost: &mut Cost) {
    for draft in drafts.drain(..) {
        let header = BlockHeader {
            block: BlockId(HOURS_OF_BLOCKS + cost.blocks),
            stripe: Stripe(0),
            priority: draft.priority,
            continues: draft.continues,
            random_access: draft.random_access,
            data: 0,
            parity: 0,
            last_shard_bytes: 0,
            closed: Duration::from_secs(10_000) + now.since(Now(0)),
            media_time: MediaTime(10_000_000_000 + draft.media_time.0),
            leaves: Vec::new(),
        };
        let sealed = sealer.seal(header, &draft.plain);
        cost.blocks += 1;
        cost.datagrams += 1 + sealed.fragments.len() as u64;
        cost.bytes += sealed.header.datagram().len() as u64;
        cost.bytes += sealed.fragments.iter().map(|fragment| fragment.datagram().len() as u64).sum::<u64>();
    }
}

fn beacon(sealer: &Sealer, at: Duration, blocks: u64) -> u64 {
    let beacon = Beacon {
        epoch: Epoch(EPOCH.0),
        at: Duration::from_secs(10_000) + at,
        wall: WallClock(EPOCH.0),
        state: StreamState::Live,
        blocks,
        random_access: Some(BlockId(blocks - 20)),
        nonces: Vec::new(),
    };
    sealer.seal_beacon(&beacon).len() as u64
}

fn with_audio(bitrate: u64) -> Vec<Arrival> {
    let mut arrivals = video(bitrate - 64_000);
    arrivals.extend(audio(1, 64_000));
    arrivals
}

fn row(name: &str, cost: &Cost) {
    let quic = IP_UDP_BYTES + QUIC_BYTES;
    println!(
        "| {name} | {:.0} | {:.1} | {:.1} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |",
        cost.payload as f64 * 8.0 / 1000.0 / SECONDS as f64,
        cost.blocks as f64 / SECONDS as f64,
        cost.datagrams as f64 / SECONDS as f64,
        cost.format(),
        cost.on_wire(IP_UDP_BYTES),
        cost.on_wire(quic),
        cost.beacons(quic),
    );
}

#[test]
fn overhead_keeps_to_its_goals() {
    let quic = IP_UDP_BYTES + QUIC_BYTES;
    let punctual = Duration::ZERO;
    let alone = publish(audio(0, 64_000), punctual);
    let alone_late = publish(audio(0, 64_000), Duration::from_millis(2));
    let low = publish(with_audio(300_000), punctual);
    let middle = publish(with_audio(1_000_000), punctual);
    let high = publish(with_audio(8_000_000), punctual);
    println!("| stream | kbit/s | blocks/s | datagrams/s | format | + IP, UDP | + QUIC | beacons |");
    row("Opus alone", &alone);
    row("Opus alone, late timer", &alone_late);
    row("video only 1", &publish(video(1_000_000), punctual));
    row("300", &low);
    row("1000", &middle);
    row("8000", &high);
    assert!(alone.on_wire(quic) <= 60.0);
    assert!(high.format() <= 6.0);
}
