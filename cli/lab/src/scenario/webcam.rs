//! A camera that ffmpeg simulates, with a clock in its picture: from capture to delivery.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

use super::{let_run, percentiles, span};
use crate::arrivals::{Arrival, Arrivals};
use crate::clockface;
use crate::lab::Lab;
use crate::network::Network;
use crate::recording::Recording;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Output, Swarm, Viewer, Watch};

/// Pictures, a second.
const RATE: u32 = 25;

/// Runs the scenario: one viewer tells when it delivers each access unit, another what they show.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, 3)?;
    let swarm = Swarm::new(lab, &network, "webcam")?;
    let camera = format!("lavfi:{}", clockface::source(1280, 720, RATE));
    let publisher = swarm.publish(0, &[&camera])?;
    let recorder = swarm.watch(1, &Watch { output: Output::Archive, ..Watch::default() })?;
    let arrivals = Arrivals::listen(network.host(2))?;
    let watch = Watch { output: Output::Hashes(arrivals.address()), ..Watch::default() };
    let teller = swarm.watch(2, &watch)?;
    for viewer in [&recorder, &teller] {
        viewer.first_access_unit()?;
    }
    let time = span(report, 10, 60);
    let_run(time);
    teller.stop()?;
    recorder.stop()?;
    let arrivals = arrivals.finish()?;

    report.enter_case("1280x720, 25 a second");
    let latencies = latencies(&recorder, &arrivals)?;
    let share = latencies.len() as f64 / (time.as_secs_f64() * f64::from(RATE));
    report.add("pictures measured by captured", share, Unit::Ratio, Goal::AtLeast(0.8));
    let (p50, p95) = percentiles(latencies);
    report.add("capture to delivery, p50", p50, Unit::Milliseconds, Goal::AtMost(150.0));
    report.add("capture to delivery, p95", p95, Unit::Milliseconds, Goal::None);
    let (p50, p95) = percentiles(since_closed(&teller, publisher.epoch_t()?)?);
    report.add("block closed to delivery as told, p50", p50, Unit::Milliseconds, Goal::None);
    report.add("block closed to delivery as told, p95", p95, Unit::Milliseconds, Goal::None);
    Ok(())
}

/// Milliseconds from the clock in each picture to the arrival of its access unit.
fn latencies(recorder: &Viewer, arrivals: &[Arrival]) -> Result<Vec<f64>> {
    let recording = Recording::read(recorder.recording()?)?;
    let units = &recording.track("video").context("the camera sends video")?.units;
    // Low-latency encoders do not reorder: pictures come out as access units went in.
    let shown = clockface::read(recorder.recording()?)?;
    ensure!(shown.len().abs_diff(units.len()) <= 1, "{} pictures in {} units", shown.len(), units.len());
    let captured: HashMap<&str, _> = units.iter().map(|unit| unit.hash.as_str()).zip(shown).collect();
    let age = |arrival: &Arrival| {
        let shown = captured.get(arrival.hash.as_str())?;
        Some(clockface::age(*shown, arrival.at).as_secs_f64() * 1e3)
    };
    Ok(arrivals.iter().filter_map(age).collect())
}

/// Milliseconds from the close of the newest block at the publisher to its delivery, as a viewer told each second.
fn since_closed(viewer: &Viewer, epoch_t: f64) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for stats in viewer.member.process.events("stats") {
        let Some(delivered) = stats.number("latest/t") else { continue };
        let closed = stats.number("latest/closed").context("`latest` does not tell `closed`")?;
        latencies.push((delivered - epoch_t - closed) * 1e3);
    }
    Ok(latencies)
}
