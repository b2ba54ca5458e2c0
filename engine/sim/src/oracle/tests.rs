//! Each rule is broken once.

use swarmcast_core::catalogue::{AccessUnit, Catalogue};
use swarmcast_core::ids::{Epoch, MediaTime, Now, StreamKey};
use swarmcast_core::node::{CloseCause, Event, GapCause, Subscription};

use super::*;
use crate::clock::HostClock;
use crate::ledger::Ledger;
use crate::workload::{Source, Workload};

const HANDLE: StreamHandle = StreamHandle(1);
const KEY: StreamKey = StreamKey([7; 32]);
const EPOCH: Epoch = Epoch(1);
const PUBLISHER: HostId = HostId(0);

fn subscribed(at: Duration) -> SubscriptionOracle {
    SubscriptionOracle::new(&Subscription::new(HANDLE, "live", Duration::from_secs(1)), at)
}

/// A subscription whose first 3 s of television are published.
struct Bench {
    ledger: Ledger,
    units: Vec<AccessUnit>,
    oracle: SubscriptionOracle,
    catalogue: Catalogue,
}

impl Bench {
    fn new() -> Self {
        let workload = Workload::television(500_000);
        let catalogue = workload.catalogue();
        let mut ledger = Ledger::default();
        ledger.open(PUBLISHER, HANDLE, EPOCH, catalogue.clone(), 5, (Duration::ZERO, HostClock::default()));
        ledger.run_of(PUBLISHER).unwrap().key = Some(KEY);
        let mut source = Source::new(workload, 5);
        let mut units = Vec::new();
        while source.next_at() < Duration::from_secs(3) {
            let at = source.next_at();
            let unit = source.draw().unwrap();
            ledger.record(PUBLISHER, &unit, at);
            units.push(unit);
        }
        let oracle = subscribed(Duration::ZERO);
        Self { ledger, units, oracle, catalogue }
    }

    fn opened() -> Self {
        let mut bench = Self::new();
        let event =
            Event::Opened { stream: HANDLE, key: KEY, epoch: EPOCH, catalogue: bench.catalogue.clone() };
        bench.see(event).unwrap();
        bench
    }

    fn see(&mut self, event: Event) -> Result<(), Breach> {
        self.oracle.saw(Duration::from_secs(4), &event, &self.ledger)
    }

    fn unit(&mut self, unit: AccessUnit) -> Result<(), Breach> {
        self.see(Event::AccessUnit { stream: HANDLE, unit, due: Now(0), closed: Duration::ZERO })
    }

    fn gap(&mut self, track: Option<TrackId>, from_ms: i64, to_ms: i64) {
        let (from, to) = (MediaTime(from_ms * 1_000), MediaTime(to_ms * 1_000));
        self.see(Event::Gap { stream: HANDLE, track, from, to, cause: GapCause::Late }).unwrap();
    }

    fn missing(&self) -> u64 {
        self.oracle.missing.values().sum()
    }

    fn closed(&mut self, cause: CloseCause) -> Result<(), Breach> {
        self.see(Event::Closed { stream: HANDLE, cause })
    }
}

#[test]
fn a_clean_delivery_breaks_nothing() {
    let mut bench = Bench::opened();
    for unit in bench.units.clone() {
        bench.unit(unit).unwrap();
    }
    bench.oracle.judge_rest(Duration::MAX, &bench.ledger).unwrap();
    bench.closed(CloseCause::Ended).unwrap();
    assert_eq!((bench.oracle.units, bench.missing()), (bench.units.len() as u64, 0));
}

#[test]
fn a_late_start_owes_only_what_follows_its_first_key_unit() {
    let mut bench = Bench::opened();
    let keys: Vec<_> =
        (0..bench.units.len()).filter(|i| bench.units[*i].key && bench.units[*i].track.0 == 0).collect();
    for unit in bench.units.split_off(keys[1]) {
        bench.unit(unit).unwrap();
    }
    bench.oracle.judge_rest(Duration::MAX, &bench.ledger).unwrap();
    assert_eq!(bench.missing(), 0);
}

#[test]
fn altered_units_are_unpublished() {
    let mut bench = Bench::opened();
    let mut unit = bench.units[0].clone();
    let mut payload = unit.payload.to_vec();
    payload[500] ^= 1;
    unit.payload = payload.into();
    assert!(matches!(bench.unit(unit), Err(Breach::Unpublished { .. })));
    let shifted = AccessUnit { pts: bench.units[0].pts + 1, ..bench.units[0].clone() };
    assert!(matches!(bench.unit(shifted), Err(Breach::Unpublished { .. })));
}

#[test]
fn repeated_and_overtaken_units_are_disorder() {
    let mut bench = Bench::opened();
    let first = bench.units[0].clone();
    bench.unit(first.clone()).unwrap();
    assert_eq!(bench.unit(first), Err(Breach::Disorder { track: TrackId(0), expected: 1, got: 0 }));
}

