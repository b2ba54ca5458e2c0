//! Processor time and bytes of a process over a while, and the yardstick: iroh carrying bytes and nothing else.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::let_run;
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

/// Sends `rate` bits a second, all connections together, from the first host to each of the others; tells what the
/// sender and the last receiver used.
pub(super) fn plain_iroh(network: &Network, rate: f64, time: Duration) -> Result<(Usage, Usage)> {
    let program = companions("plain_iroh").into_iter().next();
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
    let [sending, receiving] = usages([(&sender, sender_host), (last, last_host)], time)?;
    Ok((sending, receiving))
}
