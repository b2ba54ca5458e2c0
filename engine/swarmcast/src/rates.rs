//! How fast counters grow, under the names that Flash's `NetStreamMulticastInfo` has for it.

use std::time::Duration;

use swarmcast_core::ids::Now;
use swarmcast_core::stats::StreamStats;

/// Bytes a second between two looks at the counters of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Payload of access units delivered or published.
    pub access_unit_bytes_per_second: u64,
    /// Fragment payload received by all paths.
    pub receive_data_bytes_per_second: u64,
    /// Fragment payload received by IP multicast.
    pub receive_data_bytes_per_second_from_ip_multicast: u64,
    /// Fragment payload received from the publisher's own session.
    pub receive_data_bytes_per_second_from_server: u64,
    /// Everything else received.
    pub receive_control_bytes_per_second: u64,
    /// Fragment payload sent by all paths.
    pub send_data_bytes_per_second: u64,
    /// Everything else sent.
    pub send_control_bytes_per_second: u64,
    /// The part of that which went to the publisher's own session.
    pub send_control_bytes_per_second_to_server: u64,
}

/// Derives [`Rates`] from the counters of one stream.
#[derive(Clone, Copy, Debug)]
pub struct RateMeter {
    at: Now,
    before: StreamStats,
    rates: Rates,
}

impl RateMeter {
    /// Shortest time over which rates are measured; a look that comes sooner repeats the ones before.
    pub const SPAN_MIN: Duration = Duration::from_millis(200);

    /// Makes a meter for a stream that begins at `now`.
    pub fn new(now: Now) -> Self {
        Self { at: now, before: StreamStats::default(), rates: Rates::default() }
    }

    /// Takes a look at the counters.
    pub fn measure(&mut self, now: Now, counters: &StreamStats) -> Rates {
        let span = now.since(self.at);
        if span < Self::SPAN_MIN {
            return self.rates;
        }
        let grown = |of: fn(&StreamStats) -> u64| {
            let bytes = of(counters).saturating_sub(of(&self.before));
            (bytes as f64 / span.as_secs_f64()) as u64
        };
        self.rates = Rates {
            access_unit_bytes_per_second: grown(|c| c.access_unit_bytes),
            receive_data_bytes_per_second: grown(received),
            receive_data_bytes_per_second_from_ip_multicast: grown(|c| c.bytes_received_from_ip_multicast),
            receive_data_bytes_per_second_from_server: grown(|c| c.bytes_received_from_server),
            receive_control_bytes_per_second: grown(|c| c.control_bytes_from_peers),
            send_data_bytes_per_second: grown(sent),
            send_control_bytes_per_second: grown(|c| c.control_bytes_to_peers),
            send_control_bytes_per_second_to_server: grown(|c| c.control_bytes_to_server),
        };
        (self.at, self.before) = (now, *counters);
        self.rates
    }
}

/// Fragment payload received by all paths; what the publisher's own session brought is pushed or requested too.
fn received(c: &StreamStats) -> u64 {
    c.bytes_pushed_from_peers + c.bytes_requested_from_peers + c.bytes_received_from_ip_multicast
}

fn sent(c: &StreamStats) -> u64 {
    c.bytes_pushed_to_peers + c.bytes_requested_by_peers + c.bytes_sent_to_ip_multicast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_since_the_look_before() {
        let mut meter = RateMeter::new(Now(1_000_000));
        let mut counters = StreamStats {
            access_unit_bytes: 450,
            bytes_pushed_from_peers: 500,
            bytes_requested_from_peers: 300,
            bytes_received_from_server: 300,
            bytes_received_from_ip_multicast: 200,
            bytes_pushed_to_peers: 40,
            bytes_requested_by_peers: 50,
            bytes_sent_to_ip_multicast: 10,
            control_bytes_to_peers: 20,
            control_bytes_to_server: 5,
            control_bytes_from_peers: 30,
            ..StreamStats::default()
        };
        let first = meter.measure(Now(1_500_000), &counters);
        let expected = Rates {
            access_unit_bytes_per_second: 900,
            receive_data_bytes_per_second: 2_000,
            receive_data_bytes_per_second_from_ip_multicast: 400,
            receive_data_bytes_per_second_from_server: 600,
            receive_control_bytes_per_second: 60,
            send_data_bytes_per_second: 200,
            send_control_bytes_per_second: 40,
            send_control_bytes_per_second_to_server: 10,
        };
        assert_eq!(first, expected);
        counters.bytes_pushed_from_peers += 1_000;
        assert_eq!(meter.measure(Now(1_600_000), &counters), expected, "too soon");
        let later = meter.measure(Now(3_500_000), &counters);
        assert_eq!(later, Rates { receive_data_bytes_per_second: 500, ..Rates::default() });
    }
}
