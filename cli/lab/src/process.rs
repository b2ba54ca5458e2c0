//! Processes on hosts, watched by the lines that they write.

use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::clock;
use crate::event::Event;
use crate::host::Host;
use crate::output::{CpuTime, Exit, Line, Output};
use crate::resources::Resources;

/// Lines of stdout that a failure shows.
const LINES_SHOWN: usize = 12;

/// A process on a host; it is killed when dropped.
#[derive(Debug)]
pub struct Process {
    label: String,
    pid: Pid,
    spawned_at: f64,
    output: Arc<Output>,
    threads: Vec<JoinHandle<()>>,
    log: Option<PathBuf>,
}

impl Process {
    /// Starts `command` on `host`; `label` names it in failures.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(host: &Host, label: &str, command: &mut Command) -> Result<Self> {
        Self::spawn_with(host, label, command, Stdio::null()).map(|(process, _)| process)
    }

    /// As [`Process::spawn`]; also returns the end of a pipe from which the process reads its stdin.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_fed(host: &Host, label: &str, command: &mut Command) -> Result<(Self, ChildStdin)> {
        let (process, stdin) = Self::spawn_with(host, label, command, Stdio::piped())?;
        Ok((process, stdin.context("a pipe has two ends")?))
    }

    fn spawn_with(
        host: &Host,
        label: &str,
        command: &mut Command,
        stdin: Stdio,
    ) -> Result<(Self, Option<ChildStdin>)> {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned_at = clock::monotonic();
        let mut child = host.start(command).with_context(|| format!("cannot start {label}: {command:?}"))?;
        let stdin = child.stdin.take();
        Ok((Self::watch(label, child, spawned_at)?, stdin))
    }

    fn watch(label: &str, mut child: Child, spawned_at: f64) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id()).context("process ids fit 31 bits")?);
        let output = Arc::new(Output::default());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut threads = Vec::new();
        if let Some(stdout) = stdout {
            let output = Arc::clone(&output);
            threads.push(thread::spawn(move || output.follow_stdout(stdout)));
        }
        if let Some(stderr) = stderr {
            let output = Arc::clone(&output);
            threads.push(thread::spawn(move || output.follow_stderr(stderr)));
        }
        let ended = Arc::clone(&output);
        threads.push(thread::spawn(move || wait_and_reap(child, pid, &ended)));
        Ok(Self { label: label.to_owned(), pid, spawned_at, output, threads, log: None })
    }

    /// Leaves what it wrote in `file` when it is dropped: stdout line by line, then the end of stderr.
    pub fn log_to(&mut self, file: PathBuf) {
        self.log = Some(file);
    }

    /// Its name in failures.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Just before it was started, in seconds of CLOCK_MONOTONIC.
    pub fn spawned_at(&self) -> f64 {
        self.spawned_at
    }

    /// Waits until `find` returns something for a line of stdout, past lines included.
    ///
    /// # Errors
    /// `timeout` passed or the process ended first; the message says what was awaited and what was written.
    pub fn wait_line<T>(
        &self,
        what: &str,
        timeout: Duration,
        find: impl FnMut(&Line) -> Option<T>,
    ) -> Result<T> {
        self.output.wait_line(timeout, find).ok_or_else(|| self.failure(&format!("no {what} in {timeout:?}")))
    }

    /// Waits for the first event called `name`.
    ///
    /// # Errors
    /// As [`Process::wait_line`].
    pub fn wait_event(&self, name: &str, timeout: Duration) -> Result<Event> {
        self.wait_event_where(name, timeout, |_| true)
    }

    /// Waits for the first event called `name` that `wanted` accepts.
    ///
    /// # Errors
    /// As [`Process::wait_line`].
    pub fn wait_event_where(
        &self,
        name: &str,
        timeout: Duration,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Event> {
        self.wait_line(&format!("event `{name}`"), timeout, |line| {
            let event = line.event.as_ref().filter(|event| event.name() == name)?;
            wanted(event).then(|| event.clone())
        })
    }

    /// All events called `name` so far.
    pub fn events(&self, name: &str) -> Vec<Event> {
        let events = self.output.lines().into_iter().filter_map(|line| line.event);
        events.filter(|event| event.name() == name).collect()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lines()
    }

    /// The end of what it wrote to stderr.
    pub fn stderr(&self) -> String {
        self.output.stderr()
    }

    /// Sends a signal; one to a process that has ended does nothing.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let sent = self.output.while_alive(|| kill(self.pid, signal));
        sent.unwrap_or(Ok(())).with_context(|| format!("cannot send {signal} to {}", self.label))
    }

    /// Asks it to end, as Ctrl-C does, and waits until it has.
    ///
    /// # Errors
    /// It has not ended after `timeout`.
    pub fn interrupt(&self, timeout: Duration) -> Result<Exit> {
        self.signal(Signal::SIGINT)?;
        self.wait_exit(timeout)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// It has not after `timeout`.
    pub fn wait_exit(&self, timeout: Duration) -> Result<Exit> {
        self.output.wait_exit(timeout).ok_or_else(|| self.failure(&format!("still runs after {timeout:?}")))
    }

    /// Processor time used so far, or over its life once it has ended.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn cpu(&self) -> Result<CpuTime> {
        let alive = self.output.while_alive(|| cpu_time(self.pid));
        alive
            .or_else(|| self.output.exit().map(|exit| Ok(exit.cpu)))
            .unwrap_or_else(|| Ok(CpuTime::default()))
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.output.exit()
    }

    /// What it holds of the machine.
    ///
    /// # Errors
    /// It has ended.
    pub fn resources(&self) -> Result<Resources> {
        let alive = self.output.while_alive(|| Resources::read(self.pid));
        alive.unwrap_or_else(|| Err(self.failure("holds nothing any more")))
    }

    /// An error that shows what the process last wrote.
    pub fn failure(&self, what: &str) -> anyhow::Error {
        let lines = self.output.lines();
        let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
        let stdout: Vec<&str> = shown.iter().map(|line| line.text.as_str()).collect();
        let exit = self.output.exit().map_or("runs".to_owned(), |exit| format!("{exit:?}"));
        anyhow!(
            "{}: {what} ({exit})\n  last of stdout:\n{}\n  last of stderr:\n{}",
            self.label,
            stdout.join("\n"),
            self.output.stderr().trim_end(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process too.
        let _ = self.signal(Signal::SIGKILL);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some(file) = &self.log {
            let lines: Vec<String> = self.lines().into_iter().map(|line| line.text).collect();
            // A log that cannot be written is no reason to fail: it explains failures.
            let _ = std::fs::write(file, format!("{}\n{}", lines.join("\n"), self.stderr()));
        }
    }
}

/// Waits for the end of the process and reads its times before the kernel forgets them.
fn wait_and_reap(mut child: Child, pid: Pid, output: &Output) {
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(nix::errno::Errno::EINTR) {
    }
    output.end(|| {
        let cpu = cpu_time(pid).unwrap_or_default();
        let status = child.wait().ok();
        let signal = status.and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status));
        Exit { code: status.and_then(|status| status.code()), signal, cpu }
    });
}

/// Reads `utime` and `stime` of a process, as `proc_pid_stat(5)` describes.
fn cpu_time(pid: Pid) -> Result<CpuTime> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the kernel does not tell its tick")? as f64;
    let (user, system) = parse_ticks(&stat).with_context(|| format!("cannot understand {path}"))?;
    Ok(CpuTime { user: user as f64 / ticks, system: system as f64 / ticks })
}

/// Fields 14 and 15; the second, a name in parentheses, may hold anything.
fn parse_ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_ticks;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 70 0 0 20 0 1 0 12345 0 0";
        assert_eq!(parse_ticks(stat), Some((250, 70)));
        assert_eq!(parse_ticks("42 (a) S 1"), None);
    }
}
