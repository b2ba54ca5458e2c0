//! What this node may send: one token bucket that all its sessions share.

use std::time::Duration;

use super::RateMeter;
use crate::ids::Now;

/// What QUIC, UDP, IP and Ethernet put around a datagram, bytes.
pub(crate) const PACKET_BYTES: f64 = 72.0;
/// Share of the limit that datagrams, reliable streams and handshakes leave to the rest: acknowledgements, what is sent
/// again, dials that fail.
const DATAGRAMS: f64 = 0.96;
/// What either side of a session sends until it is up, bytes: two packets, padded (RFC 9000 section 14.1).
const HANDSHAKE_BYTES: f64 = 2_400.0;
/// Time whose bytes may leave at once: a part of the queue that any router grants.
const BURST_TIME: f64 = 0.012;
/// Bytes that may leave at once at least: two datagrams.
const BURST_MIN: f64 = 3_000.0;

/// The limit that the user set, and the bucket that it fills.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    /// Bytes a second with all headers, `None` without a limit.
    rate: Option<f64>,
    tokens: f64,
    filled_at: Now,
    /// What control takes.
    control: RateMeter,
    /// What left beside datagrams and is not yet in that.
    owed: f64,
}

impl Uplink {
    /// Makes a full bucket of so many bytes a second.
    pub(crate) fn new(now: Now, rate: Option<u64>) -> Self {
        Self {
            rate: rate.map(|rate| rate as f64 * DATAGRAMS),
            tokens: BURST_MIN,
            filled_at: now,
            control: RateMeter::new(now),
            owed: 0.0,
        }
    }

    /// Returns what datagrams may take of it, bytes a second with all headers; `None` without a limit.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Returns what it bears beside control, bytes a second with all headers; `None` without a limit.
    pub(crate) fn media_rate(&self) -> Option<f64> {
        Some((self.rate? - self.control.rate()).max(0.0))
    }

    /// Takes note of a datagram of control that leaves.
    pub(crate) fn spend_control(&mut self, now: Now, bytes: usize) {
        if self.rate.is_some() {
            let owed = std::mem::take(&mut self.owed);
            self.control.add(now, (bytes as f64 + PACKET_BYTES + owed) as usize);
            self.spend(bytes);
        }
    }

    /// Takes note of a message that leaves by a reliable stream.
    pub(crate) fn spend_message(&mut self, bytes: usize) {
        self.owe(bytes as f64 + PACKET_BYTES);
    }

    /// Takes note of a session that came up.
    pub(crate) fn spend_handshake(&mut self) {
        self.owe(HANDSHAKE_BYTES);
    }

    fn owe(&mut self, bytes: f64) {
        if self.rate.is_some() {
            self.tokens -= bytes;
            self.owed += bytes;
        }
    }

    /// Takes note of a datagram that leaves.
    pub(crate) fn spend(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.tokens -= bytes as f64 + PACKET_BYTES;
        }
    }

    /// Returns whether media may leave.
    pub(crate) fn may_send(&mut self, now: Now) -> bool {
        let Some(rate) = self.rate else { return true };
        let earned = now.since(self.filled_at).as_secs_f64() * rate;
        self.filled_at = now;
        self.tokens = (self.tokens + earned).min((rate * BURST_TIME).max(BURST_MIN));
        self.tokens > 0.0
    }

    /// Returns when media may leave again.
    pub(crate) fn next_timeout(&self, now: Now) -> Now {
        let wanted = (1_200.0 - self.tokens).max(0.0);
        let rate = self.rate.unwrap_or(f64::INFINITY);
        now.after(Duration::from_secs_f64((wanted / rate).clamp(0.0005, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_leaves_than_the_limit_however_much_waits() {
        let mut uplink = Uplink::new(Now(0), Some(100_000));
        let (mut now, mut sent) = (Now(0), 0.0);
        while now < Now(10_000_000) {
            while uplink.may_send(now) {
                uplink.spend(1_000);
                sent += 1_000.0 + PACKET_BYTES;
            }
            now = uplink.next_timeout(now);
        }
        assert!((950_000.0..1_000_000.0).contains(&sent), "{sent}");
    }

    #[test]
    fn control_is_taken_from_what_is_left_for_media() {
        let mut uplink = Uplink::new(Now(0), Some(100_000));
        assert_eq!(uplink.media_rate(), uplink.rate());
        (1..=10).for_each(|tenth| uplink.spend_control(Now(tenth * 100_000), 928));
        assert_eq!(uplink.media_rate(), Some(86_000.0));
        assert!(!uplink.may_send(Now(0)), "and from the bucket");
        uplink.spend_message(928);
        uplink.spend_handshake();
        (11..=20).for_each(|tenth| uplink.spend_control(Now(tenth * 100_000), 928));
        let owed = (928.0 + PACKET_BYTES + HANDSHAKE_BYTES) as usize;
        assert_eq!(uplink.media_rate(), Some(96_000.0 - 7_000.0 - (10_000 + owed) as f64 * 0.3));
        let mut full = Uplink::new(Now(0), Some(100_000));
        full.spend_handshake();
        full.spend_message(928);
        assert!(!full.may_send(Now(0)), "and what goes by other ways from the bucket");
        let mut free = Uplink::new(Now(0), None);
        free.spend(1 << 30);
        assert!(free.may_send(Now(0)) && free.media_rate().is_none());
    }
}
