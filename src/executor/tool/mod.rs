//! `executor: image` and `executor: server`: the app's own tool, in the app's own environment. Our session holds the
//! run lock and reads the tool's ledger before and after; if no database is given, only the tool's own listing can be
//! read.

mod contradictions;
mod listing;
mod plan;
mod proof;
mod read_only_check;
mod run;
pub(crate) mod snapshot;
mod targets;
mod tenants;
mod unrecorded;

use super::lock_holder::Keeper;
use crate::{
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    ledger::known_tools::ToolMigration,
    postgres::wait::answer_within,
    run::event::{Coverage, Event, Events, MigrationId, PlanFacts},
    settings::{Command, Need, Settings, Step, StepWork, ToolSettings, When},
    site::{
        Said, Sites, Task, Turn,
        container_spec::{Access, Terms},
    },
    tool::{CommandLine, LedgerCount, Verb},
};
use listing::Known;
use snapshot::Witness;
use std::cell::RefCell;

/// The executor and its state.
#[derive(Debug)]
pub struct Foreign<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tool: &'a ToolSettings,
    pub(super) events: Events,
    pub(super) keeper: Keeper<'a>,
    /// The steps of the migration, in order.
    pub(super) steps: Vec<Step>,
    /// The database before the tool was run.
    pub(super) read: Witness,
    /// The same, with the migrations that the tool's ledger implies.
    pub(super) before: Witness,
    pub(super) after: Option<Witness>,
    /// The tool's listing.
    pub(super) known: Known,
    /// The migrations to apply, to record, or to roll back.
    pub(super) pending: Vec<MigrationId>,
    /// The coverage of the reported plan; `None` before there is one.
    pub(super) coverage: Option<Coverage>,
    /// The progress of the tool.
    pub(super) reached: Reached,
}

/// The progress of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    NotYet,
    /// It was run read-only.
    Asked,
    /// It was run to migrate.
    Working,
}

impl<'a> Foreign<'a> {
    /// Prepares the migration; runs nothing yet.
    ///
    /// # Errors
    /// A target that the tool does not accept, or a command that the recipe has no way to run.
    pub fn new(
        settings: &'a Settings,
        tool: &'a ToolSettings,
        runner: &'a Runner,
        events: &Events,
    ) -> Result<Self, Fault> {
        Ok(Self {
            settings,
            tool,
            events: events.clone(),
            keeper: Keeper::new(settings, runner, events.clone()),
            steps: work(settings, tool)?,
            read: Witness::default(),
            before: Witness::default(),
            after: None,
            known: Known::Nothing,
            pending: Vec::new(),
            coverage: None,
            reached: Reached::NotYet,
        })
    }

