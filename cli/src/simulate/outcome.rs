//! What a run measured: one JSON object for programs, a table for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use swarmcast_sim::report::{Fairness, HostReport, Quantiles, Report, Role};
use swarmcast_sim::settled;

use super::plan::Plan;
use crate::report::words;

/// A run, ready to be told.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) plan: &'a Plan,
    pub(super) report: &'a Report,
    /// Time that the run took.
    pub(super) wall: Duration,
    /// Most memory that this process had, bytes; `None` where the system does not tell.
    pub(super) memory: Option<u64>,
}

/// Times in seconds.
#[derive(Debug, Serialize)]
struct Times {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

/// The object.
#[derive(Debug, Serialize)]
struct Json<'a> {
    event: &'static str,
    scenario: &'a str,
    description: &'a str,
    seed: u64,
    digest: String,
    duration: f64,
    steps: u64,
    wall: f64,
    memory: Option<u64>,
    steps_per_second: f64,
    bitrate: u64,
    playout_delay: f64,
    published_access_units: u64,
    published_bytes: u64,
    viewers: usize,
    served: usize,
    alive: usize,
    delay: Times,
    first_access_unit: Times,
    continuity: f64,
    continuity_worst: f64,
    due: u64,
    on_time: u64,
    missing: u64,
    gap_max: f64,
    hops: Vec<u64>,
    last_delivery_hop: usize,
    redundancy: f64,
    control: f64,
    upload: Upload,
    settled: Option<Settled>,
    paths: BTreeMap<&'static str, usize>,
    continuity_by_second: Vec<(u64, f64)>,
    hosts: Vec<Host>,
    violations: Vec<String>,
}

/// What holds from the time on at which the joining is over.
#[derive(Debug, Serialize)]
struct Settled {
    from: f64,
    delay: Times,
    redundancy: f64,
    control: f64,
    hops: Vec<u64>,
    last_delivery_hop: usize,
    upload: Upload,
}

/// Upload in multiples of the stream's mean rate of payload.
#[derive(Debug, Serialize)]
struct Upload {
    publisher: f64,
    mean: f64,
    max: f64,
    max_over_mean: f64,
    jain: f64,
}

#[derive(Debug, Serialize)]
struct Host {
    host: u32,
    role: &'static str,
    alive: bool,
    delay: Times,
    first_access_unit: Option<f64>,
    continuity: f64,
    missing: u64,
    gap_max: f64,
    upload: f64,
    hops: f64,
    neighbours: u32,
    path: &'static str,
}

impl Upload {
    fn of(publisher: f64, Fairness { mean, max, jain }: Fairness) -> Self {
        let max_over_mean = if mean > 0.0 { max / mean } else { 1.0 };
        Self { publisher, mean, max, max_over_mean, jain }
    }
}

impl From<&settled::Settled> for Settled {
    fn from(settled: &settled::Settled) -> Self {
        Self {
            from: settled.from.as_secs_f64(),
            delay: settled.delay.into(),
            redundancy: settled.redundancy,
            control: settled.control,
            hops: settled.hops.clone(),
            last_delivery_hop: settled.hops_at(1_000),
            upload: Upload::of(settled.publisher, settled.viewers),
        }
    }
}

impl From<Quantiles> for Times {
    fn from(quantiles: Quantiles) -> Self {
        let Quantiles { p50, p95, p99, max } = quantiles;
        Self {
            p50: p50.as_secs_f64(),
            p95: p95.as_secs_f64(),
            p99: p99.as_secs_f64(),
            max: max.as_secs_f64(),
        }
    }
}

