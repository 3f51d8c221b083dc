//! Compares the files with the ledger: the work of a command.

use crate::{
    fault::Fault,
    layout::RecordedMigration,
    ledger::LedgerState,
    migrate::{self, Migration},
    plan::{self, PlanRules},
    run::{MigrationId, blocking::run_blocking},
    settings::Command,
};

/// The work that is planned.
#[derive(Debug)]
pub(super) struct PlannedWork {
    /// The migrations, in the order in which they are worked on.
    pub(super) pending: Vec<Migration>,
    /// The digest of the plan.
    pub(super) digest: String,
}

/// Plans the work of this command.
///
/// # Errors
/// All faults that forbid it.
pub(super) async fn plan_work(
    command: Command,
    migrations: Vec<Migration>,
    recorded: &[RecordedMigration],
    rules: &PlanRules,
) -> Result<PlannedWork, Vec<Fault>> {
    let layout = rules.layout;
    let pending = match command {
        Command::Rollback => {
            let undone = plan::find_applied_after_target(&migrations, recorded, rules)?;
            run_blocking(move || migrate::read_ways_back(undone, layout)).await?
        }
        Command::Baseline | Command::Migrate | Command::Plan | Command::Status | Command::Verify | Command::Tunnel => {
            let plan = plan::compare_with_ledger(&migrations, recorded, rules)?;
            let pending: Vec<MigrationId> = plan.pending.iter().map(|migration| migration.id.clone()).collect();
            let pending = migrations.into_iter().filter(|migration| pending.contains(&migration.id));
            match command {
                Command::Baseline => pending.map(Migration::into_recorded).collect(),
                _ => pending.collect(),
            }
        }
    };
    let digest = plan::plan_digest(layout, recorded, command.plan_action(), pending.iter());
    Ok(PlannedWork { pending, digest })
}

/// Returns the migrations in the ledger; one whose file is gone has only a name.
pub(super) fn recorded_migrations(ledger_before: &LedgerState, all_migrations: &[MigrationId]) -> Vec<MigrationId> {
    let id = |row: &RecordedMigration| {
        let id_of_file = all_migrations.iter().find(|id| id.version == row.version).cloned();
        id_of_file.unwrap_or_else(|| MigrationId {
            index: 0,
            version: row.version.clone(),
            name: row.name.clone(),
            file: String::new(),
            ..MigrationId::default()
        })
    };
    ledger_before.recorded.iter().filter(|row| row.success).map(id).collect()
}
