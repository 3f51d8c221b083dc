//! The facts of a plan.

use super::migration_id::MigrationId;

/// The operation that a run performs on the migrations of its plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanAction {
    /// Apply them.
    #[default]
    Apply,
    /// Record them as applied without applying them.
    Record,
    /// Roll them back.
    RollBack,
    /// Remove them from the ledger without rolling them back.
    Unrecord,
}

/// Completeness of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// The plan lists all pending migrations.
    Complete,
    /// Unknown: the tool can't list its migrations, or can't do so yet.
    Unknown,
}

/// The plan of a run.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlanFacts {
    /// The operation on the pending migrations.
    #[serde(skip)]
    pub change: PlanAction,
    /// Completeness of `pending`.
    #[serde(skip)]
    pub coverage: Coverage,
    /// The layout's name, as in `plain`.
    pub layout: String,
    /// The ledger table, qualified; else [`Self::NO_LEDGER`], or a phrase for the tool's own listing.
    pub ledger: String,
    /// Number of migrations that are in the ledger already.
    pub recorded: usize,
    /// The pending migrations, in order.
    pub pending: Vec<MigrationId>,
    /// Digest of the plan: equal digests mean equal work.
    pub digest: String,
    /// The reason that a person gives for it, with `command: resolve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PlanFacts {
    /// The value of `ledger` before a tool has created its ledger.
    pub const NO_LEDGER: &str = "no ledger yet";
}
