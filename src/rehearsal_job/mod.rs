//! `command: rehearse`: the plan is made as ever, the schema is copied into another server, and the migrations run there.
//! In the database itself only the catalog and the ledgers are read.

mod copy;
mod copy_site;
mod rounds;
mod statements;
mod temporary_files;
mod watched_tool;

use crate::{
    executor::{Approvers, Executor, RehearsalSubject},
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    postgres::DatabasePlaceholder,
    rehearsal::schema_mark,
    run::{
        RehearsalFacts,
        event::{Event, Events},
    },
    schema::SchemaDescription,
    secret::Secret,
    settings::{ApprovedRehearsal, ExecutorSettings, RehearsalSettings, Settings, Site},
    site::Sites,
    stage::{run_stage, single_fault},
};
use copy::make_copy;
use copy_site::CopySite;
use rounds::{OriginalRun, run_rounds};
use statements::watch_statements;
use std::{sync::Arc, time::SystemTime};
use watched_tool::rehearse_tool;

/// The job.
pub(crate) struct RehearsalJob<'a> {
    settings: &'a Settings,
    rehearsal: &'a RehearsalSettings,
    runner: &'a Runner,
    events: &'a Events,
    executor: Executor<'a>,
    sites: Sites<'a>,
    copy: CopySite,
}

impl<'a> RehearsalJob<'a> {
    /// Prepares the job; uses no network yet.
    ///
    /// # Errors
    /// All faults of the migration files.
    pub(crate) async fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        events: &'a Events,
    ) -> Result<Self, Vec<Fault>> {
        let no_server = || Fault::new(Code::InputMissing, "no server for the copy is given");
        let rehearsal = settings.rehearsal.as_ref().ok_or_else(no_server).map_err(single_fault)?;
        check_tool(settings).map_err(single_fault)?;
        let executor = Executor::new(settings, runner, events, &Approvers::default()).await?;
        let sites = Sites::new(settings, runner, events).map_err(single_fault)?;
        Ok(Self { settings, rehearsal, runner, events, executor, sites, copy: CopySite::default() })
    }

    /// Makes the plan, and rehearses it.
    ///
    /// # Errors
    /// The faults that ended it.
    pub(crate) async fn run_stages(&mut self) -> Result<(), Vec<Fault>> {
        let Err(faults) = self.run_connected_stages().await else { return Ok(()) };
        Err(self.executor.with_root_cause(&self.sites, faults).await)
    }

    /// Runs the stages, whose first fault may only report the loss of a connection.
    async fn run_connected_stages(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, executor, sites, .. } = self;
        if sites.needs_engine() && is_tool(settings) {
            run_stage(events, Stage::Image, async { sites.prepare_containers().await.map_err(single_fault) }).await?;
        }
        let connecting = async { sites.open_transport().await.map_err(single_fault) };
        match settings.route {
            Some(_) => run_stage(events, Stage::Bastion, connecting).await?,
            None => connecting.await?,
        }
        run_stage(events, Stage::Database, async { executor.connect(sites).await.map_err(single_fault) }).await?;
        if is_tool(settings) {
            sites.take_server_slot().await.map_err(single_fault)?;
        }
        run_stage(events, Stage::Plan, executor.plan(sites)).await?;
        if !executor.has_work() {
            return Ok(());
        }
        let events = self.events;
        run_stage(events, Stage::Rehearse, Box::pin(self.rehearse())).await
    }

    async fn rehearse(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, rehearsal, runner, events, executor, sites, copy } = self;
        // From here on nothing leads a tool to the database itself.
        sites.close_endpoint();
        let no_plan = || Fault::new(Code::Bug, "there is no plan to rehearse");
        let subject = executor.rehearsal_subject(sites).ok_or_else(no_plan).map_err(single_fault)?;
        let schema = executor.current_schema().await.map_err(single_fault)?;
        let mut facts = RehearsalFacts::default();
        let (server, made) = make_copy((settings, rehearsal), (runner, events), &subject, (&schema, copy), &mut facts)
            .await
            .map_err(single_fault)?;
        let original = OriginalRun { settings, runner, events, sites };
        let mut ended = match subject.ledger {
            Some(_) => Box::pin(rehearse_tool(original, &subject, (server, &made), &mut facts)).await,
            None => {
                watch_statements(settings, events, &subject, (server, &made), &mut facts)
                    .await
                    .map_err(single_fault)?;
                run_rounds(original, &subject, (server, &made), None, &mut facts).await
            }
        };
        if let Err(changed) = executor.check_untouched().await {
            // A change of the database itself is graver than a failure on the copy, which stays behind it.
            ended = Err(std::iter::once(changed).chain(ended.err().unwrap_or_default()).collect());
        }
        if ended.is_ok() {
            facts.digest = digest_of(&subject, &schema, rehearsal);
        }
        events.emit(Event::Rehearsed(Arc::new(facts)));
        ended?;
        if let Err(fault) = copy.drop_copies().await {
            events.emit(Event::Warning(fault.in_stage(Stage::Rehearse)));
        }
        Ok(())
    }

    /// Stops work whose future was dropped: the copies are dropped, and the sessions with them end.
    ///
    /// # Errors
    /// The names of what is left.
    pub(crate) async fn stop(&self) -> Result<(), Fault> {
        // What runs is a command with a copy, and is stopped before that is dropped.
        let stopped = self.sites.stop_commands().await;
        stopped.and(self.copy.stop().await)
    }

    /// Drops the copies, and closes sessions and connections.
    ///
    /// # Errors
    /// The fault of the first of them that failed.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        let dropped = self.copy.close().await;
        self.executor.close().await;
        dropped.and(self.sites.close().await)
    }
}

fn is_tool(settings: &Settings) -> bool {
    matches!(settings.executor, ExecutorSettings::Tool(_))
}

/// Checks that a tool can be rehearsed: its list and its ledger are known, and it can be led to a copy.
///
/// # Errors
/// `input-invalid`.
fn check_tool(settings: &Settings) -> Result<(), Fault> {
    let ExecutorSettings::Tool(tool) = &settings.executor else { return Ok(()) };
    let recipe = &tool.recipe;
    if recipe.listing.is_none() || recipe.ledger.is_none() {
        let cause = format!(
            "`tool: {}` has no list of migrations and no ledger that are known, so nothing proves what it does on a copy",
            recipe.name
        );
        return Err(Fault::new(Code::InputInvalid, cause)
            .fix("name the tool in `tool`, or write a recipe with `listing` and `ledger`"));
    }
    let is_passed = |(_, value): &(String, Secret)| !DatabasePlaceholder::find_all(value.expose()).is_empty();
    if tool.site == Site::Server && !settings.env.iter().any(is_passed) {
        let cause =
            "the app on the server finds its database by its own settings alone, so nothing can lead it to the copy";
        let fix = "let its settings take the database from the environment before any file, and pass it in `env`, as in \
                   `env: DATABASE_URL=${DATABASE_URL}`";
        return Err(Fault::new(Code::InputInvalid, cause).fix(fix));
    }
    Ok(())
}

/// Returns the digest for `expect-rehearsal`.
fn digest_of(subject: &RehearsalSubject<'_>, schema: &SchemaDescription, rehearsal: &RehearsalSettings) -> String {
    let valid_until = (SystemTime::now() + rehearsal.max_age).into();
    let image = subject.image.map(|image| ApprovedRehearsal::image_mark(&image.id)).unwrap_or_default();
    ApprovedRehearsal { plan: subject.digest.to_owned(), schema: schema_mark(schema), image, valid_until }.to_string()
}
