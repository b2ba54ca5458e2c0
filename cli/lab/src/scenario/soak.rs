//! Endurance: one stream for as long as asked, with loss, churn, restarts and multicast that comes and goes; no process
//! grows, ends by itself, or counts what nobody sent.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::let_run;
use crate::clip::Clip;
use crate::clock;
use crate::event::Event;
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::process::Process;
use crate::report::{Goal, Report, Unit};
use crate::resources::Resources;
use crate::swarm::{PATIENCE, Publisher, Swarm, Viewer, Watch};
use crate::trend::{Trend, floor_growth};

/// Viewers that stay, on the hosts behind the publisher's; the host behind them has one that comes and goes.
const STAYING: usize = 3;
/// Of those that stay, the host that loses packets and the host whose multicast is blocked now and then.
const LOSSY_HOST: usize = 1;
const BLOCKED_HOST: usize = 2;
const LOSS_PERCENT: f64 = 1.0;

/// Seconds between two of each.
const SAMPLE_EVERY: u64 = 10;
const CHURN_EVERY: u64 = 20;
const PUBLISHER_EVERY: u64 = 180;
const PROGRESS_EVERY: u64 = 60;
/// Of each so many seconds multicast is blocked from the one to the other, away from the publisher's restarts.
const BLOCK_EVERY: u64 = 90;
const BLOCK_FROM: u64 = 45;
const BLOCK_TO: u64 = 60;

/// Share of a run in which caches and windows fill and nothing is judged.
const WARM_UP: f64 = 0.2;
/// Growth that is no leak, MB/h; over less than half an hour an allocator's steps are larger, and it is only shown.
const GROWTH_MAX: f64 = 1.0;
const JUDGED_FROM_MINUTES: u64 = 30;

/// Counters of what no member of the swarm sends.
const UNEXPLAINED: [&str; 2] = ["forged", "malformed"];

/// A process, or several one after the other in the same role, sampled.
struct Role {
    name: String,
    /// Seconds since the start of the run, by process.
    samples: Vec<Vec<(f64, Resources)>>,
}

impl Role {
    fn new(name: String) -> Self {
        Self { name, samples: vec![Vec::new()] }
    }

    fn sample(&mut self, t: f64, process: &Process) -> Result<()> {
        let resources = process.resources()?;
        self.samples.last_mut().context("a role has a process")?.push((t, resources));
        Ok(())
    }

    /// The samples that are judged: of each process, all but its warm-up.
    fn settled(&self) -> Vec<Vec<(f64, Resources)>> {
        let warm = |run: &Vec<(f64, Resources)>| {
            let skipped = (run.len() as f64 * WARM_UP).ceil() as usize;
            run[skipped..].to_vec()
        };
        self.samples.iter().map(warm).collect()
    }
}

/// The processes of the run and what is known of them.
struct Scene<'a> {
    swarm: Swarm<'a>,
    clip: std::path::PathBuf,
    publisher: Publisher<'a>,
    staying: Vec<Viewer<'a>>,
    passing: Viewer<'a>,
    roles: Vec<Role>,
    restarts: usize,
    visits: usize,
    unexplained: f64,
}

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let minutes = report.minutes();
    let network = Network::bridged(lab, STAYING + 2)?;
    network.host(LOSSY_HOST).set_ingress_faults(&Faults::loss(LOSS_PERCENT))?;
    let mut scene = Scene::set(lab, &network)?;
    let start = clock::monotonic();
    for second in 1..=minutes * 60 {
        let_run(Duration::from_secs_f64((start + second as f64 - clock::monotonic()).max(0.0)));
        scene.second(second, &network)?;
    }
    scene.end(report, minutes)
}

impl<'a> Scene<'a> {
    fn set(lab: &Lab, network: &'a Network) -> Result<Self> {
        let swarm = Swarm::new(lab, network, "soak")?;
        let clip = Clip::STANDARD.file(lab)?;
        let publisher = swarm.publish_loop(0, &clip)?;
        let staying = swarm.watch_all(1..STAYING + 1, &watch())?;
        let passing = swarm.watch(STAYING + 1, &watch())?;
        let viewers = (1..=STAYING).map(|index| Role::new(format!("viewer {index}")));
        let roles = std::iter::once(Role::new("publisher".to_owned())).chain(viewers).collect();
        let (restarts, visits, unexplained) = (0, 1, 0.0);
        Ok(Self { swarm, clip, publisher, staying, passing, roles, restarts, visits, unexplained })
    }

    /// Does what is due in a second of the run.
    fn second(&mut self, second: u64, network: &Network) -> Result<()> {
        let blocked = network.host(BLOCKED_HOST);
        match second % BLOCK_EVERY {
            BLOCK_FROM => blocked.set_ingress_faults(&Faults::block([Blocked::Multicast]))?,
            BLOCK_TO => blocked.set_ingress_faults(&Faults::default())?,
            _ => {}
        }
        if second.is_multiple_of(SAMPLE_EVERY) {
            self.sample(second as f64)?;
        }
        if second.is_multiple_of(PROGRESS_EVERY) {
            self.show_progress(second / 60);
        }
        if second.is_multiple_of(CHURN_EVERY) {
            self.unexplained += killed(&self.passing.member.process)?;
            self.passing = self.swarm.watch(STAYING + 1, &watch())?;
            self.visits += 1;
        }
        if second.is_multiple_of(PUBLISHER_EVERY) {
            self.unexplained += killed(&self.publisher.member.process)?;
            self.publisher = self.swarm.publish_loop(0, &self.clip)?;
            self.roles[0].samples.push(Vec::new());
            self.restarts += 1;
        }
        Ok(())
    }

