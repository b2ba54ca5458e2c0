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
mod everyday;
mod fanout;
mod fault;
mod join;
mod loss;
mod overhead;
mod player;
mod quality;
mod soak;
mod sync;
mod upload;
mod usage;
mod webcam;

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// When it runs without being named.
    pub runs: Runs,
    run: Run,
}

/// When a scenario runs without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Its short form is a test, and it is in the published tables.
    Tested,
    /// In the published tables alone.
    Published,
    /// Never.
    Named,
}

/// All scenarios, in the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    tested("clean", "3 viewers record bit-identically; counters agree", clean::run),
    tested("join", "process start to first access unit", join::run),
    tested("upload", "8 viewers carry most of the load", upload::run),
    tested("loss", "random loss on every link", loss::run),
    tested("distance", "30 ms apart, 1 % loss", distance::run),
    tested("bottleneck", "10 Mbit/s shared with a TCP flow", bottleneck::run),
    untested("quality", "a narrow line: a lower rendition, and back", quality::run),
    tested("churn", "the busiest viewer is killed or stopped", churn::run),
    tested("attack", "a member alters, replays, boasts, floods", attack::run),
    tested("webcam", "capture to delivery", webcam::run),
    untested("player", "jitter, loss, a burst, a fallback, as people see them", player::run),
    tested("sync", "two viewers in step, whose clocks differ", sync::run),
    tested("overhead", "bytes on the wire over payload", overhead::run),
    tested("cpu", "processor time of viewer and publisher", cpu::run),
    tested("fault-kill", "publisher killed, stopped, stopped for a while", fault::kill::run),
    tested("fault-end", "publisher ends by Ctrl-C or with its file", fault::end::run),
    tested("fault-silence", "publisher's source silent: a pause", fault::silence::run),
    tested("fault-restart", "publisher again, by the same key or another", fault::restart::run),
    tested("fault-multicast", "multicast blocked for one, for all, for media", fault::multicast::run),
    tested("fault-snooping", "a switch forgets who listens", fault::snooping::run),
    tested("fault-sessions", "sessions blocked, multicast alive", fault::sessions::run),
    tested("fault-origin", "only the origin can be reached", fault::origin::run),
    tested("fault-foreign", "everything blocked: the caller's own URL", fault::foreign::run),
    tested("fault-local", "faults of the viewer's own side", fault::local::run),
    tested("fault-overrun", "a viewer too slow for its receive buffers", fault::overrun::run),
    tested("fault-loss", "loss, bursts, duplicates, reordering", fault::loss::run),
    tested("fault-forgery", "lies multicast without the key", fault::forgery::run),
    untested("everyday", "10 Mbit/s to 8 viewers, beside plain ffmpeg", everyday::run),
    untested("fanout", "50 Mbit/s to 8 viewers, beside plain iroh", fanout::run),
    untested("multicast-cost", "processor time and bytes by number of viewers", fault::cost::run),
    named("soak", "endurance: loss, churn, restarts, for --minutes", soak::run),
];

/// What a scenario does.
type Run = fn(&Lab, &mut Report) -> Result<()>;

/// A scenario whose short form is a test.
const fn tested(name: &'static str, about: &'static str, run: Run) -> Scenario {
    Scenario { name, about, runs: Runs::Tested, run }
}

/// A scenario whose short form is no test: its goals are ratios of what takes a while to measure, or what a busy
/// machine cannot show.
const fn untested(name: &'static str, about: &'static str, run: Run) -> Scenario {
    Scenario { name, about, runs: Runs::Published, run }
}

/// A scenario that lasts for as long as it is told, and runs by name alone.
const fn named(name: &'static str, about: &'static str, run: Run) -> Scenario {
    Scenario { name, about, runs: Runs::Named, run }
}

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
fn percentiles(values: Vec<f64>) -> (f64, f64) {
    let [median, high] = ranks(values, [0.5, 0.95]);
    (median, high)
}

/// The values below which lie these shares of `values`, by the nearest rank.
fn ranks<const N: usize>(mut values: Vec<f64>, shares: [f64; N]) -> [f64; N] {
    values.sort_by(f64::total_cmp);
    shares.map(|share| {
        let index = (share * values.len() as f64).ceil() as usize;
        values.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    })
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
