//! Measurements: median, spread and comparison.

use std::{fmt, time::Duration};

/// One party's values, run by run, in one unit.
#[derive(Debug, Clone)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Creates a sample from values.
    pub(crate) fn of(values: Vec<f64>) -> Self {
        Self(values)
    }

    /// Returns the median: the mean of the middle two for an even number of runs, NaN without runs.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len().saturating_sub(1) / 2;
        let upper = sorted.len() / 2;
        match (sorted.get(middle), sorted.get(upper)) {
            (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
            _ => f64::NAN,
        }
    }

    /// Returns the ratio of the medians of this and the other sample.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        self.median() / other.median()
    }
}

impl fmt::Display for Sample {
    /// Formats the median with the minimum and the maximum.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let digits = digits(self.median());
        write!(formatter, "{:.digits$} ({least:.digits$}–{most:.digits$})", self.median())
    }
}

/// Returns the number of decimals for three significant digits.
fn digits(value: f64) -> usize {
    match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    }
}

/// Measures several values of each party; the parties take turns, and each is first equally often. With more than one
/// run, an additional first round warms everything up and does not count.
pub(crate) fn in_turns<P: Copy, const PARTIES: usize, const THINGS: usize>(
    runs: usize,
    parties: [P; PARTIES],
    mut measure: impl FnMut(P) -> [f64; THINGS],
) -> [[Sample; THINGS]; PARTIES] {
    let mut samples = [const { [const { Sample(Vec::new()) }; THINGS] }; PARTIES];
    let cold = usize::from(runs > 1);
    for run in 0..runs + cold {
        let mut turn: Vec<_> = parties.iter().zip(&mut samples).collect();
        turn.rotate_left(run % PARTIES);
        for (party, samples) in turn {
            let measured = measure(*party);
            if run >= cold {
                samples.iter_mut().zip(measured).for_each(|(sample, value)| sample.0.push(value));
            }
        }
    }
    samples
}

/// Converts to milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Converts to microseconds.
pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The target of a ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    /// Formats the ratio and whether it reaches the target, as a table cell.
    pub(crate) fn judge(self, ratio: f64) -> String {
        let (sign, bound, is_reached) = match self {
            Self::AtMost(bound) => ('≤', bound, ratio <= bound),
            Self::AtLeast(bound) => ('≥', bound, ratio >= bound),
        };
        let verdict = if is_reached { "reached" } else { "**missed**" };
        format!("{ratio:.2}× ({sign} {bound}: {verdict})")
    }
}
