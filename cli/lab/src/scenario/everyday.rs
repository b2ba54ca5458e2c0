//! What everybody does: one stream to eight viewers who have MPEG-TS written, beside plain ffmpeg over UDP multicast.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::fault::settle;
use super::span;
use super::usage::{Sum, sum};
use crate::clip::Clip;
use crate::clock;
use crate::compare::Source;
use crate::host::Host;
use crate::lab::Lab;
use crate::network::Network;
use crate::process::Process;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Output, PATIENCE, Swarm, Watch};

const VIEWERS: usize = 8;

/// Where ffmpeg sends to.
const FFMPEG_GROUP: &str = "239.255.7.9:24601";

/// Multicast may use so much of what ffmpeg uses, and the mesh so many seconds for each GB.
const MULTICAST_BY_FFMPEG: f64 = 1.3;
const MESH_SECONDS: f64 = 25.0;

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let clip = Clip { bitrate: 10_000_000, ..Clip::STANDARD }.file(lab)?;
    for joins_arrivals in [false, true] {
        compare(lab, report, &clip, joins_arrivals)?;
    }
    Ok(())
}

/// Compares on hosts whose interfaces join what arrives together, or do not.
fn compare(lab: &Lab, report: &mut Report, clip: &Path, joins_arrivals: bool) -> Result<()> {
    let time = span(report, 5, 60);
    let bitrate = Source::read(clip)?.bitrate();
    let per_gigabyte = |used: &Sum| used.per_gigabyte(bitrate * VIEWERS as f64);
    let watch = Watch { output: Output::TransportStream, ..Watch::default() };
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let offload = if joins_arrivals { ", GRO" } else { "" };
    if joins_arrivals {
        network.hosts().iter().try_for_each(Host::join_arrivals)?;
    }

    report.enter_case(format!("ffmpeg, UDP multicast{offload}"));
    let plain = per_gigabyte(&ffmpeg(&network, clip, time)?);
    report.add("all processes", plain, Unit::CpuSecondsPerGigabyte, Goal::None);

    report.enter_case(format!("multicast{offload}"));
    let swarm = Swarm::new(lab, &network, "everyday")?;
    let publisher = swarm.publish_loop(0, clip)?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &watch)?;
    viewers.iter().try_for_each(settle)?;
    let members = viewers.iter().map(|viewer| &viewer.member.process);
    let used = sum(members.chain([&publisher.member.process]), time)?;
    report.add("all processes", per_gigabyte(&used), Unit::CpuSecondsPerGigabyte, Goal::None);
    let ratio = per_gigabyte(&used) / plain;
    report.add("by ffmpeg's", ratio, Unit::Ratio, Goal::AtMost(MULTICAST_BY_FFMPEG));
    drop((viewers, publisher));

    report.enter_case(format!("mesh{offload}"));
    let swarm = Swarm::without_multicast(lab, &network, "everyday-mesh")?;
    let publisher = swarm.publish_loop(0, clip)?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &watch)?;
    let members = viewers.iter().map(|viewer| &viewer.member.process);
    let used = sum(members.chain([&publisher.member.process]), time)?;
    let goal = Goal::AtMost(MESH_SECONDS);
    report.add("all processes", per_gigabyte(&used), Unit::CpuSecondsPerGigabyte, goal);
    Ok(())
}

/// What ffmpeg uses that sends the clip, and as many that write what comes.
fn ffmpeg(network: &Network, clip: &Path, time: Duration) -> Result<Sum> {
    let [sender_host, receiver_hosts @ ..] = network.hosts() else { return Ok(Sum::default()) };
    let url =
        |host: &Host, options: &str| format!("udp://{FFMPEG_GROUP}?localaddr={}{options}", host.address());
    let receive = |host: &Host| {
        let url = url(host, "&fifo_size=100000&overrun_nonfatal=1");
        let words = ["-v", "error", "-nostdin", "-y", "-i", &url, "-c", "copy", "-f", "mpegts"];
        let progress = ["-progress", "-", "/dev/null"];
        Process::spawn(host, "ffmpeg receiver", Command::new("ffmpeg").args(words).args(progress))
    };
    let receivers: Vec<Process> = receiver_hosts.iter().map(receive).collect::<Result<_>>()?;
    let (url, clip) = (url(sender_host, "&pkt_size=1316&ttl=1"), clip.to_string_lossy());
    let words = ["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", &clip];
    let output = ["-c", "copy", "-f", "mpegts", &url];
    let sender =
        Process::spawn(sender_host, "ffmpeg sender", Command::new("ffmpeg").args(words).args(output))?;
    for receiver in &receivers {
        writes(receiver)?;
    }
    let used = sum(receivers.iter().chain([&sender]), time)?;
    // Those that stood still would be cheap.
    for receiver in &receivers {
        writes(receiver)?;
    }
    Ok(used)
}

/// Waits until a receiver says that it has written more than before this call.
fn writes(receiver: &Process) -> Result<()> {
    let now = clock::monotonic();
    let written = receiver.wait_line("progress", PATIENCE, |line| {
        let bytes: u64 = line.text.strip_prefix("total_size=")?.parse().ok()?;
        (line.read_at >= now && bytes > 0).then_some(bytes)
    });
    written.map(drop).context("ffmpeg receives nothing")
}
