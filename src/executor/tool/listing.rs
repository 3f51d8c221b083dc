//! The listing of a tool's migrations.

use super::{
    ToolExecutor,
    listed::{ListingWithSql, ToolListing},
};
use crate::{
    fault::Fault,
    random::random_token,
    run::process::ExitStatus,
    settings::{Command, Settings},
    site::{
        CommandExit, CommandPurpose, RunMode, SiteCommand, Sites, Transcript,
        container_spec::{SessionAccess, SessionTerms},
    },
    tool::{
        CommandLine, LedgerCount, ListThenMigrate, ListingFormat, ListingOutcome, OutputMark, PrintedScript,
        SqlRequest, Verb,
    },
};
use std::cell::RefCell;

/// The run of a listing command.
struct ListingRun {
    outcome: ListingOutcome,
    exit: CommandExit,
    transcript: Transcript,
}

impl ToolExecutor<'_> {
    /// Runs the tool to list its migrations and, for a command that applies them or shows the plan for that, to print
    /// their SQL: in one start, if it can.
    ///
    /// # Errors
    /// The fault of a command that printed no listing.
    pub(super) async fn list_with_sql(&self, sites: &Sites<'_>) -> Result<ListingWithSql, Fault> {
        if !self.needs_sql() {
            let listing = self.list_migrations(sites).await?;
            return Ok(ListingWithSql { listing, scripts: Ok(Vec::new()) });
        }
        let request = self.sql_request();
        if let Some(listed) = self.list_then_pause(sites, &request).await? {
            return Ok(listed);
        }
        if let Some(listed) = self.list_with_sql_in_one_start(sites, &request).await? {
            return Ok(listed);
        }
        let reason = self.tool.recipe.hidden_sql_reason();
        let reason = reason.unwrap_or_else(|| "the tool could not be run to show it".to_owned());
        Ok(ListingWithSql { listing: self.list_migrations(sites).await?, scripts: Err(reason) })
    }

    /// Returns whether the plan is one to apply migrations, for which their SQL is shown and approved.
    pub(super) fn needs_sql(&self) -> bool {
        matches!(self.settings.command, Command::Plan | Command::Migrate | Command::Rehearse)
    }

    /// Runs the recipe's command for both. Returns nothing if there is none, or if it failed: the command for the list
    /// alone explains a failure better, and may succeed.
    async fn list_with_sql_in_one_start(
        &self,
        sites: &Sites<'_>,
        request: &SqlRequest,
    ) -> Result<Option<ListingWithSql>, Fault> {
        let (recipe, listing_command) = (&self.tool.recipe, self.listing_command());
        let (Some((listing, _)), Some(line)) = (listing_command, recipe.list_with_sql(request)) else {
            return Ok(None);
        };
        let line = self.tool.with_prefix(line);
        loop {
            let transcript = Transcript::for_listing(listing).and_for_sql(&request.mark);
            let run = self.run_listing(sites, &line, transcript).await?;
            let listing = match run.outcome {
                ListingOutcome::Listed(listed) if !listed.is_empty() || !recipe.lists_all() => {
                    ToolListing::Listed(listed)
                }
                ListingOutcome::NoLedger => ToolListing::NoLedger,
                // At most once: from then on no TLS is declined.
                ListingOutcome::Failed if sites.pass_tls_if_demanded() => continue,
                ListingOutcome::Listed(_) | ListingOutcome::Failed => break,
            };
            return Ok(Some(ListingWithSql { listing, scripts: printed_scripts(run.transcript) }));
        }
        self.events
            .emit_note("the tool did not list its migrations with their SQL: it is run again for the list alone");
        Ok(None)
    }

    /// Returns a request with a new mark.
    fn sql_request(&self) -> SqlRequest {
        let snapshot = &self.initial_snapshot;
        let applied = match self.tool.recipe.ledgers {
            LedgerCount::One => snapshot.recorded_names(),
            LedgerCount::EachSchema => snapshot.names_in_every_tenant(),
        };
        SqlRequest { mark: OutputMark::new(&random_token()), applied }
    }

    async fn run_listing(
        &self,
        sites: &Sites<'_>,
        line: &CommandLine,
        transcript: Transcript,
    ) -> Result<ListingRun, Fault> {
        let transcript = RefCell::new(transcript);
        let task = SiteCommand {
            site: &self.tool.site,
            command: line,
            purpose: CommandPurpose::Assist,
            terms: SessionTerms::with_user_lock_timeout(self.settings, SessionAccess::ReadOnly),
        };
        let exit = sites.run_to_exit(task, RunMode::Start, &transcript).await?;
        let transcript = transcript.into_inner();
        let listing = self.tool.recipe.listing.as_ref();
        let outcome = match (exit.status, listing) {
            (ExitStatus::Exited(code), Some(listing)) => listing.read_outcome(code, transcript.lines()),
            _ => ListingOutcome::Failed,
        };
        Ok(ListingRun { outcome, exit, transcript })
    }

    /// Runs the tool to list its migrations.
    ///
    /// # Errors
    /// The fault of a command that printed no listing.
    pub(crate) async fn list_migrations(&self, sites: &Sites<'_>) -> Result<ToolListing, Fault> {
        let Some((listing, line)) = self.listing_command() else { return Ok(ToolListing::Unknown) };
        loop {
            let run = self.run_listing(sites, &line, Transcript::for_listing(listing)).await?;
            match run.outcome {
                ListingOutcome::Listed(listed) => return Ok(ToolListing::Listed(listed)),
                ListingOutcome::NoLedger => return Ok(ToolListing::NoLedger),
                // At most once: from then on no TLS is declined.
                ListingOutcome::Failed if sites.pass_tls_if_demanded() => {}
                ListingOutcome::Failed => return Err(sites.exit_fault(&line, run.exit, &run.transcript)),
            }
        }
    }

    /// Runs the tool to list its migrations, print their SQL and then wait for confirmation to migrate; nothing if one
    /// start can't do both.
    async fn list_then_pause(&self, sites: &Sites<'_>, request: &SqlRequest) -> Result<Option<ListingWithSql>, Fault> {
        let combined = self.list_then_migrate(request);
        let (Some((listing, _)), Some(list_then_migrate)) = (self.listing_command(), combined) else {
            return Ok(None);
        };
        loop {
            let transcript = RefCell::new(Transcript::for_listing(listing).and_for_sql(&request.mark));
            if sites.list_then_pause(&self.tool.site, &list_then_migrate, &transcript).await?.is_none() {
                let transcript = transcript.into_inner();
                let listing = ToolListing::Listed(listing.read_migrations(transcript.lines()));
                return Ok(Some(ListingWithSql { listing, scripts: printed_scripts(transcript) }));
            }
            if !sites.pass_tls_if_demanded() {
                break;
            }
        }
        self.events
            .emit_note("the tool did not ask for confirmation after its list: it is run again for the list alone");
        Ok(None)
    }

    /// Returns the recipe's command for this verb, with the configured prefix.
    pub(super) fn command_for(&self, verb: Verb) -> Option<CommandLine> {
        Some(self.tool.with_prefix(self.tool.recipe.single_command(verb)?))
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
    fn list_then_migrate(&self, request: &SqlRequest) -> Option<ListThenMigrate> {
        let Settings { command, safety, steps, backup, .. } = self.settings;
        let combined = self.tool.list_then_migrate(request)?;
        let is_free = safety.expect_plan.is_none() && steps.steps_before_pending().next().is_none() && backup.is_none();
        let is_ours = self.tool.run.is_none() && steps.migrate.is_empty();
        (*command == Command::Migrate && is_ours && is_free).then_some(combined)
    }
}

/// Returns the SQL that a command printed, or the reason why there is none.
fn printed_scripts(transcript: Transcript) -> Result<Vec<PrintedScript>, String> {
    transcript.into_printed_sql().map_or_else(|| Ok(Vec::new()), |printed| printed.scripts())
}
