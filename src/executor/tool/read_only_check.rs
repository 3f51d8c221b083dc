//! The check that a read-only command of the tool changes nothing: its sessions can only read, but a wrapper around it,
//! such as an entrypoint that migrates, may lift that; so the database is read before and after.

use super::{Foreign, Reached, contradictions, snapshot::Witness};
use crate::{
    fault::Fault,
    postgres::wait::answer_within,
    run::event::{Coverage, Event, ReadOnlyResult},
    site::Sites,
};

impl Foreign<'_> {
    /// Reads the database before any other program uses it; empty if none is given.
    ///
    /// # Errors
    /// The fault of reading it.
    pub(crate) async fn read_before(&self) -> Result<Witness, Fault> {
        match self.keeper.session() {
            Some(session) => {
                let read = Witness::of(session, self.keeper.run_lock(), &self.keeper.found, &self.tool.recipe);
                answer_within(self.settings.wait_timeout, read).await
            }
            None => Ok(Witness::default()),
        }
    }

    async fn read_again(&self) -> Result<Witness, Fault> {
        match self.keeper.session() {
            Some(session) => {
                let read = Witness::again(session, self.keeper.run_lock(), &self.tool.recipe);
                answer_within(self.settings.wait_timeout, read).await
            }
            None => Ok(Witness::default()),
        }
    }

    /// Reads the database again after a read-only command.
    ///
    /// # Errors
    /// `tool-unasked`, after the changes are reported; the fault of reading the database.
    pub(crate) async fn unchanged(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.reached == Reached::NotYet || self.keeper.session().is_none() {
            return Ok(());
        }
        let lost = match self.settled(sites).await {
            // A tool that does not wait for confirmation runs on until it is ended; what it does until then is
            // reported, too.
            Ok(now) if now != self.read && sites.is_waited_for() => {
                sites.end().await?;
                return self.compared(sites, &self.settled(sites).await?);
            }
            Ok(now) => return self.compared(sites, &now),
            Err(lost) if lost.code.ends_session() => lost,
            Err(fault) => return Err(fault),
        };
        // The run lock was lost with the session, whatever the cause.
        sites.end().await?;
        let Ok(()) = self.keeper.again(sites.reach()?).await else { return Err(lost) };
        self.compared(sites, &self.settled(sites).await?)?;
        Err(lost
            .detail("this happened during a read-only command of the tool; the ledger and the schema are unchanged"))
    }

    /// Reads the database after the tool's sessions have ended, as they outlive its container for a moment; a paused
    /// tool keeps its sessions.
    async fn settled(&self, sites: &Sites<'_>) -> Result<Witness, Fault> {
        if !sites.is_waited_for() {
            self.keeper.end_backends(sites.pids()).await?;
        }
        self.read_again().await
    }

    /// Reports whether the database is unchanged since before the tool was run, and if not, its current state.
    fn compared(&self, sites: &Sites<'_>, now: &Witness) -> Result<(), Fault> {
        let place = match sites.image(&self.tool.site) {
            Some(image) => format!("the image `{}`", image.reference),
            None => "the tool".to_owned(),
        };
        let Some(fault) =
            contradictions::unasked(&format!("{place} was only asked what there is to do"), &self.read, now)
        else {
            self.events.emit(Event::ReadOnlyChecked(ReadOnlyResult::Unchanged));
            return Ok(());
        };
        self.events.emit(Event::ReadOnlyChecked(ReadOnlyResult::Changed));
        if self.coverage.is_none() {
            self.events.emit(Event::Planned(self.facts(sites, Coverage::Unknown)));
        }
        self.tell_applied(&now.clone().meant(self.tool.recipe.keeps, self.known.listed()));
        Err(match self.settings.safety.expect_plan {
            Some(_) => fault.detail("this was not approved: the plan in `expect-plan` was not compared yet"),
            None => fault,
        })
    }

    /// Does the same for a run that was stopped during a read-only command.
    ///
    /// # Errors
    /// The fault of reading the database.
    pub(crate) async fn tell_unasked(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.keeper.session().is_some()
            && let Err(unasked) = self.compared(sites, &self.read_again().await?)
        {
            self.events.emit(Event::Warning(unasked));
        }
        Ok(())
    }

    /// Reports migrations that the steps before the plan have recorded: they are in no plan.
    ///
    /// # Errors
    /// `tool-unasked`, if the run has an approved plan.
    pub(crate) async fn after_steps(&mut self, earlier: &Witness) -> Result<(), Fault> {
        self.keeper.find_again().await?;
        let now = self.read_before().await?;
        if now.rows_since(earlier).next().is_none() && earlier.rows_since(&now).next().is_none() {
            return Ok(());
        }
        let Some(fault) = contradictions::unasked("the steps before the plan were run", earlier, &now) else {
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
