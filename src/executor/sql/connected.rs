//! The second phase: the session is open. It takes the run lock, chooses the ledger and makes the plan.

use super::{
    comparison::{self, PlannedWork, plan_work},
    fresh_session::NewSessionState,
    lane::Lane,
    planned::{self, PlannedSql},
    setup::SqlSetup,
    shared_plan::SharedPlan,
    tenant_queue::TenantQueue,
};
use crate::{
    executor::{
        approval,
        backup::BackupSubject,
        lock_holder,
        review::{ReadScripts, ReviewResult, StatementPlaces},
    },
    fault::Fault,
    layout::{Layout, LayoutChoice, Table},
    ledger::{
        DatabaseState, Ledger, LedgerChoice, LedgerHints, LedgerState, Survey, invalid_indexes_sql,
        known_tools::ToolLedger, parse_invalid_indexes, survey_query,
    },
    migrate::{self, Migration, MigrationFiles, Place, PlannedMigration},
    plan::{self, PlanRules},
    postgres::{
        Rows, Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows,
        run_lock::{self, AdvisoryLock},
        wait::answer_within,
    },
    review::PlanTables,
    run::{Coverage, MigrationId, PlanFacts, blocking::run_blocking, event::Event},
    settings::{Command, OnFailure, Settings, SqlSettings},
};
use std::sync::Arc;

/// The connected session, before there is a plan.
#[derive(Debug)]
pub struct ConnectedSql<'a> {
    pub(super) setup: SqlSetup<'a>,
    pub(super) session: Session,
    pub(super) files: MigrationFiles,
    pub(super) survey: Survey,
    /// The state that the first query found in a database without a ledger.
    pub(super) state_without_ledger: DatabaseState,
    /// The state of the session when it was new.
    pub(super) new_session: NewSessionState,
    /// The ledger, if it was read together with the attempt to take the tool's lock.
    pub(super) early_read: Option<(Ledger, Rows)>,
    pub(super) has_lock: bool,
    /// The locks of the layout's tool that are held.
    pub(super) held_locks: Vec<AdvisoryLock>,
    pub(super) is_alone: bool,
}

/// The comparison of the files with the ledgers.
#[derive(Debug)]
pub(super) struct SqlPlan {
    chosen: ChosenPlaces,
    before: DatabaseState,
    all_migrations: Vec<MigrationId>,
    digest: String,
    /// The migrations of each tenant; of one list without tenants.
    pending: Vec<Vec<PlannedMigration>>,
    backup_subject: BackupSubject,
    /// The scripts of the pending migrations, if they are to be rehearsed.
    scripts: ReadScripts,
    /// The positions of their statements.
    places_of_statements: StatementPlaces,
}

/// The places of the run, and what the database has in them.
#[derive(Debug)]
pub(super) struct ChosenPlaces {
    pub(super) layout: Layout,
    /// The reason for the layout, as a sentence without its full stop.
    pub(super) reason: String,
    pub(super) places: Vec<Arc<Place>>,
    /// Other ledgers in the database of a run without tenants.
    pub(super) other_ledgers: Vec<ToolLedger>,
    /// Tables with the name of a ledger that are ignored, with the reason.
    pub(super) ignored: Vec<String>,
    /// The response to the query for the ledgers; none if there are none.
    pub(super) rows: Option<Rows>,
}

