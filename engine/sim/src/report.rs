//! What a run measured, in the lab's terms.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use swarmcast_core::catalogue::TrackId;
use swarmcast_core::health::{PathKind, Verdict};
use swarmcast_core::node::CloseCause;
use swarmcast_core::stats::StreamStats;

use crate::continuity::{self, Continuity};
use crate::network::{HostId, Traffic};
use crate::oracle::{HOPS_MAX, PathChange, PathVerdictChange, VerdictChange, Violation};
use crate::settled::Settled;
use crate::trace::Digest;
use crate::world::{STREAM, World};

/// What a host was there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It published.
    Publisher,
    /// It watched.
    Viewer,
    /// It did harm.
    Hostile,
}

/// Order statistics of a set of durations; zero when there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50: Duration,
    /// 95 of 100 are at most this.
    pub p95: Duration,
    /// 99 of 100 are at most this.
    pub p99: Duration,
    /// All are at most this.
    pub max: Duration,
}

impl Quantiles {
    /// Computes them.
    pub fn of(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1) - 1;
            values.get(rank).copied().unwrap_or_default()
        };
        Self { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

/// How evenly a load is spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fairness {
    /// Mean load.
    pub mean: f64,
    /// Largest load.
    pub max: f64,
    /// Jain's index, (sum)^2 / (n * sum of squares): 1 when all bear the same, 1 / n when one bears it all.
    pub jain: f64,
}

impl Fairness {
    /// Computes it; nobody bears nothing evenly.
    pub fn of(loads: &[f64]) -> Self {
        if loads.is_empty() {
            return Self { mean: 0.0, max: 0.0, jain: 1.0 };
        }
        let sum: f64 = loads.iter().sum();
        let squares: f64 = loads.iter().map(|load| load * load).sum();
        let count = loads.len() as f64;
        Self {
            mean: sum / count,
            max: loads.iter().copied().fold(0.0, f64::max),
            jain: if squares > 0.0 { sum * sum / (count * squares) } else { 1.0 },
        }
    }
}

/// One host's figures.
#[derive(Clone, Debug)]
pub struct HostReport {
    /// Which host.
    pub host: HostId,
    /// What for.
    pub role: Role,
    /// Whether its process ran at the end.
    pub alive: bool,
    /// How long its process was there.
    pub present: Duration,
    /// Whether it was cut or paused in between.
    pub disturbed: bool,
    /// The core's counters.
    pub stats: StreamStats,
    /// What it sent.
    pub sent: Traffic,
    /// How much of that by multicast.
    pub multicast: Traffic,
    /// Access units delivered to it.
    pub units: u64,
    /// Access units behind its first random-access point that it did not get.
    pub missing: u64,
    /// The same by track.
    pub missing_of: BTreeMap<TrackId, u64>,
    /// Sessions with neighbours that ended.
    pub neighbours_lost: u64,
    /// New runs of the publisher that it followed.
    pub resets: u64,
    /// From `Subscribe` to the first access unit.
    pub joined: Option<Duration>,
    /// From publication to delivery, of what was published after the join.
    pub latency: Quantiles,
    /// What was due to it, and what came on time.
    pub continuity: Continuity,
    /// Longest media time of one track that it missed at once.
    pub gap_max: Duration,
    /// What it said of the stream, in order.
    pub verdicts: Vec<VerdictChange>,
    /// The paths that it was served by, in order.
    pub paths: Vec<PathChange>,
    /// What it said of each path, in order.
    pub path_verdicts: Vec<PathVerdictChange>,
    /// Share of its headers and fragments that came by multicast.
    pub multicast_share: f64,
    /// Why its subscription ended.
    pub closed: Option<CloseCause>,
    /// Mean number of hops that blocks took to it, 0 when none came.
    pub hops: f64,
    /// Inputs that its process handled.
    pub inputs: u64,
}

