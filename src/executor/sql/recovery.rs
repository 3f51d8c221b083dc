//! Recovery of work that did not end by itself: it was stopped, or its connection was lost. The ledger decides, read
//! over a session that responds; a migration about which it can't be read is in doubt.

use super::{
    lane::{Lane, warn_of_new_invalid_indexes},
    planned::PlannedSql,
    setup::SqlSetup,
    shared_plan::SharedPlan,
};
use crate::{
    executor::{lock_holder, root_cause::root_cause},
    fault::{Code, Fault},
    ledger::DatabaseState,
    migrate::Place,
    postgres::{
        Session,
        fault::statement_fault,
        own_query::{OwnQuery, RunLockRequirement},
        pooler, query_rows, run_lock,
        wait::{self, answer_within, retry_if_lost},
    },
    run::event::Event,
    transport::Transport,
};
use futures_util::future::{join, join_all};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

/// The pause between two cancel requests: one that arrives between two statements has no effect.
const CANCEL_INTERVAL: Duration = Duration::from_millis(150);

impl PlannedSql<'_> {
    /// Stops work whose future was dropped: cancels the statements until the sessions respond, rolls back, and reads
    /// from the ledger what was committed meanwhile.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub(super) async fn stop_work(&self, transport: &Transport) -> Result<(), Fault> {
        let stopped = join_all(self.lanes().map(|lane| lane.interrupt(transport))).await;
        stopped.into_iter().collect::<Result<(), Fault>>()?;
        if self.lanes().all(Lane::is_settled) {
            return Ok(());
        }
        let content = loop {
            match self.plan.read_after_stop(&self.main.session, self.main.lock).await {
                Err(fault) if is_late_cancel(&fault) => {}
                result => break result?,
            }
        };
        self.report_committed(&content, |index| Event::Cancelled { index });
        warn_of_new_invalid_indexes(&self.plan, &content.invalid_indexes);
        Ok(())
    }

    /// Reports the migrations whose outcome is unknown, after a stop that did not succeed in time.
    pub(super) fn report_in_doubt(&self) {
        for lane in self.lanes() {
            let unknown = lane.begun.iter().take(lane.commits.sent.get()).skip(lane.commits.durable.get());
            for migration in unknown {
                self.plan.setup.events.emit(Event::InDoubt { index: migration.id.index });
            }
        }
    }

    /// Reconnects and reads the outcome of the migrations that were in flight when a session was lost: what is not in
    /// the ledger was rolled back.
    pub(super) async fn settle_after_loss(&mut self, transport: &mut Transport, lost: Fault) -> Result<(), Fault> {
        self.plan.setup.events.emit(Event::Waiting {
            what: "the database, to see what was committed".to_owned(),
            why: lost.cause.clone(),
        });
        match self.reconnect_and_read(transport).await {
            Ok(content) => {
                self.report_committed(&content, |index| Event::Failed { index });
                warn_of_new_invalid_indexes(&self.plan, &content.invalid_indexes);
                let begun = self.lanes().flat_map(|lane| &lane.begun);
                let applied = begun.filter(|migration| migration.is_done_in(&content)).count();
                match self.plan.pending_count - applied {
                    0 => Ok(()),
                    remaining => {
                        Err(lost.detail(format!("{applied} applied, {remaining} not, according to the ledger")))
                    }
                }
            }
            // No commit was sent, perhaps because the ledger itself was still being created.
            Err(_) if self.lanes().all(|lane| lane.commits.sent.get() == lane.commits.durable.get()) => Err(lost),
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

    /// Reads the ledgers after the work. A connection that broke meanwhile is opened again: everything is committed,
    /// and only the proof is missing.
    pub(super) async fn read_ledger_after(&mut self, transport: &mut Transport) -> Result<DatabaseState, Fault> {
        let wait = self.plan.setup.settings.wait_timeout;
        let places = self.worked_places();
        let reading = self.plan.read_after_work(&self.main.session, self.main.lock, places.iter());
        // A schema that was read with the files was read too early.
        let (read, ()) =
            join(answer_within(wait, reading), self.main.read_schema_after(self.plan.setup.settings)).await;
        let lost = match read {
            Err(lost) if lost.code.ends_session() => root_cause(&mut self.main.session, transport, lost).await,
            result => return result,
        };
        self.plan.setup.events.emit(Event::Waiting {
            what: "the database, to read the ledger again".to_owned(),
            why: lost.cause.clone(),
        });
        self.reconnect_and_read(transport).await.map_err(|error| {
            lost.detail("everything was committed: only the proof is missing")
                .detail(format!("the connection could not be restored: {}", error.cause))
                .fix("run `command: verify` as soon as the database can be reached")
        })
    }

    /// Returns the places of the migrations that were begun.
    fn worked_places(&self) -> Vec<Arc<Place>> {
        let begun = self.lanes().flat_map(|lane| &lane.begun);
        let mut places: Vec<Arc<Place>> = begun.map(|migration| Arc::clone(&migration.place)).collect();
        places.dedup_by(|left, right| Arc::ptr_eq(left, right));
        places
    }

    /// Reads the ledgers over a new connection, within `wait-timeout`. Holding the run lock proves that the lost
    /// sessions have ended, and their transactions with them; until then the new session must not be used. The lost
    /// ones are closed first, as the server may still have them.
    async fn reconnect_and_read(&mut self, transport: &mut Transport) -> Result<DatabaseState, Fault> {
        let wait = self.plan.setup.settings.wait_timeout;
        let late =
            || Fault::new(Code::DatabaseTimeout, format!("no answer within {} s (`wait-timeout`)", wait.as_secs()));
        let mut previous_pids: Vec<i32> = self.lanes().map(|lane| lane.session.pid()).collect();
        let deadline = Instant::now() + wait;
        let attempt = async || {
            for lane in [&mut self.main].into_iter().chain(&mut self.others) {
                lane.session.abort_driver().await;
            }
            let reconnected = timeout_at(deadline, self.reconnect_locked(transport, &mut previous_pids)).await;
            self.main.session = reconnected.unwrap_or_else(|_| Err(late()))?;
            self.main.lock = RunLockRequirement::Held;
            answer_within(wait, self.plan.read_after_stop(&self.main.session, self.main.lock)).await
        };
        retry_if_lost(deadline, attempt).await
    }

    /// Opens a session that holds the run lock. `previous_pids` has those of the lost ones, and gets that of this one.
    async fn reconnect_locked(
        &self,
        transport: &mut Transport,
        previous_pids: &mut Vec<i32>,
    ) -> Result<Session, Fault> {
        let SqlSetup { settings, runner, events, target, startup, .. } = &self.plan.setup;
        let (began, wait) = (Instant::now(), settings.wait_timeout);
        if transport.loss_fault().is_some() {
            *transport = Transport::connect(settings.route.as_ref(), &settings.way, events).await?;
        }
        let remaining = wait.saturating_sub(began.elapsed());
        let startup = startup.clone().delivered(self.main.session.delivery());
        let mut session = wait::wait_for_session(transport, target, &startup, remaining, events).await?;
        pooler::take_backend_if_pooled(&mut session, remaining).await?;
        let in_doubt = self.lanes().filter(|lane| lane.commits.sent.get() > lane.commits.committed.get());
        for xid in in_doubt.filter_map(|lane| lane.commits.xid.get()) {
            let query = OwnQuery::read_only(format!("SELECT pg_xact_status('{xid}'::xid8)"));
            let rows = query_rows(&session.client, &query).await;
            let status = match rows {
                Err(lost) if lost.code.ends_session() => return Err(lost),
                // A server that crashed may have lost the transaction altogether. The ledger decides, not this.
                Err(error) => error.cause,
                Ok(status_rows) => status_rows.first_text().unwrap_or("unknown").to_owned(),
            };
            events.emit_note(format!("transaction {xid} is, according to the server: {status}"));
        }
        let limit = wait.saturating_sub(began.elapsed());
        let wait = run_lock::LockWait {
            limit,
            input: "wait-timeout",
            previous_pids,
            ..lock_holder::lock_wait(settings, runner)
        };
        let locked = run_lock::acquire_lock(&session, run_lock::bastion_migrate_lock(), &wait, events).await;
        previous_pids.push(session.pid());
        locked.map(|_| session)
    }

    /// Reports every migration that is in its ledger and was not reported yet, and corrects the reports that a crash of
    /// the server made untrue; the first of each session that is not in the ledger is reported by `other_event`.
    fn report_committed(&self, content: &DatabaseState, other_event: impl Fn(usize) -> Event) {
        self.report_older_lost(content);
        for lane in self.lanes() {
            lane.report_committed(&self.plan, content, &other_event);
        }
    }

    /// Reports the migrations of earlier runs that a crash of the server undid: the commits of a killed run may not have
    /// been durable.
    fn report_older_lost(&self, content: &DatabaseState) {
        // With tenants the ledgers that were not begun are not read.
        if self.plan.has_tenants() {
            return;
        }
        let is_recorded = |version: &str| content.ledger_of("").recorded.iter().any(|row| row.version == version);
        let is_planned =
            |version: &str| self.lanes().flat_map(|lane| &lane.begun).any(|begun| begun.id.version == version);
        let older = self.plan.before.ledger_of("").recorded.iter();
        let older = older.filter(|row| !is_recorded(&row.version) && !is_planned(&row.version));
        for id in older.filter_map(|row| self.plan.all_migrations.iter().find(|id| id.version == row.version)) {
            self.plan.setup.events.emit(Event::Unplanned(id.clone()));
            self.plan.setup.events.emit(Event::LostInCrash { index: id.index });
        }
    }
}

impl Lane {
    /// Reports whether the outcome of everything that was sent is known.
    fn is_settled(&self) -> bool {
        self.commits.sent.get() == self.commits.committed.get()
    }

    /// Cancels the statement until the session responds, and rolls back.
    async fn interrupt(&self, transport: &Transport) -> Result<(), Fault> {
        // The next session was being opened.
        if self.session.client.is_closed() && self.is_settled() {
            return Ok(());
        }
        interrupt_and_roll_back(&self.session, transport, &self.commits.rollback_sql(self.session.defaults())).await?;
        self.commits.record_rollback();
        Ok(())
    }

    /// Reports the outcome of this session's migrations. They are committed in order, tenant by tenant.
    fn report_committed(&self, plan: &SharedPlan<'_>, content: &DatabaseState, other_event: impl Fn(usize) -> Event) {
        let events = &plan.setup.events;
        let reported_count = self.commits.committed.get();
        for (index, migration) in self.begun.iter().enumerate().skip(self.commits.durable.get()) {
            if !migration.is_done_in(content) {
                self.report_lost_in_crash(plan, index, reported_count);
                events.emit(other_event(migration.id.index));
                return;
            }
            if index >= reported_count {
                let mut rows = content.ledger_of(&migration.id.schema).recorded.iter();
                let took = rows.find(|row| row.version == migration.id.version).map_or(0, |row| row.took_ms);
                events.emit(migration.done_event(Duration::from_millis(took)));
            }
            self.commits.committed.set(index + 1);
        }
    }

    fn report_lost_in_crash(&self, plan: &SharedPlan<'_>, first_index: usize, reported_count: usize) {
        let Some(lost_migrations) =
            self.begun.get(first_index..reported_count).filter(|lost_migrations| !lost_migrations.is_empty())
        else {
            return;
        };
        for migration in lost_migrations {
            plan.setup.events.emit(Event::LostInCrash { index: migration.id.index });
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
    let mut rollback = pin!(session.client.batch_execute(rollback_sql));
    let result = loop {
        match timeout(CANCEL_INTERVAL, rollback.as_mut()).await {
            Ok(Err(error)) if is_late_cancel(&statement_fault(&error)) => {
                rollback.set(session.client.batch_execute(rollback_sql));
            }
            Ok(result) => break result,
            // Awaited to its end: behind PgBouncer 1.18 the session is lost if the request is given up.
            Err(_) => canceller.cancel(transport).await?,
        }
    };
    result.map_err(|error| statement_fault(&error))
}

/// Returns whether a late cancel request has hit the statement after the work: the client can't know when the server
/// handles one (PostgreSQL manual, 55.2.7). Each hits once at most.
fn is_late_cancel(fault: &Fault) -> bool {
    fault.code == Code::StatementFailed && fault.sqlstate.as_deref() == Some("57014")
}
