//! A run as a page that needs nothing but itself: figures, plots, the scenario's text.

use std::fmt::Write;

use swarmcast_sim::report::Report;

use super::mesh::mesh;
use super::outcome::Outcome;
use super::plot::{Axis, Plot, escaped};

const STYLE: &str = "\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; width: 11rem; }
td, th { padding: .25rem .5rem; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; } .broken { color: #b00020; }
svg { width: 100%; height: auto; } text { font-size: 11px; fill: #555; }
.grid { stroke: #e4e4e4; fill: none; } .line { stroke: #0b62c4; stroke-width: 2; fill: none; }
.way { stroke: #0b62c4; stroke-opacity: .25; fill: none; } .well { fill: #0b62c4; } .ill { fill: #b00020; }
.publisher { fill: #e07b00; } .end { text-anchor: end; } .middle { text-anchor: middle; }";

/// Writes the page. `text` is the scenario's file.
pub(super) fn page(outcome: &Outcome<'_>, text: &str) -> String {
    let (report, title) = (outcome.report, escaped(&format!("{}, simulated", outcome.name)));
    let mut page = head(&title);
    let _ = writeln!(
        page,
        "<p>{}<br>{}</p>\n<table>",
        escaped(outcome.description),
        escaped(&outcome.headline())
    );
    for (what, how_much) in outcome.rows() {
        let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escaped(what), escaped(&how_much));
    }
    page.push_str("</table>\n");
    if !report.violations.is_empty() {
        page.push_str("<h2 class=\"broken\">Rules that were broken</h2>\n<ul>\n");
        for violation in &report.violations {
            let _ = writeln!(page, "<li>{}</li>", escaped(&violation.to_string()));
        }
        page.push_str("</ul>\n");
    }
    let plots = [
        ("Delay: share of access units that came within", delay(report)),
        ("Continuity: share that came on time, by the second of publication", continuity(report)),
        ("Continuity of each viewer, worst first", viewers(report)),
        ("Upload of each viewer, largest first", upload(report)),
        ("Hops: share of blocks that took so many at most", hops(report)),
    ];
    for (heading, plot) in plots {
        let _ = writeln!(page, "<h2>{heading}</h2>\n{}", plot.svg());
    }
    let _ = writeln!(
        page,
        "<h2>The mesh: the publisher in the middle, viewers by their hops from it, a way for who fed whom</h2>\n{}\
         <p>Viewers of whom less than 99 % came on time are red. Point at one for its figures.</p>",
        mesh(report)
    );
    if !outcome.plan.happenings.is_empty() {
        page.push_str("<h2>What happened</h2>\n<table>\n");
        for (at, words) in &outcome.plan.happenings {
            let _ = writeln!(page, "<tr><th>{} s</th><td>{}</td></tr>", at.as_secs_f64(), escaped(words));
        }
        page.push_str("</table>\n");
    }
    page.push_str(&tail(text));
    page
}

/// Begins a page: all that is in front of its first paragraph. `title` may stand in HTML.
pub(super) fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\n\
         <style>\n{STYLE}\n</style></head><body>\n<h1>{title}</h1>\n"
    )
}

/// Ends a page with the scenario's file.
pub(super) fn tail(text: &str) -> String {
    format!("<h2>The scenario</h2>\n<pre>{}</pre>\n</body></html>\n", escaped(text))
}

fn delay(report: &Report) -> Plot<'static> {
    let last = report.delays.len().saturating_sub(1).max(1) as f64;
    let points: Vec<_> = report
        .delays
        .iter()
        .enumerate()
        .map(|(permille, delay)| (delay.as_secs_f64() * 1e3, permille as f64 / last * 100.0))
        .collect();
    let worst = points.last().map_or(0.0, |(delay, _)| *delay).max(1.0);
    Plot { x: Axis::linear("ms", 0.0, worst), y: shares(0.0), points }
}

fn continuity(report: &Report) -> Plot<'static> {
    let seconds = report.continuity.iter();
    let points: Vec<_> = seconds.map(|(second, c)| (*second as f64, c.share() * 100.0)).collect();
    let end = report.duration.as_secs_f64();
    Plot { x: Axis::linear("s", 0.0, end), y: shares(lowest(&points)), points }
}

fn viewers(report: &Report) -> Plot<'static> {
    let mut shares_of: Vec<f64> = report.viewers().map(|host| host.continuity.share() * 100.0).collect();
    shares_of.sort_by(f64::total_cmp);
    let points = ranked(shares_of);
    Plot { x: ranks(&points), y: shares(lowest(&points)), points }
}

fn upload(report: &Report) -> Plot<'static> {
    let mut loads: Vec<f64> = report.viewers().map(|host| report.upload_of(host)).collect();
    loads.sort_by(|a, b| b.total_cmp(a));
    let points = ranked(loads);
    let most = points.first().map_or(1.0, |(_, load)| *load).max(0.1);
    Plot { x: ranks(&points), y: Axis::linear("times the stream", 0.0, most), points }
}

fn hops(report: &Report) -> Plot<'static> {
    let all = report.hops.iter().sum::<u64>().max(1) as f64;
    let last = report.hops_at(1_000).max(1);
    let mut sum = 0;
    let points = report.hops.iter().take(last + 1).enumerate().map(|(hops, count)| {
        sum += count;
        (hops as f64, sum as f64 / all * 100.0)
    });
    let points = points.collect();
    Plot { x: Axis::linear("hops", 0.0, last as f64), y: shares(0.0), points }
}

fn ranked(values: Vec<f64>) -> Vec<(f64, f64)> {
    values.into_iter().enumerate().map(|(rank, value)| ((rank + 1) as f64, value)).collect()
}

fn ranks(points: &[(f64, f64)]) -> Axis<'static> {
    Axis::linear("viewers", 1.0, (points.len() as f64).max(2.0))
}

/// Returns an axis of shares from `from` %, so far down that a tenth of a percent is seen.
fn shares(from: f64) -> Axis<'static> {
    Axis::linear("%", from, 100.0)
}

/// Returns where an axis of shares begins: a little below the lowest, 1 % below 100 at least.
fn lowest(points: &[(f64, f64)]) -> f64 {
    let lowest = points.iter().map(|(_, share)| *share).fold(99.0, f64::min);
    (100.0 - (100.0 - lowest) * 1.1).max(0.0)
}
