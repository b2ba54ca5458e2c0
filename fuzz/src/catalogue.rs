//! Catalogues with fields at and around their limits: exactly those within them travel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use swarmcast_core::catalogue::{Catalogue, Rendition, TimeBase, Track, TrackId, TrackKind};
use swarmcast_core::group::check_name;
use swarmcast_core::ids::StreamKey;
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::wire::{decode_catalogue, encode_catalogue};

use super::feed::Feed;

const KINDS: [TrackKind; 4] = [TrackKind::Video, TrackKind::Audio, TrackKind::Data, TrackKind::Subtitle];

/// Any catalogue, and what a few altered bytes make of it.
pub fn catalogue(data: &[u8]) {
    let mut feed = Feed::new(data);
    let drawn = draw(&mut feed);
    let encoded = encode_catalogue(&drawn);
    let bytes = bytes(&drawn);
    assert_eq!(encoded.is_ok(), is_carried(&drawn) && bytes <= 60 << 10, "{bytes} bytes: {drawn:?}");
    let Ok(mut encoded) = encoded else { return };
    assert_eq!(decode_catalogue(&encoded), Ok(drawn));
    while !feed.is_dry() {
        let at = usize::from(feed.u16()) % encoded.len();
        encoded[at] ^= feed.u8();
    }
    if let Ok(altered) = decode_catalogue(&encoded) {
        assert!(is_carried(&altered));
        let again = encode_catalogue(&altered).expect("what was decoded is within its limits");
        assert_eq!(decode_catalogue(&again), Ok(altered));
    }
}

fn draw(feed: &mut Feed<'_>) -> Catalogue {
    let shape = feed.u8();
    let tracks = if shape & 0x0f == 0x0f { feed.u8() % 40 } else { shape & 3 };
    let renditions = if shape >> 4 == 0x0f { feed.u8() % 20 } else { shape >> 4 & 3 };
    Catalogue {
        name: "n".repeat(usize::from(feed.u8())),
        expiry: Duration::from_micros(feed.number()),
        tracks: (0..tracks).map(|id| draw_track(feed, id)).collect(),
        renditions: (0..renditions).map(|_| draw_rendition(feed)).collect(),
        multicast: (feed.u8() & 1 == 1).then(|| draw_group(feed)),
    }
}

fn draw_track(feed: &mut Feed<'_>, id: u8) -> Track {
    let shape = feed.u8();
    Track {
        id: TrackId(if shape & 0x1c == 0x1c { feed.u8() } else { id }),
        kind: KINDS[usize::from(shape & 3)],
        codec: "c".repeat(usize::from(feed.u8() % 40)),
        time_base: TimeBase { numerator: feed.u8().into(), denominator: feed.number() as u32 },
        bitrate: feed.number() as u32,
        parameters: vec![1; if shape < 0xf0 { usize::from(shape) } else { usize::from(feed.u16()) }].into(),
    }
}

fn draw_rendition(feed: &mut Feed<'_>) -> Rendition {
    let key = StreamKey([feed.u8(); 32]);
    let name = "n".repeat(usize::from(feed.u8() % 140));
    Rendition { key, name, width: feed.u16(), height: feed.u16(), bitrate: feed.number() as u32 }
}

/// Built field by field, so that it may be none.
fn draw_group(feed: &mut Feed<'_>) -> MulticastGroup {
    let shape = feed.u8();
    let address = draw_address(feed, shape & 1 == 0);
    let source = (shape & 2 == 0).then(|| draw_address(feed, shape & 4 == 0));
    MulticastGroup { address, port: feed.u16(), source }
}

fn draw_address(feed: &mut Feed<'_>, is_v4: bool) -> IpAddr {
    let (first, last) = (feed.u8(), feed.u8());
    match is_v4 {
        true => Ipv4Addr::new(first, 0, 0, last).into(),
        false => Ipv6Addr::new(u16::from(first) << 8, 0, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// The limits of `docs/wire.md`.
fn is_carried(catalogue: &Catalogue) -> bool {
    let track = |track: &Track| {
        track.id.0 < 32
            && track.codec.len() <= 32
            && track.time_base.numerator > 0
            && track.time_base.denominator > 0
            && track.parameters.len() <= 16 << 10
    };
    let single = |source: IpAddr, group: IpAddr| {
        source.is_ipv4() == group.is_ipv4() && !source.is_multicast() && !source.is_unspecified()
    };
    let group = |group: MulticastGroup| {
        group.address.is_multicast()
            && group.port > 0
            && group.source.is_none_or(|source| single(source, group.address))
    };
    check_name(&catalogue.name).is_ok()
        && catalogue.expiry <= Duration::from_secs(60)
        && (1..=32).contains(&catalogue.tracks.len())
        && catalogue.tracks.iter().all(track)
        && catalogue.tracks.is_sorted_by(|left, right| left.id < right.id)
        && catalogue.renditions.len() <= 16
        && catalogue.renditions.iter().all(|rendition| check_name(&rendition.name).is_ok())
        && catalogue.multicast.is_none_or(group)
}

/// How long it is on the wire.
fn bytes(catalogue: &Catalogue) -> usize {
    let number = |value: u64| match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    };
    let run = |length: usize| number(length as u64) + length;
    let address = |address: IpAddr| if address.is_ipv4() { 5 } else { 17 };
    let track = |track: &Track| {
        let time_base = number(track.time_base.numerator.into()) + number(track.time_base.denominator.into());
        2 + run(track.codec.len()) + time_base + number(track.bitrate.into()) + run(track.parameters.len())
    };
    let rendition = |rendition: &Rendition| 36 + run(rendition.name.len()) + number(rendition.bitrate.into());
    let group = |group: MulticastGroup| address(group.address) + 2 + 1 + group.source.map_or(0, address);
    run(catalogue.name.len())
        + number(catalogue.expiry.as_micros() as u64)
        + number(catalogue.tracks.len() as u64)
        + catalogue.tracks.iter().map(track).sum::<usize>()
        + number(catalogue.renditions.len() as u64)
        + catalogue.renditions.iter().map(rendition).sum::<usize>()
        + 1
        + catalogue.multicast.map_or(0, group)
}
