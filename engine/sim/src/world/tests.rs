//! The world under a stand-in that does nothing but dial, send and listen.

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use swarmcast_core::ids::{ChannelId, Now, PathId};
use swarmcast_core::multicast::MulticastGroup;
use swarmcast_core::node::{Action, Announcement, Batch, ConnectError, Event, ProbeOutcome};

use super::*;
use crate::link::{LossModel, RateModel};
use crate::network::{Between, Firewall, HostId};
use crate::oracle::Breach;

const MS: Duration = Duration::from_millis(1);

/// Inputs that a stand-in may get before anybody reads of them.
const LOGGED_MAX: usize = 100_000;

/// What a stand-in got.
struct Log {
    news: Receiver<(Now, Input)>,
    read: RefCell<Vec<(Now, Input)>>,
}

impl Log {
    fn look(&self) -> Ref<'_, Vec<(Now, Input)>> {
        self.read.borrow_mut().extend(self.news.try_iter());
        self.read.borrow()
    }
}

/// What a probe does on each session it has dialled, and on each multicast path.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    dials: bool,
    multicasts: bool,
    /// Multicast datagrams each second.
    every_second: u32,
    messages: u32,
    datagrams: u32,
    datagram_bytes: usize,
    always_late: bool,
}

#[derive(Debug)]
struct Probe {
    plan: Plan,
    log: SyncSender<(Now, Input)>,
    actions: VecDeque<Action>,
    queued: BTreeMap<PathId, VecDeque<Bytes>>,
    ready: VecDeque<PathId>,
    due: Option<(Now, PathId)>,
}

impl Process for Probe {
    fn handle(&mut self, now: Now, input: Input) {
        match &input {
            Input::WallClock(_) => {
                self.actions.push_back(Action::Announce(Announcement::default()));
                if self.plan.multicasts {
                    let groups = MulticastGroup::derive(GroupSpec::open("world").unwrap().id(), "live");
                    let (channel, groups) = (ChannelId(1), groups.to_vec());
                    self.actions.push_back(Action::OpenMulticast { channel, groups });
                }
            }
            Input::MulticastUp { path, .. } if self.plan.every_second > 0 => {
                self.due = Some((now.after(MS * 1_000), *path));
            }
            Input::Timeout => {
                if let Some((at, path)) = self.due.filter(|(at, _)| *at <= now) {
                    let datagram = Bytes::from(vec![0; self.plan.datagram_bytes]);
                    self.queued
                        .entry(path)
                        .or_default()
                        .extend(std::iter::repeat_n(datagram, self.plan.every_second as usize));
                    self.ready.push_back(path);
                    self.due = Some((at.after(MS * 1_000), path));
                }
            }
            Input::Sighted(sighting) if self.plan.dials => {
                self.actions.push_back(Action::Connect { peer: sighting.peer, addresses: Vec::new() });
            }
            Input::Connected { path, dialed: true, .. } => {
                let messages = (0..self.plan.messages).map(|n| Bytes::from(n.to_be_bytes().repeat(700)));
                self.actions.extend(messages.map(|message| Action::Control { path: *path, message }));
                let datagram = Bytes::from(vec![0; self.plan.datagram_bytes]);
                self.queued.insert(*path, (0..self.plan.datagrams).map(|_| datagram.clone()).collect());
                self.ready.push_back(*path);
            }
            _ => {}
        }
        self.log.try_send((now, input)).expect("room");
    }

    fn poll_event(&mut self) -> Option<Event> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_ready(&mut self) -> Option<PathId> {
        self.ready.pop_front()
    }

    fn fill(&mut self, _: Now, path: PathId, budget_bytes: usize, batch: &mut Batch) {
        let fit = budget_bytes / self.plan.datagram_bytes.max(1);
        let queue = self.queued.entry(path).or_default();
        batch.datagrams = queue.drain(..fit.min(queue.len())).collect();
    }

    fn poll_timeout(&self) -> Option<Now> {
        self.plan.always_late.then_some(Now(0)).or(self.due.map(|(at, _)| at))
    }

    fn lingers(&self) -> bool {
        false
    }

    fn stats(&self, _: Now, _: StreamHandle) -> Option<StreamStats> {
        None
    }
}

/// A world of probes whose clocks show true time.
struct Lab {
    world: World,
    logs: Vec<Log>,
    up: RateModel,
}

