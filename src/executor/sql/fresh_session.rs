//! Migration over as many sessions as it takes: a file that changes the state that a new session would have is the last
//! one of its session, so that it makes no difference whether the next file belongs to this run or to another one.

use super::{
    planned::PlannedSql,
    setup::{SqlSetup, usual_locks_of_tools},
};
use crate::{
    executor::{
        lock_holder,
        monitored::{MonitoredBackend, run_monitored},
    },
    fault::{Code, Fault},
    ledger::LedgerState,
    migrate::{FreshState, LockTimeouts, Migration, Pipeline, SessionOutcome, StoppedAt},
    postgres::{
        CURRENT_DATABASE_OID, DatabaseTarget, LockWaits, Row, RowTag, Rows, Session,
        own_query::OwnQuery,
        query_rows,
        run_lock::{self, AdvisoryLock, LockWait},
        session_state_sql,
        wait::{self, answer_within},
    },
    run::{event::Event, lock_retries::LockRetries},
    sql::Execution,
    transport::Transport,
};
use futures_util::future::join;
use std::cell::Cell;

/// Returns the query for the state of a new session, apart from our own locks.
pub(super) fn fresh_state_query(locks: &[AdvisoryLock]) -> String {
    format!("SELECT {}, {}, {CURRENT_DATABASE_OID}", RowTag::FreshState, session_state_sql(locks, CURRENT_DATABASE_OID))
}

/// The state of a new session, without our own locks.
#[derive(Debug, Clone)]
pub(super) struct NewSessionState {
    state: String,
    /// SQL for the OID of the database.
    database: String,
}

impl NewSessionState {
    /// Returns the state with the expression that has it as its value, whether or not these locks are held.
    pub(super) fn without_locks(self, locks: &[AdvisoryLock]) -> FreshState {
        FreshState { state_sql: session_state_sql(locks, &self.database), state: self.state }
    }
}

/// Parses the response to that query.
///
/// # Errors
/// `database-not-postgres` if the state is missing.
pub(super) fn parse_fresh_state(rows: &Rows) -> Result<NewSessionState, Fault> {
    let parse = |row: Row<'_>| {
        let (state, database) = (row.text(0)?.to_owned(), row.parse::<u32>(1)?);
        Some(NewSessionState { state, database: format!("'{database}'::pg_catalog.oid") })
    };
    let missing = || Fault::new(Code::DatabaseNotPostgres, "the server did not report the state of a new session");
    rows.tagged(RowTag::FreshState).last().and_then(parse).ok_or_else(missing)
}

/// Returns the locks that a session of ours may hold, also those of the tool whose ledger was found.
pub(super) fn own_locks(target: &DatabaseTarget, locks_of_tool: &[AdvisoryLock]) -> Vec<AdvisoryLock> {
    let usual = usual_locks_of_tools(target);
    [run_lock::bastion_migrate_lock()].into_iter().chain(usual).chain(locks_of_tool.iter().copied()).collect()
}

