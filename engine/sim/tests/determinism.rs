//! The same seed gives the same trace, another seed another one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use swarmcast_sim::scenario::Scenario;
use swarmcast_sim::trace::Digest;

fn scenario(seed: u64) -> Scenario {
    Scenario { duration: Duration::from_secs(5), ..Scenario::random(seed) }
}

fn traced(seed: u64) -> (Digest, Vec<String>) {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let mut world = scenario(seed).build().unwrap();
    let sink = Rc::clone(&lines);
    world.trace_to(Box::new(move |line| sink.borrow_mut().push(line.to_owned())));
    world.run_until(scenario(seed).duration);
    (world.digest(), lines.take())
}

#[test]
fn equal_seeds_give_equal_traces() {
    let (first, second) = (traced(21), traced(21));
    let differs = first.1.iter().zip(&second.1).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the first line that differs");
    assert_eq!(first, second);
    assert_eq!(scenario(21).run().unwrap().digest, first.0, "the digest does not depend on the sink");
}

#[test]
fn other_seeds_give_other_traces() {
    assert_ne!(traced(21).0, traced(22).0);
}

#[test]
fn a_hundred_viewers_that_verify_everything_themselves_give_the_same_trace() {
    let run = |memoise| {
        let mut scenario = Scenario { duration: Duration::from_secs(2), ..Scenario::new(5, 100) };
        scenario.world.memoise = memoise;
        scenario.run().unwrap().digest
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn the_run_is_the_same_by_any_number_of_threads() {
    let run = |threads| {
        let mut scenario = Scenario { duration: Duration::from_secs(3), ..Scenario::new(6, 100) };
        scenario.host.latency = (Duration::from_millis(5), Duration::from_millis(25));
        scenario.world.threads = threads;
        let report = scenario.run().unwrap();
        assert!(report.viewers().all(|viewer| viewer.units > 0), "{report}");
        report.digest
    };
    assert_eq!(run(1), run(3));
}
