//! Runs a migration without a transaction statement by statement, and records its progress in a table, so that the next
//! run resumes where this one stopped.
//!
//! A statement that may run in a transaction runs in one together with its progress row, so the two always agree. Any
//! other one (CREATE INDEX CONCURRENTLY, VACUUM, …) is recorded as started before and as done after it. If only the
//! start is recorded, the state of the database decides whether it took effect, or, where it can't, a person.

use super::{
    applier::Pipeline,
    concurrent_index, copy,
    planned_migration::PlannedMigration,
    transaction::{Commit, OWN_ENCODING, lock_timeout_sql, open_without_transaction_sql, reset_session_sql},
    work::Work,
};
use crate::{
    fault::{Code, Fault, FilePosition},
    layout::NewRow,
    ledger::{LedgerState, ProgressRecord, ProgressRow},
    postgres::{
        SessionDefaults,
        fault::statement_fault,
        origin_comment,
        own_query::{OwnQuery, PIN_SEARCH_PATH},
        query_rows, quote_literal, waits_for_transactions,
    },
    run::event::Event,
    sql::{QualifiedName, SqlChunk, Statement, StatementKind},
};
use sha2::{Digest as _, Sha256};
use std::{cell::RefCell, time::Duration};
use tokio::time::Instant;

pub(super) async fn apply_resumable(
    apply: &Pipeline<'_>,
    migration: &PlannedMigration,
    list: &[Statement],
) -> Result<(), Fault> {
    let progress = migration.place.ledger.progress_record(&migration.progress_key());
    let run =
        ResumableRun { pipeline: apply, migration, statements: list, progress, digest_so_far: RefCell::default() };
    let result = run.run_all().await;
    if result.is_err() {
        // The file's settings must not affect the next attempt.
        drop(apply.client.batch_execute(&reset_session_sql(&apply.fresh.defaults)).await);
    }
    result
}

/// Resets the role and the lock timeout for the rest of the transaction, so that the run's own rows can be written
/// regardless of the file's settings.
fn own_role_sql(defaults: &SessionDefaults) -> String {
    defaults.reset_local_sql(&["session_authorization", "role", "lock_timeout"])
}

/// Removes the lock timeout for a statement that waits for other transactions to end. If it gave up, it would leave its
/// work half-done; and meanwhile no other session queues behind it.
const NO_LOCK_TIMEOUT: &str = "SET lock_timeout TO 0";

/// Sets the encoding of our own SQL for the rest of the transaction only, because the file's next statement needs the
/// file's encoding.
const OWN_ENCODING_LOCAL: &str = "SET LOCAL client_encoding TO 'UTF8'";

struct ResumableRun<'a> {
    pipeline: &'a Pipeline<'a>,
    migration: &'a PlannedMigration,
    statements: &'a [Statement],
    progress: ProgressRecord,
    /// The number of statements hashed so far, and their digest.
    digest_so_far: RefCell<(usize, Sha256)>,
}

