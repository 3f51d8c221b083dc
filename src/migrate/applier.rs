//! Applies one migration: its messages, and what their responses mean.

use super::{
    commit_progress::CommitProgress,
    error_location,
    migration::Migration,
    planned_migration::PlannedMigration,
    response::{ControlResponse, read_body_response, read_control_response},
    transaction::{
        Commit, FreshState, OWN_ENCODING, SessionGuard, close_sql, had_transaction_ended, open_sql, opening_fault,
        record_sql,
    },
    work::Work,
};
use crate::{
    fault::{Code, Fault},
    layout::NewRow,
    postgres::{
        LockWaits,
        fault::statement_fault,
        own_query::{OwnQuery, RunLockRequirement},
        quote_identifier,
        wait::answer_within,
        waits_for_transactions,
    },
    run::{
        event::{Event, Events},
        lock_retries::LockRetries,
    },
    sql::Span,
};
use std::{cell::Cell, pin::Pin, time::Duration};
use tokio::time::Instant;
use tokio_postgres::{Client, Error, SimpleQueryStream};

/// Everything that applying needs besides the migrations.
#[derive(Debug)]
pub struct Pipeline<'a> {
    /// The session that holds the run lock.
    pub client: &'a Client,
    /// The way in which the session holds the run lock.
    pub lock: RunLockRequirement,
    /// The state of a new session.
    pub fresh: &'a FreshState,
    /// The receiver of events.
    pub events: &'a Events,
    /// The number of retries after a lock timeout, and the lock timeout of each attempt.
    pub lock_retries: LockRetries,
    /// The source of the lock timeouts: the user's URL may set its own.
    pub lock_timeouts: LockTimeouts,
    /// The number of the current attempt at the next file.
    pub attempt: Cell<u32>,
    /// The monitor that finds the sessions in the way.
    pub lock_waits: &'a LockWaits,
    /// Time limit for a rollback.
    pub rollback_timeout: Duration,
    /// URL of this run's page, for the ledger.
    pub run_url: Option<&'a str>,
    /// The progress so far; it outlives the future that applies.
    pub commits: &'a CommitProgress,
    /// A statement for the transaction of the last migration, whose failure must not make that one fail.
    pub with_last: Option<WithLast>,
}

/// A statement that belongs to the transaction in which one migration is recorded.
#[derive(Debug)]
pub struct WithLast {
    /// The migration, by its index in the plan.
    pub index: usize,
    /// The statement; it returns no row.
    pub sql: String,
}

/// The source of the lock timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockTimeouts {
    /// Each attempt has its own.
    PerAttempt,
    /// The session keeps the one it started with.
    Session,
}

/// A migration that was sent and whose response is outstanding.
pub(super) struct InFlight {
    /// The ledger is created, if this is the first migration in it.
    creation: Option<Pin<Box<SimpleQueryStream>>>,
    open: Pin<Box<SimpleQueryStream>>,
    body: Pin<Box<SimpleQueryStream>>,
    close: Pin<Box<SimpleQueryStream>>,
}

