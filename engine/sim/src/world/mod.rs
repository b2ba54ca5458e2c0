//! The world: hosts, network and time, driven by one agenda and one source of chance.

mod agenda;
mod discovery;
mod drive;
mod host;
mod judge;
mod multicast;
mod probe;
mod script;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swarmcast_core::group::{GroupError, GroupSpec};
use swarmcast_core::ids::{PeerId, StreamHandle};
use swarmcast_core::memo::Memo;
use swarmcast_core::node::{Input, Node, NodeConfig, Publication};
use swarmcast_core::stats::StreamStats;

use agenda::{Agenda, Happening};
pub(crate) use host::Host;
pub use host::HostConfig;
use host::HostParts;
pub(crate) use script::STREAM;
pub use script::{Deed, Transmission};

use crate::clock::HostClock;
use crate::dice::Dice;
use crate::hostile::Hostile;
use crate::ledger::Ledger;
use crate::link::LinkModel;
use crate::memo::VerifiedBefore;
use crate::network::{HostId, Network, Traffic, Trunk};
use crate::oracle::{Breach, HostOracle, Violation};
use crate::process::Process;
use crate::session::{Sessions, TransportModel};
use crate::settled::Mark;
use crate::trace::{Digest, Trace, TraceSink};

/// Violations that are kept; a broken node would fill the memory otherwise.
const VIOLATIONS_MAX: usize = 64;

/// What holds for a whole world.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Seed of all chance in it.
    pub seed: u64,
    /// Name of the one group in it.
    pub group: String,
    /// Links between any two hosts that have none of their own.
    pub link: LinkModel,
    /// What a multicast datagram meets on its way to each receiver; the same as `link` when `None`.
    pub multicast: Option<LinkModel>,
    /// What joins LANs.
    pub trunk: Trunk,
    /// The transport.
    pub transport: TransportModel,
    /// Clocks drift by at most this, parts per million, either way.
    pub drift_ppm_max: u32,
    /// Wall clocks are off by at most this, either way.
    pub wall_skew_max: Duration,
    /// Discovery takes from the first to the second.
    pub sighting: (Duration, Duration),
    /// Whether what one node has verified is taken for verified by the others: the same run in a tenth of the time.
    pub memoise: bool,
}

impl WorldConfig {
    /// Returns a switched LAN with ordinary clocks.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            group: "world".to_owned(),
            link: LinkModel::default(),
            multicast: None,
            trunk: Trunk::default(),
            transport: TransportModel::default(),
            drift_ppm_max: 50,
            wall_skew_max: Duration::from_millis(500),
            sighting: (Duration::from_millis(5), Duration::from_millis(120)),
            memoise: true,
        }
    }
}

/// Hosts, network and time.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    group: GroupSpec,
    dice: Dice,
    now: Duration,
    agenda: Agenda,
    network: Network,
    hosts: Vec<Host>,
    by_peer: BTreeMap<PeerId, HostId>,
    sessions: Sessions,
    ledger: Ledger,
    has_hostile: bool,
    trace: Trace,
    violations: Vec<Violation>,
    mark: Option<Mark>,
    memo: Option<Arc<dyn Memo>>,
}

impl World {
    /// Makes an empty world.
    ///
    /// # Errors
    /// [`GroupError`] when the group's name is not acceptable.
    pub fn new(config: WorldConfig) -> Result<Self, GroupError> {
        let mut network = Network::new(
            config.link,
            config.multicast.unwrap_or(config.link),
            config.transport.overhead_bytes,
        );
        network.set_trunk(config.trunk);
        Ok(Self {
            group: GroupSpec::open(&config.group)?,
            dice: Dice::new(config.seed),
            now: Duration::ZERO,
            agenda: Agenda::default(),
            network,
            hosts: Vec::new(),
            by_peer: BTreeMap::new(),
            sessions: Sessions::default(),
            ledger: Ledger::default(),
            has_hostile: false,
            trace: Trace::default(),
            violations: Vec::new(),
            mark: None,
            memo: config.memoise.then(|| Arc::new(VerifiedBefore::default()) as Arc<dyn Memo>),
            config,
        })
    }

