//! Multicast stops for one host, for its media alone, or for all: the mesh carries on, and multicast comes back.

use anyhow::Result;

use super::{HOLD_DOWN, Moment, RETURN, Scene, add_all, add_none, add_recordings, add_time, longest};
use crate::event::Event;
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::Report;
use crate::swarm::{Viewer, Watch};

/// Seconds until the fault must be told.
const TOLD: f64 = 0.5;
/// How long it lasts, seconds.
const LASTS: f64 = 3.0;
/// A beacon and a report are shorter, nearly all media is longer, bytes.
const BULK: u16 = 400;

/// Viewers that keep multicast while the first two lose it: as many as a publisher multicasts for.
const OTHERS: usize = 2;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let watch = Watch::recording().with(&["--hold-down", &HOLD_DOWN.to_string()]);
    let watches = vec![watch; 2 + OTHERS];
    let network = Network::bridged(lab, watches.len() + 1)?;
    let scene = Scene::set(lab, &network, "fault-multicast", &[], &watches)?;
    scene.play(1.0);
    let blocked = Moment::now();
    network.host(1).set_ingress_faults(&Faults::block([Blocked::Multicast]))?;
    network.host(2).set_ingress_faults(&Faults::block([Blocked::MulticastAbove(BULK)]))?;
    blocked.run_until(LASTS);
    let healed = Moment::now();
    (1..3).try_for_each(|index| network.host(index).set_ingress_faults(&Faults::default()))?;
    let (struck, others) = scene.viewers.split_at(2);
    for (viewer, case) in struck.iter().zip(["blocked for one host", "media blocked, beacons pass"]) {
        report.enter_case(case);
        add_path(report, std::slice::from_ref(viewer), blocked, healed);
    }
    report.enter_case("blocked for others");
    let moved = others.iter().map(|viewer| blocked.all(viewer, "path").len()).sum();
    add_none(report, "changes of path", moved);
    add_none(report, "times starved or dead", blocked.alarms(&scene.viewers));
    report.enter_case("blocked for one host, or its media");
    add_recordings(report, &scene.recorded()?);

    report.enter_case("blocked for all");
    let network = Network::bridged(lab, watches.len() + 1)?;
    let scene = Scene::set(lab, &network, "fault-multicast-all", &[], &watches)?;
    scene.play(1.0);
    let blocked = Moment::now();
    network.host(0).set_egress_faults(&Faults::block([Blocked::Multicast]))?;
    blocked.run_until(LASTS);
    let healed = Moment::now();
    network.host(0).set_egress_faults(&Faults::default())?;
    add_path(report, &scene.viewers, blocked, healed);
    add_none(report, "times starved or dead", blocked.alarms(&scene.viewers));
    add_recordings(report, &scene.recorded()?);
    Ok(())
}

/// Adds when these viewers told that multicast fell silent, and when they were back on it.
fn add_path(report: &mut Report, viewers: &[Viewer], blocked: Moment, healed: Moment) {
    let events: Vec<Option<Event>> =
        viewers.iter().map(|viewer| blocked.path(viewer, &["mesh", "unicast"], TOLD)).collect();
    let told = longest(events.iter().map(|event| blocked.seconds(event.as_ref())));
    add_time(report, "multicast's end told behind the block", told, TOLD);
    // Sound in short blocks may pass where media is blocked by its size: that is loss, and no silence.
    let named = |event: &&Event| {
        event.text("from") == Some("multicast")
            && matches!(event.text("cause"), Some("multicast-silent" | "multicast-lossy"))
    };
    let named = events.iter().flatten().filter(named).count();
    add_all(report, "viewers that name multicast as the cause", named, viewers.len());
    let back = viewers.iter().map(|viewer| healed.path(viewer, &["multicast"], RETURN));
    let back = longest(back.map(|event| healed.seconds(event.as_ref())));
    add_time(report, "back on multicast behind the healing", back, RETURN);
}
