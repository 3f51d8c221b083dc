//! The SQL around a migration, whose guards make it safe to send many migrations at once.
//!
//! Each migration is three messages: `open`, the file's own text verbatim (so that the server's positions are those in
//! the file), and `close`. All of them are sent before the first response arrives, so nothing after a failure may take
//! effect. Three guards ensure that; each is needed (without it, its failure was reproduced):
//! * An error leaves the session in a failed block, where every later message fails at its first command. Deferred
//!   constraints are checked *before* `close` records the migration, while an error still fails the block and the file's
//!   settings still apply.
//! * A file that ends its own transaction also ends the savepoint that `open` created, and `close` begins by releasing
//!   it. (A setting could not serve as the mark: the file may run RESET ALL.)
//! * Where no block is left to fail in, `open` requires that the previous version is recorded and that we hold the run
//!   lock.
//!
//! `open` also requires that the session's state is that of a new one. This detects every change of that state, however
//! a file made it; the files after it run in a new session.

use super::{
    check::{checks_sql, with_check_place},
    migration::Migration,
    place::TENANT_GONE,
    planned_migration::PlannedMigration,
    work::Work,
};
use crate::{
    fault::{Code, Fault},
    layout::NewRow,
    postgres::{
        DISABLE_TRANSACTION_TIMEOUT, SessionDefaults,
        fault::{LOCK_LOST, statement_fault},
        origin_comment,
        own_query::{PIN_SEARCH_PATH, PINNED_SETTINGS, RunLockRequirement, lock_check_sql, raise_unless},
        quote_literal,
    },
    sql::CheckMoment,
};
use std::time::Duration;
use tokio_postgres::Error;

/// The time at which a commit is safe from a crash of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// Immediately: once its response arrives, it and every earlier commit are safe.
    Flushed,
    /// Together with the next flushed commit, if the file was quick. Commits are flushed in order (PostgreSQL manual,
    /// 30.4), and the flush takes most of the time of a quick file (measured: 1.35 of 2.8 ms).
    Later,
}

/// A file that took longer than this is flushed at once, so that a crash of the server loses little work.
const QUICK: &str = "10 ms";

/// The SQLSTATE raised after a file that is not recorded. Class BM is unused (PostgreSQL manual, appendix A).
const NOT_RECORDED: &str = "BM001";
/// The SQLSTATE raised in a session whose state is not that of a new one.
const SESSION_CHANGED: &str = "BM003";

/// The state of an unchanged session: an expression, and its value in the new session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshState {
    /// An SQL expression.
    pub state_sql: String,
    /// Its value.
    pub state: String,
    /// The settings with which it started.
    pub defaults: SessionDefaults,
    /// The SQL condition that the backend is the session's own.
    pub is_own_backend_sql: String,
}

impl FreshState {
    fn guard_sql(&self) -> String {
        let is_same = format!("({} OPERATOR(pg_catalog.=) {})", self.state_sql, quote_literal(&self.state));
        raise_unless(&is_same, SESSION_CHANGED, "bastion-migrate: a new session would begin in another state")
    }

    /// Must come before the run lock, which would stay with another backend.
    fn own_backend_guard_sql(&self) -> String {
        raise_unless(&self.is_own_backend_sql, LOCK_LOST, "bastion-migrate: another backend has answered")
    }
}

/// The state in which a session has to be when a migration begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionGuard<'a> {
    /// The state of a new session.
    pub(super) fresh: &'a FreshState,
    /// The way in which it holds the run lock.
    pub(super) lock: RunLockRequirement,
}

impl SessionGuard<'_> {
    /// Returns the statement that fails unless the session is in that state, and then runs these checks.
    fn check_sql(self, further_checks: &str) -> String {
        lock_check_sql(self.lock, &self.fresh.own_backend_guard_sql(), further_checks)
    }
}

/// Reports whether a migration could not start because it needs a new session.
pub(super) fn needs_new_session(fault: &Fault) -> bool {
    fault.sqlstate.as_deref() == Some(SESSION_CHANGED)
}

/// Resets the session after a file: roles and settings return to their start-up values, and session objects (temporary
/// tables, prepared statements, cursors, LISTEN) are dropped, so that no file depends on the files before it in the
/// same run.
pub(super) fn reset_session_sql(defaults: &SessionDefaults) -> String {
    let settings = defaults.reset_all_sql();
    format!("{settings}; CLOSE ALL; DISCARD TEMP; DISCARD SEQUENCES; DEALLOCATE ALL; UNLISTEN *")
}

/// Returns the SQL that sets the lock timeout of the current transaction; empty where the session's own timeout
/// applies.
pub(super) fn lock_timeout_sql(limit: Option<Duration>) -> String {
    limit.map(|limit| format!("SET LOCAL lock_timeout TO {}; ", limit.as_millis())).unwrap_or_default()
}

