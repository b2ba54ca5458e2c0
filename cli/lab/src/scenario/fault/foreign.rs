//! Everything of the stream is blocked: the caller's own URL plays, from a server on another host.

use anyhow::{Context, Result};

use super::{HOLD_DOWN, Moment, RETURN, Scene, add_none, add_time};
use crate::clip::Clip;
use crate::faults::{Blocked, Faults};
use crate::feed::{HttpServer, TransportStream};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::Watch;

/// Viewers; the first has a URL to fall back to, and loses all others.
const VIEWERS: usize = 2;
const SERVER: usize = VIEWERS + 1;

/// Seconds until the foreign source plays.
const PLAYS: f64 = 3.0;
/// How long the block lasts: longer than a stream without a foreign source would live, seconds.
const LASTS: f64 = 7.0;
/// What the server has, seconds.
const LENGTH: u32 = 60;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("everything blocked, --fallback-url");
    let network = Network::bridged(lab, SERVER + 1)?;
    let server = HttpServer::start(network.host(SERVER), TransportStream::of(lab, &Clip::SLOW, LENGTH)?)?;
    let words = ["--hold-down", &HOLD_DOWN.to_string(), "--fallback-url", &server.url()];
    let watches = [Watch::recording().with(&words), Watch::default()];
    let scene = Scene::set(lab, &network, "fault-foreign", &[], &watches)?;
    let viewer = scene.viewers.first().context("there are viewers")?;
    add_none(report, "bytes fetched while all is well", server.served() as usize);

    let blocked = Moment::now();
    let lost = [Blocked::UnicastOf(0), Blocked::UnicastOf(2), Blocked::Multicast];
    network.host(1).set_ingress_faults(&Faults::block(lost))?;
    let foreign = blocked.path(viewer, &["foreign"], PLAYS);
    add_time(report, "foreign source told behind the block", blocked.seconds(foreign.as_ref()), PLAYS);
    blocked.run_until(PLAYS);
    let playing = f64::from(u8::from(server.served() > 0));
    report.add("foreign source plays 3 s behind the block", playing, Unit::Count, Goal::AtLeast(1.0));
    blocked.run_until(LASTS);
    let healed = Moment::now();
    network.host(1).set_ingress_faults(&Faults::default())?;
    let back = healed.path(viewer, &["multicast", "mesh", "unicast"], RETURN);
    add_time(report, "back on the stream behind the healing", healed.seconds(back.as_ref()), RETURN);
    healed.run_until(RETURN);
    add_none(report, "subscriptions closed", blocked.all(viewer, "closed").len());
    viewer.stop()?;
    let comparison = scene.source.compare(viewer.recording()?)?;
    let foreign = comparison.tracks.iter().map(|track| track.extra).sum::<usize>();
    // Where its tracks differ, the recording goes on in another file.
    let parts = blocked.all(viewer, "part").len();
    report.add("foreign units or parts recorded", (foreign + parts) as f64, Unit::Count, Goal::AtLeast(1.0));
    let double = comparison.tracks.iter().map(|track| track.double + track.out_of_order).sum();
    add_none(report, "access units of the stream double or out of order", double);
    Ok(())
}
