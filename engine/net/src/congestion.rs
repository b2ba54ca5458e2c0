//! The congestion controller that QUIC is given: a fixed window that stays out of the way, and a look at the queue.
//!
//! Live media is paced by the core's rate controller, which knows the stream's rate and backs off on delay and on
//! sustained loss. A loss-based controller below it would discard what the core decided to send: at 1 % loss and
//! 60 ms, Cubic delivers 56 % and NewReno 46 % of an 8 Mbit/s stream, a fixed window 99 %. The window bounds what a
//! dead path can hold, nothing else.
//!
//! The core wants the smallest round trip of late, which only a controller sees: QUIC tells the smoothed one, and
//! jitter raises that as a queue does. QUIC asks a controller for the bandwidth that the path sustains; here that is
//! the window a round trip, so [`rtt_low`] reads the round trip from it.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noq_proto::RttEstimator;
use noq_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};
use swarmcast_core::node::RttLow;

/// Bytes in flight: 20 Mbit/s over a round trip of 400 ms, or 100 Mbit/s over 80 ms.
const WINDOW_BYTES: u64 = 1 << 20;

/// Makes a controller for every path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedWindow;

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, now: Instant, _mtu: u16) -> Box<dyn Controller> {
        Box::new(Watched { began: now, average: None, measured: false, low: RttLow::default() })
    }
}

/// Reads the smallest round trip of late from the bandwidth, in bit/s, that a path's controller tells.
pub(crate) fn rtt_low(bandwidth: u64) -> Duration {
    Duration::from_secs_f64(WINDOW_BYTES as f64 * 8.0 / bandwidth.max(1) as f64)
}

/// A window that neither loss nor delay changes, on a path whose delay is watched.
#[derive(Clone, Copy, Debug)]
struct Watched {
    began: Instant,
    /// The smoothed round trip at the last look.
    average: Option<Duration>,
    /// Whether that is made of measured ones: it begins with a guess.
    measured: bool,
    low: RttLow,
}

impl Watched {
    /// Takes the smoothed round trip `average` at a time. It alone leaves out how long a receiver held an
    /// acknowledgement back, 25 ms where little is sent; what was new in it shows by how much it moved (RFC 9002
    /// section 5.3: an eighth of the way).
    fn look(&mut self, at: Duration, average: Duration) {
        let before = self.average.replace(average).filter(|before| *before != average);
        let Some(before) = before else { return };
        let trip = if self.measured { (average * 8).saturating_sub(before * 7) } else { average };
        self.measured = true;
        self.low.add(at, trip);
    }
}

impl Controller for Watched {
    fn on_ack(&mut self, now: Instant, _: Instant, _: u64, _: u64, _: bool, rtt: &RttEstimator) {
        self.look(now.duration_since(self.began), rtt.get());
    }

    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: bool, _: u64, _: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        WINDOW_BYTES
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = ControllerMetrics::default();
        metrics.congestion_window = WINDOW_BYTES;
        let bits = WINDOW_BYTES as f64 * 8.0;
        metrics.bandwidth_estimate = self.low.get().map(|low| (bits / low.as_secs_f64().max(1e-6)) as u64);
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        WINDOW_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        let began = crate::clock::instant_after(Duration::ZERO).into_std();
        Watched { began, average: None, measured: false, low: RttLow::default() }
    }

    #[test]
    fn the_round_trip_is_read_back_from_the_bandwidth() {
        assert_eq!(watched().metrics().bandwidth_estimate, None);
        for trip in [Duration::from_micros(80), Duration::from_millis(400)] {
            let mut watched = watched();
            watched.low.add(Duration::ZERO, trip);
            let read = rtt_low(watched.metrics().bandwidth_estimate.unwrap());
            assert!((read.as_secs_f64() / trip.as_secs_f64() - 1.0).abs() < 1e-3, "{read:?}");
        }
    }

    #[test]
    fn each_round_trip_is_read_from_the_smoothed_one() {
        let ms = Duration::from_millis;
        let mut watched = watched();
        watched.look(ms(0), ms(333));
        assert_eq!(watched.low.get(), None, "a guess");
        let mut average = ms(40);
        watched.look(ms(10), average);
        watched.look(ms(10), average);
        assert_eq!(watched.low.get(), Some(average));
        for (at, trip) in [(20, ms(60)), (30, ms(12)), (40, ms(50))] {
            average = (average * 7 + trip) / 8;
            watched.look(ms(at), average);
        }
        let low = watched.low.get().unwrap();
        assert!(low.abs_diff(ms(12)) < Duration::from_micros(1), "{low:?}");
    }
}
