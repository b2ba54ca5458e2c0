//! Parity: any `data` of a block's shards give back the others, byte for byte, and only what the publisher signed.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use swarmcast_core::ids::{BlockId, Now};
use swarmcast_core::parity::{ParityError, Shard, encode, recover};
use swarmcast_core::seal::{SealedBlock, VerifiedFragment, VerifyError, leaf};
use swarmcast_core::window::{Inserted, Window};
use swarmcast_core::wire::{BlockHeader, SHARD_BYTES, SHARD_PLAIN_BYTES, SHARDS_MAX, Want};

use crate::forge::Forge;
use crate::material::{EPOCH, SEED, blank_header, group, sealer};

/// A shard of 1,024 different-looking bytes.
fn shard(salt: u8) -> Shard {
    std::array::from_fn(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ salt.wrapping_mul(101))
}

fn window() -> Window {
    Window::new(BlockId(0), 64 << 20, Duration::from_secs(8))
}

/// A block of 3 data shards, the last of them short, and `parity` more.
fn sealed(parity: u8) -> SealedBlock {
    let plain: Vec<u8> = (0..2 * SHARD_PLAIN_BYTES + 100).map(|at| (at / 7) as u8).collect();
    sealer().seal(blank_header(0), &plain, parity)
}

/// A window that holds the block's header and some of its fragments.
fn holding(sealed: &SealedBlock, indices: &[usize]) -> Window {
    let mut window = window();
    window.insert_header(Now(0), sealed.header.clone());
    for index in indices {
        let inserted = window.insert_fragment(Now(0), sealed.fragments[*index].clone());
        assert_eq!(inserted, Inserted::New, "fragment {index}");
    }
    window
}

/// Multiplication as the page defines it, bit by bit.
fn multiply(mut left: u8, right: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= if right >> bit & 1 == 1 { left } else { 0 };
        left = left << 1 ^ if left & 0x80 != 0 { 0x1d } else { 0 };
    }
    product
}

#[test]
fn parity_is_what_the_page_says() {
    let divide =
        |left: u8, right: u8| (0..=255).find(|quotient| multiply(*quotient, right) == left).expect("a field");
    let shards: Vec<Shard> = (0..40).map(shard).collect();
    let data: Vec<&[u8]> = shards.iter().map(|shard| &shard[..]).collect();
    let made = encode(&data, 22).expect("62 shards");
    for (row, made) in (0..).zip(&made) {
        let coefficients: Vec<u8> = (0..40).map(|index| divide(128 ^ index, (128 + row) ^ index)).collect();
        for at in [0, 1, 127, 128, 500, 1023] {
            let sum =
                shards.iter().zip(&coefficients).fold(0, |sum, (shard, by)| sum ^ multiply(shard[at], *by));
            assert_eq!(made[at], sum, "row {row}, byte {at}");
        }
    }
    // The page's example: three data shards of one byte.
    let made = encode(&[&[1], &[2], &[4]], 4).expect("7 shards");
    assert_eq!(made.iter().map(|shard| shard[0]).collect::<Vec<_>>(), [7, 17, 244, 22]);
    assert!(made.iter().all(|shard| shard[1..] == [0; 1023]), "short shards are filled up with zeros");
}

#[test]
fn impossible_counts_and_lengths_are_refused() {
    let shards: Vec<Shard> = (0..63).map(shard).collect();
    let data: Vec<&[u8]> = shards.iter().map(|shard| &shard[..]).collect();
    let counts = |data, parity| Some(ParityError::Counts { data, parity });
    assert_eq!(encode(&[], 1).err(), counts(0, 1));
    assert_eq!(encode(&data, 0).err(), counts(63, 0));
    assert_eq!(encode(&data[..40], 23).err(), counts(40, 23));
    assert_eq!(encode(&data[..40], usize::MAX).err(), counts(40, usize::MAX));
    assert_eq!(encode(&data[..62], 0), Ok(Vec::new()));
    assert_eq!(encode(&[&[0; 1025]], 1).err(), Some(ParityError::Length(1025)));
    assert_eq!(recover(&[], &[None]).err(), counts(0, 1));
    assert_eq!(recover(&[None; 40], &[None; 23]).err(), counts(40, 23));
    assert_eq!(recover(&[None, Some(&[0; 1025])], &[Some(&[0])]).err(), Some(ParityError::Length(1025)));
    assert_eq!(recover(&[None, Some(&[1])], &[None]).err(), Some(ParityError::TooFew { held: 1, data: 2 }));
    assert_eq!(recover(&[Some(&[1])], &[None]), Ok(Vec::new()));
}