impl Outcome<'_> {
    /// Returns the object, one line.
    pub(super) fn json(&self) -> String {
        let report = self.report;
        let total = report.total_continuity();
        let json = Json {
            event: "simulated",
            scenario: self.name,
            description: self.description,
            seed: report.seed,
            digest: report.digest.to_string(),
            duration: report.duration.as_secs_f64(),
            steps: report.steps,
            wall: self.wall.as_secs_f64(),
            memory: self.memory,
            steps_per_second: self.steps_per_second(),
            bitrate: self.plan.scenario.workload.bits_per_second(),
            playout_delay: self.plan.scenario.playout_delay.as_secs_f64(),
            published_access_units: report.published_units,
            published_bytes: report.published_bytes,
            viewers: report.viewers().count(),
            served: self.served(),
            alive: report.viewers().filter(|host| host.alive).count(),
            delay: report.delay().into(),
            first_access_unit: report.joins().into(),
            continuity: total.share(),
            continuity_worst: self.continuity_worst(),
            due: total.due,
            on_time: total.on_time,
            missing: report.missing().0,
            gap_max: self.gap_max().as_secs_f64(),
            hops: report.hops.clone(),
            last_delivery_hop: report.hops_at(1_000),
            redundancy: report.duplicate_share(),
            control: report.control_share(),
            upload: self.upload(),
            settled: report.settled.as_ref().map(Settled::from),
            paths: self.paths(),
            continuity_by_second: report.continuity.iter().map(|(second, c)| (*second, c.share())).collect(),
            hosts: report.hosts.iter().map(|host| self.host(host)).collect(),
            violations: report.violations.iter().map(ToString::to_string).collect(),
        };
        // Nothing in it can fail to be written: no map has keys other than strings.
        let mut text = serde_json::to_string(&json).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Returns the rows of the table: what, and how much.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let report = self.report;
        let (missing, all) = report.missing();
        let total = report.total_continuity();
        let upload = self.upload();
        let worst = self.continuity_worst();
        let paths: Vec<_> = self.paths().iter().map(|(path, count)| format!("{path} {count}")).collect();
        vec![
            ("viewers served", format!("{} of {}", self.served(), report.viewers().count())),
            ("delay", times(report.delay())),
            ("first access unit", times(report.joins())),
            ("continuity", format!("{} on time, worst viewer {}", percent(total.share()), percent(worst))),
            ("missing", format!("{missing} of {all} access units, longest gap {}", ms(self.gap_max()))),
            (
                "hops",
                format!(
                    "p50 {}, p99 {}, last {}",
                    report.hops_at(500),
                    report.hops_at(990),
                    report.hops_at(1_000)
                ),
            ),
            ("redundancy", format!("{} of received fragments", percent(report.duplicate_share()))),
            ("control", format!("{} of received bytes", percent(report.control_share()))),
            ("upload, publisher", format!("{:.2} x the stream", upload.publisher)),
            (
                "upload, viewers",
                format!(
                    "mean {:.2} x, most {:.2} x ({:.1} times the mean), Jain {:.2}",
                    upload.mean, upload.max, upload.max_over_mean, upload.jain
                ),
            ),
            (
                "once settled",
                report.settled.as_ref().map_or_else(|| "not asked for".to_owned(), settled_words),
            ),
            ("path at the end", paths.join(", ")),
            ("each viewer cost", self.cost()),
            ("rules broken", report.violations.len().to_string()),
            ("run", format!("{}, digest {}", self.speed(), report.digest)),
        ]
    }

    /// Returns what was simulated, in one line.
    pub(super) fn headline(&self) -> String {
        let scenario = &self.plan.scenario;
        format!(
            "seed {}, {} s in virtual time, {} viewers of {:.2} Mbit/s, playout delay {}",
            self.report.seed,
            self.report.duration.as_secs_f64(),
            scenario.viewers,
            scenario.workload.bits_per_second() as f64 / 1e6,
            ms(scenario.playout_delay),
        )
    }

    fn speed(&self) -> String {
        let (wall, steps, rate) = (self.wall.as_secs_f64(), self.report.steps, self.steps_per_second());
        format!("{wall:.1} s, {steps} steps, {rate:.0} a second")
    }

    /// Says what one viewer took of this machine.
    fn cost(&self) -> String {
        let viewers = self.report.viewers().count().max(1) as f64;
        let micros = self.wall.as_secs_f64() / viewers / self.report.duration.as_secs_f64().max(1e-3) * 1e6;
        let memory = self.memory.map(|bytes| format!(", {:.0} kB at most", bytes as f64 / viewers / 1e3));
        format!("{micros:.0} us a second{}", memory.unwrap_or_default())
    }

    fn steps_per_second(&self) -> f64 {
        self.report.steps as f64 / self.wall.as_secs_f64().max(1e-3)
    }

    fn served(&self) -> usize {
        self.report.viewers().filter(|host| host.joined.is_some()).count()
    }

    fn continuity_worst(&self) -> f64 {
        self.report.viewers().map(|host| host.continuity.share()).fold(1.0, f64::min)
    }

    fn gap_max(&self) -> Duration {
        self.report.viewers().map(|host| host.gap_max).max().unwrap_or_default()
    }

    fn upload(&self) -> Upload {
        Upload::of(self.report.upload_ratio(), self.report.fairness())
    }

    /// Counts the viewers that are there by the path that serves them.
    fn paths(&self) -> BTreeMap<&'static str, usize> {
        let mut paths = BTreeMap::new();
        for host in self.report.viewers().filter(|host| host.alive) {
            *paths.entry(path(host)).or_default() += 1;
        }
        paths
    }

    fn host(&self, host: &HostReport) -> Host {
        Host {
            host: host.host.0,
            role: match host.role {
                Role::Publisher => "publisher",
                Role::Viewer => "viewer",
                Role::Hostile => "hostile",
            },
            alive: host.alive,
            delay: host.latency.into(),
            first_access_unit: host.joined.map(|joined| joined.as_secs_f64()),
            continuity: host.continuity.share(),
            missing: host.missing,
            gap_max: host.gap_max.as_secs_f64(),
            upload: self.report.upload_of(host),
            hops: host.hops,
            neighbours: host.stats.neighbours,
            path: path(host),
        }
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}\n{}\n", self.name, self.description, self.headline())?;
        self.rows().iter().try_for_each(|(what, how_much)| writeln!(f, "{what:<20}{how_much}"))
    }
}

fn settled_words(settled: &settled::Settled) -> String {
    format!(
        "from {} s on: delay {}, last hop {}, redundancy {}, control {}, publisher {:.2} x, viewers at most {:.2} x",
        settled.from.as_secs_f64(),
        times(settled.delay),
        settled.hops_at(1_000),
        percent(settled.redundancy),
        percent(settled.control),
        settled.publisher,
        settled.viewers.max,
    )
}

fn path(host: &HostReport) -> &'static str {
    host.path().map_or("none", words::path)
}

fn times(times: Quantiles) -> String {
    format!("p50 {}, p99 {}, worst {}", ms(times.p50), ms(times.p99), ms(times.max))
}

fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// Never rounds up to 100 %.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", (share * 1e4).floor() / 100.0)
}
