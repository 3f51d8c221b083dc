//! Recovery of work that did not end by itself: it was stopped, or its connection was lost. The ledger decides, read
//! over a session that responds; a migration about which it can't be read is in doubt.

use super::{planned::PlannedSql, setup::SqlSetup};
use crate::{
    executor::{invalid_index_faults, lock_holder},
    fault::{Code, Fault, Stage},
    ledger::{LedgerState, invalid_indexes_sql},
    migrate::{self, StoppedAt},
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

/// The pause between two cancel requests: one that arrives between two statements has no effect.
const CANCEL_INTERVAL: Duration = Duration::from_millis(150);

impl PlannedSql<'_> {
    /// Stops work whose future was dropped: cancels the statement until the session responds, rolls back, and reads
    /// from the ledger what was committed meanwhile.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub(super) async fn stop_work(&self, transport: &Transport) -> Result<(), Fault> {
        let is_settled = || self.commits.sent.get() == self.commits.committed.get();
        // The next session was being opened.
        if self.session.client.is_closed() && is_settled() {
            return Ok(());
        }
        interrupt_and_roll_back(&self.session, transport, self.commits.rollback_sql()).await?;
        self.commits.record_rollback();
        if is_settled() {
            return Ok(());
        }
        let content = loop {
            match self.read_created_ledger().await {
                Err(fault) if is_late_cancel(&fault) => {}
                result => break result?,
            }
        };
        self.report_committed(&content, |index| Event::Cancelled { index });
        self.warn_of_new_invalid_indexes(&content.invalid_indexes);
        Ok(())
    }

    /// Warns of indexes that a failed file left INVALID, and explains its fault by them. If the query fails, the next
    /// run and `verify` report them.
    pub(super) async fn explain_by_leftovers(&self, fault: Fault) -> Fault {
        let query = OwnQuery::read_only(invalid_indexes_sql());
        let Ok(rows) = answer_within(self.setup.settings.wait_timeout, query_rows(&self.session.client, &query)).await
        else {
            return fault;
        };
        let invalid = LedgerState::from_rows(&rows).invalid_indexes;
        self.warn_of_new_invalid_indexes(&invalid);
        invalid_index_faults::explain_already_exists(fault, &invalid)
    }

    fn warn_of_new_invalid_indexes(&self, invalid: &[String]) {
        for index in invalid.iter().filter(|index| !self.ledger_before.invalid_indexes.contains(index)) {
            self.setup
                .events
                .emit(Event::Warning(invalid_index_faults::leftover_warning(index).in_stage(Stage::Migrate)));
        }
    }

    /// Reports the migrations whose outcome is unknown, after a stop that did not succeed in time.
    pub(super) fn report_in_doubt(&self) {
        let unknown = self.pending.iter().take(self.commits.sent.get()).skip(self.commits.durable.get());
        for migration in unknown {
            self.setup.events.emit(Event::InDoubt { index: migration.id.index });
        }
    }

    /// Reconnects and reads the outcome of the migrations that were in flight: what is not in the ledger was rolled
    /// back.
    pub(super) async fn settle_after_loss(
        &mut self,
        transport: &mut Transport,
        stopped: StoppedAt,
    ) -> Result<(), Fault> {
        let lost = root_cause(&mut self.session, transport, stopped.fault).await;
        self.setup.events.emit(Event::Waiting {
            what: "the database, to see what was committed".to_owned(),
            why: lost.cause.clone(),
        });
        match self.reconnect_and_read(transport).await {
            Ok(content) => {
                self.report_committed(&content, |index| Event::Failed { index });
                self.warn_of_new_invalid_indexes(&content.invalid_indexes);
                match self.pending.len() - self.commits.committed.get() {
                    0 => Ok(()),
                    remaining => Err(lost.detail(format!(
                        "{} applied, {remaining} not, according to the ledger",
                        self.commits.committed.get()
                    ))),
                }
            }
            // No commit was sent, perhaps because the ledger itself was still being created.
            Err(_) if self.commits.sent.get() == self.commits.durable.get() => Err(lost),
            Err(error) => {
                self.report_in_doubt();
                Err(Fault::new(
                    Code::CommitInDoubt,
                    format!("the connection broke while a commit was in progress: {}", lost.cause),
                )
                .detail(format!("it could not be restored: {}", error.cause)))
            }
        }
    }

    /// Reads the ledger after the work. A connection that broke meanwhile is opened again: everything is committed, and
    /// only the proof is missing.
    pub(super) async fn read_ledger_after(&mut self, transport: &mut Transport) -> Result<LedgerState, Fault> {
        let wait = self.setup.settings.wait_timeout;
        let lost = match answer_within(wait, self.read_ledger(&self.ledger.as_created())).await {
            Err(lost) if lost.code.ends_session() => root_cause(&mut self.session, transport, lost).await,
            result => return result,
        };
        self.setup.events.emit(Event::Waiting {
            what: "the database, to read the ledger again".to_owned(),
            why: lost.cause.clone(),
        });
        self.reconnect_and_read(transport).await.map_err(|error| {
            lost.detail("everything was committed: only the proof is missing")
                .detail(format!("the connection could not be restored: {}", error.cause))
                .fix("run `command: verify` as soon as the database can be reached")
        })
    }

    /// Reads the ledger over a new connection, within `wait-timeout`. Holding the run lock proves that the lost session
    /// has ended, and its transaction with it; until then the new session must not be used. The lost one is closed
    /// first, as the server may still have it.
    async fn reconnect_and_read(&mut self, transport: &mut Transport) -> Result<LedgerState, Fault> {
        let wait = self.setup.settings.wait_timeout;
        let late =
            || Fault::new(Code::DatabaseTimeout, format!("no answer within {} s (`wait-timeout`)", wait.as_secs()));
        self.session.abort_driver().await;
        self.session = timeout(wait, self.reconnect_locked(transport)).await.unwrap_or_else(|_| Err(late()))?;
        answer_within(wait, self.read_created_ledger()).await
    }

    /// Reads the ledger; if its creation was rolled back, nothing is recorded. Everything that it returns is durable.
    async fn read_created_ledger(&self) -> Result<LedgerState, Fault> {
        let query = OwnQuery::read_write(migrate::FLUSH);
        query_rows(&self.session.client, &query).await?;
        let query = self.ledger.as_created().read_query(&[]).requiring_lock(RunLockRequirement::Held);
        match query_rows(&self.session.client, &query).await {
            Err(fault) if matches!(fault.sqlstate.as_deref(), Some("42P01" | "3F000")) => Ok(LedgerState::default()),
            rows => rows.map(|rows| self.parse_state(&rows)),
        }
    }

    async fn reconnect_locked(&self, transport: &mut Transport) -> Result<Session, Fault> {
        let SqlSetup { settings, runner, events, target, startup } = &self.setup;
        let (began, wait) = (tokio::time::Instant::now(), settings.wait_timeout);
        if transport.loss_fault().is_some() {
            *transport = Transport::connect(settings.route.as_ref(), events).await?;
        }
        let remaining = wait.saturating_sub(began.elapsed());
        let session = wait::wait_for_session(transport, target, startup, remaining, events).await?;
        let is_in_doubt = self.commits.sent.get() > self.commits.committed.get();
        if let Some(xid) = self.commits.xid.get().filter(|_| is_in_doubt) {
            let query = OwnQuery::read_only(format!("SELECT pg_xact_status('{xid}'::xid8)"));
            let rows = query_rows(&session.client, &query).await;
            let status = match rows {
                Err(lost) if lost.code.ends_session() => return Err(lost),
                // A server that crashed may have lost the transaction altogether. The ledger decides, not this.
                Err(error) => error.cause,
                Ok(status_rows) => status_rows.first_text().unwrap_or("unknown").to_owned(),
            };
            self.setup.events.emit_note(format!("transaction {xid} is, according to the server: {status}"));
        }
        let limit = wait.saturating_sub(began.elapsed());
        let wait = run_lock::LockWait {
            limit,
            input: "wait-timeout",
            previous_pid: Some(self.session.announced_pid),
            ..lock_holder::lock_wait(settings, runner)
        };
        run_lock::acquire_lock(&session, run_lock::bastion_migrate_lock(), &wait, events).await?;
        Ok(session)
    }

    /// Reports every migration that is in the ledger and was not reported yet, and corrects the reports that a crash of
    /// the server made untrue. Migrations are committed in order; the first that is not in the ledger is reported by
    /// `other_event`.
    fn report_committed(&self, content: &LedgerState, other_event: impl Fn(usize) -> Event) {
        let reported_count = self.commits.committed.get();
        let recorded = |version: &str| content.recorded.iter().find(|row| row.version == version);
        // The commits of a killed earlier run may not have been durable either.
        let is_planned = |version: &str| self.pending.iter().any(|migration| migration.id.version == version);
        let older = self.ledger_before.recorded.iter().filter(|row| recorded(&row.version).is_none());
        let older = older.filter(|row| !is_planned(&row.version));
        for id in older.filter_map(|row| self.all_migrations.iter().find(|id| id.version == row.version)) {
            self.setup.events.emit(Event::Unplanned(id.clone()));
            self.setup.events.emit(Event::LostInCrash { index: id.index });
        }
        for (index, migration) in self.pending.iter().enumerate().skip(self.commits.durable.get()) {
            if !migration.is_done_in(content) {
                self.report_lost_in_crash(index, reported_count);
                self.setup.events.emit(other_event(migration.id.index));
                return;
            }
            if index >= reported_count {
                let took = recorded(&migration.id.version).map_or(0, |row| row.took_ms);
                self.setup.events.emit(migration.done_event(Duration::from_millis(took)));
            }
            self.commits.committed.set(index + 1);
        }
    }

    fn report_lost_in_crash(&self, first_index: usize, reported_count: usize) {
        let Some(lost_migrations) =
            self.pending.get(first_index..reported_count).filter(|lost_migrations| !lost_migrations.is_empty())
        else {
            return;
        };
        for migration in lost_migrations {
            self.setup.events.emit(Event::LostInCrash { index: migration.id.index });
        }
        self.commits.committed.set(first_index);
    }
}

