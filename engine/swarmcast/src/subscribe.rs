//! Watching a stream.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use swarmcast_core::catalogue::TrackId;
use swarmcast_core::group::check_name;
use swarmcast_core::ids::{StreamHandle, StreamKey};
use swarmcast_core::node::{CloseCause as CoreCause, Event as CoreEvent, Subscription};
use swarmcast_net::{Handle, Playout, ReceiveError, SubscriptionHandle};

use crate::counters::Counters;
use crate::event::{CloseCause, Delivery, Event};

/// Longest single wait of a blocked thread; it waits on after it.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// What is watched, and how patiently.
#[derive(Clone, Debug)]
pub struct SubscribeConfig {
    /// The stream's name.
    pub name: String,
    /// The publisher's key; by default whoever uses the name, as long as only one does.
    pub publisher: Option<StreamKey>,
    /// How long a lost fragment may be waited for: 50 ms to 60 s, 1 s by default. Every access unit is due this
    /// long after it left the publisher.
    pub playout_delay: Duration,
}

/// Why a stream cannot be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The name is empty, longer than 128 bytes, or holds control characters.
    #[error("the name of a stream has 1 to 128 bytes and no control characters")]
    Name,
    /// The playout delay is out of range.
    #[error("the playout delay is 50 to 60000 ms, not {} ms", .0.as_millis())]
    PlayoutDelay(Duration),
    /// The driver has ended.
    #[error("the node has stopped")]
    Stopped,
}

/// Nothing came within the time that was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing came in time")]
pub struct TimedOut;

/// A stream that is watched. Dropping it ends the subscription.
///
/// Asynchronous code takes events by [`Subscriber::next`], a thread that may block by [`Subscriber::recv`]. Whoever
/// takes them too slowly loses access units, which is told by [`Event::Overrun`], and delays nobody else.
#[derive(Debug)]
pub struct Subscriber {
    subscription: Arc<SubscriptionHandle>,
    counters: Counters,
    reading: Reading,
}

/// Ends a subscription from elsewhere, so that its reader gets [`Event::Closed`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper(Weak<SubscriptionHandle>);

impl SubscribeConfig {
    /// Shortest playout delay: two round trips on a LAN with time to notice a loss.
    pub const PLAYOUT_DELAY_MIN: Duration = Duration::from_millis(50);
    /// Longest playout delay.
    pub const PLAYOUT_DELAY_MAX: Duration = Duration::from_secs(60);
    /// Playout delay unless told otherwise.
    pub const PLAYOUT_DELAY: Duration = Duration::from_secs(1);

    /// Watches the stream of that name, whoever publishes it, 1 s behind.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), publisher: None, playout_delay: Self::PLAYOUT_DELAY }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SubscribeError::Name`], [`SubscribeError::PlayoutDelay`].
    pub fn validate(&self) -> Result<(), SubscribeError> {
        check_name(&self.name).map_err(|_| SubscribeError::Name)?;
        if !(Self::PLAYOUT_DELAY_MIN..=Self::PLAYOUT_DELAY_MAX).contains(&self.playout_delay) {
            return Err(SubscribeError::PlayoutDelay(self.playout_delay));
        }
        Ok(())
    }
}

impl Subscriber {
    pub(crate) async fn start(node: &Handle, config: SubscribeConfig) -> Result<Self, SubscribeError> {
        config.validate()?;
        let SubscribeConfig { name, publisher, playout_delay } = config;
        let subscription =
            Subscription { publisher, ..Subscription::new(StreamHandle(0), name, playout_delay) };
        let subscription = node.subscribe(subscription).await.map_err(|_| SubscribeError::Stopped)?;
        let counters = Counters::new(node.clone(), subscription.stream());
        Ok(Self { subscription: Arc::new(subscription), counters, reading: Reading::default() })
    }

