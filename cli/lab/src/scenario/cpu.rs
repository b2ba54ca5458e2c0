//! Processor time of a viewer and of a publisher, beside iroh carrying the same bytes and doing nothing else.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{let_run, span};
use crate::clip::Clip;
use crate::counters::Counters;
use crate::host::Host;
use crate::lab::Lab;
use crate::network::Network;
use crate::output::CpuTime;
use crate::process::Process;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{PATIENCE, Swarm, Watch, companion};

/// Share of payload in what plain iroh puts on the wire: 1,100 bytes, and 72 of Ethernet, IPv4, UDP and QUIC.
const PLAIN_PAYLOAD: f64 = 1_100.0 / 1_172.0;

/// What a process used over a while, and what passed its interface.
struct Usage {
    seconds: f64,
    cpu: CpuTime,
    passed: Counters,
}

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let time = span(report, 8, 60);
    report.enter_case("viewer at 20 Mbit/s");
    let network = Network::bridged(lab, 2)?;
    let swarm = Swarm::new(lab, &network, "cpu")?;
    let publisher = swarm.publish_loop(0, &Clip::FAST.file(lab)?)?;
    let viewers = swarm.watch_all(1..2, &Watch::default())?;
    let viewer = usage(&viewers[0].member.process, network.host(1), time)?;
    viewers[0].stop()?;
    publisher.stop()?;
    let (_, receiver) = plain_iroh(&network, viewer.rate(viewer.passed.rx_bytes), time)?;
    add(report, &viewer, &receiver);

    report.enter_case("publisher at 8 Mbit/s with 8 viewers");
    let network = Network::bridged(lab, 9)?;
    let swarm = Swarm::new(lab, &network, "cpu")?;
    let publisher = swarm.publish_loop(0, &Clip::STANDARD.file(lab)?)?;
    let viewers = swarm.watch_all(1..9, &Watch::default())?;
    let sender = usage(&publisher.member.process, network.host(0), time)?;
    drop(viewers);
    publisher.stop()?;
    let (plain_sender, _) = plain_iroh(&network, sender.rate(sender.passed.tx_bytes), time)?;
    add(report, &sender, &plain_sender);
    Ok(())
}

impl Usage {
    /// Bits a second.
    fn rate(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.seconds
    }

    fn user_per_minute(&self) -> f64 {
        self.cpu.user * 60.0 / self.seconds
    }

    fn system_per_minute(&self) -> f64 {
        self.cpu.system * 60.0 / self.seconds
    }
}

fn add(report: &mut Report, measured: &Usage, plain: &Usage) {
    let per_minute = Unit::CpuSecondsPerMinute;
    let bytes = |usage: &Usage| usage.passed.rx_bytes + usage.passed.tx_bytes;
    report.add("user time", measured.user_per_minute(), per_minute, Goal::None);
    report.add("system time", measured.system_per_minute(), per_minute, Goal::None);
    report.add("user time of plain iroh", plain.user_per_minute(), per_minute, Goal::None);
    report.add("system time of plain iroh", plain.system_per_minute(), per_minute, Goal::None);
    let carried = plain.rate(bytes(plain)) / measured.rate(bytes(measured));
    report.add("bytes of plain iroh by those of the stream", carried, Unit::Ratio, Goal::AtLeast(0.9));
    let ratio = measured.user_per_minute() / plain.user_per_minute();
    report.add("user time by that of plain iroh", ratio, Unit::Ratio, Goal::None);
}

/// What `process` and the interface of `host` do in `time`.
fn usage(process: &Process, host: &Host, time: Duration) -> Result<Usage> {
    let before = (process.cpu()?, host.counters()?);
    let_run(time);
    let after = (process.cpu()?, host.counters()?);
    let cpu = CpuTime { user: after.0.user - before.0.user, system: after.0.system - before.0.system };
    Ok(Usage { seconds: time.as_secs_f64(), cpu, passed: after.1 - before.1 })
}

/// Sends `rate` bits a second, all connections together, from the first host to each of the others; tells what the
/// sender and the last receiver used.
fn plain_iroh(network: &Network, rate: f64, time: Duration) -> Result<(Usage, Usage)> {
    let program = companion("plain_iroh");
    let program = program.context("no plain_iroh: `cargo build --release -p swarmcast-lab --examples`")?;
    let [sender_host, receiver_hosts @ ..] = network.hosts() else { bail!("a network of no hosts") };
    let last_host = receiver_hosts.last().context("nobody to receive")?;
    let each = (rate * PLAIN_PAYLOAD / receiver_hosts.len() as f64) as u64;
    let sender = Process::spawn(
        sender_host,
        "plain sender",
        Command::new(&program).args(["send", &each.to_string()]),
    )?;
    let started = sender.wait_event("started", PATIENCE)?;
    let endpoint = started.text("endpoint").context("`started` does not tell `endpoint`")?;
    let port = started.number("port").context("`started` does not tell `port`")?;
    let address = format!("{endpoint}@{}:{port}", sender_host.address());
    let receive = |host: &Host| {
        Process::spawn(host, "plain receiver", Command::new(&program).args(["receive", &address]))
    };
    let receivers: Vec<Process> = receiver_hosts.iter().map(receive).collect::<Result<_>>()?;
    for receiver in &receivers {
        receiver.wait_event_where("stats", PATIENCE, |stats| stats.number("bytes") > Some(0.0))?;
    }
    let last = receivers.last().context("nobody to receive")?;
    let before = (sender.cpu()?, sender_host.counters()?);
    let receiving = usage(last, last_host, time)?;
    let after = (sender.cpu()?, sender_host.counters()?);
    let cpu = CpuTime { user: after.0.user - before.0.user, system: after.0.system - before.0.system };
    let sending = Usage { seconds: receiving.seconds, cpu, passed: after.1 - before.1 };
    Ok((sending, receiving))
}
