//! A tool's migration: monitored while it runs, read from the ledger however it ended, and stopped.

use super::{Foreign, Reached, contradictions, listing::Known, plan, snapshot::Witness, tenants};
use crate::{
    executor::{invalid_index, step},
    fault::{Code, Fault, Stage},
    ledger::known_tools::ToolMigration,
    run::event::{Event, MigrationId, StepPhase},
    settings::{Command, Site},
    site::Sites,
    tool::LedgerCount,
    transport::Transport,
};
use futures_util::future::join;
use std::time::Duration;
use tokio::time::timeout;

/// Time limit for reading the result after a stop.
const LAST_LOOK: Duration = Duration::from_millis(1_500);

/// Time limit for reports in addition to the result; both limits and the grace period together are shorter than a stop
/// may take.
const ASIDE: Duration = Duration::from_millis(700);

impl Foreign<'_> {
    /// Runs the tool's migration, and reads its result from the ledger, however it ended.
    ///
    /// # Errors
    /// The reason why it failed; events report what was applied before.
    pub async fn migrate(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        self.reached = Reached::Working;
        sites.nothing_begun();
        let steps = std::mem::take(&mut self.steps);
        let turns = self.turns();
        let done = step::run(sites, &mut self.keeper, (StepPhase::Migrate, &steps), turns);
        let mut failed = done.await.err();
        self.steps = steps;
        if let Some(way) = sites.settings_way(&self.tool.site, &self.commands()) {
            self.events.emit(Event::SettingsDelivered { way });
        }
        if sites.is_given_up() {
            // The ledger may still change until the work has ended.
            self.give_up();
            return failed.map_or(Ok(()), Err);
        }
        match self.look_again(sites).await {
            Ok(after) => {
                if failed.is_none() && matches!(self.known, Known::NoLedger) {
                    failed = self.list_at_last(sites, &after).await.err();
                }
                self.tell_applied(&after);
                if let Some(fault) = failed.take() {
                    let fault = invalid_index::explained(fault, after.invalid());
                    failed = Some(self.stopped(sites, &after, fault));
                    self.tell_leftovers(&after);
                    self.tell_unrecorded(sites, &after).await;
                }
                self.after = Some(after);
            }
            Err(why) => {
                self.give_up();
                let cause = format!("the tool's result can't be read from the database: {}", why.cause);
                let doubt = Fault::new(Code::CommitInDoubt, cause);
                failed = Some(match failed {
                    Some(first) => first.detail(doubt.cause),
                    None => doubt,
                });
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Warns of indexes that a failed migration left INVALID; after a successful one, the proof reports them.
    fn tell_leftovers(&self, after: &Witness) {
        for index in after.invalid_since(&self.before) {
            self.events.emit(Event::Warning(invalid_index::left(index).in_stage(Stage::Migrate)));
        }
    }

    /// Reports the failed migration, if it can be determined, and the tenants that were not reached.
    fn stopped(&self, sites: &Sites<'_>, after: &Witness, fault: Fault) -> Fault {
        let is_done = |id: &MigrationId| self.is_done(id, after);
        let failed = tenants::stopped_at(&self.pending, sites.begun().as_ref(), is_done);
        if let Some(id) = failed {
            self.events.emit(Event::Failed { index: id.index });
        }
        match tenants::told(&self.pending, failed, is_done) {
            Some(tenants) => fault.detail(tenants),
            None => fault,
        }
    }

    /// Lists the migrations after the run, for a tool that could not list without a ledger. All of them have to be in
    /// the ledger.
    async fn list_at_last(&mut self, sites: &Sites<'_>, after: &Witness) -> Result<(), Fault> {
        self.known = self.list(sites).await?;
        let after = after.clone().meant(self.tool.recipe.keeps, self.known.listed());
        let missing = plan::pending(&self.tool.recipe, self.known.listed(), &after);
        contradictions::whole(&self.tool.recipe, &self.known, &after)?;
        contradictions::undone(&self.commands(), &missing).map_or(Ok(()), Err)
    }

    pub(crate) fn is_done(&self, id: &MigrationId, after: &Witness) -> bool {
        match self.settings.command {
            Command::Rollback => after.lost(&self.before, id),
            _ => after.gained(&self.before, id),
        }
    }

    /// Reads the database after the work, over a new session if ours was lost meanwhile.
    async fn look_again(&mut self, sites: &mut Sites<'_>) -> Result<Witness, Fault> {
        let looked = self.look_now(sites).await;
        let Err(lost) = looked else { return looked };
        if !lost.code.ends_session() && lost.code != Code::BastionLost {
            return Err(lost);
        }
        self.events.emit(Event::Waiting {
            what: "the database, to see what the tool did".to_owned(),
            why: lost.cause.clone(),
        });
        if sites.is_lost() {
            match self.tool.site {
                Site::Server => sites.again(&lost).await?,
                Site::Image(_) => sites.connect().await?,
            }
        }
        // A command whose exit was not seen must not change the database any more.
        sites.end().await?;
        self.keeper.again(sites.reach()?).await?;
        // The tool has ended; its backends may not have noticed yet.
        self.keeper.end_backends(sites.pids()).await?;
        self.look_now(sites).await
    }

    /// Reports the migrations that the tool recorded, or removed in a rollback, and other changes of the schema.
    pub(crate) fn tell_applied(&self, after: &Witness) {
        let (from, to) = match self.settings.command {
            Command::Rollback => (after, &self.before),
            _ => (&self.before, after),
        };
        let told = |index, took| match self.settings.command {
            Command::Rollback => Event::RolledBack { index },
            _ => Event::Recorded { index, took },
        };
        // Recording a migration takes no time of its own.
        let took = |id: &MigrationId| after.took(id).filter(|_| self.settings.command == Command::Migrate);
        self.place(after);
        for id in self.pending.iter().filter(|id| self.is_done(id, after)) {
            self.events.emit(told(id.index, took(id)));
        }
        let unlisted = to.rows_since(from).filter(|row| !self.is_pending(row, after));
        for (index, row) in (self.pending.len() + 1..).zip(unlisted) {
            let schema =
                if self.tool.recipe.ledgers == LedgerCount::EachSchema { row.schema.clone() } else { String::new() };
            let id = MigrationId { index, ..MigrationId::of_tool(row.name.clone(), schema) };
            let took = took(&id);
            self.events.emit(Event::Unplanned(id));
            self.events.emit(told(index, took));
        }
        let added = after.schema_since(&self.before);
        if !added.is_empty() {
            self.events.emit(Event::SchemaAdded { added });
        }
    }

    /// Reports the schemas of migrations that were planned before there was any ledger: the first schema, as in
    /// [`Self::is_pending`].
    fn place(&self, after: &Witness) {
        let schemas = after.schemas();
        let (LedgerCount::EachSchema, Some(first)) = (self.tool.recipe.ledgers, schemas.first()) else { return };
        for id in self.pending.iter().filter(|id| id.schema.is_empty()) {
            self.events.emit(Event::SchemaAssigned { index: id.index, schema: (*first).to_owned() });
        }
    }

    /// Returns whether this row is in the plan. A plan that was made before there was any ledger stands for the first
    /// schema.
    pub(crate) fn is_pending(&self, row: &ToolMigration, after: &Witness) -> bool {
        let first = match self.tool.recipe.ledgers {
            LedgerCount::EachSchema => after.schemas().first().copied() == Some(row.schema.as_str()),
            LedgerCount::One => true,
        };
        let is_it =
            |id: &MigrationId| id.name == row.name && (id.schema == row.schema || (id.schema.is_empty() && first));
        self.pending.iter().any(is_it)
    }

    /// Stops work whose future was dropped: the command and its backends; then reads what was applied.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub async fn stop(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        let (ended, told) = join(sites.end(), self.keeper.end_backends(sites.pids())).await;
        ended?;
        told?;
        if self.after.is_some() {
            return Ok(());
        }
        let looked = async {
            match self.reached {
                Reached::NotYet => Ok(None),
                Reached::Asked => self.tell_unasked(sites).await.map(|()| None),
                Reached::Working => self.look_now(sites).await.map(Some),
            }
        };
        let Ok(looked) = timeout(LAST_LOOK, looked).await else {
            // A listing that is not finished in time must not be left running.
            sites.end().await?;
            return Err(Fault::new(Code::CommitInDoubt, "the tool's result could not be read in time"));
        };
        if let Some(after) = looked? {
            self.tell_applied(&after);
            self.tell_leftovers(&after);
            // Additional reports must not delay the result.
            drop(timeout(ASIDE, self.tell_unrecorded(sites, &after)).await);
        }
        Ok(())
    }

    /// Reports the migrations whose outcome is unknown. There are none before the tool was run to migrate.
    pub fn give_up(&self) {
        for id in self.pending.iter().filter(|_| self.reached == Reached::Working && self.after.is_none()) {
            self.events.emit(Event::InDoubt { index: id.index });
        }
    }

    /// Replaces the first fault by the cause of the lost connection, if that is what it reports.
    #[must_use]
    pub fn first_cause(&self, sites: &Sites<'_>, mut faults: Vec<Fault>) -> Vec<Fault> {
        if let Some(first) = faults.first_mut()
            && (first.code.ends_session() || matches!(first.code, Code::DatabaseUnready | Code::ToolFailed))
            && let Some(cause) = sites.reach().ok().and_then(Transport::loss_fault)
        {
            *first = cause.in_stage(first.stage).detail(format!("so: {}", first.cause));
        }
        faults
    }
}