impl<'a> ConnectedSql<'a> {
    /// Takes the run lock, and the locks of the tool whose ledger is used.
    ///
    /// # Errors
    /// The holder of the lock.
    pub(super) async fn take_run_lock(&mut self) -> Result<(), Fault> {
        let began = tokio::time::Instant::now();
        let SqlSetup { settings, runner, .. } = self.setup;
        let mut wait = lock_holder::lock_wait(settings, runner);
        if !self.has_lock || !self.is_alone {
            if !self.has_lock {
                let lock = run_lock::bastion_migrate_lock();
                run_lock::acquire_lock(&self.session, lock, &wait, &self.setup.events).await?;
            }
            wait.limit = wait.limit.saturating_sub(began.elapsed());
            run_lock::wait_for_other_tools(&self.session, &wait, &self.setup.events).await?;
            (self.has_lock, self.is_alone) = (true, true);
            // The previous holder may have created the ledger meanwhile.
            self.refresh_survey().await?;
        }
        // The locks of the tool that concern a tenant are taken with its migrations.
        if settings.sql.tenants.is_some() {
            self.setup.events.emit(Event::Locked { waited: began.elapsed() });
            return Ok(());
        }
        let LedgerChoice { ledger, other_ledgers, .. } = self.choose_ledger()?;
        let missing = self.missing_locks(&ledger);
        if !missing.is_empty() {
            self.try_locks_and_read(&ledger, &other_ledgers, &missing).await?;
        }
        for lock in self.missing_locks(&ledger) {
            self.early_read = None;
            wait.limit = lock_holder::lock_wait(settings, runner).limit.saturating_sub(began.elapsed());
            run_lock::acquire_lock(&self.session, lock, &wait, &self.setup.events).await?;
            self.held_locks.push(lock);
        }
        self.setup.events.emit(Event::Locked { waited: began.elapsed() });
        Ok(())
    }

    fn missing_locks(&self, ledger: &Ledger) -> Vec<AdvisoryLock> {
        let locks = self.setup.locks_of_tool(ledger);
        locks.into_iter().filter(|lock| !self.held_locks.contains(lock)).collect()
    }

    /// Tries to take the locks and reads the ledger in the same round trip.
    async fn try_locks_and_read(
        &mut self,
        ledger: &Ledger,
        other_ledgers: &[ToolLedger],
        locks: &[AdvisoryLock],
    ) -> Result<(), Fault> {
        let attempts = run_lock::try_under_run_lock_sql(locks, &self.session.is_own_backend_sql());
        let query = ledger.read_query(other_ledgers).with_prepended(&attempts).requiring_lock(self.lock_requirement());
        let rows = answer_within(self.setup.settings.wait_timeout, query_rows(&self.session.client, &query)).await?;
        self.held_locks.extend(run_lock::parse_taken_locks(locks, &rows));
        self.early_read = Some((ledger.clone(), rows));
        Ok(())
    }

    /// Reads again which ledgers there are.
    ///
    /// # Errors
    /// The fault of the query.
    pub(super) async fn refresh_survey(&mut self) -> Result<(), Fault> {
        let settings = self.setup.settings;
        let query = opening_query(settings).requiring_lock(self.lock_requirement());
        let rows = answer_within(settings.wait_timeout, query_rows(&self.session.client, &query)).await?;
        (self.survey, self.state_without_ledger) = (Survey::from_rows(&rows), state_without_ledger(&rows));
        self.early_read = None;
        Ok(())
    }

    pub(super) fn lock_requirement(&self) -> RunLockRequirement {
        if self.has_lock { RunLockRequirement::Held } else { RunLockRequirement::NotNeeded }
    }

