//! The latch protocol: what makes it safe to send many migrations at once.
//!
//! Each migration is three messages: `open`, the file's own text verbatim (so that the server's positions are the file's),
//! and `close`. All are in flight before the first answer is back, so nothing that follows a failure may take effect. Three
//! latches see to it, each needed (all were reproduced without it):
//! * an error leaves the session in a failed block, where every later message fails at its first command; deferred
//!   constraints are checked *before* `close` records, while their errors still do so, and the file's settings still hold;
//! * a file that ends its own transaction ends the savepoint that `open` made, and `close` begins by releasing it. (A
//!   setting would not do for a mark: the file may say RESET ALL.)
//! * where no block is left to fail in, `open` demands that the version before is recorded, and that the run lock is ours.
//!
//! `open` also demands that the session still is what a new one would be: what a file changes of that is seen there, however
//! it did it, and the files behind it run in a new session.

use super::migration::Migration;
use crate::{
    fault::Fault,
    ledger::{Entry, Ledger},
    postgres::{
        UNLIMITED,
        fault::statement,
        literal, origin_mark,
        own_query::{ON_ITS_OWN_PATH, ON_OUR_PATH, guard_sql, raise_unless},
    },
    sql::Modes,
};
use std::time::Duration;
use tokio_postgres::Error;

/// When a commit is safe from a crash of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// When it is answered, and every one before it with it.
    Flushed,
    /// With the next one that is flushed, if the file was a quick one: the order of commits is kept (PostgreSQL manual,
    /// 30.4), and where files are quick the flush is most of their time (measured: 1.35 of 2.8 ms).
    Later,
}

/// A file that took longer than this is flushed at once, so that a crash of the server can't forget much.
const QUICK: &str = "10 ms";

/// The SQLSTATE of our refusal to go on behind a file that is not recorded; class BM is nobody's (PostgreSQL manual, appendix A).
const NOT_RECORDED: &str = "BM001";
/// The SQLSTATE of our refusal to go on in a session that is not what a new one would be.
const SESSION_WORN: &str = "BM003";

/// What a session is like that nothing has changed: a question, and what it answered when the session was new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// An SQL expression.
    pub state_sql: String,
    /// Its value.
    pub state: String,
}

impl Fresh {
    fn guard_sql(&self) -> String {
        let same = format!("({} OPERATOR(pg_catalog.=) {})", self.state_sql, literal(&self.state));
        raise_unless(&same, SESSION_WORN, "bastion-migrate: a new session would begin in another state")
    }
}

/// Returns whether a migration could not begin because it needs a new session.
pub(super) fn is_worn(fault: &Fault) -> bool {
    fault.sqlstate.as_deref() == Some(SESSION_WORN)
}

/// Takes back what a file changed in its session: roles and settings return to the start-up's, and what lives as long as the
/// session (temporary tables, prepared statements, cursors, LISTEN) ends, so that no file depends on which ones ran before it
/// in the same run.
pub(super) const FORGET: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; \
    CLOSE ALL; DISCARD TEMP; DISCARD SEQUENCES; DEALLOCATE ALL; UNLISTEN *";

/// How long a statement waits for a lock, as SQL for the transaction that it stands in; nothing where the session's own limit
/// holds.
pub(super) fn limit_sql(limit: Option<Duration>) -> String {
    limit.map(|limit| format!("SET LOCAL lock_timeout TO {}; ", limit.as_millis())).unwrap_or_default()
}

/// Begins a migration; answers with its transaction id. The file gets the settings back that the database, the role and the URL
/// give it.
pub(super) fn open_sql(
    ledger: &Ledger,
    fresh: &Fresh,
    (version, modes): (i64, Modes),
    previous: Option<i64>,
    limit: Option<Duration>,
) -> String {
    let recorded = previous.map(|version| {
        let message = format!("bastion-migrate: version {version} is not recorded");
        raise_unless(&ledger.is_recorded_sql(version), NOT_RECORDED, &message)
    });
    let guard = guard_sql(&format!("{}{}{UNLIMITED}", recorded.unwrap_or_default(), fresh.guard_sql()));
    let (begin, savepoint) = (modes.begin_sql(), modes.savepoint_sql("bastion_migrate"));
    let (mark, limit) = (origin_mark::begins(version), limit_sql(limit));
    format!(
        "{mark} {begin}; {ON_OUR_PATH}; {guard}; SELECT pg_current_xact_id()::text; {ON_ITS_OWN_PATH}; {limit}{savepoint}"
    )
}

/// Begins a migration without a transaction: the version before is not asked for, as nothing is sent ahead of an answer.
pub(super) fn open_alone_sql(fresh: &Fresh, limit: Option<Duration>) -> String {
    let guard = guard_sql(&format!("{}{UNLIMITED}", fresh.guard_sql()));
    match limit {
        Some(limit) => format!("{guard}; SET lock_timeout TO {}", limit.as_millis()),
        None => guard,
    }
}

/// The fault for a migration that could not begin.
pub(super) fn opening_fault(error: &Error, migration: &Migration) -> Fault {
    statement(error).in_file(migration.source().file())
}

/// Ends a migration; answers with the milliseconds that it took, and then with `off` if its commit is flushed later.
pub(super) fn close_sql(ledger: &Ledger, entry: &Entry<'_>, commit: Commit) -> String {
    let (record, mark) = (ledger.insert_sql(entry), origin_mark::ends(entry.version));
    let later = match commit {
        Commit::Flushed => String::new(),
        Commit::Later => format!(
            "SELECT pg_catalog.set_config('synchronous_commit', 'off', true) \
             WHERE pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp() < '{QUICK}'; "
        ),
    };
    format!(
        "{mark} RELEASE SAVEPOINT bastion_migrate; SET CONSTRAINTS ALL IMMEDIATE; {FORGET}; {ON_OUR_PATH}; {record}; {later}COMMIT"
    )
}

/// Sets back what a file may have made of the encoding, before a text of ours that needs more than ASCII: a server reads a
/// whole message in the encoding that holds when it comes, so this is a message of its own. (`close` sets it back, too, but
/// has been read by then.)
pub(super) const OUR_ENCODING: &str = "SET client_encoding TO 'UTF8'";

/// Flushes every commit before it: a record in the log is the least that a commit waits for.
pub const FLUSH: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'bastion_migrate', '')";

/// Leaves a block, and takes back what would keep us from reading the ledger afterwards: a role, an encoding.
pub(super) const ROLLBACK: &str = "ROLLBACK; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL";

/// The same, and flushes.
pub(super) const ROLLBACK_AND_FLUSH: &str = "ROLLBACK; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; \
    SELECT pg_catalog.pg_logical_emit_message(true, 'bastion_migrate', '')";

/// Whether `close` failed because the transaction of `open` had ended: there was another one without our savepoint, or none.
pub(super) fn had_ended(error: &Error) -> bool {
    error.code().is_some_and(|state| matches!(state.code(), "3B001" | "25P01"))
}
