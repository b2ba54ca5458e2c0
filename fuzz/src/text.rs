//! What people and other nodes name things by: groups, multicast choices, peers, and the records of discovery.

use std::net::SocketAddr;

use swarmcast_core::address::{PEER_ADDRESSES_MAX, PeerAddress};
use swarmcast_core::discovery::{decode, encode};
use swarmcast_core::group::{GroupError, GroupSpec, check_name};
use swarmcast_core::ids::PeerId;
use swarmcast_core::multicast::{MulticastChoice, MulticastGroup};
use swarmcast_core::node::Announcement;

use super::feed::Feed;

/// Words that texts are made of, beside any bytes.
const WORDS: [&str; 16] = [
    "auto",
    "off",
    "239.255.7.7",
    "ff15::7",
    "10.0.0.1",
    ",source=",
    ":24600",
    "[",
    "]",
    ":0",
    "@",
    ",",
    "::ffff:1.2.3.4",
    "%3",
    "\u{1f}",
    "é",
];

/// Any text where a user names something, and any record.
pub fn text(data: &[u8]) {
    let mut feed = Feed::new(data);
    match feed.u8() % 5 {
        0 => group(&mut feed),
        1 => choice(&words(&mut feed)),
        2 => peer(&words(&mut feed)),
        3 => announcement(&mut feed),
        _ => record(&mut feed),
    }
}

/// Bytes as they are, or words and bytes in turn.
fn words(feed: &mut Feed<'_>) -> String {
    if feed.u8() & 1 == 0 {
        return String::from_utf8_lossy(feed.bytes(usize::MAX)).into_owned();
    }
    let mut text = String::new();
    while !feed.is_dry() && text.len() < 2048 {
        match feed.u8() {
            word @ 0..=159 => text.push_str(WORDS[usize::from(word) % WORDS.len()]),
            digits @ 160..=199 => text.push_str(&"a7".repeat(usize::from(digits) - 160)),
            byte => text.push(char::from(byte & 0x7f)),
        }
    }
    text
}

/// A name of up to 200 letters, or any text.
fn name(feed: &mut Feed<'_>) -> String {
    match feed.u8() {
        letters @ 0..=199 => "n".repeat(usize::from(letters)),
        short => String::from_utf8_lossy(feed.bytes(usize::from(short) - 200)).into_owned(),
    }
}

fn group(feed: &mut Feed<'_>) {
    let name = name(feed);
    let key = vec![7; usize::from(feed.u16() % 5000)];
    let fits = (1..=128).contains(&name.len())
        && name.chars().all(|c| c >= ' ' && !('\u{7f}'..='\u{9f}').contains(&c));
    assert_eq!(check_name(&name).is_ok(), fits);
    let (open, keyed) = (GroupSpec::open(&name), GroupSpec::keyed(&name, &key));
    if !fits {
        return assert_eq!((open, keyed), (Err(GroupError::Name), Err(GroupError::Name)));
    }
    let open = open.expect("the name fits");
    assert!(open.name() == name && !open.is_keyed());
    match keyed {
        Ok(keyed) => assert!(keyed.is_keyed() && keyed.id() != open.id()),
        Err(why) => assert_eq!((why, (16..=4096).contains(&key.len())), (GroupError::Key, false)),
    }
    for derived in MulticastGroup::derive(open.id(), &name) {
        assert_eq!(MulticastGroup::new(derived.address, derived.port, None), Ok(derived));
    }
}

fn choice(text: &str) {
    match text.parse() {
        Ok(MulticastChoice::Auto) => assert_eq!(text, "auto"),
        Ok(MulticastChoice::Off) => assert_eq!(text, "off"),
        Ok(MulticastChoice::At(group)) => {
            assert_eq!(MulticastGroup::new(group.address, group.port, group.source), Ok(group));
            let source = group.source.map_or(String::new(), |source| format!(",source={source}"));
            let again = format!("{}{source}", group.socket_address());
            assert_eq!(again.parse(), Ok(MulticastChoice::At(group)));
        }
        Err(_) => {}
    }
}

fn peer(text: &str) {
    let Ok(address) = text.parse::<PeerAddress>() else { return };
    assert!((1..=PEER_ADDRESSES_MAX).contains(&address.addresses.len()));
    assert!(address.peer.is_some() || address.addresses.len() == 1);
    assert_eq!(address.to_string().parse(), Ok(address));
}

/// What a node says of itself is read as it was said, as far as it fits.
fn announcement(feed: &mut Feed<'_>) {
    let peer = PeerId([feed.u8(); 32]);
    let shape = feed.u8();
    let Ok(group) = GroupSpec::open(&name(feed)) else { return };
    let keyed = GroupSpec::keyed(group.name(), &[9; 16]).expect("name and key fit");
    let group = if shape & 1 == 0 { group } else { keyed };
    let mut names = |count: u8| -> Vec<String> {
        (0..count).map(|_| name(feed)).filter(|name| check_name(name).is_ok()).collect()
    };
    let streams = Announcement { publishes: names(shape >> 1 & 7), watches: names(shape >> 4 & 7) };
    let record = encode(peer, &group, &streams);
    for (key, value) in &record {
        assert!(key.len() + 1 + value.len() <= 255, "no string of a TXT record is longer");
    }
    let value_of = |key: &str| record.iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone());
    let node = decode(value_of, Vec::new()).expect("a node says what others can read");
    assert_eq!((node.peer, node.group, node.keyed), (peer, group.id(), group.is_keyed()));
    assert_eq!(node.group_name.as_deref(), (!group.is_keyed()).then(|| group.name()));
    assert!(streams.publishes.starts_with(&node.publishes) && streams.watches.starts_with(&node.watches));
    let some = |read: &[String], said: &[String]| !read.is_empty() || said.is_empty();
    assert!(some(&node.publishes, &streams.publishes) && some(&node.watches, &streams.watches));
}

/// Any values in a record: what is read is within its limits.
fn record(feed: &mut Feed<'_>) {
    let keys = ["v", "id", "g", "k", "p", "w", "n"];
    let usual =
        ["1".into(), "a7".repeat(32), "05".repeat(16), "0".into(), "cam".into(), "".into(), "g".into()];
    let values: Vec<Option<String>> = (usual.into_iter())
        .map(|usual: String| match feed.u8() {
            0..=127 => Some(usual),
            128..=143 => None,
            length => Some(String::from_utf8_lossy(feed.bytes(usize::from(length) - 128)).into_owned()),
        })
        .collect();
    let at = |key: &str| keys.iter().position(|other| *other == key);
    let addresses = vec![SocketAddr::from(([10, 0, 0, 1], feed.u16()))];
    let Some(node) = decode(|key| values[at(key)?].clone(), addresses.clone()) else { return };
    assert_eq!(node.addresses, addresses);
    assert_eq!(values[1].as_ref().map(|id| id.to_ascii_lowercase()), Some(node.peer.to_string()));
    let names = node.publishes.iter().chain(&node.watches).chain(&node.group_name);
    assert!(names.into_iter().all(|name| check_name(name).is_ok()));
}
