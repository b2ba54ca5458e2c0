//! What a process has written so far, and waiting for what it will write.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::event::Event;

/// Lines kept of one process: an hour of `stats` with room for the rest.
const LINES_MAX: usize = 20_000;

/// Bytes kept of the end of stderr.
const STDERR_BYTES_MAX: usize = 64 * 1024;

/// One line of stdout.
#[derive(Clone, Debug)]
pub struct Line {
    /// When the lab read it, in seconds of CLOCK_MONOTONIC.
    pub read_at: f64,
    /// What it says, without its end.
    pub text: String,
    /// The event that it is, if it is one.
    pub event: Option<Event>,
}

/// How a process ended and what it cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exit {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Processor time that it used over its life.
    pub cpu: CpuTime,
}

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// In the program.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    stdout_closed: bool,
    stderr: Vec<u8>,
    stderr_closed: bool,
    exit: Option<Exit>,
}

/// Shared by the threads that read a process and those that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines until the process closes its stdout.
    pub(crate) fn follow_stdout(&self, stdout: impl Read) {
        for text in BufReader::new(stdout).lines().map_while(Result::ok) {
            let line = Line { read_at: clock::monotonic(), event: Event::parse(&text), text };
            let mut state = self.lock();
            if state.lines.len() < LINES_MAX {
                state.lines.push(line);
            }
            self.changed.notify_all();
        }
        self.lock().stdout_closed = true;
        self.changed.notify_all();
    }

    /// Keeps the end of what the process says on stderr.
    pub(crate) fn follow_stderr(&self, mut stderr: impl Read) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stderr.read(&mut buffer) {
            let kept = &mut self.lock().stderr;
            kept.extend_from_slice(&buffer[..length]);
            let excess = kept.len().saturating_sub(STDERR_BYTES_MAX);
            kept.drain(..excess);
        }
        self.lock().stderr_closed = true;
        self.changed.notify_all();
    }

    /// Notes how the process ended; `reap` runs before anybody can learn of it.
    pub(crate) fn end(&self, reap: impl FnOnce() -> Exit) {
        let mut state = self.lock();
        state.exit = Some(reap());
        self.changed.notify_all();
    }

    /// Calls `act` unless the process has ended; while it runs the process cannot be reaped.
    pub(crate) fn while_alive<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let state = self.lock();
        state.exit.is_none().then(act)
    }

    /// Waits until `find` returns something for a line, in the order of the lines; `None` if the process closed
    /// its stdout without such a line, or after `timeout`.
    pub(crate) fn wait_line<T>(
        &self,
        timeout: Duration,
        mut find: impl FnMut(&Line) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut seen = 0;
        let mut state = self.lock();
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(&mut find) {
                return Some(found);
            }
            seen = state.lines.len();
            if state.stdout_closed {
                return None;
            }
            state = self.wait_until(deadline, state)?;
        }
    }

    /// Waits until the process has ended and all that it wrote is read.
    pub(crate) fn wait_exit(&self, timeout: Duration) -> Option<Exit> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        loop {
            if let (Some(exit), true) = (state.exit, state.stdout_closed && state.stderr_closed) {
                return Some(exit);
            }
            state = self.wait_until(deadline, state)?;
        }
    }

    fn wait_until<'a>(
        &'a self,
        deadline: Instant,
        state: MutexGuard<'a, State>,
    ) -> Option<MutexGuard<'a, State>> {
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let (state, _) = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        Some(state)
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        self.lock().exit
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.lock().stderr).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_all_is_read() {
        let output = Output::default();
        let exit = Exit { code: Some(5), signal: None, cpu: CpuTime::default() };
        output.end(|| exit);
        assert_eq!(output.wait_exit(Duration::ZERO), None);
        output.follow_stdout(&b"one\n"[..]);
        assert_eq!(output.wait_exit(Duration::ZERO), None, "what it said last on stderr is not read");
        output.follow_stderr(&b"so it goes\n"[..]);
        assert_eq!(output.wait_exit(Duration::ZERO), Some(exit));
        assert_eq!((output.lines().len(), output.stderr().as_str()), (1, "so it goes\n"));
    }
}
