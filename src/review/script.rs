//! The SQL of a planned migration, wherever it comes from.

use crate::run::MigrationId;

/// The SQL that a planned migration will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationScript {
    /// The migration.
    pub id: MigrationId,
    /// The SQL; of a file, text of the same length in which everything else is blank, so that positions stay.
    pub sql: String,
    /// The transaction in which it runs.
    pub transaction: ScriptTransaction,
    /// The parts of its work that are no SQL text.
    pub hidden: Vec<HiddenPart>,
}

/// The transaction in which a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptTransaction {
    /// All of it runs in one transaction, whose BEGIN and COMMIT are not in the text.
    Whole,
    /// Each statement runs by itself, except between a BEGIN and a COMMIT in the text.
    AsWritten,
}

/// A part of a migration that can't be shown as SQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HiddenPart {
    /// Code of the app, as in "Python code".
    Code(String),
    /// All of it, for this reason, as a sentence without its full stop.
    Everything(String),
}
