//! Health of a subscription as a value that can be read and watched from anywhere.

use swarmcast_core::health::Health;

/// What is known of a subscription now. Cheap to clone.
///
/// A value that the node does not renew in time says [`crate::Reason::Overrun`]: a node whose task stands still cannot
/// keep saying that all is well. What holds at the end of the subscription stays.
#[derive(Clone, Debug)]
pub struct HealthWatch(swarmcast_net::HealthWatch);

impl HealthWatch {
    pub(crate) fn new(published: swarmcast_net::HealthWatch) -> Self {
        Self(published)
    }

    /// Returns what holds now.
    pub fn current(&self) -> Health {
        self.0.current()
    }

    /// Waits until a state or a reason is another one than was returned before, be it since the node stands still, and
    /// returns what holds then; at once when called for the first time, and `None` once the subscription is over.
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Health> {
        self.0.changed().await.ok()
    }
}