/// Cancels the session's statement until the session responds, and rolls back with this SQL.
///
/// # Errors
/// The reason why the session does not respond.
pub(super) async fn interrupt_and_roll_back(
    session: &Session,
    transport: &Transport,
    rollback_sql: &str,
) -> Result<(), Fault> {
    let canceller = session.canceller();
    let mut rollback = std::pin::pin!(session.client.batch_execute(rollback_sql));
    let result = loop {
        match timeout(CANCEL_INTERVAL, rollback.as_mut()).await {
            Ok(Err(error)) if is_late_cancel(&statement_fault(&error)) => {
                rollback.set(session.client.batch_execute(rollback_sql));
            }
            Ok(result) => break result,
            Err(_) => canceller.cancel(transport).await?,
        }
    };
    result.map_err(|error| statement_fault(&error))
}

/// Returns the cause of a lost connection if `symptom` only reports the loss: the bastion and the session's driver know
/// more than the query that found it closed.
pub(super) async fn root_cause(session: &mut Session, transport: &Transport, symptom: Fault) -> Fault {
    if !symptom.code.ends_session() && symptom.code != Code::DatabaseUnready {
        return symptom;
    }
    let cause = match transport.loss_fault() {
        Some(bastion) => Some(bastion),
        // A symptom that the server itself reported contains its cause.
        None if symptom.sqlstate.is_none() => session.close_reason().await,
        None => None,
    };
    match cause {
        Some(cause) if cause.cause != symptom.cause => {
            cause.in_stage(symptom.stage).detail(format!("so: {}", symptom.cause))
        }
        _ => symptom,
    }
}

/// Returns whether a late cancel request has hit the statement after the work: the client can't know when the server
/// handles one (PostgreSQL manual, 55.2.7). Each hits once at most.
fn is_late_cancel(fault: &Fault) -> bool {
    fault.code == Code::StatementFailed && fault.sqlstate.as_deref() == Some("57014")
}
