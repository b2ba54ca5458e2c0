//! Stopping a blocked call from another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Makes a blocked open, read or write return promptly, from any thread, once and for good.
///
/// Clones share one state. Give one to a source or sink, keep another, and call [`Interrupt::interrupt`] to stop.
#[derive(Clone, Debug)]
pub struct Interrupt {
    shared: Arc<Shared>,
}

/// Nothing is ever sent: `fired` wakes all its waiters when `trigger` is dropped.
#[derive(Debug)]
struct Shared {
    set: AtomicBool,
    trigger: Mutex<Option<Sender<()>>>,
    fired: Receiver<()>,
}

impl Interrupt {
    /// Makes an interrupt that has not fired.
    pub fn new() -> Self {
        let (trigger, fired) = bounded(0);
        let shared = Shared { set: AtomicBool::new(false), trigger: Mutex::new(Some(trigger)), fired };
        Self { shared: Arc::new(shared) }
    }

    /// Stops every call that shares this interrupt, and all later ones.
    pub fn interrupt(&self) {
        self.shared.set.store(true, Ordering::Release);
        drop(self.shared.trigger.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Returns whether it has fired.
    pub fn is_set(&self) -> bool {
        self.shared.set.load(Ordering::Acquire)
    }

    /// Waits for `deadline` and returns whether it was reached undisturbed.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        self.shared.fired.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout)
    }

    /// Returns a channel that disconnects when the interrupt fires, to select on.
    pub(crate) fn fired(&self) -> &Receiver<()> {
        &self.shared.fired
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}
