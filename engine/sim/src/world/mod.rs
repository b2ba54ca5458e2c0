//! The world: hosts, network and time, driven by one agenda and one source of chance.
//!
//! Hosts run side by side, each for as long as nothing that any other does can reach it: what its own access line adds
//! beyond what is on the links by then. Those whose way is long run seldom, and far. What they send, and what they ask
//! of the world, is handed out behind it in the order of time and hosts, so that the run is the same by any number of
//! threads. This is conservative synchronisation as of Chandy, Misra and Bryant.

mod agenda;
mod discovery;
mod drive;
mod host;
mod judge;
mod multicast;
mod probe;
mod script;
mod sessions;
mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use swarmcast_core::group::{GroupError, GroupSpec};
use swarmcast_core::ids::{PeerId, StreamHandle};
use swarmcast_core::memo::Memo;
use swarmcast_core::node::{Input, Node, NodeConfig, Publication};
use swarmcast_core::stats::StreamStats;

use agenda::{Agenda, Happening, Turn};
pub(crate) use host::Host;
pub use host::HostConfig;
use host::{Condition, HostParts, Standing};
pub(crate) use script::STREAM;
pub use script::{Deed, Transmission};
use span::Outbox;

use crate::clock::HostClock;
use crate::dice::Dice;
use crate::hostile::Hostile;
use crate::ledger::Ledger;
use crate::line::Line;
use crate::link::LinkModel;
use crate::memo::VerifiedBefore;
use crate::network::{HostId, Network, Traffic, Trunk, Trunks};
use crate::oracle::{HostOracle, Violation};
use crate::process::Process;
use crate::session::TransportModel;
use crate::settled::Mark;
use crate::trace::{Digest, TraceSink};

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
    /// Threads that run hosts; the run is the same by any number.
    pub threads: usize,
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
            threads: std::thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}

/// Hosts, network and time.
#[derive(Debug)]
pub struct World {
    shared: Shared,
    dice: Dice,
    now: Duration,
    turns: Agenda<Turn>,
    hosts: Vec<Host>,
    /// When something happens to each host next by itself.
    due: Vec<Duration>,
    trunks: Trunks,
    outbox: Outbox,
    sink: Option<Sink>,
    violations: Vec<Violation>,
    mark: Option<Mark>,
    memo: Option<Arc<dyn Memo>>,
}

/// What all hosts see, and what changes only while they stand still.
#[derive(Debug)]
struct Shared {
    config: WorldConfig,
    group: GroupSpec,
    network: Network,
    standings: Vec<Standing>,
    by_peer: BTreeMap<PeerId, HostId>,
    ledger: Ledger,
    has_hostile: bool,
}

impl Shared {
    fn standing(&self, host: HostId) -> &Standing {
        &self.standings[host.0 as usize]
    }

    fn standing_mut(&mut self, host: HostId) -> &mut Standing {
        &mut self.standings[host.0 as usize]
    }
}

impl World {
    /// Makes an empty world.
    ///
    /// # Errors
    /// [`GroupError`] when the group's name is not acceptable.
    pub fn new(config: WorldConfig) -> Result<Self, GroupError> {
        let network = Network::new(config.link, config.multicast.unwrap_or(config.link), config.trunk);
        Ok(Self {
            dice: Dice::new(config.seed),
            now: Duration::ZERO,
            turns: Agenda::default(),
            hosts: Vec::new(),
            due: Vec::new(),
            trunks: Trunks::new(config.trunk.rate),
            outbox: Outbox::default(),
            sink: None,
            violations: Vec::new(),
            mark: None,
            memo: config.memoise.then(|| Arc::new(VerifiedBefore::default()) as Arc<dyn Memo>),
            shared: Shared {
                group: GroupSpec::open(&config.group)?,
                network,
                standings: Vec::new(),
                by_peer: BTreeMap::new(),
                ledger: Ledger::default(),
                has_hostile: false,
                config,
            },
        })
    }

    /// Writes each step as a line to `sink`.
    pub fn trace_to(&mut self, sink: TraceSink) {
        self.sink = Some(Sink(sink));
        self.hosts.iter_mut().for_each(|host| host.trace.write_lines());
    }

    /// Adds a host, whose process starts at once.
    pub fn add_host(&mut self, config: HostConfig) -> HostId {
        let peer = PeerId(self.dice.key());
        let mut node = NodeConfig::new(peer, self.shared.group.clone(), self.dice.key());
        node.window_bytes_max = config.window_bytes_max.unwrap_or(node.window_bytes_max);
        node.neighbours_max = config.neighbours_max.unwrap_or(node.neighbours_max);
        node.upload_max = config.up.bits_per_second.filter(|_| config.up_told).map(|rate| rate / 8);
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
        self.turns.plan(at.max(self.now), Turn::Deed(deed));
    }

