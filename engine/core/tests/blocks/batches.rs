//! Headers that share a signature: each proves itself, none proves another.

use bytes::Bytes;
use swarmcast_core::ids::{BlockId, FragmentId};
use swarmcast_core::seal::{SealedBlock, Sealer, SignedRoots, Unsealed, VerifyError};
use swarmcast_core::wire::{
    BATCH_INLINE_BYTES_MAX, BlockHeader, DATAGRAM_BYTES_MAX, Place, SHARD_PLAIN_BYTES,
};

use crate::forge::Forge;
use crate::material::{EPOCH, SEED, blank_header, group, sealer};

/// Seals blocks of so many shards together.
fn seal(sealer: &Sealer, shards: &[usize]) -> Vec<SealedBlock> {
    let plain: Vec<Vec<u8>> = shards.iter().map(|shards| vec![5; shards * SHARD_PLAIN_BYTES]).collect();
    let unsealed = plain.iter().zip(0..).map(|(plain, block)| Unsealed {
        header: blank_header(block),
        plain,
        parity: 0,
    });
    sealer.seal_all(unsealed.collect())
}

fn datagrams(blocks: &[SealedBlock]) -> Vec<Bytes> {
    blocks.iter().map(|block| block.header.datagram().clone()).collect()
}

fn place(datagram: &Bytes) -> Place {
    BlockHeader::decode(datagram).map(|(.., proof)| proof.place).expect("it is a header")
}

#[test]
fn each_header_of_a_batch_proves_itself_by_a_signature_that_all_share() {
    let sealer = sealer();
    for count in 2..=8_u8 {
        let headers = datagrams(&seal(&sealer, &vec![62; usize::from(count)]));
        for (index, header) in (0..).zip(&headers) {
            assert_eq!(Some(place(header)), Place::new(index, count));
            assert!(header.len() <= DATAGRAM_BYTES_MAX);
            assert_eq!(header[header.len() - 64..], headers[0][headers[0].len() - 64..]);
            let verified = sealer.keys().verify_header(header.clone()).expect("it was signed");
            assert_eq!(verified.header().block, BlockId(index.into()));
            assert_eq!(verified.datagram(), header);
        }
    }
}

#[test]
fn only_neighbours_of_many_shards_share_and_eight_at_most() {
    let sealer = sealer();
    let blocks = seal(&sealer, &[16, 40, 15, 62, 1, 17, 2]);
    let places: Vec<_> = datagrams(&blocks).iter().map(place).collect();
    let of_two = [0, 1].map(|index| Place::new(index, 2).expect("there are two"));
    let alone = Place::ALONE;
    assert_eq!(places, [of_two[0], of_two[1], alone, alone, alone, alone, alone]);
    assert_eq!(
        blocks.iter().map(|block| block.header.header().block.0).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6]
    );
    // By itself a block has the bytes that it has without others beside it.
    for block in &blocks[2..] {
        let header = block.header.header();
        let plain = vec![5; usize::from(header.data) * SHARD_PLAIN_BYTES];
        let lone = sealer.seal(blank_header(header.block.0), &plain, 0);
        assert_eq!(lone.header.datagram(), block.header.datagram());
    }
    let counts =
        datagrams(&seal(&sealer, &[20; 17])).iter().map(|header| place(header).count()).collect::<Vec<_>>();
    assert_eq!(counts, [[8; 8].as_slice(), &[8; 8], &[1]].concat());
}