    pub(super) fn hints(&self) -> LedgerHints<'_> {
        LedgerHints {
            layouts: self.files.candidates(),
            table: self.setup.settings.sql.ledger_table.as_deref(),
            application: self.files.application(),
        }
    }

    pub(super) fn choose_ledger(&self) -> Result<LedgerChoice, Fault> {
        self.survey.choose_ledger(&self.hints())
    }

    /// Compares the ledgers with the files, which it takes out of `self`.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub(super) async fn plan(&mut self) -> Result<SqlPlan, Vec<Fault>> {
        let settings = self.setup.settings;
        let chosen = match &settings.sql.tenants {
            Some(tenants) => self.choose_tenant_places(tenants).await,
            None => self.choose_single_place().await,
        };
        let chosen = chosen.map_err(single_fault)?;
        crate::executor::report_ignored_ledgers(&chosen.ignored, &self.setup.events);
        if settings.sql.layout == LayoutChoice::Auto {
            self.setup.events.emit_note(format!("the layout is {}: {}", chosen.layout.name(), chosen.reason));
        }
        let candidates = self.files.candidates().to_vec();
        let (migrations, programs) = self.take_migrations(chosen.layout).await?;
        let mut all_migrations: Vec<MigrationId> = migrations.iter().map(|migration| migration.id.clone()).collect();
        all_migrations.extend(programs.iter().cloned());
        let versions: Vec<&str> = all_migrations.iter().map(|id| id.version.as_str()).collect();
        let before = match &chosen.rows {
            Some(rows) => {
                self.refuse_unfit(&candidates, &chosen, &versions)?;
                DatabaseState::from_rows(rows, chosen.layout, &versions)
            }
            None => std::mem::take(&mut self.state_without_ledger),
        };
        if settings.command == Command::Status {
            // Before any fault of the plan: the ledger explains most of them.
            self.setup.events.emit(comparison::listed_ledgers(&chosen.places, &before, &all_migrations));
        }
        let rules = PlanRules {
            layout: chosen.layout,
            // Each place has its own.
            ledger: Table::default(),
            programs,
            target: settings.sql.target.clone(),
            out_of_order: settings.sql.out_of_order,
            missing: settings.sql.missing,
        };
        let work = match self.read_source(&versions).await.map_err(single_fault)? {
            Some(source) => self.plan_takeover(&source, migrations, (&chosen, &before), rules)?,
            None => {
                let work = plan_work(settings.command, &migrations, (&chosen.places, &before), &rules).await;
                // The work has its own; with thousands of files these are many megabytes.
                drop(migrations);
                self.check_order(work, (&chosen, &before), &versions).await?
            }
        };
        let PlannedWork { pending, digest } = work;
        let digest = approval::digest_to_approve(digest, settings);
        let recorded: usize = chosen.places.iter().map(|place| before.ledger_of(place.schema()).recorded.len()).sum();
        self.setup.events.emit(Event::Planned(PlanFacts {
            change: settings.command.plan_action(),
            coverage: Coverage::Complete,
            layout: chosen.layout.name().to_owned(),
            ledger: describe_ledgers(&chosen.places),
            recorded,
            pending: pending.iter().flatten().map(|migration| migration.id.clone()).collect(),
            digest: digest.clone(),
            reason: settings.safety.reason.clone(),
        }));
        let reviewed = self.review(&pending).await;
        let (ReviewResult { tables, scripts, places: places_of_statements }, refused) = match reviewed {
            Ok(reviewed) => (reviewed, Vec::new()),
            Err(refused) => {
                let tables = PlanTables::unknown("the plan is refused");
                (ReviewResult::without_scripts(tables), refused)
            }
        };
        let tenants = tenants_of(&pending);
        let backup_subject = BackupSubject { digest: digest.clone(), tables, tenants };
        let plan =
            SqlPlan { chosen, before, all_migrations, digest, pending, backup_subject, scripts, places_of_statements };
        let faults: Vec<Fault> = self.check_plan(&plan).err().into_iter().flatten().chain(refused).collect();
        if faults.is_empty() { Ok(plan) } else { Err(faults) }
    }

    /// Takes the files out of `self`. Those that were read by another layout than the ledger's are read again.
    async fn take_migrations(&mut self, layout: Layout) -> Result<(Vec<Migration>, Vec<MigrationId>), Vec<Fault>> {
        let mut files = std::mem::take(&mut self.files);
        if files.layout() != layout {
            let settings = SqlSettings { layout: LayoutChoice::Named(layout), ..self.setup.settings.sql.clone() };
            files = run_blocking(move || migrate::read_directory(&settings)).await?;
        }
        let unused = migrate::unused_inputs(&self.setup.settings.sql, layout);
        if !unused.is_empty() {
            return Err(unused);
        }
        files.warnings().iter().for_each(|warning| self.setup.events.emit(Event::Warning(warning.clone())));
        Ok(files.into_migrations())
    }

    /// Refuses a plan with half-done files, and one that was not approved.
    fn check_plan(&self, plan: &SqlPlan) -> Result<(), Vec<Fault>> {
        let settings = self.setup.settings;
        let half_done = plan.pending.iter().flat_map(|pending| {
            let faults = migrate::refuse_half_done(pending, &plan.before).into_iter();
            faults
                .map(|fault| (pending.first().map(|migration| migration.id.schema.clone()).unwrap_or_default(), fault))
        });
        let half_done = plan::merge_faults(half_done.collect());
        if !half_done.is_empty() {
            return Err(half_done);
        }
        let has_work = plan.pending.iter().any(|pending| !pending.is_empty());
        if !(settings.command.may_write() && has_work) {
            planned::warn_of_old_invalid_indexes(&self.setup, &plan.before, &plan.before);
        }
        match settings.command {
            // An empty plan needs no approval: an approved job that is run again succeeds.
            command if command.may_write() && has_work => {
                approval::check_approved(&plan.digest, &settings.safety).map_err(single_fault)
            }
            _ => Ok(()),
        }
    }

    /// Continues with this plan.
    pub(super) fn into_planned(self, plan: SqlPlan) -> PlannedSql<'a> {
        let lock = self.lock_requirement();
        let SqlPlan { chosen, before, all_migrations, digest, pending, backup_subject, scripts, places_of_statements } =
            plan;
        let ChosenPlaces { layout, places, other_ledgers, .. } = chosen;
        let Self { setup, session, new_session, held_locks, .. } = self;
        // Only those that are held: the text is sent with each file.
        let locks: Vec<AdvisoryLock> = [run_lock::bastion_migrate_lock()].into_iter().chain(held_locks).collect();
        let fresh_state = new_session.without_locks(&locks, &session);
        let pending_count = pending.iter().map(Vec::len).sum();
        let on_failure = setup.settings.sql.tenants.as_ref().map_or(OnFailure::Stop, |tenants| tenants.on_failure);
        PlannedSql {
            plan: SharedPlan { setup, layout, places, other_ledgers, before, digest, pending_count, all_migrations },
            main: Lane::new(session, fresh_state, lock).reading_schema(),
            others: Vec::new(),
            queue: TenantQueue::new(pending, on_failure),
            backup_subject,
            scripts,
            places_of_statements,
            early_proof: None,
        }
    }
}

