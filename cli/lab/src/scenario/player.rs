//! What a viewer sees and hears on a bad network, as the headless player measures it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::fault::settle;
use super::{is_full, let_run, span};
use crate::clip::Clip;
use crate::clock;
use crate::event::Event;
use crate::faults::{Blocked, Faults};
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{Swarm, Viewer, Watch};
use crate::switch::LinkProfile;

/// The group of a stream that is multicast for a single viewer too.
const GROUP: &str = "239.255.7.9:24600";
/// Jitter that the shortest usual playout delay bears.
const JITTER: Duration = Duration::from_millis(30);
const SHORT_DELAY: Duration = Duration::from_millis(100);
/// The burst, and how long it lasts.
const BURST: Duration = Duration::from_millis(300);
const BURST_LASTS: Duration = Duration::from_secs(2);
/// By when the jitter buffer is as it was, behind the burst, seconds.
const BACK: f64 = 20.0;
/// A buffer that is longer by no more than this is as it was: half a picture.
const GROWN_NEAR: f64 = 0.02;

/// Pictures of the clip a second, and the least of them that is to be shown, percent: what comes too late for so short
/// a delay is left out.
const PICTURES_PER_SECOND: f64 = 25.0;
const SHOWN: f64 = 90.0;

/// Playout delay of the fallback, and the longest that a picture may stand, seconds.
const FALLBACK_DELAY: Duration = Duration::from_millis(500);
const STOOD: f64 = 0.2;
/// Most that pictures and sound may part, milliseconds: on average and at worst.
const PARTED: (f64, f64) = (20.0, 40.0);
/// Until a joiner's playing is even: the first seconds are caught up with.
const EVEN: Duration = Duration::from_secs(12);

/// Runs the scenario.
pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    jitter(lab, report, "by multicast", &["--multicast", GROUP])?;
    if is_full(report) {
        jitter(lab, report, "by the mesh", &["--multicast", "off"])?;
    }
    fallback(lab, report)
}

/// Jitter and loss, and then a burst of it, on the path that `words` choose.
fn jitter(lab: &Lab, report: &mut Report, path: &str, words: &[&str]) -> Result<()> {
    let line = LinkProfile { jitter: JITTER, loss: 0.01, ..LinkProfile::default() };
    let network = Network::switched(lab, 2, line)?;
    let swarm = Swarm::new(lab, &network, "player-jitter")?;
    let clip = Clip::MEDIUM.file(lab)?;
    let _publisher = swarm.publish(0, &[&[&*clip.to_string_lossy(), "--loop"], words].concat())?;
    let watch = Watch { playout_delay: SHORT_DELAY, ..Watch::default() }.with(words);
    let viewers = swarm.watch_all(1..2, &watch)?;
    let viewer = viewers.first().context("there is a viewer")?;
    let_run(EVEN);
    report.enter_case(format!("30 ms jitter, 1 % loss, 100 ms playout delay, {path}"));
    let before = told(viewer)?;
    let_run(span(report, 15, 120));
    let after = told(viewer)?;
    let minutes = (after.t() - before.t()) / 60.0;
    let grew = |name: &str| Ok::<_, anyhow::Error>(number(&after, name)? - number(&before, name)?);
    let underruns = grew("player/underruns")? / minutes;
    report.add("underruns a minute", underruns, Unit::Count, Goal::AtMost(0.0));
    let shown = grew("player/pictures_shown")? / (PICTURES_PER_SECOND * (after.t() - before.t())) * 100.0;
    report.add("pictures shown", shown, Unit::Percent, Goal::AtLeast(SHOWN));
    report.add("buffer grown by", number(&after, "player/grown")? * 1e3, Unit::Milliseconds, Goal::None);

    report.enter_case(format!("a burst of 300 ms jitter, {path}"));
    let switch = network.switch().context("the network has a switch")?;
    (0..2).for_each(|host| switch.set_profile(host, LinkProfile { jitter: BURST, ..line }));
    let_run(BURST_LASTS);
    (0..2).for_each(|host| switch.set_profile(host, line));
    let over = clock::monotonic();
    let grown = |event: &Event| event.number("player/grown").unwrap_or(f64::INFINITY);
    let process = &viewer.member.process;
    let near = number(&after, "player/grown")? + GROWN_NEAR;
    let back = process.wait_event_where("stats", Duration::from_secs_f64(2.0 * BACK), |stats| {
        stats.t() > over + 1.0 && grown(stats) <= near
    })?;
    let most =
        process.events("stats").iter().filter(|stats| stats.t() > after.t()).map(grown).fold(0.0, f64::max);
    report.add("buffer grown by the burst", most * 1e3, Unit::Milliseconds, Goal::None);
    report.add("buffer as before behind it", (back.t() - over) / BACK, Unit::Ratio, Goal::AtMost(1.0));
    viewer.stop().map(drop)
}

/// The publisher can be reached by unicast alone from some moment on.
fn fallback(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("by unicast alone from some moment on, 500 ms playout delay");
    let network = Network::bridged(lab, 3)?;
    let swarm = Swarm::new(lab, &network, "player-fallback")?;
    let _publisher = swarm.publish_loop(0, &Clip::MEDIUM.file(lab)?)?;
    let watch = Watch { playout_delay: FALLBACK_DELAY, ..Watch::default() };
    let viewers = swarm.watch_all(1..3, &watch)?;
    viewers.iter().try_for_each(settle)?;
    let_run(EVEN);
    let before = viewers.iter().map(told).collect::<Result<Vec<_>>>()?;
    for index in 1..3 {
        let faults = Faults::block([Blocked::Multicast, Blocked::UnicastOf(3 - index)]);
        network.host(index).set_ingress_faults(&faults)?;
    }
    let_run(span(report, 6, 30));
    for (viewer, before) in viewers.iter().zip(&before) {
        let after = told(viewer)?;
        let name = |what: &str| format!("{}: {what}", viewer.member.process.label());
        let path = after.text("health/path").unwrap_or_default();
        let left = f64::from(u8::from(path != "multicast"));
        report.add(&name("left multicast"), left, Unit::Count, Goal::AtLeast(1.0));
        let since = |stats: &Event| stats.t() >= before.t();
        let all: Vec<Event> = viewer.member.process.events("stats").into_iter().filter(since).collect();
        let most = |path: &str, scale: f64| {
            let told = all.iter().filter_map(|stats| stats.number(path));
            told.map(f64::abs).fold(0.0, f64::max) * scale
        };
        let stood = most("player/stood", 1.0);
        report.add(&name("longest gap in pictures"), stood, Unit::Seconds, Goal::AtMost(STOOD));
        let repeated = number(&after, "player/pictures_repeated")?;
        report.add(&name("pictures repeated"), repeated, Unit::Count, Goal::AtMost(0.0));
        let (mean, worst) = (most("player/av_offset", 1e3), most("player/av_offset_worst", 1e3));
        let apart = |what: &str| name(&format!("pictures and sound apart, {what}"));
        report.add(&apart("mean"), mean, Unit::Milliseconds, Goal::AtMost(PARTED.0));
        report.add(&apart("worst"), worst, Unit::Milliseconds, Goal::AtMost(PARTED.1));
    }
    viewers.iter().try_for_each(|viewer| viewer.stop().map(drop))
}

/// The next `stats` of a viewer.
fn told(viewer: &Viewer) -> Result<Event> {
    viewer.member.snapshot().map(|snapshot| snapshot.stats)
}

fn number(stats: &Event, path: &str) -> Result<f64> {
    stats.number(path).with_context(|| format!("`stats` does not tell `{path}`"))
}
