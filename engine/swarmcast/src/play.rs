//! Playing a subscription: pictures and sound, each at its time.

use std::time::Duration;

use swarmcast_media::{PlayConfig, PlayError, PlayStats, Screen, Speaker};

use crate::event::{CloseCause, Event};

/// Plays one subscription. It takes events as they come and never blocks; what comes of them is taken from
/// [`Player::screen`] and [`Player::speaker`], on threads of the caller's. Dropping it ends the playing.
///
/// It goes on across restarts of the publisher, when a foreign source takes over or gives back, and, without a seam,
/// when another rendition does.
pub struct Player {
    inner: swarmcast_media::Player,
    /// Whether what is opened next is another rendition.
    renews: bool,
}

impl Player {
    /// Makes a player that has nothing to play.
    pub fn new(config: PlayConfig) -> Self {
        Self { inner: swarmcast_media::Player::new(config), renews: false }
    }

    /// Takes the subscription's next event; tells what of it cannot be played.
    pub fn handle(&mut self, event: &Event) -> Vec<PlayError> {
        match event {
            Event::Quality { .. } => self.renews = true,
            Event::Opened { catalogue, .. } if std::mem::take(&mut self.renews) => {
                return self.inner.renew(&catalogue.tracks);
            }
            Event::Opened { catalogue, .. } => return self.inner.open(&catalogue.tracks),
            Event::Foreign { tracks } => return self.inner.open(tracks),
            Event::AccessUnit(delivery) => self.inner.put(&delivery.unit, delivery.due, crate::now()),
            Event::Closed(CloseCause::Ended) => self.inner.end(),
            _ => {}
        }
        Vec::new()
    }

    /// Waits until all was played, behind [`CloseCause::Ended`], at most for `wait`; returns whether it was.
    pub fn drain(&self, wait: Duration) -> bool {
        self.inner.drain(wait)
    }

    /// Returns where pictures come out.
    pub fn screen(&self) -> Screen {
        self.inner.screen()
    }

    /// Returns where sound comes out.
    pub fn speaker(&self) -> Speaker {
        self.inner.speaker()
    }

    /// Returns by how much the jitter buffer has grown, for [`crate::Subscriber::set_grown`].
    pub fn grown(&self) -> Duration {
        self.inner.grown()
    }

    /// Returns how it goes.
    pub fn stats(&self) -> PlayStats {
        self.inner.stats(crate::now())
    }
}
