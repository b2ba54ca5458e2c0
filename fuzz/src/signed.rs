//! Headers and beacons that are wrong inside and right outside: the signature is made after the damage.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::{BlockId, Epoch, FragmentId, MediaTime, PeerId, Priority, Stripe, WallClock};
use swarmcast_core::seal::{SignedRoots, VerifiedHeader, VerifyError, leaf};
use swarmcast_core::wire::{Beacon, BlockHeader, Datagram, Offer, Place, StreamState, encode_fragment};

use super::feed::Feed;
use super::forge::Forge;

/// Keys are dear to make, so one publisher serves all cases.
pub(crate) static FORGE: LazyLock<Forge> = LazyLock::new(|| {
    let group = GroupSpec::open("fuzz").expect("the name is acceptable");
    Forge::new(&group, &[7; 32], Epoch(1_795_000_000_000))
});

/// Any block header, beacon and offer, signed.
pub fn header(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() % 4 {
        0 => beacon(&mut feed),
        1 => offer(&mut feed),
        _ => block(&mut feed),
    }
}

fn block(feed: &mut Feed<'_>) {
    let shape = feed.u8();
    let (edits, count) = (shape % 4, 1 + (shape >> 2 & 7));
    let (header, shards) = draw_header(feed);
    let inline = if header.is_inline() { feed.bytes(1200).to_vec() } else { Vec::new() };
    let mut body = Vec::new();
    let place = if header.is_inline() { None } else { Place::new((shape >> 5) % count, count) };
    header.encode_at(place.unwrap_or(Place::ALONE), FORGE.sealer.keys().tag(), &inline, &mut body);
    let honest = FORGE.finish_header(body.clone(), shape);
    for _ in 0..edits {
        let at = usize::from(feed.u16()) % body.len();
        body[at] ^= feed.u8();
    }
    let datagram = FORGE.finish_header(body, shape);
    assert!(edits > 0 || datagram == honest);
    let mut roots = SignedRoots::default();
    match FORGE.sealer.keys().verify_header_among(datagram.clone(), &mut roots) {
        Ok(verified) => {
            check_block(&verified, &shards, feed);
            check_proof(&datagram, roots, feed);
        }
        Err(why) => assert_ne!(why, VerifyError::Signature, "it was signed as it stands"),
    }
}

/// Whatever is altered of a header is refused, also when its root has verified before.
fn check_proof(datagram: &Bytes, mut roots: SignedRoots, feed: &mut Feed<'_>) {
    let keys = FORGE.sealer.keys();
    assert!(keys.verify_header_among(datagram.clone(), &mut roots).is_ok());
    let mut altered = datagram.to_vec();
    let at = usize::from(feed.u16()) % altered.len();
    altered[at] ^= feed.u8().max(1);
    assert!(keys.verify_header_among(altered.into(), &mut roots).is_err());
}

/// A header with any counts, and leaves that fit shards of the case where there are as many.
pub(crate) fn draw_header(feed: &mut Feed<'_>) -> (BlockHeader, Vec<Vec<u8>>) {
    let flags = feed.u8();
    let shape = feed.u8();
    let count = if shape & 1 == 0 { usize::from(shape >> 1) % 66 } else { usize::from(shape >> 1) % 4 };
    let shards: Vec<Vec<u8>> = (0..count)
        .map(|index| {
            vec![index as u8 ^ shape; if feed.u8() & 1 == 0 { 1024 } else { usize::from(feed.u16() % 1030) }]
        })
        .collect();
    let data = if feed.u8() & 1 == 0 { count as u8 } else { feed.u8() };
    let header = BlockHeader {
        block: BlockId(feed.number()),
        stripe: Stripe(flags & 7),
        priority: [Priority::Essential, Priority::Reference, Priority::Disposable]
            [usize::from(flags >> 3) % 3],
        continues: flags & 0x40 != 0,
        random_access: flags & 0x80 != 0,
        data,
        parity: if feed.u8() & 1 == 0 { (count as u8).wrapping_sub(data) } else { feed.u8() },
        last_shard_bytes: if feed.u8() & 1 == 0 { 1024 } else { feed.u16() },
        closed: Duration::from_micros(feed.number()),
        media_time: MediaTime(feed.number() as i64),
        leaves: shards.iter().map(|shard| leaf(shard)).collect(),
    };
    (header, shards)
}

