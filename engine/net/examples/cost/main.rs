//! What a delivered byte costs in processor time, beside plain iroh carrying the same bytes in the same run: no media,
//! no other process, nothing but the engine.
//!
//! `cargo run --release -p swarmcast-net --features bench --example cost -- WHAT [Mbit/s] [seconds] [viewers]`, where
//! WHAT is `mesh` or `multicast`, both ends in one process, against unicast to each viewer; or `relay`, a node or a
//! bare endpoint in the middle that passes on to one neighbour, on a thread of its own that alone is measured.

mod plain;
mod relay;
mod swarm;

use std::error::Error;
use std::time::Duration;

use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// What goes wrong ends the run.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a unit: a key picture of 8 Mbit/s, a block and more at a time.
const UNIT_BYTES: usize = 250_000;

/// What is sent, and to how many.
#[derive(Clone, Copy, Debug)]
struct Plan {
    unit_bytes: usize,
    units_per_second: u32,
    /// Units before anything is measured.
    warm_up: u32,
    units: u32,
    viewers: usize,
    multicast: bool,
}

impl Plan {
    fn new(megabits: u32, seconds: u32, viewers: usize, multicast: bool) -> Self {
        // 25 units a second up to 50 Mbit/s, then units of 250 kB.
        let per_second = megabits as usize * 125_000;
        let units_per_second = (per_second / UNIT_BYTES).max(25) as u32;
        let unit_bytes = per_second / units_per_second as usize;
        let (warm_up, units) = (2 * units_per_second, seconds * units_per_second);
        Self { unit_bytes, units_per_second, warm_up, units, viewers, multicast }
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1) / self.units_per_second
    }
}

/// What was used to deliver so much, behind the warm-up.
#[derive(Clone, Copy, Debug)]
struct Cost {
    delivered: usize,
    cpu: Duration,
    /// Bytes that the publisher sent, UDP payload, by those of one viewer.
    upload: f64,
}

impl Cost {
    fn per_gigabyte(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.delivered as f64 / 1e9)
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let what = arguments.first().map_or("mesh", String::as_str);
    let (rate, seconds, viewers) = (number(1, 50)?, number(2, 10)?, number(3, 1)? as usize);
    let plan = Plan::new(rate, seconds, viewers, what == "multicast");
    let (plain, swarmcast) = match what {
        "relay" => (relay::plain(plan)?, relay::swarmcast(plan)?),
        _ => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            (runtime.block_on(plain::run(plan))?, runtime.block_on(swarm::run(plan))?)
        }
    };
    for (name, cost) in [("plain iroh", plain), ("swarmcast", swarmcast)] {
        let expected = plan.unit_bytes * plan.units as usize * plan.viewers;
        println!(
            "{name}: {:.1} % delivered, {:.2} s of processor, {:.2} s/GB, upload {:.2} x",
            100.0 * cost.delivered as f64 / expected as f64,
            cost.cpu.as_secs_f64(),
            cost.per_gigabyte(),
            cost.upload,
        );
    }
    println!("swarmcast by plain iroh: {:.2}", swarmcast.per_gigabyte() / plain.per_gigabyte());
    Ok(())
}

/// Processor time that a clock of this process or thread has counted.
fn cpu(clock: ClockId) -> Duration {
    clock_gettime(clock)
        .map_or(Duration::ZERO, |time| Duration::from_nanos(time.num_nanoseconds().unsigned_abs()))
}
