//! Playing a subscription: pictures and sound, each at its time.

use std::time::Duration;

use swarmcast_media::{PlayConfig, PlayError, PlayStats, Screen, Speaker};

use crate::event::{CloseCause, Event};

/// Plays one subscription. It takes events as they come and never blocks; what comes of them is taken from
/// [`Player::screen`] and [`Player::speaker`], on threads of the caller's. Dropping it ends the playing.
///
/// It goes on across restarts of the publisher, and when a foreign source takes over or gives back.
pub struct Player(swarmcast_media::Player);

impl Player {
    /// Makes a player that has nothing to play.
    pub fn new(config: PlayConfig) -> Self {
        Self(swarmcast_media::Player::new(config))
    }

    /// Takes the subscription's next event; tells what of it cannot be played.
    pub fn handle(&mut self, event: &Event) -> Vec<PlayError> {
        match event {
            Event::Opened { catalogue, .. } => return self.0.open(&catalogue.tracks),
            Event::Foreign { tracks } => return self.0.open(tracks),
            Event::AccessUnit(delivery) => self.0.put(&delivery.unit, delivery.due, crate::now()),
            Event::Closed(CloseCause::Ended) => self.0.end(),
            _ => {}
        }
        Vec::new()
    }

    /// Waits until all was played, behind [`CloseCause::Ended`], at most for `wait`; returns whether it was.
    pub fn drain(&self, wait: Duration) -> bool {
        self.0.drain(wait)
    }

    /// Returns where pictures come out.
    pub fn screen(&self) -> Screen {
        self.0.screen()
    }

    /// Returns where sound comes out.
    pub fn speaker(&self) -> Speaker {
        self.0.speaker()
    }

    /// Returns how much later than it is due everything is played, for [`crate::Subscriber::set_grown`].
    pub fn grown(&self) -> Duration {
        self.0.grown()
    }

    /// Returns how it goes.
    pub fn stats(&self) -> PlayStats {
        self.0.stats(crate::now())
    }
}
