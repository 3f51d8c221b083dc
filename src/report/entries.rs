//! What the report has of each stage, migration, step and message.

use crate::{
    fault::Stage,
    run::{
        ResourceUsage,
        event::{MigrationId, StepId, StepState},
    },
};

/// A stage and its time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StageTime {
    /// Which.
    pub stage: Stage,
    /// Milliseconds since the run began.
    pub started_ms: u64,
    /// Milliseconds; absent while it runs and when it did not end well.
    pub took_ms: Option<u64>,
}

/// What became of one migration of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationState {
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Committed with its ledger row.
    Applied,
    /// Taken back.
    RolledBack,
    /// Failed.
    Failed,
    /// Stopped with the run, and taken back.
    Cancelled,
    /// Nobody knows.
    InDoubt,
}

/// One migration of the plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationReport {
    /// Which.
    #[serde(flatten)]
    pub id: MigrationId,
    /// What became of it.
    pub fate: MigrationState,
    /// Milliseconds since the run began.
    pub started_ms: Option<u64>,
    /// Milliseconds on the server.
    pub took_ms: Option<u64>,
}

impl MigrationReport {
    pub(super) fn new_pending(id: &MigrationId) -> Self {
        Self { id: id.clone(), fate: MigrationState::Pending, started_ms: None, took_ms: None }
    }
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StepReport {
    /// Which.
    #[serde(flatten)]
    pub id: StepId,
    /// What became of it.
    pub fate: StepState,
    /// Milliseconds since the run began.
    pub started_ms: Option<u64>,
    /// Milliseconds.
    pub took_ms: Option<u64>,
}

impl StepReport {
    pub(super) fn new_not_run(id: &StepId) -> Self {
        Self { id: id.clone(), fate: StepState::NotRun, started_ms: None, took_ms: None }
    }
}

/// What the container of one command used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UsageReport {
    /// The command, as a reader would type it.
    pub command: String,
    /// What it used.
    #[serde(flatten)]
    pub usage: ResourceUsage,
}

/// What the server said on the way. Hostile text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NoticeReport {
    /// `NOTICE`, `WARNING`, …
    pub severity: String,
    /// The message.
    pub text: String,
    /// The file that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}