impl Pipeline<'_> {
    pub(super) fn guard(&self) -> SessionGuard<'_> {
        SessionGuard { fresh: self.fresh, lock: self.lock }
    }

    /// Returns the lock timeout of this attempt, if it is ours to set and shorter than the session's.
    pub(super) fn lock_timeout(&self, attempt: u32) -> Option<Duration> {
        let limit = self.lock_retries.timeout_for(attempt);
        (self.lock_timeouts == LockTimeouts::PerAttempt && limit < self.lock_retries.lock_timeout).then_some(limit)
    }

    /// Returns the lock timeout of a file in one transaction: none if its statement waits for other transactions to
    /// end.
    pub(super) fn lock_timeout_of(&self, migration: &Migration, attempt: u32) -> Option<Duration> {
        match waits_for_transactions(migration.text()) {
            Some(_) => Some(Duration::ZERO),
            None => self.lock_timeout(attempt),
        }
    }

    /// Sends a migration that is one transaction, without waiting for the response.
    pub(super) async fn send_migration(
        &self,
        migration: &PlannedMigration,
        previous: Option<&PlannedMigration>,
        commit: Commit,
        limit: Option<Duration>,
    ) -> Result<InFlight, Error> {
        let opening_sql = open_sql(migration, self.guard(), previous, limit);
        let record = self.record_sql(migration, &self.new_ledger_row(migration));
        let close = close_sql(migration, &self.fresh.defaults, &record, commit);
        // `simple_query_raw` returns after sending, before the response. The file may follow its ledger at once:
        // without one it can't be recorded, and is rolled back.
        let creation = match creation_sql(migration, previous) {
            Some(sql) => Some(Box::pin(self.client.simple_query_raw(&sql).await?)),
            None => None,
        };
        Ok(InFlight {
            creation,
            open: Box::pin(self.client.simple_query_raw(&opening_sql).await?),
            body: Box::pin(self.client.simple_query_raw(migration.sent_text()).await?),
            close: Box::pin(self.send_close(&close).await?),
        })
    }

    /// Sends a closing message, after resetting the encoding if it is not plain ASCII.
    pub(super) async fn send_close(&self, close: &str) -> Result<SimpleQueryStream, Error> {
        if !close.is_ascii() {
            // If this fails, so does the closing message.
            drop(self.client.simple_query_raw(OWN_ENCODING).await?);
        }
        self.client.simple_query_raw(close).await
    }

    /// Waits for the response to a migration that was sent.
    ///
    /// # Errors
    /// The reason why it was rolled back.
    pub(super) async fn read_responses(&self, migration: &PlannedMigration, in_flight: InFlight) -> Result<(), Fault> {
        if let Some(creation) = in_flight.creation
            && let Some(error) = read_control_response(creation).await.error
        {
            return Err(creation_fault(&error, migration));
        }
        let began = self.check_opened(migration, read_control_response(in_flight.open).await)?;
        let body = read_body_response(in_flight.body).await;
        let closed = read_control_response(in_flight.close).await;
        let Some(error) = body.error else { return self.check_recorded(migration, closed, began) };
        let fault = error_location::body_fault(&error, migration, Span::whole(migration.text()), body.completed).await;
        Err(match closed.error {
            Some(error) if had_transaction_ended(&error) => {
                fault.code(Code::TransactionEnded).detail("before it failed, the file ended the transaction it ran in")
            }
            _ => fault,
        })
    }

    /// Handles the response to a migration's opening message.
    pub(super) fn check_opened(&self, migration: &Migration, opened: ControlResponse) -> Result<Instant, Fault> {
        if let Some(error) = opened.error {
            return Err(opening_fault(&error, migration));
        }
        self.commits.xid.set(opened.rows.first().and_then(|xid| xid.parse().ok()));
        match migration.work {
            Work::Apply => self.events.emit(Event::Started(migration.id.clone())),
            Work::Record(_) | Work::Unrecord { .. } => {}
            Work::Undo { .. } => self.events.emit_note(format!("rolling back {}", migration.sent_file())),
        }
        if let Some(note) = &migration.note {
            self.events.emit_note(note.clone());
        }
        Ok(Instant::now())
    }

    /// Handles the response to a migration's closing message.
    pub(super) fn check_recorded(
        &self,
        migration: &Migration,
        closed: ControlResponse,
        began: Instant,
    ) -> Result<(), Fault> {
        if let Some(error) = closed.error {
            return Err(error_location::closing_fault(&error, migration));
        }
        let mut rows = closed.rows.iter();
        let duration =
            rows.next().and_then(|row| row.parse().ok()).map_or_else(|| began.elapsed(), Duration::from_millis);
        self.commits.record_commit(if rows.next().is_some() { Commit::Later } else { Commit::Flushed });
        self.events.emit(migration.done_event(duration));
        Ok(())
    }

    /// Creates the ledger of this migration if it is the first in it, and waits for the response.
    pub(super) async fn create_ledger(
        &self,
        migration: &PlannedMigration,
        previous: Option<&PlannedMigration>,
    ) -> Result<(), Fault> {
        let Some(sql) = creation_sql(migration, previous) else { return Ok(()) };
        let created = self.client.batch_execute(&sql).await;
        created.map_err(|error| creation_fault(&error, migration))
    }

    /// Leaves the failed block; when this returns, the responses to all earlier messages have arrived. Returns another
    /// fault if the session was lost, and with it perhaps commits that were not flushed.
    pub(super) async fn roll_back_after(&self, fault: Fault) -> Fault {
        let rollback_sql = self.commits.rollback_sql(&self.fresh.defaults);
        let rollback = self.client.batch_execute(&rollback_sql);
        match answer_within(self.rollback_timeout, async { rollback.await.map_err(|error| statement_fault(&error)) })
            .await
        {
            Ok(()) => self.commits.record_rollback(),
            // A session that can't roll back is lost, and its transaction with it.
            Err(lost) if self.commits.durable.get() < self.commits.committed.get() => {
                return lost.detail(format!("before that: {}", fault.cause));
            }
            Err(_) => {}
        }
        fault
    }

    /// Returns the SQL that records the work, and returns the milliseconds that it took.
    pub(super) fn record_sql(&self, migration: &PlannedMigration, row: &NewRow<'_>) -> String {
        let record = record_sql(migration, row);
        match self.with_last.as_ref().filter(|last| last.index == migration.id.index) {
            Some(last) => format!("{record}; {}", last.sql),
            None => record,
        }
    }

    pub(super) fn new_ledger_row<'m>(&'m self, migration: &'m PlannedMigration) -> NewRow<'m> {
        NewRow {
            version: &migration.id.version,
            name: &migration.id.name,
            path: &migration.relative_path,
            statements: if migration.place.ledger.layout.records_statements() {
                migration.statements()
            } else {
                Vec::new()
            },
            checksum: &migration.checksum,
            run_url: self.run_url,
            took: None,
        }
    }
}

/// Returns the message that creates the ledger of this migration, if it is the first in it. Another attempt sends it
/// again, so it suppresses the notice that the table exists.
fn creation_sql(migration: &PlannedMigration, previous: Option<&PlannedMigration>) -> Option<String> {
    let create = migration.place.ledger.create_sql().filter(|_| previous.is_none())?;
    Some(OwnQuery::read_write(format!("SET LOCAL client_min_messages TO warning; {create}")).to_string())
}

fn creation_fault(error: &Error, migration: &PlannedMigration) -> Fault {
    let table = &migration.place.ledger.table;
    let fault = statement_fault(error).detail(format!("the ledger `{table}` could not be created"));
    match (fault.code, &migration.place.tenant) {
        (Code::PermissionDenied, None) => fault.fix(format!(
            "let the role create it (`GRANT CREATE ON DATABASE … TO …`), or name a table in a schema that it may write \
             to, as in `ledger-table: public.{}`",
            table.name
        )),
        (Code::PermissionDenied, Some(tenant)) => fault.fix(format!(
            "let the role create tables in the schema (`GRANT CREATE ON SCHEMA {} TO …`)",
            quote_identifier(&tenant.schema)
        )),
        (_, Some(_)) if fault.sqlstate.as_deref() == Some(SCHEMA_MISSING) => {
            fault.code(Code::TenantsInvalid).in_file(migration.whole_file())
        }
        _ => fault,
    }
}

/// The SQLSTATE of a schema that does not exist (PostgreSQL manual, appendix A).
const SCHEMA_MISSING: &str = "3F000";