    /// Waits for what happens next; `None` behind [`Event::Closed`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.reading.take() {
                return event;
            }
            let received = self.subscription.receive().await;
            self.reading.put(received.ok());
        }
    }

    /// Blocks the thread until something happens; `None` behind [`Event::Closed`]. Not for asynchronous code.
    pub fn recv(&mut self) -> Option<Event> {
        loop {
            if let Ok(event) = self.recv_timeout(WAIT_MAX) {
                return event;
            }
        }
    }

    /// Blocks the thread until something happens, at most for `wait`; `None` behind [`Event::Closed`]. Not for
    /// asynchronous code.
    ///
    /// # Errors
    /// [`TimedOut`] when nothing happened in time.
    pub fn recv_timeout(&mut self, wait: Duration) -> Result<Option<Event>, TimedOut> {
        let start = Instant::now();
        loop {
            if let Some(event) = self.reading.take() {
                return Ok(event);
            }
            match self.subscription.receive_timeout(wait.saturating_sub(start.elapsed())) {
                Err(ReceiveError::Empty) => return Err(TimedOut),
                received => self.reading.put(received.ok()),
            }
        }
    }

    /// Returns a way to end the subscription from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::downgrade(&self.subscription))
    }

    /// Returns the counters, which can be read from elsewhere.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }
}

impl Stopper {
    /// Asks for the end of the subscription: what is queued, and then [`Event::Closed`], can still be received.
    pub async fn stop(&self) {
        if let Some(subscription) = self.0.upgrade() {
            // A driver that has ended closes the subscription as well.
            let _ = subscription.unsubscribe().await;
        }
    }
}

/// Turns what the node hands over into events.
#[derive(Debug, Default)]
struct Reading {
    /// Events that are ready, oldest first; at most two.
    ready: [Option<Event>; 2],
    /// The track whose next key unit is playable by itself.
    starts_with: Option<TrackId>,
    keys: Vec<StreamKey>,
    closed: bool,
}

impl Reading {
    /// Returns the next event that is ready, `Some(None)` behind the last one.
    fn take(&mut self) -> Option<Option<Event>> {
        match self.ready[0].take().or_else(|| self.ready[1].take()) {
            Some(event) => Some(Some(event)),
            None => self.closed.then_some(None),
        }
    }

    /// Takes what was handed over; `None` when the node is gone.
    fn put(&mut self, received: Option<Playout>) {
        let event = match received {
            Some(Playout::Event(event)) => self.read(event),
            Some(Playout::Overrun { access_units }) => Some(Event::Overrun { access_units }),
            Some(_) => None,
            None => Some(Event::Closed(CloseCause::Stopped)),
        };
        self.closed |= matches!(event, Some(Event::Closed(_)));
        self.ready[1] = event;
    }

    fn read(&mut self, event: CoreEvent) -> Option<Event> {
        Some(match event {
            CoreEvent::Opened { key, epoch, catalogue, .. } => {
                self.starts_with = catalogue.lead_track().map(|track| track.id);
                Event::Opened { key, epoch, catalogue }
            }
            CoreEvent::AccessUnit { unit, due, closed, .. } => {
                if unit.key && self.starts_with == Some(unit.track) {
                    self.starts_with = None;
                    self.ready[0] = Some(Event::Started { track: unit.track });
                }
                Event::AccessUnit(Delivery { unit, due, closed })
            }
            CoreEvent::Gap { track, from, to, cause, .. } => Event::Gap { track, from, to, cause },
            CoreEvent::Reset { old, new, .. } => Event::Reset { old, new },
            CoreEvent::Ambiguous { keys, .. } => {
                self.keys = keys;
                return None;
            }
            CoreEvent::Closed { cause, .. } => Event::Closed(match cause {
                CoreCause::Ended => CloseCause::Ended,
                CoreCause::Refused => CloseCause::Ambiguous { keys: std::mem::take(&mut self.keys) },
                _ => CloseCause::Local,
            }),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