#[test]
fn skipped_units_need_a_gap_of_their_track_and_time() {
    let pictures =
        |bench: &Bench| -> Vec<_> { bench.units.iter().filter(|u| u.track.0 == 0).cloned().collect() };
    let mut silent = Bench::opened();
    let units = pictures(&silent);
    silent.unit(units[0].clone()).unwrap();
    let untold = Err(Breach::Untold { track: TrackId(0), from: 1, count: 24 });
    assert_eq!(silent.unit(units[25].clone()), untold);

    let mut other_track = Bench::opened();
    other_track.unit(units[0].clone()).unwrap();
    other_track.gap(Some(TrackId(1)), 0, 1_000);
    assert_eq!(other_track.unit(units[25].clone()), untold);

    let mut told = Bench::opened();
    told.unit(units[0].clone()).unwrap();
    told.gap(Some(TrackId(0)), 0, 1_000);
    told.unit(units[25].clone()).unwrap();
    assert_eq!(told.missing(), 24);
}

#[test]
fn a_subscription_begins_opened_and_with_a_key_unit() {
    let mut bench = Bench::new();
    assert_eq!(bench.unit(bench.units[0].clone()), Err(Breach::NotOpened));
    let mut bench = Bench::opened();
    let second = bench.units.iter().position(|unit| !unit.key).unwrap();
    let verdict = bench.unit(bench.units[second].clone());
    assert!(matches!(verdict, Err(Breach::FirstNotKey { .. })));
}

#[test]
fn an_ended_subscription_is_complete_and_silent() {
    let mut bench = Bench::opened();
    bench.unit(bench.units[0].clone()).unwrap();
    assert!(matches!(bench.closed(CloseCause::Ended), Err(Breach::Overdue { .. })));
    assert_eq!(bench.closed(CloseCause::Ended), Err(Breach::AfterClosed { event: "Closed" }));
    assert_eq!(bench.unit(bench.units[1].clone()), Err(Breach::AfterClosed { event: "AccessUnit" }));
}

#[test]
fn overdue_units_are_found_at_the_end() {
    let mut bench = Bench::opened();
    bench.unit(bench.units[0].clone()).unwrap();
    let horizon = Duration::from_millis(500);
    let verdict = bench.oracle.judge_rest(horizon, &bench.ledger);
    assert!(matches!(verdict, Err(Breach::Overdue { .. })), "{verdict:?}");
}

#[test]
fn a_subscription_begins_and_ends_in_time() {
    let mut bench = Bench::opened();
    let (now, patience) = (Duration::from_secs(20), Duration::from_secs(4));
    let unserved = Err(Breach::Unserved { waited: now });
    assert_eq!(bench.oracle.judge_turn(now, patience, &bench.ledger), unserved);
    bench.unit(bench.units[0].clone()).unwrap();
    bench.oracle.judge_turn(now, patience, &bench.ledger).unwrap();
    bench.ledger.run_of(PUBLISHER).unwrap().ended = Some(Duration::from_secs(3));
    let open = Err(Breach::NotClosed { waited: Duration::from_secs(17) });
    assert_eq!(bench.oracle.judge_turn(now, patience, &bench.ledger), open);
}

#[test]
fn limits_of_a_host_hold() {
    let oracle = HostOracle::new(2, 1_000);
    let stats = |window_bytes, neighbours| swarmcast_core::stats::StreamStats {
        window_bytes,
        neighbours,
        ..Default::default()
    };
    oracle.saw_stats(&stats(1_000, 2)).unwrap();
    assert_eq!(oracle.saw_stats(&stats(1_001, 2)), Err(Breach::WindowBytes { bytes: 1_001, limit: 1_000 }));
    assert_eq!(oracle.saw_stats(&stats(0, 3)), Err(Breach::Neighbours { count: 3, limit: 2 }));
}

#[test]
fn a_run_that_is_over_is_not_opened() {
    let mut bench = Bench::new();
    bench.ledger.run_of(PUBLISHER).unwrap().vanished = Some(Duration::from_secs(3));
    bench.ledger.open(
        HostId(1),
        HANDLE,
        Epoch(2),
        bench.catalogue.clone(),
        6,
        (Duration::from_secs(4), HostClock::default()),
    );
    bench.ledger.run_of(HostId(1)).unwrap().key = Some(KEY);
    let opened = |bench: &Bench, epoch| Event::Opened {
        stream: HANDLE,
        key: KEY,
        epoch,
        catalogue: bench.catalogue.clone(),
    };
    let (old, new) = (opened(&bench, EPOCH), opened(&bench, Epoch(2)));
    bench.see(old.clone()).unwrap();
    bench.see(new).unwrap();
    assert_eq!(bench.see(old.clone()), Err(Breach::StaleRun { epoch: EPOCH }));
    bench.oracle = subscribed(Duration::from_secs(5));
    assert_eq!(bench.see(old), Err(Breach::StaleRun { epoch: EPOCH }));
}
