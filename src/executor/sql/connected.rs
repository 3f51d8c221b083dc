//! The second phase: the session is open. It takes the run lock, chooses the ledger and makes the plan.

use super::{
    planned::{self, PlannedSql},
    setup::SqlSetup,
};
use crate::{
    executor::lock_holder,
    fault::Fault,
    layout::RecordedMigration,
    ledger::{
        Ledger, LedgerChoice, LedgerHints, LedgerState, Survey, invalid_indexes_sql, known_tools::ToolLedger,
        refuse_foreign, survey_query,
    },
    migrate::{self, CommitProgress, FreshState, Migration, MigrationFiles},
    plan::{self, PlanRules},
    postgres::{
        Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows, run_lock,
        wait::answer_within,
    },
    run::{Coverage, MigrationId, PlanAction, PlanFacts, event::Event},
    settings::{Command, Settings},
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
    pub(super) fresh_state: FreshState,
    pub(super) has_lock: bool,
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
    /// Takes the run lock, and the lock of sqlx if its ledger is used.
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
        let tool_lock = self.setup.lock_of_tool(&self.choose_ledger()?.ledger);
        if let Some(tool_lock) = tool_lock {
            wait.limit = wait.limit.saturating_sub(began.elapsed());
            run_lock::acquire_lock(&self.session, tool_lock, &wait, &self.setup.events).await?;
        }
        self.setup.events.emit(Event::Locked { waited: began.elapsed() });
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
        Ok(())
    }

    fn lock_requirement(&self) -> RunLockRequirement {
        if self.has_lock { RunLockRequirement::Held } else { RunLockRequirement::NotNeeded }
    }

    fn choose_ledger(&self) -> Result<LedgerChoice, Fault> {
        let hints = LedgerHints {
            layouts: self.files.layouts(),
            table: self.setup.settings.sql.ledger_table.as_deref(),
            application: self.files.application(),
        };
        self.survey.choose_ledger(&hints)
    }

    /// Compares the ledger with the files, which it takes out of `self`.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub(super) async fn plan(&mut self) -> Result<SqlPlan, Vec<Fault>> {
        let LedgerChoice { ledger, other_ledgers, ignored } = self.choose_ledger().map_err(single_fault)?;
        let SqlSetup { settings, .. } = self.setup;
        crate::executor::report_ignored_ledgers(&ignored, &self.setup.events);
        let ledger_before = self.read_ledger_before(&ledger, &other_ledgers).await.map_err(single_fault)?;
        if let (true, Some((tool, table))) = (ledger_before.recorded.is_empty(), ledger_before.other_ledgers.first()) {
            return Err(vec![refuse_foreign(&ledger, tool, table)]);
        }
        let migrations = std::mem::take(&mut self.files).into_migrations(ledger.layout).map_err(single_fault)?;
        let rules = PlanRules {
            layout: ledger.layout,
            target: settings.sql.target.clone(),
            out_of_order: settings.sql.out_of_order,
        };
        let plan = plan::compare_with_ledger(&migrations, &ledger_before.recorded, &rules)?;
        let pending_ids: Vec<MigrationId> = plan.pending.iter().map(|migration| migration.id.clone()).collect();
        let digest = plan.digest;
        self.setup.events.emit(Event::Planned(PlanFacts {
            change: PlanAction::Apply,
            coverage: Coverage::Complete,
            layout: ledger.layout.name().to_owned(),
            ledger: ledger.table.to_string(),
            recorded: ledger_before.recorded.len(),
            pending: pending_ids.clone(),
            digest: digest.clone(),
        }));
        let all_migrations: Vec<MigrationId> = migrations.iter().map(|migration| migration.id.clone()).collect();
        if settings.command == Command::Status {
            let recorded = recorded_migrations(&ledger_before, &all_migrations);
            self.setup.events.emit(Event::LedgerListed { recorded });
        }
        let pending = migrations.into_iter().filter(|migration| pending_ids.contains(&migration.id)).collect();
        let plan = SqlPlan { ledger, other_ledgers, ledger_before, all_migrations, pending };
        self.check_plan(&plan, &digest)?;
        Ok(plan)
    }

    async fn read_ledger_before(
        &mut self,
        ledger: &Ledger,
        other_ledgers: &[ToolLedger],
    ) -> Result<LedgerState, Fault> {
        if !ledger.exists && !ledger.progress_exists && other_ledgers.is_empty() {
            return Ok(std::mem::take(&mut self.state_without_ledger));
        }
        let query = ledger.read_query(other_ledgers).requiring_lock(self.lock_requirement());
        let rows = answer_within(self.setup.settings.wait_timeout, query_rows(&self.session.client, &query)).await?;
        Ok(LedgerState::from_rows(&rows))
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
            Command::Migrate if has_work => {
                plan::check_approved(digest, settings.safety.expect_plan.as_deref()).map_err(single_fault)
            }
            _ => Ok(()),
        }
    }

    /// Continues with this plan.
    pub(super) fn into_planned(self, plan: SqlPlan) -> PlannedSql<'a> {
        let lock = self.lock_requirement();
        let SqlPlan { ledger, other_ledgers, ledger_before, all_migrations, pending } = plan;
        let Self { setup, session, fresh_state, .. } = self;
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

/// Returns the migrations in the ledger; one whose file is gone has only a name.
fn recorded_migrations(ledger_before: &LedgerState, all_migrations: &[MigrationId]) -> Vec<MigrationId> {
    let id = |row: &RecordedMigration| {
        let id_of_file = all_migrations.iter().find(|id| id.version == row.version).cloned();
        id_of_file.unwrap_or_else(|| MigrationId {
            index: 0,
            version: row.version.clone(),
            name: row.name.clone(),
            file: String::new(),
            ..MigrationId::default()
        })
    };
    ledger_before.recorded.iter().filter(|row| row.success).map(id).collect()
}

/// Returns the query for ledgers and INVALID indexes: all that a plan needs if there is no ledger.
pub(super) fn opening_query(settings: &Settings) -> OwnQuery {
    survey_query(settings.sql.ledger_table.as_deref()).with_appended(&invalid_indexes_sql())
}

fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
