//! How fast something grows: a line through samples by least squares, and how far it may be trusted.

/// A slope in units a second, and half the width of its interval of 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Growth a second.
    pub slope: f64,
    /// By how much the true one may differ: 1.96 standard errors, as if samples were independent.
    pub margin: f64,
}

impl Trend {
    /// Fits one slope to runs of samples, each a time in seconds and a value; every run has a level of its own, since
    /// a process that is started again begins anew. `None` when there are fewer than two samples more than runs, or
    /// no two of a run are of different moments.
    pub fn fit(runs: &[Vec<(f64, f64)>]) -> Option<Self> {
        let runs: Vec<&Vec<(f64, f64)>> = runs.iter().filter(|run| !run.is_empty()).collect();
        let centred: Vec<(f64, f64)> = runs.iter().flat_map(|run| centre(run)).collect();
        // One slope and a level for each run are estimated.
        let freedom = centred.len().checked_sub(runs.len() + 1).filter(|left| *left > 0)?;
        let spread: f64 = centred.iter().map(|(t, _)| t * t).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = centred.iter().map(|(t, value)| t * value).sum::<f64>() / spread;
        let residue: f64 = centred.iter().map(|(t, value)| (value - slope * t).powi(2)).sum();
        Some(Self { slope, margin: 1.96 * (residue / freedom as f64 / spread).sqrt() })
    }
}

/// Moves a run to where its means are 0.
fn centre(run: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let count = run.len() as f64;
    let (times, values) =
        run.iter().fold((0.0, 0.0), |(times, values), (t, value)| (times + t, values + value));
    run.iter().map(|(t, value)| (t - times / count, value - values / count)).collect()
}

/// By how much the lowest of the last quarter lies above the lowest of the first: what leaks lifts the floor, what
/// comes and goes does not.
pub fn floor_growth(values: &[u64]) -> f64 {
    let quarter = values.len().div_ceil(4);
    let lowest = |values: &[u64]| values.iter().min().map_or(f64::NAN, |lowest| *lowest as f64);
    lowest(&values[values.len() - quarter..]) - lowest(&values[..quarter])
}

#[cfg(test)]
mod tests {
    use super::{Trend, floor_growth};

    fn line(level: f64, slope: f64, noise: f64) -> Vec<(f64, f64)> {
        let sample = |n: u32| {
            (f64::from(n), level + slope * f64::from(n) + if n.is_multiple_of(2) { noise } else { -noise })
        };
        (0..100).map(sample).collect()
    }

    #[test]
    fn a_slope_is_found_behind_noise_and_its_margin_tells_how_well() {
        let trend = Trend::fit(&[line(50.0, 0.3, 2.0)]).map(|trend| (trend.slope, trend.margin));
        assert!(
            trend.is_some_and(|(slope, margin)| (slope - 0.3).abs() < margin && margin < 0.02),
            "{trend:?}"
        );
    }

    #[test]
    fn levels_of_processes_started_anew_are_no_growth() {
        let trend = Trend::fit(&[line(10.0, 0.0, 1.0), Vec::new(), line(90.0, 0.0, 1.0)]);
        assert!(trend.is_some_and(|trend| trend.slope.abs() < 0.01), "{trend:?}");
    }

    #[test]
    fn two_samples_show_no_trend() {
        assert_eq!(Trend::fit(&[vec![(0.0, 1.0), (1.0, 2.0)]]), None);
        assert_eq!(Trend::fit(&[vec![(1.0, 1.0); 9]]), None);
    }

    #[test]
    fn what_comes_and_goes_is_no_growth_and_what_stays_is() {
        assert_eq!(floor_growth(&[9, 12, 9, 9, 14, 9, 9, 12]), 0.0);
        assert_eq!(floor_growth(&[9, 12, 9, 9, 14, 10, 11, 12]), 2.0);
        assert!(floor_growth(&[]).is_nan());
    }
}