impl PlannedSql<'_> {
    /// Applies the plan. A lost connection is opened again to find out what was committed.
    ///
    /// # Errors
    /// The reason why it stopped; events report what was applied before.
    pub(super) async fn migrate(&mut self, transport: &mut Transport) -> Result<(), Fault> {
        let mut first_index = 0;
        loop {
            let (outcome, proof) = self.migrate_from(transport, first_index).await;
            match outcome {
                Ok(SessionOutcome::Finished) => {
                    self.early_proof = proof;
                    return Ok(());
                }
                Ok(SessionOutcome::NeedsNewSession(next_index)) => {
                    self.start_fresh_session(transport, next_index).await?;
                    first_index = next_index;
                }
                Err(stopped) if stopped.fault.code.ends_session() => {
                    return self.settle_after_loss(transport, stopped).await;
                }
                Err(stopped) => {
                    if let Some(migration) = self.pending.get(stopped.at) {
                        self.setup.events.emit(Event::Failed { index: migration.id.index });
                    }
                    return Err(self.explain_by_leftovers(stopped.fault).await);
                }
            }
        }
    }

    /// Applies as many files as the current session can. The query for the proof is sent behind the files; if it is
    /// answered too early, it proves nothing and is sent again.
    async fn migrate_from(
        &self,
        transport: &Transport,
        first_index: usize,
    ) -> (Result<SessionOutcome, StoppedAt>, Option<LedgerState>) {
        let SqlSetup { settings, runner, events, target, .. } = &self.setup;
        let (session, ledger) = (&self.session, &self.ledger);
        let (run, safety, lock_waits) = (runner.run_url(), &settings.safety, LockWaits::default());
        let has_own_limit = target.options.as_deref().is_some_and(|options| options.contains("lock_timeout"));
        let apply = Pipeline {
            client: &session.client,
            ledger,
            fresh: &self.fresh_state,
            events,
            lock_retries: LockRetries { lock_timeout: safety.lock_timeout, retries: safety.retries },
            lock_timeouts: if has_own_limit { LockTimeouts::Session } else { LockTimeouts::PerAttempt },
            attempt: Cell::new(0),
            lock_waits: &lock_waits,
            rollback_timeout: settings.wait_timeout,
            run_url: run.as_deref(),
            commits: &self.commits,
        };
        let pending: Vec<&Migration> = self.pending.iter().collect();
        // The query must not be sent in the middle of a file that is sent in several parts.
        let reads_ledger_after =
            pending.iter().skip(first_index).all(|migration| migration.execution == Execution::SingleQuery);
        let ledger_read =
            async { if reads_ledger_after { self.read_ledger(&ledger.as_created()).await.ok() } else { None } };
        let watch = MonitoredBackend { settings, runner, events, pid: session.announced_pid };
        run_monitored(watch, transport, &lock_waits, join(apply.apply_all(&pending, first_index), ledger_read)).await
    }

    /// Starts a new session for the files from this one on, with the locks of the old one.
    async fn start_fresh_session(&mut self, transport: &Transport, index: usize) -> Result<(), Fault> {
        if let Some(migration) = self.pending.get(index) {
            self.setup.events.emit_note(format!(
                "{} starts a new session, as in a run of its own: the session changes of the files before it can't \
                 be undone in the old one",
                migration.id.file
            ));
        }
        let SqlSetup { settings, events, target, startup, .. } = &self.setup;
        let wait = settings.wait_timeout;
        let connected = Session::connect(transport, target, startup, events);
        let handed_over = match answer_within(wait, connected).await {
            Ok(session) => self.hand_over_to(session).await?,
            // Perhaps the server has no connection slot for a second session.
            Err(_) => false,
        };
        if !handed_over {
            self.reopen_session(transport).await?;
        }
        let locks = self.held_locks();
        let query = OwnQuery::read_only(fresh_state_query(&locks));
        let rows = answer_within(wait, query_rows(&self.session.client, &query)).await?;
        self.fresh_state = parse_fresh_state(&rows)?.without_locks(&locks);
        Ok(())
    }

    fn held_locks(&self) -> Vec<AdvisoryLock> {
        let locks_of_tool = self.setup.locks_of_tool(&self.ledger);
        [run_lock::bastion_migrate_lock()].into_iter().chain(locks_of_tool).collect()
    }

    /// Hands all locks over to the new session. Returns whether that succeeded; then it replaces the old one.
    async fn hand_over_to(&mut self, session: Session) -> Result<bool, Fault> {
        for lock in self.held_locks() {
            if !run_lock::hand_over_lock(&self.session, &session, lock).await? {
                session.close().await;
                return Ok(false);
            }
        }
        std::mem::replace(&mut self.session, session).close().await;
        Ok(true)
    }

    /// Starts the new session after the old one has ended. Another run that got the locks in between may have applied
    /// some of our files.
    async fn reopen_session(&mut self, transport: &Transport) -> Result<(), Fault> {
        let previous_pid = Some(self.session.announced_pid);
        self.session.abort_driver().await;
        let SqlSetup { settings, runner, events, target, startup } = &self.setup;
        let session = wait::wait_for_session(transport, target, startup, settings.wait_timeout, events).await?;
        let wait = LockWait { previous_pid, ..lock_holder::lock_wait(settings, runner) };
        for lock in self.held_locks() {
            run_lock::acquire_lock(&session, lock, &wait, events).await?;
        }
        self.session = session;
        let content = self.read_ledger(&self.ledger.as_created()).await?;
        let mut remaining = self.pending.iter().skip(self.commits.committed.get());
        match remaining.find(|migration| migration.is_done_in(&content)) {
            None => Ok(()),
            Some(migration) => Err(Fault::new(
                Code::LockLost,
                format!("another run has applied `{}` while this one started a new session", migration.id.file),
            )
            .fix("run again: what was applied is in the ledger")),
        }
    }
}
