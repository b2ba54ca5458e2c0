//! Every message survives its round trip, and every decoder takes any bytes without a panic.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::ids::{BlockId, FragmentId, PeerId, StreamTag};
use swarmcast_core::wire::{
    BATCH_INLINE_BYTES_MAX, Beacon, BlockHeader, Control, DATAGRAM_BYTES_MAX, Datagram, DecodeError, HaveMap,
    HeaderProof, Place, Reader, RecordReader, RecordWriter, Report, SHARD_BYTES, StripeMask, VARINT_MAX,
    ZIGZAG_MAX, decode_catalogue, encode_catalogue, encode_fragment, peek_tag, put_varint, put_zigzag,
};

use crate::forge::Forge;
use crate::material::{
    EPOCH, SEED, beacon, catalogue, control, group, have_map, header, keys, report, sealer, submissions, tag,
    varint, wants,
};

/// Gives the bytes to every decoder there is; what any of them says does not matter, that it says something does.
fn decode_everything(bytes: &[u8]) {
    let _ = peek_tag(bytes);
    let _ = Datagram::decode(bytes);
    let _ = BlockHeader::decode(bytes);
    let _ = Beacon::decode(bytes);
    let _ = Control::decode(bytes);
    let _ = Report::decode(bytes);
    let _ = decode_catalogue(bytes);
    let mut records = RecordReader::new(bytes);
    while let Ok(Some((record, at))) = records.read() {
        assert!(at <= bytes.len() && record.bytes <= 16 << 20);
    }
    let keys = sealer().keys().clone();
    let _ = keys.verify_header(Bytes::copy_from_slice(bytes));
    let _ = keys.verify_beacon(bytes);
    let _ = keys.open(FragmentId::default(), bytes, &mut Vec::new());
}

/// Gives every shorter and some altered forms of a valid message to every decoder.
fn decode_damaged(bytes: &[u8], at: usize, with: u8) {
    let mut altered = bytes.to_vec();
    if let Some(byte) = altered.get_mut(at % bytes.len().max(1)) {
        *byte ^= with;
    }
    decode_everything(&altered);
    decode_everything(&bytes[..at % bytes.len().max(1)]);
    altered.extend_from_slice(&bytes[..bytes.len().min(9)]);
    decode_everything(&altered);
}

fn with_signature(mut signed: Vec<u8>) -> Vec<u8> {
    signed.extend_from_slice(&[0; 64]);
    signed
}

