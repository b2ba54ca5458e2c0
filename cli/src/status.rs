//! The health of a stream as it is told each second.

use std::fmt;
use std::time::Duration;

use swarmcast::{Health, Now, PlayStats, RateMeter, Rates, StreamStats, TransportCounters, Verdict};

use crate::report::{Counters, HealthLine, Latest, PlayerLine, Stats, Transport, words};

/// What was read at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) counters: StreamStats,
    pub(crate) transport: TransportCounters,
    /// None at a publisher.
    pub(crate) health: Option<Health>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) latest: Option<Latest>,
    /// None at a publisher and with an output.
    pub(crate) player: Option<PlayStats>,
}

/// A look with what follows from it and from those before.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    look: Look,
    rates: Rates,
    playout_delay: Option<Duration>,
}

/// Watches the counters, to know the rate at which they grow.
#[derive(Debug)]
pub(crate) struct HealthMeter {
    playout_delay: Option<Duration>,
    rates: RateMeter,
}

impl HealthMeter {
    /// Makes a meter for a viewer, or without a playout delay for a publisher, of a stream that starts at `start`.
    pub(crate) fn new(start: Now, playout_delay: Option<Duration>) -> Self {
        Self { playout_delay, rates: RateMeter::new(start) }
    }

    /// Takes a look.
    pub(crate) fn measure(&mut self, at: Now, look: Look) -> Measured {
        let rates = self.rates.measure(at, &look.counters);
        Measured { look, rates, playout_delay: self.playout_delay }
    }
}

