//! The listing of a tool's migrations.

use super::{ToolExecutor, listed::ToolListing};
use crate::{
    fault::Fault,
    run::process::ExitStatus,
    settings::{Command, Settings},
    site::{
        CommandPurpose, RunMode, SiteCommand, Sites, Transcript,
        container_spec::{SessionAccess, SessionTerms},
    },
    tool::{CommandLine, LedgerCount, ListThenMigrate, ListingFormat, ListingOutcome, Verb},
};
use std::cell::RefCell;

impl ToolExecutor<'_> {
    /// Runs the tool to list its migrations.
    ///
    /// # Errors
    /// The fault of a command that printed no listing.
    pub(crate) async fn list_migrations(&self, sites: &Sites<'_>) -> Result<ToolListing, Fault> {
        let Some((listing, line)) = self.listing_command() else { return Ok(ToolListing::Unknown) };
        loop {
            let transcript = RefCell::new(Transcript::for_listing(listing));
            let task = SiteCommand {
                site: &self.tool.site,
                command: &line,
                purpose: CommandPurpose::Assist,
                terms: SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly),
            };
            let ended = sites.run_to_exit(task, RunMode::Start, &transcript).await?;
            let outcome = match ended.status {
                ExitStatus::Exited(code) => listing.read_outcome(code, transcript.borrow().lines()),
                ExitStatus::Signalled(_) | ExitStatus::OutOfMemory => ListingOutcome::Failed,
            };
            match outcome {
                ListingOutcome::Listed(listed) => return Ok(ToolListing::Listed(listed)),
                ListingOutcome::NoLedger => return Ok(ToolListing::NoLedger),
                // At most once: from then on no TLS is declined.
                ListingOutcome::Failed if sites.pass_tls_if_demanded() => {}
                ListingOutcome::Failed => return Err(sites.exit_fault(&line, ended, &transcript.borrow())),
            }
        }
    }

    /// Runs the tool to list its migrations and then wait for confirmation to migrate; an unknown listing if one start
    /// can't do both.
    ///
    /// # Errors
    /// The engine's own faults.
    pub(crate) async fn list_then_pause(&self, sites: &Sites<'_>) -> Result<ToolListing, Fault> {
        let (Some((listing, _)), Some(list_then_migrate)) = (self.listing_command(), self.list_then_migrate()) else {
            return Ok(ToolListing::Unknown);
        };
        loop {
            let transcript = RefCell::new(Transcript::for_listing(listing));
            if sites.list_then_pause(&self.tool.site, &list_then_migrate, &transcript).await?.is_none() {
                return Ok(ToolListing::Listed(listing.read_migrations(transcript.borrow().lines())));
            }
            if !sites.pass_tls_if_demanded() {
                break;
            }
        }
        self.events
            .emit_note("the tool did not ask for confirmation after its list: it is run again for the list alone");
        Ok(ToolListing::Unknown)
    }

    /// Returns the format of the listing and its command. Without a database the listing must show what is applied, and
    /// a listing of one schema shows nothing of the others.
    pub(crate) fn listing_command(&self) -> Option<(&ListingFormat, CommandLine)> {
        let (recipe, status) = (&self.tool.recipe, self.command_for(Verb::Status)?);
        let listing = recipe.listing.as_ref()?;
        let shows_applied = listing.applied.is_some() && recipe.ledgers == LedgerCount::One;
        (shows_applied || self.settings.database.is_some()).then_some((listing, status))
    }

    /// Returns the command that lists and migrates in one start, if nothing has to come in between.
    fn list_then_migrate(&self) -> Option<ListThenMigrate> {
        let Settings { command, safety, steps, .. } = self.settings;
        let combined = self.tool.list_then_migrate()?;
        let is_free = safety.expect_plan.is_none() && steps.steps_before_pending().next().is_none();
        let is_ours = self.tool.run.is_none() && steps.migrate.is_empty();
        (*command == Command::Migrate && is_ours && is_free).then_some(combined)
    }
}
