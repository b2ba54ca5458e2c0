//! Watching a stream.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use swarmcast_core::catalogue::Quality;
use swarmcast_core::group::check_name;
use swarmcast_core::health::{FallbackPolicy, PathKind};
use swarmcast_core::ids::{StreamHandle, StreamKey};
use swarmcast_core::multicast::MulticastChoice;
use swarmcast_core::node::Subscription;
use swarmcast_net::{Handle, SubscriptionHandle};
use tokio::sync::watch;

use crate::Stopped;
use crate::counters::Counters;
use crate::event::Event;
use crate::foreign::{ForeignSource, ForeignSwitch};
use crate::health::HealthWatch;
use crate::publish::at_place;

mod blocking;
mod quality;
mod reading;
mod trial;

use blocking::block_on;
use quality::Ladder;
use reading::{Reading, Turn};
use trial::{Heard, Trial};

/// Longest single wait of a blocked thread; it waits on after it.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// Steps in which the wait for lost fragments follows what is played later, and how much less it is: what it takes to
/// decode. A wait as long would make all that follows the loss late, and grow what it follows.
const GROWN_STEP: Duration = Duration::from_millis(20);

/// What is watched, and how patiently.
#[derive(Clone, Debug)]
pub struct SubscribeConfig {
    /// The stream's name.
    pub name: String,
    /// The publisher's key; by default whoever uses the name, as long as only one does.
    pub publisher: Option<StreamKey>,
    /// Which rendition is played, where there are several. By default the highest at first, a lower one when it does
    /// not come in time or this host is too slow, and a higher one again once that was clean for the hold-down, told by
    /// [`Event::Quality`].
    pub quality: Quality,
    /// How long a lost fragment may be waited for: 50 ms to 60 s, 1 s by default. Every access unit is due this
    /// long after it left the publisher.
    pub playout_delay: Duration,
    /// Whether and where multicast is listened for; where the stream's name says, by default.
    pub multicast: MulticastChoice,
    /// Who decides on falling back to other paths; the engine, by default.
    pub fallback: FallbackPolicy,
    /// How long a better path must deliver cleanly before delivery returns to it, and a rendition before a higher one
    /// is tried: 0.1 s to an hour, 5 s by default, doubled with each relapse.
    pub hold_down: Duration,
    /// How long the stream is looked for before the subscription closes as [`crate::CloseCause::Dead`]; by default
    /// for ever.
    pub find_within: Option<Duration>,
    /// Whether a stream that died is waited for; else, by default, its death closes the subscription.
    pub waits: bool,
    /// Whether it plays the same instant as all others that are so configured with the same playout delay; not by
    /// default. What came late is then left out rather than played later.
    pub in_step: bool,
    /// What is played as a last resort: a URL or a file that ffmpeg can read. It needs a thread, see
    /// [`Subscriber::foreign_source`].
    pub foreign: Option<String>,
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
    /// The hold-down is out of range.
    #[error("the hold-down is 0.1 to 3600 s, not {} s", .0.as_secs_f64())]
    HoldDown(Duration),
    /// There is a URL for the last resort, and it is empty, standard input, or fallback is off.
    #[error("the URL of the last resort is one that ffmpeg can read, and needs automatic or manual fallback")]
    Foreign,
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
    node: Handle,
    config: SubscribeConfig,
    subscription: Arc<SubscriptionHandle>,
    counters: Counters,
    reading: Reading,
    foreign: ForeignSwitch,
    /// Whether the foreign source plays, as long as the node was not told.
    plays: Option<bool>,
    /// How much later than due everything is played, and whether the node has yet to be told.
    grown: (Duration, bool),
    ladder: Ladder,
    heard: Heard,
    /// What was told when a rendition took over: it may be behind with some of it.
    told: Heard,
    /// The rendition that is about to take over.
    trial: Option<Trial>,
    /// What is kept back of the one that is played, from a random-access point on at which the other may take over.
    kept: VecDeque<Event>,
    /// What one that took over has brought with it.
    brought: VecDeque<Event>,
    health: watch::Sender<swarmcast_net::HealthWatch>,
    stop: Arc<Stop>,
}

