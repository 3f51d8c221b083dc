//! The command of a run.

use super::resolution::Resolution;
use crate::run::PlanAction;

/// The command of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Apply pending migrations and verify the result.
    Migrate,
    /// List pending migrations, identified by a digest. Read-only.
    Plan,
    /// Run the pending migrations on a copy of the schema, and report what they did there. Read-only.
    Rehearse,
    /// List applied and pending migrations. Read-only.
    Status,
    /// Fail unless all migrations are applied and nothing is broken. Read-only.
    Verify,
    /// Roll migrations back to `target`, and verify the result.
    Rollback,
    /// Record migrations as applied whose changes the schema already has.
    Baseline,
    /// Record what a person has decided about one migration.
    Resolve(Resolution),
    /// Check everything that a migration needs. Read-only.
    Doctor,
    /// List the runs that have worked on the database. Read-only.
    History,
    /// Open a tunnel for the following steps of the job.
    Tunnel,
}

impl Command {
    /// Returns the name as written in inputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Plan => "plan",
            Self::Rehearse => "rehearse",
            Self::Status => "status",
            Self::Verify => "verify",
            Self::Rollback => "rollback",
            Self::Baseline => "baseline",
            Self::Resolve(_) => "resolve",
            Self::Doctor => "doctor",
            Self::History => "history",
            Self::Tunnel => "tunnel",
        }
    }

    /// Returns the operation on the migrations of its plan.
    #[must_use]
    pub fn plan_action(self) -> PlanAction {
        match self {
            Self::Rollback => PlanAction::RollBack,
            Self::Baseline | Self::Resolve(Resolution::Applied) => PlanAction::Record,
            Self::Resolve(Resolution::NotApplied) => PlanAction::Unrecord,
            Self::Migrate
            | Self::Plan
            | Self::Rehearse
            | Self::Status
            | Self::Verify
            | Self::Doctor
            | Self::History
            | Self::Tunnel => PlanAction::Apply,
        }
    }

    /// Returns whether the command may change the database.
    #[must_use]
    pub fn may_write(self) -> bool {
        matches!(self, Self::Migrate | Self::Rollback | Self::Baseline | Self::Resolve(_))
    }

    /// Returns whether the command removes migrations from the ledger.
    #[must_use]
    pub fn removes_rows(self) -> bool {
        matches!(self.plan_action(), PlanAction::RollBack | PlanAction::Unrecord)
    }
}

impl serde::Serialize for Command {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
