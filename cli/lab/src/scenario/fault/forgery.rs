//! A host without the key multicasts lies to the stream's own group: none is believed, and no verdict moves.
//!
//! It sends what it recorded of an epoch that is over; altered copies of all that it hears, be it media, headers,
//! beacons or catalogues; and a whole stream of the same name by another key, from the shipped binary.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{GROUP_ADDRESS, GROUP_PORT, Moment, Scene, add_none, add_recordings, named_group, settle};
use crate::clip::Clip;
use crate::host::Host;
use crate::lab::Lab;
use crate::network::Network;
use crate::report::{Goal, Report, Unit};
use crate::scenario::span;
use crate::swarm::{Snapshot, Swarm, Watch};

const VIEWERS: usize = 3;
const FORGER: usize = VIEWERS + 1;
const IMPOSTOR: usize = VIEWERS + 2;

/// Datagrams that the forger remembers of the old epoch.
const REMEMBERED: usize = 500;
/// Longest that it waits for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// A datagram's type stands in front; what is altered lies behind it.
const TYPE_BYTES: usize = 8;

/// Runs the scenario.
pub(in crate::scenario) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    report.enter_case("forged, altered and old datagrams in the group");
    let network = Network::bridged(lab, IMPOSTOR + 1)?;
    let [flag, group] = named_group();
    let words = [&*flag, &*group];
    let mut forger = Forger::listen(network.host(FORGER))?;
    let swarm = Swarm::new(lab, &network, "fault-forgery")?;
    let clip = Clip::STANDARD.file(lab)?;
    let past = swarm.publish(0, &[&[&*clip.to_string_lossy(), "--loop"], &words[..]].concat())?;
    let witness = swarm.watch(1, &Watch::default().with(&words))?;
    settle(&witness)?;
    forger.remember()?;
    witness.stop()?;
    past.stop()?;

    let watches = vec![Watch::recording().with(&words); VIEWERS];
    let scene = Scene::set_for(swarm, lab, &words, &watches)?;
    let snapshots =
        || -> Result<Vec<Snapshot>> { scene.viewers.iter().map(|viewer| viewer.member.snapshot()).collect() };
    let before = snapshots()?;
    let moment = Moment::now();
    let clip = Clip::MEDIUM.file(lab)?;
    let _impostor =
        scene.swarm.publish(IMPOSTOR, &[&[&*clip.to_string_lossy(), "--loop"], &words[..]].concat())?;
    let sent = forger.lie(span(report, 8, 30))?;
    report.add("lies sent by the forger", sent as f64, Unit::Count, Goal::AtLeast(1_000.0));
    let after = snapshots()?;
    for (counter, goal) in
        [("forged", Goal::AtLeast(1.0)), ("replay", Goal::AtLeast(1.0)), ("malformed", Goal::None)]
    {
        let grown = before.iter().zip(&after).map(|(before, after)| after.growth(before, &[counter]));
        let least = grown.collect::<Result<Vec<f64>>>()?.into_iter().fold(f64::INFINITY, f64::min);
        report.add(&format!("`{counter}` at the viewer that counted least"), least, Unit::Count, goal);
    }
    let verdicts = scene.viewers.iter().map(|viewer| moment.all(viewer, "verdict").len()).sum();
    add_none(report, "verdicts moved", verdicts);
    let resets = scene.viewers.iter().map(|viewer| moment.all(viewer, "reset").len()).sum();
    add_none(report, "resets told", resets);
    let moved = scene.viewers.iter().map(|viewer| moment.all(viewer, "path").len()).sum();
    add_none(report, "changes of path", moved);
    add_recordings(report, &scene.recorded()?);
    Ok(())
}

/// A socket in the group, on a host that knows no key.
struct Forger {
    socket: UdpSocket,
    remembered: Vec<Vec<u8>>,
}

impl Forger {
    fn listen(host: &Host) -> Result<Self> {
        let joined = host.namespace().enter(|| {
            let socket = UdpSocket::bind((GROUP_ADDRESS, GROUP_PORT))?;
            socket.join_multicast_v4(&GROUP_ADDRESS, &host.address())?;
            socket.set_multicast_loop_v4(false)?;
            std::io::Result::Ok(socket)
        })?;
        let socket = joined?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, remembered: Vec::new() })
    }

    fn hear(&self) -> Result<Vec<u8>> {
        let mut datagram = vec![0; 2_048];
        let length = self.socket.recv(&mut datagram)?;
        datagram.truncate(length);
        Ok(datagram)
    }

    fn remember(&mut self) -> Result<()> {
        while self.remembered.len() < REMEMBERED {
            let heard = self.hear()?;
            self.remembered.push(heard);
        }
        Ok(())
    }

    /// For each datagram that it hears sends one that is old and one that is altered; tells how many in all.
    fn lie(&mut self, time: Duration) -> Result<usize> {
        ensure!(!self.remembered.is_empty(), "the forger has heard nothing");
        let end = Instant::now() + time;
        let mut sent = 0;
        while Instant::now() < end {
            let mut altered = self.hear()?;
            let behind = altered.len().saturating_sub(TYPE_BYTES).max(1);
            if let Some(byte) = altered.get_mut(TYPE_BYTES + sent * 31 % behind) {
                *byte ^= 1 << (sent % 8);
            }
            // Two lies a turn: each of them is sent in its turn, odd or even.
            let old = &self.remembered[sent / 2 % self.remembered.len()];
            for lie in [&altered, old] {
                self.socket.send_to(lie, (GROUP_ADDRESS, GROUP_PORT))?;
                sent += 1;
            }
        }
        Ok(sent)
    }
}
