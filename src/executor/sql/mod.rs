//! `executor: sql`: plain SQL files, applied by the action over the tunnel. One session holds the run lock and runs the
//! migration, so that both are lost only together.

mod fresh_session;
mod recovery;

use crate::{
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    layout::{Application, Layout, RecordedMigration},
    ledger::{
        Ledger, LedgerChoice, LedgerHints, LedgerState, Survey, invalid_indexes_sql, known_tools::ToolLedger,
        refuse_foreign, survey_query,
    },
    migrate::{self, CommitProgress, FreshState, Migration, MigrationFiles},
    plan::{self, PlanRules},
    postgres::{
        Session, SessionSettings, StatementTimeouts,
        own_query::{OwnQuery, RunLockRequirement},
        preflight, query_rows,
        run_lock::{self, AdvisoryLock},
        wait::{self, answer_within},
    },
    run::{
        Coverage, MigrationId, PlanAction, PlanFacts,
        blocking::run_blocking,
        event::{Event, Events, Proof},
    },
    settings::{Command, Settings, When},
    transport::Transport,
};

/// The executor and its state.
#[derive(Debug)]
pub struct SqlExecutor<'a> {
    pub(super) settings: &'a Settings,
    pub(super) runner: &'a Runner,
    pub(super) events: Events,
    pub(super) files: Option<MigrationFiles>,
    layouts: Vec<Layout>,
    /// The application that applies these files itself.
    application: Option<Application>,
    pub(super) startup: SessionSettings,
    pub(super) session: Option<Session>,
    ledger_survey: Survey,
    /// Other ledgers in the database.
    other_ledgers: Vec<ToolLedger>,
    /// The state that the preflight query found in a database without a ledger.
    state_without_ledger: LedgerState,
    /// The ledger, read directly behind the last file.
    pub(super) early_proof: Option<LedgerState>,
    /// The state of the session when it was new.
    pub(super) fresh_state: Option<FreshState>,
    pub(super) has_lock: bool,
    is_alone: bool,
    pub(super) ledger: Option<Ledger>,
    pub(super) ledger_before: LedgerState,
    /// The identities of all files.
    pub(super) all_migrations: Vec<MigrationId>,
    pub(super) pending: Vec<Migration>,
    pub(super) commits: CommitProgress,
}

impl<'a> SqlExecutor<'a> {
    /// Reads the files; uses no network yet.
    ///
    /// # Errors
    /// All faults of the files.
    pub async fn new(settings: &'a Settings, runner: &'a Runner, events: Events) -> Result<Self, Vec<Fault>> {
        let directory = settings.sql.clone();
        let files = run_blocking(move || migrate::read_directory(&directory)).await?;
        files.warnings().iter().for_each(|warning| events.emit(Event::Warning(warning.clone())));
        Ok(Self {
            layouts: files.layouts().to_vec(),
            application: files.application().cloned(),
            files: Some(files),
            startup: startup_settings(settings, runner),
            settings,
            runner,
            events,
            session: None,
            ledger_survey: Survey::default(),
            other_ledgers: Vec::new(),
            state_without_ledger: LedgerState::default(),
            early_proof: None,
            fresh_state: None,
            has_lock: false,
            is_alone: false,
            ledger: None,
            ledger_before: LedgerState::default(),
            all_migrations: Vec::new(),
            pending: Vec::new(),
            commits: CommitProgress::default(),
        })
    }

