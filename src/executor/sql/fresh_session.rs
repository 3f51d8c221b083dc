//! Migration over as many sessions as it takes: a file that changes the state that a new session would have is the last
//! one of its session, so that it makes no difference whether the next file belongs to this run or to another one.

use super::{
    lane::Lane,
    setup::{SqlSetup, usual_locks_of_tools},
    shared_plan::SharedPlan,
};
use crate::{
    executor::lock_holder,
    fault::{Code, Fault},
    migrate::FreshState,
    postgres::{
        CURRENT_DATABASE_OID, DatabaseTarget, Row, RowTag, Rows, Session, SessionMeans,
        own_query::{OwnQuery, RunLockRequirement},
        pooler, query_rows,
        run_lock::{self, AdvisoryLock, LockWait},
        session_state_sql,
        wait::answer_within,
    },
    transport::Transport,
};

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
    pub(super) fn without_locks(self, locks: &[AdvisoryLock], session: &Session) -> FreshState {
        FreshState {
            state_sql: session_state_sql(locks, &self.database),
            state: self.state,
            defaults: session.defaults().clone(),
            is_own_backend_sql: session.is_own_backend_sql(),
        }
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

impl Lane {
    /// Starts a new session for the files from this one on, with the locks of the old one.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(super) async fn start_fresh_session(
        &mut self,
        plan: &SharedPlan<'_>,
        transport: &Transport,
        index: usize,
    ) -> Result<(), Fault> {
        if let Some(migration) = self.begun.get(index) {
            plan.setup.events.emit_note(format!(
                "{} starts a new session, as in a run of its own: the session changes of the files before it can't \
                 be undone in the old one",
                migration.id.file
            ));
        }
        let SqlSetup { settings, events, startup, .. } = &plan.setup;
        let wait = settings.wait_timeout;
        let since = pooler::server_time_if_pooled(&self.session).await?;
        let means = SessionMeans { transport, wait, events };
        let connected = pooler::connect_anew(&self.session, startup, since.as_deref(), means);
        let handed_over = match answer_within(wait, connected).await {
            Ok(session) => self.hand_over_to(plan, session).await?,
            // Perhaps the server has no connection slot for a second session.
            Err(_) => false,
        };
        if !handed_over {
            self.reopen_session(plan, transport, since.as_deref()).await?;
        }
        let locks = plan.held_locks();
        let query = OwnQuery::read_only(fresh_state_query(&locks));
        let rows = answer_within(wait, query_rows(&self.session.client, &query)).await?;
        self.fresh_state = parse_fresh_state(&rows)?.without_locks(&locks, &self.session);
        Ok(())
    }

    /// Hands all locks over to the new session. Returns whether that succeeded; then it replaces the old one.
    async fn hand_over_to(&mut self, plan: &SharedPlan<'_>, session: Session) -> Result<bool, Fault> {
        if self.lock == RunLockRequirement::Shared {
            let is_shared = run_lock::try_share_lock(&session).await?;
            let unneeded = if is_shared { std::mem::replace(&mut self.session, session) } else { session };
            unneeded.close().await;
            return Ok(is_shared);
        }
        for lock in plan.held_locks() {
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
    async fn reopen_session(
        &mut self,
        plan: &SharedPlan<'_>,
        transport: &Transport,
        since: Option<&str>,
    ) -> Result<(), Fault> {
        let previous_pids = [self.session.pid()];
        self.session.abort_driver().await;
        let SqlSetup { settings, runner, events, startup, .. } = &plan.setup;
        let means = SessionMeans { transport, wait: settings.wait_timeout, events };
        let session = pooler::connect_anew(&self.session, startup, since, means).await?;
        let wait = LockWait { previous_pids: &previous_pids, ..lock_holder::lock_wait(settings, runner) };
        match self.lock {
            RunLockRequirement::Shared if run_lock::try_share_lock(&session).await? => {}
            RunLockRequirement::Shared => {
                return Err(Fault::new(Code::LockLost, "another session has taken the run lock meanwhile")
                    .fix("run again: what was applied is in the ledger"));
            }
            RunLockRequirement::Held | RunLockRequirement::NotNeeded => {
                for lock in plan.held_locks() {
                    run_lock::acquire_lock(&session, lock, &wait, events).await?;
                }
            }
        }
        self.session = session;
        let content = plan.read_after_stop(&self.session, self.lock).await?;
        let mut remaining = self.begun.iter().skip(self.commits.committed.get());
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
