//! What a node says of itself in its DNS-SD TXT record, and how that is read.

use std::net::SocketAddr;

use crate::address::parse_hex;
use crate::group::{GroupSpec, check_name};
use crate::ids::{GroupId, PeerId};
use crate::node::Announcement;

/// Version of the record.
const VERSION: &str = "1";

/// Bytes of one TXT string without its key: a string has at most 255.
const VALUE_BYTES_MAX: usize = 240;

/// Stands between names in one value. Names hold no control characters, so it needs no escape.
const SEPARATOR: char = '\u{1f}';

/// A node that announces itself on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanNode {
    /// Its transport key.
    pub peer: PeerId,
    /// Where it can be reached, at most [`crate::address::PEER_ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// The group it belongs to.
    pub group: GroupId,
    /// That group's name; a keyed group does not tell it.
    pub group_name: Option<String>,
    /// Whether the group has a real secret.
    pub keyed: bool,
    /// Names of the streams that it publishes, cut when they fill the record.
    pub publishes: Vec<String>,
    /// Names of the streams that it watches, cut when they fill the record.
    pub watches: Vec<String>,
}

/// Returns the TXT record's keys and values.
pub fn encode(peer: PeerId, group: &GroupSpec, streams: &Announcement) -> Vec<(&'static str, String)> {
    let mut record = vec![
        ("v", VERSION.to_owned()),
        ("id", peer.to_string()),
        ("g", group.id().to_string()),
        ("k", u8::from(group.is_keyed()).to_string()),
        ("p", join(&streams.publishes)),
        ("w", join(&streams.watches)),
    ];
    if !group.is_keyed() {
        record.push(("n", group.name().to_owned()));
    }
    record
}

/// Reads a TXT record, whose values `value_of` gives by key; `None` when it is not ours or not well-formed.
pub fn decode(value_of: impl Fn(&str) -> Option<String>, addresses: Vec<SocketAddr>) -> Option<LanNode> {
    if value_of("v")? != VERSION {
        return None;
    }
    Some(LanNode {
        peer: PeerId(parse_hex(&value_of("id")?)?),
        addresses,
        group: GroupId(parse_hex(&value_of("g")?)?),
        group_name: value_of("n").filter(|name| check_name(name).is_ok()),
        keyed: value_of("k")? == "1",
        publishes: split(&value_of("p").unwrap_or_default()),
        watches: split(&value_of("w").unwrap_or_default()),
    })
}

fn join(names: &[String]) -> String {
    let mut value = String::new();
    for name in names {
        if value.len() + name.len() + 1 > VALUE_BYTES_MAX {
            break;
        }
        if !value.is_empty() {
            value.push(SEPARATOR);
        }
        value.push_str(name);
    }
    value
}

fn split(value: &str) -> Vec<String> {
    value.split(SEPARATOR).filter(|name| check_name(name).is_ok()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(record: &[(&str, String)]) -> Option<LanNode> {
        let value_of = |key: &str| record.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone());
        decode(value_of, Vec::new())
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("stream, number {n}")).collect()
    }

    #[test]
    fn what_is_announced_is_read() {
        let group = GroupSpec::open("lobby").expect("valid");
        let streams = Announcement { publishes: names(3), watches: names(1) };
        let node = read(&encode(PeerId([5; 32]), &group, &streams)).expect("well-formed");
        assert_eq!((node.peer, node.group), (PeerId([5; 32]), group.id()));
        assert_eq!((node.group_name.as_deref(), node.keyed), (Some("lobby"), false));
        assert_eq!((node.publishes, node.watches), (names(3), names(1)));
    }

    #[test]
    fn a_keyed_group_does_not_tell_its_name() {
        let group = GroupSpec::keyed("boardroom", &[9; 16]).expect("valid");
        let record = encode(PeerId([5; 32]), &group, &Announcement::default());
        assert!(!record.iter().any(|(_, value)| value.contains("boardroom")));
        assert!(read(&record).expect("well-formed").keyed);
    }

    #[test]
    fn too_many_names_are_cut_between_names_and_fit_a_string() {
        let group = GroupSpec::open("x").expect("valid");
        let streams = Announcement { publishes: names(100), watches: Vec::new() };
        let record = encode(PeerId([5; 32]), &group, &streams);
        assert!(record.iter().all(|(key, value)| key.len() + 1 + value.len() <= 255));
        let read = read(&record).expect("well-formed").publishes;
        assert!(read.len() > 5 && read == names(read.len()));
    }

    #[test]
    fn foreign_and_broken_records_are_refused() {
        let group = GroupSpec::open("x").expect("valid");
        let whole = encode(PeerId([5; 32]), &group, &Announcement::default());
        for key in ["v", "id", "g", "k"] {
            let mut broken = whole.clone();
            broken.iter_mut().filter(|(k, _)| *k == key).for_each(|(_, value)| value.push('z'));
            let node = read(&broken);
            assert!(key == "k" || node.is_none(), "{key}");
            broken.retain(|(k, _)| *k != key);
            assert_eq!(read(&broken), None, "{key}");
        }
    }
}
