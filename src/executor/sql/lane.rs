//! One session of a run, and the migrations that it applies one after the other.

use super::{shared_plan::SharedPlan, tenant_queue::TenantQueue};
use crate::{
    executor::{
        invalid_index_faults,
        monitored::{MonitoredBackend, run_monitored},
        root_cause::root_cause,
        schema_reading::SchemaReadings,
    },
    fault::{Fault, Stage},
    ledger::{DatabaseState, invalid_indexes_sql, parse_invalid_indexes},
    migrate::{
        CommitProgress, FreshState, LockTimeouts, Pipeline, PlannedMigration, SessionOutcome, StoppedAt, WithLast,
    },
    postgres::{
        LockWaits, Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows,
        wait::answer_within,
    },
    run::{event::Event, lock_retries::LockRetries},
    settings::Settings,
    sql::Execution,
    transport::Transport,
};
use futures_util::future::{join, join4};
use std::cell::Cell;

/// A session with its work.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) session: Session,
    /// The state of the session when it was new.
    pub(super) fresh_state: FreshState,
    /// The way in which the session holds the run lock.
    pub(super) lock: RunLockRequirement,
    /// Set if the last migration that it has begun left traces in the session.
    has_traces: bool,
    /// The migrations that it has begun, tenant by tenant.
    pub(super) begun: Vec<PlannedMigration>,
    pub(super) commits: CommitProgress,
    /// The schema around the work; only the lane that begins reads it.
    pub(super) schema: Option<SchemaReadings>,
}

impl Lane {
    /// Creates a lane without work.
    pub(super) fn new(session: Session, fresh_state: FreshState, lock: RunLockRequirement) -> Self {
        let (begun, commits) = (Vec::new(), CommitProgress::default());
        Self { session, fresh_state, lock, has_traces: false, begun, commits, schema: None }
    }

    /// Makes it the lane that reads the schema.
    pub(super) fn reading_schema(self) -> Self {
        Self { schema: Some(SchemaReadings::default()), ..self }
    }

    /// Applies the migrations of one tenant after the other, as long as there are any and the run need not stop.
    pub(super) async fn work(&mut self, plan: &SharedPlan<'_>, transport: &Transport, queue: &TenantQueue) {
        while let Some(migrations) = queue.take_next() {
            self.apply_tenant(plan, transport, (queue, migrations)).await;
        }
    }

    /// Applies the migrations of one tenant, and records what became of them. If there are no tenants, it returns the
    /// ledger as read directly behind the last file.
    pub(super) async fn apply_tenant(
        &mut self,
        plan: &SharedPlan<'_>,
        transport: &Transport,
        (queue, migrations): (&TenantQueue, Vec<PlannedMigration>),
    ) -> Option<DatabaseState> {
        let schema = migrations.first().map(|migration| migration.id.schema.clone()).unwrap_or_default();
        let first_index = self.begun.len();
        self.begun.extend(migrations);
        let applied = self.apply_from(plan, transport, first_index).await;
        let last = applied.as_ref().map_or_else(|stopped| self.begun.get(stopped.at), |_| self.begun.last());
        self.has_traces = last.is_some_and(|migration| migration.leaves_traces);
        let stopped = match applied {
            Ok(proof) => return proof,
            Err(stopped) => stopped,
        };
        if stopped.fault.code.ends_session() {
            queue.record_loss(root_cause(&mut self.session, transport, stopped.fault).await);
            return None;
        }
        if let Some(migration) = self.begun.get(stopped.at) {
            plan.setup.events.emit(Event::Failed { index: migration.id.index });
        }
        let fault = self.explain_by_leftovers(plan, stopped.fault).await;
        self.commits.skip_to(self.begun.len());
        queue.record_failure(&schema, fault);
        None
    }

    /// Applies the migrations from this one on, in as many sessions as it takes.
    async fn apply_from(
        &mut self,
        plan: &SharedPlan<'_>,
        transport: &Transport,
        mut first_index: usize,
    ) -> Result<Option<DatabaseState>, StoppedAt> {
        if self.has_traces {
            let started = self.start_fresh_session(plan, transport, first_index).await;
            started.map_err(|fault| StoppedAt { at: self.begun.len(), fault })?;
        }
        loop {
            let (outcome, proof) = self.apply_in_session(plan, transport, first_index).await;
            match outcome? {
                SessionOutcome::Finished => return Ok(proof),
                SessionOutcome::NeedsNewSession(next_index) => {
                    let started = self.start_fresh_session(plan, transport, next_index).await;
                    // The migration has not been started.
                    started.map_err(|fault| StoppedAt { at: self.begun.len(), fault })?;
                    first_index = next_index;
                }
            }
        }
    }

