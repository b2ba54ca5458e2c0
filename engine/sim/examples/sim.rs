//! Runs one scenario and prints its report.
//!
//! `cargo run -p swarmcast-sim --example sim -- viewers=24 loss=0.05 jitter=20 seconds=30 seed=7`

use std::process::ExitCode;
use std::time::Duration;

use swarmcast_core::multicast::MulticastChoice;
use swarmcast_sim::link::{LinkModel, LossModel, RateModel};
use swarmcast_sim::scenario::Scenario;
use swarmcast_sim::workload::Workload;

const HELP: &str = "usage: sim [NAME=VALUE ...]
  seed=1        seed of all chance; `random` as scenario draws everything from it
  scenario=     `random`, or nothing
  viewers=8     honest viewers
  seconds=10    virtual time
  rate=7872000  rate of the video, bit/s; 128 kbit/s of audio are beside it
  gop=1000      random-access points, ms apart
  playout=1000  playout delay, ms
  latency=0.2   one-way delay, ms          jitter=0    up to so much more, ms
  loss=0        share of packets lost      burst=0     mean length of a loss burst, packets
  reorder=0     share held back            duplicate=0 share that comes twice
  up=1000e6     uplink, bit/s              down=0      downlink, bit/s, 0 is no limit
  drift=50      clocks, ppm either way     churn=0     share of viewers that go
  multicast=0   1 multicasts the stream on the LAN
  mloss=0       share of multicast datagrams lost on their way to each receiver, beside `loss`
  neighbours=16 most sessions of a host
  kill=0        second at which the busiest relay is killed
  trace=0       1 prints each step to stderr";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(clean) => ExitCode::from(u8::from(!clean)),
        Err(message) => {
            eprintln!("{message}\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let mut scenario = Scenario { workload: Workload::television(8_000_000), ..Scenario::new(1, 8) };
    let (mut burst, mut loss, mut trace) = (0.0, 0.0, false);
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or_else(|| format!("no value in {argument}"))?;
        if (name, value) == ("scenario", "random") {
            scenario = Scenario::random(scenario.world.seed);
            continue;
        }
        let number: f64 = value.parse().map_err(|_| format!("{name}: {value} is no number"))?;
        match name {
            "loss" => loss = number,
            "burst" => burst = number,
            "trace" => trace = number > 0.0,
            _ => set(&mut scenario, name, number)?,
        }
    }
    if loss > 0.0 {
        scenario.world.link.loss = loss_model(loss, burst);
    }
    let mut world = scenario.build().map_err(|error| error.to_string())?;
    if trace {
        world.trace_to(Box::new(|line| eprintln!("{line}")));
    }
    world.run_until(scenario.duration);
    world.judge_end();
    let report = swarmcast_sim::report::Report::of(&world, scenario.world.seed);
    print!("{report}");
    Ok(report.violations.is_empty())
}

fn set(scenario: &mut Scenario, name: &str, number: f64) -> Result<(), String> {
    let ms = || Duration::from_secs_f64(number.max(0.0) / 1_000.0);
    let (link, video) = (&mut scenario.world.link, &mut scenario.workload.video);
    match name {
        "seed" => scenario.world.seed = number as u64,
        "viewers" => scenario.viewers = number as u32,
        "seconds" => scenario.duration = Duration::from_secs_f64(number.max(0.0)),
        "rate" => video.iter_mut().for_each(|video| video.bits_per_second = number as u32),
        "gop" => video.iter_mut().for_each(|video| video.gop = ms()),
        "playout" => scenario.playout_delay = ms(),
        "latency" => link.latency = ms(),
        "jitter" => link.jitter = ms(),
        "reorder" => link.reorder = number,
        "duplicate" => link.duplicate = number,
        "up" => scenario.host.up = RateModel::limited(number as u64),
        "down" if number > 0.0 => scenario.host.down = RateModel::limited(number as u64),
        "down" => scenario.host.down = RateModel::UNLIMITED,
        "multicast" => {
            scenario.multicast = if number > 0.0 { MulticastChoice::Auto } else { MulticastChoice::Off };
        }
        "mloss" => {
            scenario.world.multicast = Some(LinkModel { loss: LossModel::Random(number), ..*link });
        }
        "drift" => scenario.world.drift_ppm_max = number as u32,
        "neighbours" => scenario.host.neighbours_max = Some(number as usize),
        "churn" => scenario.churn = number.clamp(0.0, 1.0),
        "kill" => {
            scenario
                .deeds
                .push((Duration::from_secs_f64(number.max(0.0)), swarmcast_sim::world::Deed::KillBusiest));
        }
        _ => return Err(format!("unknown parameter {name}")),
    }
    Ok(())
}

/// Bursts lose 90 % while they last and nothing in between.
fn loss_model(mean: f64, burst: f64) -> LossModel {
    if burst <= 1.0 {
        return LossModel::Random(mean);
    }
    let share = mean / 0.9;
    let recovers = 1.0 / burst;
    LossModel::Bursty { worsens: recovers * share / (1.0 - share), recovers, good: 0.0, bad: 0.9 }
}
