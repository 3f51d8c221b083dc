//! What a tool says of its migrations.

use super::Foreign;
use crate::{
    fault::Fault,
    run::process::Status,
    settings::{Command, Settings},
    site::{
        Said, Sites, Task, Turn,
        container_spec::{Access, Terms},
    },
    tool::{CommandLine, LedgerCount, ListThenMigrate, ListedMigration, ListingFormat, ListingOutcome, Verb},
};
use std::cell::RefCell;

/// What a tool says.
#[derive(Debug)]
pub(crate) enum Known {
    /// These there are.
    Listed(Vec<ListedMigration>),
    /// It can't say before there is a ledger.
    NoLedger,
    /// It can't say.
    Nothing,
}

impl Known {
    pub(crate) fn listed(&self) -> &[ListedMigration] {
        match self {
            Self::Listed(listed) => listed,
            Self::NoLedger | Self::Nothing => &[],
        }
    }

    pub(crate) fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }
}

impl Foreign<'_> {
    /// What the tool itself says.
    ///
    /// # Errors
    /// The fault of a command that gave no answer.
    pub(crate) async fn list(&self, sites: &Sites<'_>) -> Result<Known, Fault> {
        let Some((listing, line)) = self.asks() else { return Ok(Known::Nothing) };
        loop {
            let said = RefCell::new(Said::of(listing));
            let task = Task { site: &self.tool.site, line: &line, terms: Terms::of(self.settings, Access::Reading) };
            let ended = sites.ended(task, Turn::Begin, &said).await?;
            let answer = match ended.status {
                Status::Exited(code) => listing.read_outcome(code, said.borrow().lines()),
                Status::Signalled(_) | Status::OutOfMemory => ListingOutcome::Failed,
            };
            match answer {
                ListingOutcome::Listed(listed) => return Ok(Known::Listed(listed)),
                ListingOutcome::NoLedger => return Ok(Known::NoLedger),
                // Once: from then on nobody's TLS is declined.
                ListingOutcome::Failed if sites.heeds_demand() => {}
                ListingOutcome::Failed => return Err(sites.failure(&line, ended, &said.borrow())),
            }
        }
    }

    /// The same by a tool that waits then to migrate; nothing where one start can't do for both.
    ///
    /// # Errors
    /// The engine's own trouble.
    pub(crate) async fn list_first(&self, sites: &Sites<'_>) -> Result<Known, Fault> {
        let (Some((listing, _)), Some(together)) = (self.asks(), self.together()) else { return Ok(Known::Nothing) };
        loop {
            let said = RefCell::new(Said::of(listing));
            if sites.ask(&self.tool.site, &together, &said).await?.is_none() {
                return Ok(Known::Listed(listing.read_migrations(said.borrow().lines())));
            }
            if !sites.heeds_demand() {
                break;
            }
        }
        self.events.note("the tool did not ask, with its list, whether to go on: it is asked for the list alone");
        Ok(Known::Nothing)
    }

    /// How it is asked, and how its answer is read. Without a database that has to say what is applied, and a list of one schema
    /// says nothing of the others.
    pub(crate) fn asks(&self) -> Option<(&ListingFormat, CommandLine)> {
        let (recipe, status) = (&self.tool.recipe, self.line(Verb::Status)?);
        let listing = recipe.listing.as_ref()?;
        let says_all = listing.applied.is_some() && recipe.ledgers == LedgerCount::One;
        (says_all || self.settings.database.is_some()).then_some((listing, status))
    }

    /// One start for list and migration, where nobody has a say in between.
    fn together(&self) -> Option<ListThenMigrate> {
        let Settings { command, safety, steps, .. } = self.settings;
        let together = self.tool.together()?;
        let is_free = safety.expect_plan.is_none() && steps.before_pending().next().is_none();
        let is_ours = self.tool.run.is_none() && steps.migrate.is_empty();
        (*command == Command::Migrate && is_ours && is_free).then_some(together)
    }
}