    /// Applies as many files as the current session can. Without tenants, the query for the proof is sent behind the
    /// files; if it is answered too early, it proves nothing and is sent again.
    async fn apply_in_session(
        &self,
        plan: &SharedPlan<'_>,
        transport: &Transport,
        first_index: usize,
    ) -> (Result<SessionOutcome, StoppedAt>, Option<DatabaseState>) {
        let (settings, runner, events) = (plan.setup.settings, plan.setup.runner, &plan.setup.events);
        let audit_begins = self.begin_audit(plan);
        let (run, safety, lock_waits) = (runner.run_url(), &settings.safety, LockWaits::default());
        let options = plan.setup.target.options.as_deref();
        let has_own_limit = options.is_some_and(|options| options.contains("lock_timeout"));
        let apply = Pipeline {
            client: &self.session.client,
            lock: self.lock,
            fresh: &self.fresh_state,
            events,
            lock_retries: LockRetries { lock_timeout: safety.lock_timeout, retries: safety.retries },
            lock_timeouts: if has_own_limit { LockTimeouts::Session } else { LockTimeouts::PerAttempt },
            attempt: Cell::new(0),
            lock_waits: &lock_waits,
            rollback_timeout: settings.wait_timeout,
            run_url: run.as_deref(),
            commits: &self.commits,
            with_last: self.record_of_success(plan),
        };
        // The query must not be sent in the middle of a file that is sent in several parts.
        let is_one_query = |migration: &PlannedMigration| *migration.execution == Execution::SingleQuery;
        let reads_ledger_after = !plan.has_tenants() && self.begun.iter().skip(first_index).all(is_one_query);
        let ledger_read = async {
            if !reads_ledger_after {
                return None;
            }
            plan.read_after_work(&self.session, self.lock, plan.places.iter()).await.ok()
        };
        // Both are sent with the files: the first before them, behind the record of the run, the second behind the ledger.
        let schema_before = async {
            if let Some(schema) = &self.schema {
                schema.read_before(&self.session, settings).await;
            }
        };
        let schema_after = async {
            if let Some(schema) = self.schema.as_ref().filter(|_| reads_ledger_after) {
                schema.read_behind_work(&self.session, settings).await;
            }
        };

        let watch = MonitoredBackend { settings, runner, events, session: &self.session };
        // Boxed, because its caller holds this future next to others.
        let before = Box::pin(join(audit_begins, schema_before));
        let work = join4(before, apply.apply_all(&self.begun, first_index), ledger_read, schema_after);
        let ((lost, ()), outcome, proof, ()) = run_monitored(watch, transport, &lock_waits, work).await;
        // The first message in flight gets the server's reason.
        let outcome = outcome.map_err(|stopped| match lost.filter(|_| stopped.fault.code.ends_session()) {
            Some(fault) => StoppedAt { fault, ..stopped },
            None => stopped,
        });
        (outcome, proof)
    }

    /// Begins the record of the run; it is sent in front of the files.
    fn begin_audit<'f>(&'f self, plan: &'f SharedPlan<'_>) -> impl Future<Output = Option<Fault>> + 'f {
        let begins = plan.setup.audit.as_ref().map(|audit| audit.begin(&self.session, Some(&plan.digest), None));
        async {
            match begins {
                Some(begins) => begins.await,
                None => None,
            }
        }
    }

    /// Returns the statement that completes the record of the run together with its last migration. With tenants several
    /// sessions work, and none of them knows which migration is the last one.
    fn record_of_success(&self, plan: &SharedPlan<'_>) -> Option<WithLast> {
        let (audit, last) = (plan.setup.audit.as_ref()?, self.begun.last()?);
        let sql =
            Some(plan.pending_count).filter(|_| !plan.has_tenants()).and_then(|count| audit.success_sql(count))?;
        Some(WithLast { index: last.id.index, sql })
    }

    /// Reads the schema after the work, if this lane does.
    pub(super) async fn read_schema_after(&self, settings: &Settings) {
        if let Some(schema) = &self.schema {
            schema.read_after(&self.session, settings).await;
        }
    }

    /// Warns of indexes that a failed file left INVALID, and explains its fault by them. If the query fails, the next
    /// run and `verify` report them.
    async fn explain_by_leftovers(&self, plan: &SharedPlan<'_>, fault: Fault) -> Fault {
        let query = OwnQuery::read_only(invalid_indexes_sql());
        let settings = plan.setup.settings;
        let answer = answer_within(settings.wait_timeout, query_rows(&self.session.client, &query));
        let (rows, ()) = join(answer, self.read_schema_after(settings)).await;
        let Ok(rows) = rows else { return fault };
        let invalid = parse_invalid_indexes(&rows);
        warn_of_new_invalid_indexes(plan, &invalid);
        invalid_index_faults::explain_already_exists(fault, &invalid)
    }
}

/// Warns of those of these INVALID indexes that were not there before.
pub(super) fn warn_of_new_invalid_indexes(plan: &SharedPlan<'_>, invalid: &[String]) {
    for index in invalid.iter().filter(|index| !plan.before.invalid_indexes.contains(index)) {
        let warning = invalid_index_faults::leftover_warning(index).in_stage(Stage::Migrate);
        plan.setup.events.emit(Event::Warning(warning));
    }
}
