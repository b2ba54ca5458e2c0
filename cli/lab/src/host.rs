//! A host: a namespace with one interface, and the faults that strike it.

use std::net::Ipv4Addr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock;
use crate::counters::Counters;
use crate::faults::{self, Faults};
use crate::namespace::Namespace;

/// The interface that every host has.
pub const INTERFACE: &str = "eth0";

/// A host of the lab; its processes see nothing but its network.
#[derive(Debug)]
pub struct Host {
    index: usize,
    address: Ipv4Addr,
    namespace: Namespace,
    port: Option<Port>,
    /// By how many microseconds its monotonic clock is ahead of the machine's.
    ahead: AtomicU64,
}

/// The other end of a host's cable.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Where the bridge is.
    pub(crate) hub: Arc<Namespace>,
    /// The bridge's end of the cable.
    pub(crate) name: String,
}

impl Host {
    /// Takes a namespace whose interface is set up; without `port` there is no cable to pull.
    pub(crate) fn new(index: usize, address: Ipv4Addr, namespace: Namespace, port: Option<Port>) -> Self {
        Self { index, address, namespace, port, ahead: AtomicU64::new(0) }
    }

    /// Its place in the network, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its IPv4 address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The namespace that it is.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Sets the monotonic clock that processes see which are started from now on so much ahead of the machine's. What
    /// they call `t` is then ahead as well.
    pub fn set_clock_ahead(&self, by: Duration) {
        self.ahead.store(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Starts a program on the host.
    ///
    /// # Errors
    /// The host cannot be entered, its clock cannot be set, or the program cannot be started.
    pub fn start(&self, command: &mut Command) -> Result<Child> {
        let ahead = Duration::from_micros(self.ahead.load(Ordering::Relaxed));
        // A child starts in the namespaces of the thread that forks it.
        self.namespace.enter(|| {
            if !ahead.is_zero() {
                clock::set_children_ahead(ahead)?;
            }
            Ok(command.spawn()?)
        })?
    }

    /// What passed its interface so far.
    ///
    /// # Errors
    /// The interface is gone.
    pub fn counters(&self) -> Result<Counters> {
        Counters::read(&self.namespace, INTERFACE)
    }

    /// Sets what happens to packets that arrive, in place of what was set before.
    ///
    /// # Errors
    /// nftables refuses the rules.
    pub fn set_ingress_faults(&self, faults: &Faults) -> Result<()> {
        self.namespace.run("nft", &["-f", "-"], &faults.ruleset("lab", INTERFACE)).map(drop)
    }

    /// Sets what happens to packets that the host sends, in place of what was set before: the bridge loses them, so
    /// that nothing on the host can know.
    ///
    /// # Errors
    /// The host has no cable, or nftables refuses the rules.
    pub fn set_egress_faults(&self, faults: &Faults) -> Result<()> {
        let port = self.port()?;
        let ruleset = faults.ruleset(&format!("lab_{}", port.name), &port.name);
        port.hub.run("nft", &["-f", "-"], &ruleset).map(drop)
    }

    /// Sets what happens to packets in both directions.
    ///
    /// # Errors
    /// As [`Host::set_egress_faults`].
    pub fn set_faults(&self, faults: &Faults) -> Result<()> {
        self.set_ingress_faults(faults)?;
        self.set_egress_faults(faults)
    }

    /// Packets that the faults set last have dropped.
    ///
    /// # Errors
    /// No faults were ever set.
    pub fn dropped(&self) -> Result<u64> {
        let listing = self.namespace.run("nft", &["-j", "list", "table", "netdev", "lab"], "")?;
        faults::counted(&listing)
    }

    /// Counts from now on the packets that the host sends to other networks than its own.
    ///
    /// # Errors
    /// nftables refuses the rules.
    pub fn watch_strangers(&self) -> Result<()> {
        self.namespace.run("nft", &["-f", "-"], faults::STRANGERS).map(drop)
    }

    /// Packets counted since [`Host::watch_strangers`].
    ///
    /// # Errors
    /// It was never called.
    pub fn strangers(&self) -> Result<u64> {
        let listing = self.namespace.run("nft", &["-j", "list", "table", "inet", "lab"], "")?;
        faults::counted(&listing)
    }

    /// Counts from now on the mDNS that passes the host's interface.
    ///
    /// # Errors
    /// nftables refuses the rules.
    pub fn watch_discovery(&self) -> Result<()> {
        self.namespace.run("nft", &["-f", "-"], &faults::discovery_counter(INTERFACE)).map(drop)
    }

    /// Bytes of mDNS received and sent since [`Host::watch_discovery`], link-layer headers included.
    ///
    /// # Errors
    /// It was never called.
    pub fn discovery_bytes(&self) -> Result<(u64, u64)> {
        let listing = self.namespace.run("nft", &["-j", "list", "table", "inet", "discovery"], "")?;
        Ok((faults::counted_bytes(&listing, "in")?, faults::counted_bytes(&listing, "out")?))
    }

    /// Counts from now on the datagrams to a multicast group that reach the host's interface.
    ///
    /// # Errors
    /// nftables refuses the rules.
    pub fn watch_group(&self, group: Ipv4Addr) -> Result<()> {
        self.namespace.run("nft", &["-f", "-"], &faults::group_counter(INTERFACE, group)).map(drop)
    }

    /// Datagrams counted since [`Host::watch_group`].
    ///
    /// # Errors
    /// It was never called.
    pub fn group_datagrams(&self) -> Result<u64> {
        let listing = self.namespace.run("nft", &["-j", "list", "table", "netdev", "count"], "")?;
        faults::counted(&listing)
    }

    /// Lets the interface take super-packets and split them itself, or makes the kernel split them before it.
    ///
    /// # Errors
    /// The kernel cannot switch it.
    pub fn set_segmentation(&self, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        self.namespace.run("ethtool", &["-K", INTERFACE, "tx-udp-segmentation", state], "").map(drop)
    }

    /// Makes the interface join what arrives together into runs for sockets that ask for them (GRO), as the drivers of
    /// real cards do unless told otherwise; cables between namespaces do not.
    ///
    /// # Errors
    /// The host has no cable, or the kernel cannot switch it.
    pub fn join_arrivals(&self) -> Result<()> {
        let port = self.port()?;
        // The kernel joins nothing on a cable whose other end would take super-packets whole.
        port.hub.run("ethtool", &["-K", &port.name, "tso", "off"], "")?;
        self.namespace.run("ethtool", &["-K", INTERFACE, "gro", "on"], "").map(drop)
    }

    /// Limits what the host can send, bit/s.
    ///
    /// # Errors
    /// The kernel refuses the queueing discipline.
    pub fn limit_egress(&self, bits_per_second: u64) -> Result<()> {
        let arguments = token_bucket(INTERFACE, bits_per_second);
        self.namespace.run("tc", &words(&arguments), "").map(drop)
    }

    /// Limits what reaches the host, bit/s: the queue is the one of the bridge's port.
    ///
    /// # Errors
    /// The host has no cable, or the kernel refuses the queueing discipline.
    pub fn limit_ingress(&self, bits_per_second: u64) -> Result<()> {
        let port = self.port()?;
        port.hub.run("tc", &words(&token_bucket(&port.name, bits_per_second)), "").map(drop)
    }

    /// Lifts both limits.
    ///
    /// # Errors
    /// None was set.
    pub fn unlimit(&self) -> Result<()> {
        let remove = |interface| ["qdisc", "del", "dev", interface, "root"];
        let own = self.namespace.run("tc", &remove(INTERFACE), "");
        let hub = self.port().and_then(|port| port.hub.run("tc", &remove(&port.name), ""));
        own.or(hub).map(drop)
    }

    /// Pulls the cable.
    ///
    /// # Errors
    /// The host has none.
    pub fn cut(&self) -> Result<()> {
        let port = self.port()?;
        port.hub.configure(&[format!("link set {} down", port.name)])
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// The host has none.
    pub fn mend(&self) -> Result<()> {
        let port = self.port()?;
        port.hub.configure(&[format!("link set {} up", port.name)])
    }

    /// Lets the host reach only those that are not set apart too, or everybody again.
    ///
    /// # Errors
    /// The host has no cable.
    pub fn set_isolated(&self, isolated: bool) -> Result<()> {
        let port = self.port()?;
        let state = if isolated { "on" } else { "off" };
        port.hub.run("bridge", &["link", "set", "dev", &port.name, "isolated", state], "").map(drop)
    }

    fn port(&self) -> Result<&Port> {
        let Some(port) = &self.port else {
            bail!("host {} has no port on a bridge", self.index);
        };
        Ok(port)
    }

    /// The IPv6 link-local address of its interface.
    ///
    /// # Errors
    /// It has none yet.
    pub fn link_local(&self) -> Result<std::net::Ipv6Addr> {
        let listing = self.namespace.run("ip", &["-6", "-j", "address", "show", "dev", INTERFACE], "")?;
        let links: serde_json::Value = serde_json::from_str(&listing).context("`ip -j` writes JSON")?;
        let address = links.pointer("/0/addr_info/0/local").and_then(|local| local.as_str());
        let address = address.with_context(|| format!("host {} has no IPv6 address", self.index))?;
        address.parse().with_context(|| format!("`{address}` is no IPv6 address"))
    }
}

/// The `tc` arguments of a rate limit with 50 ms of queue, as a home router has it.
fn token_bucket(interface: &str, bits_per_second: u64) -> Vec<String> {
    let rate = format!("{bits_per_second}bit");
    // A bucket of 4 ms, at least two packets: the timer of the queue ticks no finer.
    let burst = (bits_per_second / 8 / 250).max(3_200).to_string();
    let line = ["qdisc", "replace", "dev", interface, "root", "tbf"];
    let limit = ["rate", &rate, "burst", &burst, "latency", "50ms"];
    line.into_iter().chain(limit).map(str::to_owned).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}