/// A whole run's figures.
#[derive(Clone, Debug)]
pub struct Report {
    /// Seed of the world.
    pub seed: u64,
    /// Hash over everything that happened.
    pub digest: Digest,
    /// Steps that happened.
    pub steps: u64,
    /// True time that passed.
    pub duration: Duration,
    /// All hosts, in their order.
    pub hosts: Vec<HostReport>,
    /// What went between each two hosts by sessions.
    pub links: BTreeMap<(HostId, HostId), Traffic>,
    /// Payload bytes that all publishers published.
    pub published_bytes: u64,
    /// Access units that all publishers published.
    pub published_units: u64,
    /// From the first published access unit to the last.
    pub published_for: Duration,
    /// From publication to delivery, of all viewers' access units: the longest time of each permille, 0 to 1,000.
    pub delays: Vec<Duration>,
    /// What was due to all viewers and what came on time, by the second of publication.
    pub continuity: BTreeMap<u64, Continuity>,
    /// Blocks that reached viewers, by the hops that their headers took from the publisher; multicast is one.
    pub hops: Vec<u64>,
    /// The same from [`World::mark`] on, if that was called.
    pub settled: Option<Settled>,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
}

impl HostReport {
    /// Returns when it came to a verdict, each time; another reason for the same one is no other verdict.
    pub fn said(&self, verdict: Verdict) -> Vec<Duration> {
        let turns = self.verdicts.iter().filter(|change| change.to == verdict && change.from != verdict);
        turns.map(|change| change.at).collect()
    }

    /// Returns the path that it was served by at the end, `None` when it told of none.
    pub fn path(&self) -> Option<PathKind> {
        self.paths.last().map(|change| change.to)
    }
}

impl Report {
    /// Gathers the figures of a world at its end.
    pub fn of(world: &World, seed: u64) -> Self {
        let totals = world.ledger().runs().iter().map(crate::ledger::Run::totals);
        let (published_units, published_bytes) = totals.fold((0, 0), |(n, b), (m, c)| (n + m, b + c));
        let published = continuity::published_at(world);
        let (hosts, seconds): (Vec<_>, Vec<_>) =
            (0..world.hosts().len()).map(|index| host_report(world, index, &published)).unzip();
        let mut continuity: BTreeMap<u64, Continuity> = BTreeMap::new();
        for (second, part) in seconds.into_iter().flatten() {
            continuity.entry(second).or_default().add(&part);
        }
        let span = published.first().zip(published.last()).map(|(first, last)| last.saturating_sub(*first));
        Self {
            seed,
            digest: world.digest(),
            steps: world.steps(),
            duration: world.now(),
            hosts,
            links: world.traffic(),
            published_bytes,
            published_units,
            published_for: span.unwrap_or_default(),
            delays: permilles(world),
            continuity,
            hops: hops(world),
            settled: Settled::of(world),
            violations: world.violations().to_vec(),
        }
    }

    /// Returns the honest viewers.
    pub fn viewers(&self) -> impl Iterator<Item = &HostReport> {
        self.hosts.iter().filter(|host| host.role == Role::Viewer)
    }

    /// Returns the access units that viewers did not get, and the sum of those and of what they got.
    pub fn missing(&self) -> (u64, u64) {
        self.viewers()
            .fold((0, 0), |(missing, all), host| (missing + host.missing, all + host.missing + host.units))
    }

    /// Returns the bytes that publishers put on their wires over the payload bytes that they published.
    pub fn upload_ratio(&self) -> f64 {
        let publishers = self.hosts.iter().filter(|host| host.role == Role::Publisher);
        ratio(publishers.map(|host| host.sent.wire_bytes).sum(), self.published_bytes)
    }

    /// Returns the share of received fragments that were there already.
    pub fn duplicate_share(&self) -> f64 {
        let sum = |of: fn(&StreamStats) -> u64| self.viewers().map(|host| of(&host.stats)).sum::<u64>();
        ratio(sum(|s| s.duplicate), sum(StreamStats::fragments_received))
    }

    /// Returns the share of received bytes that were no fragments.
    pub fn control_share(&self) -> f64 {
        let sum = |of: fn(&StreamStats) -> u64| self.viewers().map(|host| of(&host.stats)).sum::<u64>();
        let control = sum(|s| s.control_bytes_from_peers);
        let by_session = sum(|s| s.bytes_pushed_from_peers + s.bytes_requested_from_peers);
        ratio(control, control + by_session + sum(|s| s.bytes_received_from_ip_multicast))
    }

