//! Each rule is kept once and broken once.

use std::sync::Arc;

use swarmcast_core::ids::{Epoch, StreamHandle};

use super::super::evidence::Word;
use super::*;
use crate::clock::HostClock;
use crate::ledger::Ledger;
use crate::network::HostId;
use crate::workload::{Source, Workload};

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const STREAM: StreamHandle = StreamHandle(1);

/// A viewer that has got fragments until 10 s, and one oracle.
struct Bench {
    oracle: VerdictOracle,
    witness: Witness,
    pauses: Vec<(Duration, Duration)>,
    publisher_is_well: bool,
    ledger: Ledger,
}

impl Bench {
    fn live() -> Self {
        let mut ledger = Ledger::default();
        let catalogue = Workload::television(1_000_000).catalogue();
        let began = (Duration::ZERO, HostClock::default());
        ledger.open(HostId(0), STREAM, Epoch(1), catalogue, 1, began);
        let mut witness = Witness::default();
        witness.useful_at = Some(S * 10);
        witness.fresh_at = Some(S * 10);
        witness.flows_since = Some(S);
        let oracle = VerdictOracle::default();
        let pauses = Vec::new();
        let mut bench = Self { oracle, witness, pauses, publisher_is_well: false, ledger };
        bench.say(S, Verdict::Joining, Verdict::Live, None).unwrap();
        bench
    }

    fn see(&mut self, at: Duration, event: &Event) -> Result<(), Breach> {
        let scene = Scene {
            at,
            run: self.ledger.runs().first(),
            witness: Some(&self.witness),
            pauses: &self.pauses,
            publisher_is_well: self.publisher_is_well,
            has_cable: true,
        };
        self.oracle.saw(event, &scene)
    }

    fn turn(&mut self, at: Duration) -> Result<(), Breach> {
        let scene = Scene {
            at,
            run: self.ledger.runs().first(),
            witness: Some(&self.witness),
            pauses: &self.pauses,
            publisher_is_well: self.publisher_is_well,
            has_cable: true,
        };
        self.oracle.judge_turn(&scene)
    }

    fn say(
        &mut self,
        at: Duration,
        from: Verdict,
        to: Verdict,
        reason: Option<Reason>,
    ) -> Result<(), Breach> {
        let (path, last_media, since_last_fragment) = (PathKind::Mesh, None, None);
        let stream = STREAM;
        self.see(at, &Event::Verdict { stream, from, to, reason, path, last_media, since_last_fragment })
    }

    fn go(&mut self, at: Duration, from: PathKind, to: PathKind, cause: PathCause) -> Result<(), Breach> {
        self.see(at, &Event::Path { stream: STREAM, from, to, cause, last_media: None })
    }

    fn word(&mut self, state: StreamState, at: Duration) {
        self.witness.beacon = Some(Word { made_at: at, heard_at: at, state, multicasts: true });
    }
}

#[test]
fn starved_is_neither_early_nor_late() {
    let idle = |bench: &mut Bench, ms: u32| {
        bench.say(S * 10 + MS * ms, Verdict::Live, Verdict::Starved, Some(Reason::PublisherGone))
    };
    idle(&mut Bench::live(), 500).unwrap();
    let early = Err(Breach::FalseStarved { idle: MS * 400, excuse: None });
    assert_eq!(idle(&mut Bench::live(), 400), early);
    let mut bench = Bench::live();
    bench.turn(S * 11).unwrap();
    let late = Breach::Unmoved { verdict: Verdict::Live, due: Verdict::Starved, idle: S + MS * 100 };
    assert_eq!(bench.turn(S * 11 + MS * 100), Err(late));
    bench.turn(S * 12).unwrap();
    assert!(bench.oracle.alarmed, "once is enough");
}

