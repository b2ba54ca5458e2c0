//! The health of a stream as it is told each second.

use std::fmt;
use std::time::{Duration, Instant};

use swarmcast::{StreamStats, TransportCounters};

use crate::clock;
use crate::report::{Counters, Latest, Stats, Transport};

/// Counters of one moment, with what follows from them and from those before.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    at: Duration,
    counters: StreamStats,
    transport: TransportCounters,
    bitrate: u64,
    playout_delay: Option<Duration>,
    rtt: Option<Duration>,
    latest: Option<Latest>,
}

/// Watches the counters, to know the rate at which they grow.
#[derive(Debug)]
pub(crate) struct HealthMeter {
    playout_delay: Option<Duration>,
    before: (Instant, u64),
    bitrate: u64,
}

/// Shortest time over which a rate is measured; the report at the end may come at once after another.
const RATE_SPAN_MIN: Duration = Duration::from_millis(200);

impl HealthMeter {
    /// Makes a meter for a viewer, or without a playout delay for a publisher, of a stream that starts at `start`.
    pub(crate) fn new(start: Instant, playout_delay: Option<Duration>) -> Self {
        Self { playout_delay, before: (start, 0), bitrate: 0 }
    }

    /// Takes the counters of this moment.
    pub(crate) fn measure(
        &mut self,
        at: Instant,
        counters: StreamStats,
        transport: TransportCounters,
        rtt: Option<Duration>,
        latest: Option<Latest>,
    ) -> Health {
        let (since, bytes) = self.before;
        let span = at.saturating_duration_since(since);
        if span >= RATE_SPAN_MIN {
            let grown = counters.access_unit_bytes.saturating_sub(bytes) as f64;
            self.bitrate = (grown * 8.0 / span.as_secs_f64()) as u64;
            self.before = (at, counters.access_unit_bytes);
        }
        Health {
            at: clock::monotonic(),
            counters,
            transport,
            bitrate: self.bitrate,
            playout_delay: self.playout_delay,
            rtt,
            latest,
        }
    }
}

impl Health {
    /// Returns when it was measured, on `CLOCK_MONOTONIC`.
    pub(crate) fn at(&self) -> Duration {
        self.at
    }

    /// Returns the numbers for programs.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            counters: Counters::from(self.counters),
            transport: Transport::from(self.transport),
            bitrate: self.bitrate,
            uplink_ratio: self.uplink_ratio(),
            playout_delay: self.playout_delay.map(|delay| delay.as_secs_f64()),
            rtt: self.rtt.map(|rtt| rtt.as_secs_f64()),
            latest: self.latest,
        }
    }

    /// Bytes sent for the stream, by bytes of payload received (viewer) or published; 0 while there are none.
    fn uplink_ratio(&self) -> f64 {
        let c = &self.counters;
        let sent = c.bytes_pushed_to_peers + c.bytes_requested_by_peers + c.control_bytes_to_peers;
        let base = match self.playout_delay {
            Some(_) => c.bytes_pushed_from_peers + c.bytes_requested_from_peers,
            None => c.access_unit_bytes,
        };
        if base == 0 { 0.0 } else { sent as f64 / base as f64 }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counters;
        write!(f, "{:.2} Mbit/s", self.bitrate as f64 / 1e6)?;
        if let Some(delay) = self.playout_delay {
            write!(
                f,
                "  lost {}  repaired {}  late {}  duplicate {}",
                c.lost, c.repaired, c.late, c.duplicate
            )?;
            write!(f, "  neighbours {}  delay {} ms", c.neighbours, delay.as_millis())?;
        } else {
            write!(f, "  shed {}  neighbours {}  viewers {}", c.shed, c.neighbours, c.viewers)?;
        }
        write!(f, "  uplink {:.2}", self.uplink_ratio())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let start = Instant::now();
        let mut meter = HealthMeter::new(start, None);
        let none = TransportCounters::default();
        let of = |bytes| StreamStats { access_unit_bytes: bytes, ..StreamStats::default() };
        assert_eq!(meter.measure(start + Duration::from_secs(1), of(1_000), none, None, None).bitrate, 8_000);
        let soon_after = meter.measure(start + Duration::from_millis(1_010), of(1_001), none, None, None);
        assert_eq!(soon_after.bitrate, 8_000);
        assert_eq!(meter.measure(start + Duration::from_secs(3), of(1_000), none, None, None).bitrate, 0);
    }

    #[test]
    fn the_uplink_is_measured_against_what_the_role_has() {
        let counters = StreamStats {
            bytes_pushed_to_peers: 150,
            bytes_requested_by_peers: 40,
            control_bytes_to_peers: 10,
            bytes_pushed_from_peers: 80,
            bytes_requested_from_peers: 20,
            access_unit_bytes: 50,
            ..StreamStats::default()
        };
        let ratio = |delay| {
            HealthMeter::new(Instant::now(), delay)
                .measure(Instant::now(), counters, TransportCounters::default(), None, None)
                .stats()
                .uplink_ratio
        };
        assert_eq!(ratio(None), 4.0);
        assert_eq!(ratio(Some(Duration::from_secs(1))), 2.0);
    }
}
