//! The second phase: the session is open. It takes the run lock, chooses the ledger and makes the plan.

use super::{
    comparison::{self, PlannedWork, plan_work},
    fresh_session::NewSessionState,
    planned::{self, PlannedSql},
    setup::SqlSetup,
};
use crate::{
    executor::lock_holder,
    fault::Fault,
    layout::{Layout, LayoutChoice, RecordedMigration},
    ledger::{
        Ledger, LedgerChoice, LedgerHints, LedgerState, Survey, invalid_indexes_sql, known_tools::ToolLedger,
        refuse_foreign, survey_query, two_ledgers_fault,
    },
    migrate::{self, CommitProgress, Migration, MigrationFiles},
    plan::{self, PlanRules},
    postgres::{
        Rows, Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows,
        run_lock::{self, AdvisoryLock},
        wait::answer_within,
    },
    run::{Coverage, MigrationId, PlanFacts, blocking::run_blocking, event::Event},
    settings::{Command, Settings, SqlSettings},
};

/// The connected session, before there is a plan.
#[derive(Debug)]
pub struct ConnectedSql<'a> {
    pub(super) setup: SqlSetup<'a>,
    pub(super) session: Session,
    pub(super) files: MigrationFiles,
    pub(super) survey: Survey,
    /// The state that the first query found in a database without a ledger.
    pub(super) state_without_ledger: LedgerState,
    /// The state of the session when it was new.
    pub(super) new_session: NewSessionState,
    /// The ledger, if it was read together with the attempt to take the tool's lock.
    pub(super) early_read: Option<(Ledger, Rows)>,
    pub(super) has_lock: bool,
    /// The locks of the layout's tool that are held.
    pub(super) held_locks: Vec<AdvisoryLock>,
    pub(super) is_alone: bool,
}