proptest! {
    /// Whatever is lost, as long as `data` shards are left.
    #[test]
    fn any_of_the_shards_give_back_the_data(
        (data, parity) in (1..=SHARDS_MAX).prop_flat_map(|data| (Just(data), 0..=SHARDS_MAX - data)),
        last in 1..=SHARD_BYTES,
        order in vec(any::<u32>(), SHARDS_MAX),
        spare in 0..3_usize,
    ) {
        let shards: Vec<Shard> = (0..data as u8).map(shard).collect();
        let mut sent: Vec<&[u8]> = shards.iter().map(|shard| &shard[..]).collect();
        sent[data - 1] = &shards[data - 1][..last];
        let made = encode(&sent, parity).expect("the counts are in range");
        let mut all: Vec<usize> = (0..data + parity).collect();
        all.sort_by_key(|index| order[*index]);
        let kept = &all[..(data + spare).min(data + parity)];
        let (sent, made) = (
            (0..data).map(|index| kept.contains(&index).then_some(sent[index])).collect::<Vec<_>>(),
            (0..parity).map(|row| kept.contains(&(data + row)).then_some(&made[row][..])).collect::<Vec<_>>(),
        );
        let back = recover(&sent, &made).expect("enough is held");
        let lost: Vec<usize> = (0..data).filter(|index| !kept.contains(index)).collect();
        prop_assert_eq!(back.iter().map(|(index, _)| usize::from(*index)).collect::<Vec<_>>(), lost);
        for (index, shard) in &back {
            let index = usize::from(*index);
            let bytes = if index == data - 1 { last } else { SHARD_BYTES };
            prop_assert_eq!(&shard[..bytes], &shards[index][..bytes]);
            prop_assert!(shard[bytes..].iter().all(|symbol| *symbol == 0));
        }
    }
}

#[test]
fn a_sealed_block_carries_as_much_parity_as_it_has_room_for() {
    let sealer = sealer();
    for (shards, asked, given) in
        [(1, 3, 0), (2, 0, 0), (2, 1, 1), (2, 255, 60), (40, 10, 10), (60, 14, 2), (61, 1, 1), (62, 9, 0)]
    {
        let block = sealer.seal(blank_header(4), &vec![7; shards * SHARD_PLAIN_BYTES], asked);
        let header = block.header.header();
        assert_eq!((usize::from(header.data), header.parity), (shards, given), "{shards}+{asked}");
        assert_eq!(header.data_word().count_ones() as usize, shards);
        assert_eq!(header.full_word() & !header.data_word(), header.full_word() >> shards << shards);
        assert_eq!(block.header.inline_shard().is_some(), shards == 1);
        let verified = sealer.keys().verify_header(block.header.datagram().clone()).expect("it was signed");
        assert_eq!(verified.header(), header);
        assert!(block.fragments.iter().map(|fragment| fragment.id().index).eq(0..header.leaves.len() as u8));
        for fragment in &block.fragments {
            assert_eq!(header.leaves[usize::from(fragment.id().index)], leaf(fragment.shard()));
            assert_eq!(fragment.shard().len(), header.shard_bytes(fragment.id().index));
        }
    }
}

#[test]
fn parity_gives_back_the_publishers_own_datagrams() {
    let block = sealed(2);
    for lost in [[0, 1], [0, 2], [1, 2]] {
        let mut window = window();
        window.insert_header(Now(0), block.header.clone());
        let kept = (0..5).filter(|index| !lost.contains(index));
        for index in kept {
            assert!(!window.slot(BlockId(0)).expect("it is there").is_recoverable());
            assert_eq!(window.recover(Now(1), BlockId(0)), Ok(0));
            window.insert_fragment(Now(1), block.fragments[index].clone());
        }
        assert!(window.slot(BlockId(0)).expect("it is there").is_recoverable());
        let bits = lost.iter().fold(0, |word, index| word | 1 << index);
        assert_eq!(window.slot(BlockId(0)).map(|slot| slot.missing()), Some(bits));
        assert_eq!(window.recover(Now(2), BlockId(0)), Ok(bits));
        let slot = window.slot(BlockId(0)).expect("it is there");
        assert!(slot.is_complete() && !slot.is_recoverable());
        assert_eq!(slot.touched(), Now(2));
        assert!(slot.shards().eq(block.fragments[..3].iter().map(VerifiedFragment::shard)));
        for index in 0..3 {
            let datagram = slot.datagram(Some(index));
            assert_eq!(datagram, Some(block.fragments[usize::from(index)].datagram()), "shard {index}");
        }
        assert_eq!(window.recover(Now(3), BlockId(0)), Ok(0));
        assert_eq!(window.base(), BlockId(1));
    }
}

