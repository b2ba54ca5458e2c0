//! Random scenarios, seed by seed. `SWARMCAST_SIM_SEEDS=100..400` runs more of them.

use std::ops::Range;

use swarmcast_sim::scenario::Scenario;

/// Seeds of an ordinary test run: some seconds of work.
const SEEDS: Range<u64> = 1..9;

fn seeds() -> Range<u64> {
    let Ok(wanted) = std::env::var("SWARMCAST_SIM_SEEDS") else { return SEEDS };
    let bounds = wanted.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    match bounds {
        Some((Ok(from), Ok(to))) => from..to,
        _ => panic!("SWARMCAST_SIM_SEEDS is FROM..TO, not {wanted}"),
    }
}

#[test]
fn no_rule_breaks_in_random_scenarios() {
    let mut failed = Vec::new();
    for seed in seeds() {
        println!("seed {seed}");
        let report = Scenario::random(seed).run().unwrap();
        if let Some(violation) = report.violations.first() {
            println!("{report}");
            failed.push((seed, violation.to_string()));
        }
    }
    assert!(failed.is_empty(), "failing seeds: {failed:#?}");
}
