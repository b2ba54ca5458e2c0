//! `swarmcast simulate`: runs a swarm of real nodes in virtual time and measures it.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use swarmcast_sim::report::Report;
use swarmcast_sim::world::World;

use crate::args::seconds;
use crate::failure::{EXIT_CODES, Exit, Failure};
use crate::live_line::LiveLine;
use crate::pages::print;
use crate::report::Reporter;

mod deeds;
mod file;
mod mesh;
mod outcome;
mod page;
mod plan;
mod plot;
mod shipped;
mod sweep;

use file::ScenarioFile;
use outcome::Outcome;
use plan::{Plan, VIEWERS_MAX};
use sweep::Sweep;

/// Virtual time between two looks at the clock.
const SLICE: Duration = Duration::from_millis(100);
/// How often progress is told: a terminal rewrites its line, a log gets one more.
const PROGRESS_INTERVAL: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Broken rules that are told; the JSON has them all.
const TOLD_MAX: usize = 10;

const EXAMPLES: &str = "\
Examples:
  What would 500 viewers in one office do, whose network carries IP multicast?
    swarmcast simulate office
  And 200 on Wi-Fi, as a page with plots?
    swarmcast simulate wifi --peers 200 --report wifi.html
  A swarm of your own, another one for each seed:
    swarmcast simulate my-office.toml --seed 7 --json
  What grows with the swarm, and what does not?
    swarmcast simulate wifi --peers 50,100,200,400 --report growth.html

A scenario is a file in TOML, as docs/simulator.md describes it, or one of those shipped:
office, wifi, campus, internet, flash-crowd, storm.";

/// Simulates a swarm in virtual time and measures it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(crate) struct SimulateArgs {
    /// Shipped scenario (office, wifi, campus, internet, flash-crowd, storm), or a TOML file
    scenario: String,
    /// Take so many viewers instead of the scenario's; several numbers, as in 100,1000, are run in turn and compared
    #[arg(long, value_name = "N", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(VIEWERS_MAX)))]
    peers: Vec<u32>,
    /// Seed of all chance; the same one gives the same run
    #[arg(long, value_name = "S", default_value = "1")]
    seed: u64,
    /// Run so long in virtual time instead of the scenario's duration
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Write a page with plots, which needs nothing but itself
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Print one JSON object for each run instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs `swarmcast simulate`.
pub(crate) fn run(args: &SimulateArgs) -> ExitCode {
    match simulate(args) {
        Ok(broken) => broken.map_or(ExitCode::SUCCESS, |failure| failure.tell()),
        Err(failure) => match Reporter::start(args.json) {
            Ok(reporter) => {
                reporter.finish(Some(&failure));
                failure.exit.into()
            }
            Err(_) => failure.tell(),
        },
    }
}

/// Runs and prints; returns the failure of a run in which rules were broken.
fn simulate(args: &SimulateArgs) -> Result<Option<Failure>, Failure> {
    let source = read(&args.scenario)?;
    let peers =
        if args.peers.is_empty() { vec![None] } else { args.peers.iter().copied().map(Some).collect() };
    let plans = peers.into_iter().map(|peers| source.plan(args, peers)).collect::<Result<Vec<_>, _>>()?;
    let mut report_file = args.report.as_deref().map(create).transpose()?;
    let (mut sweep, mut failure, mut page) = (Sweep::default(), None, String::new());
    let is_sweep = plans.len() > 1;
    for plan in &plans {
        if is_sweep {
            // Nobody reads what cannot be written; the run goes on.
            let _ = writeln!(io::stderr().lock(), "{} viewers:", plan.scenario.viewers);
        }
        forget_memory_max();
        let mut world =
            plan.scenario.build().map_err(|error| Failure::new(Exit::Unexpected, "simulate", error))?;
        let began = Instant::now();
        Progress::default().run(&mut world, plan);
        world.judge_end();
        let wall = began.elapsed();
        let report = Report::of(&world, args.seed);
        let (name, description) = (source.name.as_str(), source.description.as_str());
        let outcome = Outcome { name, description, plan, report: &report, wall, memory: memory_max() };
        sweep.add(&outcome);
        if args.json {
            print(outcome.json().as_bytes());
        } else if !is_sweep {
            print(outcome.to_string().as_bytes());
        }
        if !is_sweep && report_file.is_some() {
            page = page::page(&outcome, &source.text);
        }
        failure = failure.or_else(|| broken(&report));
    }
    if is_sweep {
        page = sweep.page(&source.name, &source.description, &source.text);
        if !args.json {
            print(format!("{}: {}\n\n{}", source.name, source.description, sweep.table()).as_bytes());
        }
    }
    if let (Some(file), Some(path)) = (&mut report_file, &args.report) {
        file.write_all(page.as_bytes()).map_err(|error| unwritable(path, &error))?;
    }
    Ok(failure)
}

