//! Viewers in step: two hosts whose clocks differ play the same instant.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{percentiles, span};
use crate::clock;
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Output, PATIENCE, Swarm, Viewer, Watch};
use crate::switch::LinkProfile;

/// By how much the second viewer's clock is ahead of the others.
const AHEAD: Duration = Duration::from_millis(500);
/// Time from host to host: the second viewer is two such lines away from the publisher, the first one.
const DELAY: Duration = Duration::from_millis(30);
/// Most that one is heard behind the other, milliseconds.
const OFFSET: f64 = 20.0;
/// Behind the first sound, until the clocks are known and the rate has done its work.
const SETTLES: Duration = Duration::from_secs(6);
/// Bytes of a second of sound.
const BYTES_PER_SECOND: f64 = 384_000.0;
/// Time between two looks at what was written.
const LOOK: Duration = Duration::from_millis(1);

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("one hop and two hops of 30 ms, clocks 0.5 s apart, 1 s playout delay");
    let line = LinkProfile { delay: DELAY, ..LinkProfile::default() };
    let network = Network::switched(lab, 3, line)?;
    network.host(2).set_ingress_faults(&Faults::block([Blocked::UnicastOf(0)]))?;
    network.host(0).set_ingress_faults(&Faults::block([Blocked::UnicastOf(2)]))?;
    network.host(2).set_clock_ahead(AHEAD);
    let swarm = Swarm::without_multicast(lab, &network, "sync")?;
    let _publisher = swarm.publish_loop(0, &clip()?)?;
    let watch = Watch { output: Output::Sound, ..Watch::default() }.with(&["--sync"]);
    let viewers = swarm.watch_all(1..3, &watch)?;
    let files = viewers.iter().map(|viewer| viewer.recording().map(Path::to_path_buf));
    let written = follow(&files.collect::<Result<Vec<_>>>()?, SETTLES + span(report, 15, 120))?;
    let [first, second] = [0, 1].map(|viewer| beeps(&viewers[viewer], &written[viewer]));
    let offsets = offsets(&first?, &second?);
    ensure!(offsets.len() >= 10, "only {} beeps were heard by both", offsets.len());
    let signed = offsets.iter().sum::<f64>() / offsets.len() as f64;
    let (median, high) = percentiles(offsets.iter().map(|offset| offset.abs()).collect());
    report.add("second behind the first, mean", signed, Unit::Milliseconds, Goal::None);
    report.add("offset of what is heard, p50", median, Unit::Milliseconds, Goal::None);
    report.add("offset of what is heard, p95", high, Unit::Milliseconds, Goal::None);
    // What people hear, however busy this machine is: a ratio has no slack.
    report.add("p95 by 20 ms", high / OFFSET, Unit::Ratio, Goal::AtMost(1.0));
    for viewer in &viewers {
        let stats = viewer.member.process.events("stats").pop().context("`stats` were told")?;
        let error = stats.number("clock_error").unwrap_or(f64::NAN) * 1e3;
        let name = format!("{}: clock known within", viewer.member.process.label());
        report.add(&name, error, Unit::Milliseconds, Goal::None);
    }
    viewers.iter().try_for_each(|viewer| viewer.stop().map(drop))
}

/// A clip that beeps once a second.
fn clip() -> Result<PathBuf> {
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/flash.mkv");
    clip.canonicalize().with_context(|| format!("{} is missing", clip.display()))
}

/// How much was in a file, each time that there was more, in seconds of CLOCK_MONOTONIC.
type Written = Vec<(u64, f64)>;

/// Follows what is written for so long.
fn follow(files: &[PathBuf], time: Duration) -> Result<Vec<Written>> {
    let until = Instant::now() + PATIENCE;
    while !files.iter().all(|file| length(file) > 0) {
        ensure!(Instant::now() < until, "no sound is written");
        thread::sleep(LOOK);
    }
    let (until, mut written) = (Instant::now() + time, vec![Written::new(); files.len()]);
    while Instant::now() < until {
        for (file, written) in files.iter().zip(&mut written) {
            let (length, t) = (length(file), clock::monotonic());
            if written.last().is_none_or(|(before, _)| *before < length) {
                written.push((length, t));
            }
        }
        thread::sleep(LOOK);
    }
    Ok(written)
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |file| file.len())
}

/// When each beep began, on this machine's clock, once the viewer has settled. The time in the file is that of the
/// viewer's host, so that the write that was seen soonest tells when it began: to write and to look only take longer.
fn beeps(viewer: &Viewer, written: &Written) -> Result<Vec<f64>> {
    let bytes = fs::read(viewer.recording()?)?;
    let (samples, _) = bytes.as_chunks::<4>();
    let loud = |at: usize| f32::from_le_bytes(samples[at]).abs() > 0.1;
    let started = written.windows(2).map(|pair| pair[1].1 - pair[0].0 as f64 / BYTES_PER_SECOND);
    let started = started.reduce(f64::min).context("nothing was written")?;
    let from = written.first().map_or(0.0, |(_, t)| t + SETTLES.as_secs_f64());
    let (mut begun, mut last) = (Vec::new(), None);
    for at in (0..samples.len()).step_by(2).filter(|at| loud(*at)) {
        if last.is_none_or(|last| at - last > 48_000) {
            begun.push(started + 4.0 * at as f64 / BYTES_PER_SECOND);
        }
        last = Some(at);
    }
    begun.retain(|t| *t >= from);
    Ok(begun)
}

/// By how many milliseconds each beep was heard later in the second place than in the first.
fn offsets(first: &[f64], second: &[f64]) -> Vec<f64> {
    let nearest = |t: &f64| {
        let offsets = second.iter().map(|other| (other - t) * 1e3);
        offsets.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|offset| offset.abs() < 500.0)
    };
    first.iter().filter_map(nearest).collect()
}

#[cfg(test)]
mod tests {
    use super::offsets;

    #[test]
    fn beeps_are_compared_with_the_nearest() {
        let found = offsets(&[1.0, 2.0, 3.0], &[0.99, 2.01]);
        assert_eq!(found.iter().map(|offset| offset.round()).collect::<Vec<_>>(), [-10.0, 10.0]);
    }
}