impl Lab {
    fn new(link: LinkModel) -> Self {
        let world = World::new(WorldConfig { link, ..WorldConfig::new(2) }).unwrap();
        Self { world, logs: Vec::new(), up: RateModel::UNLIMITED }
    }

    fn add(&mut self, plan: Plan) -> HostId {
        let (log, news) = sync_channel(LOGGED_MAX);
        self.logs.push(Log { news, read: RefCell::default() });
        let (actions, queued, ready) = (VecDeque::new(), BTreeMap::new(), VecDeque::new());
        let probe = Probe { plan, log, actions, queued, ready, due: None };
        let peer = PeerId(self.world.dice.key());
        let (clock, oracle) = (HostClock::default(), HostOracle::new(16, 1 << 20));
        let seed = HostSeed { peer, clock, oracle, is_hostile: false };
        let unlimited = HostConfig { up: self.up, ..HostConfig::default() };
        self.world.add_process(&unlimited, seed, Box::new(probe))
    }

    /// Lets a host ask for a probe of another one.
    fn ask(&mut self, host: HostId, of: HostId) {
        let peer = self.world.standing(of).peer;
        self.world.with_host(host, |host, shared| host.probe(shared, peer));
    }

    /// Returns when each input of that kind came to a host, in milliseconds.
    fn times(&self, host: HostId, is: fn(&Input) -> bool) -> Vec<u64> {
        let log = self.logs[host.0 as usize].look();
        log.iter().filter(|(_, input)| is(input)).map(|(now, _)| now.0 / 1_000).collect()
    }
}

const SILENT: Plan = Plan {
    dials: false,
    multicasts: false,
    every_second: 0,
    messages: 0,
    datagrams: 0,
    datagram_bytes: 0,
    always_late: false,
};
const DIALER: Plan = Plan { dials: true, ..SILENT };
const LISTENER: Plan = Plan { multicasts: true, ..SILENT };
const SPEAKER: Plan = Plan { every_second: 10, datagram_bytes: 1_000, ..LISTENER };

fn link(latency_ms: u32, loss: f64) -> LinkModel {
    LinkModel { latency: MS * latency_ms, loss: LossModel::Random(loss), ..LinkModel::default() }
}

#[test]
fn a_session_is_up_after_one_and_a_half_round_trips() {
    let mut lab = Lab::new(link(20, 0.0));
    let (listener, dialer) = (lab.add(Plan::default()), lab.add(DIALER));
    lab.world.run_until(MS * 1_000);
    let sighted = lab.times(dialer, |input| matches!(input, Input::Sighted(_)))[0];
    assert!((5..=120).contains(&sighted), "{sighted} ms");
    let up = |host| lab.times(host, |input| matches!(input, Input::Connected { .. }));
    assert_eq!((up(dialer), up(listener)), (vec![sighted + 40], vec![sighted + 60]));
}

#[test]
fn who_cannot_be_reached_cannot_be_connected() {
    let mut lab = Lab::new(link(1, 0.0));
    let (listener, dialer) = (lab.add(Plan::default()), lab.add(DIALER));
    lab.world.run_until(MS * 4);
    lab.world.name_peer(dialer, listener);
    lab.world.shared.network.set_cut(listener, true);
    lab.world.run_until(MS * 6_000);
    let timed_out = |input: &Input| matches!(input, Input::ConnectFailed { why: ConnectError::TimedOut, .. });
    assert_eq!(lab.times(dialer, timed_out), [5_004]);
}

#[test]
fn the_reliable_stream_survives_loss_and_datagrams_do_not() {
    let mut lab = Lab::new(link(10, 0.2));
    let listener = lab.add(Plan::default());
    lab.add(Plan { dials: true, messages: 100, datagrams: 1_000, datagram_bytes: 1_000, ..Plan::default() });
    lab.world.run_until(MS * 30_000);
    let log = lab.logs[listener.0 as usize].look();
    let messages: Vec<u32> = log
        .iter()
        .filter_map(|(_, input)| match input {
            Input::Control { message, .. } => Some(u32::from_be_bytes(*message.first_chunk().unwrap())),
            _ => None,
        })
        .collect();
    assert_eq!(messages, (0..100).collect::<Vec<_>>());
    let datagrams = log.iter().filter(|(_, input)| matches!(input, Input::Datagram { .. })).count();
    assert!((740..860).contains(&datagrams), "{datagrams} of 1,000 at 20 % loss");
}

