//! What has been played so far, and the table of it.

use crate::{
    blow::Blow,
    round::{Phase, Record, Struck},
};
use std::{collections::BTreeMap, fmt};

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Score {
    table: BTreeMap<(Blow, Phase, String), usize>,
    /// Blows that met a run which had not ended, by the kind of their round; second blows do not count.
    pub(crate) hits: BTreeMap<&'static str, usize>,
    pub(crate) rounds: usize,
    /// Rounds with violations.
    pub(crate) failed: Vec<String>,
}

impl Score {
    /// Takes a round in.
    pub(crate) fn count(&mut self, kind: &'static str, name: &str, record: &Record) {
        self.rounds += 1;
        for Struck { blow, phase, ended, .. } in &record.struck {
            *self.table.entry((*blow, *phase, ended.clone())).or_default() += 1;
        }
        if record.struck.first().is_some_and(|struck| struck.phase != Phase::AfterEnd) {
            *self.hits.entry(kind).or_default() += 1;
        }
        if !record.wrong.is_empty() {
            self.failed.push(name.to_owned());
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "| blow | when | ended | times |\n|---|---|---|---|")?;
        for ((blow, phase, ended), times) in &self.table {
            writeln!(formatter, "| {blow} | {phase} | {ended} | {times} |")?;
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
