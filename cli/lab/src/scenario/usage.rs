//! Processor time and bytes of a process over a while, and the yardstick: iroh carrying bytes and nothing else.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::let_run;
use crate::clock;
use crate::counters::Counters;
use crate::host::Host;
use crate::network::Network;
use crate::output::CpuTime;
use crate::process::Process;
use crate::swarm::{PATIENCE, companions};

/// Share of payload in what plain iroh puts on the wire: 1,100 bytes, and 72 of Ethernet, IPv4, UDP and QUIC.
const PLAIN_PAYLOAD: f64 = 1_100.0 / 1_172.0;

/// What a process used over a while, and what passed its interface.
pub(super) struct Usage {
    pub(super) seconds: f64,
    pub(super) cpu: CpuTime,
    pub(super) passed: Counters,
}

impl Usage {
    /// Bits a second, of so many bytes.
    pub(super) fn rate(&self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.seconds
    }

    /// Seconds in the program for each minute.
    pub(super) fn user_per_minute(&self) -> f64 {
        self.cpu.user * 60.0 / self.seconds
    }

    /// Seconds in the kernel for each minute.
    pub(super) fn system_per_minute(&self) -> f64 {
        self.cpu.system * 60.0 / self.seconds
    }
}

/// What `process` and the interface of `host` do in `time`.
pub(super) fn usage(process: &Process, host: &Host, time: Duration) -> Result<Usage> {
    let [usage] = usages([(process, host)], time)?;
    Ok(usage)
}

/// What some processes and the interfaces of their hosts do in the same `time`.
pub(super) fn usages<const N: usize>(of: [(&Process, &Host); N], time: Duration) -> Result<[Usage; N]> {
    let read = || -> Result<Vec<(CpuTime, Counters)>> {
        of.iter().map(|(process, host)| Ok((process.cpu()?, host.counters()?))).collect()
    };
    let before = read()?;
    let_run(time);
    let mut after = read()?.into_iter();
    let mut before = before.into_iter();
    Ok(of.map(|_| {
        let (then, now) = (before.next().unwrap_or_default(), after.next().unwrap_or_default());
        let cpu = CpuTime { user: now.0.user - then.0.user, system: now.0.system - then.0.system };
        Usage { seconds: time.as_secs_f64(), cpu, passed: now.1 - then.1 }
    }))
}

/// What several processes used together over a while.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    seconds: f64,
    cpu: f64,
}

impl Sum {
    /// Seconds of processor time, the kernel's with it, for each GB of `bits_per_second` that were delivered
    /// meanwhile.
    pub(super) fn per_gigabyte(&self, bits_per_second: f64) -> f64 {
        self.cpu / (bits_per_second * self.seconds / 8e9)
    }
}

/// What `processes` use together in `time`.
pub(super) fn sum<'a>(processes: impl IntoIterator<Item = &'a Process>, time: Duration) -> Result<Sum> {
    let processes: Vec<&Process> = processes.into_iter().collect();
    let used = || -> Result<f64> {
        processes.iter().map(|process| process.cpu().map(|cpu| cpu.user + cpu.system)).sum()
    };
    let (before, began) = (used()?, clock::monotonic());
    let_run(time);
    Ok(Sum { cpu: used()? - before, seconds: clock::monotonic() - began })
}

/// Sends `rate` bits a second, all connections together, from the first host to each of the others; tells what the
/// sender and the last receiver used.
pub(super) fn plain_iroh(network: &Network, rate: f64, time: Duration) -> Result<(Usage, Usage)> {
    let plain = PlainIroh::start(network, rate * PLAIN_PAYLOAD)?;
    let last = plain.receivers.last().zip(network.hosts().last()).context("nobody to receive")?;
    let [sending, receiving] = usages([(&plain.sender, network.host(0)), last], time)?;
    Ok((sending, receiving))
}

/// As [`plain_iroh`] with a rate of payload; tells what all its processes used, and the payload that arrived, bits a
/// second.
pub(super) fn plain_iroh_to_all(network: &Network, payload_rate: f64, time: Duration) -> Result<(Sum, f64)> {
    let plain = PlainIroh::start(network, payload_rate)?;
    let arrived = || -> Result<u64> {
        network.hosts().iter().skip(1).map(|host| host.counters().map(|counters| counters.rx_bytes)).sum()
    };
    let before = arrived()?;
    let used = sum(plain.receivers.iter().chain([&plain.sender]), time)?;
    let bytes = (arrived()? - before) as f64;
    Ok((used, bytes * PLAIN_PAYLOAD * 8.0 / used.seconds))
}

/// iroh carrying bytes and nothing else, from the first host of a network to all others.
struct PlainIroh {
    sender: Process,
    receivers: Vec<Process>,
}

impl PlainIroh {
    /// Sends `payload_rate` bits a second, all connections together, and waits until everybody gets some.
    fn start(network: &Network, payload_rate: f64) -> Result<Self> {
        let program = companions("plain_iroh").into_iter().next();
        let program = program
            .context("no plain_iroh: `cargo build --release -p swarmcast-net --example plain_iroh`")?;
        let [sender_host, receiver_hosts @ ..] = network.hosts() else { bail!("a network of no hosts") };
        let each = (payload_rate / receiver_hosts.len() as f64) as u64;
        let mut command = Command::new(&program);
        let sender = Process::spawn(sender_host, "plain sender", command.args(["send", &each.to_string()]))?;
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
        Ok(Self { sender, receivers })
    }
}