    /// Returns from publication to delivery, of all viewers' access units.
    pub fn delay(&self) -> Quantiles {
        let at = |permille: usize| self.delays.get(permille).copied().unwrap_or_default();
        Quantiles { p50: at(500), p95: at(950), p99: at(990), max: at(1_000) }
    }

    /// Returns what was due to all viewers, and what came on time.
    pub fn total_continuity(&self) -> Continuity {
        let mut total = Continuity::default();
        self.viewers().for_each(|host| total.add(&host.continuity));
        total
    }

    /// Returns the rate of a host's wire while it was there, over the stream's mean rate of payload.
    pub fn upload_of(&self, host: &HostReport) -> f64 {
        let rate = |bytes: u64, time: Duration| bytes as f64 / time.as_secs_f64().max(1e-3);
        let stream = rate(self.published_bytes, self.published_for);
        if stream > 0.0 { rate(host.sent.wire_bytes, host.present) / stream } else { 0.0 }
    }

    /// Returns how evenly the viewers share the upload, each by [`Report::upload_of`].
    pub fn fairness(&self) -> Fairness {
        let loads: Vec<f64> = self.viewers().map(|host| self.upload_of(host)).collect();
        Fairness::of(&loads)
    }

    /// Returns the hops that so many of 1,000 blocks took at most on their way to viewers; those of all 1,000 are the
    /// last delivery hop.
    pub fn hops_at(&self, permille: u64) -> usize {
        let due = (self.hops.iter().sum::<u64>() * permille).div_ceil(1_000).max(1);
        let mut sum = 0;
        self.hops
            .iter()
            .position(|count| {
                sum += count;
                sum >= due
            })
            .unwrap_or(0)
    }

    /// Returns the times from `Subscribe` to the first access unit of those that got one.
    pub fn joins(&self) -> Quantiles {
        Quantiles::of(self.viewers().filter_map(|host| host.joined).collect())
    }
}

/// Returns the order statistics of all viewers' delays.
fn permilles(world: &World) -> Vec<Duration> {
    let subscriptions = world.honest().flat_map(|host| &host.subscriptions);
    let mut delays: Vec<Duration> = subscriptions.flat_map(|s| s.latencies.iter().copied()).collect();
    delays.sort_unstable();
    let last = delays.len().saturating_sub(1);
    (0..=1_000).filter_map(|permille| delays.get((last * permille).div_ceil(1_000)).copied()).collect()
}

/// Returns how many blocks reached viewers by how many hops.
fn hops(world: &World) -> Vec<u64> {
    let mut sum = vec![0; HOPS_MAX];
    for host in world.honest().filter(|host| host.publications.is_empty()) {
        sum.iter_mut().zip(world.hops(host.id)).for_each(|(sum, count)| *sum += count);
    }
    sum
}

fn mean_hops(hops: &[u64]) -> f64 {
    let weighted = hops.iter().enumerate().map(|(hops, count)| hops as u64 * count).sum();
    ratio(weighted, hops.iter().sum())
}

/// What was due and what came on time, by the second of publication.
type Seconds = BTreeMap<u64, Continuity>;