    /// Writes each step as a line to `sink`.
    pub fn trace_to(&mut self, sink: TraceSink) {
        self.trace.set_sink(sink);
    }

    /// Adds a host, whose process starts at once.
    pub fn add_host(&mut self, config: HostConfig) -> HostId {
        let peer = PeerId(self.dice.key());
        let mut node = NodeConfig::new(peer, self.group.clone(), self.dice.key());
        node.window_bytes_max = config.window_bytes_max.unwrap_or(node.window_bytes_max);
        node.neighbours_max = config.neighbours_max.unwrap_or(node.neighbours_max);
        // A publisher keeps places beside the mesh for those who want all of its stream.
        let sessions_max = node.neighbours_max + Publication::UNICAST_MAX;
        node.memo = self.memo.clone();
        let oracle = HostOracle::new(sessions_max, node.window_bytes_max);
        let clock = config.clock.unwrap_or_else(|| self.draw_clock());
        let begins = clock.now(self.now);
        let honest = Node::new(begins, node);
        let is_hostile = config.hostile.is_some();
        let process: Box<dyn Process> = match config.hostile.clone() {
            None => Box::new(honest),
            Some(script) => Box::new(Hostile::new(honest, script, begins, self.dice.below(u64::MAX))),
        };
        self.add_process(&config, HostSeed { peer, clock, oracle, is_hostile }, process)
    }

    /// Lets a deed be done at `at`.
    pub fn at(&mut self, at: Duration, deed: Deed) {
        self.agenda.plan(at.max(self.now), Happening::Deed(deed));
    }

    /// Runs until true time `until`, whatever rules are broken.
    pub fn run_until(&mut self, until: Duration) {
        while let Some((at, happening)) = self.agenda.take(until) {
            self.now = at;
            self.happen(happening);
        }
        self.now = self.now.max(until);
    }

    /// Judges what only the end can tell: whether everything due was delivered or told as missing.
    pub fn judge_end(&mut self) {
        for index in 0..self.hosts.len() {
            self.inspect(index);
            self.judge_completeness(index);
        }
    }

    /// Marks the time from which [`crate::settled::Settled`] measures; a later mark takes the place of an earlier one.
    pub fn mark(&mut self) {
        self.mark = Some(Mark::of(self));
    }

    pub(crate) fn last_mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Returns the true time since the world began.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Returns the hash over all that happened so far.
    pub fn digest(&self) -> Digest {
        self.trace.digest()
    }

    /// Returns the number of steps so far.
    pub fn steps(&self) -> u64 {
        self.trace.steps()
    }

    /// Returns the rules that were broken.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns what went between each two hosts.
    pub fn traffic(&self) -> BTreeMap<(HostId, HostId), Traffic> {
        self.network.traffic()
    }

    /// Returns the counters of a host's subscription or publication.
    pub fn stats(&self, host: HostId, stream: StreamHandle) -> Option<StreamStats> {
        let host = self.hosts.get(host.0 as usize)?;
        host.process.stats(host.clock.now(self.now), stream)
    }

    /// Returns the honest host, publishers apart, that has sent most so far.
    pub fn busiest_relay(&self) -> Option<HostId> {
        self.relays().max_by_key(|host| self.network.sent_by(host.id).wire_bytes).map(|host| host.id)
    }

    /// Returns the honest hosts that run, publishers apart.
    pub(crate) fn relays(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|h| h.is_running() && !h.is_hostile && h.publications.is_empty())
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn sent_by(&self, host: HostId) -> Traffic {
        self.network.sent_by(host)
    }

    pub(crate) fn multicast_by(&self, host: HostId) -> Traffic {
        self.network.lan.sent_by(host)
    }

