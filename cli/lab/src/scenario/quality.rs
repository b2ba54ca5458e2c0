//! Two qualities of one source behind a line that narrows: the viewer goes down and up again, nothing comes twice, and
//! no sound is missing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{let_run, span};
use crate::event::Event;
use crate::host::Host;
use crate::lab::Lab;
use crate::network::Network;
use crate::recording::Recording;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Viewer, Watch};
use crate::{clock, command};

/// Noise, so that the encoders keep to their rates; it never loops, so that every step in its timestamps is a fault.
const SOURCE: &str = "lavfi:testsrc2=size=640x360:rate=25,noise=alls=30:allf=t,format=yuv420p\
                      +lavfi:anoisesrc=color=pink:amplitude=0.3:sample_rate=48000,aformat=channel_layouts=stereo";

/// The qualities, and what the viewer's line carries while it is narrow, bit/s: the lower one alone.
const LADDER: [&str; 4] = ["--rendition", "640x360@1500k", "--rendition", "320x180@300k"];
const NARROW: u64 = 1_000_000;

/// Longest that going down or up may take: the hold-down, two random-access points, and a busy machine.
const CHANGE_MAX: Duration = Duration::from_secs(30);

/// Time behind going up after which trouble is no relapse: one doubles the time until the viewer goes up again.
const CALM: Duration = Duration::from_secs(65);

/// Time between two pictures, and between two access units of sound, seconds.
const STEPS: [(&str, f64); 2] = [("video", 0.040), ("audio", 0.020)];

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let network = Network::bridged(lab, 4)?;
    let swarm = Swarm::without_multicast(lab, &network, "quality")?;
    let input = [&[SOURCE], &LADDER[..]].concat();
    let publisher = swarm.publish(0, &input)?;
    let watch = |quality: &str| Watch {
        playout_delay: Duration::from_secs(2),
        peer: publisher.ticket().ok(),
        ..Watch::recording().with(&["--quality", quality, "--hold-down", "3"])
    };
    let fixed = [swarm.watch(2, &watch("highest"))?, swarm.watch(3, &watch("lowest"))?];
    let viewer = swarm.watch(1, &watch("auto"))?;
    viewer.first_access_unit()?;
    for round in 0..report.length().pick(1, 2) {
        let_run(if round == 0 { span(report, 3, 10) } else { CALM });
        change(report, &viewer, network.host(1), true)?;
        let left = clock::monotonic();
        let is_left = |stats: &Event| stats.t() > left && stats.number("consumers") == Some(0.0);
        let told = fixed[0].member.process.wait_event_where("stats", CHANGE_MAX, is_left)?;
        report.add("whoever it left pushes no more", told.t() - left, Unit::Seconds, Goal::AtMost(15.0));
        let_run(span(report, 3, 10));
        change(report, &viewer, network.host(1), false)?;
    }
    let_run(span(report, 3, 10));
    judge_changes(report, &viewer)?;
    for (viewer, size) in fixed.iter().zip(["640,360", "320,180"]) {
        judge_fixed(report, viewer, size)?;
    }
    Ok(())
}

/// Narrows the line and waits for the lower quality, or widens it and waits for the higher one.
fn change(report: &mut Report, viewer: &Viewer<'_>, host: &Host, down: bool) -> Result<()> {
    report.enter_case(if down { "line narrows to 1 Mbit/s" } else { "line widens" });
    let since = clock::monotonic();
    if down {
        host.limit_ingress(NARROW)?
    } else {
        host.unlimit()?
    }
    let changed = viewer.member.process.wait_event_where("quality", CHANGE_MAX, |event| event.t() > since)?;
    let size = |end: &str| changed.text(&format!("{end}/size")).unwrap_or_default().to_owned();
    report.add("time to the other quality", changed.t() - since, Unit::Seconds, Goal::AtMost(15.0));
    let (high, low) = ("640x360".to_owned(), "320x180".to_owned());
    let expected = if down { (high, low) } else { (low, high) };
    ensure!((size("from"), size("to")) == expected, "{changed:?} instead of {expected:?}");
    Ok(())
}

/// What was sent while it watched is in its recording, once and in order, and all of the sound.
fn judge_changes(report: &mut Report, viewer: &Viewer<'_>) -> Result<()> {
    report.enter_case("over all changes");
    let changes = viewer.member.process.events("quality").len() as f64;
    report.add("changes", changes, Unit::Count, Goal::None);
    viewer.stop()?;
    let recording = Recording::read(viewer.recording()?)?;
    for (kind, step) in STEPS {
        let track = recording.track(kind).with_context(|| format!("it recorded {kind}"))?;
        let steps = track.units.windows(2).map(|pair| pair[1].time - pair[0].time);
        let missing: f64 = steps.clone().map(|gap| (gap / step - 1.0).round().max(0.0)).sum();
        let repeated = steps.filter(|gap| *gap < step / 2.0).count() as f64;
        // What a line that narrows at once takes from the pictures before the lower rendition is there, is told alone.
        let goal = if kind == "audio" { Goal::AtMost(0.0) } else { Goal::None };
        report.add(&format!("{kind} missing"), missing, Unit::Count, goal);
        report.add(&format!("{kind} repeated"), repeated, Unit::Count, Goal::AtMost(0.0));
    }
    decode(viewer.recording()?)
}

/// Decodes a recording to its end.
fn decode(file: &Path) -> Result<()> {
    let name = file.to_string_lossy();
    let arguments = ["-v", "error", "-nostdin", "-xerror", "-i", &*name, "-f", "null", "-"];
    command::run_within(120, "ffmpeg", &arguments, "").map(drop).context("the recording does not decode")
}

/// Who wants one quality fetches that one, and leaves it for nothing.
fn judge_fixed(report: &mut Report, viewer: &Viewer<'_>, size: &str) -> Result<()> {
    report.enter_case(if size.starts_with('6') { "--quality highest" } else { "--quality lowest" });
    viewer.stop()?;
    let ended = viewer.member.process.wait_event("ended", CHANGE_MAX)?;
    let number = |name: &str| ended.number(name).with_context(|| format!("`ended` does not tell `{name}`"));
    let fetched = number("bytes_pushed_from_peers")? + number("bytes_requested_from_peers")?;
    report.add(
        "bytes fetched over bytes written",
        fetched / number("bytes")?,
        Unit::Ratio,
        Goal::AtMost(1.2),
    );
    let name = viewer.recording()?.to_string_lossy().into_owned();
    let entries = ["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height"];
    let arguments = [&entries[..], &["-of", "csv=p=0", &name]].concat();
    let told = command::run_within(30, "ffprobe", &arguments, "")?;
    ensure!(told.trim() == size, "a recording of {} instead of {size}", told.trim());
    Ok(())
}
