//! Health of a subscription as a value that can be read and watched from anywhere.

use swarmcast_core::health::Health;
use tokio::sync::watch;

/// What is known of a subscription now. Cheap to clone.
///
/// A value that the node does not renew in time says [`crate::Reason::Overrun`]: a node whose task stands still cannot
/// keep saying that all is well. What holds at the end of the subscription stays.
#[derive(Clone, Debug)]
pub struct HealthWatch {
    /// That of the rendition which is played.
    published: watch::Receiver<swarmcast_net::HealthWatch>,
    watched: swarmcast_net::HealthWatch,
}

impl HealthWatch {
    pub(crate) fn new(mut published: watch::Receiver<swarmcast_net::HealthWatch>) -> Self {
        let watched = published.borrow_and_update().clone();
        Self { published, watched }
    }

    /// Returns what holds now.
    pub fn current(&self) -> Health {
        self.published.borrow().current()
    }

    /// Waits until a state or a reason is another one than was returned before, be it since the node stands still, and
    /// returns what holds then; at once when called for the first time or when another rendition has taken over, and
    /// `None` once the subscription is over. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Health> {
        loop {
            if self.published.has_changed().unwrap_or(false) {
                self.watched = self.published.borrow_and_update().clone();
            }
            tokio::select! {
                health = self.watched.changed() => match health {
                    Ok(health) => return Some(health),
                    Err(_) if self.published.has_changed().unwrap_or(false) => {}
                    Err(_) => return None,
                },
                Ok(()) = self.published.changed() => {
                    self.watched = self.published.borrow_and_update().clone();
                }
            }
        }
    }
}
