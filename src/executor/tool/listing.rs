//! The listing of a tool's migrations.

use super::{
    ToolExecutor,
    listed::{CompletedVerbs, ListingWithSql, ToolListing},
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
        CommandLine, LedgerCount, ListThenMigrate, ListingFormat, ListingOutcome, ListingRequest, OutputMark, Verb,
        WantedScripts,
    },
};
use std::{cell::RefCell, collections::BTreeSet};

/// The run of a listing command.
struct ListingRun {
    outcome: ListingOutcome,
    exit: CommandExit,
    transcript: Transcript,
}

impl ToolExecutor<'_> {
    /// Runs the tool to list its migrations and, in the same start if it can, to print their SQL for a command that applies
    /// them or shows the plan for that, and to do what else the command takes.
    ///
    /// # Errors
    /// The fault of a command that printed no listing.
    pub(super) async fn list_with_sql(&self, sites: &Sites<'_>) -> Result<ListingWithSql, Fault> {
        let request = self.listing_request();
        if let Some(listed) = self.list_then_pause(sites, &request).await? {
            return Ok(listed);
        }
        if let Some(listed) = self.list_with_sql_in_one_start(sites, &request).await? {
            return Ok(listed);
        }
        let scripts = match request.scripts {
            WantedScripts::None => Ok(Vec::new()),
            WantedScripts::All => {
                let reason = self.tool.recipe.hidden_sql_reason();
                Err(reason.unwrap_or_else(|| "the tool could not be run to show it".to_owned()))
            }
        };
        let listing = self.list_migrations(sites).await?;
        Ok(ListingWithSql { listing, scripts, others: CompletedVerbs::default() })
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
        request: &ListingRequest,
    ) -> Result<Option<ListingWithSql>, Fault> {
        let (recipe, listing_command) = (&self.tool.recipe, self.listing_command());
        let wants_more = request.scripts == WantedScripts::All || !recipe.also_commands(request).is_empty();
        let (true, Some((listing, _)), Some(line)) = (wants_more, listing_command, recipe.list_with_sql(request))
        else {
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
            return Ok(Some(self.read_start(listing, request, run.transcript)));
        }
        self.events.emit_note(match request.scripts {
            WantedScripts::All => {
                "the tool did not list its migrations with their SQL: it is run again for the list alone"
            }
            WantedScripts::None => "the tool did not list its migrations: it is run again for the list alone",
        });
        Ok(None)
    }

    /// Returns the request for the start that lists, with a new mark.
    fn listing_request(&self) -> ListingRequest {
        let snapshot = &self.initial_snapshot;
        let applied = match self.tool.recipe.ledgers {
            LedgerCount::One => snapshot.recorded_names(),
            LedgerCount::EachSchema => snapshot.names_in_every_tenant(),
        };
        let also = match self.settings.command {
            Command::Plan => vec![Verb::Plan],
            Command::Verify => vec![Verb::Verify, Verb::Check],
            Command::Rollback => vec![Verb::RollbackPlan],
            _ => Vec::new(),
        };
        let scripts = if self.needs_sql() { WantedScripts::All } else { WantedScripts::None };
        let (mark, target) = (OutputMark::new(&random_token()), self.tool.target.clone());
        ListingRequest { mark, applied, scripts, also, target }
    }

    /// Reads the output of a start that lists.
    fn read_start(&self, listing: ToolListing, request: &ListingRequest, mut transcript: Transcript) -> ListingWithSql {
        let output = std::mem::take(&mut transcript.stdout);
        let Some(printed) = transcript.into_printed_sql() else {
            return ListingWithSql { listing, scripts: Ok(Vec::new()), others: CompletedVerbs::default() };
        };
        let verbs = completed_verbs(&self.tool.recipe.also_commands(request), &printed.succeeded_commands());
        let scripts = match request.scripts {
            WantedScripts::All => printed.scripts(),
            WantedScripts::None => Ok(Vec::new()),
        };
        ListingWithSql { listing, scripts, others: CompletedVerbs { verbs, output } }
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
    async fn list_then_pause(
        &self,
        sites: &Sites<'_>,
        request: &ListingRequest,
    ) -> Result<Option<ListingWithSql>, Fault> {
        let combined = self.list_then_migrate(request);
        let (Some((listing, _)), Some(list_then_migrate)) = (self.listing_command(), combined) else {
            return Ok(None);
        };
        let title = self.command_texts();
        loop {
            let transcript = RefCell::new(Transcript::for_listing(listing).and_for_sql(&request.mark));
            if sites.list_then_pause(&self.tool.site, (&list_then_migrate, &title), &transcript).await?.is_none() {
                let transcript = transcript.into_inner();
                let listing = ToolListing::Listed(listing.read_migrations(transcript.lines()));
                return Ok(Some(self.read_start(listing, request, transcript)));
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

    /// Returns the command that lists and does the work in one start, if no other command has to come in between: the tool
    /// would wait for it, with its sessions open, for as long as that takes. An approved plan is compared while it waits.
    fn list_then_migrate(&self, request: &ListingRequest) -> Option<ListThenMigrate> {
        let Settings { command, steps, backup, .. } = self.settings;
        let is_free = steps.steps_before_pending().next().is_none() && backup.is_none();
        let verb = match command {
            Command::Migrate if self.tool.run.is_none() && steps.migrate.is_empty() => Verb::Migrate,
            Command::Rollback => Verb::Rollback,
            _ => return None,
        };
        if is_free { self.tool.list_then_migrate(request, verb) } else { None }
    }
}

/// Returns the verbs all of whose commands have succeeded.
fn completed_verbs(commands: &[(Verb, CommandLine)], succeeded: &BTreeSet<usize>) -> BTreeSet<Verb> {
    let failed = commands.iter().enumerate().filter(|(index, _)| !succeeded.contains(index)).map(|(_, (verb, _))| verb);
    let failed: BTreeSet<&Verb> = failed.collect();
    commands.iter().map(|(verb, _)| verb).filter(|verb| !failed.contains(verb)).copied().collect()
}
