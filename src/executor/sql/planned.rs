//! The third phase: the plan is made. It is applied by [`Lane`]s and proven here; `recovery` handles work that did not end
//! by itself.

use super::{
    fresh_session::{fresh_state_query, parse_fresh_state},
    lane::Lane,
    setup::SqlSetup,
    shared_plan::SharedPlan,
    tenant_queue::TenantQueue,
    tenant_schemas::read_schemas,
};
use crate::{
    executor::{
        backup::BackupSubject,
        review::{ReadScripts, StatementPlaces},
    },
    fault::{Code, Fault, Stage},
    ledger::DatabaseState,
    migrate::Migration,
    plan,
    postgres::{
        Session, SessionMeans,
        own_query::{OwnQuery, RunLockRequirement},
        pooler, query_rows,
        run_lock::{self, bastion_migrate_lock},
        wait::answer_within,
    },
    run::event::{Event, Proof},
    settings::{Command, TenantSettings},
    transport::Transport,
};
use futures_util::future::{join, join_all};
use std::collections::BTreeSet;

/// The sessions and the plan.
#[derive(Debug)]
pub struct PlannedSql<'a> {
    pub(super) plan: SharedPlan<'a>,
    /// The session that took the run lock.
    pub(super) main: Lane,
    /// The sessions that work on tenants beside it.
    pub(super) others: Vec<Lane>,
    pub(super) queue: TenantQueue,
    pub(super) backup_subject: BackupSubject,
    /// The scripts of the pending migrations, if they are to be rehearsed.
    pub(super) scripts: ReadScripts,
    /// The positions of their statements.
    pub(super) places_of_statements: StatementPlaces,
    /// The ledger, read directly behind the last file.
    pub(super) early_proof: Option<DatabaseState>,
}

