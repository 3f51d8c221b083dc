//! The steps of the user around a migration.

use super::{Executor, step, tool::snapshot::LedgerSnapshot};
use crate::{fault::Fault, run::event::StepPhase, settings::When, site::Sites};

impl<'a> Executor<'a> {
    /// Reports all steps.
    pub fn report_steps(&self, sites: &Sites<'_>) {
        let migrate = match self {
            Self::Tool(tool) => tool.steps.as_slice(),
            Self::Sql(_) => &[],
        };
        step::report_steps(sites.settings, migrate, &sites.events);
    }

    /// Runs everything that comes before the plan: the health check, and the steps for every run.
    ///
    /// # Errors
    /// `unhealthy`, or the fault of the first required step that failed.
    pub async fn run_before_plan(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        let earlier = match self {
            Self::Tool(tool) => tool.read_initial_snapshot().await?,
            Self::Sql(_) => LedgerSnapshot::default(),
        };
        if let Some(health) = &sites.settings.steps.health {
            step::wait_until_healthy(sites, health).await?;
        }
        self.run_steps(sites, StepPhase::Before, &[When::Always]).await?;
        // These steps may have created a ledger since the connection was opened.
        match self {
            Self::Sql(sql) => sql.find_ledgers_again().await,
            Self::Tool(tool) => tool.check_early_steps(&earlier).await,
        }
    }

    /// Runs the steps before a migration that has something to do.
    ///
    /// # Errors
    /// The fault of the first required step that failed.
    pub async fn run_before_migration(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        self.run_steps(sites, StepPhase::Before, &[When::Pending]).await
    }

    /// Runs the steps after a migration that was proven.
    ///
    /// # Errors
    /// The fault of the first required step that failed.
    pub async fn run_after_success(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        self.run_steps(sites, StepPhase::After, self.met_conditions()).await
    }

    /// Runs the steps for a run that has failed.
    ///
    /// # Errors
    /// The fault of the first required step that failed.
    pub async fn run_after_failure(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        self.run_steps(sites, StepPhase::After, &[When::Failure]).await
    }

    /// Begins the record of the run, before a step changes anything.
    async fn begin_audit(&self, sites: &Sites<'_>) {
        match self {
            Self::Sql(sql) => sql.begin_audit().await,
            Self::Tool(tool) => tool.begin_audit_of_steps(sites).await,
        }
    }

    async fn run_steps(&mut self, sites: &mut Sites<'a>, phase: StepPhase, conditions: &[When]) -> Result<(), Fault> {
        let settings = sites.settings;
        let steps = match phase {
            StepPhase::Before => &settings.steps.before,
            StepPhase::Migrate => &settings.steps.migrate,
            StepPhase::After => &settings.steps.after,
        };
        if steps.iter().any(|step| conditions.contains(&step.when)) {
            self.begin_audit(sites).await;
        }
        let lock_holder = match self {
            // After a failure the lock may be lost: then there is nothing left to watch.
            Self::Tool(tool) => tool.lock_holder.as_mut().filter(|holder| !holder.is_lost()),
            // The session that runs the migration also holds the lock, and notices its loss itself.
            Self::Sql(_) => None,
        };
        Box::pin(step::run_steps(sites, lock_holder, (phase, steps), conditions)).await
    }
}
