//! Bytes on the wire over the payload that they carry.

use anyhow::Result;

use super::fault::settle;
use super::{is_full, let_run, span};
use crate::clip::Clip;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Watch};

/// Bytes of an Ethernet header, which an interface counts and nobody calls overhead of a protocol.
const ETHERNET_BYTES: f64 = 14.0;

/// What IPv4 and UDP add to a datagram, bytes.
const UDP_BYTES: f64 = 20.0 + 8.0;
/// And QUIC: a short header of 1 with a connection id of 8 and a packet number of 2, the tag of 16, and a DATAGRAM
/// frame with its length, 3.
const QUIC_BYTES: f64 = 1.0 + 8.0 + 2.0 + 16.0 + 3.0;

/// The group of the streams that are multicast.
const GROUP: &str = "239.255.7.8:24600";

/// By how many points the wire may exceed the table of `docs/wire.md`: have-maps, which it leaves out, and QUIC's
/// acknowledgements.
const TABLE_POINTS: f64 = 4.0;

/// One stream and what its overhead may be, percent.
struct Case {
    name: &'static str,
    clip: Clip,
    /// Of everything above Ethernet.
    all: Goal,
    /// Without IP, UDP and QUIC.
    format: Goal,
    /// As `docs/wire.md` computes it for the mesh, with beacons.
    table: f64,
}

const CASES: &[Case] = &[
    Case {
        name: "64 kbit/s, sound alone",
        clip: Clip::SOUND,
        all: Goal::AtMost(60.0),
        format: Goal::None,
        table: 56.2 + 8.0,
    },
    Case { name: "300 kbit/s", clip: Clip::SLOW, all: Goal::None, format: Goal::None, table: 29.8 + 1.7 },
    Case {
        name: "1 Mbit/s",
        clip: Clip::MEDIUM,
        all: Goal::AtMost(12.0),
        format: Goal::None,
        table: 17.8 + 0.5,
    },
    Case {
        name: "8 Mbit/s",
        clip: Clip::STANDARD,
        all: Goal::None,
        format: Goal::AtMost(6.0),
        table: 10.9 + 0.1,
    },
];

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    // The goals of the others are known to be missed or met by the table: the short form holds the table.
    let full = is_full(report);
    for case in CASES.iter().filter(|case| full || case.clip == Clip::SLOW || case.clip == Clip::STANDARD) {
        report.enter_case(case.name);
        let overhead = measure(lab, report, case, &["--multicast", "off"])?;
        report.add("overhead above Ethernet", overhead.percent(0.0), Unit::Percent, case.all);
        let format = overhead.percent(UDP_BYTES + QUIC_BYTES);
        report.add("overhead without IP, UDP, QUIC", format, Unit::Percent, case.format);
        let excess = overhead.percent(0.0) - case.table;
        report.add("points above the table of docs/wire.md", excess, Unit::Count, Goal::AtMost(TABLE_POINTS));
        if full {
            report.enter_case(format!("{}, multicast", case.name));
            let overhead = measure(lab, report, case, &["--multicast", GROUP])?;
            report.add("overhead above Ethernet", overhead.percent(0.0), Unit::Percent, case.all);
            let format = overhead.percent(UDP_BYTES);
            report.add("overhead without IP and UDP", format, Unit::Percent, case.format);
        }
    }
    Ok(())
}

/// What a publisher's interface sent for its payload.
struct Overhead {
    payload: f64,
    packets: f64,
    /// Above Ethernet.
    bytes: f64,
}

impl Overhead {
    /// What is sent beside the payload and `carrier` bytes a packet, percent of the payload.
    fn percent(&self, carrier: f64) -> f64 {
        ((self.bytes - self.packets * carrier) / self.payload - 1.0) * 100.0
    }
}

/// Publishes to one viewer; `words` tell whether by multicast.
fn measure(lab: &Lab, report: &Report, case: &Case, words: &[&str]) -> Result<Overhead> {
    let network = Network::bridged(lab, 2)?;
    let swarm = Swarm::new(lab, &network, "overhead")?;
    let clip = case.clip.file(lab)?;
    let publisher = swarm.publish(0, &[&[&*clip.to_string_lossy(), "--loop"], words].concat())?;
    let viewers = swarm.watch_all(1..2, &Watch::default())?;
    if words.contains(&GROUP) {
        viewers.iter().try_for_each(settle)?;
    }
    // The viewer is behind the live edge when it joins, and catches up faster than the stream runs.
    let_run(span(report, 3, 5));
    let before = publisher.member.snapshot()?;
    let_run(span(report, 10, 60));
    let after = publisher.member.snapshot()?;
    let sent = after.interface - before.interface;
    let packets = sent.tx_packets as f64;
    Ok(Overhead {
        payload: after.growth(&before, &["access_unit_bytes"])?,
        packets,
        bytes: sent.tx_bytes as f64 - packets * ETHERNET_BYTES,
    })
}