#[test]
fn dead_comes_five_seconds_after_the_last_fragment() {
    let starved = || {
        let mut bench = Bench::live();
        bench.say(S * 10 + MS * 600, Verdict::Live, Verdict::Starved, None).unwrap();
        bench
    };
    starved().say(S * 15, Verdict::Starved, Verdict::Dead, None).unwrap();
    let early = starved().say(S * 14, Verdict::Starved, Verdict::Dead, None);
    assert_eq!(early, Err(Breach::FalseDead { idle: S * 4 }));
    starved().turn(S * 15 + MS * 400).unwrap();
    let missed = starved().turn(S * 15 + MS * 600);
    assert!(matches!(missed, Err(Breach::Unmoved { due: Verdict::Dead, .. })), "{missed:?}");
}

#[test]
fn word_of_a_pause_excuses_silence_and_must_be_passed_on() {
    let mut bench = Bench::live();
    bench.publisher_is_well = true;
    bench.ledger.run_of(HostId(0)).unwrap().silences.push((S * 10, S * 60));
    bench.word(StreamState::Paused, S * 12);
    let untold = bench.turn(S * 12 + MS * 100);
    assert!(matches!(untold, Err(Breach::Unmoved { due: Verdict::Paused, .. })), "{untold:?}");
    let alarm = bench.say(S * 12 + MS * 200, Verdict::Live, Verdict::Starved, None);
    assert!(matches!(alarm, Err(Breach::FalseStarved { .. })), "{alarm:?}");
    bench.say(S * 12 + MS * 300, Verdict::Starved, Verdict::Paused, None).unwrap();
    bench.turn(S * 13).unwrap();
    let unconfirmed = bench.turn(S * 14);
    assert!(matches!(unconfirmed, Err(Breach::Unmoved { due: Verdict::Starved, .. })), "{unconfirmed:?}");
}

#[test]
fn a_pause_that_nobody_made_is_false() {
    let mut bench = Bench::live();
    let mut source = Source::new(Workload::television(1_000_000), 1);
    while source.next_at() < S * 10 {
        let at = source.next_at();
        bench.ledger.record(HostId(0), &source.draw().unwrap(), at);
    }
    assert_eq!(bench.say(S * 10, Verdict::Live, Verdict::Paused, None), Err(Breach::FalsePaused));
    bench.say(S * 10 + MS * 300, Verdict::Paused, Verdict::Live, None).unwrap();
    bench.say(S * 10 + MS * 300, Verdict::Live, Verdict::Paused, None).unwrap();
}

#[test]
fn an_end_is_no_alarm() {
    let mut bench = Bench::live();
    bench.word(StreamState::Ended, S * 10);
    bench.turn(S * 12).unwrap();
    let alarm = bench.say(S * 12, Verdict::Live, Verdict::Starved, None);
    assert!(matches!(alarm, Err(Breach::FalseStarved { .. })), "{alarm:?}");
}

#[test]
fn verdicts_form_a_chain_of_legal_steps() {
    let chain = |from, to| Bench::live().say(S * 20, from, to, None);
    assert!(matches!(chain(Verdict::Degraded, Verdict::Starved), Err(Breach::VerdictChain { .. })));
    assert!(matches!(chain(Verdict::Live, Verdict::Live), Err(Breach::VerdictChain { .. })));
    assert!(matches!(chain(Verdict::Live, Verdict::Dead), Err(Breach::VerdictChain { .. })));
    assert!(matches!(chain(Verdict::Live, Verdict::Joining), Err(Breach::VerdictChain { .. })));
    let mut bench = Bench::live();
    bench.say(S * 20, Verdict::Live, Verdict::Starved, None).unwrap();
    bench.say(S * 20, Verdict::Starved, Verdict::Starved, Some(Reason::PublisherGone)).unwrap();
    let again = bench.say(S * 20, Verdict::Starved, Verdict::Starved, Some(Reason::PublisherGone));
    assert!(matches!(again, Err(Breach::VerdictChain { .. })), "the same reason twice");
    let mut bench = Bench::live();
    bench.see(S * 20, &Event::Reset { stream: STREAM, old: Epoch(1), new: Epoch(2) }).unwrap();
    bench.say(S * 20, Verdict::Live, Verdict::Joining, None).unwrap();
}

