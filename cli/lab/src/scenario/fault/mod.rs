//! Faults in mid-stream, and what must be told of them: the words that these scenarios share.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{let_run, ranks};
use crate::clip::Clip;
use crate::clock;
use crate::compare::{Comparison, Source};
use crate::event::Event;
use crate::lab::Lab;
use crate::network::Network;
use crate::process::Process;
use crate::report::{Goal, Report, Unit};
use crate::swarm::{PATIENCE, Publisher, Swarm, Viewer, Watch};

pub(super) mod cost;
pub(super) mod end;
pub(super) mod foreign;
pub(super) mod forgery;
pub(super) mod kill;
pub(super) mod local;
pub(super) mod loss;
pub(super) mod multicast;
pub(super) mod origin;
pub(super) mod overrun;
pub(super) mod restart;
pub(super) mod sessions;
pub(super) mod silence;
pub(super) mod snooping;

/// Longest beyond its goal that an event is waited for: more than the slack of the short form grants.
const AWAITED: f64 = 10.0;

/// `--hold-down` of the scenarios that wait for the return to a better path.
const HOLD_DOWN: f64 = 2.0;

/// By when a viewer is back on the better path: the hold-down, and a second in which it is seen to deliver.
const RETURN: f64 = HOLD_DOWN + 1.0;

/// A group that is named, where the lab itself listens or sends.
const GROUP_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(239, 255, 7, 7);
const GROUP_PORT: u16 = 24_600;

/// A stream of 8 Mbit/s on the first host of a network, watched by multicast on the hosts behind it.
struct Scene<'a> {
    swarm: Swarm<'a>,
    source: Source,
    publisher: Publisher<'a>,
    viewers: Vec<Viewer<'a>>,
}

impl<'a> Scene<'a> {
    /// Publishes with further `words`, and waits until each of `watches` gets the stream by multicast.
    fn set(lab: &Lab, network: &'a Network, name: &str, words: &[&str], watches: &[Watch]) -> Result<Self> {
        Self::set_for(Swarm::new(lab, network, name)?, lab, words, watches)
    }

    /// As [`Scene::set`], for a swarm that has published before: by the same key again.
    fn set_for(swarm: Swarm<'a>, lab: &Lab, words: &[&str], watches: &[Watch]) -> Result<Self> {
        let clip = Clip::STANDARD.file(lab)?;
        let source = Source::read(&clip)?;
        let file = clip.to_string_lossy();
        let publisher = swarm.publish(0, &[&[&*file, "--loop"], words].concat())?;
        let watch = |(index, watch)| swarm.watch(index + 1, watch);
        let viewers: Vec<Viewer> = watches.iter().enumerate().map(watch).collect::<Result<_>>()?;
        let scene = Self { swarm, source, publisher, viewers };
        scene.viewers.iter().try_for_each(settle)?;
        Ok(scene)
    }

    /// Lets the viewers record for `time`, so that there is something in front of the fault.
    fn play(&self, seconds: f64) {
        let_run(Duration::from_secs_f64(seconds));
    }

    /// Ends the viewers and tells how their recordings differ from the source.
    fn recorded(&self) -> Result<Vec<Comparison>> {
        self.viewers.iter().map(|viewer| recorded(viewer, &self.source)).collect()
    }
}

/// Ends a viewer and tells how its recording differs from the source.
fn recorded(viewer: &Viewer, source: &Source) -> Result<Comparison> {
    viewer.stop()?;
    source.compare(viewer.recording()?)
}

/// Waits until a viewer says that it gets the stream by multicast.
pub(super) fn settle(viewer: &Viewer) -> Result<()> {
    let by_multicast = |stats: &Event| {
        stats.text("health/path") == Some("multicast")
            && stats.text("health/multicast") == Some("delivering")
            && stats.text("health/verdict") == Some("live")
    };
    let process = &viewer.member.process;
    process.wait_event_where("stats", PATIENCE, by_multicast).context("it never gets multicast").map(drop)
}

/// Words that name the group by its address.
fn named_group() -> [String; 2] {
    ["--multicast".to_owned(), format!("{GROUP_ADDRESS}:{GROUP_PORT}")]
}

/// A moment at which something was done to the scene: what follows is timed from here.
#[derive(Clone, Copy, Debug)]
struct Moment {
    t: f64,
}

impl Moment {
    fn now() -> Self {
        Self { t: clock::monotonic() }
    }

    /// Lets the stream run until so many seconds behind this moment.
    fn run_until(self, seconds: f64) {
        let_run(Duration::from_secs_f64((self.t + seconds - clock::monotonic()).max(0.0)));
    }

