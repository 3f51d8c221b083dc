//! Applies the planned migrations in order: the only loop that changes the database.

use super::{
    answer::{Answer, answer, outcome},
    commit_progress::Tally,
    copy, error_location,
    migration::Migration,
    resumable,
    transaction::{Commit, Fresh, OUR_ENCODING, close_sql, had_ended, is_worn, open_sql, opening_fault},
};
use crate::{
    fault::{Code, Fault},
    layout::NewRow,
    ledger::Ledger,
    postgres::{Lookout, fault::statement, own_query::Question, wait::answered, waits_for_others},
    run::{
        event::{Event, Events},
        lock_retries::Ladder,
    },
    sql::{Span, Work},
};
use futures_util::future::join;
use std::{cell::Cell, collections::VecDeque, pin::Pin, time::Duration};
use tokio::time::Instant;
use tokio_postgres::{Client, Error, SimpleQueryStream};

/// Everything that applying needs besides the migrations.
#[derive(Debug)]
pub struct Apply<'a> {
    /// The session that holds the run lock.
    pub client: &'a Client,
    /// The ledger in which migrations are recorded.
    pub ledger: &'a Ledger,
    /// The state of a new session.
    pub fresh: &'a Fresh,
    /// The receiver of events.
    pub events: &'a Events,
    /// The number of retries after a lock timeout, and the lock timeout of each attempt.
    pub ladder: Ladder,
    /// The source of the lock timeouts: the user's URL may set its own.
    pub limits: Limits,
    /// The number of the current attempt at the next file.
    pub attempt: Cell<u32>,
    /// The monitor that finds the sessions in the way.
    pub lookout: &'a Lookout,
    /// Time limit for a rollback.
    pub wait: Duration,
    /// URL of this run's page, for the ledger.
    pub run: Option<&'a str>,
    /// The progress so far; it outlives the future that applies.
    pub tally: &'a Tally,
}

/// The source of the lock timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Each attempt has its own.
    OfEachTry,
    /// The session keeps the one it started with.
    OfTheSession,
}

/// The result of applying migrations in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// All migrations are applied.
    End,
    /// This migration and those after it need a new session.
    Worn(usize),
}

/// The failure at which applying stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Index of the migration that failed.
    pub at: usize,
    /// The reason.
    pub fault: Fault,
}

/// Limits for migrations in flight, in files and in bytes: enough to keep a server busy over a slow connection, and
/// bounded memory.
const WINDOW_FILES: usize = 512;
const WINDOW_BYTES: usize = 4 << 20;

