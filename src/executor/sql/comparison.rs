//! Compares the files with the ledger: the work of a command.

use crate::{
    fault::Fault,
    layout::{RecordedMigration, RowDetail, RowOrigin},
    ledger::LedgerState,
    migrate::{self, Migration},
    plan::{self, PlanRules},
    run::{HalfDoneMigration, LedgerEntry, MigrationId, blocking::run_blocking, event::Event},
    settings::Command,
};
use std::collections::HashMap;

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

/// Returns the part of each row that this command needs.
pub(super) fn detail_for(command: Command) -> RowDetail {
    if command == Command::Status { RowDetail::WithOrigin } else { RowDetail::ForPlan }
}

/// Returns the content of the ledger, and the migrations that were started and not finished. One whose file is gone has
/// only a version and a name.
pub(super) fn listed_ledger(ledger_before: &LedgerState, all_migrations: &[MigrationId]) -> Event {
    let files: HashMap<&str, &MigrationId> = all_migrations.iter().map(|id| (id.version.as_str(), id)).collect();
    let id_of = |version: &str, name: &str| match files.get(version) {
        Some(id) => (*id).clone(),
        None => MigrationId { version: version.to_owned(), name: name.to_owned(), ..MigrationId::default() },
    };
    let entry = |row: &RecordedMigration| {
        let RowOrigin { time, role, run } = row.origin.as_deref().cloned().unwrap_or_default();
        LedgerEntry { id: id_of(&row.version, &row.name), recorded_at: time, role, run }
    };
    let (recorded, unfinished): (Vec<_>, Vec<_>) = ledger_before.recorded.iter().partition(|row| row.success);
    let unfinished =
        unfinished.into_iter().map(|row| HalfDoneMigration { entry: entry(row), ..HalfDoneMigration::default() });
    let in_progress = ledger_before.progress.iter().filter(|row| row.started > 0).map(|row| {
        let (version, change) = migrate::split_progress_key(&row.version);
        let entry = LedgerEntry { id: id_of(version, ""), ..LedgerEntry::default() };
        HalfDoneMigration { entry, statements_done: Some(row.done), change }
    });
    Event::LedgerListed {
        recorded: recorded.into_iter().map(entry).collect(),
        half_done: unfinished.chain(in_progress).collect(),
    }
}
