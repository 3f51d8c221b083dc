//! Entries of the report: stages, migrations, steps, resource usage and server messages.

use crate::{
    fault::Stage,
    run::{
        MigrationId, ResourceUsage,
        event::{StepId, StepState},
    },
};
use std::sync::Arc;

/// Serializes a shared value as the value itself.
pub(super) fn serialize_shared<T: serde::Serialize, S: serde::Serializer>(
    value: &Option<Arc<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&value.as_deref(), serializer)
}

/// A stage and its time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Milliseconds since the run began.
    pub started_ms: u64,
    /// Milliseconds; absent while it runs and if it failed.
    pub took_ms: Option<u64>,
}

/// State of one migration of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationState {
    /// Not started.
    Pending,
    /// Started.
    Running,
    /// Committed with its ledger row.
    Applied,
    /// Rolled back.
    RolledBack,
    /// Removed from the ledger without being rolled back.
    Unrecorded,
    /// Failed.
    Failed,
    /// Stopped with the run, and rolled back.
    Cancelled,
    /// It is unknown whether it was committed.
    InDoubt,
}

/// One migration of the plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationReport {
    /// The migration.
    #[serde(flatten)]
    pub id: MigrationId,
    /// Its state.
    pub fate: MigrationState,
    /// Milliseconds since the run began.
    pub started_ms: Option<u64>,
    /// Duration on the server in milliseconds.
    pub took_ms: Option<u64>,
    /// For a migration without a transaction: the number of its statements that are done, and of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<(usize, usize)>,
}

impl MigrationReport {
    pub(super) fn new_pending(id: &MigrationId) -> Self {
        Self { id: id.clone(), fate: MigrationState::Pending, started_ms: None, took_ms: None, statements: None }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StepReport {
    /// The step.
    #[serde(flatten)]
    pub id: StepId,
    /// Its state.
    pub fate: StepState,
    /// Milliseconds since the run began.
    pub started_ms: Option<u64>,
    /// Duration in milliseconds.
    pub took_ms: Option<u64>,
}

impl StepReport {
    pub(super) fn new_not_run(id: &StepId) -> Self {
        Self { id: id.clone(), fate: StepState::NotRun, started_ms: None, took_ms: None }
    }
}

/// Resources that the container of one command used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UsageReport {
    /// The command, as a user would type it.
    pub command: String,
    /// The resources.
    #[serde(flatten)]
    pub usage: ResourceUsage,
}

/// A message of the server. Untrusted text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NoticeReport {
    /// `NOTICE`, `WARNING`, …
    pub severity: String,
    /// The message.
    pub text: String,
    /// The file that caused it, if a file did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}
