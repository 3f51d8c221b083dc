//! The listing of a tool's migrations.

use super::Foreign;
use crate::{
    fault::Fault,
    run::process::ExitStatus,
    settings::{Command, Settings},
    site::{
        Said, Sites, Task, Turn,
        container_spec::{Access, Terms},
    },
    tool::{CommandLine, LedgerCount, ListThenMigrate, ListedMigration, ListingFormat, ListingOutcome, Verb},
};
use std::cell::RefCell;

/// The result of a tool's listing.
#[derive(Debug)]
pub(crate) enum Known {
    /// The listed migrations.
    Listed(Vec<ListedMigration>),
    /// The tool can't list them without a ledger.
    NoLedger,
    /// The tool can't list them.
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
    /// Runs the tool to list its migrations.
    ///
    /// # Errors
    /// The fault of a command that printed no listing.
    pub(crate) async fn list(&self, sites: &Sites<'_>) -> Result<Known, Fault> {
        let Some((listing, line)) = self.asks() else { return Ok(Known::Nothing) };
        loop {
            let said = RefCell::new(Said::of(listing));
            let task = Task { site: &self.tool.site, line: &line, terms: Terms::of(self.settings, Access::Reading) };
            let ended = sites.ended(task, Turn::Begin, &said).await?;
            let answer = match ended.status {
                ExitStatus::Exited(code) => listing.read_outcome(code, said.borrow().lines()),
                ExitStatus::Signalled(_) | ExitStatus::OutOfMemory => ListingOutcome::Failed,
            };
            match answer {
                ListingOutcome::Listed(listed) => return Ok(Known::Listed(listed)),
                ListingOutcome::NoLedger => return Ok(Known::NoLedger),
                // At most once: from then on no TLS is declined.
                ListingOutcome::Failed if sites.heeds_demand() => {}
                ListingOutcome::Failed => return Err(sites.failure(&line, ended, &said.borrow())),
            }
        }
    }

    /// Runs the tool to list its migrations and then wait for confirmation to migrate; an unknown listing if one start
    /// can't do both.
    ///
    /// # Errors
    /// The engine's own faults.
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
        self.events
            .emit_note("the tool did not ask for confirmation after its list: it is run again for the list alone");
        Ok(Known::Nothing)
    }

    /// Returns the format of the listing and its command. Without a database the listing must show what is applied, and
    /// a listing of one schema shows nothing of the others.
    pub(crate) fn asks(&self) -> Option<(&ListingFormat, CommandLine)> {
        let (recipe, status) = (&self.tool.recipe, self.line(Verb::Status)?);
        let listing = recipe.listing.as_ref()?;
        let says_all = listing.applied.is_some() && recipe.ledgers == LedgerCount::One;
        (says_all || self.settings.database.is_some()).then_some((listing, status))
    }

    /// Returns the command that lists and migrates in one start, if nothing has to come in between.
    fn together(&self) -> Option<ListThenMigrate> {
        let Settings { command, safety, steps, .. } = self.settings;
        let together = self.tool.list_then_migrate()?;
        let is_free = safety.expect_plan.is_none() && steps.steps_before_pending().next().is_none();
        let is_ours = self.tool.run.is_none() && steps.migrate.is_empty();
        (*command == Command::Migrate && is_ours && is_free).then_some(together)
    }
}
