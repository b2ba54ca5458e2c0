//! The queue between a caller that publishes and the driver: bounded in units and bytes, and waited on, never dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;
use swarmcast_core::catalogue::AccessUnit;
use tokio::sync::Notify;

/// Access units that wait for the driver: 2 s of video at 50 and audio at 47 a second.
const UNITS_MAX: usize = 200;

/// Their bytes: one access unit of the largest size, or 3 s of 40 Mbit/s. One unit always fits an empty queue.
const BYTES_MAX: usize = 16 << 20;

/// Why an access unit was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no room now; the unit comes back.
    #[error("the publish queue is full")]
    Full(AccessUnit),
    /// The publication is over, or its driver is.
    #[error("the publication has ended")]
    Ended,
}

/// One publication's queue.
#[derive(Debug)]
pub(crate) struct PublishQueue {
    units: ArrayQueue<AccessUnit>,
    bytes: AtomicUsize,
    ended: AtomicBool,
    /// Wakes senders.
    room: Notify,
    /// Wakes the driver; shared by all of its queues.
    filled: Arc<Notify>,
}

impl PublishQueue {
    pub(crate) fn new(filled: Arc<Notify>) -> Self {
        Self {
            units: ArrayQueue::new(UNITS_MAX),
            bytes: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            room: Notify::new(),
            filled,
        }
    }

    /// Adds a unit if there is room.
    pub(crate) fn try_push(&self, unit: AccessUnit) -> Result<(), SendError> {
        if self.ended.load(Ordering::Acquire) {
            return Err(SendError::Ended);
        }
        let size = unit.payload.len();
        let before = self.bytes.fetch_add(size, Ordering::AcqRel);
        let pushed = if before > 0 && before + size > BYTES_MAX { Err(unit) } else { self.units.push(unit) };
        if let Err(unit) = pushed {
            self.bytes.fetch_sub(size, Ordering::AcqRel);
            return Err(SendError::Full(unit));
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Adds a unit as soon as there is room.
    pub(crate) async fn push(&self, mut unit: AccessUnit) -> Result<(), SendError> {
        loop {
            let room = self.room.notified();
            match self.try_push(unit) {
                Err(SendError::Full(back)) => unit = back,
                done => return done,
            }
            room.await;
        }
    }

    /// Takes the oldest unit, and tells whether another waits behind it.
    pub(crate) fn pop(&self) -> Option<(AccessUnit, bool)> {
        let unit = self.units.pop()?;
        self.bytes.fetch_sub(unit.payload.len(), Ordering::AcqRel);
        self.room.notify_waiters();
        Some((unit, !self.units.is_empty()))
    }

    /// Returns whether no unit waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Refuses further units; those that wait stay. Wakes the driver, which ends the publication behind them.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.room.notify_waiters();
        self.filled.notify_one();
    }

    /// Returns whether no further unit will come.
    pub(crate) fn is_drained(&self) -> bool {
        self.ended.load(Ordering::Acquire) && self.units.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use swarmcast_core::catalogue::TrackId;

    use super::*;

    fn unit(dts: i64, size: usize) -> AccessUnit {
        let payload = Bytes::from(vec![0; size]);
        AccessUnit { track: TrackId(0), dts, pts: dts, duration: 1, key: true, disposable: false, payload }
    }

    #[test]
    fn units_come_out_in_order_and_say_whether_more_wait() {
        let queue = PublishQueue::new(Arc::default());
        queue.try_push(unit(1, 10)).expect("room");
        queue.try_push(unit(2, 10)).expect("room");
        assert_eq!(queue.pop().map(|(unit, more)| (unit.dts, more)), Some((1, true)));
        assert_eq!(queue.pop().map(|(unit, more)| (unit.dts, more)), Some((2, false)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn units_and_bytes_are_bounded_but_one_unit_always_fits() {
        let queue = PublishQueue::new(Arc::default());
        queue.try_push(unit(0, BYTES_MAX + 1)).expect("an empty queue takes any unit");
        assert!(matches!(queue.try_push(unit(1, 1)), Err(SendError::Full(unit)) if unit.dts == 1));
        queue.pop();
        (0..UNITS_MAX as i64).for_each(|dts| queue.try_push(unit(dts, 1)).expect("room"));
        assert!(matches!(queue.try_push(unit(9, 1)), Err(SendError::Full(_))));
    }

    #[tokio::test]
    async fn a_waiting_sender_goes_on_when_there_is_room_and_fails_at_the_end() {
        let queue = PublishQueue::new(Arc::default());
        queue.try_push(unit(0, BYTES_MAX)).expect("room");
        let (sent, ()) = tokio::join!(queue.push(unit(1, 5)), async {
            queue.pop();
        });
        assert_eq!(sent, Ok(()));
        queue.try_push(unit(2, BYTES_MAX)).expect_err("no room");
        let (sent, ()) = tokio::join!(queue.push(unit(2, BYTES_MAX)), async { queue.end() });
        assert_eq!(sent, Err(SendError::Ended));
        assert!(!queue.is_drained());
        queue.pop();
        assert!(queue.is_drained());
    }
}
