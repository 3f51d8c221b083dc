//! The work that a run does with a migration.

use crate::{
    layout::NewRow,
    ledger::{Ledger, LedgerState, ProgressRow},
    run::PlanAction,
};

/// The work that a run does with a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Its statements are run, and it is recorded.
    Apply,
    /// It is recorded, and nothing is run.
    Record(FormerRecord),
    /// The statements of its way back are run, and it is removed from the ledger.
    Undo {
        /// The version before it, which is then the last one.
        previous: Option<String>,
    },
    /// It is removed from the ledger, and nothing is run.
    Unrecord {
        /// The version before it, which is then the last one.
        previous: Option<String>,
        /// What is removed.
        former: FormerRecord,
    },
}

/// What the ledger has about a migration before it is recorded otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormerRecord {
    /// Set if it has a row, of whatever content.
    pub has_row: bool,
    /// The key of its progress, if an earlier run has left it half done.
    pub progress_key: Option<String>,
}

impl FormerRecord {
    /// Reads it from the ledger.
    #[must_use]
    pub fn find(version: &str, ledger: &LedgerState) -> Self {
        let of_version = |row: &&ProgressRow| split_progress_key(&row.version).0 == version;
        Self {
            has_row: ledger.recorded.iter().any(|row| row.version == version),
            progress_key: ledger.progress.iter().find(of_version).map(|row| row.version.clone()),
        }
    }

    /// Returns whether the ledger has nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the SQL that removes it, each statement with a semicolon behind it. `previous` is the version before the
    /// migration.
    pub(super) fn remove_sql(&self, ledger: &Ledger, row: &NewRow<'_>, previous: Option<&str>) -> String {
        let progress = self.progress_key.as_ref().map(|key| ledger.progress_record(key).remove_sql());
        let row = self.has_row.then(|| ledger.forget_sql(row, previous));
        progress.into_iter().chain(row).map(|sql| format!("{sql}; ")).collect()
    }
}

/// Returns the version of a progress row, and whether its migration was being applied or rolled back.
#[must_use]
pub fn split_progress_key(key: &str) -> (&str, PlanAction) {
    match key.strip_suffix(UNDO_KEY) {
        Some(version) => (version, PlanAction::RollBack),
        None => (key, PlanAction::Apply),
    }
}

/// The end of the key of a progress row for a way back; no version ends like this.
pub(super) const UNDO_KEY: &str = " down";
