//! A hundred real cores in one process under virtual time, with links, sessions and oracles of the simulator: one
//! second of a 1 Mbit/s stream from a fixed seed. The share of the world itself is in it; what changes in it while
//! the world does not is the core's.

use std::time::Duration;

use criterion::Throughput;
use swarmcast_benches::criterion;
use swarmcast_sim::scenario::Scenario;

const PEERS: u32 = 100;

fn main() {
    let mut criterion = criterion().sample_size(10);
    let mut group = criterion.benchmark_group("node_simulated");
    let mesh = Scenario { duration: Duration::from_secs(2), ..Scenario::new(7, PEERS) };
    for (name, scenario) in [("mesh", mesh.clone()), ("multicast", mesh.with_multicast())] {
        let report = scenario.run().expect("the group's name is acceptable");
        assert!(report.violations.is_empty(), "{report}");
        group.throughput(Throughput::Elements(report.steps));
        group.bench_function(name, |bencher| {
            bencher.iter(|| scenario.run().map(|report| report.digest));
        });
    }
    group.finish();
    criterion.final_summary();
}
