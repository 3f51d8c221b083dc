//! The one loop that changes the database: plan → ledger rows.

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

/// What applying needs, beside the migrations.
#[derive(Debug)]
pub struct Apply<'a> {
    /// The session that holds the lock.
    pub client: &'a Client,
    /// Where it is recorded.
    pub ledger: &'a Ledger,
    /// What the session was like when it was new.
    pub fresh: &'a Fresh,
    /// Who listens.
    pub events: &'a Events,
    /// How often a file is tried again after a lock timeout, and how long each try waits for locks.
    pub ladder: Ladder,
    /// Whether those limits are ours to set: the user's URL may have its own.
    pub limits: Limits,
    /// Which try it is of the file that is next.
    pub attempt: Cell<u32>,
    /// Who sees what is in the way.
    pub lookout: &'a Lookout,
    /// How long the database may take to roll back.
    pub wait: Duration,
    /// The page of this run, for the ledger.
    pub run: Option<&'a str>,
    /// How far it got; outlives the future that applies.
    pub tally: &'a Tally,
}

/// Whose limits hold for waits for locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Each try has its own.
    OfEachTry,
    /// Those that the session has from its start.
    OfTheSession,
}

/// How far one session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// To the end.
    End,
    /// To this migration: it and those behind it need a new session.
    Worn(usize),
}

/// Where it stopped.
#[derive(Debug)]
pub struct Stopped {
    /// Index of the migration at which it stopped.
    pub at: usize,
    /// Why.
    pub fault: Fault,
}

/// So much is in flight at most, in files and in bytes: enough to keep a server busy over a slow line, and bounded memory.
const WINDOW_FILES: usize = 512;
const WINDOW_BYTES: usize = 4 << 20;

impl Apply<'_> {
    /// Applies them in order from this one on, each with its ledger row, and stops at the first that fails or that another
    /// session has to go on with.
    ///
    /// # Errors
    /// Where and why it stopped; everything before that is committed and recorded, nothing after it has begun.
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

    /// How long a statement of this try waits for locks, if that is ours to say.
    pub(super) fn limit(&self, attempt: u32) -> Option<Duration> {
        let limit = self.ladder.limit(attempt);
        (self.limits == Limits::OfEachTry && limit < self.ladder.top).then_some(limit)
    }

    /// The same for all statements of a file in one transaction: one that is alone there may be of those that have none.
    pub(super) fn limit_of(&self, migration: &Migration, attempt: u32) -> Option<Duration> {
        match waits_for_others(&migration.body) {
            Some(_) => Some(Duration::ZERO),
            None => self.limit(attempt),
        }
    }

    /// The pause before the next try, as long as whoever is in the way is there.
    async fn rest(&self, file: &str, fault: Fault, pause: Duration) {
        let (retries, number, seconds) = (self.ladder.retries, self.attempt.get() + 1, pause.as_secs());
        let said = self.lookout.said();
        let most = if said.is_some() { "at most " } else { "" };
        let why = [Some(fault.cause), said].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let what = format!("another try of {file} ({number} of {retries}, in {most}{seconds} s)");
        self.events.tell(Event::Waiting { what, why });
        self.lookout.rest(pause).await;
    }

    /// Names who was in the way of what waited too long for a lock.
    fn with_obstacles(&self, fault: Fault) -> Fault {
        match self.lookout.said().filter(|_| fault.code == Code::LockTimeout) {
            Some(said) => fault.detail(said),
            None => fault,
        }
    }

    /// The ledger, and behind it the first files without waiting for it: where it can't be made they can't be recorded, and
    /// what can't be recorded is rolled back. What has no transaction waits.
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

    /// Applies from `at` as many as go in one way; returns where to go on.
    async fn some(&self, pending: &[&Migration], at: usize) -> Result<usize, Stopped> {
        let Some(rest) = pending.get(at..) else { return Ok(at) };
        let previous =
            at.checked_sub(1).and_then(|before| pending.get(before)).map(|before| before.id.version.as_str());
        let whole = rest.iter().take_while(|migration| matches!(migration.work, Work::Whole)).count();
        // What stands behind one that leaves traces waits for a new session.
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

    /// Many migrations, a transaction each, all in flight at once; see `latch` for why that is safe.
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
                // Only the first of them is tried again.
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
        // `simple_query_raw` has sent when it returns; it does not wait for the answer.
        Ok(InFlight {
            open: Box::pin(self.client.simple_query_raw(&open).await?),
            body: Box::pin(self.client.simple_query_raw(&migration.body).await?),
            close: Box::pin(self.send_close(&close).await?),
        })
    }

    /// Sends a closing message so that it is read as it is written.
    pub(super) async fn send_close(&self, close: &str) -> Result<SimpleQueryStream, Error> {
        if !close.is_ascii() {
            // Where this fails the closing message fails, too.
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

    /// Reads the answer to a migration's opening message.
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

    /// Reads the answer to a migration's closing message.
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

    /// Makes the ledger if it is not there.
    async fn make_ledger(&self) -> Result<(), Fault> {
        let Some(sql) = self.ledger.create_sql() else { return Ok(()) };
        let made = self.client.batch_execute(&Question::writing(sql).to_string()).await;
        made.map_err(|error| {
            let table = &self.ledger.table;
            let fault = statement(&error);
            match fault.code {
                Code::PermissionDenied => fault.detail(format!("the ledger `{table}` could not be made")).fix(format!(
                    "let the role create it (`GRANT CREATE ON DATABASE … TO …`), or name a table in a schema that it may write to, as in \
                     `ledger-table: public.{}`",
                    table.name
                )),
                _ => fault.detail(format!("the ledger `{table}` could not be made")),
            }
        })
    }

    /// Leaves the failed block. All that was sent before has been answered when this is. The fault is another one when the
    /// session went with it, and with the session perhaps commits that were not flushed.
    pub(super) async fn after_rollback(&self, fault: Fault) -> Fault {
        let rollback = self.client.batch_execute(self.tally.rollback_sql());
        match answered(self.wait, async { rollback.await.map_err(|error| statement(&error)) }).await {
            Ok(()) => self.tally.rolled_back(),
            // A session that can't roll back is gone, and its transaction with it.
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

/// A migration that was sent and is not answered.
struct InFlight {
    open: Pin<Box<SimpleQueryStream>>,
    body: Pin<Box<SimpleQueryStream>>,
    close: Pin<Box<SimpleQueryStream>>,
}

/// What can go better at the next try: lock timeout, deadlock, serialization, if the file was rolled back.
fn may_pass(fault: &Fault) -> bool {
    fault.code != Code::TransactionEnded && matches!(fault.sqlstate.as_deref(), Some("55P03" | "40P01" | "40001"))
}