    fn add_process(&mut self, config: &HostConfig, seed: HostSeed, process: Box<dyn Process>) -> HostId {
        let (near, far) = config.latency;
        let latency = if near < far { self.dice.duration(near, far) } else { near };
        let id = self.network.add_host(config.up, config.down, latency, config.lan);
        self.by_peer.insert(seed.peer, id);
        self.has_hostile |= seed.is_hostile;
        self.hosts.push(Host::new(HostParts {
            id,
            peer: seed.peer,
            clock: seed.clock,
            process,
            discovery: config.discovery,
            behind_nat: config.behind_nat,
            is_hostile: seed.is_hostile,
            oracle: seed.oracle,
            began: self.now,
        }));
        self.feed(id, Input::WallClock(seed.clock.wall(self.now)));
        self.feed(id, Input::Network { up: true });
        for peer in &config.peers {
            self.name_peer(id, *peer);
        }
        self.discover_all(id);
        let first = self.dice.duration(Duration::ZERO, self.config.transport.sample_every);
        self.agenda.plan(self.now + first, Happening::Sample { host: id });
        id
    }

    fn draw_clock(&mut self) -> HostClock {
        let drift = i64::from(self.config.drift_ppm_max);
        let skew = i64::try_from(self.config.wall_skew_max.as_millis()).unwrap_or(0);
        HostClock {
            offset_us: self.dice.below(1_000_000_000_000),
            drift_ppm: i32::try_from(self.dice.between(-drift, drift)).unwrap_or(0),
            wall_skew_ms: self.dice.between(-skew, skew),
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Feed { host, input } => self.feed(host, *input),
            Happening::Wake { host, number } => self.wake(host, number),
            Happening::Arrive { session, to, number, datagram } => {
                self.arrive(session, to, number, datagram);
            }
            Happening::Deliver { session, to, parcel } => self.deliver(session, to, parcel),
            Happening::Credit { session, side } => self.restore_credit(session, side),
            Happening::HandshakeSend { session, flight, tries } => {
                self.send_handshake(session, flight, tries);
            }
            Happening::HandshakeArrive { session, flight } => self.take_handshake(session, flight),
            Happening::DialTimeout { session } => self.time_out_dial(session),
            Happening::ControlRetry { session, from, number, message, packets, tries } => {
                self.send_control_packets(session, from, (number, message), packets, tries);
            }
            Happening::ArriveMulticast { way, path, source, datagram } => {
                self.arrive_multicast(way, path, source, datagram);
            }
            Happening::RefillMulticast { host, path } => self.refill_multicast(host, path),
            Happening::CloseArrive { session, to } => self.close_end(session, to),
            Happening::Silence { session, since } => self.judge_silence(session, since),
            Happening::Sample { host } => self.sample(host),
            Happening::Sighted { host, of } => self.sight(host, of),
            Happening::Vanished { host, of } => self.withdraw(host, of),
            Happening::Emit { host } => self.emit(host),
            Happening::MayLeave { host, tries } => self.leave_when_done(host, tries),
            Happening::Deed(deed) => self.perform(deed),
        }
    }

    fn host_mut(&mut self, host: HostId) -> &mut Host {
        &mut self.hosts[host.0 as usize]
    }

    fn host(&self, host: HostId) -> &Host {
        &self.hosts[host.0 as usize]
    }

    fn report(&mut self, host: HostId, verdict: Result<(), Breach>) {
        if let (Err(breach), true) = (verdict, self.violations.len() < VIOLATIONS_MAX) {
            let violation = Violation { seed: self.config.seed, at: self.now, host, breach };
            self.violations.push(violation);
        }
    }
}

/// What is drawn for a host before its process exists.
struct HostSeed {
    peer: PeerId,
    clock: HostClock,
    oracle: HostOracle,
    is_hostile: bool,
}
