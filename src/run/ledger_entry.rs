//! The content of a ledger, as `command: status` lists it.

use super::{migration_id::MigrationId, plan_facts::PlanAction};

/// A migration that a ledger has, with what the ledger has about its row. Roles and pages are untrusted text.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct LedgerEntry {
    /// The migration; one whose file is gone has no file.
    #[serde(flatten)]
    pub id: MigrationId,
    /// The time of the row, in UTC to the second (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<String>,
    /// The role that wrote the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The page of the run that wrote the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// A migration that was started and not finished.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct HalfDoneMigration {
    /// The migration.
    #[serde(flatten)]
    pub entry: LedgerEntry,
    /// Number of its statements that are done; absent if the layout's tool wrote the row, which does not count them.
    pub statements_done: Option<usize>,
    /// The operation: it was being applied, or rolled back.
    pub change: PlanAction,
}
