//! The addresses of this host, by interface.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

/// One address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalAddress {
    pub(crate) interface: String,
    pub(crate) index: u32,
    pub(crate) ip: IpAddr,
    pub(crate) prefix_bits: u8,
    pub(crate) loopback: bool,
}

/// Returns the addresses of all interfaces that are up, or of the named ones.
///
/// # Errors
/// Whatever the system says when it cannot list them.
pub(crate) fn local_addresses(names: &[String]) -> io::Result<Vec<LocalAddress>> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
    let all = getifaddrs()?;
    Ok(all.filter(|i| up(i.flags) && wanted(&i.interface_name)).filter_map(read).collect())
}

/// Returns whether a session can use an address.
///
/// IPv6 link-local addresses are left out: iroh forgets the interface that such an address came in by, so its answers
/// fail, and noq then gives up segmentation offload for the whole socket. Every host that has one has another address.
pub(crate) fn is_dialable(ip: IpAddr) -> bool {
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !link_local && !ip.is_unspecified() && !ip.is_multicast()
}

/// Returns the addresses under which others reach this node, best first; loopback only when there is nothing else.
pub(crate) fn reachable(mut addresses: Vec<LocalAddress>) -> Vec<IpAddr> {
    addresses.retain(|a| is_dialable(a.ip));
    if addresses.iter().any(|a| !a.loopback) {
        addresses.retain(|a| !a.loopback);
    }
    addresses.sort_by_key(|a| (a.ip.is_ipv6(), a.index));
    addresses.into_iter().map(|a| a.ip).collect()
}

fn read(entry: nix::ifaddrs::InterfaceAddress) -> Option<LocalAddress> {
    let ip = ip_of(entry.address.as_ref()?)?;
    let prefix_bits = match entry.netmask.as_ref().and_then(ip_of) {
        Some(IpAddr::V4(mask)) => mask.to_bits().count_ones(),
        Some(IpAddr::V6(mask)) => mask.to_bits().count_ones(),
        None => 0,
    };
    Some(LocalAddress {
        index: if_nametoindex(entry.interface_name.as_str()).ok()?,
        interface: entry.interface_name,
        ip,
        prefix_bits: u8::try_from(prefix_bits).ok()?,
        loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
    })
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str, loopback: bool) -> LocalAddress {
        let ip = ip.parse().expect("an address");
        LocalAddress { interface: "x".into(), index: 7, ip, prefix_bits: 24, loopback }
    }

    #[test]
    fn loopback_is_listed_and_known_as_such() {
        let all = local_addresses(&["lo".to_owned()]).expect("the system lists interfaces");
        assert!(
            all.iter().any(|a| a.ip == IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
                && a.loopback
                && a.prefix_bits == 8)
        );
        assert!(local_addresses(&["nosuch0".to_owned()]).expect("an empty list").is_empty());
    }

    #[test]
    fn loopback_is_told_only_when_there_is_nothing_else() {
        let (lo, link, lan) =
            (address("127.0.0.1", true), address("fe80::1", false), address("fd00::3", false));
        assert_eq!(reachable(vec![lo.clone(), link.clone(), lan.clone()]), [lan.ip]);
        assert_eq!(reachable(vec![lo.clone(), link]), [lo.ip]);
    }
}
