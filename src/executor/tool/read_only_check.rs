//! A tool that is only asked changes nothing: its sessions can only read, and since whatever stands in front of it (an entrypoint
//! that migrates, for one) may see to it that they can, the database is read before and again.

use super::{Foreign, Reached, contradictions, snapshot::Witness};
use crate::{
    fault::Fault,
    postgres::wait::answer_within,
    run::event::{Changes, Coverage, Event},
    site::Sites,
};

impl Foreign<'_> {
    /// The database before anybody else had it; nothing where none is given.
    ///
    /// # Errors
    /// Why it can't be read.
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

    /// Reads the database again after the tool was asked.
    ///
    /// # Errors
    /// `tool-unasked`, once what was changed is told; why the database can't be read.
    pub(crate) async fn unchanged(&mut self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.reached == Reached::NotYet || self.keeper.session().is_none() {
            return Ok(());
        }
        let lost = match self.settled(sites).await {
            // One that does not wait for our word goes on until it is ended, and what it does until then is told, too.
            Ok(now) if now != self.read && sites.is_waited_for() => {
                sites.end().await?;
                return self.compared(sites, &self.settled(sites).await?);
            }
            Ok(now) => return self.compared(sites, &now),
            Err(lost) if lost.code.ends_session() => lost,
            Err(fault) => return Err(fault),
        };
        // The run lock went with the session, by whose doing ever.
        sites.end().await?;
        let Ok(()) = self.keeper.again(sites.reach()?).await else { return Err(lost) };
        self.compared(sites, &self.settled(sites).await?)?;
        Err(lost.detail("so it was while the tool was only asked; the ledger and the schema are as they were"))
    }

    /// The database once nothing of the tool changes it any more, unless that waits for our word: its sessions outlive its container
    /// for a moment.
    async fn settled(&self, sites: &Sites<'_>) -> Result<Witness, Fault> {
        if !sites.is_waited_for() {
            self.keeper.end_backends(sites.pids()).await?;
        }
        self.read_again().await
    }

    /// Tells whether the database is as it was before the tool was asked, and if not what is in it now.
    fn compared(&self, sites: &Sites<'_>, now: &Witness) -> Result<(), Fault> {
        let place = match sites.image(&self.tool.site) {
            Some(image) => format!("the image `{}`", image.reference),
            None => "the tool".to_owned(),
        };
        let Some(fault) =
            contradictions::unasked(&format!("{place} was only asked what there is to do"), &self.read, now)
        else {
            self.events.tell(Event::Compared(Changes::None));
            return Ok(());
        };
        self.events.tell(Event::Compared(Changes::Some));
        if self.coverage.is_none() {
            self.events.tell(Event::Planned(self.facts(sites, Coverage::Unknown)));
        }
        self.tell_applied(&now.clone().meant(self.tool.recipe.keeps, self.known.listed()));
        Err(match self.settings.safety.expect_plan {
            Some(_) => fault.detail("nobody has approved that: `expect-plan` names a plan that was not looked at yet"),
            None => fault,
        })
    }

    /// The same for a run that was stopped while the tool was asked.
    ///
    /// # Errors
    /// Why the database can't be read.
    pub(crate) async fn tell_unasked(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        if self.keeper.session().is_some()
            && let Err(unasked) = self.compared(sites, &self.read_again().await?)
        {
            self.events.tell(Event::Warning(unasked));
        }
        Ok(())
    }

    /// What steps that come before the plan have recorded is told: nobody has planned it.
    ///
    /// # Errors
    /// `tool-unasked`, if there is a plan that was approved.
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
            self.events.note(fault.cause);
            return Ok(());
        }
        Err(fault.detail("nobody has approved that: `expect-plan` names a plan that comes after them").fix(
            "if a step is meant to do that, make it one of `steps`; if not, see what its image does when it is started",
        ))
    }
}
