//! How a user names a peer: `IP:PORT`, or `ENDPOINTHEX@IP:PORT,IP:PORT`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::ids::PeerId;

/// Most addresses that one peer may be given; more are neither useful nor dialled.
pub const PEER_ADDRESSES_MAX: usize = 16;

/// Where a peer is, and who it is when the user knows that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its identity; `None` asks for it with a TCP hello on the same port.
    pub peer: Option<PeerId>,
    /// Where it can be reached; 1 to [`PEER_ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
}

/// Why a text is not the address of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerAddressError {
    /// What stands before the `@` is not 64 hexadecimal digits.
    #[error("an endpoint is 64 hexadecimal digits")]
    Endpoint,
    /// One of the addresses is not `IP:PORT`.
    #[error("`{0}` is not IP:PORT, such as 192.168.1.20:4433 or [fd00::20]:4433")]
    Address(String),
    /// Several addresses without an endpoint could name several peers.
    #[error("several addresses need ENDPOINT@ before them")]
    Several,
    /// More than [`PEER_ADDRESSES_MAX`] addresses.
    #[error("a peer has at most {PEER_ADDRESSES_MAX} addresses")]
    TooMany,
}

impl FromStr for PeerAddress {
    type Err = PeerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (peer, list) = match text.split_once('@') {
            Some((id, list)) => (Some(parse_peer_id(id).ok_or(PeerAddressError::Endpoint)?), list),
            None => (None, text),
        };
        let parse = |one: &str| one.parse().map_err(|_| PeerAddressError::Address(one.to_owned()));
        let addresses = list.split(',').map(parse).collect::<Result<Vec<SocketAddr>, _>>()?;
        if peer.is_none() && addresses.len() > 1 {
            return Err(PeerAddressError::Several);
        }
        if addresses.len() > PEER_ADDRESSES_MAX {
            return Err(PeerAddressError::TooMany);
        }
        Ok(Self { peer, addresses })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = self.peer {
            write!(f, "{peer}@")?;
        }
        for (place, address) in self.addresses.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}

/// Parses 64 hexadecimal digits.
fn parse_peer_id(text: &str) -> Option<PeerId> {
    parse_hex(text).map(PeerId)
}

/// Parses exactly `2 * N` hexadecimal digits.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_to_the_same() {
        let texts = [
            "10.0.0.1:4433".to_owned(),
            "[fe80::1]:4433".to_owned(),
            format!("{}@10.0.0.1:4433,[::1]:9", "a7".repeat(32)),
        ];
        for text in texts {
            assert_eq!(text.parse::<PeerAddress>().expect("valid").to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_its_reason() {
        let refused = |text: &str| text.parse::<PeerAddress>().expect_err("not an address");
        assert_eq!(refused("ab@10.0.0.1:1"), PeerAddressError::Endpoint);
        assert_eq!(refused("host:1"), PeerAddressError::Address("host:1".into()));
        assert_eq!(refused("10.0.0.1:1,10.0.0.2:1"), PeerAddressError::Several);
        let many = vec!["10.0.0.1:1"; PEER_ADDRESSES_MAX + 1].join(",");
        assert_eq!(refused(&format!("{}@{many}", "00".repeat(32))), PeerAddressError::TooMany);
        assert!(matches!(refused(""), PeerAddressError::Address(_)));
    }
}
