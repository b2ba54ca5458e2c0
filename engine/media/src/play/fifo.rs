//! A queue between two threads: bounded in items and bytes, never waited on by the thread that fills it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a queue holds: an item with its size and whether reading may begin with it.
pub(crate) trait Weighed {
    /// Returns its bytes.
    fn bytes(&self) -> usize;
    /// Returns whether all before it can be passed over.
    fn is_entry(&self) -> bool;
}

/// The queue. The reader waits, the writer is told when there is no room.
#[derive(Debug)]
pub(crate) struct Fifo<T> {
    held: Mutex<Held<T>>,
    filled: Condvar,
    items_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Held<T> {
    items: VecDeque<T>,
    bytes: usize,
    entries: usize,
    closed: bool,
    /// Whether the reader waits for an item, and so is through with the one before.
    idle: bool,
}

impl<T: Weighed> Fifo<T> {
    pub(crate) fn new(items_max: usize, bytes_max: usize) -> Self {
        let held = Held { items: VecDeque::new(), bytes: 0, entries: 0, closed: false, idle: false };
        Self { held: Mutex::new(held), filled: Condvar::new(), items_max, bytes_max }
    }

    /// Adds an item; returns whether there was room.
    pub(crate) fn put(&self, item: T) -> bool {
        let mut held = self.lock();
        let full = held.items.len() >= self.items_max || held.bytes + item.bytes() > self.bytes_max;
        if full && !held.items.is_empty() {
            return false;
        }
        held.bytes += item.bytes();
        held.entries += usize::from(item.is_entry());
        held.items.push_back(item);
        self.filled.notify_one();
        true
    }

    /// Waits for the next item; `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<T> {
        let mut held = self.lock();
        while held.items.is_empty() && !held.closed {
            held.idle = true;
            held = self.filled.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.idle = false;
        let item = held.items.pop_front()?;
        held.bytes -= item.bytes();
        held.entries -= usize::from(item.is_entry());
        Some(item)
    }

    /// Returns whether an item waits with which reading may begin.
    pub(crate) fn has_entry(&self) -> bool {
        self.lock().entries > 0
    }

    /// Returns whether nothing waits, and the reader is through with what it took.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        let held = self.lock();
        held.items.is_empty() && held.idle
    }

    /// Says that nothing more comes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighed for (usize, bool) {
        fn bytes(&self) -> usize {
            self.0
        }

        fn is_entry(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn it_is_bounded_in_items_and_bytes_but_one_item_always_fits() {
        let fifo = Fifo::new(2, 10);
        assert!(fifo.put((100, true)));
        assert!(!fifo.put((1, false)));
        assert!(fifo.has_entry());
        assert_eq!(fifo.take(), Some((100, true)));
        assert!(fifo.put((5, false)) && fifo.put((5, false)) && !fifo.put((0, false)));
        assert!(!fifo.has_entry());
        fifo.close();
        assert_eq!([fifo.take(), fifo.take(), fifo.take()], [Some((5, false)), Some((5, false)), None]);
    }
}
