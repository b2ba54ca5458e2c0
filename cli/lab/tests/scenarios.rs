//! The short form of every scenario, on the shipped binary.

use anyhow::{Context, Result};
use swarmcast_lab::Lab;
use swarmcast_lab::report::{Length, Report};
use swarmcast_lab::scenario::{Runs, SCENARIOS, Scenario};

/// Runs the short form of a scenario and fails on each goal that it misses.
fn short(name: &str) -> Result<()> {
    let Some(lab) = Lab::open_or_skip(name) else { return Ok(()) };
    let mut report = Report::new(Length::Short);
    Scenario::named(name).context("there is such a scenario")?.run(&lab, &mut report);
    println!("{}", report.table());
    report.check()
}

/// A test for each scenario.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() -> Result<()> {
                short(&stringify!($name).replace('_', "-"))
            }
        )*

        #[test]
        fn every_scenario_that_is_a_test_stands_here() {
            let here = [$(stringify!($name).replace('_', "-")),*];
            let tested = SCENARIOS.iter().filter(|scenario| scenario.runs == Runs::Tested);
            assert!(tested.map(|scenario| scenario.name).eq(here));
        }
    };
}
scenarios!(
    clean join upload loss distance bottleneck churn attack webcam sync overhead cpu
    fault_kill fault_end fault_silence fault_restart fault_multicast fault_snooping fault_sessions fault_origin
    fault_foreign fault_local fault_overrun fault_loss fault_forgery
);