impl PlannedSql<'_> {
    /// Returns all sessions.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        [&self.main].into_iter().chain(&self.others)
    }

    /// Applies the plan: the canary first, then the other tenants in several sessions. A lost connection is opened
    /// again to find out what was committed.
    ///
    /// # Errors
    /// The reason why it stopped, or why tenants failed; events report what was applied.
    pub(super) async fn migrate(&mut self, transport: &mut Transport) -> Result<(), Vec<Fault>> {
        if let Some(migrations) = self.queue.take_next() {
            let work = (&self.queue, migrations);
            self.early_proof = self.main.apply_tenant(&self.plan, transport, work).await;
        }
        self.queue.end_canary();
        if self.queue.remaining() > 0
            && let Err(fault) = self.apply_remaining(transport).await
        {
            self.queue.record_loss(fault);
        }
        let failures = self.queue.take_failures();
        if !failures.is_empty() {
            self.report_schema_change();
        }
        if let Some(lost) = self.queue.take_loss() {
            let settled = self.settle_after_loss(transport, lost).await;
            let failures = failures.into_iter().chain(settled.err().map(|fault| (String::new(), fault)));
            return refuse(plan::merge_faults(failures.collect()));
        }
        refuse(plan::merge_faults(failures))
    }

    /// Works on the tenants that are left, in several sessions if the run lock can be shared.
    async fn apply_remaining(&mut self, transport: &Transport) -> Result<(), Fault> {
        let parallel = self.plan.setup.settings.sql.tenants.as_ref().map_or(1, |tenants| tenants.parallel);
        let wanted = parallel.min(self.queue.remaining()).saturating_sub(1);
        if wanted > 0 && run_lock::share_run_lock(&self.main.session).await? {
            self.main.lock = RunLockRequirement::Shared;
            let opened = join_all((0..wanted).map(|_| open_lane(&self.plan, &self.main.session, transport))).await;
            let (lanes, refusals): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
            self.others = lanes.into_iter().flatten().collect();
            if let Some(fault) = refusals.into_iter().find_map(Result::err) {
                let (sessions, cause) = (self.others.len() + 1, fault.cause);
                self.plan.setup.events.emit_note(format!("{sessions} sessions work on the tenants: {cause}"));
            }
        }
        let Self { plan, main, others, queue, .. } = self;
        join(
            main.work(plan, transport, queue),
            join_all(others.iter_mut().map(|lane| lane.work(plan, transport, queue))),
        )
        .await;
        Ok(())
    }

    /// Proves the result: after `migrate`, that the ledger contains everything that was applied; for `verify`, that
    /// nothing is pending; for both, that no index is INVALID.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub(super) async fn verify(&mut self, transport: &mut Transport) -> Result<(), Vec<Fault>> {
        let faults = match self.plan.setup.settings.command {
            Command::Verify => {
                let pending = self.queue.waiting_migrations();
                let pending: Vec<&Migration> = pending.iter().map(|migration| &**migration).collect();
                plan::still_pending(&pending, &self.plan.before)
            }
            // Nothing has changed since the plan read the ledger under the lock: that is the proof.
            _ if self.plan.pending_count == 0 => Vec::new(),
            _ => {
                let after = match self.early_proof.take().filter(|after| self.find_missing(after).is_empty()) {
                    Some(after) => after,
                    None => self.read_ledger_after(transport).await.map_err(|fault| vec![fault])?,
                };
                self.report_schema_change();
                warn_of_old_invalid_indexes(&self.plan.setup, &self.plan.before, &after);
                self.report_new_tenants().await;
                self.find_missing(&after)
            }
        };
        refuse(faults)?;
        self.plan.setup.events.emit(Event::Verified(Proof::Ledger));
        Ok(())
    }

    fn report_schema_change(&self) {
        if let Some(schema) = &self.main.schema {
            schema.report_changes(&self.plan.setup.events);
        }
    }

    /// Reports the tenants that were created during the run. If the query fails, the next run reports that.
    async fn report_new_tenants(&self) {
        let SqlSetup { settings, events, .. } = &self.plan.setup;
        let Some(TenantSettings { source, .. }) = &settings.sql.tenants else { return };
        let reading = read_schemas(&self.main.session.client, source);
        let Ok(schemas) = answer_within(settings.wait_timeout, reading).await else { return };
        let is_known = |schema: &&String| self.plan.places.iter().any(|place| place.schema() == schema.as_str());
        let new: BTreeSet<&str> = schemas.iter().filter(|schema| !is_known(schema)).map(String::as_str).collect();
        if !new.is_empty() {
            let tenants = plan::list_tenants(&new);
            events.emit_note(format!("tenants were created during the run, and the next one migrates them: {tenants}"));
        }
    }

    fn find_missing(&self, after: &DatabaseState) -> Vec<Fault> {
        let begun = self.lanes().flat_map(|lane| &lane.begun).map(|migration| &**migration);
        plan::missing_after_run(begun, &self.plan.before, after)
    }

    /// Closes all sessions, which releases the run lock.
    pub(super) async fn close(self) {
        let others = self.others.into_iter().map(|lane| lane.session.close());
        join(self.main.session.close(), join_all(others)).await;
    }
}

/// Opens another session of the run, which shares the run lock.
async fn open_lane(plan: &SharedPlan<'_>, main: &Session, transport: &Transport) -> Result<Lane, Fault> {
    let SqlSetup { settings, events, startup, .. } = &plan.setup;
    let wait = settings.wait_timeout;
    let means = SessionMeans { transport, wait, events };
    let session = answer_within(wait, pooler::connect_anew(main, startup, None, means)).await?;
    if !answer_within(wait, run_lock::try_share_lock(&session)).await? {
        session.close().await;
        return Err(Fault::new(Code::LockHeld, "another session waits for the run lock in the server"));
    }
    let locks = [bastion_migrate_lock()];
    let query = OwnQuery::read_only(fresh_state_query(&locks));
    let rows = answer_within(wait, query_rows(&session.client, &query)).await?;
    let fresh_state = parse_fresh_state(&rows)?.without_locks(&locks, &session);
    Ok(Lane::new(session, fresh_state, RunLockRequirement::Shared))
}

fn refuse(faults: Vec<Fault>) -> Result<(), Vec<Fault>> {
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Warns of INVALID indexes that earlier runs, or others, left behind and this run does not repair. `verify` reports
/// them as faults instead.
pub(super) fn warn_of_old_invalid_indexes(setup: &SqlSetup<'_>, before: &DatabaseState, now: &DatabaseState) {
    if setup.settings.command == Command::Verify {
        return;
    }
    for index in now.invalid_indexes.iter().filter(|index| before.invalid_indexes.contains(index)) {
        let fault = Fault::new(Code::VerifyIndex, format!("the index {index} is INVALID since before this run"));
        setup.events.emit(Event::Warning(fault.in_stage(Stage::Plan)));
    }
}