    /// The first event from here on that is `wanted`, if it comes within ten seconds beyond `limit`.
    fn event(
        self,
        process: &Process,
        name: &str,
        limit: f64,
        wanted: impl Fn(&Event) -> bool,
    ) -> Option<Event> {
        let patience = (self.t + limit + AWAITED - clock::monotonic()).max(0.0);
        let wanted = |event: &Event| event.t() >= self.t && wanted(event);
        process.wait_event_where(name, Duration::from_secs_f64(patience), wanted).ok()
    }

    /// The first verdict `to`, from here on.
    fn verdict(self, viewer: &Viewer, to: &str, limit: f64) -> Option<Event> {
        self.event(&viewer.member.process, "verdict", limit, |event| event.text("to") == Some(to))
    }

    /// The first change to one of these paths, from here on.
    fn path(self, viewer: &Viewer, to: &[&str], limit: f64) -> Option<Event> {
        let wanted = |event: &Event| event.text("to").is_some_and(|path| to.contains(&path));
        self.event(&viewer.member.process, "path", limit, wanted)
    }

    /// Seconds from here until the viewer says that it plays; none if it has said nothing else since `fault`.
    fn recovered(self, viewer: &Viewer, fault: Self, limit: f64) -> f64 {
        let last = fault.all(viewer, "verdict").pop();
        match last.as_ref().and_then(|event| event.text("to")) {
            None | Some("live" | "degraded") => last.map_or(0.0, |event| (event.t() - self.t).max(0.0)),
            Some(_) => self.seconds(self.verdict(viewer, "live", limit).as_ref()),
        }
    }

    /// Seconds from here to the event; without one, for ever.
    fn seconds(self, event: Option<&Event>) -> f64 {
        event.map_or(f64::INFINITY, |event| event.t() - self.t)
    }

    /// All events of a kind from here on.
    fn all(self, viewer: &Viewer, name: &str) -> Vec<Event> {
        let mut events = viewer.member.process.events(name);
        events.retain(|event| event.t() >= self.t);
        events
    }

    /// Verdicts from here on that tell a reason, and not that the viewer's own process was too slow.
    fn not_local(self, viewer: &Viewer) -> usize {
        let other = |event: &&Event| event.text("reason").is_some_and(|reason| reason != "overrun");
        self.all(viewer, "verdict").iter().filter(other).count()
    }

    /// Verdicts from here on that alarm: the stream is said to be starved or dead.
    fn alarms(self, viewers: &[Viewer]) -> usize {
        let alarm = |event: &&Event| matches!(event.text("to"), Some("starved" | "dead"));
        viewers.iter().map(|viewer| self.all(viewer, "verdict").iter().filter(alarm).count()).sum()
    }
}

/// The longest of some times; without any, for ever.
fn longest(times: impl IntoIterator<Item = f64>) -> f64 {
    times.into_iter().reduce(f64::max).unwrap_or(f64::INFINITY)
}

/// Adds a number of things none of which should be.
fn add_none(report: &mut Report, name: &str, count: usize) {
    report.add(name, count as f64, Unit::Count, Goal::AtMost(0.0));
}

/// Adds of how many things it is true, which should be all of them.
fn add_all(report: &mut Report, name: &str, count: usize, all: usize) {
    report.add(&format!("{name}, of {all}"), count as f64, Unit::Count, Goal::AtLeast(all as f64));
}

/// Adds a time and the most it may be, seconds.
fn add_time(report: &mut Report, name: &str, seconds: f64, limit: f64) {
    report.add(name, seconds, Unit::Seconds, Goal::AtMost(limit));
}

/// Adds the median and the 99th percentile of times, and the most that the latter may be, seconds.
fn add_times(report: &mut Report, name: &str, times: Vec<f64>, limit: f64) {
    let [p50, p99] = ranks(times, [0.5, 0.99]);
    report.add(&format!("{name}, p50"), p50, Unit::Seconds, Goal::None);
    add_time(report, &format!("{name}, p99"), p99, limit);
}

/// Adds what recordings lack and what they have too much.
fn add_recordings(report: &mut Report, comparisons: &[Comparison]) {
    add_none(report, "access units missing", comparisons.iter().map(Comparison::missing).sum());
    add_none(report, "extra, double or out of order", comparisons.iter().map(Comparison::wrong).sum());
}

/// How many viewers told exactly one `closed`, with this cause and reason, and ended with this exit code.
fn closed_well(viewers: &[Viewer], cause: &str, reason: Option<&str>, code: i32) -> usize {
    let well = |viewer: &&Viewer| {
        let process = &viewer.member.process;
        let exit = process.wait_exit(PATIENCE).ok().and_then(|exit| exit.code);
        let told = |event: &Event| event.text("cause") == Some(cause) && event.text("reason") == reason;
        let events = process.events("closed");
        exit == Some(code) && events.len() == 1 && events.iter().all(told)
    };
    viewers.iter().filter(well).count()
}
