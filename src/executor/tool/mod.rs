//! `executor: image` and `executor: server`: the app's own tool, in the app's own environment. Our session holds the
//! run lock and reads the tool's ledger before and after; if no database is given, only the tool's own listing can be
//! read.

mod audit;
mod contradictions;
mod decision;
mod expected_migrations;
mod first_names;
mod ledger_listing;
mod listed;
mod listing;
mod plan;
mod proof;
mod read_only_check;
mod read_only_run;
mod rehearsed;
mod run;
mod schema;
mod scripts;
pub(crate) mod snapshot;
mod steps;
mod target_selection;
mod tenants;
mod unrecorded;

use super::{
    approval,
    audit_trail::AuditTrail,
    backup::BackupSubject,
    lock_holder::{self, LockHolder},
    review::{ReadScripts, StatementPlaces},
    schema_reading::SchemaReadings,
};
use crate::{
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    layout::Table,
    postgres::start_conditions::wait_to_start,
    review::{MigrationScript, PlanPath},
    run::{
        Coverage, MigrationId, PlanFacts,
        event::{Event, Events},
    },
    settings::{Command, Settings, Step, ToolSettings, When},
    site::Sites,
    tool::{PrintedScript, Verb},
};
use listed::{CompletedVerbs, ListingWithSql, ToolListing};
use snapshot::LedgerSnapshot;

/// The executor and its state.
#[derive(Debug)]
pub struct ToolExecutor<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tool: &'a ToolSettings,
    pub(super) events: Events,
    /// The holder of the run lock, once it is connected; without a database there is none.
    pub(super) lock_holder: Option<LockHolder<'a>>,
    runner: &'a Runner,
    /// The steps of the migration, in order.
    pub(super) steps: Vec<Step>,
    /// The database before the tool was run.
    pub(super) initial_snapshot: LedgerSnapshot,
    /// The same, with the migrations that the tool's ledger implies.
    pub(super) snapshot_before: LedgerSnapshot,
    pub(super) snapshot_after: Option<LedgerSnapshot>,
    /// The schema around the work.
    schema: SchemaReadings,
    /// The tool's listing.
    pub(super) listing: ToolListing,
    /// The migrations to apply, to record, or to roll back.
    pub(super) pending: Vec<MigrationId>,
    /// The verbs that were run together with the listing.
    completed: CompletedVerbs,
    /// The SQL as the tool printed it, or the reason why it is not shown.
    printed_scripts: Result<Vec<PrintedScript>, String>,
    /// The SQL of the pending migrations.
    scripts: Vec<MigrationScript>,
    /// The same with the effects of its statements, if it is to be rehearsed.
    read_scripts: ReadScripts,
    /// The positions of its statements in files: there are none.
    no_places: StatementPlaces,
    /// The tables of reference that the database has.
    reference_tables: Vec<Table>,
    /// The search path in which it is weighed.
    path: PlanPath,
    /// The part of the plan that a backup depends on; `None` before there is a plan.
    pub(super) backup_subject: Option<BackupSubject>,
    /// The coverage of the reported plan; `None` before there is one.
    pub(super) coverage: Option<Coverage>,
    /// The progress of the tool.
    pub(super) progress: ToolProgress,
    /// The digest of the plan; empty before there is one.
    plan_digest: String,
    /// The record of the run; none if it only reads, or if there is to be none.
    audit: Option<AuditTrail>,
}

/// The progress of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolProgress {
    NotStarted,
    /// It was run read-only.
    ReadOnlyRun,
    /// It was run to migrate.
    Migrating,
}

impl<'a> ToolExecutor<'a> {
    /// Prepares the migration; runs nothing yet.
    ///
    /// # Errors
    /// A target that the tool does not accept, or a command that the recipe has no way to run.
    pub(super) fn new(
        (settings, tool): (&'a Settings, &'a ToolSettings),
        runner: &'a Runner,
        events: &Events,
        audit: Option<AuditTrail>,
    ) -> Result<Self, Fault> {
        decision::check_recordable(settings, &tool.recipe)?;
        Ok(Self {
            settings,
            tool,
            events: events.clone(),
            lock_holder: None,
            runner,
            steps: steps::migration_steps(settings, tool)?,
            initial_snapshot: LedgerSnapshot::default(),
            snapshot_before: LedgerSnapshot::default(),
            snapshot_after: None,
            schema: SchemaReadings::default(),
            listing: ToolListing::Unknown,
            completed: CompletedVerbs::default(),
            pending: Vec::new(),
            printed_scripts: Ok(Vec::new()),
            scripts: Vec::new(),
            read_scripts: Vec::new(),
            no_places: StatementPlaces::new(),
            reference_tables: Vec::new(),
            path: PlanPath::Session,
            backup_subject: None,
            coverage: None,
            progress: ToolProgress::NotStarted,
            plan_digest: String::new(),
            audit,
        })
    }