/// What a [`Stopper`] ends, and whether it did.
#[derive(Debug)]
struct Stop(Mutex<(Weak<SubscriptionHandle>, bool)>);

/// Ends a subscription from elsewhere, so that its reader gets [`Event::Closed`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<Stop>);

impl SubscribeConfig {
    /// Shortest playout delay: two round trips on a LAN with time to notice a loss.
    pub const PLAYOUT_DELAY_MIN: Duration = Duration::from_millis(50);
    /// Longest playout delay.
    pub const PLAYOUT_DELAY_MAX: Duration = Duration::from_secs(60);
    /// Playout delay unless told otherwise.
    pub const PLAYOUT_DELAY: Duration = Duration::from_secs(1);
    /// Shortest hold-down.
    pub const HOLD_DOWN_MIN: Duration = Duration::from_millis(100);
    /// Longest hold-down.
    pub const HOLD_DOWN_MAX: Duration = Duration::from_secs(3_600);

    /// Watches the stream of that name, whoever publishes it, 1 s behind.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            publisher: None,
            quality: Quality::Auto,
            playout_delay: Self::PLAYOUT_DELAY,
            multicast: MulticastChoice::Auto,
            fallback: FallbackPolicy::Auto,
            hold_down: Subscription::HOLD_DOWN,
            find_within: None,
            waits: false,
            in_step: false,
            foreign: None,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`SubscribeError::Name`], [`SubscribeError::PlayoutDelay`], [`SubscribeError::HoldDown`],
    /// [`SubscribeError::Foreign`].
    pub fn validate(&self) -> Result<(), SubscribeError> {
        check_name(&self.name).map_err(|_| SubscribeError::Name)?;
        if !(Self::PLAYOUT_DELAY_MIN..=Self::PLAYOUT_DELAY_MAX).contains(&self.playout_delay) {
            return Err(SubscribeError::PlayoutDelay(self.playout_delay));
        }
        if !(Self::HOLD_DOWN_MIN..=Self::HOLD_DOWN_MAX).contains(&self.hold_down) {
            return Err(SubscribeError::HoldDown(self.hold_down));
        }
        let unusable = |url: &str| url.is_empty() || url == "-" || self.fallback == FallbackPolicy::Off;
        if self.foreign.as_deref().is_some_and(unusable) {
            return Err(SubscribeError::Foreign);
        }
        Ok(())
    }

    fn subscription(&self) -> Subscription {
        Subscription {
            publisher: self.publisher,
            quality: self.quality,
            multicast: self.multicast,
            fallback: self.fallback,
            foreign: self.foreign.is_some(),
            hold_down: self.hold_down,
            find_within: self.find_within,
            waits: self.waits,
            in_step: self.in_step,
            ..Subscription::new(StreamHandle(0), &self.name, self.playout_delay)
        }
    }
}

impl Subscriber {
    pub(crate) async fn start(node: &Handle, config: SubscribeConfig) -> Result<Self, SubscribeError> {
        config.validate()?;
        let subscription =
            node.subscribe(config.subscription()).await.map_err(|_| SubscribeError::Stopped)?;
        let subscription = Arc::new(subscription);
        let foreign = config.foreign.clone().map(ForeignSwitch::new).unwrap_or_default();
        Ok(Self {
            node: node.clone(),
            counters: Counters::new(node.clone(), vec![subscription.stream()]),
            reading: Reading::new(foreign.exists()),
            foreign,
            plays: None,
            grown: (Duration::ZERO, false),
            ladder: Ladder::new(config.quality, config.hold_down, config.playout_delay),
            heard: Heard::default(),
            told: Heard::default(),
            trial: None,
            kept: VecDeque::new(),
            brought: VecDeque::new(),
            health: watch::Sender::new(subscription.health()),
            stop: Arc::new(Stop(Mutex::new((Arc::downgrade(&subscription), false)))),
            subscription,
            config,
        })
    }

