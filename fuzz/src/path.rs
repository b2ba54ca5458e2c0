//! The path of access units, with a publisher who may be wrong, and a network that loses and repeats.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::catalogue::{AccessUnit, TrackId};
use swarmcast_core::fragment::{Cutter, Draft, Joiner, Submission};
use swarmcast_core::ids::{BlockId, MediaTime, Now, Priority, Stripe};
use swarmcast_core::seal::SealedBlock;
use swarmcast_core::window::Window;
use swarmcast_core::wire::{BlockHeader, Datagram, put_varint, put_zigzag};

use super::feed::Feed;
use super::model::{Model, Plain};
use super::signed::FORGE;

/// Most plaintext that a case makes: three full blocks.
const PLAIN_BYTES_MAX: usize = 200_000;

/// Any plaintext in any blocks, sealed and signed: the joiner says what the model says.
pub fn join(data: &[u8]) {
    let mut feed = Feed::new(data);
    let (mut joiner, mut model, mut block, mut made) = (Joiner::default(), Model::default(), 0, 0);
    while !feed.is_dry() && made < PLAIN_BYTES_MAX {
        let shape = feed.u8();
        block += if shape & 0x70 == 0 { 2 } else { 1 };
        let bytes = draw_plain(&mut feed, shape & 7);
        made += bytes.len();
        let plain = Plain { block, continues: shape & 0x80 != 0, bytes };
        let lost = shape >> 4 & 7;
        let sealed = seal(plain.block, plain.continues, Priority::Essential, &plain.bytes, lost);
        let mut units = Vec::new();
        let accepted = push(&mut joiner, &sealed, lost, &mut units).is_ok();
        assert_eq!((units, accepted), model.push(&plain));
    }
}

/// Records with lengths that are right, a little wrong, or anything; at least a byte.
fn draw_plain(feed: &mut Feed<'_>, records: u8) -> Vec<u8> {
    let mut plain = Vec::new();
    for _ in 0..records {
        plain.push(feed.u8());
        put_zigzag(&mut plain, feed.number() as i64);
        put_zigzag(&mut plain, feed.number() as i64);
        put_varint(&mut plain, feed.number());
        let bytes = match feed.u8() {
            short @ 0..=127 => usize::from(short),
            _ => usize::from(feed.u16()),
        };
        let claimed = match feed.u8() % 8 {
            0 => bytes + 1 + usize::from(feed.u16()),
            1 => bytes.saturating_sub(1),
            2 => feed.number() as usize,
            _ => bytes,
        };
        put_varint(&mut plain, claimed as u64);
        plain.resize(plain.len() + bytes, feed.u8());
    }
    if records == 0 {
        plain.extend_from_slice(feed.bytes(300));
    }
    plain.resize(plain.len().clamp(1, 62 * 1008), 0);
    plain
}

/// Any access units: cut, sealed, sent as bytes, lost and repeated in part, joined. What is not lost arrives as it was.
pub fn journey(data: &[u8]) {
    let mut feed = Feed::new(data);
    let harm = feed.u8() & 1 == 1;
    let (mut cutter, mut drafts, mut sent) = (Cutter::default(), Vec::new(), Vec::new());
    let (mut now, mut made, mut clocks) = (Now(0), 0, [0_i64; 4]);
    while !feed.is_dry() && made < PLAIN_BYTES_MAX && sent.len() < 64 {
        let work = draw_unit(&mut feed, &mut clocks);
        made += work.unit.payload.len();
        now = now.after(Duration::from_millis(u64::from(feed.u8())));
        cutter.close_due(now, &mut drafts);
        cutter.push(now, &work, feed.u8() & 1 == 1, &mut drafts);
        sent.push(work.unit);
    }
    cutter.close_all(&mut drafts);
    assert_eq!(cutter.next_timeout(), None);
    let (mut joiner, mut units) = (Joiner::default(), Vec::new());
    for (draft, block) in drafts.iter().zip(0..) {
        let Draft { continues, priority, plain, .. } = draft;
        assert!((1..=62 * 1008).contains(&plain.len()));
        let fate = if harm { feed.u8() } else { 3 };
        let sealed = seal(block, *continues, *priority, plain, fate >> 2);
        for _ in 0..[0, 2, 1, 1][usize::from(fate & 3)] {
            let taken = push(&mut joiner, &sealed, fate >> 3, &mut units);
            assert!(harm || taken.is_ok());
        }
    }
    for track in (0..4).map(TrackId) {
        let mut whole = sent.iter().filter(|unit| unit.track == track);
        // A repeated block repeats its units; a lost one leaves them out; the order stays.
        let mut arrived: Vec<_> = units.iter().filter(|unit| unit.track == track).collect();
        if harm {
            assert!(arrived.iter().all(|unit| sent.contains(unit)));
        } else {
            arrived.retain(|unit| whole.next() == Some(unit));
            assert_eq!(
                (arrived.len(), whole.next()),
                (units.iter().filter(|u| u.track == track).count(), None)
            );
        }
    }
}