impl Apply<'_> {
    /// Applies the migrations in order from this one on, each with its ledger row. Stops at the first that fails or
    /// that needs a new session.
    ///
    /// # Errors
    /// The migration that failed, and the reason. Every migration before it is committed and recorded; no later one has
    /// started.
    pub async fn all(&self, pending: &[&Migration], from: usize) -> Result<Reached, Stopped> {
        let mut at = from;
        self.begin_try(0);
        let mut first = Some(self.first(pending, from).await?);
        while at < pending.len() {
            if at > from && pending.get(at - 1).is_some_and(|before| before.leaves_traces) {
                return Ok(Reached::Worn(at));
            }
            let some = match first.take() {
                Some(some) => some,
                None => self.some(pending, at).await,
            };
            let stopped = match some {
                Ok(done) => {
                    at = done;
                    self.begin_try(0);
                    continue;
                }
                Err(stopped) => stopped,
            };
            if stopped.at > at {
                self.attempt.set(0);
            }
            at = stopped.at;
            if is_worn(&stopped.fault) {
                self.tally.sent.set(at);
                return Ok(Reached::Worn(at));
            }
            let attempt = self.attempt.get();
            let Some(pause) = self.ladder.pause(attempt).filter(|_| may_pass(&stopped.fault)) else {
                return Err(Stopped { at, fault: self.with_obstacles(stopped.fault) });
            };
            let file = pending.get(at).map_or_else(String::new, |migration| migration.id.file.clone());
            self.rest(&file, stopped.fault, pause).await;
            self.begin_try(attempt + 1);
        }
        Ok(Reached::End)
    }

    fn begin_try(&self, attempt: u32) {
        self.attempt.set(attempt);
        self.lookout.trying(self.ladder.limit(attempt));
    }

    /// Returns the lock timeout of this attempt, if it is ours to set and shorter than the session's.
    pub(super) fn limit(&self, attempt: u32) -> Option<Duration> {
        let limit = self.ladder.limit(attempt);
        (self.limits == Limits::OfEachTry && limit < self.ladder.top).then_some(limit)
    }

    /// Returns the lock timeout of a file in one transaction: none if its statement waits for other transactions to
    /// end.
    pub(super) fn limit_of(&self, migration: &Migration, attempt: u32) -> Option<Duration> {
        match waits_for_others(&migration.body) {
            Some(_) => Some(Duration::ZERO),
            None => self.limit(attempt),
        }
    }

    /// Pauses before the next attempt, or until the session in the way is gone.
    async fn rest(&self, file: &str, fault: Fault, pause: Duration) {
        let (retries, number, seconds) = (self.ladder.retries, self.attempt.get() + 1, pause.as_secs());
        let said = self.lookout.said();
        let most = if said.is_some() { "at most " } else { "" };
        let why = [Some(fault.cause), said].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let what = format!("another try of {file} ({number} of {retries}, in {most}{seconds} s)");
        self.events.tell(Event::Waiting { what, why });
        self.lookout.rest(pause).await;
    }

    /// Adds the sessions that were in the way to the fault of a lock timeout.
    fn with_obstacles(&self, fault: Fault) -> Fault {
        match self.lookout.said().filter(|_| fault.code == Code::LockTimeout) {
            Some(said) => fault.detail(said),
            None => fault,
        }
    }

    /// Creates the ledger and sends the first files right after it, without waiting. That is safe: without a ledger
    /// they can't be recorded, and are rolled back. Files without a transaction wait for the ledger.
    async fn first(&self, pending: &[&Migration], from: usize) -> Result<Result<usize, Stopped>, Stopped> {
        let unmade = |fault| Stopped { at: from, fault };
        if from > 0 {
            return Ok(self.some(pending, from).await);
        }
        if !pending.first().is_some_and(|migration| migration.work == Work::Whole) {
            self.make_ledger().await.map_err(unmade)?;
            return Ok(self.some(pending, 0).await);
        }
        let (made, some) = join(self.make_ledger(), self.some(pending, 0)).await;
        made.map_err(unmade).map(|()| some)
    }

    /// Applies the migration at `at` and, if they can be pipelined with it, those after it. Returns the index of the
    /// next one.
    async fn some(&self, pending: &[&Migration], at: usize) -> Result<usize, Stopped> {
        let Some(rest) = pending.get(at..) else { return Ok(at) };
        let previous =
            at.checked_sub(1).and_then(|before| pending.get(before)).map(|before| before.id.version.as_str());
        let whole = rest.iter().take_while(|migration| matches!(migration.work, Work::Whole)).count();
        // The files after one that leaves traces wait for a new session.
        let whole = rest.iter().take(whole).position(|migration| migration.leaves_traces).map_or(whole, |at| at + 1);
        let alone = |fault| Stopped { at, fault };
        match rest.first().map(|migration| (migration, &migration.work)) {
            None => Ok(at),
            Some((_, Work::Whole)) => {
                let batch = rest.get(..whole).unwrap_or(rest);
                self.pipeline(batch, at, previous).await?;
                Ok(at + whole)
            }
            Some((migration, Work::Pieces(pieces))) => {
                copy::apply(self, migration, pieces, previous).await.map_err(alone)?;
                Ok(at + 1)
            }
            Some((migration, Work::Statements { statements: list, .. })) => {
                self.tally.sent.set(at + 1);
                self.tally.xid.set(None);
                resumable::apply(self, migration, list).await.map_err(alone)?;
                Ok(at + 1)
            }
        }
    }

    /// Applies many migrations, each in its own transaction, all in flight at once; `transaction` explains why that is
    /// safe.
    async fn pipeline(&self, batch: &[&Migration], first: usize, mut previous: Option<&str>) -> Result<(), Stopped> {
        let mut flight: VecDeque<InFlight> = VecDeque::new();
        let (mut sent, mut bytes) = (0, 0);
        for (index, migration) in batch.iter().enumerate() {
            let at = first + index;
            while let Some(next) = batch.get(sent)
                && (flight.is_empty() || (flight.len() < WINDOW_FILES && bytes < WINDOW_BYTES))
            {
                self.tally.sent.set(first + sent + 1);
                let commit = if sent + 1 == batch.len() { Commit::Flushed } else { Commit::Later };
                // Only the first of them is retried.
                let limit = self.limit_of(next, if sent == 0 { self.attempt.get() } else { 0 });
                let answer = self.send(next, previous, commit, limit).await;
                flight.push_back(answer.map_err(|error| Stopped { at, fault: statement(&error) })?);
                previous = Some(&next.id.version);
                bytes += next.body.len();
                sent += 1;
            }
            let Some(answer) = flight.pop_front() else { break };
            bytes -= migration.body.len();
            if let Err(fault) = self.settle(migration, answer).await {
                drop(flight);
                return Err(Stopped { at, fault: self.after_rollback(fault).await });
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        migration: &Migration,
        previous: Option<&str>,
        commit: Commit,
        limit: Option<Duration>,
    ) -> Result<InFlight, Error> {
        let open = open_sql(self.ledger, self.fresh, (migration.id.index, migration.modes), previous, limit);
        let close = close_sql(self.ledger, migration.id.index, &self.row(migration), commit);
        // `simple_query_raw` returns after sending, before the response.
        Ok(InFlight {
            open: Box::pin(self.client.simple_query_raw(&open).await?),
            body: Box::pin(self.client.simple_query_raw(&migration.body).await?),
            close: Box::pin(self.send_close(&close).await?),
        })
    }

    /// Sends a closing message, after resetting the encoding if it is not plain ASCII.
    pub(super) async fn send_close(&self, close: &str) -> Result<SimpleQueryStream, Error> {
        if !close.is_ascii() {
            // If this fails, so does the closing message.
            drop(self.client.simple_query_raw(OUR_ENCODING).await?);
        }
        self.client.simple_query_raw(close).await
    }

    async fn settle(&self, migration: &Migration, flight: InFlight) -> Result<(), Fault> {
        let began = self.opened(migration, answer(flight.open).await)?;
        let body = outcome(flight.body).await;
        let closed = answer(flight.close).await;
        let Some(error) = body.error else { return self.recorded(migration, closed, began) };
        let fault = error_location::fault(&error, migration, Span::whole(&migration.body), body.completed);
        Err(match closed.error {
            Some(error) if had_ended(&error) => {
                fault.code(Code::TransactionEnded).detail("before it failed, the file ended the transaction it ran in")
            }
            _ => fault,
        })
    }

    /// Handles the response to a migration's opening message.
    pub(super) fn opened(&self, migration: &Migration, opened: Answer) -> Result<Instant, Fault> {
        if let Some(error) = opened.error {
            return Err(opening_fault(&error, migration));
        }
        self.tally.xid.set(opened.rows.first().and_then(|xid| xid.parse().ok()));
        self.events.tell(Event::Started(migration.id.clone()));
        if let Some(remark) = &migration.remark {
            self.events.note(remark.clone());
        }
        Ok(Instant::now())
    }

    /// Handles the response to a migration's closing message.
    pub(super) fn recorded(&self, migration: &Migration, closed: Answer, began: Instant) -> Result<(), Fault> {
        if let Some(error) = closed.error {
            return Err(error_location::closing_fault(&error, migration));
        }
        let mut rows = closed.rows.iter();
        let took = rows.next().and_then(|row| row.parse().ok()).map_or_else(|| began.elapsed(), Duration::from_millis);
        self.tally.committed(if rows.next().is_some() { Commit::Later } else { Commit::Flushed });
        self.events.tell(Event::Applied { index: migration.id.index, took });
        Ok(())
    }

    /// Creates the ledger if it does not exist.
    async fn make_ledger(&self) -> Result<(), Fault> {
        let Some(sql) = self.ledger.create_sql() else { return Ok(()) };
        let made = self.client.batch_execute(&Question::writing(sql).to_string()).await;
        made.map_err(|error| {
            let table = &self.ledger.table;
            let fault = statement(&error);
            match fault.code {
                Code::PermissionDenied => fault.detail(format!("the ledger `{table}` could not be created")).fix(format!(
                    "let the role create it (`GRANT CREATE ON DATABASE … TO …`), or name a table in a schema that it may write to, as in \
                     `ledger-table: public.{}`",
                    table.name
                )),
                _ => fault.detail(format!("the ledger `{table}` could not be created")),
            }
        })
    }

    /// Leaves the failed block; when this returns, the responses to all earlier messages have arrived. Returns another
    /// fault if the session was lost, and with it perhaps commits that were not flushed.
    pub(super) async fn after_rollback(&self, fault: Fault) -> Fault {
        let rollback = self.client.batch_execute(self.tally.rollback_sql());
        match answered(self.wait, async { rollback.await.map_err(|error| statement(&error)) }).await {
            Ok(()) => self.tally.rolled_back(),
            // A session that can't roll back is lost, and its transaction with it.
            Err(lost) if self.tally.flushed.get() < self.tally.applied.get() => {
                return lost.detail(format!("before that: {}", fault.cause));
            }
            Err(_) => {}
        }
        fault
    }

    pub(super) fn row<'m>(&'m self, migration: &'m Migration) -> NewRow<'m> {
        NewRow {
            version: &migration.id.version,
            name: &migration.id.name,
            checksum: migration.checksum.as_bytes(),
            run: self.run,
            took: None,
        }
    }
}

/// A migration that was sent and whose response is outstanding.
struct InFlight {
    open: Pin<Box<SimpleQueryStream>>,
    body: Pin<Box<SimpleQueryStream>>,
    close: Pin<Box<SimpleQueryStream>>,
}

/// Reports whether another attempt may succeed: after a lock timeout, deadlock or serialization failure, if the file
/// was rolled back.
fn may_pass(fault: &Fault) -> bool {
    fault.code != Code::TransactionEnded && matches!(fault.sqlstate.as_deref(), Some("55P03" | "40P01" | "40001"))
}
