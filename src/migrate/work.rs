//! The work that a run does with a migration.

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

/// The end of the key of a progress row for a way back; no version ends like this.
pub(super) const UNDO_KEY: &str = " down";
