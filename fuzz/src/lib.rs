//! Bodies of the fuzz targets: each takes bytes, makes a case of them, and panics when a promise of
//! `docs/wire.md` is broken. `engine/core/tests/corpus.rs` replays the corpora through the same functions.
//!
//! `make fuzz` runs all targets, `.ci/fuzz SECONDS TARGET` one of them. There is no `unsafe` here for a sanitizer to
//! watch; without it the cases run several times as fast, on a stable compiler.

mod catalogue;
mod feed;
mod forge;
mod model;
mod node;
mod path;
mod repair;
mod signed;
mod text;
mod window;

use swarmcast_core::ids::StreamTag;
use swarmcast_core::wire::{
    Beacon, BlockHeader, Control, DATAGRAM_BYTES_MAX, Datagram, Report, decode_catalogue, encode_catalogue,
};

pub use catalogue::catalogue;
use feed::Feed;
pub use node::node;
pub use path::{join, journey};
pub use repair::parity;
pub use signed::header;
pub use text::text;
pub use window::window;

/// Any bytes, or any fields, as a datagram: what decodes, encodes to something that decodes to the same.
pub fn datagram(data: &[u8]) {
    let data = &Feed::new(data).message()[..];
    let tag = StreamTag([1; 4]);
    let again = match Datagram::decode(data) {
        Ok(Datagram::Have(map)) => Datagram::encode_have(tag, &map),
        Ok(Datagram::Pull(wants)) => Datagram::encode_pull(tag, &wants),
        Ok(Datagram::Nack(wants)) => Datagram::encode_nack(tag, &wants),
        Ok(Datagram::Shed(wants)) => Datagram::encode_shed(tag, &wants),
        Ok(Datagram::Fragment(view)) => {
            assert!(view.id.index < 62 && (17..=1024).contains(&(data.len() - view.shard_at)));
            data.to_vec()
        }
        Ok(Datagram::Offer(offer)) => Datagram::encode_offer(tag, &offer),
        Ok(Datagram::Header | Datagram::Beacon | Datagram::Report) | Err(_) => data.to_vec(),
    };
    assert_eq!(Datagram::decode(&again), Datagram::decode(data));
    if let Ok((header, inline_at, proof)) = BlockHeader::decode(data) {
        let inline = if header.is_inline() { &data[inline_at..proof.covered] } else { &[] };
        let mut again = Vec::new();
        header.encode_at(proof.place, tag, inline, &mut again);
        again.extend_from_slice(&data[proof.covered..]);
        assert!(again.len() <= DATAGRAM_BYTES_MAX);
        let (header_again, _, proof_again) = BlockHeader::decode(&again).expect("it was decoded before");
        assert_eq!((header_again, proof_again.place), (header, proof.place));
    }
    if let Ok((beacon, signed)) = Beacon::decode(data) {
        let mut again = Vec::new();
        beacon.encode(tag, &mut again);
        again.extend_from_slice(&data[signed..]);
        assert_eq!(Beacon::decode(&again).map(|(beacon, _)| beacon), Ok(beacon));
    }
    if let Ok((report, covered)) = Report::decode(data) {
        let mut again = Vec::new();
        report.encode(tag, &mut again);
        again.extend_from_slice(&data[covered..]);
        assert_eq!(Report::decode(&again).map(|(report, _)| report), Ok(report));
    }
}

/// Any bytes, or any fields, as a control message, and as a catalogue.
pub fn control(data: &[u8]) {
    let data = &Feed::new(data).message()[..];
    if let Ok(control) = Control::decode(data) {
        assert_eq!(Control::decode(&control.encode()), Ok(control));
    }
    if let Ok(catalogue) = decode_catalogue(data) {
        let again = encode_catalogue(&catalogue).expect("what was decoded is within its limits");
        assert_eq!(decode_catalogue(&again), Ok(catalogue));
    }
}
