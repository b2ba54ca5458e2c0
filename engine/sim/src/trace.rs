//! The trace of a run: a hash over everything that happened to each host, and on request each step as a line.

use std::time::Duration;

use crate::network::HostId;
use crate::workload::{hash, mix};

/// Takes the lines of a textual trace.
pub type TraceSink = Box<dyn FnMut(&str)>;

/// Hash of a run; equal seeds give equal digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    pub(crate) fn fold(&mut self, word: u64) {
        self.0 = mix(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
    }

    fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(hash(bytes));
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Gathers the trace of one host.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    digest: Digest,
    steps: u64,
    /// The lines since they were taken last, if anybody wants them.
    lines: Option<Vec<(Duration, String)>>,
}

impl Trace {
    /// Writes each step as a line from now on.
    pub(crate) fn write_lines(&mut self) {
        self.lines.get_or_insert_default();
    }

    /// Takes the lines since the last time, each with its true time.
    pub(crate) fn take_lines(&mut self) -> Vec<(Duration, String)> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes one step: when, where, of which kind, and what it carried. A line also has what `tell` says of it.
    pub(crate) fn note(
        &mut self,
        (at, host): (Duration, HostId),
        kind: &'static str,
        number: u64,
        content: &[u8],
        tell: impl FnOnce() -> String,
    ) {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.steps += 1;
        self.digest.fold(nanos);
        self.digest.fold_bytes(kind.as_bytes());
        self.digest.fold(number);
        self.digest.fold_bytes(content);
        if let Some(lines) = &mut self.lines {
            let (seconds, bytes, digest, said) = (at.as_secs_f64(), content.len(), self.digest, tell());
            lines.push((at, format!("{seconds:.6} {host} {kind} {number} {bytes} B {digest} {said}")));
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}
