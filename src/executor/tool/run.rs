//! A tool's migration: guarded while it runs, read from the ledger however it ended, and stopped.

use super::{Foreign, Reached, contradictions, listing::Known, plan, snapshot::Witness, tenants};
use crate::{
    executor::{invalid_index, step},
    fault::{Code, Fault, Stage},
    ledger::known_tools::ToolMigration,
    run::event::{Event, MigrationId, Phase},
    settings::{Command, Site},
    site::Sites,
    tool::LedgerCount,
    transport::Transport,
};
use futures_util::future::join;
use std::time::Duration;
use tokio::time::timeout;

/// For reading what was done, in the time that is left after a stop.
const LAST_LOOK: Duration = Duration::from_millis(1_500);

/// For what is only told beside the verdict: both and the grace are less than a stop may take.
const ASIDE: Duration = Duration::from_millis(700);

impl Foreign<'_> {
    /// Lets the tool migrate, and reads from the ledger what it did, however it ended.
    ///
    /// # Errors
    /// Why it failed; what was applied before is told by events.
    pub async fn migrate(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        self.reached = Reached::Working;
        sites.nothing_begun();
        let steps = std::mem::take(&mut self.steps);
        let turns = self.turns();
        let done = step::run(sites, &mut self.keeper, (Phase::Migrate, &steps), turns);
        let mut failed = done.await.err();
        self.steps = steps;
        if let Some(way) = sites.settings_way(&self.tool.site, &self.commands()) {
            self.events.tell(Event::Settings { way });
        }
        if sites.is_given_up() {
            // What the ledger says now may be another thing when the work has ended.
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
                let cause = format!("what the tool did can't be read from the database: {}", why.cause);
                let doubt = Fault::new(Code::CommitInDoubt, cause);
                failed = Some(match failed {
                    Some(first) => first.detail(doubt.cause),
                    None => doubt,
                });
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Tells which indexes were left INVALID by work that has not ended well; of work that has, the proof tells it.
    fn tell_leftovers(&self, after: &Witness) {
        for index in after.invalid_since(&self.before) {
            self.events.tell(Event::Warning(invalid_index::left(index).at(Stage::Migrate)));
        }
    }

    /// Tells which migration failed, as far as it can be known, and which tenants were not reached.
    fn stopped(&self, sites: &Sites<'_>, after: &Witness, fault: Fault) -> Fault {
        let is_done = |id: &MigrationId| self.is_done(id, after);
        let failed = tenants::stopped_at(&self.pending, sites.begun().as_ref(), is_done);
        if let Some(id) = failed {
            self.events.tell(Event::Failed { index: id.index });
        }
        match tenants::told(&self.pending, failed, is_done) {
            Some(tenants) => fault.detail(tenants),
            None => fault,
        }
    }

    /// A tool that could not list before there was a ledger has one now, and everything in the list has to be in it.
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

    /// The database after the work; over a new session if ours was lost meanwhile.
    async fn look_again(&mut self, sites: &mut Sites<'_>) -> Result<Witness, Fault> {
        let looked = self.look_now(sites).await;
        let Err(lost) = looked else { return looked };
        if !lost.code.ends_session() && lost.code != Code::BastionLost {
            return Err(lost);
        }
        self.events.tell(Event::Waiting {
            what: "the database, to see what the tool did".to_owned(),
            why: lost.cause.clone(),
        });
        if sites.is_lost() {
            match self.tool.site {
                Site::Server => sites.again(&lost).await?,
                Site::Image(_) => sites.connect().await?,
            }
        }
        // What we did not hear the end of must not change any more what is read now.
        sites.end().await?;
        self.keeper.again(sites.reach()?).await?;
        // Nothing of the tool's runs any more; its sessions may not know yet.
        self.keeper.end_backends(sites.pids()).await?;
        self.look_now(sites).await
    }

    /// What the ledger has now and had not, or the other way round.
    pub(crate) fn tell_applied(&self, after: &Witness) {
        let (from, to) = match self.settings.command {
            Command::Rollback => (after, &self.before),
            _ => (&self.before, after),
        };
        let told = |index, took| match self.settings.command {
            Command::Rollback => Event::RolledBack { index },
            _ => Event::Recorded { index, took },
        };
        // To record is not to do.
        let took = |id: &MigrationId| after.took(id).filter(|_| self.settings.command == Command::Migrate);
        self.place(after);
        for id in self.pending.iter().filter(|id| self.is_done(id, after)) {
            self.events.tell(told(id.index, took(id)));
        }
        let unlisted = to.rows_since(from).filter(|row| !self.is_pending(row, after));
        for (index, row) in (self.pending.len() + 1..).zip(unlisted) {
            let schema =
                if self.tool.recipe.ledgers == LedgerCount::EachSchema { row.schema.clone() } else { String::new() };
            let id = MigrationId { index, ..MigrationId::of_tool(row.name.clone(), schema) };
            let took = took(&id);
            self.events.tell(Event::Found(id));
            self.events.tell(told(index, took));
        }
        let added = after.schema_since(&self.before);
        if !added.is_empty() {
            self.events.tell(Event::Schema { added });
        }
    }

    /// Tells into which schema belongs what was planned before there was any ledger: the first, as in [`Self::is_pending`].
    fn place(&self, after: &Witness) {
        let schemas = after.schemas();
        let (LedgerCount::EachSchema, Some(first)) = (self.tool.recipe.ledgers, schemas.first()) else { return };
        for id in self.pending.iter().filter(|id| id.schema.is_empty()) {
            self.events.tell(Event::Placed { index: id.index, schema: (*first).to_owned() });
        }
    }

    /// Of a plan that was made before there was any ledger, the first schema's is meant.
    pub(crate) fn is_pending(&self, row: &ToolMigration, after: &Witness) -> bool {
        let first = match self.tool.recipe.ledgers {
            LedgerCount::EachSchema => after.schemas().first().copied() == Some(row.schema.as_str()),
            LedgerCount::One => true,
        };
        let is_it =
            |id: &MigrationId| id.name == row.name && (id.schema == row.schema || (id.schema.is_empty() && first));
        self.pending.iter().any(is_it)
    }

    /// Stops the work whose future was dropped: the command, and what its backends still do; then reads what was applied.
    ///
    /// # Errors
    /// Why nobody knows what became of the work.
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
            // A listing that is not done in time must not stay behind.
            sites.end().await?;
            return Err(Fault::new(Code::CommitInDoubt, "the tool did not say in time what it has done"));
        };
        if let Some(after) = looked? {
            self.tell_applied(&after);
            self.tell_leftovers(&after);
            // What is told beside the verdict must not keep it waiting.
            drop(timeout(ASIDE, self.tell_unrecorded(sites, &after)).await);
        }
        Ok(())
    }

    /// Tells of migrations whose fate nobody could find out. Before the tool was let at the database there are none.
    pub fn give_up(&self) {
        for id in self.pending.iter().filter(|_| self.reached == Reached::Working && self.after.is_none()) {
            self.events.tell(Event::InDoubt { index: id.index });
        }
    }

    /// What ended the connection, if that is what the first fault complains of.
    #[must_use]
    pub fn first_cause(&self, sites: &Sites<'_>, mut faults: Vec<Fault>) -> Vec<Fault> {
        if let Some(first) = faults.first_mut()
            && (first.code.ends_session() || matches!(first.code, Code::DatabaseUnready | Code::ToolFailed))
            && let Some(cause) = sites.reach().ok().and_then(Transport::loss_fault)
        {
            *first = cause.at(first.stage).detail(format!("so: {}", first.cause));
        }
        faults
    }
}
