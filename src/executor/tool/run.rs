//! A tool's migration: monitored while it runs, read from the ledger however it ended, and stopped.

use super::{ToolExecutor, ToolProgress, contradictions, listed::ToolListing, plan, snapshot::LedgerSnapshot, tenants};
use crate::{
    executor::{
        invalid_index_faults,
        root_cause::{behind, reports_loss},
        step,
        tool_leftovers::ToolBackends,
    },
    fault::{Code, Fault, Stage},
    ledger::known_tools::ToolMigration,
    run::{
        MigrationId,
        event::{Event, StepPhase},
    },
    settings::{Command, Resolution, Site},
    site::Sites,
    tool::LedgerCount,
    transport::Transport,
};
use futures_util::future::join;
use std::time::Duration;
use tokio::time::timeout;

/// Time limit for reading the result after a stop.
const FINAL_READ_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Time limit for reports in addition to the result; both limits and the grace period together are shorter than a stop
/// may take.
const EXTRA_REPORT_TIMEOUT: Duration = Duration::from_millis(700);

impl ToolExecutor<'_> {
    /// Runs the tool's migration, and reads its result from the ledger, however it ended.
    ///
    /// # Errors
    /// The reason why it failed; events report what was applied before.
    pub async fn migrate(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        self.begin_audit(sites).await;
        self.progress = ToolProgress::Migrating;
        sites.forget_last_started();
        let steps = std::mem::take(&mut self.steps);
        let conditions = self.met_conditions();
        let done = step::run_steps(sites, self.lock_holder.as_mut(), (StepPhase::Migrate, &steps), conditions);
        let mut failed = done.await.err();
        self.steps = steps;
        if failed.is_none() {
            failed = self.record_decision().await.err();
        }
        if let Some(delivery) = sites.describe_delivery(&self.tool.site, &self.command_texts()) {
            self.events.emit(Event::SettingsDelivered { way: delivery });
        }
        if sites.has_given_up() {
            // The ledger may still change until the work has ended.
            self.report_in_doubt();
            return failed.map_or(Ok(()), Err);
        }
        match self.read_after_run(sites).await {
            Ok(after) => {
                if failed.is_none() && matches!(self.listing, ToolListing::NoLedger) {
                    failed = self.list_after_run(sites, &after).await.err();
                }
                self.report_applied(&after);
                self.schema.report_changes(&self.events);
                if let Some(fault) = failed.take() {
                    let fault = invalid_index_faults::explain_already_exists(fault, after.all_invalid_indexes());
                    failed = Some(self.with_failed_tenants(sites, &after, fault));
                    self.warn_of_new_invalid_indexes(&after);
                    self.warn_of_unrecorded(sites, &after).await;
                }
                self.snapshot_after = Some(after);
            }
            Err(error) => {
                self.report_in_doubt();
                let cause = format!("the tool's result can't be read from the database: {}", error.cause);
                let doubt_fault = Fault::new(Code::CommitInDoubt, cause);
                failed = Some(match failed {
                    Some(first) => first.detail(doubt_fault.cause),
                    None => doubt_fault,
                });
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Warns of indexes that a failed migration left INVALID; after a successful one, the proof reports them.
    fn warn_of_new_invalid_indexes(&self, after: &LedgerSnapshot) {
        for index in after.invalid_indexes_since(&self.snapshot_before) {
            self.events.emit(Event::Warning(invalid_index_faults::leftover_warning(index).in_stage(Stage::Migrate)));
        }
    }

    /// Reports the failed migration, if it can be determined, and the tenants that were not reached.
    fn with_failed_tenants(&self, sites: &Sites<'_>, after: &LedgerSnapshot, fault: Fault) -> Fault {
        let is_done = |id: &MigrationId| self.is_done(id, after);
        let failed = tenants::failed_migration(&self.pending, sites.last_started().as_ref(), is_done);
        if let Some(id) = failed {
            self.events.emit(Event::Failed { index: id.index });
        }
        match tenants::describe_tenants(&self.pending, failed, is_done) {
            Some(tenants) => fault.detail(tenants),
            None => fault,
        }
    }

    /// Lists the migrations after the run, for a tool that could not list without a ledger. All of them have to be in
    /// the ledger.
    async fn list_after_run(&mut self, sites: &Sites<'_>, after: &LedgerSnapshot) -> Result<(), Fault> {
        self.listing = self.list_migrations(sites).await?;
        let after = after.clone().with_implied(self.tool.recipe.keeps, self.listing.migrations());
        let missing = plan::pending_migrations(&self.tool.recipe, self.listing.migrations(), &after);
        contradictions::check_list_plausible(&self.tool.recipe, &self.listing, &after)?;
        contradictions::unapplied_fault(&self.command_texts(), &missing).map_or(Ok(()), Err)
    }

    pub(crate) fn is_done(&self, id: &MigrationId, after: &LedgerSnapshot) -> bool {
        match self.settings.command {
            Command::Rollback => after.is_newly_removed(&self.snapshot_before, id),
            Command::Resolve(Resolution::NotApplied) => !after.has_migration(id),
            _ => after.is_newly_recorded(&self.snapshot_before, id),
        }
    }

    /// Reads the database after the work, over a new session if ours was lost meanwhile.
    async fn read_after_run(&mut self, sites: &mut Sites<'_>) -> Result<LedgerSnapshot, Fault> {
        let (result, ()) = join(self.read_current_snapshot(sites), self.read_schema_after()).await;
        let Err(lost) = result else { return result };
        if !lost.code.ends_session() && lost.code != Code::BastionLost {
            return Err(lost);
        }
        self.events.emit(Event::Waiting {
            what: "the database, to see what the tool did".to_owned(),
            why: lost.cause.clone(),
        });
        if sites.is_connection_lost() {
            match self.tool.site {
                Site::Server => sites.reconnect(&lost).await?,
                Site::Image(_) => sites.open_transport().await?,
            }
        }
        // A command whose exit was not seen must not change the database any more.
        sites.stop_commands().await?;
        self.reconnect_holder(sites).await?;
        // The tool has ended; its backends may not have noticed yet.
        self.end_backends(sites).await?;
        join(self.read_current_snapshot(sites), self.read_schema_after()).await.0
    }

    /// Reports the migrations that the tool recorded, or removed in a rollback, and other changes of the schema.
    pub(crate) fn report_applied(&self, after: &LedgerSnapshot) {
        let (old, new) = match self.settings.command.removes_rows() {
            true => (after, &self.snapshot_before),
            false => (&self.snapshot_before, after),
        };
        let event = |index, duration| match self.settings.command {
            Command::Rollback => Event::RolledBack { index },
            Command::Resolve(Resolution::NotApplied) => Event::Unrecorded { index },
            Command::Baseline | Command::Resolve(Resolution::Applied) => Event::Baselined { index },
            _ => Event::Recorded { index, took: duration },
        };
        // Recording a migration takes no time of its own.
        let duration = |id: &MigrationId| after.duration_of(id).filter(|_| self.settings.command == Command::Migrate);
        self.report_assigned_schemas(after);
        for id in self.pending.iter().filter(|id| self.is_done(id, after)) {
            self.events.emit(event(id.index, duration(id)));
        }
        let unlisted = new.rows_since(old).filter(|row| !self.is_pending(row, after));
        for (index, row) in (self.pending.len() + 1..).zip(unlisted) {
            let schema =
                if self.tool.recipe.ledgers == LedgerCount::EachSchema { row.schema.clone() } else { String::new() };
            let id = MigrationId { index, ..MigrationId::of_tool(row.name.clone(), schema) };
            let duration = duration(&id);
            self.events.emit(Event::Unplanned(id));
            self.events.emit(event(index, duration));
        }
    }

    /// Reports the schemas of migrations that were planned before there was any ledger: the first schema, as in
    /// [`Self::is_pending`].
    fn report_assigned_schemas(&self, after: &LedgerSnapshot) {
        let schemas = after.ledger_schemas();
        let (LedgerCount::EachSchema, Some(first)) = (self.tool.recipe.ledgers, schemas.first()) else { return };
        for id in self.pending.iter().filter(|id| id.schema.is_empty()) {
            self.events.emit(Event::SchemaAssigned { index: id.index, schema: (*first).to_owned() });
        }
    }

    /// Returns whether this row is in the plan. A plan that was made before there was any ledger stands for the first
    /// schema.
    pub(crate) fn is_pending(&self, row: &ToolMigration, after: &LedgerSnapshot) -> bool {
        let first = match self.tool.recipe.ledgers {
            LedgerCount::EachSchema => after.ledger_schemas().first().copied() == Some(row.schema.as_str()),
            LedgerCount::One => true,
        };
        let is_same =
            |id: &MigrationId| id.name == row.name && (id.schema == row.schema || (id.schema.is_empty() && first));
        self.pending.iter().any(is_same)
    }

    /// Terminates the backends of a tool that has no client any more.
    pub(crate) async fn end_backends(&self, sites: &Sites<'_>) -> Result<ToolBackends, Fault> {
        match &self.lock_holder {
            Some(holder) => holder.end_backends(sites.backend_pids()).await,
            None => Ok(ToolBackends::Gone),
        }
    }

    /// Reconnects the session that holds the run lock.
    pub(crate) async fn reconnect_holder(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        match &mut self.lock_holder {
            Some(holder) => holder.reconnect(sites.transport()?).await,
            None => Ok(()),
        }
    }

    /// Stops work whose future was dropped: the command and its backends; then reads what was applied.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub async fn stop_work(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        let (ended, backends_ended) = join(sites.stop_commands(), self.end_backends(sites)).await;
        ended?;
        backends_ended?;
        if self.snapshot_after.is_some() {
            return Ok(());
        }
        let final_read = async {
            match self.progress {
                ToolProgress::NotStarted => Ok(None),
                ToolProgress::ReadOnlyRun => self.report_unrequested_changes(sites).await.map(|()| None),
                ToolProgress::Migrating => self.read_current_snapshot(sites).await.map(Some),
            }
        };
        let Ok(final_read) = timeout(FINAL_READ_TIMEOUT, final_read).await else {
            // A listing that is not finished in time must not be left running.
            sites.stop_commands().await?;
            return Err(Fault::new(Code::CommitInDoubt, "the tool's result could not be read in time"));
        };
        if let Some(after) = final_read? {
            self.report_applied(&after);
            self.warn_of_new_invalid_indexes(&after);
            // Additional reports must not delay the result.
            let reports = join(self.warn_of_unrecorded(sites, &after), self.read_schema_after());
            drop(timeout(EXTRA_REPORT_TIMEOUT, reports).await);
            self.schema.report_changes(&self.events);
        }
        Ok(())
    }

    /// Reports the migrations whose outcome is unknown. There are none before the tool was run to migrate.
    pub fn report_in_doubt(&self) {
        for id in
            self.pending.iter().filter(|_| self.progress == ToolProgress::Migrating && self.snapshot_after.is_none())
        {
            self.events.emit(Event::InDoubt { index: id.index });
        }
    }

    /// Replaces the first fault by the cause of the lost connection, if that is what it reports.
    #[must_use]
    pub fn with_root_cause(&self, sites: &Sites<'_>, mut faults: Vec<Fault>) -> Vec<Fault> {
        if let Some(first) = faults.first_mut()
            && (reports_loss(first) || first.code == Code::ToolFailed)
        {
            *first = behind(sites.transport().ok().and_then(Transport::loss_fault), first.clone());
        }
        faults
    }
}
