//! Prints what criterion measured last as one table: a line for each bench, the median and the fastest of its
//! samples, and the throughput of the fastest, which other processes on the same cores disturb least.
//!
//! The argument is criterion's directory, `target/criterion` unless it is said.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `benchmark.json`: what was measured.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<Throughput>,
}

#[derive(Clone, Copy, Deserialize)]
enum Throughput {
    Bytes(u64),
    Elements(u64),
}

/// `estimates.json`: what it took, in ns.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// `sample.json`: iterations and time of each sample, in ns.
#[derive(Deserialize)]
struct Samples {
    iters: Vec<f64>,
    times: Vec<f64>,
}

fn main() -> io::Result<()> {
    let directory = env::args_os().nth(1).map_or_else(|| PathBuf::from("target/criterion"), PathBuf::from);
    let mut lines = Vec::new();
    collect(&directory, &mut lines)?;
    lines.sort();
    let mut out = io::stdout().lock();
    writeln!(out, "| bench | median | fastest | throughput |\n|---|---:|---:|---:|")?;
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Appends a line for each bench below a directory, however deep criterion put it.
fn collect(directory: &Path, lines: &mut Vec<String>) -> io::Result<()> {
    if directory.ends_with("new") {
        lines.extend(line(directory));
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, lines)?;
        }
    }
    Ok(())
}

/// Returns a bench's line; `None` when a run was broken off before it was measured.
fn line(directory: &Path) -> Option<String> {
    let benchmark: Benchmark = read(&directory.join("benchmark.json"))?;
    let estimates: Estimates = read(&directory.join("estimates.json"))?;
    let samples: Samples = read(&directory.join("sample.json"))?;
    let ns =
        samples.iters.iter().zip(&samples.times).map(|(count, ns)| ns / count).fold(f64::INFINITY, f64::min);
    let rate = benchmark.throughput.map_or_else(String::new, |throughput| match throughput {
        Throughput::Bytes(bytes) => format!("{:.0} MB/s", bytes as f64 * 1e3 / ns),
        Throughput::Elements(count) => format!("{:.2} M/s", count as f64 * 1e3 / ns),
    });
    let median = duration(estimates.median.point_estimate);
    Some(format!("| {} | {median} | {} | {rate} |", benchmark.full_id, duration(ns)))
}

fn duration(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.1} ns"),
        ..1e6 => format!("{:.2} us", ns / 1e3),
        ..1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}