    /// Waits for what happens next; `None` behind [`Event::Closed`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(plays) = self.plays {
                // A driver that has ended closes the subscription, which is told next.
                let _ = self.subscription.foreign(plays).await;
                self.plays = None;
            }
            if let (by, true) = self.grown {
                // As above.
                let _ = self.subscription.grown(by).await;
                self.grown = (by, false);
            }
            self.release();
            if let Some(event) = self.brought.pop_front() {
                return Some(self.tell(event));
            }
            if let Some(event) = self.reading.take() {
                if let Some(told) = self.pass(event?) {
                    return Some(told);
                }
                continue;
            }
            self.tend().await;
            let trial = self.trial.as_ref().map(|trial| Arc::clone(&trial.subscription));
            let tried = async {
                match trial {
                    Some(trial) => trial.receive().await,
                    None => std::future::pending().await,
                }
            };
            let turn = tokio::select! {
                received = self.subscription.receive() => self.reading.put(received.ok()),
                brought = self.foreign.next() => self.reading.bring(brought, crate::now()),
                received = tried => {
                    if let Some(trial) = &mut self.trial {
                        trial.put(received.ok());
                    }
                    self.take_over();
                    None
                }
            };
            match turn {
                Some(Turn::Start) => self.foreign.start(),
                Some(Turn::Stop) => self.foreign.stop(),
                Some(Turn::Tell(plays)) => self.plays = Some(plays),
                None => {}
            }
        }
    }

    /// Decides on an event of what is played: the caller gets it, or it waits behind what is kept back, or the
    /// rendition that takes over delivers it.
    fn pass(&mut self, event: Event) -> Option<Event> {
        let waits = match &event {
            Event::AccessUnit(next) if self.told.has(next) => return None,
            Event::AccessUnit(next) => {
                let awaits = |trial: &Trial| trial.candidate.awaits(&self.heard, next);
                self.trial.as_ref().is_some_and(awaits)
            }
            _ => false,
        };
        if waits || !self.kept.is_empty() {
            self.kept.push_back(event);
            self.take_over();
            return None;
        }
        Some(self.tell(event))
    }

    /// Lets go what is kept back, once it is not worth waiting any longer.
    fn release(&mut self) {
        let due = match self.kept.front() {
            Some(Event::AccessUnit(first)) => first.due,
            _ => return,
        };
        let closed = matches!(self.kept.back(), Some(Event::Closed(_)));
        if closed || self.trial.is_none() || due.since(crate::now()) < self.config.playout_delay / 2 {
            self.brought.append(&mut self.kept);
        }
    }

    /// Takes note of an event that the caller gets.
    fn tell(&mut self, event: Event) -> Event {
        match event {
            Event::Closed(_) => self.end_trial(),
            // What follows is of another timeline.
            Event::Reset { .. } | Event::Foreign { .. } => self.told = Heard::default(),
            _ => {}
        }
        self.ladder.witness(crate::now(), &event);
        self.heard.note(&event);
        event
    }

    /// Begins to fetch the rendition that should be played, and gives up one that comes to nothing.
    async fn tend(&mut self) {
        let now = crate::now();
        let of_swarm = self.reading.is_of_swarm();
        self.ladder.look(now);
        if let Some(trial) = &self.trial {
            if trial.has_failed(now, self.ladder.suffers()) || !of_swarm {
                let wish = trial.wish;
                self.end_trial();
                self.ladder.failed(now, wish);
            }
            return;
        }
        let Some(wish) = self.ladder.wish(now).filter(|_| of_swarm) else { return };
        let Some(rendition) = self.ladder.rendition(wish.to) else { return };
        let config = SubscribeConfig {
            name: rendition.name.clone(),
            publisher: Some(rendition.key),
            quality: Quality::Index(u8::try_from(wish.to).unwrap_or(u8::MAX)),
            multicast: at_place(self.config.multicast, wish.to),
            ..self.config.clone()
        };
        // A driver that has ended closes the subscription, which is told next.
        let Ok(subscription) = self.node.subscribe(config.subscription()).await else { return };
        self.counters.begin(subscription.stream());
        let reading = Reading::new(self.foreign.exists());
        self.trial = Some(Trial::new(now, wish, Arc::new(subscription), reading));
    }

    /// Goes over to the rendition that is fetched, if the time has come: it delivers what is kept back.
    fn take_over(&mut self) {
        let (now, heard) = (crate::now(), &self.heard);
        let next = match self.kept.front() {
            Some(Event::AccessUnit(next)) => Some(next),
            _ => None,
        };
        let place = self.trial.as_ref().and_then(|trial| trial.candidate.takes_over(now, heard, next));
        let to = self.trial.as_ref().and_then(|trial| self.ladder.rendition(trial.wish.to)).cloned();
        let from = self.ladder.at().and_then(|at| self.ladder.rendition(at)).cloned();
        let (Some(place), Some(from), Some(to)) = (place, from, to) else { return };
        let mut stop = self.stop.0.lock();
        let Some(trial) = self.trial.take_if(|_| !stop.1) else { return };
        let Trial { wish, subscription, candidate } = trial;
        let Some((reading, events)) = candidate.succeed(heard, place) else { return };
        stop.0 = Arc::downgrade(&subscription);
        drop(stop);
        self.told = self.heard.clone();
        self.kept.clear();
        self.brought.push_back(Event::Quality { from, to, cause: wish.cause });
        self.brought.extend(events);
        self.reading = reading;
        self.ladder.switched(now, wish);
        self.grown.1 |= !self.grown.0.is_zero();
        self.health.send_replace(subscription.health());
        let before = std::mem::replace(&mut self.subscription, subscription);
        self.counters.finish(before.stream());
    }

    fn end_trial(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.counters.finish(trial.subscription.stream());
        }
    }

    /// Plays another quality from its next random-access point on that can be had, told by [`Event::Quality`].
    pub fn choose(&mut self, quality: Quality) {
        self.config.quality = quality;
        self.ladder.choose(quality);
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
        block_on(self.next(), wait).ok_or(TimedOut)
    }

    /// Says by how much the jitter buffer has grown by now, as [`crate::Player::grown`] tells: what is
    /// lost is then waited for a little less than that longer, so that it comes in time. Without a player to tell it
    /// there is nothing to say.
    pub fn set_grown(&mut self, grown: Duration) {
        let spare = grown.saturating_sub(GROWN_STEP).min(Subscription::GROWN_MAX);
        let by = GROWN_STEP * (spare.as_millis() / GROWN_STEP.as_millis()) as u32;
        if by != self.grown.0 {
            self.grown = (by, true);
        }
    }

    /// Returns what plays [`SubscribeConfig::foreign`], to be run on a thread; `None` without a URL, once it was
    /// taken, and once it was wanted in vain.
    pub fn foreign_source(&mut self) -> Option<ForeignSource> {
        self.foreign.take()
    }

    /// Goes over to a path now, whatever the policy; multicast and mesh take back a fall to a lower one. Answered by
    /// [`Event::Path`].
    ///
    /// # Errors
    /// [`Stopped`] without a driver.
    pub async fn fall(&self, to: PathKind) -> Result<(), Stopped> {
        self.subscription.fall(to).await.map_err(|_| Stopped)
    }

    /// Returns a way to end the subscription from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stop))
    }

    /// Returns the health of the subscription, which can be read and watched from elsewhere.
    pub fn health(&self) -> HealthWatch {
        HealthWatch::new(self.health.subscribe())
    }

    /// Returns the counters, which can be read from elsewhere.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }
}

impl Stopper {
    /// Asks for the end of the subscription: what is queued, and then [`Event::Closed`], can still be received.
    pub async fn stop(&self) {
        let subscription = {
            let mut stop = self.0.0.lock();
            stop.1 = true;
            stop.0.upgrade()
        };
        if let Some(subscription) = subscription {
            // A driver that has ended closes the subscription as well.
            let _ = subscription.unsubscribe().await;
        }
    }
}

#[cfg(test)]
mod tests;