fn host_report(world: &World, index: usize, published: &[Duration]) -> (HostReport, Seconds) {
    let host = &world.hosts()[index];
    let standing = world.standing(host.id);
    let (began, gone_at) = host.lived;
    let until = gone_at.unwrap_or(world.now());
    let role = match () {
        () if standing.is_hostile => Role::Hostile,
        () if !host.publications.is_empty() => Role::Publisher,
        () => Role::Viewer,
    };
    let subscriptions = &host.subscriptions;
    let mut missing_of = BTreeMap::new();
    for (track, missing) in subscriptions.iter().flat_map(|subscription| &subscription.missing) {
        *missing_of.entry(*track).or_default() += missing;
    }
    let mut seconds = Seconds::new();
    for subscription in subscriptions.iter().filter(|_| role == Role::Viewer) {
        for (second, part) in continuity::of_subscription(subscription, published, until) {
            seconds.entry(second).or_default().add(&part);
        }
    }
    let mut total = Continuity::default();
    seconds.values().for_each(|part| total.add(part));
    let report = HostReport {
        host: host.id,
        role,
        alive: standing.is_running(),
        present: until.saturating_sub(began),
        continuity: total,
        gap_max: subscriptions.iter().map(|s| s.gap_max).max().unwrap_or_default(),
        disturbed: host.disturbed_at.is_some(),
        stats: world.stats(host.id, STREAM).unwrap_or_default(),
        sent: world.sent_by(host.id),
        multicast: world.multicast_by(host.id),
        units: subscriptions.iter().map(|s| s.units).sum(),
        missing: missing_of.values().sum(),
        missing_of,
        neighbours_lost: host.oracle.neighbours_lost,
        resets: subscriptions.iter().map(|s| s.resets).sum(),
        joined: subscriptions.first().and_then(|s| Some(s.first_at?.saturating_sub(s.subscribed_at))),
        latency: Quantiles::of(subscriptions.iter().flat_map(|s| s.latencies.iter().copied()).collect()),
        verdicts: subscriptions.iter().flat_map(|s| s.health.verdicts.iter().cloned()).collect(),
        paths: subscriptions.iter().flat_map(|s| s.health.paths.iter().cloned()).collect(),
        path_verdicts: subscriptions.iter().flat_map(|s| s.health.path_verdicts.iter().cloned()).collect(),
        multicast_share: subscriptions.last().map_or(0.0, |s| world.multicast_share(host.id, s)),
        closed: subscriptions.last().and_then(|s| s.closed.clone()),
        hops: mean_hops(&world.hops(host.id)),
        inputs: host.inputs,
    };
    (report, seconds)
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, all) = self.missing();
        let (seed, digest, steps, joins) = (self.seed, self.digest, self.steps, self.joins());
        writeln!(f, "seed {seed}, {:?}, {steps} steps, digest {digest}", self.duration)?;
        writeln!(
            f,
            "upload {:.2} x, duplicates {:.2} %, control {:.2} %, missing {missing} of {all}, \
             joins p50 {:.0} ms p95 {:.0} ms",
            self.upload_ratio(),
            self.duplicate_share() * 100.0,
            self.control_share() * 100.0,
            ms(joins.p50),
            ms(joins.p95),
        )?;
        writeln!(
            f,
            "{:>5} {:>9} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>5} {:>5} {:>9} {:>5} verdicts",
            "host",
            "role",
            "join ms",
            "units",
            "missing",
            "p50 ms",
            "p99 ms",
            "sent MB",
            "dup",
            "repaired",
            "lost",
            "nbrs",
            "supp",
            "path",
            "mc %"
        )?;
        for host in &self.hosts {
            let joined = host.joined.map_or_else(|| "-".to_owned(), |d| format!("{:.0}", ms(d)));
            let role = format!("{:?}{}", host.role, if host.alive { "" } else { "+" });
            let stats = &host.stats;
            let path = host.path().map_or_else(|| "-".to_owned(), |path| format!("{path:?}"));
            writeln!(
                f,
                "{:>5} {role:>9} {joined:>7} {:>7} {:>7} {:>8.1} {:>8.1} {:>8.2} {:>8} {:>8} {:>8} {:>5} {:>5} \
                 {path:>9} {:>5.1} {}",
                host.host.to_string(),
                host.units,
                host.missing,
                ms(host.latency.p50),
                ms(host.latency.p99),
                host.sent.wire_bytes as f64 / 1e6,
                stats.duplicate,
                stats.repaired,
                stats.lost,
                stats.neighbours,
                stats.suppliers,
                host.multicast_share * 100.0,
                verdict_counts(host),
            )?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "BROKEN: {violation}"))
    }
}

/// Says how often each verdict was told: `Live 2, Starved 1`.
fn verdict_counts(host: &HostReport) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    host.verdicts.iter().for_each(|change| *counts.entry(change.to).or_default() += 1);
    counts.iter().map(|(verdict, count)| format!("{verdict:?} {count}")).collect::<Vec<_>>().join(", ")
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