/// Returns the failure of a run in which rules were broken.
fn broken(report: &Report) -> Option<Failure> {
    let first = report.violations.first()?;
    let mut stderr = io::stderr().lock();
    for violation in report.violations.iter().take(TOLD_MAX) {
        // Without a standard error, the exit code alone tells.
        let _ = writeln!(stderr, "broken: {violation}");
    }
    let count = report.violations.len();
    let message = format!(
        "the engine broke {count} of its rules, first {first}: this is a bug, please report it with the scenario \
         and --seed {}",
        report.seed
    );
    Some(Failure::new(Exit::Unexpected, "rules-broken", message))
}

/// A scenario as it was found.
struct Source {
    name: String,
    description: String,
    text: String,
    file: ScenarioFile,
}

/// Reads a shipped scenario or a file.
fn read(scenario: &str) -> Result<Source, Failure> {
    let bad = |message: String| Failure::new(Exit::Media, "bad-scenario", message);
    let text = match shipped::find(scenario) {
        Some(text) => text.to_owned(),
        None => std::fs::read_to_string(scenario).map_err(|error| {
            bad(format!("{scenario}: {error}: give a TOML file, or one of {}", shipped::names()))
        })?,
    };
    let file: ScenarioFile = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count();
        let shown = text.lines().nth(line).unwrap_or_default().trim();
        let message = error.message();
        bad(format!("{scenario}, line {}: `{shown}`: {message}; docs/simulator.md has all keys", line + 1))
    })?;
    Ok(Source { name: scenario.to_owned(), description: file.description.clone(), text, file })
}

impl Source {
    fn plan(&self, args: &SimulateArgs, peers: Option<u32>) -> Result<Plan, Failure> {
        Plan::of(&self.file, args.seed, peers, args.duration).map_err(|refusal| {
            Failure::new(Exit::Media, "bad-scenario", format_args!("{}: {refusal}", self.name))
        })
    }
}

/// Lets the most memory be counted anew from what is resident now, where the system does that (proc(5), clear_refs).
fn forget_memory_max() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Returns the most memory that this process has had resident, bytes, where the system tells.
fn memory_max() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let message =
        format_args!("{}: {error}: give --report a file that can be written", path.display()).to_string();
    Failure::new(Exit::Media, "bad-output", message)
}

/// Tells on standard error how far a run is.
#[derive(Debug, Default)]
struct Progress {
    happened: usize,
    told_at: Option<Instant>,
    live_line: LiveLine,
}

impl Progress {
    fn run(&mut self, world: &mut World, plan: &Plan) {
        let began = Instant::now();
        let terminal = io::stderr().is_terminal();
        let duration = plan.scenario.duration;
        let mut settled = plan.settled;
        while world.now() < duration {
            if settled.take_if(|at| *at <= world.now()).is_some() {
                world.mark();
            }
            let until = (world.now() + SLICE).min(duration);
            world.run_until(until);
            // Nobody reads what cannot be written; the run goes on.
            let _ = self.tell_happenings(plan, until);
            let _ = self.tell(world, plan, began, terminal);
        }
        let _ = self.live_line.clear();
    }

    fn tell_happenings(&mut self, plan: &Plan, until: Duration) -> io::Result<()> {
        for (at, words) in plan.happenings.iter().skip(self.happened).take_while(|(at, _)| *at <= until) {
            self.happened += 1;
            self.live_line.clear()?;
            writeln!(io::stderr().lock(), "{:>6.1} s: {words}", at.as_secs_f64())?;
        }
        Ok(())
    }

    fn tell(&mut self, world: &World, plan: &Plan, began: Instant, terminal: bool) -> io::Result<()> {
        let (often, seldom) = PROGRESS_INTERVAL;
        let told_at = *self.told_at.get_or_insert(began);
        if told_at.elapsed() < if terminal { often } else { seldom } {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        let (wall, steps) = (began.elapsed().as_secs_f64(), world.steps());
        let (now, duration) = (world.now().as_secs_f64(), plan.scenario.duration.as_secs_f64());
        let rate = steps as f64 / wall.max(1e-3);
        let line =
            format!("{now:.1} of {duration:.1} s, {steps} steps, {rate:.0} a second, {wall:.0} s so far");
        if terminal { self.live_line.show(&line) } else { writeln!(io::stderr().lock(), "{line}") }
    }
}

#[cfg(test)]
mod tests {
    use swarmcast_sim::network::HostId;
    use swarmcast_sim::oracle::{Breach, Violation};
    use swarmcast_sim::scenario::Scenario;

    use super::*;

    #[test]
    fn broken_rules_fail_the_command() {
        let scenario = Scenario { duration: Duration::from_secs(1), ..Scenario::new(9, 1) };
        let mut report = scenario.run().unwrap();
        assert!(broken(&report).is_none(), "{report}");
        let violation = Violation { seed: 9, at: SLICE, host: HostId(1), breach: Breach::NotOpened };
        report.violations.push(violation);
        let failure = broken(&report).expect("a failure");
        assert_eq!((failure.exit, failure.code), (Exit::Unexpected, "rules-broken"));
        assert!(failure.message.contains("h1: access unit before `Opened`"), "{}", failure.message);
        assert!(failure.message.contains("--seed 9"), "{}", failure.message);
    }
}