#[test]
fn a_dead_peer_is_noticed_and_a_short_cut_is_not() {
    let mut lab = Lab::new(link(1, 0.0));
    let (listener, dialer) = (lab.add(Plan::default()), lab.add(DIALER));
    for (at, deed) in [
        (1_000, Deed::Cut(listener, true)),
        (2_000, Deed::Cut(listener, false)),
        (5_000, Deed::Kill(listener)),
    ] {
        lab.world.at(MS * at, deed);
    }
    lab.world.run_until(MS * 20_000);
    let down = |input: &Input| matches!(input, Input::Disconnected { .. });
    assert_eq!(lab.times(dialer, down), [8_000]);
    assert!(lab.times(listener, down).is_empty(), "it was killed");
}

#[test]
fn a_stopped_process_learns_how_late_it_is() {
    let mut lab = Lab::new(link(1, 0.0));
    let (listener, dialer) = (lab.add(Plan::default()), lab.add(DIALER));
    lab.world.at(MS * 1_000, Deed::Pause(listener, MS * 700));
    lab.world.at(MS * 3_000, Deed::Pause(listener, MS * 3_500));
    lab.world.run_until(MS * 10_000);
    let stalled = |input: &Input| matches!(input, Input::Stalled(_));
    assert_eq!(lab.times(listener, stalled), [1_700, 6_500]);
    let down = |input: &Input| matches!(input, Input::Disconnected { .. });
    assert_eq!((lab.times(dialer, down), lab.times(listener, down)), (vec![6_000], vec![6_500]));
}

#[test]
fn broken_contracts_are_reported() {
    let mut lab = Lab::new(link(1, 0.0));
    let spinner = lab.add(Plan { always_late: true, ..Plan::default() });
    let talker = lab.add(Plan { dials: true, datagrams: 1, datagram_bytes: 2_000, ..Plan::default() });
    lab.world.run_until(MS * 200);
    let by = |host| lab.world.violations().iter().find(|v| v.host == host).map(|v| v.breach.clone());
    assert!(matches!(by(spinner), Some(Breach::NoProgress { .. })));
    assert!(matches!(by(talker), Some(Breach::Oversized { bytes: 2_000, limit: 1_162, .. })));
}

fn is_multicast(input: &Input) -> bool {
    matches!(input, Input::Multicast { .. })
}

#[test]
fn multicast_leaves_once_reaches_every_member_and_does_not_come_back() {
    let mut lab = Lab::new(link(2, 0.0));
    lab.up = RateModel::limited(8_000_000);
    let (speaker, near, far) = (lab.add(SPEAKER), lab.add(LISTENER), lab.add(LISTENER));
    let deaf = lab.add(SILENT);
    lab.world.run_until(MS * 1_900);
    let arrived = lab.times(near, is_multicast);
    let spread_ms = arrived[9] - arrived[0];
    assert!(arrived[0] >= 1_003 && spread_ms.abs_diff(9) <= 1, "1.04 ms each: {arrived:?}");
    assert_eq!(lab.times(far, is_multicast), arrived);
    assert!(lab.times(speaker, is_multicast).is_empty() && lab.times(deaf, is_multicast).is_empty());
    let sent = lab.world.multicast_by(speaker);
    assert_eq!((sent.packets, sent.datagram_bytes, sent.wire_bytes), (10, 10_000, 10_420));
}

#[test]
fn a_burst_waits_for_the_access_line_and_nothing_of_it_is_dropped() {
    let mut lab = Lab::new(link(0, 0.0));
    lab.up = RateModel::limited(10_000_000);
    let burst = Plan { every_second: 500, ..SPEAKER };
    let (speaker, listener) = (lab.add(burst), lab.add(LISTENER));
    lab.world.run_until(MS * 1_999);
    assert_eq!(lab.times(listener, is_multicast).len(), 500);
    assert_eq!(lab.world.multicast_by(speaker).dropped, 0);
}

