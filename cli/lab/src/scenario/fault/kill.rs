//! The publisher dies, stands still, or stands still for a while.

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{Moment, Scene, add_all, add_none, add_time, add_times, closed_well, longest};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::Watch;

const VIEWERS: usize = 3;

/// Seconds behind the last useful fragment at which a viewer must know.
const STARVED: f64 = 1.0;
/// Seconds behind it at which the stream is dead, and the same with the time that telling may take.
const DEAD: f64 = 5.0;
const DEAD_TOLD: f64 = 5.5;

/// How long the publisher stands still that comes back, seconds.
const STOPPED: f64 = 3.0;
/// Seconds until its viewers see that it did.
const RECOVERED: f64 = 1.0;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let runs = report.length().pick(1, 50);
    for (signal, case) in [(Signal::SIGKILL, "killed"), (Signal::SIGSTOP, "stopped")] {
        report.enter_case(format!("publisher {case}, {runs} x {VIEWERS} viewers"));
        let mut outcome = Outcome::default();
        for _ in 0..runs {
            outcome.add(lab, signal)?;
        }
        outcome.tell(report, runs * VIEWERS);
    }
    report.enter_case("publisher stopped for 3 s");
    stopped_for_a_while(lab, report)
}

/// What viewers told of a publisher that never came back.
#[derive(Default)]
struct Outcome {
    starved: Vec<f64>,
    since_last_fragment: Vec<f64>,
    dead: Vec<f64>,
    in_order: usize,
    closed: usize,
}

impl Outcome {
    /// Runs it once more.
    fn add(&mut self, lab: &Lab, signal: Signal) -> Result<()> {
        let network = Network::bridged(lab, VIEWERS + 1)?;
        let watches = vec![Watch::default(); VIEWERS];
        let scene = Scene::set(lab, &network, "fault-kill", &[], &watches)?;
        let moment = Moment::now();
        scene.publisher.member.process.signal(signal)?;
        for viewer in &scene.viewers {
            let starved = moment.verdict(viewer, "starved", STARVED);
            self.starved.push(moment.seconds(starved.as_ref()));
            let told = starved.and_then(|event| event.number("since_last_fragment"));
            self.since_last_fragment.push(told.unwrap_or(f64::INFINITY));
            self.dead.push(moment.seconds(moment.verdict(viewer, "dead", DEAD).as_ref()));
        }
        self.closed += closed_well(&scene.viewers, "dead", Some("publisher-gone"), 8);
        for viewer in &scene.viewers {
            let verdicts = moment.all(viewer, "verdict");
            let mut order: Vec<_> = verdicts.iter().filter_map(|event| event.text("to")).collect();
            // A reason that becomes known is told as the same verdict once more.
            order.dedup();
            self.in_order += usize::from(order == ["starved", "dead"]);
        }
        Ok(())
    }

    fn tell(self, report: &mut Report, all: usize) {
        let earliest = self.dead.iter().copied().fold(f64::INFINITY, f64::min);
        add_times(report, "starved behind the fault", self.starved, STARVED);
        add_times(report, "starved behind the last fragment, as told", self.since_last_fragment, STARVED);
        add_times(report, "dead behind the fault", self.dead, DEAD_TOLD);
        // Fragments that were on their way come some milliseconds behind the fault, never before it.
        report.add("earliest dead by 5 s", earliest / DEAD, Unit::Ratio, Goal::AtLeast(0.98));
        add_all(report, "viewers that told starved, dead and nothing else", self.in_order, all);
        add_all(report, "viewers with one `closed`, publisher-gone, exit 8", self.closed, all);
    }
}

fn stopped_for_a_while(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let scene = Scene::set(lab, &network, "fault-kill", &[], &vec![Watch::default(); VIEWERS])?;
    let publisher = &scene.publisher.member.process;
    let stopped = Moment::now();
    publisher.signal(Signal::SIGSTOP)?;
    let starved = scene.viewers.iter().map(|viewer| stopped.verdict(viewer, "starved", STARVED));
    let starved = longest(starved.map(|event| stopped.seconds(event.as_ref())));
    add_time(report, "starved behind the stop", starved, STARVED);
    stopped.run_until(STOPPED);
    let continued = Moment::now();
    publisher.signal(Signal::SIGCONT)?;
    let live = scene.viewers.iter().map(|viewer| continued.verdict(viewer, "live", RECOVERED));
    let live = longest(live.map(|event| continued.seconds(event.as_ref())));
    add_time(report, "live behind the continuation", live, RECOVERED);
    let closed = scene.viewers.iter().map(|viewer| viewer.member.process.events("closed").len()).sum();
    add_none(report, "subscriptions closed", closed);
    Ok(())
}
