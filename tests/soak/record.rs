//! The result of a round.

use crate::{layout_forms::TextFile, moment::Moment, recorded_run::RowState};
use std::fmt;

/// The phase of a run in which it was disrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    BeforeConnection,
    Applying,
    AfterCommit,
    AfterEnd,
}

/// A disruption and the end of its run.
#[derive(Debug, Clone)]
pub(crate) struct DisruptedRun {
    pub(crate) disruption: String,
    pub(crate) moment: Moment,
    pub(crate) phase: Phase,
    pub(crate) ended: String,
    pub(crate) row: RowState,
}

/// The result of a round.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The random choices.
    pub(crate) plan: String,
    /// The files that were migrated.
    pub(crate) files: Vec<TextFile>,
    pub(crate) results: Vec<DisruptedRun>,
    pub(crate) wrong: Vec<String>,
    /// The logs of the round's runs.
    pub(crate) logs: String,
}

impl fmt::Display for DisruptedRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disruption, moment, phase, ended, row } = self;
        write!(formatter, "{disruption} {moment} ({phase}): {ended}, {row}")
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
