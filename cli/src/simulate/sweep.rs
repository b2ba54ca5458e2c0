//! The same scenario with different numbers of viewers: what grows with the swarm, and what does not.

use std::fmt::Write;

use super::outcome::{Outcome, percent};
use super::page::{head, tail};
use super::plot::{Axis, Plot, escaped};

/// What a run of a sweep is compared by.
#[derive(Clone, Copy, Debug)]
struct Row {
    viewers: f64,
    /// Milliseconds from publication to delivery, of half and of 99 % of the access units.
    delay: (f64, f64),
    /// Hops that no block took more of.
    hops: usize,
    /// Share of the fragments received that were there already.
    redundancy: f64,
    /// Bytes a second that a viewer received and that were no fragments.
    control: f64,
    /// Neighbours of a viewer: on average, and at most.
    neighbours: (f64, u32),
    /// Upload of the publisher and of the busiest viewer in multiples of the stream.
    upload: (f64, f64),
    /// Share of the access units that came on time.
    continuity: f64,
    /// Most bytes that the simulator had for a viewer, where the system tells.
    memory: Option<f64>,
    /// Processor-bound time of the run, seconds.
    wall: f64,
}

/// Runs of one scenario with different numbers of viewers, in the order of their running.
#[derive(Debug, Default)]
pub(super) struct Sweep(Vec<Row>);

/// A column of the table and, where it has a plot, the axis of that: heading, how a row is told, what is drawn.
type Column = (&'static str, fn(&Row) -> String, Option<(&'static str, fn(&Row) -> f64)>);

const COLUMNS: [Column; 10] = [
    ("viewers", |row| format!("{:.0}", row.viewers), None),
    ("delay p50", |row| format!("{:.0} ms", row.delay.0), Some(("ms", |row| row.delay.0))),
    ("delay p99", |row| format!("{:.0} ms", row.delay.1), Some(("ms", |row| row.delay.1))),
    ("last hop", |row| row.hops.to_string(), Some(("hops", |row| row.hops as f64))),
    (
        "neighbours",
        |row| format!("{:.1}, most {}", row.neighbours.0, row.neighbours.1),
        Some(("on average", |row| row.neighbours.0)),
    ),
    (
        "control a viewer",
        |row| format!("{:.2} kB/s", row.control / 1e3),
        Some(("kB/s", |row| row.control / 1e3)),
    ),
    ("redundancy", |row| percent(row.redundancy), Some(("%", |row| row.redundancy * 100.0))),
    (
        "upload of publisher, busiest viewer",
        |row| format!("{:.2}, {:.2} x", row.upload.0, row.upload.1),
        Some(("publisher's, times the stream", |row| row.upload.0)),
    ),
    ("on time", |row| percent(row.continuity), None),
    (
        "memory a viewer, time",
        |row| {
            let memory = row.memory.map_or_else(|| "-".to_owned(), |bytes| format!("{:.0} kB", bytes / 1e3));
            format!("{memory}, {:.0} s", row.wall)
        },
        Some(("kB", |row| row.memory.unwrap_or(0.0) / 1e3)),
    ),
];

impl Sweep {
    /// Takes in a run.
    pub(super) fn add(&mut self, outcome: &Outcome<'_>) {
        let report = outcome.report;
        let viewers = report.viewers().count().max(1) as f64;
        let alive: Vec<u32> =
            report.viewers().filter(|host| host.alive).map(|host| host.stats.neighbours).collect();
        let present: f64 = report.viewers().map(|host| host.present.as_secs_f64()).sum();
        let control: u64 = report.viewers().map(|host| host.stats.control_bytes_from_peers).sum();
        let (delay, fairness) = (report.delay(), report.fairness());
        self.0.push(Row {
            viewers,
            delay: (delay.p50.as_secs_f64() * 1e3, delay.p99.as_secs_f64() * 1e3),
            hops: report.hops_at(1_000),
            redundancy: report.duplicate_share(),
            control: control as f64 / present.max(1e-3),
            neighbours: (
                alive.iter().copied().map(f64::from).sum::<f64>() / alive.len().max(1) as f64,
                alive.iter().copied().max().unwrap_or(0),
            ),
            upload: (report.upload_ratio(), fairness.max),
            continuity: report.total_continuity().share(),
            memory: outcome.memory.map(|bytes| bytes as f64 / viewers),
            wall: outcome.wall.as_secs_f64(),
        });
    }

    /// Writes the table: a line for each quantity, a column for each run.
    pub(super) fn table(&self) -> String {
        let mut table = String::new();
        for (heading, tell, _) in &COLUMNS {
            let _ = write!(table, "{heading:<36}");
            self.0.iter().for_each(|row| {
                let _ = write!(table, "{:>18}", tell(row));
            });
            table.push('\n');
        }
        table
    }

    /// Writes the page: the table, and a plot of what may grow over the number of viewers. `text` is the scenario's
    /// file.
    pub(super) fn page(&self, name: &str, description: &str, text: &str) -> String {
        let mut page = head(&escaped(&format!("{name}, simulated")));
        let _ = writeln!(page, "<p>{}</p>\n<table>", escaped(description));
        for (heading, tell, _) in &COLUMNS {
            let _ = write!(page, "<tr><th>{heading}</th>");
            self.0.iter().for_each(|row| {
                let _ = write!(page, "<td>{}</td>", escaped(&tell(row)));
            });
            page.push_str("</tr>\n");
        }
        page.push_str("</table>\n");
        for (heading, _, drawn) in &COLUMNS {
            if let Some((label, value)) = drawn {
                let _ = writeln!(page, "<h2>{heading}</h2>\n{}", self.plot(label, *value).svg());
            }
        }
        page + &tail(text)
    }

    fn plot(&self, label: &'static str, value: fn(&Row) -> f64) -> Plot<'static> {
        let mut points: Vec<_> = self.0.iter().map(|row| (row.viewers, value(row))).collect();
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let ends = (points.first(), points.last());
        let (from, to) =
            ends.0.zip(ends.1).map_or((1.0, 10.0), |(from, to)| (from.0, to.0.max(from.0 + 1.0)));
        let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        // A tenth of room above; something to divide where all are 0.
        let y = Axis::linear(label, 0.0, if most > 0.0 { most * 1.1 } else { 1.0 });
        Plot { x: Axis::logarithmic("viewers", from, to), y, points }
    }
}