    /// Opens the session, and in one round trip reads the facts of the database and its ledgers, and takes the lock if
    /// it is free.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub async fn connect(&mut self, transport: &Transport) -> Result<(), Fault> {
        let target = self.settings.required_database()?;
        let wait = self.settings.wait_timeout;
        let session = wait::wait_for_session(transport, target, &self.startup, wait, &self.events).await?;
        let session = self.session.insert(session);
        let query = opening_query(self.settings).with_appended(&fresh_session::fresh_state_query(self.settings));
        let preflight_result = preflight::run_preflight(
            session,
            target,
            crate::executor::lock_holder::lock_attempt(self.settings),
            query,
            wait,
        )
        .await?;
        self.fresh_state = fresh_session::parse_fresh_state(self.settings, &preflight_result.rows);
        (self.has_lock, self.is_alone) = (preflight_result.locked, preflight_result.no_tool_active);
        (self.ledger_survey, self.state_without_ledger) =
            (Survey::from_rows(&preflight_result.rows), LedgerState::from_rows(&preflight_result.rows));
        self.events.emit(Event::Database(preflight_result.facts));
        Ok(())
    }

    /// Takes the run lock, and the lock of sqlx if its ledger is used.
    ///
    /// # Errors
    /// The holder of the lock.
    pub async fn take_run_lock(&mut self) -> Result<(), Fault> {
        let began = tokio::time::Instant::now();
        let mut wait = crate::executor::lock_holder::lock_wait(self.settings, self.runner);
        let session = require_session(self.session.as_ref())?;
        if !self.has_lock || !self.is_alone {
            if !self.has_lock {
                run_lock::acquire_lock(session, run_lock::bastion_migrate_lock(), &wait, &self.events).await?;
            }
            wait.limit = wait.limit.saturating_sub(began.elapsed());
            run_lock::wait_for_other_tools(session, &wait, &self.events).await?;
            (self.has_lock, self.is_alone) = (true, true);
            // The previous holder may have created the ledger meanwhile.
            self.refresh_survey().await?;
        }
        let ledger = self.choose_ledger()?;
        let session = require_session(self.session.as_ref())?;
        if let Some(tool_lock) = self.lock_of_tool(&ledger)? {
            wait.limit = wait.limit.saturating_sub(began.elapsed());
            run_lock::acquire_lock(session, tool_lock, &wait, &self.events).await?;
        }
        self.ledger = Some(ledger);
        self.events.emit(Event::Locked { waited: began.elapsed() });
        Ok(())
    }

    /// Reads again which ledgers there are.
    ///
    /// # Errors
    /// The fault of the query.
    pub async fn find_ledgers_again(&mut self) -> Result<(), Fault> {
        self.refresh_survey().await?;
        self.ledger = Some(self.choose_ledger()?);
        Ok(())
    }

    async fn refresh_survey(&mut self) -> Result<(), Fault> {
        let session = require_session(self.session.as_ref())?;
        let query = opening_query(self.settings).requiring_lock(self.lock_requirement());
        let rows = answer_within(self.settings.wait_timeout, query_rows(&session.client, &query)).await?;
        (self.ledger_survey, self.state_without_ledger) = (Survey::from_rows(&rows), LedgerState::from_rows(&rows));
        Ok(())
    }

    /// Returns the lock requirement of our queries.
    fn lock_requirement(&self) -> RunLockRequirement {
        if self.has_lock { RunLockRequirement::Held } else { RunLockRequirement::NotNeeded }
    }

    /// Compares the ledger with the files.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub async fn plan(&mut self) -> Result<(), Vec<Fault>> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.choose_ledger().map_err(|fault| vec![fault])?,
        };
        let files = self.files.take().ok_or_else(|| vec![Fault::new(Code::Bug, "the files were already used")])?;
        let migrations = files.into_migrations(ledger.layout).map_err(|fault| vec![fault])?;
        self.ledger_before = match ledger.exists || ledger.progress_exists || !self.other_ledgers.is_empty() {
            true => answer_within(self.settings.wait_timeout, self.read_ledger(&ledger))
                .await
                .map_err(|fault| vec![fault])?,
            false => std::mem::take(&mut self.state_without_ledger),
        };
        if let (true, Some((tool, table))) =
            (self.ledger_before.recorded.is_empty(), self.ledger_before.other_ledgers.first())
        {
            return Err(vec![refuse_foreign(&ledger, tool, table)]);
        }
        let sql = &self.settings.sql;
        let rules = PlanRules { layout: ledger.layout, target: sql.target.clone(), out_of_order: sql.out_of_order };
        let plan = plan::compare_with_ledger(&migrations, &self.ledger_before.recorded, &rules)?;
        let pending: Vec<MigrationId> = plan.pending.iter().map(|migration| migration.id.clone()).collect();
        let digest = plan.digest;
        self.events.emit(Event::Planned(PlanFacts {
            change: PlanAction::Apply,
            coverage: Coverage::Complete,
            layout: ledger.layout.name().to_owned(),
            ledger: ledger.table.to_string(),
            recorded: self.ledger_before.recorded.len(),
            pending: pending.clone(),
            digest: digest.clone(),
        }));
        self.all_migrations = migrations.iter().map(|migration| migration.id.clone()).collect();
        if self.settings.command == Command::Status {
            self.events.emit(Event::LedgerListed { recorded: self.recorded_migrations() });
        }
        self.pending = migrations.into_iter().filter(|migration| pending.contains(&migration.id)).collect();
        let half_done = migrate::refuse_half_done(&self.pending, &self.ledger_before, &ledger);
        if !half_done.is_empty() {
            return Err(half_done);
        }
        self.ledger = Some(ledger);
        if !(self.settings.command.may_write() && self.has_work()) {
            self.warn_of_old_invalid_indexes(&self.ledger_before);
        }
        match self.settings.command {
            // An empty plan needs no approval: an approved job that is run again succeeds.
            Command::Migrate if self.has_work() => {
                plan::check_approved(&digest, self.settings.safety.expect_plan.as_deref()).map_err(|fault| vec![fault])
            }
            _ => Ok(()),
        }
    }

    /// Returns the migrations in the ledger; one whose file is gone has only a name.
    fn recorded_migrations(&self) -> Vec<MigrationId> {
        let id = |row: &RecordedMigration| {
            let id_of_file = self.all_migrations.iter().find(|id| id.version == row.version).cloned();
            id_of_file.unwrap_or_else(|| MigrationId {
                index: 0,
                version: row.version.clone(),
                name: row.name.clone(),
                file: String::new(),
                ..MigrationId::default()
            })
        };
        self.ledger_before.recorded.iter().filter(|row| row.success).map(id).collect()
    }

    /// Returns whether there is anything to apply.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns the step conditions that a successful run meets.
    #[must_use]
    pub fn met_conditions(&self) -> &'static [When] {
        if self.has_work() { &[When::Always, When::Pending] } else { &[When::Always] }
    }

    /// Proves the result: after `migrate`, that the ledger contains everything that was applied; for `verify`, that
    /// nothing is pending; for both, that no index is INVALID.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub async fn verify(&mut self, transport: &mut Transport) -> Result<(), Vec<Fault>> {
        let faults = match self.settings.command {
            Command::Verify => plan::still_pending(&self.pending, &self.ledger_before),
            // Nothing has changed since the plan read the ledger under the lock: that is the proof.
            _ if self.pending.is_empty() => Vec::new(),
            _ => {
                let proves =
                    |after: &LedgerState| plan::missing_after_run(&self.pending, &self.ledger_before, after).is_empty();
                let after = match self.early_proof.take().filter(proves) {
                    Some(after) => after,
                    None => self.read_ledger_after(transport).await.map_err(|fault| vec![fault])?,
                };
                self.warn_of_old_invalid_indexes(&after);
                plan::missing_after_run(&self.pending, &self.ledger_before, &after)
            }
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        self.events.emit(Event::Verified(Proof::Ledger));
        Ok(())
    }

    /// Closes the session, which releases the lock.
    pub async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }

    fn lock_of_tool(&self, ledger: &Ledger) -> Result<Option<AdvisoryLock>, Fault> {
        let key = ledger.layout.lock_key(&self.settings.required_database()?.name);
        Ok(key.map(|key| run_lock::tool_lock(key, ledger.layout.name())))
    }

    fn choose_ledger(&mut self) -> Result<Ledger, Fault> {
        let sql = &self.settings.sql;
        let (table, application) = (sql.ledger_table.as_deref(), self.application.as_ref());
        let hints = LedgerHints { layouts: &self.layouts, table, application };
        let LedgerChoice { ledger, other_ledgers, ignored } = self.ledger_survey.choose_ledger(&hints)?;
        crate::executor::report_ignored_ledgers(&ignored, &self.events);
        self.other_ledgers = other_ledgers;
        Ok(ledger)
    }

    pub(super) async fn read_ledger(&self, ledger: &Ledger) -> Result<LedgerState, Fault> {
        let session = require_session(self.session.as_ref())?;
        let query = ledger.read_query(&self.other_ledgers).requiring_lock(self.lock_requirement());
        let rows = query_rows(&session.client, &query).await?;
        Ok(LedgerState::from_rows(&rows))
    }

    /// Warns of INVALID indexes that earlier runs, or others, left behind and this run does not repair. `verify`
    /// reports them as faults instead.
    fn warn_of_old_invalid_indexes(&self, content: &LedgerState) {
        if self.settings.command == Command::Verify {
            return;
        }
        for index in content.invalid_indexes.iter().filter(|index| self.ledger_before.invalid_indexes.contains(index)) {
            let fault = Fault::new(Code::VerifyIndex, format!("the index {index} is INVALID since before this run"));
            self.events.emit(Event::Warning(fault.in_stage(Stage::Plan)));
        }
    }
}

pub(super) fn require_session(session: Option<&Session>) -> Result<&Session, Fault> {
    session.ok_or_else(|| Fault::new(Code::Bug, "there is no session yet"))
}

pub(super) fn require_ledger(ledger: Option<&Ledger>) -> Result<&Ledger, Fault> {
    ledger.ok_or_else(|| Fault::new(Code::Bug, "there is no ledger yet"))
}

/// Returns the query for ledgers and INVALID indexes: all that a plan needs if there is no ledger.
fn opening_query(settings: &Settings) -> OwnQuery {
    survey_query(settings.sql.ledger_table.as_deref()).with_appended(&invalid_indexes_sql())
}

/// Returns the start-up settings.
fn startup_settings(settings: &Settings, runner: &Runner) -> SessionSettings {
    let safety = &settings.safety;
    let timeouts = StatementTimeouts { lock: safety.lock_timeout, statement: safety.statement_timeout };
    let (name, target) = (run_lock::application_name(runner), settings.database.as_ref());
    let startup = SessionSettings::migrating(name, timeouts, target);
    if settings.command.may_write() { startup } else { startup.read_only() }
}
