//! Blocks with parity, of which parts are lost, by a publisher who may sign nonsense: what comes back is what was
//! sealed, or nothing does.

use std::time::Duration;

use bytes::Bytes;
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::parity::{ParityError, encode, recover};
use swarmcast_core::seal::{VerifiedFragment, VerifiedHeader, leaf};
use swarmcast_core::window::{Inserted, Slot, Window};
use swarmcast_core::wire::{SHARD_PLAIN_BYTES, Want};

use super::feed::Feed;
use super::path::blank_header;
use super::signed::FORGE;

const BLOCK: BlockId = BlockId(9);

/// Any shards to the code itself, or any block in a window.
pub fn parity(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() & 3 {
        0 => code(&mut feed),
        shape => block(&mut feed, shape == 1),
    }
}

/// Any counts and lengths: an error or the shards that are missing, as the model of counts has it.
fn code(feed: &mut Feed<'_>) {
    let (data, parity) = (usize::from(feed.u8() % 66), usize::from(feed.u8() % 66));
    let shards: Vec<Vec<u8>> = (0..data)
        .map(|_| match feed.u8() {
            short @ 0..=99 => vec![feed.u8(); usize::from(short)],
            100..=250 => vec![feed.u8(); 1024],
            _ => vec![1; 1000 + usize::from(feed.u8() & 31)],
        })
        .collect();
    let sent: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
    let made = encode(&sent, parity);
    let possible = data > 0 && data + parity <= 62;
    let longest = shards.iter().map(Vec::len).max().unwrap_or(0);
    match &made {
        Ok(made) => assert!(possible && longest <= 1024 && made.len() == parity),
        Err(ParityError::Counts { .. }) => return assert!(!possible),
        Err(ParityError::Length(bytes)) => return assert!(possible && *bytes > 1024),
        Err(other) => panic!("{other}"),
    }
    let made = made.unwrap_or_default();
    let held: Vec<_> = sent.iter().map(|shard| (feed.u8() & 1 == 0).then_some(*shard)).collect();
    let rows: Vec<_> = made.iter().map(|shard| (feed.u8() & 1 == 0).then_some(&shard[..])).collect();
    let missing: Vec<usize> = (0..data).filter(|index| held[*index].is_none()).collect();
    match recover(&held, &rows) {
        Ok(back) => {
            assert!(back.iter().map(|(index, _)| usize::from(*index)).eq(missing));
            for (index, shard) in &back {
                let (whole, padding) = shard.split_at(sent[usize::from(*index)].len());
                assert!(whole == sent[usize::from(*index)] && padding.iter().all(|byte| *byte == 0));
            }
        }
        Err(why) => {
            let held = held.iter().chain(&rows).flatten().count();
            assert!(held < data);
            assert_eq!(why, ParityError::TooFew { held, data });
        }
    }
}

/// A block that was sealed, with the truth altered before the header was signed unless it is honest.
fn block(feed: &mut Feed<'_>, honest: bool) {
    let shards = 1 + usize::from(feed.u8() % 62);
    let plain = vec![feed.u8(); shards * SHARD_PLAIN_BYTES - usize::from(feed.u16()) % SHARD_PLAIN_BYTES];
    let sealed = FORGE.sealer.seal(blank_header(BLOCK.0), &plain, feed.u8());
    if sealed.fragments.is_empty() {
        return assert_eq!(shards, 1);
    }
    let mut header = sealed.header.header().clone();
    let mut truth: Vec<Vec<u8>> = sealed.fragments.iter().map(|fragment| fragment.shard().to_vec()).collect();
    if !honest {
        let at = usize::from(feed.u8()) % truth.len();
        let byte = usize::from(feed.u16()) % truth[at].len();
        truth[at][byte] ^= feed.u8().max(1);
        header.leaves[at] = leaf(&truth[at]);
    }
    let datagram: Bytes = FORGE.header(&header, &[]);
    let header = FORGE.sealer.keys().verify_header(datagram).expect("it was signed");
    let fragments: Vec<VerifiedFragment> = (0..)
        .zip(&truth)
        .map(|(index, shard)| header.rebuild(index, shard).expect("its leaf was signed"))
        .collect();
    receive(feed, honest, &header, &fragments);
}

/// Puts fragments into a window in any order, and recovers now and then.
fn receive(feed: &mut Feed<'_>, honest: bool, header: &VerifiedHeader, fragments: &[VerifiedFragment]) {
    let mut window = Window::new(BLOCK, 64 << 20, Duration::from_secs(8));
    if feed.u8() & 7 == 0 {
        window.keep_parity();
    }
    window.insert_header(Now(0), header.clone());
    let empty = window.bytes();
    while !feed.is_dry() {
        let draw = feed.u8();
        if draw < 192 {
            let fragment = &fragments[usize::from(draw) % fragments.len()];
            let inserted = window.insert_fragment(Now(0), fragment.clone());
            assert!(!matches!(inserted, Inserted::Old | Inserted::Ahead), "{inserted:?}");
        } else {
            let before = window.slot(BLOCK).map_or(0, Slot::missing);
            let possible = window.slot(BLOCK).is_some_and(Slot::is_recoverable);
            match window.recover(Now(0), BLOCK) {
                Ok(word) => assert_eq!(word, if possible { before } else { 0 }),
                Err(why) => assert!(possible && !honest, "{why}"),
            }
            assert!(!window.slot(BLOCK).is_some_and(Slot::is_recoverable));
        }
        check(&window, header, fragments, empty);
    }
}

/// What is held is what the header names, and is accounted for.
fn check(window: &Window, header: &VerifiedHeader, fragments: &[VerifiedFragment], empty: usize) {
    let slot = window.slot(BLOCK).expect("its header is there");
    let mut word = Want::HEADER;
    let mut bytes = empty;
    for fragment in fragments {
        let index = fragment.id().index;
        if let Some(datagram) = slot.datagram(Some(index)) {
            assert_eq!(datagram, fragment.datagram());
            word |= 1 << index;
            bytes += datagram.len();
        }
    }
    assert_eq!((slot.word(), window.bytes()), (word, bytes));
    assert_eq!(slot.missing(), header.header().data_word() & !word);
    assert_eq!(slot.shards().count(), (word & header.header().data_word()).count_ones() as usize);
}
