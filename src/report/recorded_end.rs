//! The end of a run for its record in the database.

use super::{
    entries::{MigrationReport, MigrationState},
    run_report::RunReport,
};
use crate::{
    run::RunEnd,
    secret::Redactor,
    settings::{Command, Resolution},
};

impl RunReport {
    /// Returns the end of the run, as it is recorded in the database.
    #[must_use]
    pub fn run_end(&self, redactor: &Redactor) -> RunEnd {
        let fault = self.faults.first().map(|fault| format!("{}: {}", fault.code, redactor.redact(&fault.cause)));
        let is_done = |entry: &&MigrationReport| match self.command {
            Some(Command::Rollback) => entry.fate == MigrationState::RolledBack,
            Some(Command::Resolve(Resolution::NotApplied)) => entry.fate == MigrationState::Unrecorded,
            _ => entry.fate == MigrationState::Applied,
        };
        let (planned, done) = (self.migrations.len(), self.migrations.iter().filter(is_done).count());
        let end = RunEnd { outcome: self.outcome().name(), fault: None, planned, done };
        end.with_fault(fault.as_deref())
    }
}