    /// Judges what only the end can tell: whether everything due was delivered or told as missing.
    pub fn judge_end(&mut self) {
        for place in 0..self.hosts.len() as u32 {
            self.with_host(HostId(place), |host, shared| {
                host.inspect(shared);
                host.judge_completeness(shared);
            });
        }
        self.hand_out(self.now);
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
        self.hosts.iter().fold(Digest::default(), |mut all, host| {
            all.fold(host.trace.digest().0);
            all
        })
    }

    /// Returns the number of steps so far.
    pub fn steps(&self) -> u64 {
        self.hosts.iter().map(|host| host.trace.steps()).sum()
    }

    /// Returns the rules that were broken.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns what went between each two hosts.
    pub fn traffic(&self) -> BTreeMap<(HostId, HostId), Traffic> {
        let ways = |host: &Host| {
            let from = host.id;
            host.line.traffic().map(move |(to, traffic)| ((from, to), traffic)).collect::<Vec<_>>()
        };
        self.hosts.iter().flat_map(ways).collect()
    }

    /// Returns the counters of a host's subscription or publication.
    pub fn stats(&self, host: HostId, stream: StreamHandle) -> Option<StreamStats> {
        let host = self.hosts.get(host.0 as usize)?;
        host.process.stats(host.clock.now(self.now), stream)
    }

    /// Returns the honest host, publishers apart, that has sent most so far.
    pub fn busiest_relay(&self) -> Option<HostId> {
        self.relays().max_by_key(|host| self.sent_by(*host).wire_bytes)
    }

    /// Returns the honest hosts that run, publishers apart.
    pub(crate) fn relays(&self) -> impl Iterator<Item = HostId> {
        let hosts = self.hosts.iter().zip(&self.shared.standings);
        let relays = hosts.filter(|(host, standing)| {
            standing.is_running() && !standing.is_hostile && host.publications.is_empty()
        });
        relays.map(|(host, _)| host.id)
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns all hosts but those that lie.
    pub(crate) fn honest(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| !self.standing(host.id).is_hostile)
    }

    pub(crate) fn standing(&self, host: HostId) -> &Standing {
        self.shared.standing(host)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    pub(crate) fn sent_by(&self, host: HostId) -> Traffic {
        self.host(host).line.sent()
    }

    pub(crate) fn multicast_by(&self, host: HostId) -> Traffic {
        self.host(host).line.multicast_traffic()
    }

    fn add_process(&mut self, config: &HostConfig, seed: HostSeed, process: Box<dyn Process>) -> HostId {
        let (near, far) = config.latency;
        let latency = if near < far { self.dice.duration(near, far) } else { near };
        let queues = config.down.bits_per_second.is_some();
        let id = self.shared.network.add_host(latency, config.lan, queues);
        self.shared.by_peer.insert(seed.peer, id);
        self.shared.has_hostile |= seed.is_hostile;
        self.shared.standings.push(Standing {
            peer: seed.peer,
            condition: Condition::Running,
            discovery: config.discovery,
            is_hostile: seed.is_hostile,
            announced: None,
            cable_at: None,
            pauses: Vec::new(),
        });
        let mut host = Host::new(HostParts {
            id,
            dice: Dice::new(self.dice.below(u64::MAX)),
            clock: seed.clock,
            process,
            behind_nat: config.behind_nat,
            line: Line::new(config.up, config.down, self.shared.config.transport.overhead_bytes),
            oracle: seed.oracle,
            began: self.now,
        });
        if self.sink.is_some() {
            host.trace.write_lines();
        }
        self.hosts.push(host);
        self.due.push(Duration::MAX);
        self.feed(id, Input::WallClock(seed.clock.wall(self.now)));
        self.feed(id, Input::Network { up: true });
        for peer in &config.peers {
            self.name_peer(id, *peer);
        }
        self.discover_all(id);
        let first = self.dice.duration(Duration::ZERO, self.shared.config.transport.sample_every);
        self.plan(self.now + first, id, Happening::Sample);
        self.hand_out(self.now);
        id
    }

    /// Tells a host of a peer that its user named.
    fn name_peer(&mut self, host: HostId, peer: HostId) {
        self.with_host(host, |target, shared| target.learn_peer(shared, peer));
    }

    fn draw_clock(&mut self) -> HostClock {
        let drift = i64::from(self.shared.config.drift_ppm_max);
        let skew = i64::try_from(self.shared.config.wall_skew_max.as_millis()).unwrap_or(0);
        HostClock {
            offset_us: self.dice.below(1_000_000_000_000),
            drift_ppm: i32::try_from(self.dice.between(-drift, drift)).unwrap_or(0),
            wall_skew_ms: self.dice.between(-skew, skew),
        }
    }

    fn host_mut(&mut self, host: HostId) -> &mut Host {
        &mut self.hosts[host.0 as usize]
    }

    fn host(&self, host: HostId) -> &Host {
        &self.hosts[host.0 as usize]
    }
}

/// What is drawn for a host before its process exists.
struct HostSeed {
    peer: PeerId,
    clock: HostClock,
    oracle: HostOracle,
    is_hostile: bool,
}

/// Takes the lines of the trace.
struct Sink(TraceSink);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}
