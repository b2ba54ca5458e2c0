//! The addresses of this host, by interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

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

impl LocalAddress {
    /// Returns the address with a port, and with its scope when it means nothing without one.
    pub(crate) fn with_port(&self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, self.index).into(),
            ip => SocketAddr::new(ip, port),
        }
    }

    /// Returns whether other hosts can dial it without knowing this host's interfaces.
    fn is_link_local(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        }
    }
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

/// Returns the addresses under which others reach this node, best first; loopback only when there is nothing else.
pub(crate) fn reachable(mut addresses: Vec<LocalAddress>) -> Vec<LocalAddress> {
    if addresses.iter().any(|a| !a.loopback && !a.is_link_local()) {
        addresses.retain(|a| !a.loopback && !a.is_link_local());
    } else if addresses.iter().any(|a| !a.loopback) {
        addresses.retain(|a| !a.loopback);
    }
    addresses.sort_by_key(|a| (a.ip.is_ipv6(), a.index));
    addresses
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
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(Ipv4Addr::from(a.ip())));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(Ipv6Addr::from(a.ip()))))
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
            all.iter().any(|a| a.ip == IpAddr::V4(Ipv4Addr::LOCALHOST) && a.loopback && a.prefix_bits == 8)
        );
        assert!(local_addresses(&["nosuch0".to_owned()]).expect("an empty list").is_empty());
    }

    #[test]
    fn the_widest_scope_there_is_wins() {
        let (lo, link, lan) =
            (address("127.0.0.1", true), address("fe80::1", false), address("10.1.2.3", false));
        assert_eq!(reachable(vec![lo.clone(), link.clone(), lan.clone()]), [lan]);
        assert_eq!(reachable(vec![lo.clone(), link.clone()]), [link.clone()]);
        assert_eq!(reachable(vec![lo.clone()]), [lo]);
        assert_eq!(link.with_port(9).to_string(), "[fe80::1%7]:9");
    }
}
