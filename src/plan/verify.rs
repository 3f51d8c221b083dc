//! Verifies the result of a run by the ledger, not by an exit code.

use super::tenants::list_tenants;
use crate::{
    fault::{Code, Fault},
    ledger::DatabaseState,
    migrate::{Migration, Work},
};
use std::collections::BTreeSet;

/// Returns a fault for each migration whose work the ledger does not confirm after the run, and for each new invalid
/// index.
#[must_use]
pub fn missing_after_run<'m>(
    applied: impl Iterator<Item = &'m Migration>,
    before: &DatabaseState,
    after: &DatabaseState,
) -> Vec<Fault> {
    let unrecorded = applied.filter(|migration| !migration.is_done_in(after)).map(|migration| {
        let cause = match migration.work {
            Work::Apply => "was applied, but its row in the ledger is missing or different",
            Work::Record(_) => "was to be recorded, but its row in the ledger is missing or different",
            Work::Unrecord { .. } => "was to be recorded as not applied, but the ledger still has it",
            Work::Undo { .. } => "was run, but the ledger still has the migration that it undoes",
        };
        Fault::new(Code::VerifyLedger, format!("`{}`{} {cause}", migration.sent_file(), in_tenant(migration)))
    });
    let broken = after.invalid_indexes_since(before).map(invalid_index_fault);
    unrecorded.chain(broken).collect()
}

/// Returns the faults of `command: verify`: pending migrations and invalid indexes.
#[must_use]
pub fn still_pending(pending: &[&Migration], content: &DatabaseState) -> Vec<Fault> {
    let schemas: BTreeSet<&str> = pending.iter().map(|migration| migration.id.schema.as_str()).collect();
    let pending = match pending {
        [] => None,
        [migration] => Some(format!("`{}` is not applied{}", migration.id.file, in_tenant(migration))),
        [first, .., last] if schemas.len() == 1 => {
            let (count, tenant) = (pending.len(), in_tenant(first));
            Some(format!("{count} files are not applied{tenant}, `{}` to `{}`", first.id.file, last.id.file))
        }
        [..] => Some(format!("files are not applied in {}", list_tenants(&schemas))),
    };
    let pending = pending.map(|cause| Fault::new(Code::VerifyPending, cause));
    pending.into_iter().chain(content.invalid_indexes.iter().map(invalid_index_fault)).collect()
}

/// Returns the tenant as the end of a phrase; nothing without tenants.
fn in_tenant(migration: &Migration) -> String {
    match migration.id.schema.as_str() {
        "" => String::new(),
        schema => format!(" in the schema `{schema}`"),
    }
}

/// Returns the fault of an INVALID index, given by its SQL name.
#[must_use]
pub fn invalid_index_fault(index: &String) -> Fault {
    Fault::new(
        Code::VerifyIndex,
        format!("the index {index} is INVALID: the server keeps it up to date and never uses it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::{ALL, RecordedMigration},
        ledger::LedgerState,
        migrate::Body,
        run::MigrationId,
    };

    fn migration(version: usize) -> Migration {
        let body = format!("SELECT {version};");
        let id = MigrationId {
            index: version,
            version: version.to_string(),
            name: "m".to_owned(),
            file: format!("migrations/{version}_m.sql"),
            ..MigrationId::default()
        };
        Migration {
            checksum: ALL[0].checksum(body.as_bytes()),
            body: Body::InMemory(body.into()),
            ..Migration::without_file(id, ALL[0])
        }
    }

    fn ledger(migrations: &[Migration], invalid_indexes: &[&str]) -> DatabaseState {
        state(migrations.iter().map(row).collect(), invalid_indexes)
    }

    fn state(recorded: Vec<RecordedMigration>, invalid_indexes: &[&str]) -> DatabaseState {
        let invalid_indexes = invalid_indexes.iter().map(|&index| index.to_owned()).collect();
        DatabaseState::without_tenants(LedgerState { recorded, ..LedgerState::default() }, invalid_indexes)
    }

    fn row(migration: &Migration) -> RecordedMigration {
        RecordedMigration {
            version: migration.id.version.clone(),
            name: String::new(),
            checksum: Some(migration.checksum.as_bytes().to_vec()),
            success: true,
            took_ms: 1,
            origin: None,
        }
    }

    fn codes(faults: &[Fault]) -> Vec<Code> {
        faults.iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn recorded_migrations_are_verified() {
        let applied = [migration(1), migration(2)];
        assert_eq!(missing_after_run(applied.iter(), &ledger(&[], &["old"]), &ledger(&applied, &["old"])), []);
    }

    #[test]
    fn a_missing_row_an_unsuccessful_row_and_another_checksum_are_faults() {
        let applied = [migration(1), migration(2), migration(3)];
        let mut rows: Vec<RecordedMigration> = applied.iter().map(row).collect();
        rows[1].success = false;
        rows[2].checksum = Some(vec![0]);
        rows.remove(0);
        let faults = missing_after_run(applied.iter(), &DatabaseState::default(), &state(rows, &[]));
        assert_eq!(codes(&faults), [Code::VerifyLedger; 3]);
    }

    #[test]
    fn an_index_that_became_invalid_is_reported() {
        let faults = missing_after_run([].iter(), &ledger(&[], &["old"]), &ledger(&[], &["new", "old"]));
        assert_eq!(codes(&faults), [Code::VerifyIndex]);
        assert!(faults[0].cause.contains("index new"), "{}", faults[0].cause);
    }

    #[test]
    fn verify_reports_pending_files_and_every_invalid_index() {
        let pending = [migration(1), migration(2), migration(3)];
        let pending: Vec<&Migration> = pending.iter().collect();
        let faults = still_pending(&pending, &ledger(&[], &["old"]));
        assert_eq!(codes(&faults), [Code::VerifyPending, Code::VerifyIndex]);
        assert_eq!(faults[0].cause, "3 files are not applied, `migrations/1_m.sql` to `migrations/3_m.sql`");
        assert_eq!(still_pending(&[], &DatabaseState::default()), []);
    }
}
