//! The numbers of a run: for people as a table, for programs as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Serialize;

/// By how much a time may pass its goal in the short form: machines that build and test are busy.
const SHORT_SLACK: f64 = 3.0;

/// Minutes of the endurance run unless told: enough to see growth of 1 MB/h above what an allocator does by itself.
pub const SOAK_MINUTES: u64 = 30;

/// How long scenarios run, and how strictly times are held to their goals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Seconds each; times may be three times their goals.
    Short,
    /// A minute each, the tables that are published.
    Full,
}

impl Length {
    /// The first value in the short form, the second at full length.
    pub fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things counted.
    Count,
    /// A share of a whole, percent.
    Percent,
    /// One quantity by another.
    Ratio,
    /// Durations, milliseconds.
    Milliseconds,
    /// Durations, seconds.
    Seconds,
    /// Processor time, seconds for each minute of stream.
    CpuSecondsPerMinute,
    /// Processor time, seconds for each GB of payload delivered.
    CpuSecondsPerGigabyte,
    /// Rates, Mbit/s.
    MegabitsPerSecond,
    /// Memory, MB.
    Megabytes,
    /// Growth of memory, MB/h.
    MegabytesPerHour,
}

impl Unit {
    fn is_time(self) -> bool {
        matches!(self, Self::Milliseconds | Self::Seconds)
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Percent => " %",
            Self::Ratio => " x",
            Self::Milliseconds => " ms",
            Self::Seconds => " s",
            Self::CpuSecondsPerMinute => " cpu s/min",
            Self::CpuSecondsPerGigabyte => " cpu s/GB",
            Self::MegabitsPerSecond => " Mbit/s",
            Self::Megabytes => " MB",
            Self::MegabytesPerHour => " MB/h",
        }
    }
}

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At most this much.
    AtMost(f64),
    /// At least this much.
    AtLeast(f64),
    /// Measured to be known.
    None,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The scenario it is from.
    pub scenario: String,
    /// Under which conditions.
    pub case: String,
    /// What was measured.
    pub name: String,
    /// How much it was.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// How much it should be.
    pub goal: Goal,
    /// Whether it is so, with the slack of the run's length.
    pub met: bool,
}

/// All numbers of a run, in the order in which they were measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(skip)]
    length: Length,
    #[serde(skip)]
    minutes: u64,
    #[serde(skip)]
    scenario: String,
    #[serde(skip)]
    case: String,
    figures: Vec<Figure>,
    failures: Vec<String>,
}

impl Report {
    /// Starts an empty report.
    pub fn new(length: Length) -> Self {
        let (scenario, case) = (String::new(), String::new());
        Self { length, minutes: SOAK_MINUTES, scenario, case, figures: Vec::new(), failures: Vec::new() }
    }

    /// Lets the endurance run last for so many minutes.
    pub fn with_minutes(self, minutes: u64) -> Self {
        Self { minutes, ..self }
    }

    /// Minutes of the endurance run.
    pub fn minutes(&self) -> u64 {
        self.minutes
    }

    /// How long its scenarios run.
    pub fn length(&self) -> Length {
        self.length
    }

    /// Names the scenario that the next figures are from.
    pub fn enter_scenario(&mut self, name: &str) {
        name.clone_into(&mut self.scenario);
        self.case.clear();
    }

    /// Names the conditions under which the next figures are measured.
    pub fn enter_case(&mut self, case: impl Into<String>) {
        self.case = case.into();
    }

    /// Adds a number.
    pub fn add(&mut self, name: &str, value: f64, unit: Unit, goal: Goal) {
        let slack = if self.length == Length::Short && unit.is_time() { SHORT_SLACK } else { 1.0 };
        let met = match goal {
            Goal::AtMost(limit) => value <= limit * slack,
            Goal::AtLeast(limit) => value >= limit,
            Goal::None => true,
        };
        let (scenario, case, name) = (self.scenario.clone(), self.case.clone(), name.to_owned());
        self.figures.push(Figure { scenario, case, name, value, unit, goal, met });
    }

    /// Notes that the present scenario could not be carried through.
    pub fn add_failure(&mut self, error: &anyhow::Error) {
        self.failures.push(format!("{} {}: {error:#}", self.scenario, self.case));
    }

    /// All figures.
    pub fn figures(&self) -> &[Figure] {
        &self.figures
    }

    /// Tells whether every goal was met.
    ///
    /// # Errors
    /// Some were not: the message lists them.
    pub fn check(&self) -> Result<()> {
        let missed = self.figures.iter().filter(|figure| !figure.met).map(Figure::line);
        let lines: Vec<String> = missed.chain(self.failures.iter().cloned()).collect();
        if lines.is_empty() {
            return Ok(());
        }
        bail!("{} of the lab's goals missed:\n{}", lines.len(), lines.join("\n"))
    }

    /// The figures as a Markdown table, misses marked.
    pub fn table(&self) -> String {
        let mut table =
            String::from("| scenario | case | figure | value | goal | met |\n|---|---|---|---:|---:|---|\n");
        for figure in &self.figures {
            let Figure { scenario, case, name, .. } = figure;
            let met = match (figure.goal, figure.met) {
                (Goal::None, _) => "",
                (_, true) => "yes",
                (_, false) => "**no**",
            };
            let (value, goal) = (figure.value_text(), figure.goal_text());
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| {scenario} | {case} | {name} | {value} | {goal} | {met} |");
        }
        for failure in &self.failures {
            let _ = writeln!(table, "\nnot carried through: {failure}");
        }
        table
    }

    /// Writes `report.md` and `report.json` into `directory`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self).context("figures are plain data")?;
        fs::write(directory.join("report.json"), json).context("cannot write report.json")?;
        fs::write(directory.join("report.md"), self.table()).context("cannot write report.md")
    }
}

impl Figure {
    fn line(&self) -> String {
        let Self { scenario, case, name, .. } = self;
        format!("{scenario}, {case}: {name} {} (goal {})", self.value_text(), self.goal_text())
    }

    fn value_text(&self) -> String {
        format!("{}{}", rounded(self.value), self.unit.symbol())
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(limit) => format!("<= {limit}"),
            Goal::AtLeast(limit) => format!(">= {limit}"),
            Goal::None => String::new(),
        }
    }
}

/// Three or so digits.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, Length, Report, Unit};

    #[test]
    fn only_times_get_slack_and_only_in_the_short_form() {
        let missed = |length, unit, goal| {
            let mut report = Report::new(length);
            report.add("x", 2.0, unit, goal);
            report.check().is_err()
        };
        assert!(missed(Length::Full, Unit::Seconds, Goal::AtMost(1.0)));
        assert!(!missed(Length::Short, Unit::Seconds, Goal::AtMost(1.0)));
        assert!(missed(Length::Short, Unit::Seconds, Goal::AtMost(0.5)));
        assert!(missed(Length::Short, Unit::Percent, Goal::AtMost(1.0)));
        assert!(missed(Length::Short, Unit::MegabitsPerSecond, Goal::AtLeast(3.0)));
        assert!(!missed(Length::Full, Unit::Count, Goal::None));
    }

    #[test]
    fn a_scenario_that_broke_off_is_a_miss() {
        let mut report = Report::new(Length::Short);
        report.enter_scenario("clean");
        report.add_failure(&anyhow::anyhow!("no viewer"));
        assert!(report.check().is_err());
        assert!(report.table().contains("no viewer"));
    }
}
