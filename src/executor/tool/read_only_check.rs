//! The check that a read-only command of the tool changes nothing: its sessions can only read, but a wrapper around it,
//! such as an entrypoint that migrates, may lift that; so the database is read before and after.

use super::{ToolExecutor, ToolProgress, contradictions, snapshot::LedgerSnapshot};
use crate::{
    executor::tool_leftovers::ToolBackends,
    fault::Fault,
    run::{
        Coverage,
        event::{Event, ReadOnlyResult},
    },
    site::Sites,
};
use futures_util::future::join;

impl ToolExecutor<'_> {
    /// Reads the database before any other program uses it; empty if none is given.
    ///
    /// # Errors
    /// The fault of reading it.
    pub(crate) async fn read_initial_snapshot(&self) -> Result<LedgerSnapshot, Fault> {
        match &self.lock_holder {
            Some(holder) => holder.read_snapshot(&self.tool.recipe).await,
            None => Ok(LedgerSnapshot::default()),
        }
    }

    async fn reread_snapshot(&self) -> Result<LedgerSnapshot, Fault> {
        match &self.lock_holder {
            Some(holder) => holder.reread_snapshot(&self.tool.recipe).await,
            None => Ok(LedgerSnapshot::default()),
        }
    }

    /// Reads the database again after a read-only command.
    ///
    /// # Errors
    /// `tool-unasked`, after the changes are reported; the fault of reading the database.
    pub(crate) async fn check_unchanged(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.progress == ToolProgress::NotStarted || self.lock_holder.is_none() {
            return Ok(());
        }
        let lost = match self.read_settled_snapshot(sites).await {
            // A tool that does not wait for confirmation runs on until it is ended; what it does until then is
            // reported, too.
            Ok(now) if now != self.initial_snapshot && sites.has_paused_tool() => {
                sites.stop_commands().await?;
                return self.compare_with_initial(sites, &self.read_settled_snapshot(sites).await?);
            }
            Ok(now) => return self.compare_with_initial(sites, &now),
            Err(lost) if lost.code.ends_session() => lost,
            Err(fault) => return Err(fault),
        };
        // In any case the run lock was lost with the session.
        sites.stop_commands().await?;
        let Ok(()) = self.reconnect_holder(sites).await else { return Err(lost) };
        self.compare_with_initial(sites, &self.read_settled_snapshot(sites).await?)?;
        Err(lost
            .detail("this happened during a read-only command of the tool; the ledger and the schema are unchanged"))
    }

    /// Reads the database after the tool's sessions have ended, as they outlive its container for a moment; a paused
    /// tool keeps its sessions.
    async fn read_settled_snapshot(&self, sites: &Sites<'_>) -> Result<LedgerSnapshot, Fault> {
        if sites.has_paused_tool() {
            return self.reread_snapshot().await;
        }
        // In one round trip, if none is left.
        match join(self.end_backends(sites), self.reread_snapshot()).await {
            (Ok(ToolBackends::Gone), read) => read,
            (Ok(ToolBackends::Ended), _) => self.reread_snapshot().await,
            (Err(fault), _) => Err(fault),
        }
    }

    /// Reports whether the database is unchanged since before the tool was run, and if not, its current state.
    fn compare_with_initial(&self, sites: &Sites<'_>, after: &LedgerSnapshot) -> Result<(), Fault> {
        let subject = match sites.image_facts(&self.tool.site) {
            Some(image) => format!("the image `{}`", image.reference),
            None => "the tool".to_owned(),
        };
        let Some(fault) = contradictions::unrequested_change_fault(
            &format!("{subject} was only asked what there is to do"),
            &self.initial_snapshot,
            after,
        ) else {
            self.events.emit(Event::ReadOnlyChecked(ReadOnlyResult::Unchanged));
            return Ok(());
        };
        self.events.emit(Event::ReadOnlyChecked(ReadOnlyResult::Changed));
        if self.coverage.is_none() {
            self.events.emit(Event::Planned(self.plan_facts(sites, Coverage::Unknown)));
        }
        self.report_applied(&after.clone().with_implied(self.tool.recipe.keeps, self.listing.migrations()));
        Err(match self.settings.safety.expect_plan {
            Some(_) => fault.detail("this was not approved: the plan in `expect-plan` was not compared yet"),
            None => fault,
        })
    }

    /// Does the same for a run that was stopped during a read-only command.
    ///
    /// # Errors
    /// The fault of reading the database.
    pub(crate) async fn report_unrequested_changes(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.lock_holder.is_some()
            && let Err(fault) = self.compare_with_initial(sites, &self.reread_snapshot().await?)
        {
            self.events.emit(Event::Warning(fault));
        }
        Ok(())
    }

    /// Reports migrations that the steps before the plan have recorded: they are in no plan.
    ///
    /// # Errors
    /// `tool-unasked`, if the run has an approved plan.
    pub(crate) async fn check_early_steps(&mut self, earlier: &LedgerSnapshot) -> Result<(), Fault> {
        if let Some(holder) = &mut self.lock_holder {
            holder.find_ledgers_again().await?;
        }
        let now = self.read_initial_snapshot().await?;
        if now.rows_since(earlier).next().is_none() && earlier.rows_since(&now).next().is_none() {
            return Ok(());
        }
        let Some(fault) = contradictions::unrequested_change_fault("the steps before the plan were run", earlier, &now)
        else {
            return Ok(());
        };
        if self.settings.safety.expect_plan.is_none() {
            self.events.emit_note(fault.cause);
            return Ok(());
        }
        Err(fault.detail("this was not approved: the plan in `expect-plan` comes after these steps").fix(
            "if a step is meant to do that, make it one of `steps`; if not, check what its image does when it is \
             started",
        ))
    }
}