fn check_block(verified: &VerifiedHeader, shards: &[Vec<u8>], feed: &mut Feed<'_>) {
    let header = verified.header();
    assert!(header.data >= 1 && header.data as usize + header.parity as usize <= 62);
    assert_eq!(header.full_word().count_ones(), u32::from(header.shards()));
    match verified.inline_shard() {
        Some(shard) => assert!(header.is_inline() && shard.len() == usize::from(header.last_shard_bytes)),
        None => assert_eq!(header.leaves.len(), usize::from(header.shards())),
    }
    for (index, shard) in (0..).zip(shards) {
        let named = if feed.u8() & 7 == 0 { feed.u8() } else { index };
        let block = if feed.u8() & 7 == 0 { BlockId(feed.number()) } else { header.block };
        let mut datagram = Vec::new();
        encode_fragment(FORGE.sealer.keys().tag(), FragmentId { block, index: named }, &mut datagram);
        datagram.extend_from_slice(shard);
        let Ok(Datagram::Fragment(view)) = Datagram::decode(&datagram) else { continue };
        let fits = header.leaves.get(usize::from(named)) == Some(&leaf(shard))
            && shard.len() == expected_bytes(header, named)
            && view.id.block == header.block;
        assert_eq!(verified.verify(view, Bytes::from(datagram)).is_ok(), fits);
    }
}

/// All shards are full but the last data shard; parity is as long as the longest.
fn expected_bytes(header: &BlockHeader, index: u8) -> usize {
    let longest = if header.data > 1 { 1024 } else { usize::from(header.last_shard_bytes) };
    if index < header.data && usize::from(index) + 1 == usize::from(header.data) {
        usize::from(header.last_shard_bytes)
    } else {
        longest
    }
}

/// A beacon with any fields, mostly of this epoch.
pub(crate) fn draw_beacon(feed: &mut Feed<'_>) -> Beacon {
    let own = feed.u8() & 3 != 0;
    let nonces = usize::from(feed.u8() % 12);
    Beacon {
        epoch: if own { FORGE.sealer.keys().epoch() } else { Epoch(feed.u64()) },
        at: Duration::from_micros(feed.number()),
        wall: WallClock(feed.number()),
        state: [StreamState::Live, StreamState::Paused, StreamState::Ended][usize::from(feed.u8()) % 3],
        multicast: feed.u8() & 1 == 1,
        full: feed.u8() & 1 == 1,
        blocks: feed.number(),
        random_access: (feed.u8() & 1 == 0).then_some(BlockId(feed.number())),
        rate: feed.number(),
        nonces: (0..nonces).map(|_| feed.u64()).collect(),
    }
}

fn beacon(feed: &mut Feed<'_>) {
    let (keys, beacon) = (FORGE.sealer.keys(), draw_beacon(feed));
    match keys.verify_beacon(&FORGE.beacon(&beacon)) {
        Ok(verified) => {
            assert_eq!(beacon.epoch, keys.epoch());
            assert!(verified.random_access.is_none_or(|block| block < BlockId(verified.blocks)));
            assert_eq!(verified.nonces[..], beacon.nonces[..beacon.nonces.len().min(8)]);
        }
        Err(why) => assert_ne!(why, VerifyError::Signature, "it was signed as it stands"),
    }
}

fn offer(feed: &mut Feed<'_>) {
    let keys = FORGE.sealer.keys();
    let offer = FORGE.offer(Offer {
        key: keys.key(),
        epoch: keys.epoch(),
        version: feed.number() % (1 << 62),
        publisher: PeerId([feed.u8(); 32]),
        sealed: feed.bytes(4096).to_vec().into(),
        signature: [0; 64],
    });
    let opened = keys.verify_offer(&offer);
    assert_eq!(opened, Err(VerifyError::Sealed), "nobody sealed these bytes");
}