fn draw_unit(feed: &mut Feed<'_>, clocks: &mut [i64; 4]) -> Submission {
    let shape = feed.u8();
    let track = shape & 3;
    let clock = &mut clocks[usize::from(track)];
    *clock = (*clock + (feed.number() >> 8) as i64).min(1 << 59);
    let bytes = match shape >> 2 & 3 {
        0 | 1 => usize::from(feed.u8()),
        2 => usize::from(feed.u16() % 5000),
        _ => 62 * 1008 - 64 + usize::from(feed.u8()) + 62 * 1008 * usize::from(feed.u8() & 1),
    };
    let unit = AccessUnit {
        track: TrackId(track),
        dts: *clock,
        pts: *clock + i64::from(feed.u8()) - 128,
        duration: u32::from(feed.u8()),
        key: shape & 0x40 != 0,
        disposable: shape & 0x80 != 0,
        payload: vec![feed.u8(); bytes].into(),
    };
    let priority =
        [Priority::Essential, Priority::Reference, Priority::Disposable][usize::from(shape >> 4 & 3) % 3];
    Submission { unit, priority, random_access: feed.u8() & 7 == 0, media_time: MediaTime(*clock) }
}

/// A header that describes a block to be sealed.
pub(crate) fn blank_header(block: u64) -> BlockHeader {
    BlockHeader {
        block: BlockId(block),
        stripe: Stripe(0),
        priority: Priority::Essential,
        continues: false,
        random_access: false,
        data: 0,
        parity: 0,
        last_shard_bytes: 0,
        closed: Duration::ZERO,
        media_time: MediaTime(0),
        leaves: Vec::new(),
    }
}

fn seal(block: u64, continues: bool, priority: Priority, plain: &[u8], parity: u8) -> SealedBlock {
    let header = BlockHeader { continues, priority, ..blank_header(block) };
    FORGE.sealer.seal(header, plain, parity)
}

/// Carries a block as bytes, verifies it, lets parity make good up to `lost` shards, and gives it to the joiner.
fn push(joiner: &mut Joiner, sealed: &SealedBlock, lost: u8, units: &mut Vec<AccessUnit>) -> Result<(), ()> {
    let keys = FORGE.sealer.keys();
    let datagram = Bytes::copy_from_slice(sealed.header.datagram());
    let header = keys.verify_header(datagram).expect("the publisher signed it");
    let block = header.header().block;
    let lost = usize::from(lost.min(header.header().parity));
    let mut window = Window::new(block, usize::MAX, Duration::from_secs(8));
    window.insert_header(Now(0), header.clone());
    for fragment in &sealed.fragments[lost..] {
        let Ok(Datagram::Fragment(view)) = Datagram::decode(fragment.datagram()) else {
            panic!("{fragment:?} is no fragment");
        };
        let verified = header.verify(view, fragment.datagram().clone()).expect("its leaf is in the header");
        window.insert_fragment(Now(0), verified);
    }
    window.recover(Now(0), block).expect("the publisher is honest");
    let slot = window.slot(block).expect("its header is there");
    assert!(slot.is_complete());
    joiner.push(keys, header.header(), slot.shards(), units).map_err(|_| ())
}
