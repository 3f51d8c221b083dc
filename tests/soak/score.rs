//! Counts of the rounds played so far, and their table.

use crate::{
    ground::{Kind, RoundName},
    record::{DisruptedRun, Phase, Record},
    recorded_run::RowState,
};
use std::{collections::BTreeMap, fmt};

/// Counts of results.
#[derive(Debug, Default)]
pub(crate) struct Score {
    table: BTreeMap<(String, Phase, String, RowState), usize>,
    /// Rounds whose first disruption came before the run had ended, by kind.
    hits: BTreeMap<Kind, usize>,
    pub(crate) rounds: usize,
    /// Rounds with violations.
    pub(crate) failed: Vec<String>,
}

impl Score {
    /// Counts a round.
    pub(crate) fn count(&mut self, name: &RoundName, record: &Record) {
        self.rounds += 1;
        for DisruptedRun { disruption, phase, ended, row, .. } in &record.results {
            *self.table.entry((disruption.clone(), *phase, ended.clone(), *row)).or_default() += 1;
        }
        if record.results.first().is_some_and(|result| result.phase != Phase::AfterEnd) {
            *self.hits.entry(name.kind).or_default() += 1;
        }
        if !record.wrong.is_empty() {
            self.failed.push(name.to_string());
        }
    }

    /// Returns how many rounds of this kind hit a run.
    pub(crate) fn hits(&self, kind: Kind) -> usize {
        self.hits.get(&kind).copied().unwrap_or_default()
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
