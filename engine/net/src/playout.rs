//! The queue between the driver and a caller that plays: bounded, and never waited on by the driver.
//!
//! A caller that falls behind loses access units, not events: a unit that does not fit is dropped, its track resumes at
//! the next unit where decoding can start, and the caller is told once, before that unit, how many it lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use swarmcast_core::catalogue::TrackId;
use swarmcast_core::node::Event;
use tokio::sync::Notify;

/// Access units held apart from those of the playout delay: a late join hands over 10 s of video and audio at once.
const UNITS_MIN: usize = 1024;

/// Access units held for each second of playout delay: video at 60, three audio tracks at 47, and data.
const UNITS_PER_SECOND: usize = 256;

/// Their bytes, apart from those of the playout delay: 10 s of 40 Mbit/s.
const BYTES_MIN: usize = 50 << 20;

/// Their bytes for each second of playout delay: 40 Mbit/s.
const BYTES_PER_SECOND: usize = 5 << 20;

/// Places that access units cannot take, so that events always find one.
const EVENTS_RESERVED: usize = 64;

/// What a subscription hands to its caller.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Playout {
    /// What the core tells of the stream, access units among it.
    Event(Event),
    /// The caller was too slow and the queue full: this many access units were dropped before the next one.
    Overrun {
        /// How many.
        access_units: u64,
    },
}

/// Why a subscription hands over nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Nothing came in time.
    #[error("nothing in time")]
    Empty,
    /// The subscription is closed and everything was handed over.
    #[error("the subscription is closed")]
    Closed,
}

/// What both ends share.
#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    filled: Notify,
}

/// Makes a queue for a subscription with that playout delay.
pub(crate) fn playout_queue(playout_delay: Duration) -> (PlayoutSender, PlayoutReceiver) {
    let seconds = usize::try_from(playout_delay.as_millis().div_ceil(1000)).unwrap_or(60).min(60);
    sized_queue(UNITS_MIN + seconds * UNITS_PER_SECOND, BYTES_MIN + seconds * BYTES_PER_SECOND)
}

fn sized_queue(units_max: usize, bytes_max: usize) -> (PlayoutSender, PlayoutReceiver) {
    let (sender, receiver) = bounded(units_max + EVENTS_RESERVED);
    let shared = Arc::new(Shared::default());
    let receiver = PlayoutReceiver { queue: receiver, shared: Arc::clone(&shared) };
    let overrun = Overrun::default();
    (PlayoutSender { queue: sender, shared, units_max, bytes_max, overrun }, receiver)
}

/// Access units that were dropped and not told of yet, and the tracks that wait for a random-access point.
#[derive(Debug, Default)]
struct Overrun {
    untold: u64,
    broken: Vec<TrackId>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for the caller, or was dropped and counted.
    Handled,
    /// The caller is gone, or has not taken one of [`EVENTS_RESERVED`] events: the subscription must end.
    Abandoned,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct PlayoutSender {
    queue: Sender<Playout>,
    shared: Arc<Shared>,
    units_max: usize,
    bytes_max: usize,
    overrun: Overrun,
}

impl PlayoutSender {
    /// Adds an event. Never waits.
    pub(crate) fn push(&mut self, event: Event) -> Pushed {
        let Event::AccessUnit { unit, .. } = &event else {
            return self.put(Playout::Event(event));
        };
        let (track, key, size) = (unit.track, unit.key, unit.payload.len());
        let waits_for_key = self.overrun.broken.contains(&track) && !key;
        let held = self.shared.bytes.load(Ordering::Acquire);
        let full = self.queue.len() >= self.units_max || (held > 0 && held + size > self.bytes_max);
        if full || waits_for_key {
            self.drop_unit(track);
            return Pushed::Handled;
        }
        self.overrun.broken.retain(|broken| *broken != track);
        let access_units = std::mem::take(&mut self.overrun.untold);
        if access_units > 0 && self.put(Playout::Overrun { access_units }) == Pushed::Abandoned {
            return Pushed::Abandoned;
        }
        self.shared.bytes.fetch_add(size, Ordering::AcqRel);
        self.put(Playout::Event(event))
    }

    fn drop_unit(&mut self, track: TrackId) {
        self.overrun.untold += 1;
        if !self.overrun.broken.contains(&track) {
            self.overrun.broken.push(track);
        }
    }

    fn put(&self, playout: Playout) -> Pushed {
        // `Closed` is the last event, so it may have the last place; any other must leave it.
        let last = matches!(playout, Playout::Event(Event::Closed { .. } | Event::Ambiguous { .. }));
        let places = self.units_max + EVENTS_RESERVED - usize::from(!last);
        let pushed = self.queue.len() < places && self.queue.try_send(playout).is_ok();
        self.shared.filled.notify_one();
        if pushed { Pushed::Handled } else { Pushed::Abandoned }
    }
}

impl Drop for PlayoutSender {
    fn drop(&mut self) {
        // An asynchronous receiver must wake to see that nothing follows: the queue closes before it looks.
        let (closed, _) = bounded(0);
        self.queue = closed;
        self.shared.filled.notify_one();
    }
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct PlayoutReceiver {
    queue: Receiver<Playout>,
    shared: Arc<Shared>,
}

impl PlayoutReceiver {
    /// Takes what waits.
    pub(crate) fn try_receive(&self) -> Result<Playout, ReceiveError> {
        self.queue.try_recv().map(|playout| self.taken(playout)).map_err(|error| match error {
            TryRecvError::Empty => ReceiveError::Empty,
            TryRecvError::Disconnected => ReceiveError::Closed,
        })
    }

