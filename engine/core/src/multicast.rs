//! IP multicast groups: how a stream's group is derived from names that viewers know, and how a user names another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::ids::GroupId;

/// First port of the range that derived groups use: below the ephemeral ports of Linux (32,768 on).
const PORT_FIRST: u16 = 24_576;
/// Ports in that range.
const PORT_COUNT: u16 = 4_096;

/// A group address that a stream is multicast to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MulticastGroup {
    /// The group, IPv4 or IPv6.
    pub address: IpAddr,
    /// UDP port.
    pub port: u16,
    /// The only source that is accepted (source-specific multicast, RFC 4607); any when `None`.
    pub source: Option<IpAddr>,
}

/// Whether and where a stream is multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MulticastChoice {
    /// To the groups that [`MulticastGroup::derive`] makes of its name.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// To this group.
    At(MulticastGroup),
}

/// Why a text is no multicast choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MulticastChoiceError {
    /// It is neither `auto`, `off` nor an address.
    #[error("expected auto, off, or ADDRESS[:PORT][,source=ADDRESS], such as 239.255.7.7:24600")]
    Syntax,
    /// The address is not a multicast address.
    #[error(
        "{0} is no multicast address: IPv4 groups are 224.0.0.0 to 239.255.255.255, IPv6 groups begin with ff"
    )]
    NotMulticast(IpAddr),
    /// The source's family is another one than the group's, or the source is no single host.
    #[error("{0} cannot be the source of that group")]
    Source(IpAddr),
}

impl MulticastGroup {
    /// Port of a group that is named without one.
    pub const PORT: u16 = PORT_FIRST;

    /// Checks a group that somebody named.
    ///
    /// # Errors
    /// `address` is no multicast address, `port` is 0, or `source` is no single host of the same family.
    pub fn new(address: IpAddr, port: u16, source: Option<IpAddr>) -> Result<Self, MulticastChoiceError> {
        if !address.is_multicast() {
            return Err(MulticastChoiceError::NotMulticast(address));
        }
        if port == 0 {
            return Err(MulticastChoiceError::Syntax);
        }
        let single = |source: &IpAddr| {
            source.is_ipv4() == address.is_ipv4() && !source.is_multicast() && !source.is_unspecified()
        };
        match source.filter(|source| !single(source)) {
            Some(source) => Err(MulticastChoiceError::Source(source)),
            None => Ok(Self { address, port, source }),
        }
    }

    /// Derives the IPv4 and the IPv6 group of a stream, so that who knows the group and the name can join before it has
    /// met anybody: 239.255.0.0/16 (IPv4 local scope, RFC 2365, section 6.1) and ff14::/16 (admin-local and transient,
    /// RFC 4291, section 2.7). Two streams may share a group; each ignores the other's datagrams.
    pub fn derive(group: GroupId, name: &str) -> [Self; 2] {
        let mut hasher = blake3::Hasher::new_derive_key("swarmcast 2026 multicast group");
        hasher.update(&group.0).update(name.as_bytes());
        let digest = hasher.finalize();
        let hash = digest.as_bytes();
        let port = PORT_FIRST + u16::from_be_bytes([hash[0], hash[1]]) % PORT_COUNT;
        let v4 = Ipv4Addr::new(239, 255, hash[2], hash[3]);
        let low = u128::from(u32::from_be_bytes([hash[4], hash[5], hash[6], hash[7]]));
        // RFC 3307, section 4.3: identifiers that are assigned dynamically have the highest bit set.
        let v6 = Ipv6Addr::from(0xff14 << 112 | 0x8000_0000 | low);
        [IpAddr::from(v4), IpAddr::from(v6)].map(|address| Self { address, port, source: None })
    }

    /// Returns address and port.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl FromStr for MulticastChoice {
    type Err = MulticastChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let (place, source) = match text.split_once(",source=") {
            Some((place, source)) => (place, Some(parse_address(source)?)),
            None => (text, None),
        };
        let (address, port) = match place.parse::<SocketAddr>() {
            Ok(place) if place.port() > 0 => (place.ip(), place.port()),
            _ => (parse_address(place)?, MulticastGroup::PORT),
        };
        MulticastGroup::new(address, port, source).map(Self::At)
    }
}

fn parse_address(text: &str) -> Result<IpAddr, MulticastChoiceError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| MulticastChoiceError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_derived_from_group_and_name_within_their_scopes() {
        let of = |name| MulticastGroup::derive(GroupId([7; 16]), name);
        let [v4, v6] = of("cam");
        assert_eq!(of("cam"), [v4, v6]);
        assert_ne!(of("cam"), of("cam2"));
        assert_ne!(MulticastGroup::derive(GroupId([8; 16]), "cam"), [v4, v6]);
        assert!(v4.address.to_string().starts_with("239.255."), "{v4:?}");
        assert!(v6.address.to_string().starts_with("ff14::"), "{v6:?}");
        assert!((PORT_FIRST..PORT_FIRST + PORT_COUNT).contains(&v4.port));
    }

    #[test]
    fn choices_are_read_and_what_is_wrong_is_named() {
        let at = |address: &str, port, source: Option<&str>| {
            let ip = |text: &str| text.parse().expect("an address");
            MulticastChoice::At(MulticastGroup { address: ip(address), port, source: source.map(ip) })
        };
        let read = |text: &str| text.parse::<MulticastChoice>();
        assert_eq!(read("auto"), Ok(MulticastChoice::Auto));
        assert_eq!(read("off"), Ok(MulticastChoice::Off));
        assert_eq!(read("239.1.2.3"), Ok(at("239.1.2.3", MulticastGroup::PORT, None)));
        assert_eq!(read("232.1.2.3:5000,source=10.0.0.1"), Ok(at("232.1.2.3", 5000, Some("10.0.0.1"))));
        assert_eq!(read("[ff15::7]:5000"), Ok(at("ff15::7", 5000, None)));
        assert_eq!(read("ff15::7"), Ok(at("ff15::7", MulticastGroup::PORT, None)));
        for wrong in
            ["", "on", "239.1.2.3:0", "239.1.2.3:70000", "239.1.2.3,source=", "239.1.2.3,src=1.2.3.4"]
        {
            assert_eq!(read(wrong), Err(MulticastChoiceError::Syntax), "{wrong}");
        }
        assert!(matches!(read("10.0.0.1:5000"), Err(MulticastChoiceError::NotMulticast(_))));
        assert!(matches!(read("239.1.2.3,source=::1"), Err(MulticastChoiceError::Source(_))));
        assert!(matches!(read("232.1.2.3,source=239.0.0.1"), Err(MulticastChoiceError::Source(_))));
    }
}
