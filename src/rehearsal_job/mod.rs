//! `command: rehearse`: the plan is made as ever, the schema is copied into another server, and the migrations run there.
//! In the database itself only the catalog and the ledgers are read.

mod copy;
mod copy_site;
mod rounds;
mod statements;

use crate::{
    executor::{Approvers, Executor, RehearsalSubject},
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    rehearsal::schema_mark,
    run::{
        RehearsalFacts,
        event::{Event, Events},
    },
    schema::SchemaDescription,
    settings::{ApprovedRehearsal, RehearsalSettings, Settings},
    site::Sites,
    stage::{run_stage, single_fault},
};
use copy::make_copy;
use copy_site::CopySite;
use rounds::run_rounds;
use statements::watch_statements;
use std::{sync::Arc, time::SystemTime};

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
        let executor = Executor::new(settings, runner, events, &Approvers::default()).await?;
        let sites = Sites::new(settings, runner, events).map_err(single_fault)?;
        Ok(Self { settings, rehearsal, runner, events, executor, sites, copy: CopySite::default() })
    }

    /// Makes the plan, and rehearses it.
    ///
    /// # Errors
    /// The faults that ended it.
    pub(crate) async fn run_stages(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, executor, sites, .. } = self;
        let connecting = async { sites.open_transport().await.map_err(single_fault) };
        match settings.route {
            Some(_) => run_stage(events, Stage::Bastion, connecting).await?,
            None => connecting.await?,
        }
        run_stage(events, Stage::Database, async { executor.connect(sites).await.map_err(single_fault) }).await?;
        run_stage(events, Stage::Plan, executor.plan(sites)).await?;
        if !executor.has_work() {
            return Ok(());
        }
        let events = self.events;
        run_stage(events, Stage::Rehearse, Box::pin(self.rehearse())).await
    }

    async fn rehearse(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, rehearsal, runner, events, executor, copy, .. } = self;
        let no_plan = || Fault::new(Code::Bug, "there is no plan to rehearse");
        let subject = executor.rehearsal_subject().ok_or_else(no_plan).map_err(single_fault)?;
        let schema = executor.current_schema().await.map_err(single_fault)?;
        let mut facts = RehearsalFacts::default();
        let (server, made) = make_copy((settings, rehearsal), (runner, events), &subject, (&schema, copy), &mut facts)
            .await
            .map_err(single_fault)?;
        watch_statements(settings, events, &subject, (server, &made), &mut facts).await.map_err(single_fault)?;
        let ended = run_rounds((settings, runner), events, &subject, &made, &mut facts).await;
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
        self.copy.stop().await
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

/// Returns the digest for `expect-rehearsal`.
fn digest_of(subject: &RehearsalSubject<'_>, schema: &SchemaDescription, rehearsal: &RehearsalSettings) -> String {
    let valid_until = (SystemTime::now() + rehearsal.max_age).into();
    ApprovedRehearsal { plan: subject.digest.to_owned(), schema: schema_mark(schema), valid_until }.to_string()
}
