//! `command: doctor`: checks everything that a migration needs, and changes nothing. A failed check ends only those that
//! need its object; all others are made, within a fixed time.
//!
//! Each area has a file: `files`, `github`, `route`, `database` with `health` and `ledger`, `image`, `server`, `plan`. The
//! judgements are pure functions of facts, and the faults are those that a migration would meet.

mod behind_route;
mod database;
mod database_examination;
mod end_of_life;
mod files;
mod github;
mod health;
mod image;
mod ledger;
mod plan;
mod route;
mod server;
mod wording;

use crate::{
    fault::Fault,
    github::runner::Runner,
    run::{
        Check, DoctorFinding,
        event::{Event, Events},
    },
    settings::{ExecutorSettings, ReportSettings, Settings},
    site::Sites,
};
use behind_route::{BehindRoute, PREPARATION_LIMIT, examine_behind_route};
use database_examination::{DatabaseExaminer, ExaminedDatabase};
use files::ReadFiles;
use futures_util::future::{OptionFuture, join3};
use image::ExaminedImages;
use ledger::LedgerExpectation;
use plan::Planner;
use std::{rc::Rc, time::Duration};
use tokio::time::Instant;

/// Time limit for the plan, in which a tool may have to start. With the time to stop it, all checks take less than 10 s.
const PLAN_LIMIT: Duration = Duration::from_secs(8);

/// The job.
pub(crate) struct DoctorJob<'a> {
    settings: &'a Settings,
    github: &'a ReportSettings,
    runner: &'a Runner,
    events: &'a Events,
    sites: Sites<'a>,
    planner: Planner<'a>,
}

impl<'a> DoctorJob<'a> {
    /// Prepares the job; uses no network yet.
    ///
    /// # Errors
    /// A fault of the random number generator.
    pub(crate) fn new(
        settings: &'a Settings,
        github: &'a ReportSettings,
        runner: &'a Runner,
        events: &'a Events,
    ) -> Result<Self, Fault> {
        let (planner, sites) = Planner::new(settings, runner, events)?;
        Ok(Self { settings, github, runner, events, sites, planner })
    }

    /// Makes all checks and reports their findings, in the order of the areas.
    pub(crate) async fn run(&mut self) {
        let Self { settings, github, runner, events, sites, planner } = self;
        let files = files::read_files(settings).await;
        let begin = Instant::now();
        let expectation = LedgerExpectation::new(settings, files.migrations.as_ref());
        let examiner = settings.database.as_ref().map(|target| DatabaseExaminer {
            target,
            runner,
            events,
            ledger: expectation,
            deadline: begin + PREPARATION_LIMIT,
        });
        let (containers, server) = sites.parts();
        let images: OptionFuture<_> = containers
            .map(|containers| image::examine_images(containers, settings.images(), begin + PREPARATION_LIMIT))
            .into();
        let behind = examine_behind_route(settings, examiner, server, (events, begin));
        let on_github = github::examine_github(github, settings.environment.as_deref(), runner);
        let (images, behind, on_github) = join3(Box::pin(images), Box::pin(behind), Box::pin(on_github)).await;
        let database = judge_examined(settings, behind.database.as_ref(), &expectation);
        let missing = missing_for_plan(settings, &files, &behind, images.as_ref());
        sites.transport = behind.transport.map(Rc::new);
        let plan = match missing {
            Some(missing) => vec![DoctorFinding::not_checked(planner.check(), missing)],
            None => planner.examine(sites, begin + PLAN_LIMIT, &files.findings).await,
        };
        let images = images.map(|images| images.findings).unwrap_or_default();
        let all = [files.findings, on_github, behind.findings, database, images, behind.server, plan];
        let mut all = all.concat();
        all.sort_by_key(|finding| finding.check.area());
        all.into_iter().for_each(|finding| events.emit(Event::Examined(finding)));
    }

    /// Stops work whose future was dropped.
    ///
    /// # Errors
    /// The reason why it may still be running.
    pub(crate) async fn stop(&self) -> Result<(), Fault> {
        self.planner.stop_work(&self.sites).await
    }

    /// Closes sessions and connections, and removes containers.
    ///
    /// # Errors
    /// The fault of the first of them that failed.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        self.planner.close().await;
        self.sites.close().await
    }
}

fn judge_examined(
    settings: &Settings,
    examined: Option<&ExaminedDatabase>,
    expectation: &LedgerExpectation<'_>,
) -> Vec<DoctorFinding> {
    match (&settings.database, examined) {
        (Some(target), Some(examined)) => database::judge_database(settings, target, examined, expectation),
        (Some(_), None) => vec![DoctorFinding::not_checked(Check::Session, "it needs the connection to the bastion")],
        (None, _) => Vec::new(),
    }
}

/// Returns what is missing for a plan; `None` if it can be made.
fn missing_for_plan(
    settings: &Settings,
    files: &ReadFiles,
    behind: &BehindRoute,
    images: Option<&ExaminedImages>,
) -> Option<&'static str> {
    let has_session = behind.database.as_ref().is_some_and(|examined| examined.session.is_ok());
    let is_failed = |finding: &DoctorFinding| finding.fault().is_some();
    match settings.executor {
        _ if settings.database.is_some() && !has_session => Some("it needs a session with the database"),
        ExecutorSettings::Sql => files.migrations.is_none().then_some("it needs the migration files"),
        ExecutorSettings::Tool(_) => images.and_then(|images| images.missing).or_else(|| {
            let lacks = behind.transport.is_none() || behind.server.iter().any(is_failed);
            lacks.then_some("it needs what the server lacks")
        }),
    }
}
