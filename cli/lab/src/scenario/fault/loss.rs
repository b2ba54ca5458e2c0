//! Loss, bursts, duplicates and reordering while multicast delivers: repair makes them good, the verdict tells them.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Moment, Scene, add_all, add_none};
use crate::compare::Comparison;
use crate::faults::Faults;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::scenario::{is_full, span};
use crate::swarm::{Viewer, Watch};
use crate::switch::LinkProfile;

const VIEWERS: usize = 3;

/// Loss at each host, percent, and the share of access units that may be missing, percent.
const LOSSES: &[(f64, f64)] = &[(1.0, 0.0), (5.0, 0.0), (10.0, 0.0), (20.0, 0.01)];
/// Those that the short form runs.
const SHORT: &[f64] = &[10.0];

/// All that the publisher sends is lost for 200 ms in each 2 s.
const BURSTS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(200));
/// Share of the publisher's packets that the switch disturbs: a hundred of the ten thousand that it sends in 10 s.
const DISTURBED: f64 = 0.01;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let full = is_full(report);
    for &(percent, share) in LOSSES.iter().filter(|(percent, _)| full || SHORT.contains(percent)) {
        report.enter_case(format!("{percent} % loss at random"));
        random(lab, report, percent, share)?;
    }
    let plain = LinkProfile::default();
    let disturbances = [
        ("200 ms bursts, one in 2 s", LinkProfile { outage: BURSTS, ..plain }),
        ("1 % duplicated", LinkProfile { duplicated: DISTURBED, ..plain }),
        ("1 % overtaken by 20 ms", LinkProfile { overtaken: DISTURBED, ..plain }),
        (
            "1 % duplicated, 1 % overtaken",
            LinkProfile { duplicated: DISTURBED, overtaken: DISTURBED, ..plain },
        ),
    ];
    for (case, profile) in disturbances {
        // The short form has both disturbances at once.
        if !full && (profile.duplicated > 0.0) != (profile.overtaken > 0.0) {
            continue;
        }
        report.enter_case(case);
        disturbed(lab, report, profile)?;
    }
    Ok(())
}

fn random(lab: &Lab, report: &mut Report, percent: f64, share: f64) -> Result<()> {
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let scene = Scene::set(lab, &network, "fault-loss", &[], &vec![Watch::recording(); VIEWERS])?;
    let moment = Moment::now();
    network.hosts().iter().try_for_each(|host| host.set_ingress_faults(&Faults::loss(percent)))?;
    moment.run_until(span(report, 8, 60).as_secs_f64());
    let repaired = scene.viewers.iter().map(|viewer| {
        let stats = viewer.member.snapshot()?.stats;
        Ok(stats.number("repaired_by_parity").unwrap_or(f64::NAN)
            / stats.number("repaired").unwrap_or(f64::NAN))
    });
    let repaired: Vec<f64> = repaired.collect::<Result<_>>()?;
    let mean = repaired.iter().sum::<f64>() / VIEWERS as f64 * 100.0;
    add_outcome(report, moment, &scene, share)?;
    report.add("repairs that parity made", mean, Unit::Percent, Goal::None);
    Ok(())
}

fn disturbed(lab: &Lab, report: &mut Report, profile: LinkProfile) -> Result<()> {
    let network = Network::switched(lab, VIEWERS + 1, LinkProfile::default())?;
    let scene = Scene::set(lab, &network, "fault-loss", &[], &vec![Watch::recording(); VIEWERS])?;
    let switch = network.switch().context("a switched network has a switch")?;
    let moment = Moment::now();
    switch.set_profile(0, profile);
    moment.run_until(span(report, 6, 30).as_secs_f64());
    let disturbed = switch.disturbed() as f64;
    add_outcome(report, moment, &scene, 0.0)?;
    report.add("packets duplicated or overtaken", disturbed, Unit::Count, Goal::None);
    Ok(())
}

/// Adds what is missing, and whether the verdicts say so and no more.
fn add_outcome(report: &mut Report, moment: Moment, scene: &Scene, share: f64) -> Result<()> {
    let comparisons = scene.recorded()?;
    let missing: usize = comparisons.iter().map(Comparison::missing).sum();
    let units: usize = comparisons.iter().map(Comparison::units).sum();
    let percent = missing as f64 * 100.0 / (missing + units) as f64;
    report.add("access units missing behind repair", percent, Unit::Percent, Goal::AtMost(share));
    let wrong = comparisons.iter().map(Comparison::wrong).sum();
    add_none(report, "extra, double or out of order", wrong);
    let degraded = |viewer: &Viewer| {
        moment.all(viewer, "verdict").iter().any(|event| event.text("to") == Some("degraded"))
    };
    let (mut lacking, mut told) = (0, 0);
    for (viewer, comparison) in scene.viewers.iter().zip(&comparisons) {
        lacking += usize::from(comparison.missing() > 0);
        told += usize::from(comparison.missing() > 0 && degraded(viewer));
    }
    add_all(report, "viewers told degraded where something is missing", told, lacking);
    add_none(report, "times starved or dead", moment.alarms(&scene.viewers));
    Ok(())
}