/// Returns the schemas of the tenants with pending migrations.
fn tenants_of(pending: &[Vec<PlannedMigration>]) -> Vec<String> {
    let first = pending.iter().filter_map(|migrations| migrations.first());
    first.filter_map(|migration| Some(migration.place.tenant.as_ref()?.schema.clone())).collect()
}

/// Returns the ledger for messages; of tenants the table that each has.
fn describe_ledgers(places: &[Arc<Place>]) -> String {
    match places {
        [place] if place.tenant.is_none() => place.ledger.table.to_string(),
        [place, ..] => format!("{} in each of {} schemas", place.ledger.table.name, places.len()),
        [] => String::new(),
    }
}

/// Reads the state of a database without a ledger from the response to [`opening_query`].
pub(super) fn state_without_ledger(rows: &Rows) -> DatabaseState {
    DatabaseState::without_tenants(LedgerState::default(), parse_invalid_indexes(rows))
}

/// Returns the query for ledgers and INVALID indexes: all that a plan needs if there is no ledger.
pub(super) fn opening_query(settings: &Settings) -> OwnQuery {
    let source_table = settings.sql.from.as_ref().and_then(|source| source.table.as_deref());
    survey_query(settings.sql.ledger_table.as_deref(), source_table).with_appended(&invalid_indexes_sql())
}

fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
