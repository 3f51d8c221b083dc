//! Applies the planned migrations in order: the only loop that changes the database.

use super::{
    applier::{InFlight, Pipeline},
    copy,
    planned_migration::PlannedMigration,
    resumable,
    transaction::{Commit, needs_new_session},
};
use crate::{
    fault::{Code, Fault},
    postgres::fault::statement_fault,
    run::event::Event,
    sql::Execution,
};
use std::{collections::VecDeque, time::Duration};

/// The result of applying migrations in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOutcome {
    /// All migrations are applied.
    Finished,
    /// This migration and those after it need a new session.
    NeedsNewSession(usize),
}

/// The failure at which applying stopped.
#[derive(Debug)]
pub struct StoppedAt {
    /// Index of the migration that failed.
    pub at: usize,
    /// The reason.
    pub fault: Fault,
}

/// Limits for migrations in flight, in files and in bytes: enough to keep a server busy over a slow connection, and
/// bounded memory. A quick file takes the server at least 1.3 ms (see `transaction`), so that these are work for a third of
/// a second.
const WINDOW_FILES: usize = 256;
const WINDOW_BYTES: usize = 4 << 20;

impl Pipeline<'_> {
    /// Applies the migrations in order from this one on, each with its ledger row. Stops at the first that fails or
    /// that needs a new session.
    ///
    /// # Errors
    /// The migration that failed, and the reason. Every migration before it is committed and recorded; no later one has
    /// started.
    pub async fn apply_all(
        &self,
        pending: &[PlannedMigration],
        first_index: usize,
    ) -> Result<SessionOutcome, StoppedAt> {
        let mut index = first_index;
        self.start_attempt(0);
        while index < pending.len() {
            if index > first_index && pending.get(index - 1).is_some_and(|before| before.leaves_traces) {
                return Ok(SessionOutcome::NeedsNewSession(index));
            }
            let stopped = match self.apply_next_batch(pending, index).await {
                Ok(done) => {
                    index = done;
                    self.start_attempt(0);
                    continue;
                }
                Err(stopped) => stopped,
            };
            if stopped.at > index {
                self.attempt.set(0);
            }
            index = stopped.at;
            if needs_new_session(&stopped.fault) {
                self.commits.sent.set(index);
                return Ok(SessionOutcome::NeedsNewSession(index));
            }
            let attempt = self.attempt.get();
            let Some(pause) = self.lock_retries.pause_after(attempt).filter(|_| is_retryable(&stopped.fault)) else {
                return Err(StoppedAt { at: index, fault: self.with_obstacles(stopped.fault) });
            };
            let file = pending.get(index).map_or_else(String::new, |migration| migration.id.file.clone());
            self.pause_before_retry(&file, stopped.fault, pause).await;
            self.start_attempt(attempt + 1);
        }
        Ok(SessionOutcome::Finished)
    }

    fn start_attempt(&self, attempt: u32) {
        self.attempt.set(attempt);
        self.lock_waits.begin_attempt(self.lock_retries.timeout_for(attempt));
    }

    /// Pauses before the next attempt, or until the session in the way is gone.
    async fn pause_before_retry(&self, file: &str, fault: Fault, pause: Duration) {
        let (retries, number, seconds) = (self.lock_retries.retries, self.attempt.get() + 1, pause.as_secs());
        let blockers = self.lock_waits.describe_blockers();
        let at_most = if blockers.is_some() { "at most " } else { "" };
        let reason = [Some(fault.cause), blockers].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let description = format!("another try of {file} ({number} of {retries}, in {at_most}{seconds} s)");
        self.events.emit(Event::Waiting { what: description, why: reason });
        self.lock_waits.pause_while_blocked(pause).await;
    }

    /// Adds the sessions that were in the way to the fault of a lock timeout.
    fn with_obstacles(&self, fault: Fault) -> Fault {
        match self.lock_waits.describe_blockers().filter(|_| fault.code == Code::LockTimeout) {
            Some(blockers) => fault.detail(blockers),
            None => fault,
        }
    }

    /// Applies the migration at `index` and, if they can be pipelined with it, those after it. Returns the index of the
    /// next one.
    async fn apply_next_batch(&self, pending: &[PlannedMigration], index: usize) -> Result<usize, StoppedAt> {
        let Some(rest) = pending.get(index..) else { return Ok(index) };
        let previous = index.checked_sub(1).and_then(|index| pending.get(index));
        let previous = previous.filter(|previous| rest.first().is_some_and(|next| next.shares_place(previous)));
        let batch_length = rest.iter().take_while(|migration| *migration.execution == Execution::SingleQuery).count();
        // The files after one that leaves traces wait for a new session.
        let batch_length = rest
            .iter()
            .take(batch_length)
            .position(|migration| migration.leaves_traces)
            .map_or(batch_length, |index| index + 1);
        let stopped = |fault| StoppedAt { at: index, fault };
        match rest.first().map(|migration| (migration, &*migration.execution)) {
            None => Ok(index),
            Some((_, Execution::SingleQuery)) => {
                let batch = rest.get(..batch_length).unwrap_or(rest);
                self.apply_batch(batch, index, previous).await?;
                Ok(index + batch_length)
            }
            Some((migration, Execution::Chunked(chunks))) => {
                self.create_ledger(migration, previous).await.map_err(stopped)?;
                copy::apply_in_chunks(self, migration, chunks, previous).await.map_err(stopped)?;
                Ok(index + 1)
            }
            Some((migration, Execution::PerStatement { statements: list, .. })) => {
                self.commits.sent.set(index + 1);
                self.commits.xid.set(None);
                self.create_ledger(migration, previous).await.map_err(stopped)?;
                resumable::apply_resumable(self, migration, list).await.map_err(stopped)?;
                Ok(index + 1)
            }
        }
    }

    /// Applies many migrations, each in its own transaction, all in flight at once; `transaction` explains why that is
    /// safe.
    async fn apply_batch(
        &self,
        batch: &[PlannedMigration],
        first: usize,
        mut previous: Option<&PlannedMigration>,
    ) -> Result<(), StoppedAt> {
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let (mut sent, mut bytes) = (0, 0);
        for (index, migration) in batch.iter().enumerate() {
            let index = first + index;
            while let Some(next) = batch.get(sent)
                && (in_flight.is_empty() || (in_flight.len() < WINDOW_FILES && bytes < WINDOW_BYTES))
            {
                self.commits.sent.set(first + sent + 1);
                let commit = if sent + 1 == batch.len() { Commit::Flushed } else { Commit::Later };
                // Only the first of them is retried.
                let limit = self.lock_timeout_of(next, if sent == 0 { self.attempt.get() } else { 0 });
                let started = self.send_migration(next, previous, commit, limit).await;
                in_flight.push_back(started.map_err(|error| StoppedAt { at: index, fault: statement_fault(&error) })?);
                previous = Some(next);
                bytes += next.text().len();
                sent += 1;
            }
            let Some(started) = in_flight.pop_front() else { break };
            bytes -= migration.text().len();
            if let Err(fault) = self.read_responses(migration, started).await {
                drop(in_flight);
                return Err(StoppedAt { at: index, fault: self.roll_back_after(fault).await });
            }
        }
        Ok(())
    }
}

/// Reports whether another attempt may succeed: after a lock timeout, deadlock or serialization failure, if the file
/// was rolled back.
fn is_retryable(fault: &Fault) -> bool {
    fault.code != Code::TransactionEnded && matches!(fault.sqlstate.as_deref(), Some("55P03" | "40P01" | "40001"))
}
