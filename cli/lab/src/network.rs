//! Hosts on one LAN.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::host::{Host, INTERFACE, Port};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::switch::{LinkProfile, Switch};

/// Most hosts of one network: their addresses end in 1 to 250.
pub const HOSTS_MAX: usize = 250;

/// Hosts that reach each other, by a bridge of the kernel or by a [`Switch`] that delays; dropping it ends
/// the processes on them and removes all of it.
#[derive(Debug)]
pub struct Network {
    // Dropped in this order: no host outlives its cable.
    hosts: Vec<Host>,
    switch: Option<Switch>,
    hub: Option<Arc<Namespace>>,
}

impl Network {
    /// Connects `count` hosts to a bridge: no delay, no limit, as fast as the machine.
    ///
    /// # Errors
    /// More than [`HOSTS_MAX`] hosts, or the kernel refuses one of the parts.
    pub fn bridged(lab: &Lab, count: usize) -> Result<Self> {
        anyhow::ensure!(count <= HOSTS_MAX, "at most {HOSTS_MAX} hosts");
        let number = lab.next_network();
        let hub = Arc::new(Namespace::create(&format!("{number}-hub"))?);
        // Without snooping every port gets all multicast, as on the plain switches of most homes and offices.
        hub.configure(&[
            "link add bridge0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set bridge0 up",
        ])?;
        let mut hosts = Vec::with_capacity(count);
        for index in 0..count {
            let namespace = host_namespace(number, index)?;
            let port = Port { hub: Arc::clone(&hub), name: format!("port{index}") };
            hub.configure(&[
                format!("link add {} type veth peer name {INTERFACE} netns {}", port.name, namespace.name()),
                format!("link set {} master bridge0 up", port.name),
            ])?;
            hosts.push(plug_in(index, count, namespace, Some(port))?);
        }
        Ok(Self { hosts, switch: None, hub: Some(hub) })
    }

    /// Connects `count` hosts to a switch in this process, all of whose links have `profile` at first.
    ///
    /// # Errors
    /// More than [`HOSTS_MAX`] hosts, or the kernel refuses one of the parts.
    pub fn switched(lab: &Lab, count: usize, profile: LinkProfile) -> Result<Self> {
        anyhow::ensure!(count <= HOSTS_MAX, "at most {HOSTS_MAX} hosts");
        let number = lab.next_network();
        let mut namespaces = Vec::with_capacity(count);
        for index in 0..count {
            namespaces.push(host_namespace(number, index)?);
        }
        let switch = Switch::start(&namespaces, profile).context("cannot start the switch")?;
        let mut hosts = Vec::with_capacity(count);
        for (index, namespace) in namespaces.into_iter().enumerate() {
            hosts.push(plug_in(index, count, namespace, None)?);
        }
        Ok(Self { hosts, switch: Some(switch), hub: None })
    }

    /// All hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host at `index`.
    ///
    /// # Panics
    /// The network has fewer hosts.
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// The switch, in a network made by [`Network::switched`].
    pub fn switch(&self) -> Option<&Switch> {
        self.switch.as_ref()
    }

    /// The namespace of the bridge, in a network made by [`Network::bridged`].
    pub fn hub(&self) -> Option<&Namespace> {
        self.hub.as_deref()
    }
}

/// The address of a host: 10.77.0.1 for the first.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last_byte(index))
}

/// The hardware address of a host, known to all from the start.
fn hardware_address(index: usize) -> String {
    format!("02:77:00:00:00:{:02x}", last_byte(index))
}

fn last_byte(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap_or(u8::MAX)
}

/// A namespace for a host, with the kernel's defaults set before its interface comes.
fn host_namespace(network: u32, index: usize) -> Result<Namespace> {
    let namespace = Namespace::create(&format!("{network}-h{index}"))?;
    // Duplicate address detection would keep the link-local address unusable for a second or two.
    namespace.set_kernel_parameter("net/ipv6/conf/default/accept_dad", "0")?;
    Ok(namespace)
}

/// Gives the interface its addresses, routes and neighbours.
fn plug_in(index: usize, count: usize, namespace: Namespace, port: Option<Port>) -> Result<Host> {
    let own = address(index);
    let mut commands = vec![
        format!("link set {INTERFACE} address {}", hardware_address(index)),
        format!("address add {own}/16 dev {INTERFACE}"),
        format!("link set {INTERFACE} up"),
        // Multicast leaves by this interface; what is not on the LAN finds nobody.
        format!("route add default dev {INTERFACE}"),
    ];
    for other in (0..count).filter(|&other| other != index) {
        let (peer, lladdr) = (address(other), hardware_address(other));
        commands.push(format!("neighbour add {peer} lladdr {lladdr} nud permanent dev {INTERFACE}"));
    }
    namespace.configure(&commands)?;
    // One lost super-packet would take a whole batch of datagrams; real cards split them before the wire.
    // Some kernels cannot switch it off: then loss comes in runs, which is harder, not easier.
    let _ = namespace.run("ethtool", &["-K", INTERFACE, "tx-udp-segmentation", "off"], "");
    Ok(Host::new(index, own, namespace, port))
}
