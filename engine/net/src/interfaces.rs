//! The interfaces of this host and their addresses.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

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

/// An interface that has an address, whatever its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: Arc<str>,
    pub(crate) index: u32,
    /// Whether it is up and has carrier.
    pub(crate) runs: bool,
    /// Whether it is made for multicast. Loopback does not say so, and carries multicast all the same.
    pub(crate) multicasts: bool,
    pub(crate) loopback: bool,
    pub(crate) addresses: Vec<IpAddr>,
}

impl Interface {
    /// Returns the address to send from in a family: one that others can dial, if there is any.
    pub(crate) fn source(&self, v6: bool) -> Option<IpAddr> {
        let of_family = || self.addresses.iter().copied().filter(|ip| ip.is_ipv6() == v6);
        of_family().find(|ip| is_dialable(*ip)).or_else(|| of_family().next())
    }
}

/// Returns the interfaces that a node uses, by index: the named ones; or else all but loopback; or else loopback.
///
/// An interface that is down still counts as there: a host whose cable was pulled has not become one without a network.
///
/// # Errors
/// Whatever the system says when it cannot list them.
pub(crate) fn interfaces(names: &[String]) -> io::Result<Vec<Interface>> {
    let mut all: Vec<Interface> = Vec::new();
    for entry in getifaddrs()? {
        let Some(ip) = entry.address.as_ref().and_then(ip_of) else { continue };
        match all.iter_mut().find(|known| *known.name == *entry.interface_name) {
            Some(known) => known.addresses.push(ip),
            None => all.extend(read_interface(&entry, ip)),
        }
    }
    all.sort_by_key(|interface| interface.index);
    Ok(used(all, names))
}

fn read_interface(entry: &nix::ifaddrs::InterfaceAddress, ip: IpAddr) -> Option<Interface> {
    let has = |flags| entry.flags.contains(flags);
    let loopback = has(InterfaceFlags::IFF_LOOPBACK);
    Some(Interface {
        name: entry.interface_name.as_str().into(),
        index: if_nametoindex(entry.interface_name.as_str()).ok()?,
        runs: has(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING),
        multicasts: has(InterfaceFlags::IFF_MULTICAST) || loopback,
        loopback,
        addresses: vec![ip],
    })
}

fn used(mut all: Vec<Interface>, names: &[String]) -> Vec<Interface> {
    if names.is_empty() {
        let alone = all.iter().all(|interface| interface.loopback);
        all.retain(|interface| alone || !interface.loopback);
    } else {
        all.retain(|interface| names.iter().any(|name| **name == *interface.name));
    }
    all
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
    fn loopback_is_used_when_it_is_named_or_alone() {
        let interface = |name: &str, loopback, runs| Interface {
            name: name.into(),
            index: 7,
            runs,
            multicasts: true,
            loopback,
            addresses: Vec::new(),
        };
        let (lo, down, up) =
            (interface("lo", true, true), interface("a", false, false), interface("b", false, true));
        let all = || vec![lo.clone(), down.clone(), up.clone()];
        assert_eq!(used(all(), &[]), [down.clone(), up.clone()]);
        assert_eq!(used(all(), &["lo".to_owned(), "b".to_owned()]), [lo.clone(), up.clone()]);
        assert_eq!(used(vec![lo.clone(), down.clone()], &[]), [down]);
        assert_eq!(used(vec![lo.clone()], &[]), [lo]);
    }

    #[test]
    fn an_interface_is_sent_from_by_an_address_that_others_can_dial() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut interface = interfaces(&["lo".to_owned()]).expect("the system lists them").remove(0);
        assert!(interface.loopback && interface.runs && interface.multicasts);
        interface.addresses = vec![ip("fe80::1"), ip("10.0.0.1"), ip("fd00::1"), ip("10.0.0.2")];
        assert_eq!(interface.source(false), Some(ip("10.0.0.1")));
        assert_eq!(interface.source(true), Some(ip("fd00::1")));
        interface.addresses.truncate(1);
        assert_eq!((interface.source(false), interface.source(true)), (None, Some(ip("fe80::1"))));
    }

    #[test]
    fn loopback_is_told_only_when_there_is_nothing_else() {
        let (lo, link, lan) =
            (address("127.0.0.1", true), address("fe80::1", false), address("fd00::3", false));
        assert_eq!(reachable(vec![lo.clone(), link.clone(), lan.clone()]), [lan.ip]);
        assert_eq!(reachable(vec![lo.clone(), link]), [lo.ip]);
    }
}