/// The comparison of the files with the ledger.
#[derive(Debug)]
pub(super) struct SqlPlan {
    ledger: Ledger,
    /// Other ledgers in the database.
    other_ledgers: Vec<ToolLedger>,
    ledger_before: LedgerState,
    all_migrations: Vec<MigrationId>,
    pending: Vec<Migration>,
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
        let attempts = run_lock::try_under_run_lock_sql(locks, self.session.announced_pid);
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
        (self.survey, self.state_without_ledger) = (Survey::from_rows(&rows), LedgerState::from_rows(&rows));
        self.early_read = None;
        Ok(())
    }

    pub(super) fn lock_requirement(&self) -> RunLockRequirement {
        if self.has_lock { RunLockRequirement::Held } else { RunLockRequirement::NotNeeded }
    }

    fn hints(&self) -> LedgerHints<'_> {
        LedgerHints {
            layouts: self.files.candidates(),
            table: self.setup.settings.sql.ledger_table.as_deref(),
            application: self.files.application(),
        }
    }

    pub(super) fn choose_ledger(&self) -> Result<LedgerChoice, Fault> {
        self.survey.choose_ledger(&self.hints())
    }

    /// Compares the ledger with the files, which it takes out of `self`.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub(super) async fn plan(&mut self) -> Result<SqlPlan, Vec<Fault>> {
        let read = match self.setup.settings.sql.from {
            Some(_) => self.read_own_ledger().await,
            None => self.read_chosen_ledger().await,
        };
        let (choice, rows) = read.map_err(single_fault)?;
        let LedgerChoice { ledger, reason, other_ledgers, ignored, .. } = choice;
        let SqlSetup { settings, .. } = self.setup;
        crate::executor::report_ignored_ledgers(&ignored, &self.setup.events);
        if settings.sql.layout == LayoutChoice::Auto {
            self.setup.events.emit_note(format!("the layout is {}: {reason}", ledger.layout.name()));
        }
        let candidates = self.files.candidates().to_vec();
        let (migrations, programs) = self.take_migrations(ledger.layout).await?;
        let mut all_migrations: Vec<MigrationId> = migrations.iter().map(|migration| migration.id.clone()).collect();
        all_migrations.extend(programs.iter().cloned());
        let versions: Vec<&str> = all_migrations.iter().map(|id| id.version.as_str()).collect();
        let ledger_before = match rows {
            Some(rows) => {
                self.refuse_unfit(&candidates, (&ledger, &rows), &versions)?;
                ledger.parse_state(&rows, &versions)
            }
            None => std::mem::take(&mut self.state_without_ledger),
        };
        if settings.command == Command::Status {
            // Before any fault of the plan: the ledger explains most of them.
            self.setup.events.emit(comparison::listed_ledger(&ledger_before, &all_migrations));
        }
        let rules = PlanRules {
            layout: ledger.layout,
            ledger: ledger.table.clone(),
            programs,
            target: settings.sql.target.clone(),
            out_of_order: settings.sql.out_of_order,
            missing: settings.sql.missing,
        };
        let half_done = migrate::refuse_other_direction(settings.command.plan_action(), &ledger_before);
        if !half_done.is_empty() {
            return Err(half_done);
        }
        let PlannedWork { pending, digest } = match self.read_source(&versions).await.map_err(single_fault)? {
            Some(source) => source.plan(migrations, &ledger_before.recorded, &rules)?,
            None => plan_work(settings.command, migrations, &ledger_before.recorded, &rules).await?,
        };
        self.setup.events.emit(Event::Planned(PlanFacts {
            change: settings.command.plan_action(),
            coverage: Coverage::Complete,
            layout: ledger.layout.name().to_owned(),
            ledger: ledger.table.to_string(),
            recorded: ledger_before.recorded.len(),
            pending: pending.iter().map(|migration| migration.id.clone()).collect(),
            digest: digest.clone(),
        }));
        let plan = SqlPlan { ledger, other_ledgers, ledger_before, all_migrations, pending };
        self.check_plan(&plan, &digest)?;
        Ok(plan)
    }

    /// Refuses a ledger that decided the layout among these, and has no row for any of the files.
    fn refuse_unfit(
        &self,
        candidates: &[Layout],
        (ledger, rows): (&Ledger, &Rows),
        versions: &[&str],
    ) -> Result<(), Vec<Fault>> {
        let layout = ledger.layout;
        let Some(other) = candidates.iter().find(|other| **other != layout && layout != Layout::default()) else {
            return Ok(());
        };
        let recorded = LedgerState::from_rows(rows).recorded;
        let is_of_file = |row: &RecordedMigration| {
            let version = layout.canonical_version(&row.version).unwrap_or_else(|| row.version.clone());
            versions.contains(&version.as_str())
        };
        if recorded.is_empty() || recorded.iter().any(is_of_file) {
            return Ok(());
        }
        let choice = self.survey.choose_ledger_of(*other, &self.hints(), String::new()).map_err(single_fault)?;
        Err(vec![refuse_foreign(&choice.ledger, layout.name(), &ledger.table)])
    }

    /// Reads the ledger that was chosen; no rows if there is none. Where it is empty and the only other one with rows
    /// belongs to a layout that the files fit, too, that one is taken.
    async fn read_chosen_ledger(&mut self) -> Result<(LedgerChoice, Option<Rows>), Fault> {
        let choice = self.choose_ledger()?;
        let Some(rows) = self.read_ledger_of(&choice).await? else {
            return choice.ambiguity.clone().map_or(Ok((choice, None)), Err);
        };
        let state = LedgerState::from_rows(&rows);
        let rival = state.other_ledgers.iter().find_map(|(tool, table)| {
            let layout = Layout::by_name(tool).filter(|layout| self.files.candidates().contains(layout))?;
            Some((layout, table.clone()))
        });
        match (state.recorded.is_empty(), rival, state.other_ledgers.as_slice()) {
            (true, Some((layout, table)), [_]) => {
                let reason = format!("`{table}` is its ledger, and `{}` has no rows", choice.ledger.table);
                let taken = self.survey.choose_ledger_of(layout, &self.hints(), reason)?;
                let rows = self.read_ledger_of(&taken).await?;
                Ok((taken, rows))
            }
            (true, _, [(tool, table), ..]) => Err(refuse_foreign(&choice.ledger, tool, table)),
            // Our own ledger was certainly written by this action.
            (false, Some((layout, table)), _) if choice.ledger.layout != Layout::default() => {
                Err(two_ledgers_fault(&choice.ledger, layout, &table))
            }
            _ => choice.ambiguity.clone().map_or(Ok((choice, Some(rows))), Err),
        }
    }

    pub(super) async fn read_ledger_of(&mut self, choice: &LedgerChoice) -> Result<Option<Rows>, Fault> {
        let LedgerChoice { ledger, other_ledgers, .. } = choice;
        if let Some((_, rows)) = self.early_read.take().filter(|(read, _)| read == ledger) {
            return Ok(Some(rows));
        }
        if !ledger.exists && !ledger.progress_exists && other_ledgers.is_empty() {
            return Ok(None);
        }
        let detail = comparison::detail_for(self.setup.settings.command);
        let query = ledger.detailed_query(other_ledgers, detail).requiring_lock(self.lock_requirement());
        answer_within(self.setup.settings.wait_timeout, query_rows(&self.session.client, &query)).await.map(Some)
    }

    /// Takes the files out of `self`. Those that were read by another layout than the ledger's are read again.
    async fn take_migrations(&mut self, layout: Layout) -> Result<(Vec<Migration>, Vec<MigrationId>), Vec<Fault>> {
        let mut files = std::mem::take(&mut self.files);
        if files.layout() != layout {
            let settings = SqlSettings { layout: LayoutChoice::Named(layout), ..self.setup.settings.sql.clone() };
            files = run_blocking(move || migrate::read_directory(&settings)).await?;
        }
        files.warnings().iter().for_each(|warning| self.setup.events.emit(Event::Warning(warning.clone())));
        Ok(files.into_migrations())
    }

    /// Refuses a plan with half-done files, and one that was not approved.
    fn check_plan(&self, plan: &SqlPlan, digest: &str) -> Result<(), Vec<Fault>> {
        let settings = self.setup.settings;
        let half_done = migrate::refuse_half_done(&plan.pending, &plan.ledger_before, &plan.ledger);
        if !half_done.is_empty() {
            return Err(half_done);
        }
        let has_work = !plan.pending.is_empty();
        if !(settings.command.may_write() && has_work) {
            planned::warn_of_old_invalid_indexes(&self.setup, &plan.ledger_before, &plan.ledger_before);
        }
        match settings.command {
            // An empty plan needs no approval: an approved job that is run again succeeds.
            command if command.may_write() && has_work => {
                plan::check_approved(digest, settings.safety.expect_plan.as_deref()).map_err(single_fault)
            }
            _ => Ok(()),
        }
    }

    /// Continues with this plan.
    pub(super) fn into_planned(self, plan: SqlPlan) -> PlannedSql<'a> {
        let lock = self.lock_requirement();
        let SqlPlan { ledger, other_ledgers, ledger_before, all_migrations, pending } = plan;
        let Self { setup, session, new_session, held_locks, .. } = self;
        // Only those that are held: the text is sent with each file.
        let locks: Vec<AdvisoryLock> = [run_lock::bastion_migrate_lock()].into_iter().chain(held_locks).collect();
        let fresh_state = new_session.without_locks(&locks);
        PlannedSql {
            setup,
            session,
            lock,
            fresh_state,
            ledger,
            other_ledgers,
            ledger_before,
            all_migrations,
            pending,
            early_proof: None,
            commits: CommitProgress::default(),
        }
    }
}

/// Returns the query for ledgers and INVALID indexes: all that a plan needs if there is no ledger.
pub(super) fn opening_query(settings: &Settings) -> OwnQuery {
    let source_table = settings.sql.from.as_ref().and_then(|source| source.table.as_deref());
    survey_query(settings.sql.ledger_table.as_deref(), source_table).with_appended(&invalid_indexes_sql())
}

fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