    fn sample(&mut self, t: f64) -> Result<()> {
        let viewers = self.staying.iter().map(|viewer| &viewer.member.process);
        let processes = std::iter::once(&self.publisher.member.process).chain(viewers);
        self.roles.iter_mut().zip(processes).try_for_each(|(role, process)| role.sample(t, process))
    }

    fn show_progress(&self, minutes: u64) {
        let held = self.roles.iter().filter_map(|role| {
            let (_, now) = role.samples.last()?.last()?;
            let megabytes = now.resident_bytes as f64 / 1e6;
            Some(format!("{} {megabytes:.1} MB, {} threads, {} fds", role.name, now.threads, now.descriptors))
        });
        let held: Vec<String> = held.collect();
        eprintln!("  {minutes} min: {}; {} restarts", held.join("; "), self.restarts);
    }

    /// Ends everything, and fills the report.
    fn end(mut self, report: &mut Report, minutes: u64) -> Result<()> {
        let plays = |stats: &Event| matches!(stats.text("health/verdict"), Some("live" | "degraded"));
        let now = clock::monotonic();
        let playing = |viewer: &&Viewer| {
            let plays = |stats: &Event| stats.t() >= now && plays(stats);
            viewer.member.process.wait_event_where("stats", PATIENCE, plays).is_ok()
        };
        let playing = self.staying.iter().filter(playing).count();
        self.unexplained += killed(&self.passing.member.process)?;
        for viewer in &self.staying {
            self.unexplained += sound(&viewer.member.process)?;
            viewer.stop()?;
        }
        self.unexplained += sound(&self.publisher.member.process)?;
        self.publisher.stop()?;
        report.enter_case(format!(
            "{minutes} min, {} publishers, {} viewers that came and went",
            self.restarts + 1,
            self.visits
        ));
        report.add(
            "viewers that play at the end",
            playing as f64,
            Unit::Count,
            Goal::AtLeast(STAYING as f64),
        );
        report.add("forged or malformed, all processes", self.unexplained, Unit::Count, Goal::AtMost(0.0));
        self.roles.iter().for_each(|role| add_growth(report, role, minutes));
        Ok(())
    }
}

/// A viewer that outlives the publisher.
fn watch() -> Watch {
    Watch::default().with(&["--wait"])
}

/// Kills a process that must be sound until then; returns what it counted unexplained.
fn killed(process: &Process) -> Result<f64> {
    let unexplained = sound(process)?;
    process.signal(Signal::SIGKILL)?;
    process.wait_exit(PATIENCE)?;
    Ok(unexplained)
}

/// Checks that a process runs and has not panicked; returns what it counted unexplained.
fn sound(process: &Process) -> Result<f64> {
    ensure!(process.exit().is_none(), process.failure("ended by itself"));
    ensure!(!process.stderr().contains("panicked"), process.failure("panicked"));
    let Some(stats) = process.events("stats").pop() else { return Ok(0.0) };
    let counted =
        UNEXPLAINED.map(|name| stats.number(name).with_context(|| format!("no `{name}` in `stats`")));
    counted.into_iter().sum()
}

fn add_growth(report: &mut Report, role: &Role, minutes: u64) {
    let settled = role.settled();
    let bytes = |run: &Vec<(f64, Resources)>| -> Vec<(f64, f64)> {
        run.iter().map(|(t, resources)| (*t, resources.resident_bytes as f64)).collect()
    };
    let name = &role.name;
    let per_hour = 3_600.0 / 1e6;
    let trend = Trend::fit(&settled.iter().map(bytes).collect::<Vec<_>>());
    let (slope, margin) =
        trend.map_or((f64::NAN, f64::NAN), |trend| (trend.slope * per_hour, trend.margin * per_hour));
    // A publisher that lives for three minutes has no steady state.
    let judged = minutes >= JUDGED_FROM_MINUTES && role.samples.len() == 1;
    let goal = if judged { Goal::AtMost(GROWTH_MAX) } else { Goal::None };
    report.add(&format!("{name}, memory grows"), slope, Unit::MegabytesPerHour, goal);
    report.add(&format!("{name}, 95 % of that is within +-"), margin, Unit::MegabytesPerHour, Goal::None);
    let highest = settled.iter().flatten().map(|(_, resources)| resources.resident_bytes).max();
    let highest = highest.map_or(f64::NAN, |bytes| bytes as f64 / 1e6);
    report.add(&format!("{name}, most memory"), highest, Unit::Megabytes, Goal::None);
    type Count = fn(&Resources) -> u64;
    let counts: [(&str, Count); 2] =
        [("file descriptors", |resources| resources.descriptors), ("threads", |resources| resources.threads)];
    for (what, count) in counts {
        let runs = settled.iter().filter(|run| run.len() >= 4);
        let grown = runs.map(|run| {
            let values: Vec<u64> = run.iter().map(|(_, resources)| count(resources)).collect();
            floor_growth(&values)
        });
        let grown = grown.fold(0.0, f64::max);
        report.add(&format!("{name}, {what} gained"), grown, Unit::Count, Goal::AtMost(0.0));
    }
}