/// Returns the SQL that opens a migration and returns its transaction id. The file runs with the settings of the
/// database, the role and the URL.
pub(super) fn open_sql(
    migration: &PlannedMigration,
    guard: SessionGuard<'_>,
    previous: Option<&PlannedMigration>,
    limit: Option<Duration>,
) -> String {
    let (index, modes, place) = (migration.id.index, migration.modes, &migration.place);
    let recorded = previous.map(|previous| {
        let version = &previous.id.version;
        let is_recorded = previous.place.ledger.is_recorded_sql(&previous.key());
        match previous.work {
            Work::Apply | Work::Record(_) => {
                let message = format!("bastion-migrate: version {version} is not recorded");
                raise_unless(&is_recorded, NOT_RECORDED, &message)
            }
            Work::Undo { .. } | Work::Unrecord { .. } => {
                let message = format!("bastion-migrate: version {version} is still recorded");
                raise_unless(&format!("NOT {is_recorded}"), NOT_RECORDED, &message)
            }
        }
    });
    let checks = [recorded.unwrap_or_default(), guard.fresh.guard_sql(), place.guard_sql()].concat();
    let guard_statements = guard.check_sql(&format!("{checks}{DISABLE_TRANSACTION_TIMEOUT}"));
    let (begin, savepoint) = (modes.begin_sql(), modes.savepoint_sql("bastion_migrate"));
    let (comment, limit) = (origin_comment::first_message_comment(index), lock_timeout_sql(limit));
    let restore = [Some(guard.fresh.defaults.reset_local_sql(&PINNED_SETTINGS)), place.transaction_path_sql()];
    let restore = restore.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let before = checks_sql(&migration.checks, CheckMoment::Before);
    format!(
        "{comment} {begin}; {PIN_SEARCH_PATH}; {guard_statements}; SELECT pg_current_xact_id()::text; {restore}; {limit}{before}{savepoint}"
    )
}

/// Returns the SQL that opens a migration without a transaction. It doesn't check the previous version, because no
/// message is sent before the previous response has arrived.
pub(super) fn open_without_transaction_sql(
    migration: &PlannedMigration,
    guard: SessionGuard<'_>,
    limit: Option<Duration>,
) -> String {
    let checks = [guard.fresh.guard_sql(), migration.place.guard_sql()].concat();
    let guard_statements = guard.check_sql(&format!("{checks}{DISABLE_TRANSACTION_TIMEOUT}"));
    match limit {
        Some(limit) => format!("{guard_statements}; SET lock_timeout TO {}", limit.as_millis()),
        None => guard_statements,
    }
}

/// Returns the fault of a migration that could not start.
pub(super) fn opening_fault(error: &Error, migration: &Migration) -> Fault {
    let fault = with_check_place(statement_fault(error).in_file(migration.whole_file()), migration);
    if fault.sqlstate.as_deref() == Some(TENANT_GONE) { fault.code(Code::TenantsInvalid) } else { fault }
}

/// Returns the SQL that closes a migration and records it with `record`. It returns the milliseconds that the migration took, and then `off` if its
/// commit is flushed later.
pub(super) fn close_sql(
    migration: &PlannedMigration,
    defaults: &SessionDefaults,
    record: &str,
    commit: Commit,
) -> String {
    let reset = reset_session_sql(defaults);
    let comment = origin_comment::last_message_comment(migration.id.index);
    let after = checks_sql(&migration.checks, CheckMoment::After);
    let constraints_sql = match commit {
        Commit::Flushed => String::new(),
        Commit::Later => format!(
            "SELECT pg_catalog.set_config('synchronous_commit', 'off', true) \
             WHERE pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp() < '{QUICK}'; "
        ),
    };
    format!(
        "{comment} {after}RELEASE SAVEPOINT bastion_migrate; SET CONSTRAINTS ALL IMMEDIATE; {reset}; {PIN_SEARCH_PATH}; {record}; {constraints_sql}COMMIT"
    )
}

/// Returns the SQL that records the work, and returns the milliseconds that it took.
pub(super) fn record_sql(migration: &PlannedMigration, row: &NewRow<'_>) -> String {
    let ledger = &migration.place.ledger;
    match &migration.work {
        Work::Apply => ledger.insert_sql(row),
        Work::Record(former) => former.remove_sql(ledger, row, None) + &ledger.insert_sql(row),
        Work::Undo { previous } => ledger.remove_sql(row, previous.as_deref()),
        Work::Unrecord { previous, former } => {
            let removed = former.remove_sql(ledger, row, previous.as_deref());
            format!("{removed}SELECT {}", row.duration_sql(1_000))
        }
    }
}

/// Resets the client encoding that a file may have changed, before SQL of ours that is not plain ASCII. It must be a
/// message of its own: the server decodes a whole message with the encoding in effect when it arrives. (`close` resets
/// it, too, but has been decoded by then.)
pub(super) const OWN_ENCODING: &str = "SET client_encoding TO 'UTF8'";

/// Flushes every earlier commit: a record in the write-ahead log is the least that makes its own commit wait for a
/// flush.
pub const FLUSH: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'bastion_migrate', '')";

/// Leaves a block, and resets the role and the encoding, which could prevent us from reading the ledger afterwards.
#[must_use]
pub fn rollback_sql(defaults: &SessionDefaults) -> String {
    format!("ROLLBACK; {}", defaults.reset_all_sql())
}

/// Reports whether `close` failed because the transaction of `open` had ended: there was another one without our
/// savepoint, or none.
pub(super) fn had_transaction_ended(error: &Error) -> bool {
    error.code().is_some_and(|state| matches!(state.code(), "3B001" | "25P01"))
}
