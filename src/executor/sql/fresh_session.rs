//! Migration over as many sessions as it takes: a file that changes the state that a new session would have is the last
//! one of its session, so that it makes no difference whether the next file belongs to this run or to another one.

use super::{SqlExecutor, require_ledger, require_session};
use crate::{
    executor::monitored::{MonitoredBackend, run_monitored},
    fault::{Code, Fault},
    layout::{self, Layout},
    ledger::LedgerState,
    migrate::{FreshState, LockTimeouts, Migration, Pipeline, SessionOutcome, StoppedAt},
    postgres::{
        CURRENT_DATABASE_OID, LockWaits, RowTag, Rows, Session,
        own_query::OwnQuery,
        query_rows,
        run_lock::{self, AdvisoryLock, LockWait},
        session_state_sql,
        wait::{self, answer_within},
    },
    run::{event::Event, lock_retries::LockRetries},
    settings::Settings,
    sql::Execution,
    transport::Transport,
};
use futures_util::future::join;
use std::cell::Cell;

/// Returns the query for the state of a new session.
pub(crate) fn fresh_state_query(settings: &Settings) -> String {
    format!(
        "SELECT {}, {}, {CURRENT_DATABASE_OID}",
        RowTag::FreshState,
        session_state_sql(&own_locks(settings), CURRENT_DATABASE_OID)
    )
}

/// Parses the response to that query.
pub(crate) fn parse_fresh_state(settings: &Settings, rows: &Rows) -> Option<FreshState> {
    let row = rows.tagged(RowTag::FreshState).last()?;
    let (state, database) = (row.text(0)?.to_owned(), row.parse::<u32>(1)?);
    let database = format!("'{database}'::pg_catalog.oid");
    Some(FreshState { state_sql: session_state_sql(&own_locks(settings), &database), state })
}

/// Returns the locks that a session of ours may hold.
fn own_locks(settings: &Settings) -> Vec<AdvisoryLock> {
    let of_tools = settings.database.iter().flat_map(|target| {
        let lock = |layout: Layout| Some(run_lock::tool_lock(layout.lock_key(&target.name)?, layout.name()));
        layout::ALL.into_iter().filter_map(lock)
    });
    [run_lock::bastion_migrate_lock()].into_iter().chain(of_tools).collect()
}