    /// Opens our own session, if a database is given.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub async fn connect(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.settings.database.is_some() {
            self.keeper.connect(sites.reach()?).await?;
        }
        Ok(())
    }

    /// Takes the run lock.
    ///
    /// # Errors
    /// The holder of the lock.
    pub async fn lock(&mut self) -> Result<(), Fault> {
        self.keeper.lock().await
    }

    /// Compares the tool's own listing with its ledger.
    ///
    /// # Errors
    /// The reason why the tool can't list its migrations, or `tool-elsewhere` if it uses another database.
    pub async fn plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        let one = |fault: Fault| vec![fault.in_stage(Stage::Plan)];
        // Before any program but ours uses the database.
        self.read = self.read_before().await.map_err(one)?;
        let planned = self.planned(sites).await;
        let dismissed = match planned.is_ok() && self.may_have_pending() {
            true => Ok(()),
            false => sites.dismiss().await,
        };
        let unchanged = self.unchanged(sites).await;
        if !sites.is_waited_for() {
            self.reached = Reached::NotYet;
        }
        match (planned, unchanged) {
            (Err(first), Err(then)) if then.code != Code::ToolUnasked => Err(first),
            (_, Err(fault)) => Err(one(fault)),
            (planned, Ok(())) => planned.and(dismissed.map_err(one)),
        }
    }

    async fn planned(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        let one = |fault: Fault| vec![fault.in_stage(Stage::Plan)];
        self.look(sites).await.map_err(one)?;
        self.pending = self.expected().map_err(|fault| vec![fault])?;
        let pending = self.as_planned(sites).await.map_err(one)?;
        self.pending = plan::entitled(pending, self.known.listed());
        let coverage = if self.known.is_listed() { Coverage::Complete } else { Coverage::Unknown };
        self.coverage = Some(coverage);
        let plan = self.facts(sites, coverage);
        let digest = plan.digest.clone();
        self.events.emit(Event::Planned(plan));
        if self.settings.command == Command::Status {
            self.events.emit(Event::LedgerListed { recorded: self.standing() });
        }
        if self.settings.command == Command::Plan && self.has_work() {
            self.asked(Verb::Plan, sites).await.map_err(one)?;
        }
        if self.settings.command.may_write() && self.has_work() {
            crate::plan::check_approved(&digest, self.settings.safety.expect_plan.as_deref())
                .map_err(|fault| vec![fault])?;
        }
        Ok(())
    }

    /// Returns the plan for the report.
    pub(super) fn facts(&self, sites: &Sites<'_>, coverage: Coverage) -> PlanFacts {
        let recipe = &self.tool.recipe;
        PlanFacts {
            change: self.settings.command.plan_action(),
            coverage,
            layout: recipe.name.clone(),
            ledger: self.before.ledger_name(),
            recorded: self.before.rows.len(),
            pending: self.pending.clone(),
            digest: plan::digest(self.settings.command, recipe, sites.image(&self.tool.site), &self.pending),
        }
    }

    /// Returns the applied migrations, numbered in the ledger's order.
    fn standing(&self) -> Vec<MigrationId> {
        let each = self.tool.recipe.ledgers == LedgerCount::EachSchema;
        let id = |row: &ToolMigration| MigrationId {
            name: row.name.clone(),
            schema: if each { row.schema.clone() } else { String::new() },
            ..MigrationId::default()
        };
        plan::entitled(plan::numbered(self.before.rows.iter().map(id)), self.known.listed())
    }

    /// Returns the migrations to run, from the tool's listing and the ledger.
    fn expected(&self) -> Result<Vec<MigrationId>, Fault> {
        let (recipe, target, listed) = (&self.tool.recipe, self.tool.target.as_deref(), self.known.listed());
        match (self.settings.command, &self.known) {
            // Without a ledger nothing is applied that could be rolled back.
            (Command::Rollback, Known::NoLedger) => Ok(Vec::new()),
            (Command::Rollback | Command::Baseline, Known::NoLedger | Known::Nothing) => Err(Fault::new(
                Code::TargetUnknown,
                format!(
                    "`tool: {}` can't list its migrations here, so it is unknown what that would change",
                    recipe.name
                ),
            )
            .fix("run the tool by hand and check the result, or give `database-url` if its listing needs the ledger")),
            (Command::Rollback, Known::Listed(_)) => targets::undone(recipe, listed, &self.before, target),
            (Command::Baseline, Known::Listed(_)) => targets::taken(recipe, listed, &self.before, target),
            _ => Ok(plan::pending(recipe, listed, &self.before)),
        }
    }

    /// Returns the migrations that a rollback undoes, by the tool's own plan if it prints one. The plan is always shown
    /// before a rollback.
    async fn as_planned(&mut self, sites: &Sites<'_>) -> Result<Vec<MigrationId>, Fault> {
        if self.settings.command != Command::Rollback || !self.has_work() {
            return Ok(std::mem::take(&mut self.pending));
        }
        let said = self.asked(Verb::RollbackPlan, sites).await?;
        let recipe = &self.tool.recipe;
        match &recipe.undoing {
            Some(undoing) if !self.pending.is_empty() => {
                let named = undoing.read_migrations(said.lines());
                targets::as_planned(recipe, &named, &self.before, &self.pending)
            }
            _ => Ok(std::mem::take(&mut self.pending)),
        }
    }

    /// Runs the recipe's commands for this verb with read-only sessions, and returns their output.
    async fn asked(&mut self, verb: Verb, sites: &Sites<'_>) -> Result<Said, Fault> {
        let said = RefCell::new(Said::default());
        for call in self.tool.recipe.commands_with_target(verb, self.tool.target.as_deref()).unwrap_or_default() {
            self.reached = Reached::Asked;
            let line = self.tool.with_prefix(call.line);
            let task = Task { site: &self.tool.site, line: &line, terms: Terms::of(self.settings, Access::Reading) };
            sites.turn(task, Turn::Begin, &said).await?;
        }
        Ok(said.into_inner())
    }

    async fn look(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        let recipe = &self.tool.recipe;
        self.before = self.read.clone();
        if self.asks().is_some() {
            self.reached = Reached::Asked;
        }
        self.known = match self.list_first(sites).await? {
            Known::Nothing => self.list(sites).await?,
            listed => listed,
        };
        let listed = self.known.listed();
        self.before = match self.keeper.session() {
            Some(_) => self.read.clone().meant(recipe.keeps, listed),
            None => Witness::of_listing(listed),
        };
        crate::executor::tell_left_alone(&self.before.left_alone, &self.events);
        contradictions::same_database(recipe, listed, &self.before)?;
        contradictions::whole(recipe, &self.known, &self.read)
    }

    /// Reads the current state of the database, or of the tool's listing.
    ///
    /// # Errors
    /// The fault of reading it.
    pub(super) async fn look_now(&self, sites: &Sites<'_>) -> Result<Witness, Fault> {
        let recipe = &self.tool.recipe;
        match self.keeper.session() {
            Some(session) => {
                let looked = Witness::again(session, self.keeper.run_lock(), recipe);
                let looked = answer_within(self.settings.wait_timeout, looked).await?;
                Ok(looked.meant(recipe.keeps, self.known.listed()))
            }
            None => Ok(Witness::of_listing(self.list(sites).await?.listed())),
        }
    }

    /// Returns the recipe's command for this verb, with the configured prefix.
    pub(super) fn line(&self, verb: Verb) -> Option<CommandLine> {
        Some(self.tool.with_prefix(self.tool.recipe.single_command(verb)?))
    }

    /// Returns whether there is anything to do; for a tool that can't list, there always may be.
    #[must_use]
    pub fn has_work(&self) -> bool {
        let always = self.steps.iter().any(|step| step.when == When::Always);
        always || self.may_have_pending()
    }

    /// Returns whether there may be pending migrations. Without a listing, only `migrate` assumes so.
    fn may_have_pending(&self) -> bool {
        !self.pending.is_empty() || (self.settings.command == Command::Migrate && !self.known.is_listed())
    }

    /// Returns the step conditions that a successful run meets.
    #[must_use]
    pub fn turns(&self) -> &'static [When] {
        if self.may_have_pending() { &[When::Always, When::Pending] } else { &[When::Always] }
    }

    /// Closes our session, which releases the lock.
    pub async fn close(self) {
        self.keeper.close().await;
    }
}

/// Returns the steps of the migration: the user's own, or the recipe's commands.
fn work(settings: &Settings, tool: &ToolSettings) -> Result<Vec<Step>, Fault> {
    let verb = match settings.command {
        Command::Rollback => Verb::Rollback,
        Command::Baseline => Verb::Baseline,
        _ if !settings.steps.migrate.is_empty() => return Ok(settings.steps.migrate.clone()),
        _ => Verb::Migrate,
    };
    let step = |name: Option<String>, line: CommandLine| Step {
        name: name.unwrap_or_else(|| line.display_text()),
        work: StepWork::Command { line, site: tool.site.clone() },
        timeout: None,
        retries: settings.safety.retries,
        need: Need::Required,
        when: When::Pending,
    };
    if let (Some(run), Verb::Migrate) = (&tool.run, verb) {
        return Ok(vec![step(None, run.clone())]);
    }
    let target = tool.target.as_deref().filter(|_| verb != Verb::Migrate);
    let calls = tool.recipe.commands_with_target(verb, target)?;
    Ok(calls.into_iter().map(|call| step(call.name, tool.with_prefix(call.line))).collect())
}
