//! What every scenario has to hold.

use swarmcast_sim::report::Report;

/// Shows a report in which no rule may be broken, and everybody who is there gets the stream.
pub(crate) fn judged(report: Report) -> Report {
    println!("{report}");
    for viewer in report.viewers() {
        println!("{} {:#?} {:#?} {:?}", viewer.host, viewer.verdicts, viewer.paths, viewer.closed);
    }
    assert!(
        report.violations.is_empty(),
        "{} rules broken, first: {}",
        report.violations.len(),
        report.violations[0]
    );
    for viewer in report.viewers().filter(|viewer| viewer.alive) {
        assert!(viewer.joined.is_some(), "{} never got a unit", viewer.host);
    }
    report
}