impl Measured {
    /// Returns the numbers for programs.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            counters: Counters::from(self.look.counters),
            transport: Transport::from(self.look.transport),
            rates: self.rates.into(),
            health: self.look.health.as_ref().map(HealthLine::from),
            bitrate: self.bitrate(),
            uplink_ratio: self.uplink_ratio(),
            playout_delay: self.playout_delay.map(|delay| delay.as_secs_f64()),
            rtt: self.look.rtt.map(|rtt| rtt.as_secs_f64()),
            latest: self.look.latest,
            player: self.look.player.map(PlayerLine::from),
        }
    }

    /// Says in plain words where media comes from or why it does not, how far behind it is, and who helps.
    pub(crate) fn in_brief(&self) -> String {
        let c = &self.look.counters;
        let neighbours = usize::try_from(c.neighbours).unwrap_or(usize::MAX);
        let mut text = match &self.look.health {
            Some(health) => words::fares(health, neighbours, Some(c.since_last_fragment)),
            None => String::new(),
        };
        let delay = self.look.player.and_then(|player| player.delay).or(self.playout_delay);
        if let Some(delay) = delay {
            text += &format!("; {:.2} s behind", delay.as_secs_f64());
        }
        let plural = if neighbours == 1 { "" } else { "s" };
        text + &format!(", lost {}, {neighbours} neighbour{plural}", c.lost)
    }

    /// Returns whether who watches must know how the stream fares.
    pub(crate) fn is_trouble(&self) -> bool {
        let fine = |health: &Health| matches!(health.verdict, Verdict::Live | Verdict::Ended);
        !self.look.health.as_ref().is_none_or(fine)
    }

    fn bitrate(&self) -> u64 {
        self.rates.access_unit_bytes_per_second * 8
    }

    /// Bytes sent for the stream, by bytes of payload received (viewer) or published; 0 while there are none.
    fn uplink_ratio(&self) -> f64 {
        let c = &self.look.counters;
        let sent = c.bytes_pushed_to_peers
            + c.bytes_requested_by_peers
            + c.bytes_sent_to_ip_multicast
            + c.control_bytes_to_peers;
        let received =
            c.bytes_pushed_from_peers + c.bytes_requested_from_peers + c.bytes_received_from_ip_multicast;
        let base = if self.playout_delay.is_some() { received } else { c.access_unit_bytes };
        if base == 0 { 0.0 } else { sent as f64 / base as f64 }
    }

    fn write_viewer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.look.counters;
        write!(f, "{}", self.in_brief())?;
        if let Some(health) = &self.look.health {
            write!(f, "; buffer {:.2} s", health.buffer.as_secs_f64())?;
        }
        write!(f, ", {:.2} Mbit/s", self.bitrate() as f64 / 1e6)?;
        write!(f, ", repaired {}, late {}, duplicate {}", c.repaired, c.late, c.duplicate)?;
        write!(f, ", uplink {:.2}", self.uplink_ratio())?;
        match &self.look.player {
            Some(player) => {
                write!(f, ", dropped {}, underruns {}", player.pictures_dropped, player.underruns)
            }
            None => Ok(()),
        }
    }

    fn write_publisher(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.look.counters;
        write!(f, "{:.2} Mbit/s  shed {}", self.bitrate() as f64 / 1e6, c.shed)?;
        write!(f, "  neighbours {}  viewers {}  uplink {:.2}", c.neighbours, c.viewers, self.uplink_ratio())?;
        if c.reporters == 0 {
            return Ok(());
        }
        let percent = |parts: u32| f64::from(parts) / 100.0;
        write!(
            f,
            "  {} report: lost p50 {:.2} % p95 {:.2} % worst {:.2} %, parity {} %",
            c.reporters,
            percent(c.reported_loss_p50),
            percent(c.reported_loss_p95),
            percent(c.reported_loss_max),
            c.parity_percent
        )
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.playout_delay {
            Some(_) => self.write_viewer(f),
            None => self.write_publisher(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmcast::{ControlPlane, PathKind, PathVerdict, Reason};

    use super::*;

    fn measured(delay: Option<Duration>, look: Look) -> Measured {
        HealthMeter::new(Now(0), delay).measure(Now(1_000_000), look)
    }

    #[test]
    fn the_uplink_is_measured_against_what_the_role_has() {
        let counters = StreamStats {
            bytes_pushed_to_peers: 100,
            bytes_requested_by_peers: 40,
            bytes_sent_to_ip_multicast: 50,
            control_bytes_to_peers: 10,
            bytes_pushed_from_peers: 40,
            bytes_requested_from_peers: 20,
            bytes_received_from_ip_multicast: 40,
            access_unit_bytes: 50,
            ..StreamStats::default()
        };
        let ratio = |delay| measured(delay, Look { counters, ..Look::default() }).uplink_ratio();
        assert_eq!(ratio(None), 4.0);
        assert_eq!(ratio(Some(Duration::from_secs(1))), 2.0);
    }

    #[test]
    fn people_read_cause_delay_loss_and_neighbours() {
        let health = Health {
            verdict: Verdict::Starved,
            reason: Some(Reason::PublisherGone),
            path: PathKind::Mesh,
            multicast: PathVerdict::Silent,
            mesh: PathVerdict::Silent,
            unicast: PathVerdict::Off,
            control_plane: ControlPlane::Up,
            last_media: None,
            last_fragment: None,
            buffer: Duration::from_millis(240),
            valid_until: Now(2_000_000),
        };
        let counters = StreamStats {
            access_unit_bytes: 1_000_000,
            lost: 3,
            neighbours: 4,
            since_last_fragment: Duration::from_millis(800),
            ..StreamStats::default()
        };
        let look = Look { counters, health: Some(health), ..Look::default() };
        let told = measured(Some(Duration::from_secs(1)), look.clone());
        assert_eq!(
            told.to_string(),
            "The publisher stopped answering 0.8 s ago; 1.00 s behind, lost 3, 4 neighbours; buffer 0.24 s, \
             8.00 Mbit/s, repaired 0, late 0, duplicate 0, uplink 0.00"
        );
        assert!(told.is_trouble());
        let programs = serde_json::to_value(told.stats()).unwrap();
        let health = serde_json::json!({
            "verdict": "starved", "reason": "publisher-gone", "path": "mesh", "multicast": "silent",
            "mesh": "silent", "unicast": "off", "control_plane": "up", "buffer": 0.24,
        });
        assert_eq!((&programs["health"], &programs["bitrate"]), (&health, &8_000_000.into()));
    }

    #[test]
    fn a_publisher_reads_how_its_viewers_fare_once_they_report() {
        let mut counters = StreamStats { viewers: 7, ..StreamStats::default() };
        let told = |counters| measured(None, Look { counters, ..Look::default() }).to_string();
        let quiet = "0.00 Mbit/s  shed 0  neighbours 0  viewers 7  uplink 0.00";
        assert_eq!(told(counters), quiet);
        (counters.reporters, counters.reported_loss_p95, counters.reported_loss_max) = (6, 2, 150);
        counters.parity_percent = 6;
        let reports = "  6 report: lost p50 0.00 % p95 0.02 % worst 1.50 %, parity 6 %";
        assert_eq!(told(counters), format!("{quiet}{reports}"));
    }
}