proptest! {
    #[test]
    fn decoders_are_total(bytes in vec(any::<u8>(), 0..1300)) {
        decode_everything(&bytes);
    }

    #[test]
    fn decoders_are_total_behind_a_valid_kind(kind in 0x10..0x1b_u8, tail in vec(any::<u8>(), 0..200)) {
        let tag = sealer().keys().tag().0;
        decode_everything(&[&[kind], &tag[..], &tail].concat());
        decode_everything(&[&[kind & 0x0f], &tail[..]].concat());
    }

    #[test]
    fn integers_survive(value in varint(), signed in -ZIGZAG_MAX..=ZIGZAG_MAX) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        put_zigzag(&mut out, signed);
        let mut reader = Reader::new(&out);
        prop_assert_eq!((reader.varint(), reader.zigzag(), reader.end()), (Ok(value), Ok(signed), Ok(())));
        prop_assert!(out.len() <= 16);
    }

    #[test]
    fn headers_survive(
        header in header(), (index, count) in (0..8_u8, 1..=8_u8), tag in tag(), damage in any::<(u16, u8)>(),
    ) {
        let inline = if header.is_inline() { vec![5; usize::from(header.last_shard_bytes)] } else { Vec::new() };
        let mut out = Vec::new();
        let fits = inline.len() <= BATCH_INLINE_BYTES_MAX;
        let place = Place::new(index, count).filter(|_| fits).unwrap_or(Place::ALONE);
        header.encode_at(place, tag, &inline, &mut out);
        let covered = out.len();
        let datagram = Forge::new(&group("lobby"), &SEED, EPOCH).finish_header(out, 7);
        prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        let (decoded, inline_at, proof) = BlockHeader::decode(&datagram).expect("it is a header");
        if header.is_inline() {
            prop_assert_eq!(&datagram[inline_at..proof.covered], &inline[..]);
        }
        prop_assert_eq!((decoded, proof), (header, HeaderProof { covered, place }));
        prop_assert_eq!(Datagram::decode(&datagram), Ok(Datagram::Header));
        prop_assert_eq!(peek_tag(&datagram), Some(tag));
        decode_damaged(&datagram, usize::from(damage.0), damage.1);
    }

    #[test]
    fn beacons_survive(beacon in beacon(), tag in tag(), damage in any::<(u16, u8)>()) {
        let mut out = Vec::new();
        beacon.encode(tag, &mut out);
        let datagram = with_signature(out);
        prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(Beacon::decode(&datagram), Ok((beacon, datagram.len() - 64)));
        prop_assert_eq!(Datagram::decode(&datagram), Ok(Datagram::Beacon));
        decode_damaged(&datagram, usize::from(damage.0), damage.1);
    }

    #[test]
    fn fragments_survive(block in varint(), index in 0..62_u8, bytes in 17..=SHARD_BYTES, tag in tag()) {
        let id = FragmentId { block: BlockId(block), index };
        let mut datagram = Vec::new();
        encode_fragment(tag, id, &mut datagram);
        let shard_at = datagram.len();
        datagram.resize(shard_at + bytes, 9);
        prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        match Datagram::decode(&datagram) {
            Ok(Datagram::Fragment(view)) => prop_assert_eq!((view.id, view.shard_at), (id, shard_at)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn reports_survive(report in report(), group in 0..2_usize, damage in any::<(u16, u8)>()) {
        let keys = [keys("lobby"), keys("hall")];
        let datagram = keys[group].seal_report(&report);
        prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(Datagram::decode(&datagram), Ok(Datagram::Report));
        prop_assert_eq!(keys[group].verify_report(&datagram), Ok(report));
        prop_assert!(keys[1 - group].verify_report(&datagram).is_err());
        decode_damaged(&datagram, usize::from(damage.0), damage.1);
    }

    #[test]
    fn have_maps_survive(map in have_map(), tag in tag(), damage in any::<(u16, u8)>()) {
        let datagram = Datagram::encode_have(tag, &map);
        prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(Datagram::decode(&datagram), Ok(Datagram::Have(map)));
        decode_damaged(&datagram, usize::from(damage.0), damage.1);
    }

    #[test]
    fn wants_survive(wants in wants(), tag in tag(), damage in any::<(u16, u8)>()) {
        let pull = Datagram::encode_pull(tag, &wants);
        prop_assert!(pull.len() <= DATAGRAM_BYTES_MAX);
        prop_assert_eq!(Datagram::decode(&pull), Ok(Datagram::Pull(wants.clone())));
        let nack = Datagram::encode_nack(tag, &wants);
        prop_assert_eq!(Datagram::decode(&nack), Ok(Datagram::Nack(wants.clone())));
        let shed = Datagram::encode_shed(tag, &wants);
        prop_assert_eq!(Datagram::decode(&shed), Ok(Datagram::Shed(wants)));
        decode_damaged(&pull, usize::from(damage.0), damage.1);
    }

    #[test]
    fn control_messages_survive(control in control(), damage in any::<(u16, u8)>()) {
        let message = control.encode();
        prop_assert_eq!(Control::decode(&message), Ok(control));
        let longer = [&message[..], &[1]].concat();
        prop_assert!(Control::decode(&longer).is_err(), "a byte behind the end is refused");
        decode_damaged(&message, usize::from(damage.0), damage.1);
    }

    #[test]
    fn catalogues_and_offers_survive(
        catalogue in catalogue(),
        version in 0..=VARINT_MAX,
        endpoint in any::<[u8; 32]>(),
        damage in any::<(u16, u8)>(),
    ) {
        let bytes = encode_catalogue(&catalogue).expect("every field is in range");
        prop_assert_eq!(decode_catalogue(&bytes), Ok(catalogue.clone()));
        decode_damaged(&bytes, usize::from(damage.0), damage.1);
        let sealer = sealer();
        let offer = sealer.seal_offer(&catalogue, version, PeerId(endpoint)).expect("every field is in range");
        let message = Control::Offer(Box::new(offer)).encode();
        prop_assert!(message.len() <= swarmcast_core::node::CONTROL_BYTES_MAX);
        let Ok(Control::Offer(decoded)) = Control::decode(&message) else { panic!("it is an offer") };
        prop_assert_eq!(decoded.publisher, PeerId(endpoint));
        prop_assert_eq!(sealer.keys().verify_offer(&decoded), Ok(catalogue));
        decode_damaged(&message, usize::from(damage.0), damage.1);
    }

    #[test]
    fn records_survive(work in submissions(12)) {
        let units: Vec<AccessUnit> = work.into_iter().map(|work| work.unit).collect();
        let (mut writer, mut plain) = (RecordWriter::new(), Vec::new());
        for unit in &units {
            writer.put(unit, &mut plain);
            plain.extend_from_slice(&unit.payload);
        }
        let mut reader = RecordReader::new(&plain);
        for unit in &units {
            let (record, at) = reader.read().expect("it is a record").expect("there is one");
            prop_assert_eq!((record.track, record.dts, record.pts), (unit.track, unit.dts, unit.pts));
            prop_assert_eq!((record.key, record.disposable), (unit.key, unit.disposable));
            prop_assert_eq!(record.duration, unit.duration);
            prop_assert_eq!(&plain[at..at + record.bytes], &unit.payload[..]);
        }
        prop_assert_eq!(reader.read(), Ok(None));
    }
}

#[test]
fn an_encoder_never_makes_what_its_decoder_refuses() {
    let map = HaveMap {
        depths: [15; 8],
        ages: [15; 8],
        gives: StripeMask(9),
        complete: vec![0xff; 4000],
        partial: (0..3000).map(|offset| (offset, 1)).collect(),
        ..HaveMap::default()
    };
    let datagram = Datagram::encode_have(StreamTag([0; 4]), &map);
    let Ok(Datagram::Have(decoded)) = Datagram::decode(&datagram) else { panic!("it is a have-map") };
    assert_eq!((decoded.complete.len(), decoded.partial.len()), (250, 64));
    let mut long = Vec::new();
    put_varint(&mut long, u64::MAX);
    assert_eq!(Reader::new(&long).varint(), Ok(VARINT_MAX));
    assert_eq!(Reader::new(&long[..7]).varint(), Err(DecodeError::Truncated));
}
