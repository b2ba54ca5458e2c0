//! The mesh as a picture: who was fed by whom, and how far from the publisher.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write;

use swarmcast_sim::network::HostId;
use swarmcast_sim::report::{HostReport, Report, Role};

/// Width and height.
const SIZE: f64 = 640.0;
/// Most viewers that are drawn; of more, every so many.
const DRAWN_MAX: usize = 2_000;
/// Viewers up to which every way that counts is drawn; of more, each viewer's strongest alone.
const DETAILED_MAX: usize = 150;
/// Part of what a viewer received that a way must have brought to count: half a stripe.
const SHARE_MIN: f64 = 1.0 / 16.0;
/// Angle between two that follow each other: the golden one, so that none lies behind the other.
const GOLDEN_ANGLE: f64 = TAU * 0.381_966_011_250_105;
/// Continuity below which a viewer is marked.
const WELL: f64 = 0.99;

/// Draws publishers in the middle, viewers the farther out the more hops blocks took to them, and a line from each to
/// who sent it most.
pub(super) fn mesh(report: &Report) -> String {
    let every = report.viewers().count().div_ceil(DRAWN_MAX).max(1);
    let mut drawn: Vec<&HostReport> = report.viewers().step_by(every).collect();
    drawn.sort_by(|a, b| a.hops.total_cmp(&b.hops).then(a.host.cmp(&b.host)));
    let most = drawn.last().map_or(1.0, |host| host.hops).max(1.0);
    let middle = SIZE / 2.0;
    let mut places = BTreeMap::new();
    for host in report.hosts.iter().filter(|host| host.role == Role::Publisher) {
        places.insert(host.host, (middle, middle));
    }
    for (rank, host) in drawn.iter().enumerate() {
        let (radius, angle) = ((middle - 12.0) * host.hops / most, rank as f64 * GOLDEN_ANGLE);
        places.insert(host.host, (middle + radius * angle.cos(), middle + radius * angle.sin()));
    }
    let mut svg = format!("<svg viewBox=\"0 0 {SIZE} {SIZE}\" role=\"img\">\n");
    for (from, to) in ways(report, drawn.len()) {
        if let (Some(a), Some(b)) = (places.get(&from), places.get(&to)) {
            let _ = writeln!(svg, "<path class=\"way\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>", a.0, a.1, b.0, b.1);
        }
    }
    let size = if drawn.len() > DETAILED_MAX { 2.0 } else { 4.0 };
    for host in &drawn {
        let (x, y) = places[&host.host];
        let class = if host.continuity.share() < WELL { "ill" } else { "well" };
        let _ = writeln!(
            svg,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size}\"><title>{}: {:.1} hops, {:.1} % \
             on time</title></circle>",
            host.host,
            host.hops,
            host.continuity.share() * 100.0
        );
    }
    let _ = writeln!(svg, "<circle class=\"publisher\" cx=\"{middle}\" cy=\"{middle}\" r=\"7\"/>\n</svg>");
    svg
}

/// Returns who sent to whom what counts.
fn ways(report: &Report, viewers: usize) -> Vec<(HostId, HostId)> {
    let mut received: BTreeMap<HostId, Vec<(u64, HostId)>> = BTreeMap::new();
    for ((from, to), traffic) in &report.links {
        received.entry(*to).or_default().push((traffic.datagram_bytes, *from));
    }
    let mut ways = Vec::new();
    for (to, mut from) in received {
        from.sort_unstable_by(|a, b| b.cmp(a));
        let all: u64 = from.iter().map(|(bytes, _)| bytes).sum();
        let counts = |bytes: u64| bytes as f64 >= all as f64 * SHARE_MIN;
        let kept = if viewers > DETAILED_MAX { 1 } else { from.len() };
        ways.extend(
            from.into_iter().take(kept).filter(|(bytes, _)| counts(*bytes)).map(|(_, from)| (from, to)),
        );
    }
    ways
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swarmcast_sim::scenario::Scenario;

    use super::*;

    #[test]
    fn every_viewer_has_a_place_and_ways_lead_to_who_feeds_it() {
        let report = Scenario { duration: Duration::from_secs(4), ..Scenario::new(8, 12) }.run().unwrap();
        let svg = mesh(&report);
        assert_eq!(svg.matches("<circle").count(), 13, "{svg}");
        assert!(svg.matches("class=\"way\"").count() >= 12, "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(report.viewers().all(|host| host.hops >= 1.0) && report.hops_at(1_000) >= 1);
    }
}