    /// Opens our own session, if a database is given.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub async fn connect(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.settings.database.is_some() {
            let holder = LockHolder::connect(self.settings, self.runner, &self.events, sites.transport()?).await?;
            sites.set_delivery(holder.session().delivery());
            self.lock_holder = Some(holder);
            sites.check_role_delivery(&self.tool.site, &self.command_texts())?;
        }
        Ok(())
    }

    /// Takes the run lock.
    ///
    /// # Errors
    /// The holder of the lock.
    pub async fn take_run_lock(&mut self) -> Result<(), Fault> {
        match &mut self.lock_holder {
            Some(holder) => holder.take_run_lock().await,
            None => Ok(()),
        }
    }

    /// Waits until the work may begin.
    ///
    /// # Errors
    /// `not-now`, or the lost connection.
    pub async fn wait_to_start(&self) -> Result<(), Fault> {
        let (Some(holder), Some(conditions)) = (&self.lock_holder, self.settings.start_conditions()) else {
            return Ok(());
        };
        let wait = lock_holder::lock_wait(self.settings, self.runner);
        wait_to_start(holder.session(), conditions, &wait, &self.events).await
    }

    /// Compares the tool's own listing with its ledger.
    ///
    /// # Errors
    /// The reason why the tool can't list its migrations, or `tool-elsewhere` if it uses another database.
    pub async fn plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        let plan_fault = |fault: Fault| vec![fault.in_stage(Stage::Plan)];
        // Before any program but ours uses the database.
        self.initial_snapshot = self.read_initial_snapshot().await.map_err(plan_fault)?;
        let planned = self.make_plan(sites).await;
        let dismissed = match planned.is_ok() && self.may_have_pending() {
            true => Ok(()),
            false => sites.abort_paused().await,
        };
        let unchanged = self.check_unchanged(sites).await;
        if planned.is_ok() && unchanged.is_ok() && self.has_work() {
            self.read_schema_before().await;
        }
        if !sites.has_paused_tool() {
            self.progress = ToolProgress::NotStarted;
        }
        match (planned, unchanged) {
            (Err(first), Err(then)) if then.code != Code::ToolUnasked => Err(first),
            (_, Err(fault)) => Err(plan_fault(fault)),
            (planned, Ok(())) => planned.and(dismissed.map_err(plan_fault)),
        }
    }

    async fn make_plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        let plan_fault = |fault: Fault| vec![fault.in_stage(Stage::Plan)];
        if let Err(fault) = self.read_listing_and_ledger(sites).await {
            self.go_on_without_list(fault).map_err(plan_fault)?;
        }
        self.pending = match self.settings.command {
            Command::Resolve(decision) => self.decided_migrations(decision).await,
            _ => self.expected_migrations(),
        }
        .map_err(|fault| vec![fault])?;
        let pending = self.planned_by_tool(sites).await.map_err(plan_fault)?;
        self.pending = plan::with_titles(pending, self.listing.migrations());
        if self.needs_sql() {
            let printed = std::mem::replace(&mut self.printed_scripts, Ok(Vec::new()));
            self.scripts = scripts::scripts_of_pending(&self.pending, printed, self.events.redactor());
        }
        let coverage = if self.listing.is_listed() { Coverage::Complete } else { Coverage::Unknown };
        self.coverage = Some(coverage);
        let plan = self.plan_facts(sites, coverage);
        let digest = plan.digest.clone();
        self.plan_digest.clone_from(&digest);
        self.events.emit(Event::Planned(plan));
        self.path = scripts::plan_path(&self.scripts);
        let reviewed = scripts::review(self, &digest).await.map(|(subject, read)| {
            (self.backup_subject, self.read_scripts) = (Some(subject), read);
        });
        if self.settings.command == Command::Rehearse {
            self.find_reference_tables().await.map_err(plan_fault)?;
        }
        if self.settings.command == Command::Status {
            let recorded = self.listed_ledger().await.map_err(plan_fault)?;
            self.events.emit(Event::LedgerListed { recorded, half_done: Vec::new() });
        }
        if self.settings.command == Command::Plan && self.has_work() {
            self.run_read_only(Verb::Plan, sites).await.map_err(plan_fault)?;
        }
        let approved = match self.settings.command.may_write() && self.has_work() {
            true => approval::check_approved(&digest, &self.settings.safety),
            false => Ok(()),
        };
        let faults: Vec<Fault> = approved.err().into_iter().chain(reviewed.err().into_iter().flatten()).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Returns the plan for the report.
    pub(super) fn plan_facts(&self, sites: &Sites<'_>, coverage: Coverage) -> PlanFacts {
        let recipe = &self.tool.recipe;
        PlanFacts {
            change: self.settings.command.plan_action(),
            coverage,
            layout: recipe.name.clone(),
            ledger: self.snapshot_before.ledger_name(),
            recorded: self.snapshot_before.rows.len(),
            pending: self.pending.clone(),
            digest: approval::digest_to_approve(
                plan::tool_plan_digest(
                    self.settings.command,
                    recipe,
                    sites.image_facts(&self.tool.site),
                    &self.pending,
                    &self.scripts,
                ),
                self.settings,
            ),
            reason: self.settings.safety.reason.clone(),
        }
    }

    async fn read_listing_and_ledger(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        let recipe = &self.tool.recipe;
        self.snapshot_before = self.initial_snapshot.clone();
        if self.listing_command().is_some() {
            self.progress = ToolProgress::ReadOnlyRun;
        }
        let ListingWithSql { listing, scripts, others } = self.list_with_sql(sites).await?;
        (self.listing, self.printed_scripts, self.completed) = (listing, scripts, others);
        let listed = self.listing.migrations();
        self.snapshot_before = match &self.lock_holder {
            Some(_) => self.initial_snapshot.clone().with_implied(recipe.keeps, listed),
            None => LedgerSnapshot::from_listing(listed),
        };
        crate::executor::report_ignored_ledgers(&self.snapshot_before.ignored, &self.events);
        contradictions::check_same_database(recipe, listed, &self.snapshot_before)?;
        contradictions::check_list_plausible(recipe, &self.listing, &self.initial_snapshot)
    }

    /// Reads the current state of the database, or of the tool's listing.
    ///
    /// # Errors
    /// The fault of reading it.
    pub(super) async fn read_current_snapshot(&self, sites: &Sites<'_>) -> Result<LedgerSnapshot, Fault> {
        let recipe = &self.tool.recipe;
        match &self.lock_holder {
            Some(holder) => {
                let snapshot = holder.reread_snapshot(recipe).await?;
                Ok(snapshot.with_implied(recipe.keeps, self.listing.migrations()))
            }
            None => Ok(LedgerSnapshot::from_listing(self.list_migrations(sites).await?.migrations())),
        }
    }

    /// Returns the SQL of the pending migrations, in the order of the plan; empty before the plan, and for commands that
    /// apply none. Where each schema has a ledger, a script stands for all schemas in which its SQL is the same: it has
    /// the first of them.
    #[must_use]
    pub fn scripts(&self) -> &[MigrationScript] {
        &self.scripts
    }

    /// Returns whether there is anything to do; for a tool that can't list, there always may be.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let always = self.steps.iter().any(|step| step.when == When::Always);
        always || self.may_have_pending()
    }

    /// Returns whether there may be pending migrations. Without a listing, only `migrate` assumes so.
    fn may_have_pending(&self) -> bool {
        !self.pending.is_empty() || (self.settings.command == Command::Migrate && !self.listing.is_listed())
    }

    /// Returns the step conditions that a successful run meets.
    #[must_use]
    pub fn met_conditions(&self) -> &'static [When] {
        if self.may_have_pending() { &[When::Always, When::Pending] } else { &[When::Always] }
    }

    /// Closes our session, which releases the lock.
    pub async fn close(self) {
        if let Some(holder) = self.lock_holder {
            holder.close().await;
        }
    }
}
