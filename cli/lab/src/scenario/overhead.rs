//! Bytes on the wire over the payload that they carry.

use anyhow::Result;

use super::{is_full, let_run, span};
use crate::clip::Clip;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// What Ethernet, IPv4, UDP and QUIC add to a datagram, bytes: 14, 20 and 8, then a short header of 1 with a
/// connection id of 8 and a packet number of 2, the tag of 16, and a DATAGRAM frame with its length, 3.
const CARRIER_BYTES: f64 = 14.0 + 20.0 + 8.0 + 1.0 + 8.0 + 2.0 + 16.0 + 3.0;

/// Clips, and the overhead that each may have: in all, and without what carries the datagrams, percent.
const CASES: &[(&str, Clip, Goal, Goal)] = &[
    ("64 kbit/s, sound alone", Clip::SOUND, Goal::AtMost(60.0), Goal::None),
    ("300 kbit/s", Clip::SLOW, Goal::None, Goal::None),
    ("1 Mbit/s", Clip::MEDIUM, Goal::AtMost(12.0), Goal::None),
    ("8 Mbit/s", Clip::STANDARD, Goal::None, Goal::AtMost(6.0)),
];

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let full = is_full(report);
    for (name, clip, all, own) in CASES.iter().filter(|case| full || case.1 != Clip::MEDIUM) {
        report.enter_case(*name);
        let network = Network::bridged(lab, 2)?;
        let swarm = Swarm::new(lab, &network, "overhead")?;
        let publisher = swarm.publish_loop(0, &clip.file(lab)?)?;
        let _viewers = swarm.watch_all(1..2, &Watch::default())?;
        // The viewer is behind the live edge when it joins, and catches up faster than the stream runs.
        let_run(span(report, 2, 5));
        let before = publisher.member.snapshot()?;
        let_run(span(report, 6, 60));
        let after = publisher.member.snapshot()?;
        let payload = after.growth(&before, &["access_unit_bytes"])?;
        let sent = after.interface - before.interface;
        let carried = sent.tx_bytes as f64 - sent.tx_packets as f64 * CARRIER_BYTES;
        let percent = |bytes: f64| (bytes / payload - 1.0) * 100.0;
        report.add("overhead of all headers and control", percent(sent.tx_bytes as f64), Unit::Percent, *all);
        report.add("overhead without Ethernet, IP, UDP, QUIC", percent(carried), Unit::Percent, *own);
    }
    Ok(())
}
