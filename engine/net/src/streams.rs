//! The driver's side of publications and subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use swarmcast_core::catalogue::AccessUnit;
use swarmcast_core::health::Health;
use swarmcast_core::ids::{StreamHandle, StreamKey};
use swarmcast_core::node::{Command, Event};
use tokio::sync::{oneshot, watch};

use crate::handle::PublicationState;
use crate::health::HealthSender;
use crate::playout::{PlayoutSender, Pushed};
use crate::publish::PublishQueue;

/// Access units taken from one publication before the others have their turn.
const TAKEN_AT_ONCE_MAX: usize = 32;

#[derive(Debug)]
struct Publishing {
    queue: Arc<PublishQueue>,
    state: watch::Sender<PublicationState>,
    /// Who waits to hear that it runs.
    published: Option<oneshot::Sender<StreamKey>>,
    /// Whether the core was told to end it.
    ending: bool,
}

#[derive(Debug)]
struct Playing {
    playout: PlayoutSender,
    health: HealthSender,
}

/// All publications and subscriptions of a node.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    publishing: BTreeMap<StreamHandle, Publishing>,
    playing: BTreeMap<StreamHandle, Playing>,
}

impl Streams {
    /// Adds a publication that the core is about to be told of.
    pub(crate) fn add_publication(
        &mut self,
        stream: StreamHandle,
        queue: Arc<PublishQueue>,
        state: watch::Sender<PublicationState>,
        published: oneshot::Sender<StreamKey>,
    ) {
        let publishing = Publishing { queue, state, published: Some(published), ending: false };
        self.publishing.insert(stream, publishing);
    }

    /// Adds a subscription that the core is about to be told of.
    pub(crate) fn add_subscription(
        &mut self,
        stream: StreamHandle,
        playout: PlayoutSender,
        health: HealthSender,
    ) {
        self.playing.insert(stream, Playing { playout, health });
    }

    /// Publishes the health of every subscription.
    pub(crate) fn publish_health(&self, health_of: impl Fn(StreamHandle) -> Option<Health>) {
        for (stream, playing) in &self.playing {
            // A subscription that just ended has none; what it published last is corrected when its end is told.
            health_of(*stream).into_iter().for_each(|health| playing.health.publish(health));
        }
    }

    /// Takes the next commands out of the publish queues. Returns whether more wait.
    pub(crate) fn take_commands(&mut self, mut give: impl FnMut(Command)) -> bool {
        let mut more_wait = false;
        for (&stream, publishing) in &mut self.publishing {
            let units = std::iter::from_fn(|| publishing.queue.pop()).take(TAKEN_AT_ONCE_MAX);
            units.for_each(|(unit, more): (AccessUnit, bool)| give(Command::Send { stream, unit, more }));
            if publishing.queue.is_drained() {
                if !std::mem::replace(&mut publishing.ending, true) {
                    give(Command::End { stream });
                }
            } else {
                more_wait |= !publishing.queue.is_empty();
            }
        }
        more_wait
    }

    /// Ends every publication behind what is queued, and names the subscriptions that are to end.
    pub(crate) fn end_all(&mut self) -> Vec<StreamHandle> {
        self.publishing.values().for_each(|publishing| publishing.queue.end());
        self.playing.keys().copied().collect()
    }

    /// Returns whether no publication lingers.
    pub(crate) fn have_ended(&self) -> bool {
        self.publishing.is_empty()
    }

    /// Passes an event to whom it concerns. Returns a subscription that nobody listens to any longer.
    pub(crate) fn handle_event(&mut self, event: Event) -> Option<StreamHandle> {
        match event {
            Event::Published { stream, key } => {
                let published = self.publishing.get_mut(&stream)?.published.take()?;
                // A caller that stopped waiting has dropped the handle's queue end as well.
                let _ = published.send(key);
                None
            }
            Event::BadName { stream, newer } => {
                let publishing = self.publishing.get(&stream)?;
                publishing.queue.end();
                publishing.state.send_replace(PublicationState::Superseded { newer });
                None
            }
            Event::Unpublished { stream, complete } => {
                let publishing = self.publishing.remove(&stream)?;
                publishing.queue.end();
                publishing.state.send_replace(PublicationState::Ended { complete });
                None
            }
            event => self.play(event),
        }
    }

    fn play(&mut self, event: Event) -> Option<StreamHandle> {
        let stream = subscription_of(&event)?;
        let playing = self.playing.get_mut(&stream)?;
        let closed = match &event {
            Event::Closed { cause, .. } => {
                playing.health.close(cause);
                true
            }
            _ => false,
        };
        let pushed = playing.playout.push(event);
        if closed {
            self.playing.remove(&stream);
        }
        (pushed == Pushed::Abandoned && !closed).then_some(stream)
    }
}

fn subscription_of(event: &Event) -> Option<StreamHandle> {
    match event {
        Event::Opened { stream, .. }
        | Event::Ambiguous { stream, .. }
        | Event::AccessUnit { stream, .. }
        | Event::Gap { stream, .. }
        | Event::Reset { stream, .. }
        | Event::Verdict { stream, .. }
        | Event::Path { stream, .. }
        | Event::PathVerdict { stream, .. }
        | Event::ControlPlane { stream, .. }
        | Event::Closed { stream, .. } => Some(*stream),
        _ => None,
    }
}
