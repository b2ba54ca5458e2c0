//! Forged multicast, by somebody outside of the group and by a member: counted, and without effect.

use swarmcast_core::health::Reason;
use swarmcast_core::node::CloseCause;
use swarmcast_sim::hostile::{Flood, Script};
use swarmcast_sim::scenario::PUBLISHER;
use swarmcast_sim::world::HostConfig;

use super::*;

fn forging(outsider: bool) -> Script {
    let flood = Flood { after: S * 2, lasting: S * 60, bits_per_second: 2_000_000 };
    Script { outsider, flood: Some(flood), ..Script::default() }
}

fn beset(seed: u64, script: Script, seconds: u32) -> Scenario {
    Scenario { hostile: vec![script], ..multicast(seed, 5, seconds) }
}

fn forged(report: &Report) -> u64 {
    report.viewers().map(|viewer| viewer.stats.forged).sum()
}

#[test]
fn forged_blocks_headers_and_beacons_have_no_effect() {
    for (seed, outsider) in [(90, true), (91, false)] {
        let report = run(beset(seed, forging(outsider), 12), []);
        assert_unharmed(&report);
        assert!(forged(&report) > 0, "{report}");
        for viewer in report.viewers() {
            assert_eq!(viewer.path(), Some(PathKind::Multicast), "{}", viewer.host);
        }
    }
}

#[test]
fn forgeries_do_not_keep_a_dead_stream_alive() {
    for (seed, outsider) in [(92, true), (93, false)] {
        let report = run(beset(seed, forging(outsider), 14), [(S * 6, Deed::Kill(PUBLISHER))]);
        for viewer in report.viewers() {
            assert_eq!(viewer.closed, Some(CloseCause::Dead(Reason::PublisherGone)), "{}", viewer.host);
        }
    }
}

#[test]
fn a_recorded_epoch_that_is_over_is_counted_and_not_played() {
    for (seed, outsider) in [(94, true), (95, false)] {
        let script = Script { outsider, replay: true, ..Script::default() };
        let scenario = beset(seed, script, 16);
        let transmission = Box::new(scenario.transmission());
        let back = Deed::Serve { config: Box::new(HostConfig::default()), transmission };
        let newcomer = scenario.join(HostConfig::default());
        let deeds = [(S * 5, Deed::Kill(PUBLISHER)), (S * 7, back), (S * 9, newcomer)];
        let report = run(scenario, deeds);
        let replayed: u64 = report.viewers().map(|viewer| viewer.stats.replay).sum();
        assert!(replayed > 0, "{report}");
        for viewer in report.viewers() {
            assert!(viewer.resets <= 1 && viewer.closed.is_none(), "{}", viewer.host);
            assert_eq!(viewer.path(), Some(PathKind::Multicast), "{}", viewer.host);
        }
    }
}
