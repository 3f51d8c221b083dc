//! What became of work that did not end by itself: stopped, or its connection lost. The ledger decides, read over a session
//! that answers; what it can't be asked about is in doubt.

use super::{Sql, known, open};
use crate::{
    executor::invalid_index,
    fault::{Code, Fault, Stage},
    ledger::{Content, Ledger, invalid_indexes_sql},
    migrate::{self, Stopped},
    postgres::{
        Session,
        fault::statement_fault,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows, run_lock,
        wait::{self, answer_within},
    },
    run::event::Event,
    transport::Transport,
};
use std::time::Duration;
use tokio::time::timeout;

/// The pause between two cancel requests: one can come between two statements and then hits nothing.
const CANCEL_AGAIN: Duration = Duration::from_millis(150);

impl Sql<'_> {
    /// What ended the connection, if that is what the first fault complains of: the bastion and the session's driver know
    /// more than the query that found it closed.
    pub async fn first_cause(&mut self, reach: &Transport, mut faults: Vec<Fault>) -> Vec<Fault> {
        if let Some(first) = faults.first_mut() {
            *first = self.cause(reach, first.clone()).await;
        }
        faults
    }

    async fn cause(&mut self, reach: &Transport, symptom: Fault) -> Fault {
        if !symptom.code.ends_session() && symptom.code != Code::DatabaseUnready {
            return symptom;
        }
        let cause = match (reach.loss_fault(), &mut self.session) {
            (Some(bastion), _) => Some(bastion),
            // A symptom in the server's own words says why by itself.
            (None, Some(session)) if symptom.sqlstate.is_none() => session.close_reason().await,
            (None, _) => None,
        };
        match cause {
            Some(cause) if cause.cause != symptom.cause => {
                cause.at(symptom.stage).detail(format!("so: {}", symptom.cause))
            }
            _ => symptom,
        }
    }

    /// Stops the work whose future was dropped: cancels the statement until the session answers, rolls back, and reads from
    /// the ledger what was committed while nobody listened.
    ///
    /// # Errors
    /// Why nobody knows what became of the work.
    pub async fn stop(&self, reach: &Transport) -> Result<(), Fault> {
        let Some(session) = &self.session else { return Ok(()) };
        let canceller = session.canceller();
        let sql = self.tally.rollback_sql();
        let mut rollback = std::pin::pin!(session.client.batch_execute(sql));
        let answer = loop {
            match timeout(CANCEL_AGAIN, rollback.as_mut()).await {
                Ok(Err(error)) if hit_by_cancel(&statement_fault(&error)) => {
                    rollback.set(session.client.batch_execute(sql));
                }
                Ok(answer) => break answer,
                Err(_) => canceller.cancel(reach).await?,
            }
        };
        answer.map_err(|error| statement_fault(&error))?;
        self.tally.rolled_back();
        let Some(ledger) = &self.ledger else { return Ok(()) };
        if self.tally.sent.get() == self.tally.applied.get() {
            return Ok(());
        }
        let content = loop {
            match self.read_made(ledger).await {
                Err(fault) if hit_by_cancel(&fault) => {}
                answer => break answer?,
            }
        };
        self.tell_committed(&content, |index| Event::Cancelled { index });
        self.tell_left(&content.invalid_indexes);
        Ok(())
    }

    /// Tells what a failed file has left INVALID, and reads its fault in the light of that. What can't be asked is not told:
    /// the next run, and `verify`, tell it.
    pub(crate) async fn with_leftovers(&self, fault: Fault) -> Fault {
        let Some(session) = &self.session else { return fault };
        let question = OwnQuery::read_only(invalid_indexes_sql());
        let Ok(answer) = answer_within(self.settings.wait_timeout, query_rows(&session.client, &question)).await else {
            return fault;
        };
        let invalid = Content::parse(&answer).invalid_indexes;
        self.tell_left(&invalid);
        invalid_index::explained(fault, &invalid)
    }

    fn tell_left(&self, invalid: &[String]) {
        for index in invalid.iter().filter(|index| !self.before.invalid_indexes.contains(index)) {
            self.events.tell(Event::Warning(invalid_index::left(index).at(Stage::Migrate)));
        }
    }

    /// Tells of migrations whose fate nobody could find out; for a stop that did not succeed in time.
    pub fn give_up(&self) {
        let unknown = self.pending.iter().take(self.tally.sent.get()).skip(self.tally.flushed.get());
        for migration in unknown {
            self.events.tell(Event::InDoubt { index: migration.id.index });
        }
    }

    /// Connects anew and reads what became of the migrations that were in flight: what is not in the ledger was rolled back.
    pub(crate) async fn settle(&mut self, reach: &mut Transport, stopped: Stopped) -> Result<(), Fault> {
        let lost = self.cause(reach, stopped.fault).await;
        self.events.tell(Event::Waiting {
            what: "the database, to see what was committed".to_owned(),
            why: lost.cause.clone(),
        });
        match self.ask_again(reach).await {
            Ok(content) => {
                self.tell_committed(&content, |index| Event::Failed { index });
                self.tell_left(&content.invalid_indexes);
                match self.pending.len() - self.tally.applied.get() {
                    0 => Ok(()),
                    left => {
                        Err(lost
                            .detail(format!("{} applied, {left} not: the ledger says so", self.tally.applied.get())))
                    }
                }
            }
            // No commit was sent, perhaps because the ledger itself was still being made.
            Err(_) if self.tally.sent.get() == self.tally.flushed.get() => Err(lost),
            Err(why) => {
                self.give_up();
                Err(Fault::new(
                    Code::CommitInDoubt,
                    format!("the connection broke while a commit was under way: {}", lost.cause),
                )
                .detail(format!("it could not be had again: {}", why.cause)))
            }
        }
    }

    /// The ledger after the work. A connection that broke meanwhile is made anew: everything is committed, and only the
    /// proof is missing.
    pub(crate) async fn read_after(&mut self, reach: &mut Transport) -> Result<Content, Fault> {
        let wait = self.settings.wait_timeout;
        let lost = match answer_within(wait, self.read(&known(self.ledger.as_ref())?.made())).await {
            Err(lost) if lost.code.ends_session() => self.cause(reach, lost).await,
            answer => return answer,
        };
        self.events.tell(Event::Waiting {
            what: "the database, to read the ledger again".to_owned(),
            why: lost.cause.clone(),
        });
        self.ask_again(reach).await.map_err(|why| {
            lost.detail("everything was committed: only the proof is missing")
                .detail(format!("the database could not be had again: {}", why.cause))
                .fix("run `command: verify` as soon as the database can be reached")
        })
    }

    /// The ledger over a new connection, within `wait-timeout`. Whoever holds the run lock knows that the lost session has
    /// ended, and with it its transaction; until then the new session is not ours to work with. The lost one is closed
    /// first, as it may be lost to us alone.
    async fn ask_again(&mut self, reach: &mut Transport) -> Result<Content, Fault> {
        let wait = self.settings.wait_timeout;
        let late =
            || Fault::new(Code::DatabaseTimeout, format!("no answer within {} s (`wait-timeout`)", wait.as_secs()));
        if let Some(old) = &mut self.session {
            old.abort_driver().await;
        }
        let session = timeout(wait, self.locked_again(reach)).await.unwrap_or_else(|_| Err(late()))?;
        self.session = Some(session);
        answer_within(wait, self.read_made(known(self.ledger.as_ref())?)).await
    }

    /// The ledger, unless its making was undone: then nothing is recorded. What it says is on the disk when it has said it.
    async fn read_made(&self, ledger: &Ledger) -> Result<Content, Fault> {
        let session = open(self.session.as_ref())?;
        let question = OwnQuery::read_write(migrate::FLUSH);
        query_rows(&session.client, &question).await?;
        let question = ledger.made().read(&[]).requiring_lock(RunLockRequirement::Held);
        match query_rows(&session.client, &question).await {
            Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => Ok(Content::default()),
            answer => answer.map(|answer| Content::parse(&answer)),
        }
    }

    async fn locked_again(&self, reach: &mut Transport) -> Result<Session, Fault> {
        let (began, wait) = (tokio::time::Instant::now(), self.settings.wait_timeout);
        if reach.loss_fault().is_some() {
            *reach = Transport::connect(self.settings.route.as_ref(), &self.events).await?;
        }
        let left = wait.saturating_sub(began.elapsed());
        let session =
            wait::wait_for_session(reach, self.settings.database()?, &self.startup, left, &self.events).await?;
        let doubtful = self.tally.sent.get() > self.tally.applied.get();
        if let Some(xid) = self.tally.xid.get().filter(|_| doubtful) {
            let question = OwnQuery::read_only(format!("SELECT pg_xact_status('{xid}'::xid8)"));
            let said = query_rows(&session.client, &question).await;
            let status = match said {
                Err(lost) if lost.code.ends_session() => return Err(lost),
                // A server that crashed may have forgotten the transaction altogether. The ledger decides, not this.
                Err(forgotten) => forgotten.cause,
                Ok(answer) => answer.into_iter().flatten().next().flatten().unwrap_or_else(|| "unknown".to_owned()),
            };
            self.events.note(format!("the server says of transaction {xid}: {status}"));
        }
        let limit = wait.saturating_sub(began.elapsed());
        let before = self.session.as_ref().map(|old| old.announced_pid);
        let wait = run_lock::LockWait {
            limit,
            input: "wait-timeout",
            previous_pid: before,
            ..crate::executor::lock_holder::lock_wait(self.settings, self.runner)
        };
        run_lock::acquire_lock(&session, run_lock::bastion_migrate_lock(), &wait, &self.events).await?;
        Ok(session)
    }

    /// Tells of every migration that the ledger has and no event told yet, and takes back what a crash of the server made
    /// untrue; they are committed in order. The first that is not there has ended as `otherwise` says.
    fn tell_committed(&self, content: &Content, otherwise: impl Fn(usize) -> Event) {
        let told = self.tally.applied.get();
        let recorded = |version: &str| content.recorded.iter().find(|row| row.version == version);
        // What a killed run before this one had committed may not have been on the disk either.
        let older = self.before.recorded.iter().filter(|row| recorded(&row.version).is_none());
        for id in older.filter_map(|row| self.all.iter().find(|id| id.version == row.version)) {
            self.events.tell(Event::Found(id.clone()));
            self.events.tell(Event::Forgotten { index: id.index });
        }
        for (index, migration) in self.pending.iter().enumerate().skip(self.tally.flushed.get()) {
            let (key, version) = (migration.id.index, &migration.id.version);
            let Some(row) = recorded(version) else {
                self.tell_forgotten(index, told);
                self.events.tell(otherwise(key));
                return;
            };
            if index >= told {
                let took = Duration::from_millis(row.took_ms);
                self.events.tell(Event::Applied { index: key, took });
            }
            self.tally.applied.set(index + 1);
        }
    }

    fn tell_forgotten(&self, from: usize, told: usize) {
        let Some(forgotten) = self.pending.get(from..told).filter(|forgotten| !forgotten.is_empty()) else { return };
        for migration in forgotten {
            self.events.tell(Event::Forgotten { index: migration.id.index });
        }
        self.tally.applied.set(from);
    }
}

/// Whether a cancel request that was too late for the work has hit what came after it: nobody hears when the server has
/// acted on one (PostgreSQL manual, 55.2.7). Each hits once at most.
fn hit_by_cancel(fault: &Fault) -> bool {
    fault.code == Code::StatementFailed && fault.sqlstate.as_deref() == Some("57014")
}