#[test]
fn a_pulled_cable_ends_paths_and_a_plugged_one_begins_others() {
    let mut lab = Lab::new(link(0, 0.0));
    let (_, listener) = (lab.add(SPEAKER), lab.add(LISTENER));
    lab.world.at(MS * 1_500, Deed::Unplug(listener, true));
    lab.world.at(MS * 3_500, Deed::Unplug(listener, false));
    lab.world.run_until(MS * 4_500);
    let seconds: BTreeSet<u64> = lab.times(listener, is_multicast).iter().map(|ms| ms / 1_000).collect();
    assert_eq!(seconds, [1, 4].into());
    let network = |input: &Input| matches!(input, Input::Network { .. });
    assert_eq!(lab.times(listener, network), [0, 1_500, 3_500]);
    let up = |input: &Input| matches!(input, Input::MulticastUp { .. });
    let down = |input: &Input| matches!(input, Input::MulticastDown { .. });
    assert_eq!((lab.times(listener, up), lab.times(listener, down)), (vec![0, 3_500], vec![1_500]));
}

#[test]
fn what_a_stopped_process_did_not_take_in_is_its_own_loss() {
    let mut lab = Lab::new(link(0, 0.0));
    lab.world.shared.config.transport.receive_buffer_bytes = 15_000;
    let (_, listener) = (lab.add(SPEAKER), lab.add(LISTENER));
    lab.world.at(MS * 500, Deed::Pause(listener, MS * 2_000));
    lab.world.run_until(MS * 2_900);
    let log = lab.logs[listener.0 as usize].look();
    let overflow = log.iter().find_map(|(_, input)| match input {
        Input::Overflow { datagrams } => Some(*datagrams),
        _ => None,
    });
    let taken = log.iter().filter(|(_, input)| is_multicast(input)).count();
    assert_eq!((taken, overflow), (15, Some(5)));
}

#[test]
fn a_probe_tells_a_dead_process_a_stopped_one_and_a_dead_network_apart() {
    let mut lab = Lab::new(link(10, 0.0));
    let asker = lab.add(SILENT);
    let [well, stopped, killed, cut, barred, udp] = std::array::from_fn(|_| lab.add(SILENT));
    let day = MS * 86_400_000;
    for deed in [
        Deed::Pause(stopped, day),
        Deed::Kill(killed),
        Deed::Cut(cut, true),
        Deed::SetFirewall(Between::Pair(asker, barred), Firewall::Closed),
        Deed::SetFirewall(Between::Pair(udp, asker), Firewall::Udp),
    ] {
        lab.world.at(Duration::ZERO, deed);
    }
    lab.world.run_until(MS * 1_000);
    for of in [well, stopped, killed, cut, barred, udp] {
        lab.ask(asker, of);
    }
    lab.world.run_until(MS * 3_000);
    lab.world.perform(Deed::Unplug(asker, true));
    lab.ask(asker, well);
    lab.world.run_until(MS * 4_000);
    let log = lab.logs[asker.0 as usize].look();
    let outcomes: Vec<_> = log
        .iter()
        .filter_map(|(now, input)| match input {
            Input::Probed { peer, outcome } => {
                Some((lab.world.shared.by_peer[peer], *outcome, now.0 / 1_000))
            }
            _ => None,
        })
        .collect();
    let expected = [
        (killed, ProbeOutcome::Refused, 1_020),
        (well, ProbeOutcome::Answered, 1_040),
        (udp, ProbeOutcome::Answered, 1_040),
        (stopped, ProbeOutcome::Mute, 2_000),
        (cut, ProbeOutcome::Silent, 2_000),
        (barred, ProbeOutcome::Silent, 2_000),
        (well, ProbeOutcome::NoRoute, 3_000),
    ];
    assert_eq!(outcomes, expected);
}

#[test]
fn a_firewall_silences_sessions_and_leaves_multicast_alone() {
    let mut lab = Lab::new(link(1, 0.0));
    let (speaker, dialer) = (lab.add(SPEAKER), lab.add(Plan { dials: true, ..LISTENER }));
    lab.world.at(MS * 2_500, Deed::SetFirewall(Between::Others(HostId(9)), Firewall::Udp));
    lab.world.run_until(MS * 6_500);
    let down = |input: &Input| matches!(input, Input::Disconnected { .. });
    assert_eq!((lab.times(dialer, down), lab.times(speaker, down)), (vec![5_500], vec![5_500]));
    assert_eq!(lab.times(dialer, is_multicast).len(), 60);
}
