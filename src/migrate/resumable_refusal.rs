//! Reasons not to run or resume a migration without a transaction.

use super::{
    planned_migration::PlannedMigration,
    work::{Work, split_progress_key},
};
use crate::{
    fault::{Code, Fault},
    ledger::{DatabaseState, LedgerState, ProgressRow},
    run::PlanAction,
    sql::{Execution, UnrecoverableObject},
};

/// The command that records that nothing of a migration is in the database.
const FORGET: &str = "`command: resolve` with `resolve: not-applied`, the reason in `allow`";

/// Refuses files that now ask for a transaction although an earlier run has executed a part of them without one.
/// Also refuses files whose session objects a resumed run could not restore.
#[must_use]
pub fn refuse_half_done(pending: &[PlannedMigration], content: &DatabaseState) -> Vec<Fault> {
    let is_half_done = |migration: &&PlannedMigration| {
        let row =
            content.ledger_of(&migration.id.schema).progress.iter().find(|row| row.version == migration.progress_key());
        let runs_statements = matches!(migration.work, Work::Apply | Work::Undo { .. });
        runs_statements
            && row.is_some_and(|row| row.started > 0)
            && !matches!(*migration.execution, Execution::PerStatement { .. })
    };
    let fault = |migration: &PlannedMigration| {
        let (file, version) = (migration.sent_file(), &migration.id.version);
        let cause =
            format!("an earlier run executed a part of `{file}` without a transaction, but now the file asks for one");
        Fault::new(Code::FileChanged, cause)
            .fix("put `-- no-transaction` back on the first line, and the run resumes where the earlier one stopped")
            .detail(format!("or undo that part by hand, and run {FORGET}, and `target: {version}`"))
            .in_file(migration.whole_file())
    };
    pending.iter().filter(is_half_done).map(fault).chain(pending.iter().flat_map(refuse_unrecoverable)).collect()
}

/// Refuses to go on in one direction while a migration without a transaction is half-done in the other.
#[must_use]
pub fn refuse_other_direction(change: PlanAction, content: &LedgerState) -> Vec<Fault> {
    let fault = |row: &ProgressRow| {
        let (version, begun) = split_progress_key(&row.version);
        match (change, begun) {
            (PlanAction::RollBack, PlanAction::Apply) => Some(
                Fault::new(Code::LedgerDirty, format!("version {version} is applied in part, without a transaction"))
                    .fix("run `command: migrate`, which resumes it, and then roll back"),
            ),
            (PlanAction::Apply | PlanAction::Record, PlanAction::RollBack) => Some(
                Fault::new(Code::LedgerDirty, format!("version {version} is undone in part, without a transaction"))
                    .fix("run `command: rollback` again with the same `target`: it resumes"),
            ),
            _ => None,
        }
    };
    content.progress.iter().filter(|row| row.started > 0).filter_map(fault).collect()
}

/// Refuses session objects that the file uses after a statement that commits by itself, if a resumed run could not
/// restore them.
fn refuse_unrecoverable(migration: &PlannedMigration) -> Vec<Fault> {
    let Execution::PerStatement { lost, .. } = &*migration.execution else { return Vec::new() };
    let source = migration.source();
    let fault = |lost: &UnrecoverableObject| {
        let cause = format!(
            "`{}`, created on line {} of `{}`, ends with its session, and line {} needs it after a statement that is committed by \
             itself: a run that is cut off between the two could not be resumed",
            lost.name,
            source.line_number(lost.created.start),
            source.file,
            source.line_number(lost.last_used.start)
        );
        Fault::new(Code::StatementRefused, cause)
            .fix(
                "move the statements that create and use it into a file of their own without `-- no-transaction`; or create an \
                 ordinary table instead, and drop it at the end of the file",
            )
            .detail(format!(
                "if an earlier run has executed a part of this file: undo that by hand, and run {FORGET}, and `target: {}`",
                migration.id.version
            ))
            .in_file(migration.replaced.restore_place(source.place_at_byte(lost.created.start)))
    };
    lost.iter().map(fault).collect()
}
