//! Runs the lab's scenarios and writes their numbers to a report.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, value_parser};
use swarmcast_lab::Lab;
use swarmcast_lab::report::{Length, Report, SOAK_MINUTES};
use swarmcast_lab::scenario::{Runs, SCENARIOS, Scenario};

/// Runs swarmcast on hosts made of network namespaces, measures it, and writes the numbers to a report
#[derive(Parser, Debug)]
#[command(name = "lab", version)]
struct Args {
    /// Scenarios to run [default: all but soak]
    #[arg(value_name = "SCENARIO", value_parser = scenario)]
    scenarios: Vec<&'static Scenario>,
    /// Run the short forms, as the tests do
    #[arg(long)]
    short: bool,
    /// How long soak runs; what processes write is kept for five hours
    #[arg(long, default_value_t = SOAK_MINUTES, value_parser = value_parser!(u64).range(1..=300))]
    minutes: u64,
    /// List the scenarios and do nothing
    #[arg(long)]
    list: bool,
}

fn scenario(name: &str) -> Result<&'static Scenario> {
    Scenario::named(name).context("no such scenario: `lab --list` lists them")
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.list {
        for Scenario { name, about, .. } in SCENARIOS {
            println!("{name:16} {about}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let lab = Lab::open()?;
    let unnamed = || SCENARIOS.iter().filter(|scenario| scenario.runs != Runs::Named).collect();
    let chosen = if args.scenarios.is_empty() { unnamed() } else { args.scenarios };
    let length = if args.short { Length::Short } else { Length::Full };
    let mut report = Report::new(length).with_minutes(args.minutes);
    for scenario in chosen {
        eprintln!("{}: {}", scenario.name, scenario.about);
        scenario.run(&lab, &mut report);
        // After each: a run that is interrupted leaves what it measured.
        report.write(lab.directory())?;
    }
    print!("{}", report.table());
    eprintln!("written to {}", lab.directory().join("report.md").display());
    Ok(match report.check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}