impl SqlExecutor<'_> {
    /// Applies the plan. A lost connection is opened again to find out what was committed.
    ///
    /// # Errors
    /// The reason why it stopped; events report what was applied before.
    pub async fn migrate(&mut self, transport: &mut Transport) -> Result<(), Fault> {
        let mut first_index = 0;
        loop {
            let (outcome, proof) = self.migrate_from(transport, first_index).await?;
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
                        self.events.emit(Event::Failed { index: migration.id.index });
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
    ) -> Result<(Result<SessionOutcome, StoppedAt>, Option<LedgerState>), Fault> {
        let (session, ledger) = (require_session(self.session.as_ref())?, require_ledger(self.ledger.as_ref())?);
        let missing_state =
            || Fault::new(Code::DatabaseNotPostgres, "the server did not report the state of a new session");
        let fresh = self.fresh_state.as_ref().ok_or_else(missing_state)?;
        let (run, safety, lock_waits) = (self.runner.run_url(), &self.settings.safety, LockWaits::default());
        let options = self.settings.database.as_ref().and_then(|target| target.options.as_deref());
        let has_own_limit = options.is_some_and(|options| options.contains("lock_timeout"));
        let apply = Pipeline {
            client: &session.client,
            ledger,
            fresh,
            events: &self.events,
            lock_retries: LockRetries { lock_timeout: safety.lock_timeout, retries: safety.retries },
            lock_timeouts: if has_own_limit { LockTimeouts::Session } else { LockTimeouts::PerAttempt },
            attempt: Cell::new(0),
            lock_waits: &lock_waits,
            rollback_timeout: self.settings.wait_timeout,
            run_url: run.as_deref(),
            commits: &self.commits,
        };
        let pending: Vec<&Migration> = self.pending.iter().collect();
        // The query must not be sent in the middle of a file that is sent in several parts.
        let reads_ledger_after =
            pending.iter().skip(first_index).all(|migration| migration.execution == Execution::SingleQuery);
        let ledger_read =
            async { if reads_ledger_after { self.read_ledger(&ledger.as_created()).await.ok() } else { None } };
        let watch = MonitoredBackend {
            settings: self.settings,
            runner: self.runner,
            events: &self.events,
            pid: session.announced_pid,
        };
        Ok(run_monitored(watch, transport, &lock_waits, join(apply.apply_all(&pending, first_index), ledger_read))
            .await)
    }

    /// Starts a new session for the files from this one on, with the locks of the old one.
    async fn start_fresh_session(&mut self, transport: &Transport, index: usize) -> Result<(), Fault> {
        if let Some(migration) = self.pending.get(index) {
            self.events.emit_note(format!(
                "{} starts a new session, as in a run of its own: the session changes of the files before it can't \
                 be undone in the old one",
                migration.id.file
            ));
        }
        let wait = self.settings.wait_timeout;
        let connected = Session::connect(transport, self.settings.required_database()?, &self.startup, &self.events);
        let handed_over = match answer_within(wait, connected).await {
            Ok(session) => self.hand_over_to(session).await?,
            // Perhaps the server has no connection slot for a second session.
            Err(_) => false,
        };
        if !handed_over {
            self.reopen_session(transport).await?;
        }
        let session = require_session(self.session.as_ref())?;
        let query = OwnQuery::read_only(fresh_state_query(self.settings));
        let rows = answer_within(wait, query_rows(&session.client, &query)).await?;
        self.fresh_state = parse_fresh_state(self.settings, &rows);
        Ok(())
    }

    fn held_locks(&self) -> Result<Vec<AdvisoryLock>, Fault> {
        let tool_lock = self.lock_of_tool(require_ledger(self.ledger.as_ref())?)?;
        Ok([run_lock::bastion_migrate_lock()].into_iter().chain(tool_lock).collect())
    }

    /// Hands all locks over to the new session. Returns whether that succeeded; then it replaces the old one.
    async fn hand_over_to(&mut self, session: Session) -> Result<bool, Fault> {
        let old = require_session(self.session.as_ref())?;
        for lock in self.held_locks()? {
            if !run_lock::hand_over_lock(old, &session, lock).await? {
                session.close().await;
                return Ok(false);
            }
        }
        if let Some(old) = self.session.replace(session) {
            old.close().await;
        }
        Ok(true)
    }

    /// Starts the new session after the old one has ended. Another run that got the locks in between may have applied
    /// some of our files.
    async fn reopen_session(&mut self, transport: &Transport) -> Result<(), Fault> {
        let before = self.session.as_ref().map(|old| old.announced_pid);
        if let Some(old) = self.session.take() {
            old.close().await;
        }
        let (target, wait) = (self.settings.required_database()?, self.settings.wait_timeout);
        let session = wait::wait_for_session(transport, target, &self.startup, wait, &self.events).await?;
        let wait =
            LockWait { previous_pid: before, ..crate::executor::lock_holder::lock_wait(self.settings, self.runner) };
        for lock in self.held_locks()? {
            run_lock::acquire_lock(&session, lock, &wait, &self.events).await?;
        }
        self.session = Some(session);
        let content = self.read_ledger(&require_ledger(self.ledger.as_ref())?.as_created()).await?;
        let mut remaining = self.pending.iter().skip(self.commits.committed.get());
        match remaining.find(|migration| content.recorded.iter().any(|row| row.version == migration.id.version)) {
            None => Ok(()),
            Some(migration) => Err(Fault::new(
                Code::LockLost,
                format!("another run has applied `{}` while this one started a new session", migration.id.file),
            )
            .fix("run again: what was applied is in the ledger")),
        }
    }
}
