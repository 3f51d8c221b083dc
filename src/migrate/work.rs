//! The work that a run does with a migration.

use crate::run::PlanAction;

/// The work that a run does with a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Its statements are run, and it is recorded.
    Apply,
    /// It is recorded, and nothing is run.
    Record,
    /// The statements of its way back are run, and it is removed from the ledger.
    Undo {
        /// The version before it, which is then the last one.
        previous: Option<String>,
    },
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