    /// Blocks the thread until something comes, at most for `wait`.
    pub(crate) fn receive_timeout(&self, wait: Duration) -> Result<Playout, ReceiveError> {
        self.queue.recv_timeout(wait).map(|playout| self.taken(playout)).map_err(|error| match error {
            RecvTimeoutError::Timeout => ReceiveError::Empty,
            RecvTimeoutError::Disconnected => ReceiveError::Closed,
        })
    }

    /// Waits until something comes. Dropping the future loses nothing.
    pub(crate) async fn receive(&self) -> Result<Playout, ReceiveError> {
        loop {
            let filled = self.shared.filled.notified();
            match self.try_receive() {
                Err(ReceiveError::Empty) => filled.await,
                done => return done,
            }
        }
    }

    fn taken(&self, playout: Playout) -> Playout {
        if let Playout::Event(Event::AccessUnit { unit, .. }) = &playout {
            self.shared.bytes.fetch_sub(unit.payload.len(), Ordering::AcqRel);
        }
        playout
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use swarmcast_core::catalogue::AccessUnit;
    use swarmcast_core::ids::{Now, StreamHandle};
    use swarmcast_core::node::CloseCause;

    use super::*;

    const STREAM: StreamHandle = StreamHandle(1);

    fn unit(track: u8, dts: i64, key: bool) -> Event {
        let payload = Bytes::from_static(&[0; 100]);
        let unit =
            AccessUnit { track: TrackId(track), dts, pts: dts, duration: 1, key, disposable: false, payload };
        Event::AccessUnit { stream: STREAM, unit, due: Now(0), closed: Duration::ZERO }
    }

    fn closed() -> Event {
        Event::Closed { stream: STREAM, cause: CloseCause::Ended }
    }

    /// Takes everything, as `d<dts>`, `o<overrun>` or `c`.
    fn drain(receiver: &PlayoutReceiver) -> Vec<String> {
        let all = std::iter::from_fn(|| receiver.try_receive().ok());
        all.map(|playout| match playout {
            Playout::Event(Event::AccessUnit { unit, .. }) => format!("d{}", unit.dts),
            Playout::Overrun { access_units } => format!("o{access_units}"),
            Playout::Event(_) => "c".to_owned(),
        })
        .collect()
    }

    #[test]
    fn a_track_that_lost_units_resumes_where_decoding_can_start() {
        let (mut sender, receiver) = sized_queue(3, 1 << 20);
        for dts in 0..5 {
            assert_eq!(sender.push(unit(0, dts, dts == 0)), Pushed::Handled);
        }
        assert_eq!(drain(&receiver), ["d0", "d1", "d2"]);
        sender.push(unit(0, 4, false));
        sender.push(unit(1, 5, false));
        sender.push(unit(0, 6, true));
        assert_eq!(drain(&receiver), ["o3", "d5", "d6"]);
    }

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let (mut sender, receiver) = sized_queue(100, 250);
        (0..3).for_each(|dts| assert_eq!(sender.push(unit(0, dts, true)), Pushed::Handled));
        assert_eq!(drain(&receiver), ["d0", "d1"]);
        sender.push(unit(0, 3, true));
        assert_eq!(drain(&receiver), ["o1", "d3"]);
    }

    #[test]
    fn the_end_is_told_even_to_who_never_listened() {
        let (mut sender, receiver) = sized_queue(4, 1 << 20);
        (0..9).for_each(|dts| assert_eq!(sender.push(unit(0, dts, true)), Pushed::Handled));
        let reset = || Event::Opened {
            stream: STREAM,
            key: swarmcast_core::ids::StreamKey([0; 32]),
            epoch: swarmcast_core::ids::Epoch(1),
            catalogue: swarmcast_core::catalogue::Catalogue {
                name: "x".into(),
                expiry: Duration::ZERO,
                tracks: Vec::new(),
                renditions: Vec::new(),
                multicast: None,
            },
        };
        let mut pushed = 0;
        while sender.push(reset()) == Pushed::Handled {
            pushed += 1;
        }
        assert_eq!(pushed, EVENTS_RESERVED - 1);
        assert_eq!(sender.push(closed()), Pushed::Handled);
        drop(sender);
        assert_eq!(drain(&receiver).len(), 4 + EVENTS_RESERVED);
        assert_eq!(receiver.try_receive().map(|_| ()), Err(ReceiveError::Closed));
    }

    #[tokio::test]
    async fn an_asynchronous_receiver_wakes_for_units_and_for_the_end() {
        let (mut sender, receiver) = sized_queue(4, 1 << 20);
        let (received, ()) = tokio::join!(receiver.receive(), async {
            sender.push(unit(0, 1, true));
        });
        assert!(received.is_ok());
        let (received, ()) = tokio::join!(receiver.receive(), async { drop(sender) });
        assert_eq!(received.map(|_| ()), Err(ReceiveError::Closed));
    }
}
