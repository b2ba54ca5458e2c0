//! Discovery: every node announces a DNS-SD record on all interfaces and listens for those of others.

mod answer;
mod question;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mdns_sd::{
    IfKind, IfPredicate, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use swarmcast_core::discovery::{LanNode, decode, encode};
use swarmcast_core::group::GroupSpec;
use swarmcast_core::ids::PeerId;
use swarmcast_core::node::Announcement;
use tokio::time::{Instant, sleep_until, timeout};

use crate::PEER_ADDRESSES_MAX;
use crate::clock::instant_after;
use crate::interfaces::is_dialable;
use question::Questioner;

/// Service type of the record.
const SERVICE: &str = "_swarmcast._udp.local.";

/// Times from the start at which one-shot questions go out: the first may be lost, or meet a node that is starting.
const ASK_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(60), Duration::from_millis(250), Duration::from_millis(1000)];

/// Most nodes that are remembered; a LAN with more is joined by those that were heard first.
const NODES_MAX: usize = 4096;

/// How often the daemon looks for new addresses of this host.
const ADDRESS_CHECK_SECONDS: u32 = 2;

/// Longest wait for the daemon to send its goodbye.
const WITHDRAW_MAX: Duration = Duration::from_millis(500);

/// Why discovery did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The mDNS daemon does not run.
    #[error("mDNS: {0}")]
    Daemon(#[from] mdns_sd::Error),
}

/// A change on the LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LanChange {
    /// A node is new, or its record or its addresses changed.
    Found(LanNode),
    /// A node withdrew its record, or let it expire.
    Lost(PeerId),
}

/// Listens for the records of all groups.
pub struct Browser {
    daemon: ServiceDaemon,
    /// This node itself, whose record is not told.
    own: Option<PeerId>,
    events: Receiver<ServiceEvent>,
    questioner: Questioner,
    started: Instant,
    asked: usize,
    /// Whether somebody was heard, so that asking again is of no use.
    answered: bool,
    /// Whose record an instance name is, since a goodbye tells the name alone.
    nodes: BTreeMap<String, LanNode>,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Browser {
    /// Starts to listen on all interfaces, or on the named ones. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`DiscoveryError::Daemon`] when the mDNS daemon cannot be started.
    pub fn start(interfaces: &[String]) -> Result<Self, DiscoveryError> {
        Self::start_as(None, interfaces)
    }

    fn start_as(own: Option<PeerId>, interfaces: &[String]) -> Result<Self, DiscoveryError> {
        let daemon = ServiceDaemon::new()?;
        if !interfaces.is_empty() {
            let named = interfaces.to_vec();
            let other = IfPredicate::new(move |i| !named.contains(&i.name));
            daemon.disable_interface(vec![IfKind::Predicate(other)])?;
        }
        daemon.set_ip_check_interval(ADDRESS_CHECK_SECONDS)?;
        let events = daemon.browse(SERVICE)?;
        let questioner = Questioner::open(interfaces);
        let started = instant_after(Duration::ZERO);
        Ok(Self {
            daemon,
            own,
            events,
            questioner,
            started,
            asked: 0,
            answered: false,
            nodes: BTreeMap::new(),
        })
    }

    /// Waits for the next change. Dropping the future loses nothing.
    pub async fn next(&mut self) -> LanChange {
        loop {
            let ask_at =
                ASK_AFTER.get(self.asked).filter(|_| !self.answered).map(|after| self.started + *after);
            let change = tokio::select! {
                () = sleep_until_some(ask_at) => {
                    self.asked += 1;
                    self.questioner.ask();
                    None
                }
                node = self.questioner.next() => {
                    self.answered |= Some(node.peer) != self.own;
                    let node = self.merge(node);
                    self.remember(node)
                }
                event = self.events.recv_async() => match event {
                    Ok(event) => self.read(event),
                    Err(_) => self.listen_again().await,
                },
            };
            if let Some(change) = change {
                return change;
            }
        }
    }

    /// Returns all nodes heard of and not lost.
    pub fn nodes(&self) -> impl Iterator<Item = &LanNode> {
        self.nodes.values()
    }

    fn read(&mut self, event: ServiceEvent) -> Option<LanChange> {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let node = read_service(&service)?;
                (instance_of(&service.fullname) == instance_name(node.peer)).then(|| self.remember(node))?
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                self.nodes.remove(&instance_of(&fullname)).map(|node| LanChange::Lost(node.peer))
            }
            _ => None,
        }
    }

    /// The daemon drops a listener that fell 1,000 events behind. Without a daemon there is nothing left to hear.
    async fn listen_again(&mut self) -> Option<LanChange> {
        match self.daemon.browse(SERVICE) {
            Ok(events) => self.events = events,
            Err(_) => std::future::pending().await,
        }
        None
    }

    /// Adds the addresses that are known already: an answer to a question names those of one interface only.
    fn merge(&self, mut node: LanNode) -> LanNode {
        if let Some(known) = self.nodes.get(&instance_name(node.peer)) {
            node.addresses.extend_from_slice(&known.addresses);
        }
        node
    }

    /// Keeps what was heard, and tells it when it is new.
    fn remember(&mut self, mut node: LanNode) -> Option<LanChange> {
        node.addresses.sort_unstable();
        node.addresses.dedup();
        node.addresses.truncate(PEER_ADDRESSES_MAX);
        let instance = instance_name(node.peer);
        let known = self.nodes.get(&instance);
        if Some(node.peer) == self.own
            || known == Some(&node)
            || (known.is_none() && self.nodes.len() >= NODES_MAX)
        {
            return None;
        }
        self.nodes.insert(instance, node.clone());
        Some(LanChange::Found(node))
    }

    /// Stops to listen.
    pub async fn stop(self) {
        stop(self.daemon).await;
    }
}