#[test]
fn nobody_is_blamed_who_is_not_at_fault() {
    let mut bench = Bench::live();
    bench.publisher_is_well = true;
    let blamed = bench.say(S * 11, Verdict::Live, Verdict::Starved, Some(Reason::PublisherGone));
    assert!(matches!(blamed, Err(Breach::Blamed { .. })), "{blamed:?}");

    let stopped = |reason| {
        let mut bench = Bench::live();
        bench.publisher_is_well = true;
        bench.pauses.push((S * 10, S * 11));
        bench.say(S * 11 + MS * 550, Verdict::Live, Verdict::Starved, reason)
    };
    stopped(Some(Reason::Overrun)).unwrap();
    assert!(matches!(stopped(None), Err(Breach::Blamed { .. })));
}

#[test]
fn time_in_which_a_process_did_not_run_is_not_charged() {
    let mut bench = Bench::live();
    bench.pauses.push((S * 10, S * 11));
    let early = bench.say(S * 11 + MS * 300, Verdict::Live, Verdict::Starved, Some(Reason::Overrun));
    assert_eq!(early, Err(Breach::FalseStarved { idle: MS * 300, excuse: None }));
}

#[test]
fn a_stream_that_flows_again_is_live_within_a_second() {
    let mut bench = Bench::live();
    bench.say(S * 11, Verdict::Live, Verdict::Starved, None).unwrap();
    bench.witness.flows_since = Some(S * 13);
    let mut flows = |ms| {
        bench.witness.useful_at = Some(S * 13 + MS * ms);
        bench.witness.fresh_at = bench.witness.useful_at;
        bench.turn(S * 13 + MS * ms)
    };
    flows(900).unwrap();
    let unmoved = flows(1_100);
    assert!(matches!(unmoved, Err(Breach::Unmoved { due: Verdict::Live, .. })), "{unmoved:?}");
}

#[test]
fn paths_form_a_chain_whose_causes_are_true() {
    let silent = || PathCause::MulticastSilent { interface: Arc::from("eth0") };
    let mut bench = Bench::live();
    bench.witness.multicast_at = Some(S * 10);
    bench.go(S, PathKind::Multicast, PathKind::Multicast, PathCause::Started).unwrap();
    bench.go(S * 10 + MS * 120, PathKind::Multicast, PathKind::Mesh, silent()).unwrap();
    let upwards = bench.go(S * 11, PathKind::Mesh, PathKind::Multicast, PathCause::Unreachable);
    assert!(matches!(upwards, Err(Breach::PathChain { .. })), "{upwards:?}");
    let broken = bench.go(S * 11, PathKind::Unicast, PathKind::Mesh, PathCause::Healed);
    assert!(matches!(broken, Err(Breach::PathChain { .. })), "{broken:?}");
    let mut source = Source::new(Workload::television(1_000_000), 1);
    while source.next_at() < S * 13 {
        let at = source.next_at();
        bench.ledger.record(HostId(0), &source.draw().unwrap(), at);
    }
    let unproven = bench.go(S * 11, PathKind::Mesh, PathKind::Multicast, PathCause::Healed);
    assert!(matches!(unproven, Err(Breach::PathUntrue { .. })), "{unproven:?}");
    bench.witness.multicast_at = Some(S * 12);
    let hasty = bench.go(S * 12, PathKind::Multicast, PathKind::Mesh, silent());
    assert!(matches!(hasty, Err(Breach::PathUntrue { .. })), "{hasty:?}");
}

#[test]
fn verdicts_on_paths_and_on_the_control_plane_are_told_once() {
    let mut bench = Bench::live();
    let path_verdict =
        |from, to| Event::PathVerdict { stream: STREAM, path: PathKind::Mesh, from, to, reason: None };
    bench.see(S, &path_verdict(PathVerdict::Off, PathVerdict::Joining)).unwrap();
    let broken = bench.see(S, &path_verdict(PathVerdict::Standby, PathVerdict::Delivering));
    assert!(matches!(broken, Err(Breach::PathVerdictChain { .. })), "{broken:?}");
    let up = Event::ControlPlane { stream: STREAM, to: ControlPlane::Up };
    bench.see(S, &up).unwrap();
    assert_eq!(bench.see(S, &up), Err(Breach::Repeated { what: "control plane" }));
}
