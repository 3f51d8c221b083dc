//! Counts of the rounds played so far, and their table.

use crate::{
    blow::Disruption,
    recorded_run::RowState,
    round::{DisruptedRun, Phase, Record},
};
use std::{collections::BTreeMap, fmt};

/// Counts of results.
#[derive(Debug, Default)]
pub(crate) struct Score {
    table: BTreeMap<(Disruption, Phase, String, RowState), usize>,
    /// Rounds whose first disruption came before the run had ended, by kind.
    pub(crate) hits: BTreeMap<&'static str, usize>,
    pub(crate) rounds: usize,
    /// Rounds with violations.
    pub(crate) failed: Vec<String>,
}

impl Score {
    /// Counts a round.
    pub(crate) fn count(&mut self, kind: &'static str, name: &str, record: &Record) {
        self.rounds += 1;
        for DisruptedRun { disruption, phase, ended, row, .. } in &record.results {
            *self.table.entry((*disruption, *phase, ended.clone(), *row)).or_default() += 1;
        }
        if record.results.first().is_some_and(|result| result.phase != Phase::AfterEnd) {
            *self.hits.entry(kind).or_default() += 1;
        }
        if !record.wrong.is_empty() {
            self.failed.push(name.to_owned());
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| disruption | when | ended | recorded | times |\n|---|---|---|---|---|")?;
        for ((disruption, phase, ended, row), times) in &self.table {
            writeln!(formatter, "| {disruption} | {phase} | {ended} | {row} | {times} |")?;
        }
        Ok(())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::BeforeConnection => "before the connection",
            Self::Applying => "while applying",
            Self::AfterCommit => "after the last commit",
            Self::AfterEnd => "after the end",
        })
    }
}
