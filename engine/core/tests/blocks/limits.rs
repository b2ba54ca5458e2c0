//! Every limit that `docs/wire.md` lists, at its edge: the last value that passes and the first that does not.

use std::time::Duration;

use swarmcast_core::catalogue::{Catalogue, Rendition, TrackKind};
use swarmcast_core::ids::{BlockId, Epoch, FragmentId, PeerId, StreamKey, StreamTag};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::wire::{
    Beacon, BlockHeader, Control, Datagram, DecodeError, Place, RecordReader, decode_catalogue,
    encode_catalogue, encode_fragment, put_varint, put_zigzag,
};

use crate::material::{blank_header, sealer, small_catalogue, track};

const TAG: StreamTag = StreamTag([1, 2, 3, 4]);

fn range<T>(field: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Range(field))
}

fn headed(kind: u8, tail: &[u8]) -> Vec<u8> {
    [&[kind], &TAG.0[..], tail].concat()
}

#[test]
fn headers() {
    let decode = |flags: u8, data: u8, parity: u8, last: u16, leaves: usize| {
        let mut out = headed(0x11, &[9, flags, data, parity]);
        out.extend_from_slice(&last.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.resize(out.len() + 16 * leaves + 64, 0);
        BlockHeader::decode(&out).map(|(header, ..)| header.shards())
    };
    assert_eq!(decode(0, 60, 2, 1024, 62), Ok(62));
    assert_eq!(decode(0, 1, 61, 17, 62), Ok(62));
    assert_eq!(decode(0, 62, 1, 1024, 63), range("shard counts"));
    assert_eq!(decode(0, 255, 255, 1024, 62), range("shard counts"));
    assert_eq!(decode(0, 0, 5, 1024, 5), range("shard counts"));
    assert_eq!(decode(0, 2, 0, 16, 2), range("shard length"));
    assert_eq!(decode(0, 2, 0, 1025, 2), range("shard length"));
    assert_eq!(decode(0x18, 2, 0, 1024, 2), range("priority"));
    assert_eq!(decode(0, 2, 0, 1024, 1), Err(DecodeError::Truncated));
    assert_eq!(decode(0, 2, 0, 1024, 3), Err(DecodeError::Trailing));
    let inline = |bytes: usize| {
        let out = headed(0x11, &[9, 0x80, 0, 0]);
        let datagram = [&out[..], &vec![0; bytes + 64]].concat();
        BlockHeader::decode(&datagram).map(|(header, ..)| header.last_shard_bytes)
    };
    assert_eq!((inline(17), inline(1024)), (Ok(17), Ok(1024)));
    assert_eq!((inline(16), inline(1025)), (range("shard length"), range("shard length")));
    let times = |closed: u64, media: i64| {
        let mut out = headed(0x11, &[9, 0x80]);
        put_varint(&mut out, closed);
        put_zigzag(&mut out, media);
        out.resize(out.len() + 17 + 64, 0);
        BlockHeader::decode(&out).map(|_| ())
    };
    let most = i64::MAX / 100;
    assert_eq!((times(most as u64, most), times(0, -most)), (Ok(()), Ok(())));
    assert_eq!(times(most as u64 + 1, 0), range("close time"));
    assert_eq!((times(0, most + 1), times(0, -most - 2)), (range("media time"), range("media time")));
    let place = |byte: u8, flags: u8, path: usize| {
        let mut out = headed(0x1a, &[byte, 9, flags, 2, 0, 4, 0, 0, 0]);
        out.resize(out.len() + 2 * 16 + path * 16 + 64, 0);
        BlockHeader::decode(&out).map(|(_, _, proof)| (proof.place, proof.covered))
    };
    for (index, count, path) in [(0, 2, 1), (2, 3, 1), (0, 3, 2), (4, 5, 1), (6, 7, 2), (7, 8, 3)] {
        let expected = Place::new(index, count).map(|place| (place, 14 + 2 * 16));
        assert_eq!(place(count << 4 | index, 0, path).ok(), expected);
        assert_eq!(place(count << 4 | index, 0, path + 1), Err(DecodeError::Trailing));
        assert_eq!(place(count << 4 | index, 0, path - 1), Err(DecodeError::Truncated));
    }
    for byte in [0x10, 0x22, 0x2f, 0x90, 0x98, 0x00, 0xff] {
        assert_eq!(place(byte, 0, 3), range("place"));
    }
    let inline = |bytes: usize| {
        let mut out = headed(0x1a, &[0x21, 9, 0x80, 0, 0]);
        out.resize(out.len() + bytes + 16 + 64, 0);
        BlockHeader::decode(&out).map(|(header, ..)| usize::from(header.last_shard_bytes))
    };
    assert_eq!((inline(17), inline(960), inline(961)), (Ok(17), Ok(960), range("inline shard")));
    assert_eq!(BlockHeader::decode(&[0x11; 63]), Err(DecodeError::Truncated));
    assert_eq!(BlockHeader::decode(&headed(0x12, &[0; 80])), Err(DecodeError::UnknownKind(0x12)));
}

#[test]
fn shards_of_a_block_have_their_lengths() {
    let header = BlockHeader { data: 3, parity: 2, last_shard_bytes: 500, ..blank_header(0) };
    assert_eq!(
        [0, 1, 2, 3, 4, 255].map(|index| header.shard_bytes(index)),
        [1024, 1024, 500, 1024, 1024, 1024]
    );
    let short = BlockHeader { data: 1, parity: 2, last_shard_bytes: 500, ..blank_header(0) };
    assert_eq!([0, 1, 2].map(|index| short.shard_bytes(index)), [500, 500, 500]);
}

#[test]
fn fragments() {
    let decode = |index: u8, bytes: usize| {
        let mut out = Vec::new();
        encode_fragment(TAG, FragmentId { block: BlockId(300), index }, &mut out);
        out.resize(out.len() + bytes, 0);
        Datagram::decode(&out).map(|_| ())
    };
    assert_eq!((decode(0, 17), decode(61, 1024)), (Ok(()), Ok(())));
    assert_eq!(decode(62, 1024), range("fragment index"));
    assert_eq!((decode(0, 16), decode(0, 1025)), (range("shard length"), range("shard length")));
}

#[test]
fn beacons() {
    let decode = |state: u8, blocks: u64, random_access: u64, nonces: usize| {
        let mut out = headed(0x13, &[0; 8]);
        out.extend_from_slice(&[0, 0, state]);
        put_varint(&mut out, blocks);
        put_varint(&mut out, random_access);
        put_varint(&mut out, 20_000);
        out.resize(out.len() + 8 * nonces + 64, 0);
        Beacon::decode(&out).map(|(beacon, _)| (beacon.newest(), beacon.random_access))
    };
    assert_eq!(decode(0, 0, 0, 0), Ok((None, None)));
    assert_eq!(decode(2, 9, 9, 8), Ok((Some(BlockId(8)), Some(BlockId(8)))));
    assert_eq!(decode(0x31, 9, 0, 0), Ok((Some(BlockId(8)), None)));
    assert_eq!((decode(3, 9, 0, 0), decode(0x40, 9, 0, 0)), (range("state"), range("state")));
    assert_eq!(decode(0, 9, 10, 0), range("random-access block"));
    assert_eq!(decode(0, 9, 0, 9), range("nonces"));
    assert_eq!(Beacon::decode(&[0x13; 20]), Err(DecodeError::Truncated));
}

#[test]
fn have_maps_and_wants() {
    let have = |complete: usize, partial: usize, offset: u64| {
        let mut out = headed(0x14, &[0; 9]);
        out.extend_from_slice(&[0, 0, 0]);
        put_varint(&mut out, complete as u64);
        out.resize(out.len() + complete, 0);
        for _ in 0..partial {
            put_varint(&mut out, offset);
            out.extend_from_slice(&[0; 8]);
        }
        Datagram::decode(&out).map(|_| ())
    };
    assert_eq!(have(250, 64, 1999), Ok(()));
    assert_eq!(have(251, 0, 0), range("have-map length"));
    assert_eq!((have(0, 65, 0), have(0, 1, 2000)), (range("partial blocks"), range("partial blocks")));
    for kind in [0x15, 0x16, 0x17] {
        let wants = |count: usize, word: u8| {
            Datagram::decode(&headed(kind, &[0, 0, 0, 0, 0, 0, 0, 0, word].repeat(count))).map(|_| ())
        };
        assert_eq!(wants(64, 1), Ok(()));
        assert_eq!((wants(65, 1), wants(1, 0)), (range("wants"), range("wants")));
        assert_eq!(wants(0, 0), Err(DecodeError::Truncated));
    }
    for kind in [0x00, 0x10, 0x1b, 0x22] {
        assert_eq!(Datagram::decode(&headed(kind, &[0; 30])), Err(DecodeError::UnknownKind(kind)));
    }
}

#[test]
fn control_messages() {
    let peers = |count: usize, family: u8| {
        let entry = [&[7; 32][..], &[family], &[0; 6]].concat();
        Control::decode(&[&[8], &entry.repeat(count)[..]].concat()).map(|_| ())
    };
    assert_eq!(peers(16, 4), Ok(()));
    assert_eq!((peers(17, 4), peers(1, 5)), (range("introduced peers"), range("address family")));
    let patience = |value: u64| {
        let mut out = headed(4, &[0xff, 0]);
        put_varint(&mut out, value);
        Control::decode(&out).map(|_| ())
    };
    assert_eq!((patience(u64::from(u32::MAX)), patience(1 << 32)), (Ok(()), range("patience")));
    let busy = |value: u64| {
        let mut out = headed(12, &[]);
        put_varint(&mut out, value);
        Control::decode(&out).map(|_| ())
    };
    assert_eq!((busy(u64::from(u32::MAX)), busy(1 << 32)), (Ok(()), range("retry time")));
    assert_eq!(Control::decode(&headed(16, &[])), Err(DecodeError::UnknownKind(16)));
    assert_eq!(Control::decode(&headed(7, &[0])), Err(DecodeError::Trailing));
    assert_eq!(Control::decode(&[]), Err(DecodeError::Truncated));
    let offer = |bytes: u64| {
        let mut out = vec![2];
        out.resize(1 + 32 + 8 + 1 + 32, 0);
        put_varint(&mut out, bytes);
        out.resize(out.len() + bytes as usize + 64, 0);
        Control::decode(&out).map(|_| ())
    };
    assert_eq!((offer((60 << 10) + 16), offer((60 << 10) + 17)), (Ok(()), range("catalogue")));
}

#[test]
fn catalogues() {
    let with = |change: &dyn Fn(&mut Catalogue)| {
        let mut catalogue = small_catalogue();
        change(&mut catalogue);
        encode_catalogue(&catalogue).map(|_| ())
    };
    assert_eq!(with(&|c| c.name = "n".repeat(128)), Ok(()));
    for name in [String::new(), "n".repeat(129), "a\nb".into()] {
        assert_eq!(with(&|c| c.name = name.clone()), range("name"));
    }
    assert_eq!(with(&|c| c.expiry = Duration::from_secs(60)), Ok(()));
    assert_eq!(with(&|c| c.expiry = Duration::from_micros(60_000_001)), range("expiry"));
    assert_eq!(with(&|c| c.tracks = (0..32).map(track).collect()), Ok(()));
    assert_eq!(with(&|c| c.tracks.clear()), range("track count"));
    assert_eq!(with(&|c| c.tracks = (0..33).map(track).collect()), range("track count"));
    assert_eq!(with(&|c| c.tracks = vec![track(32)]), range("track id"));
    assert_eq!(with(&|c| c.tracks = vec![track(1), track(1)]), range("track order"));
    assert_eq!(with(&|c| c.tracks[0].codec = "c".repeat(33)), range("codec"));
    assert_eq!(with(&|c| c.tracks[0].time_base.numerator = 0), range("time base"));
    assert_eq!(with(&|c| c.tracks[0].time_base.denominator = 0), range("time base"));
    assert_eq!(with(&|c| c.tracks[0].parameters = vec![0; 16 << 10].into()), Ok(()));
    assert_eq!(with(&|c| c.tracks[0].parameters = vec![0; (16 << 10) + 1].into()), range("parameters"));
    let rendition = |name: usize| Rendition {
        key: StreamKey([0; 32]),
        name: "n".repeat(name),
        width: 0,
        height: u16::MAX,
        bitrate: 0,
    };
    assert_eq!(with(&|c| c.renditions = vec![rendition(128); 16]), Ok(()));
    assert_eq!(with(&|c| c.renditions = vec![rendition(1); 17]), range("rendition count"));
    assert_eq!(with(&|c| c.renditions = vec![rendition(129)]), range("rendition name"));
    assert_eq!(with(&|c| c.renditions = vec![rendition(0)]), range("rendition name"));
    let multicast = |address: &str, port, source: Option<&str>| {
        let ip = |text: &str| text.parse().expect("an address");
        let group = MulticastGroup { address: ip(address), port, source: source.map(ip) };
        with(&|c| c.multicast = Some(group))
    };
    assert_eq!(multicast("239.255.255.255", 1, None), Ok(()));
    assert_eq!(multicast("ff15::7", u16::MAX, Some("fe80::1")), Ok(()));
    for (address, port, source) in
        [("10.0.0.1", 5000, None), ("239.1.2.3", 0, None), ("239.1.2.3", 5000, Some("fe80::1"))]
    {
        assert_eq!(multicast(address, port, source), range("multicast group"), "{address} {port} {source:?}");
    }
    let heavy = |c: &mut Catalogue| {
        c.tracks = (0..4).map(track).collect();
        c.tracks.iter_mut().for_each(|track| track.parameters = vec![0; 16 << 10].into());
    };
    assert_eq!(with(&heavy), range("catalogue"));
    let mut kind = encode_catalogue(&small_catalogue()).expect("every field is in range");
    let at = 1 + 4 + 4 + 1 + 1;
    assert_eq!(kind[at], TrackKind::Data as u8);
    kind[at] = 4;
    assert_eq!(decode_catalogue(&kind), range("track kind"));
    let refused =
        sealer().seal_offer(&Catalogue { name: String::new(), ..small_catalogue() }, 0, PeerId([0; 32]));
    assert_eq!(refused, range("name"));
}

#[test]
fn records() {
    let decode = |first: u8, duration: u64, bytes: u64| {
        let mut out = vec![first];
        put_zigzag(&mut out, -5);
        put_zigzag(&mut out, 0);
        put_varint(&mut out, duration);
        put_varint(&mut out, bytes);
        RecordReader::new(&out).read().map(|read| read.map(|(record, _)| (record.dts, record.bytes)))
    };
    assert_eq!(decode(0x7f, u64::from(u32::MAX), 16 << 20), Ok(Some((-5, 16 << 20))));
    assert_eq!(decode(0x80, 0, 0), range("record flags"));
    assert_eq!(decode(0, 1 << 32, 0), range("duration"));
    assert_eq!(decode(0, 0, (16 << 20) + 1), range("access unit length"));
    assert_eq!(RecordReader::new(&[0]).read(), Err(DecodeError::Truncated));
}

#[test]
fn keys_that_are_no_keys() {
    let group = crate::material::group("lobby");
    let not_a_point = StreamKey([2; 32]);
    assert!(swarmcast_core::seal::EpochKeys::derive(&group, not_a_point, Epoch(1)).is_err());
}