#[test]
fn a_complete_block_pins_no_parity_except_at_the_publisher() {
    let block = sealed(2);
    let bytes = |upto: usize| -> usize {
        let fragments = block.fragments[..upto].iter().map(|fragment| fragment.datagram().len());
        block.header.datagram().len() + fragments.sum::<usize>()
    };
    let slot_bytes = holding(&block, &[]).bytes() - bytes(0);
    let mut viewer = holding(&block, &[3, 0, 1]);
    assert_eq!(viewer.slot(BlockId(0)).map(|slot| slot.word()), Some(Want::HEADER | 0b1011));
    viewer.insert_fragment(Now(0), block.fragments[2].clone());
    assert_eq!(viewer.bytes(), slot_bytes + bytes(3));
    let slot = viewer.slot(BlockId(0)).expect("it is there");
    assert_eq!((slot.word(), slot.missing(), slot.is_complete()), (Want::HEADER | 0b111, 0, true));
    assert_eq!(slot.datagram(Some(3)), None);
    assert_eq!(viewer.insert_fragment(Now(0), block.fragments[4].clone()), Inserted::Spare);
    assert_eq!(viewer.insert_fragment(Now(0), block.fragments[2].clone()), Inserted::Duplicate);
    assert_eq!(viewer.bytes(), slot_bytes + bytes(3));
    let mut publisher = window();
    publisher.keep_parity();
    publisher.insert_header(Now(0), block.header.clone());
    for fragment in &block.fragments {
        assert_eq!(publisher.insert_fragment(Now(0), fragment.clone()), Inserted::New);
    }
    let slot = publisher.slot(BlockId(0)).expect("it is there");
    assert_eq!((slot.word(), slot.is_complete()), (Want::HEADER | 0b1_1111, true));
    assert_eq!(slot.shards().count(), 3, "shards are data only");
    assert_eq!(publisher.bytes(), slot_bytes + bytes(5));
    publisher.start_at(BlockId(1));
    assert_eq!(publisher.bytes(), 0);
}

#[test]
fn an_inline_block_needs_no_parity() {
    let block = sealer().seal(blank_header(0), &[1; 30], 5);
    let mut window = window();
    window.insert_header(Now(0), block.header.clone());
    assert_eq!(window.recover(Now(0), BlockId(0)), Ok(0));
    assert_eq!(window.slot(BlockId(0)).map(|slot| slot.word()), Some(Want::HEADER | 1));
    assert_eq!(block.header.rebuild(0, &[1; 46]).err(), Some(VerifyError::Foreign));
}

#[test]
fn parity_that_is_none_is_found_out_once_and_dropped() {
    let forge = Forge::new(&group("lobby"), &SEED, EPOCH);
    let block = sealed(1);
    let mut header: BlockHeader = block.header.header().clone();
    let lie = [9; SHARD_BYTES];
    header.leaves[3] = leaf(&lie);
    let verified = forge.sealer.keys().verify_header(forge.header(&header, &[])).expect("it is signed");
    let mut window = window();
    window.insert_header(Now(0), verified.clone());
    for index in 1..3_u8 {
        let fragment = verified.rebuild(index, block.fragments[usize::from(index)].shard()).expect("honest");
        window.insert_fragment(Now(0), fragment);
    }
    let honest = window.bytes();
    let lie = verified.rebuild(3, &lie).expect("its leaf is signed");
    assert_eq!(window.insert_fragment(Now(0), lie.clone()), Inserted::New);
    assert_eq!(window.recover(Now(1), BlockId(0)), Err(VerifyError::Leaf));
    let slot = window.slot(BlockId(0)).expect("it is there");
    assert_eq!((slot.word(), slot.missing()), (Want::HEADER | 0b110, 0b001));
    assert_eq!((window.bytes(), window.recover(Now(1), BlockId(0))), (honest, Ok(0)));
    assert_eq!(window.insert_fragment(Now(1), lie), Inserted::Spare);
    window.insert_fragment(Now(1), verified.rebuild(0, block.fragments[0].shard()).expect("honest"));
    assert!(window.slot(BlockId(0)).expect("it is there").is_complete());
}

#[test]
fn a_rebuilt_shard_must_match_its_leaf() {
    let block = sealed(1);
    let mut padded = block.fragments[2].shard().to_vec();
    padded.resize(SHARD_BYTES, 0);
    let rebuilt = block.header.rebuild(2, &padded).expect("padding is cut off");
    assert_eq!((rebuilt.id(), rebuilt.datagram()), (block.fragments[2].id(), block.fragments[2].datagram()));
    assert_eq!(block.header.rebuild(1, &padded).err(), Some(VerifyError::Leaf));
    assert_eq!(block.header.rebuild(0, &padded[..1000]).err(), Some(VerifyError::Leaf));
    assert_eq!(block.header.rebuild(4, &padded).err(), Some(VerifyError::Foreign));
    padded[5] ^= 1;
    assert_eq!(block.header.rebuild(2, &padded).err(), Some(VerifyError::Leaf));
}
