//! Runs the lab's scenarios and writes their numbers to a report.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use swarmcast_lab::Lab;
use swarmcast_lab::report::{Length, Report};
use swarmcast_lab::scenario::{SCENARIOS, Scenario};

/// Runs swarmcast on hosts made of network namespaces, measures it, and writes the numbers to a report
#[derive(Parser, Debug)]
#[command(name = "lab", version)]
struct Args {
    /// Scenarios to run [default: all]
    #[arg(value_name = "SCENARIO", value_parser = scenario)]
    scenarios: Vec<&'static Scenario>,
    /// Run the short forms, as the tests do
    #[arg(long)]
    short: bool,
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
    let chosen = if args.scenarios.is_empty() { SCENARIOS.iter().collect() } else { args.scenarios };
    let mut report = Report::new(if args.short { Length::Short } else { Length::Full });
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
