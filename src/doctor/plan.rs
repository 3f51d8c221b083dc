//! Makes the plan as `command: status` does: the files, or the tool's own list, are compared with the ledger.

use super::wording::count_of;
use crate::{
    executor::{Approvers, Executor},
    fault::{Code, Fault},
    github::runner::Runner,
    run::{
        Check, Coverage, DoctorFinding, PlanFacts,
        event::{Event, Events},
    },
    settings::{ExecutorSettings, Settings, Site},
    site::Sites,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout_at},
};

/// The reason for a plan that is not made in time; a tool's first start may take longer.
const TOO_SLOW: &str =
    "it takes longer than the 8 s of this check: run `command: status`, which waits for it up to `timeout`";

/// Makes the plan. It outlives its attempt, whose work may have to be stopped.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    settings: &'a Settings,
    events: Events,
    /// What the executor reports besides the output of commands.
    reported: UnboundedReceiver<Event>,
    executor: Option<Executor<'a>>,
}

impl<'a> Planner<'a> {
    /// Creates a planner, and the sites for it; uses no network yet.
    ///
    /// # Errors
    /// A fault of the random number generator.
    pub(super) fn new(settings: &'a Settings, runner: &'a Runner, events: &Events) -> Result<(Self, Sites<'a>), Fault> {
        let (events, reported) = events.output_only();
        let sites = Sites::new(settings, runner, &events)?;
        Ok((Self { settings, events, reported, executor: None }, sites))
    }

    /// Returns the check that the plan is for.
    pub(super) fn check(&self) -> Check {
        match &self.settings.executor {
            ExecutorSettings::Sql => Check::Plan,
            ExecutorSettings::Tool(tool) => match tool.site {
                Site::Image(_) => Check::ImageTool,
                Site::Server => Check::ServerTool,
            },
        }
    }

    /// Makes the plan before the deadline, and returns the findings. Those that are known already are not repeated.
    pub(super) async fn examine(
        &mut self,
        sites: &mut Sites<'a>,
        deadline: Instant,
        known: &[DoctorFinding],
    ) -> Vec<DoctorFinding> {
        let check = self.check();
        let Ok(result) = timeout_at(deadline, Box::pin(self.make_plan(sites))).await else {
            let late = DoctorFinding::not_checked(check, TOO_SLOW);
            let unstopped = self.stop_work(sites).await.err();
            return [late].into_iter().chain(unstopped.map(|fault| DoctorFinding::failed(check, fault))).collect();
        };
        let mut planned = None;
        let mut warnings = Vec::new();
        while let Ok(event) = self.reported.try_recv() {
            match event {
                Event::Planned(facts) => planned = Some(facts),
                // The check of the indexes names them.
                Event::Warning(fault) if fault.code != Code::VerifyIndex => {
                    warnings.push(DoctorFinding::warning_of(check, fault));
                }
                _ => {}
            }
        }
        warnings.retain(|warning| known.iter().all(|known| known.detail() != warning.detail()));
        let judged = match result {
            Ok(()) => planned.map(|plan| self.judge_plan(sites, &plan)).unwrap_or_default(),
            Err(faults) => faults.into_iter().map(|fault| self.judge_fault(fault)).collect(),
        };
        judged.into_iter().chain(warnings).collect()
    }

    async fn make_plan(&mut self, sites: &mut Sites<'a>) -> Result<(), Vec<Fault>> {
        let made = Executor::new(self.settings, sites.runner, &self.events, &Approvers::default()).await?;
        let executor = self.executor.insert(made);
        if self.settings.database.is_some() {
            executor.connect(sites).await.map_err(single_fault)?;
        }
        sites.take_server_slot().await.map_err(single_fault)?;
        executor.plan(sites).await
    }

    fn judge_plan(&self, sites: &Sites<'_>, plan: &PlanFacts) -> Vec<DoctorFinding> {
        let good = DoctorFinding::good(self.check(), describe_plan(plan));
        let connected = (self.check() == Check::ImageTool).then(|| judge_connections(sites, plan.coverage));
        [good].into_iter().chain(connected).collect()
    }

    fn judge_fault(&self, fault: Fault) -> DoctorFinding {
        let check = match (self.check(), fault.code) {
            (Check::ImageTool, Code::ToolElsewhere) => Check::DatabaseUrl,
            (check, _) => check,
        };
        DoctorFinding::failed(check, fault)
    }

    /// Stops work whose future was dropped.
    ///
    /// # Errors
    /// The reason why it may still be running.
    pub(super) async fn stop_work(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        match &self.executor {
            Some(executor) => executor.stop_work(sites).await,
            None => Ok(()),
        }
    }

    /// Closes the sessions.
    pub(super) async fn close(self) {
        if let Some(executor) = self.executor {
            executor.close().await;
        }
    }
}

/// A tool that has listed its migrations over our endpoint uses the database of this run.
fn judge_connections(sites: &Sites<'_>, coverage: Coverage) -> DoctorFinding {
    match (coverage, sites.connection_count()) {
        (Coverage::Unknown, _) => DoctorFinding::not_checked(Check::DatabaseUrl, "the tool has no list to run"),
        (Coverage::Complete, None) => DoctorFinding::good(Check::DatabaseUrl, "the tool's list agrees with the ledger"),
        (Coverage::Complete, Some(0)) => {
            let cause = "the tool has listed its migrations without a connection to the database in `database-url`";
            DoctorFinding::failed(Check::DatabaseUrl, Fault::new(Code::ToolElsewhere, cause))
        }
        (Coverage::Complete, Some(_)) => {
            DoctorFinding::good(Check::DatabaseUrl, "the tool connects to the database of this run")
        }
    }
}

fn describe_plan(plan: &PlanFacts) -> String {
    let recorded = match plan.ledger.as_str() {
        PlanFacts::NO_LEDGER => PlanFacts::NO_LEDGER.to_owned(),
        ledger => format!("{} recorded in `{ledger}`", plan.recorded),
    };
    match plan.coverage {
        Coverage::Complete => format!("{} pending, {recorded}", count_of(plan.pending.len(), "migration")),
        Coverage::Unknown => format!("the tool can't list its pending migrations; {recorded}"),
    }
}

fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
