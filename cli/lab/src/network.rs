//! Hosts on one LAN.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::host::{Host, INTERFACE, Port};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::switch::{LinkProfile, Switch};

/// Most hosts of one network: their addresses end in 1 to 250.
pub const HOSTS_MAX: usize = 250;

/// A bridge that snoops and is its own querier, times in hundredths of a second; asking takes an address.
const SNOOPING: &[&str] = &[
    "link add bridge0 type bridge stp_state 0 forward_delay 0 mcast_snooping 1 mcast_igmp_version 3 \
     mcast_query_use_ifaddr 1 mcast_startup_query_interval 50 mcast_query_interval 100 \
     mcast_query_response_interval 50 mcast_membership_interval 300 mcast_querier_interval 200",
    // It begins after one response interval, which it must know by then.
    "link set bridge0 type bridge mcast_querier 1",
    "address add 10.77.255.254/16 dev bridge0",
];

/// A bridge floods until it has waited for other queriers; here half a second.
const SNOOPING_SETTLES_MAX: Duration = Duration::from_secs(20);

/// A group that nobody joins, and what is sent there to see whether it arrives.
const UNHEARD: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const UNHEARD_PORT: u16 = 9;
const UNHEARD_DATAGRAMS: usize = 20;
const UNHEARD_BYTES: usize = 1_000;

/// What a home router does to connections from inside.
const MASQUERADE: &str = "table ip lab {
chain post { type nat hook postrouting priority srcnat; oifname \"eth0\" masquerade; }
chain forward { type filter hook forward priority 0; policy drop; iifname \"inside\" accept
ct state established,related accept; }
}
";

/// Hosts that reach each other, by a bridge of the kernel or by a [`Switch`] that delays; dropping it ends
/// the processes on them and removes all of it.
#[derive(Debug)]
pub struct Network {
    // Dropped in this order: no host outlives its cable.
    hosts: Vec<Host>,
    routers: Vec<Namespace>,
    switch: Option<Switch>,
    hub: Option<Arc<Namespace>>,
}

impl Network {
    /// Connects `count` hosts to a bridge: no delay, no limit, as fast as the machine.
    ///
    /// # Errors
    /// More than [`HOSTS_MAX`] hosts, or the kernel refuses one of the parts.
    pub fn bridged(lab: &Lab, count: usize) -> Result<Self> {
        // Without snooping every port gets all multicast, as on the plain switches of most homes and offices.
        Self::on_bridge(
            lab,
            count,
            &["link add bridge0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0"],
        )
    }

    /// As [`Network::bridged`], but a host gets only multicast that it has asked for: the bridge snoops, asks each
    /// second who listens, and forgets a listener that does not answer for three. Waits until it does.
    ///
    /// # Errors
    /// As [`Network::bridged`], or the bridge floods after all.
    pub fn snooped(lab: &Lab, count: usize) -> Result<Self> {
        let network = Self::on_bridge(lab, count, SNOOPING)?;
        let deadline = Instant::now() + SNOOPING_SETTLES_MAX;
        while network.floods()? {
            anyhow::ensure!(Instant::now() < deadline, "the bridge floods multicast");
        }
        Ok(network)
    }

    /// Whether a group that nobody listens to reaches the second host.
    fn floods(&self) -> Result<bool> {
        let [from, to, ..] = &self.hosts[..] else { anyhow::bail!("snooping takes two hosts") };
        let receiver = to.namespace().enter(|| UdpSocket::bind((UNHEARD, UNHEARD_PORT)))??;
        receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
        // A socket that has not joined hears nothing: the interface counts what arrives.
        let before = to.counters()?.rx_bytes;
        let sender = from.namespace().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        for _ in 0..UNHEARD_DATAGRAMS {
            sender.send_to(&[0; UNHEARD_BYTES], (UNHEARD, UNHEARD_PORT))?;
        }
        let _ = receiver.recv(&mut [0; 16]);
        Ok(to.counters()?.rx_bytes - before >= (UNHEARD_DATAGRAMS * UNHEARD_BYTES) as u64)
    }

    fn on_bridge(lab: &Lab, count: usize, bridge: &[&str]) -> Result<Self> {
        anyhow::ensure!(count <= HOSTS_MAX, "at most {HOSTS_MAX} hosts");
        let number = lab.next_network();
        let hub = Arc::new(Namespace::create(&format!("{number}-hub"))?);
        hub.configure(bridge)?;
        hub.configure(&["link set bridge0 up"])?;
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
        Ok(Self { hosts, routers: Vec::new(), switch: None, hub: Some(hub) })
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
        Ok(Self { hosts, routers: Vec::new(), switch: Some(switch), hub: None })
    }

    /// Adds a host behind a router that masquerades; it reaches all others, they reach it only in answer.
    ///
    /// # Errors
    /// The network has no bridge or is full, or the kernel refuses one of the parts.
    pub fn add_behind_nat(&mut self, lab: &Lab) -> Result<&Host> {
        let hub = self.hub.as_ref().context("only a bridge takes further hosts")?;
        let index = self.hosts.len();
        anyhow::ensure!(index < HOSTS_MAX, "at most {HOSTS_MAX} hosts");
        let number = lab.next_network();
        let router = Namespace::create(&format!("{number}-nat"))?;
        let port = format!("port{index}");
        hub.configure(&[
            format!("link add {port} type veth peer name {INTERFACE} netns {}", router.name()),
            format!("link set {port} master bridge0 up"),
        ])?;
        let inside = Namespace::create(&format!("{number}-h{index}"))?;
        router.configure(&[
            format!("address add {}/16 dev {INTERFACE}", address(index)),
            format!("link set {INTERFACE} up"),
            format!("link add inside type veth peer name {INTERFACE} netns {}", inside.name()),
            "address add 10.78.0.1/24 dev inside".to_owned(),
            "link set inside up".to_owned(),
        ])?;
        router.set_kernel_parameter("net/ipv4/ip_forward", "1")?;
        router.run("nft", &["-f", "-"], MASQUERADE)?;
        inside.configure(&[
            format!("address add 10.78.0.2/24 dev {INTERFACE}"),
            format!("link set {INTERFACE} up"),
            "route add default via 10.78.0.1".to_owned(),
        ])?;
        self.routers.push(router);
        let host = Host::new(index, Ipv4Addr::new(10, 78, 0, 2), inside, None);
        self.hosts.push(host);
        Ok(&self.hosts[index])
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
}

/// The address of a host: 10.77.0.1 for the first.
fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last_byte(index))
}

/// The hardware address of a host, known to all from the start.
pub(crate) fn hardware_address(index: usize) -> String {
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
