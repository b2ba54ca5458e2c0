//! The world under a stand-in that does nothing but dial, send and listen.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use swarmcast_core::ids::{Now, PathId};
use swarmcast_core::node::{Action, Announcement, Batch, ConnectError, Event};

use super::*;
use crate::link::{LossModel, RateModel};
use crate::network::HostId;

const MS: Duration = Duration::from_millis(1);

type Log = Rc<RefCell<Vec<(Now, Input)>>>;

/// What a probe does on each session it has dialled.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    dials: bool,
    messages: u32,
    datagrams: u32,
    datagram_bytes: usize,
    always_late: bool,
}

#[derive(Debug)]
struct Probe {
    plan: Plan,
    log: Log,
    actions: VecDeque<Action>,
    queued: BTreeMap<PathId, VecDeque<Bytes>>,
    ready: VecDeque<PathId>,
}

impl Process for Probe {
    fn handle(&mut self, now: Now, input: Input) {
        match &input {
            Input::WallClock(_) => self.actions.push_back(Action::Announce(Announcement::default())),
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
        self.log.borrow_mut().push((now, input));
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
        self.plan.always_late.then_some(Now(0))
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
}

impl Lab {
    fn new(link: LinkModel) -> Self {
        Self { world: World::new(WorldConfig { link, ..WorldConfig::new(1) }).unwrap(), logs: Vec::new() }
    }

    fn add(&mut self, plan: Plan) -> HostId {
        let log = Log::default();
        self.logs.push(log.clone());
        let (actions, queued, ready) = (VecDeque::new(), BTreeMap::new(), VecDeque::new());
        let probe = Probe { plan, log, actions, queued, ready };
        let peer = PeerId(self.world.dice.key());
        let (clock, oracle) = (HostClock::default(), HostOracle::new(16, 1 << 20));
        let seed = HostSeed { peer, clock, oracle, is_hostile: false };
        let unlimited = HostConfig { up: RateModel::UNLIMITED, ..HostConfig::default() };
        self.world.add_process(&unlimited, seed, Box::new(probe))
    }

    /// Returns when each input of that kind came to a host, in milliseconds.
    fn times(&self, host: HostId, is: fn(&Input) -> bool) -> Vec<u64> {
        let log = self.logs[host.0 as usize].borrow();
        log.iter().filter(|(_, input)| is(input)).map(|(now, _)| now.0 / 1_000).collect()
    }
}

const DIALER: Plan = Plan { dials: true, messages: 0, datagrams: 0, datagram_bytes: 0, always_late: false };

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
    lab.world.network.set_cut(listener, true);
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
    let log = lab.logs[listener.0 as usize].borrow();
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