/// Announces this node on the LAN.
pub(crate) struct Announcer {
    daemon: ServiceDaemon,
    peer: PeerId,
    group: GroupSpec,
    port: u16,
}

impl Announcer {
    /// Replaces what is announced.
    pub(crate) fn announce(&self, streams: &Announcement) -> Result<(), DiscoveryError> {
        let instance = instance_name(self.peer);
        let host = format!("{instance}.local.");
        let text = encode(self.peer, &self.group, streams);
        let mut info =
            ServiceInfo::new(SERVICE, &instance, &host, "", self.port, text.as_slice())?.enable_addr_auto();
        // The name is 128 bits of a fresh key: probing for a conflict would only cost 750 ms.
        info.set_requires_probe(false);
        Ok(self.daemon.register(info)?)
    }

    /// Withdraws the record and waits, at most half a second, until the goodbye is out.
    pub(crate) async fn stop(self) {
        stop(self.daemon).await;
    }
}

/// Announces a node without streams, and starts to listen for the others.
pub(crate) fn start(
    peer: PeerId,
    group: GroupSpec,
    port: u16,
    interfaces: &[String],
) -> Result<(Announcer, Browser), DiscoveryError> {
    let browser = Browser::start_as(Some(peer), interfaces)?;
    let announcer = Announcer { daemon: browser.daemon.clone(), peer, group, port };
    announcer.announce(&Announcement::default())?;
    Ok((announcer, browser))
}

async fn stop(daemon: ServiceDaemon) {
    if let Ok(ended) = daemon.shutdown() {
        let _ = timeout(WITHDRAW_MAX, ended.recv_async()).await;
    }
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The first 16 bytes of the peer's key in hexadecimal: a DNS label has at most 63.
fn instance_name(peer: PeerId) -> String {
    let mut name = peer.to_string();
    name.truncate(32);
    name
}

fn instance_of(fullname: &str) -> String {
    fullname.split('.').next().unwrap_or_default().to_ascii_lowercase()
}

fn read_service(service: &ResolvedService) -> Option<LanNode> {
    let dialable = service.addresses.iter().map(ScopedIp::to_ip_addr).filter(|ip| is_dialable(*ip));
    let mut addresses: Vec<_> = dialable.map(|ip| SocketAddr::new(ip, service.port)).collect();
    addresses.sort_unstable();
    addresses.truncate(PEER_ADDRESSES_MAX);
    decode(|key| service.txt_properties.get_property_val_str(key).map(str::to_owned), addresses)
}

#[cfg(test)]
mod tests;
