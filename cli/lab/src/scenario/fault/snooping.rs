//! A switch that snoops forgets a host, since its queries no longer get there; the viewer joins again by itself.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{GROUP_ADDRESS, GROUP_PORT, Moment, Scene, add_none, add_recordings, add_time, named_group};
use crate::faults::{Blocked, Faults};
use crate::host::Host;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::scenario::span;
use crate::swarm::Watch;

const VIEWERS: usize = 2;
/// The host whose plain receiver shows what befalls who does nothing.
const CONTROL: usize = VIEWERS + 1;

/// Longest that a viewer may be without multicast, seconds.
const REJOINED: f64 = 1.0;
/// For at least so long must the plain receiver be without it, seconds.
const CONTROL_SILENT: f64 = 3.0;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("no queries reach the host");
    let network = Network::snooped(lab, CONTROL + 1)?;
    let [flag, group] = named_group();
    let watches = vec![Watch::recording().with(&[&flag, &group]); VIEWERS];
    let scene = Scene::set(lab, &network, "fault-snooping", &[&flag, &group], &watches)?;
    let _listener = plain_receiver(network.host(CONTROL))?;
    for index in [1, CONTROL] {
        network.host(index).watch_group(GROUP_ADDRESS)?;
        network.host(index).set_ingress_faults(&Faults::block([Blocked::Queries]))?;
    }
    let moment = Moment::now();
    let mut viewer = Silence::begin(network.host(1))?;
    let mut control = Silence::begin(network.host(CONTROL))?;
    let end = Instant::now() + span(report, 15, 60);
    while Instant::now() < end {
        viewer.look()?;
        control.look()?;
    }
    report.add(
        "plain receiver silent at the end",
        control.now(),
        Unit::Seconds,
        Goal::AtLeast(CONTROL_SILENT),
    );
    add_time(report, "viewer's host without multicast, at most", viewer.longest, REJOINED);
    let suspicion = |event: &crate::event::Event| event.text("reason") == Some("querier-timeout-suspected");
    let told = moment.all(&scene.viewers[0], "path_verdict").iter().filter(|event| suspicion(event)).count();
    report.add("times that the viewer suspects the querier", told as f64, Unit::Count, Goal::AtLeast(1.0));
    add_none(report, "times starved or dead", moment.alarms(&scene.viewers));
    add_recordings(report, &scene.recorded()?);
    Ok(())
}

/// A socket that joins the group and does nothing more.
fn plain_receiver(host: &Host) -> Result<UdpSocket> {
    let joined = host.namespace().enter(|| {
        let socket = UdpSocket::bind((GROUP_ADDRESS, GROUP_PORT))?;
        socket.join_multicast_v4(&GROUP_ADDRESS, &host.address())?;
        std::io::Result::Ok(socket)
    })?;
    Ok(joined?)
}

/// How long a host gets nothing of the group, seen from its interface.
struct Silence<'a> {
    host: &'a Host,
    counted: u64,
    since: Instant,
    /// The longest silence that is over, seconds.
    longest: f64,
}

impl<'a> Silence<'a> {
    fn begin(host: &'a Host) -> Result<Self> {
        Ok(Self { host, counted: host.group_datagrams()?, since: Instant::now(), longest: 0.0 })
    }

    fn look(&mut self) -> Result<()> {
        std::thread::sleep(Duration::from_millis(20));
        let counted = self.host.group_datagrams()?;
        if counted > self.counted {
            self.longest = self.longest.max(self.now());
            (self.counted, self.since) = (counted, Instant::now());
        }
        Ok(())
    }

    /// How long it is silent by now, seconds.
    fn now(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }
}
