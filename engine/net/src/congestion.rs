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

/// Bytes in flight: 20 Mbit/s over a round trip of 400 ms, or 100 Mbit/s over 80 ms.
const WINDOW_BYTES: u64 = 1 << 20;

/// Spans in which the smallest round trip is looked for: two of at least so long and so many packets.
const LOW_SPAN: Duration = Duration::from_millis(100);
const LOW_PACKETS: u32 = 8;

/// Makes a controller for every path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedWindow;

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, now: Instant, _mtu: u16) -> Box<dyn Controller> {
        Box::new(Watched(Lowest::new(now)))
    }
}

/// Reads the smallest round trip of late from the bandwidth, in bit/s, that a path's controller tells.
pub(crate) fn rtt_low(bandwidth: u64) -> Duration {
    Duration::from_secs_f64(WINDOW_BYTES as f64 * 8.0 / bandwidth.max(1) as f64)
}

/// A window that neither loss nor delay changes, on a path whose delay is watched.
#[derive(Clone, Copy, Debug)]
struct Watched(Lowest);

impl Controller for Watched {
    fn on_ack(&mut self, now: Instant, sent: Instant, _: u64, _: u64, _: bool, rtt: &RttEstimator) {
        // An acknowledgement that its receiver held back counts as long as the smoothed time, which leaves that out.
        self.0.add(now, now.duration_since(sent).min(rtt.get()));
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
        metrics.bandwidth_estimate = self.0.get().map(|low| (bits / low.as_secs_f64().max(1e-6)) as u64);
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

/// The smallest round trip of this span and of the one before.
#[derive(Clone, Copy, Debug)]
struct Lowest {
    began: Instant,
    packets: u32,
    spans: [Duration; 2],
}

impl Lowest {
    fn new(now: Instant) -> Self {
        Self { began: now, packets: 0, spans: [Duration::MAX; 2] }
    }

    fn add(&mut self, now: Instant, round_trip: Duration) {
        if now.duration_since(self.began) >= LOW_SPAN && self.packets >= LOW_PACKETS {
            self.spans = [Duration::MAX, self.spans[0]];
            (self.began, self.packets) = (now, 0);
        }
        self.packets += 1;
        self.spans[0] = self.spans[0].min(round_trip);
    }

    /// Returns it, once there is one.
    fn get(&self) -> Option<Duration> {
        Some(self.spans[0].min(self.spans[1])).filter(|low| *low < Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_packet_counts_for_two_spans_and_is_forgotten_then() {
        let ms = Duration::from_millis;
        let begin = crate::clock::instant_after(Duration::ZERO).into_std();
        let mut watched = Watched(Lowest::new(begin));
        assert_eq!(watched.metrics().bandwidth_estimate, None);
        let mut told = |at: u64, trip: u64| {
            watched.0.add(begin + ms(at), ms(trip));
            rtt_low(watched.metrics().bandwidth_estimate.unwrap()).as_secs_f64() * 1e3
        };
        // Every tenth packet of a path with jitter is fast, from 200 ms on none.
        let all: Vec<_> = (0..50).map(|n| told(10 * n, if n < 20 && n % 10 == 0 { 2 } else { 60 })).collect();
        assert!(all[..25].iter().all(|low| (low - 2.0).abs() < 0.01), "{all:?}");
        assert!(all[40..].iter().all(|low| (low - 60.0).abs() < 0.01), "{all:?}");
    }
}
