//! Health as it is published to whoever watches a subscription: a value that goes out of date by itself.

use std::time::Duration;

use swarmcast_core::health::{CloseCause, ControlPlane, Health, PathKind, PathVerdict, Reason, Verdict};
use swarmcast_core::ids::Now;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::clock;
use crate::handle::Ended;

/// How far behind its end a value is looked at again, so that it is out of date by then.
const BEHIND: Duration = Duration::from_millis(1);

/// What the driver published last.
#[derive(Clone, Debug)]
struct Published {
    health: Health,
    /// Whether the subscription is closed: then nobody renews the value, and it stays true.
    closed: bool,
}

/// Makes both ends for a subscription that was asked for at `now`.
pub(crate) fn health_channel(now: Now) -> (HealthSender, HealthWatch) {
    let health = Health {
        verdict: Verdict::Joining,
        reason: None,
        path: PathKind::Mesh,
        multicast: PathVerdict::Off,
        mesh: PathVerdict::Off,
        unicast: PathVerdict::Off,
        control_plane: ControlPlane::Searching,
        last_media: None,
        last_fragment: None,
        buffer: Duration::ZERO,
        valid_until: now.after(Health::VALIDITY),
    };
    let (sender, published) = watch::channel(Published { health, closed: false });
    (HealthSender(sender), HealthWatch { published, seen: None })
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct HealthSender(watch::Sender<Published>);

impl HealthSender {
    /// Renews the value; wakes those who wait only when it reads differently.
    pub(crate) fn publish(&self, health: Health) {
        let now = clock::now();
        self.0.send_if_modified(|published| {
            let read = published.health.clone().at(now);
            let changed = State::of(&read) != State::of(&health);
            published.health = health;
            changed
        });
    }

    /// Publishes the last value of a subscription that is closed.
    pub(crate) fn close(&self, cause: &CloseCause) {
        self.0.send_modify(|published| {
            let health = &mut published.health;
            match cause {
                CloseCause::Ended => (health.verdict, health.reason) = (Verdict::Ended, None),
                CloseCause::Dead(reason) => {
                    (health.verdict, health.reason) = (Verdict::Dead, Some(reason.clone()))
                }
                _ => {}
            }
            published.closed = true;
        });
    }
}

/// The part of a health whose change is worth waking for; the rest changes all the time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    verdict: Verdict,
    reason: Option<Reason>,
    path: PathKind,
    paths: [PathVerdict; 3],
    control_plane: ControlPlane,
}

impl State {
    fn of(health: &Health) -> Self {
        Self {
            verdict: health.verdict,
            reason: health.reason.clone(),
            path: health.path,
            paths: [health.multicast, health.mesh, health.unicast],
            control_plane: health.control_plane,
        }
    }
}

/// The health of a subscription, to be read at any time and from anywhere. Cheap to clone.
///
/// A value that the driver did not renew in time reads as [`Reason::Overrun`]: a driver that stands still cannot keep
/// saying that all is well.
#[derive(Clone, Debug)]
pub struct HealthWatch {
    published: watch::Receiver<Published>,
    /// What the last call of [`HealthWatch::changed`] returned.
    seen: Option<State>,
}

impl HealthWatch {
    /// Returns the health now.
    pub fn current(&self) -> Health {
        let Published { health, closed } = self.published.borrow().clone();
        if closed { health } else { health.at(clock::now()) }
    }

    /// Waits until a verdict, its reason, the path, a path's verdict or the control plane is another one than at the
    /// last call, be it that nobody renewed it; returns at once when called for the first time. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// [`Ended`] when the subscription is closed, or the driver has ended, and its last state was returned.
    pub async fn changed(&mut self) -> Result<Health, Ended> {
        loop {
            self.published.mark_unchanged();
            let health = self.current();
            let state = State::of(&health);
            if self.seen.as_ref() != Some(&state) {
                self.seen = Some(state);
                return Ok(health);
            }
            let gone = self.published.has_changed().is_err();
            // Once it is out of date, only the driver can change it.
            let valid_until = health.valid_until;
            let fades = clock::now() <= valid_until && !self.published.borrow().closed;
            if gone && !fades {
                return Err(Ended);
            }
            tokio::select! {
                _ = self.published.changed(), if !gone => {}
                () = sleep_until(clock::instant_of(valid_until.after(BEHIND))), if fades => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    fn live(sender: &HealthSender, valid_for: Duration) {
        let mut health = sender.0.borrow().health.clone();
        (health.verdict, health.valid_until) = (Verdict::Live, clock::now().after(valid_for));
        sender.publish(health);
    }

    async fn changed(watch: &mut HealthWatch) -> Result<(Verdict, Option<Reason>), Ended> {
        let health = timeout(WAIT_MAX, watch.changed()).await.expect("in time");
        health.map(|health| (health.verdict, health.reason))
    }

    #[tokio::test]
    async fn a_driver_that_stands_still_cannot_keep_saying_that_all_is_well() {
        let (sender, mut watch) = health_channel(clock::now());
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Joining, None)));
        live(&sender, Duration::from_millis(50));
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Live, None)));
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Starved, Some(Reason::Overrun))));
        assert_eq!(watch.current().reason, Some(Reason::Overrun));
        let quiet = timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(quiet.is_err(), "it was told already");
        live(&sender, WAIT_MAX);
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Live, None)));
    }

    #[tokio::test]
    async fn a_value_that_is_renewed_wakes_nobody() {
        let (sender, mut watch) = health_channel(clock::now());
        live(&sender, Duration::from_millis(60));
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Live, None)));
        let renew = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                live(&sender, Duration::from_millis(500));
            }
        };
        tokio::select! {
            () = renew => {}
            health = watch.changed() => panic!("woken: {health:?}"),
        }
    }

    #[tokio::test]
    async fn the_end_stays_what_it_was() {
        for (cause, verdict) in [
            (CloseCause::Ended, (Verdict::Ended, None)),
            (CloseCause::Dead(Reason::PublisherGone), (Verdict::Dead, Some(Reason::PublisherGone))),
            (CloseCause::Local, (Verdict::Live, None)),
        ] {
            let (sender, mut watch) = health_channel(clock::now());
            live(&sender, Duration::ZERO);
            sender.close(&cause);
            drop(sender);
            assert_eq!(changed(&mut watch).await, Ok(verdict));
            assert_eq!(changed(&mut watch).await, Err(Ended));
        }
    }

    #[tokio::test]
    async fn a_driver_that_is_gone_is_out_of_date() {
        let (sender, mut watch) = health_channel(clock::now());
        live(&sender, Duration::from_millis(30));
        drop(sender);
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Live, None)));
        assert_eq!(changed(&mut watch).await, Ok((Verdict::Starved, Some(Reason::Overrun))));
        assert_eq!(changed(&mut watch).await, Err(Ended));
    }
}
