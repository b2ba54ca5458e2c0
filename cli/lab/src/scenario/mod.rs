//! What the stream must bear, each a function that fills a report.
//!
//! The short form runs in seconds and is a test; the full length makes the published tables.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::lab::Lab;
use crate::report::{Length, Report};

mod attack;
mod bottleneck;
mod churn;
mod clean;
mod cpu;
mod distance;
mod join;
mod loss;
mod overhead;
mod upload;
mod webcam;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    run: fn(&Lab, &mut Report) -> Result<()>,
}

/// All scenarios, in the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "clean", about: "3 viewers record bit-identically; counters agree", run: clean::run },
    Scenario { name: "join", about: "process start to first access unit", run: join::run },
    Scenario { name: "upload", about: "8 viewers carry most of the load", run: upload::run },
    Scenario { name: "loss", about: "random loss on every link", run: loss::run },
    Scenario { name: "distance", about: "30 ms apart, 1 % loss", run: distance::run },
    Scenario { name: "bottleneck", about: "10 Mbit/s shared with a TCP flow", run: bottleneck::run },
    Scenario { name: "churn", about: "the busiest viewer is killed or stopped", run: churn::run },
    Scenario { name: "attack", about: "a member alters, replays, boasts, floods", run: attack::run },
    Scenario { name: "webcam", about: "capture to delivery", run: webcam::run },
    Scenario { name: "overhead", about: "bytes on the wire over payload", run: overhead::run },
    Scenario { name: "cpu", about: "processor time of viewer and publisher", run: cpu::run },
];

impl Scenario {
    /// The scenario called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Runs it; what keeps it from its end is noted in the report too.
    pub fn run(&self, lab: &Lab, report: &mut Report) {
        report.enter_scenario(self.name);
        if let Err(error) = (self.run)(lab, report) {
            report.add_failure(&error);
        }
    }
}

/// The median and the 95th percentile of `values`, by the nearest rank.
fn percentiles(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let rank = |share: f64| {
        let index = (share * values.len() as f64).ceil() as usize;
        values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    (rank(0.5), rank(0.95))
}

/// Seconds of a run's length.
fn span(report: &Report, short: u64, full: u64) -> Duration {
    Duration::from_secs(report.length().pick(short, full))
}

/// Lets the stream run: the time is what is measured, there is nothing to wait for.
fn let_run(time: Duration) {
    thread::sleep(time);
}

/// Whether `length` is the published one.
fn is_full(report: &Report) -> bool {
    report.length() == Length::Full
}

#[cfg(test)]
mod tests {
    use super::percentiles;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values = (1..=30).rev().map(f64::from).collect();
        assert_eq!(percentiles(values), (15.0, 29.0));
        assert_eq!(percentiles(vec![7.0]), (7.0, 7.0));
        assert!(percentiles(vec![]).0.is_nan());
    }
}