#[test]
fn a_short_block_shares_the_signature_of_a_large_one_beside_it_and_carries_its_shard() {
    let sealer = sealer();
    let most = BATCH_INLINE_BYTES_MAX - 16;
    for (bytes, shared) in [
        (vec![300, 40_000], 2),
        (vec![40_000, most], 2),
        (vec![300, 40_000, 40_000, 300], 4),
        (vec![40_000, most + 1], 1),
        (vec![300, 300], 1),
    ] {
        let plain: Vec<Vec<u8>> = (1..).zip(&bytes).map(|(fill, bytes)| vec![fill; *bytes]).collect();
        let unsealed = (0..).zip(&plain).map(|(block, plain)| Unsealed {
            header: blank_header(block),
            plain,
            parity: 0,
        });
        let blocks = sealer.seal_all(unsealed.collect());
        for (header, plain) in datagrams(&blocks).into_iter().zip(&plain) {
            assert_eq!(place(&header).count(), shared, "{bytes:?}");
            assert!(header.len() <= DATAGRAM_BYTES_MAX);
            let verified = sealer.keys().verify_header(header).expect("it was signed");
            let mut opened = Vec::new();
            let id = FragmentId { block: verified.header().block, index: 0 };
            if let Some(shard) = verified.inline_shard() {
                sealer.keys().open(id, shard, &mut opened).expect("it was sealed");
                assert_eq!(&opened, plain);
            }
            assert_eq!(verified.inline_shard().is_some(), plain.len() < SHARD_PLAIN_BYTES);
        }
    }
}

#[test]
fn no_bit_can_be_flipped_whether_or_not_the_root_is_known() {
    let sealer = sealer();
    let headers = datagrams(&seal(&sealer, &[16; 5]));
    let mut known = SignedRoots::default();
    for header in &headers {
        assert!(sealer.keys().verify_header_among(header.clone(), &mut known).is_ok());
    }
    for header in [&headers[3], &headers[4]] {
        for bit in 0..header.len() * 8 {
            let mut altered = header.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            let altered = sealer.keys().verify_header_among(altered.into(), &mut known);
            assert!(altered.is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_path_serves_its_own_header_only() {
    let sealer = sealer();
    const PROOF_BYTES: usize = 3 * 16 + 64;
    let headers = datagrams(&seal(&sealer, &[16; 8]));
    for (at, header) in headers.iter().enumerate() {
        for (other_at, other) in headers.iter().enumerate().filter(|(other_at, _)| *other_at != at) {
            let moved = [&header[..header.len() - PROOF_BYTES], &other[other.len() - PROOF_BYTES..]].concat();
            let refused = sealer.keys().verify_header(moved.into()).err();
            assert_eq!(refused, Some(VerifyError::Signature), "{at} by the path of {other_at}");
        }
    }
}

#[test]
fn a_header_of_a_batch_is_none_by_itself() {
    let sealer = sealer();
    let header = &datagrams(&seal(&sealer, &[16; 2]))[0];
    let alone =
        [&[0x11], &header[1..5], &header[6..header.len() - 80], &header[header.len() - 64..]].concat();
    assert_eq!(sealer.keys().verify_header(alone.into()).err(), Some(VerifyError::Signature));
    // Nor is one that was signed by itself the header of a batch, whatever path is put behind it.
    let lone = sealer.seal(blank_header(0), &[5; 16 * SHARD_PLAIN_BYTES], 0).header.datagram().clone();
    let (body, signature) = lone.split_at(lone.len() - 64);
    let batched = [&[0x1a], &body[1..5], &[0x20], &body[5..], &[0; 16], signature].concat();
    assert_eq!(sealer.keys().verify_header(batched.into()).err(), Some(VerifyError::Signature));
}

#[test]
fn another_implementation_of_the_page_makes_the_same_root() {
    let forge = Forge::new(&group("lobby"), &SEED, EPOCH);
    let blocks = seal(&forge.sealer, &[16, 16]);
    let header = blocks[1].header.header();
    let mut body = Vec::new();
    header.encode_at(Place::new(1, 2).expect("there are two"), forge.sealer.keys().tag(), &[], &mut body);
    let left = forge.finish_header(body, 0xaa);
    let verified = forge.sealer.keys().verify_header(left).expect("it is signed by the page");
    assert_eq!(verified.header(), header);
}