impl ResumableRun<'_> {
    async fn run_all(&self) -> Result<(), Fault> {
        let began = Instant::now();
        match self.migration.work {
            Work::Undo { .. } => self.pipeline.events.emit_note(format!("rolling back {}", self.migration.sent_file())),
            Work::Apply | Work::Record(_) | Work::Unrecord { .. } => {
                self.pipeline.events.emit(Event::Started(self.migration.id.clone()));
            }
        }
        let done = match self.find_progress().await? {
            Some(row) => self.settled_count(&row).await?,
            None => 0,
        };
        for number in 1..=self.statements.len() {
            let Some(next) = self.statements.get(number - 1) else { break };
            if number > done {
                self.run_statement(number, next).await?;
                let index = self.migration.id.index;
                self.pipeline.events.emit(Event::StatementDone { index, number, of: self.statements.len() });
            } else {
                self.repeat_session_setup(next, done).await?;
            }
        }
        let duration = began.elapsed();
        let row = NewRow { took: Some(duration), ..self.pipeline.new_ledger_row(self.migration) };
        // One message is one transaction.
        let record = self.pipeline.record_sql(self.migration, &row);
        let comment = origin_comment::last_message_comment(self.migration.id.index);
        let reset = reset_session_sql(&self.pipeline.fresh.defaults);
        let record = format!("{comment} {reset}; {PIN_SEARCH_PATH}; {}; {record}", self.progress.remove_sql());
        if !record.is_ascii() {
            self.execute_own(OWN_ENCODING).await?;
        }
        self.execute_own(&record).await?;
        self.pipeline.commits.record_commit(Commit::Flushed);
        self.pipeline.events.emit(self.migration.done_event(duration));
        Ok(())
    }

    /// Reads where an earlier attempt stopped. Each attempt reads it anew, as the plan's value is out of date after the
    /// first.
    async fn find_progress(&self) -> Result<Option<ProgressRow>, Fault> {
        let limit = self.pipeline.lock_timeout(self.pipeline.attempt.get());
        let opening_sql = open_without_transaction_sql(self.migration, self.pipeline.guard(), limit);
        let comment = origin_comment::first_message_comment(self.migration.id.index);
        let query = OwnQuery::read_write(opening_sql).with_appended(&self.progress.find_sql()).preceded_by(comment);
        let query = match self.migration.place.session_path_sql() {
            Some(path_sql) => query.with_appended(&path_sql),
            None => query,
        };
        let rows = query_rows(self.pipeline.client, &query).await;
        let rows = rows.map_err(|fault| fault.in_file(self.migration.whole_file()))?;
        Ok(LedgerState::from_rows(&rows).progress.into_iter().next())
    }

    /// Returns how many statements are done, after settling the one that was started and not recorded as done.
    async fn settled_count(&self, row: &ProgressRow) -> Result<usize, Fault> {
        if self.digest_of_first(row.started) != row.checksum {
            return Err(Fault::new(
                Code::FileChanged,
                format!(
                    "an earlier run executed the first {} statements of {}, and they have changed since",
                    row.started,
                    self.migration.sent_file()
                ),
            )
            .fix("restore the statements that were already run; those after them may be changed")
            .in_file(self.migration.whole_file()));
        }
        let (index, of) = (self.migration.id.index, self.statements.len());
        self.pipeline.events.emit(Event::Resumed { index, done: row.done, of });
        if row.started == row.done {
            return Ok(row.done);
        }
        let Some(in_doubt) = self.statements.get(row.done) else { return Ok(row.done) };
        let took_effect = match &in_doubt.kind {
            StatementKind::CreateIndex { index, .. } => {
                concurrent_index::is_index_valid(self.pipeline.client, index).await?
            }
            StatementKind::DropIndex { index, .. } => {
                !concurrent_index::index_exists(self.pipeline.client, index).await?
            }
            StatementKind::Transactional | StatementKind::Repeatable | StatementKind::Session => false,
            StatementKind::Opaque => return Err(self.in_doubt_fault(row)),
        };
        Ok(if took_effect { row.started } else { row.done })
    }

    async fn run_statement(&self, number: usize, next: &Statement) -> Result<(), Fault> {
        let checksum = self.digest_of_first(number);
        let done = self.progress.save_sql(number, number, &checksum);
        let result = match &next.kind {
            StatementKind::Session => self.send_statement(next).await,
            StatementKind::Transactional => self.run_in_transaction(number, next, &done).await,
            StatementKind::CreateIndex { index, .. } => {
                self.run_marked_started(number, &checksum, next, Some(index)).await
            }
            StatementKind::DropIndex { .. } | StatementKind::Repeatable | StatementKind::Opaque => {
                self.run_marked_started(number, &checksum, next, None).await
            }
        };
        match result {
            Err(fault) if fault.sqlstate.is_some() && !fault.code.ends_session() => {
                Err(self.record_no_effect(number, next, fault).await)
            }
            response => response,
        }
    }

    /// Repeats the session changes of a statement that is already done, if later statements need them.
    async fn repeat_session_setup(&self, before: &Statement, done: usize) -> Result<(), Fault> {
        for setup in before.session_setup.iter().filter(|setup| setup.needed_until.is_none_or(|until| until > done)) {
            copy::send_chunks(self.pipeline, self.migration, &[SqlChunk::Query(setup.span)]).await?;
        }
        Ok(())
    }

    /// Runs a statement and records its progress in one transaction.
    async fn run_in_transaction(&self, number: usize, next: &Statement, done: &str) -> Result<(), Fault> {
        let limit = lock_timeout_sql(self.waits_without_limit(number, next).then_some(Duration::ZERO));
        self.execute_own(&format!("{}; {limit}", next.modes.begin_sql())).await?;
        let result = async {
            self.send_statement(next).await?;
            if !done.is_ascii() {
                self.execute_own(OWN_ENCODING_LOCAL).await?;
            }
            // Reports deferred errors before COMMIT, while there still is a block to fail.
            let own_role = own_role_sql(&self.pipeline.fresh.defaults);
            self.execute_own(&format!("SET CONSTRAINTS ALL IMMEDIATE; {own_role}; {PIN_SEARCH_PATH}; {done}; COMMIT"))
                .await
                .map_err(|fault| fault.in_file(self.place_of(next)))
        };
        match result.await {
            Ok(()) => Ok(()),
            Err(fault) => Err(self.pipeline.roll_back_after(fault).await),
        }
    }

    /// Runs a statement that can't be in one transaction with its progress row: records its start, runs it, records
    /// that it is done.
    async fn run_marked_started(
        &self,
        number: usize,
        checksum: &str,
        next: &Statement,
        makes: Option<&QualifiedName>,
    ) -> Result<(), Fault> {
        let is_patient = self.waits_without_limit(number, next);
        let (wait_sql, restore_sql) =
            if is_patient { (NO_LOCK_TIMEOUT, self.restore_lock_timeout_sql()) } else { ("", String::new()) };
        self.save_progress(&self.progress.save_sql(number, number - 1, checksum), wait_sql).await?;
        if let Some(index) = makes {
            let dropped = concurrent_index::drop_if_invalid(self.pipeline.client, index).await;
            if dropped.map_err(|fault| fault.in_file(self.place_of(next)))? {
                self.pipeline
                    .events
                    .emit_note(format!("dropped the INVALID index {index} that an earlier attempt left behind"));
            }
        }
        self.send_statement(next).await?;
        self.save_progress(&self.progress.save_sql(number, number, checksum), &restore_sql).await
    }

    /// Reports whether a statement waits for other transactions without a limit, because of its kind and unless the
    /// file sets `lock_timeout` itself.
    fn waits_without_limit(&self, number: usize, next: &Statement) -> bool {
        let before = self
            .statements
            .iter()
            .take(number.saturating_sub(1))
            .filter(|statement| statement.kind == StatementKind::Session);
        let mut texts = before.map(|statement| statement.span.slice_of(self.migration.text()).to_ascii_lowercase());
        waits_for_transactions(next.span.slice_of(self.migration.text())).is_some()
            && !texts.any(|text| text.contains("lock_timeout"))
    }

    /// Returns the SQL that restores the lock timeout after [`NO_LOCK_TIMEOUT`].
    fn restore_lock_timeout_sql(&self) -> String {
        match self.pipeline.lock_timeout(self.pipeline.attempt.get()) {
            Some(limit) => format!("SET lock_timeout TO {}", limit.as_millis()),
            None => self.pipeline.fresh.defaults.reset_sql("lock_timeout"),
        }
    }

    /// Sends a statement of the file.
    async fn send_statement(&self, next: &Statement) -> Result<(), Fault> {
        copy::send_chunks(self.pipeline, self.migration, &next.chunks).await
    }

    /// Runs SQL of our own.
    async fn execute_own(&self, sql: &str) -> Result<(), Fault> {
        let done = self.pipeline.client.batch_execute(sql).await;
        done.map_err(|error| statement_fault(&error).in_file(self.migration.whole_file()))
    }

    /// Saves the progress, together with a setting for later statements. One message is one transaction.
    async fn save_progress(&self, progress_sql: &str, setting: &str) -> Result<(), Fault> {
        let own_role = own_role_sql(&self.pipeline.fresh.defaults);
        let progress_sql = format!("{own_role}; {PIN_SEARCH_PATH}; {progress_sql}; {setting}");
        if progress_sql.is_ascii() {
            return self.execute_own(&progress_sql).await;
        }
        self.execute_own(&format!("BEGIN; {OWN_ENCODING_LOCAL}")).await?;
        self.execute_own(&format!("{progress_sql}; COMMIT")).await
    }

    fn place_of(&self, statement: &Statement) -> FilePosition {
        self.migration.source().place_at_byte(statement.span.start)
    }

    /// Returns the SHA-256 of the first `number` statements.
    fn digest_of_first(&self, number: usize) -> String {
        // Calls come with growing numbers, so no statement is hashed twice.
        let (done, digest) = self.digest_so_far.take();
        let (done, mut digest) = if done <= number { (done, digest) } else { (0, Sha256::new()) };
        for statement in self.statements.iter().take(number).skip(done) {
            digest.update(statement.span.slice_of(self.migration.text()));
            digest.update([0]);
        }
        self.digest_so_far.replace((number, digest.clone()));
        hex::encode(digest.finalize())
    }

    fn in_doubt_fault(&self, row: &ProgressRow) -> Fault {
        let table = self.progress.table.to_sql();
        let version = quote_literal(&row.version);
        let position = self
            .statements
            .get(row.done)
            .map_or_else(|| self.migration.whole_file(), |in_doubt| self.place_of(in_doubt));
        Fault::new(
            Code::StatementInDoubt,
            format!(
                "an earlier run was cut off in statement {} of {}, and the database does not show whether it took effect",
                row.started, self.migration.sent_file()
            ),
        )
        .detail(format!("if it did: UPDATE {table} SET done = started WHERE version = {version};"))
        .detail(format!(
            "if it did not: UPDATE {table} SET started = done, checksum = '{}' WHERE version = {version};",
            self.digest_of_first(row.done)
        ))
        .in_file(position)
    }

    /// Records that a statement had no effect, as an error reported by the server means. Nothing is in doubt then,
    /// except for an INVALID index, which the next attempt handles.
    async fn record_no_effect(&self, number: usize, next: &Statement, fault: Fault) -> Fault {
        let before = number - 1;
        let progress_sql = self.progress.save_sql(before, before, &self.digest_of_first(before));
        let saved = self.save_progress(&progress_sql, "").await;
        let total = self.statements.len();
        let outcome = match next.kind {
            StatementKind::Transactional | StatementKind::Session => {
                format!("statement {number} of {total} was rolled back")
            }
            StatementKind::Opaque => format!("anything that statement {number} of {total} committed by itself stays"),
            _ => format!("statement {number} of {total} was not done"),
        };
        let fault =
            fault.detail(format!("{outcome}; the {before} before it stay done, and the next run resumes with it"));
        // The usual fix is about a file that was rolled back.
        let fault = if fault.fix == Code::StatementFailed.fix() {
            fault.fix("correct the statement and run again: the run resumes with this statement")
        } else {
            fault
        };
        match saved {
            Ok(()) => fault,
            Err(lost) => fault.detail(format!("its progress could not be recorded: {}", lost.cause)),
        }
    }
}
