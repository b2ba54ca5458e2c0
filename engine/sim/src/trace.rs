//! The trace of a run: a hash over everything that happened, and on request each step as a line.

use std::time::Duration;

use crate::network::HostId;
use crate::workload::{hash, mix};

/// Takes the lines of a textual trace.
pub type TraceSink = Box<dyn FnMut(&str)>;

/// Hash of a run; equal seeds give equal digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Gathers the trace.
#[derive(Default)]
pub(crate) struct Trace {
    digest: Digest,
    steps: u64,
    sink: Option<TraceSink>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace")
            .field("digest", &self.digest)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl Trace {
    pub(crate) fn set_sink(&mut self, sink: TraceSink) {
        self.sink = Some(sink);
    }

    /// Notes one step: when, where, of which kind, and what it carried. The sink also gets what `tell` says of it.
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
        self.fold(nanos);
        self.fold(u64::from(host.0));
        self.fold_bytes(kind.as_bytes());
        self.fold(number);
        self.fold_bytes(content);
        if let Some(sink) = &mut self.sink {
            let seconds = at.as_secs_f64();
            sink(&format!(
                "{seconds:.6} {host} {kind} {number} {} B {} {}",
                content.len(),
                self.digest,
                tell()
            ));
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    fn fold(&mut self, word: u64) {
        self.digest.0 = mix(self.digest.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word);
    }

    fn fold_bytes(&mut self, bytes: &[u8]) {
        self.fold(hash(bytes));
    }
}
