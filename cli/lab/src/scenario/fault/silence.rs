//! The publisher's source falls silent: that is a pause, not a fault.

use anyhow::Result;

use super::{Moment, add_none, add_time, longest, settle};
use crate::clip::Clip;
use crate::feed::TransportStream;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::Report;
use crate::swarm::{Swarm, Watch};

const VIEWERS: usize = 3;

/// How long the source is silent: longer than it takes to be called dead, seconds.
const SILENT: f64 = 6.0;
/// Seconds until viewers know that the publisher pauses, and that it goes on.
const TOLD: f64 = 1.0;

/// What the source has to say, seconds.
const LENGTH: u32 = 60;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("source silent for 6 s");
    let network = Network::bridged(lab, VIEWERS + 1)?;
    let swarm = Swarm::new(lab, &network, "fault-silence")?;
    let stream = TransportStream::of(lab, &Clip::STANDARD, LENGTH)?;
    let (publisher, feed) = swarm.publish_feed(0, stream, &[])?;
    let viewers = swarm.watch_all(1..VIEWERS + 1, &Watch::default())?;
    viewers.iter().try_for_each(settle)?;

    let silent = Moment::now();
    feed.set_paused(true);
    let paused = viewers.iter().map(|viewer| silent.verdict(viewer, "paused", TOLD));
    let paused = longest(paused.map(|event| silent.seconds(event.as_ref())));
    add_time(report, "paused behind the silence", paused, TOLD);
    silent.run_until(SILENT);
    let again = Moment::now();
    feed.set_paused(false);
    let live = viewers.iter().map(|viewer| again.verdict(viewer, "live", TOLD));
    let live = longest(live.map(|event| again.seconds(event.as_ref())));
    add_time(report, "live behind the end of the silence", live, TOLD);
    add_none(report, "times starved or dead", silent.alarms(&viewers));
    let falls = viewers.iter().map(|viewer| silent.all(viewer, "path").len()).sum();
    add_none(report, "changes of path", falls);
    let closed = viewers.iter().map(|viewer| viewer.member.process.events("closed").len()).sum();
    add_none(report, "subscriptions closed", closed);
    // The reader of the pipe goes first, so that the feed has nobody left to wait for.
    drop(publisher);
    Ok(())
}
