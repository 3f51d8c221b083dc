//! Runs a migration: in the action itself, or by the app's own tool. The only `match` on the kind of executor is here.

mod invalid_index;
mod lock_holder;
mod monitored;
mod sql;
mod step;
mod tool;

pub use sql::SqlExecutor;
pub use tool::ToolExecutor;

use crate::{
    fault::Fault,
    github::runner::Runner,
    run::event::{Events, StepPhase},
    secret::Secret,
    settings::{Command, ExecutorSettings, Settings, When},
    site::Sites,
    tunnel::JobTunnel,
};
use futures_util::future::join;
use lock_holder::LockHolder;
use tool::snapshot::LedgerSnapshot;

/// Reports the tables that were ignored although they have the name of a ledger.
fn report_ignored_ledgers(tables: &[String], events: &Events) {
    if let Some((first, more)) = tables.split_first() {
        let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
        events.emit_note(format!("ignored: {first}{more}; its content is not read"));
    }
}

/// The executor of the migration.
#[derive(Debug)]
pub enum Executor<'a> {
    /// SQL files, applied by the action itself.
    Sql(Box<SqlExecutor<'a>>),
    /// The app's own tool, in an image or on a server.
    Tool(Box<ToolExecutor<'a>>),
    /// A tunnel: a later step of the job runs the migration.
    Tunnel(Box<JobTunnel<'a>>),
}

/// Calls one expression for each kind of executor.
macro_rules! each {
    ($executor:expr, $inner:ident => $sql:expr, $foreign:expr, $tunnel:expr) => {
        match $executor {
            Executor::Sql($inner) => $sql,
            Executor::Tool($inner) => $foreign,
            Executor::Tunnel($inner) => $tunnel,
        }
    };
    // For calls that have no meaning for a tunnel.
    ($executor:expr, $inner:ident => $sql:expr, $foreign:expr; $tunnel:expr) => {
        match $executor {
            Executor::Sql($inner) => $sql,
            Executor::Tool($inner) => $foreign,
            Executor::Tunnel(_) => $tunnel,
        }
    };
}

impl<'a> Executor<'a> {
    /// Creates the executor that the settings ask for; uses no network yet.
    ///
    /// # Errors
    /// All faults of its files.
    pub async fn new(
        settings: &'a Settings,
        runner: &'a Runner,
        handover: &'a [(String, Secret)],
        events: &Events,
    ) -> Result<Self, Vec<Fault>> {
        Ok(match &settings.executor {
            _ if settings.command == Command::Tunnel => {
                Self::Tunnel(Box::new(JobTunnel::new(settings, runner, handover, events.clone())))
            }
            ExecutorSettings::Sql => Self::Sql(Box::new(SqlExecutor::new(settings, runner, events.clone()).await?)),
            ExecutorSettings::Tool(tool) => {
                let foreign = ToolExecutor::new(settings, tool, runner, events).map_err(|fault| vec![fault])?;
                Self::Tool(Box::new(foreign))
            }
        })
    }

    /// Opens the tunnel for later steps, if the command is `tunnel`.
    ///
    /// # Errors
    /// The tunnel's fault.
    pub async fn open_tunnel(&mut self) -> Result<(), Fault> {
        each!(self, _inner => Ok(()), Ok(()), _inner.start_sidecar().await)
    }

    /// Opens the session and reads the facts of the database.
    ///
    /// # Errors
    /// The reason why the database can't be used.
    pub async fn connect(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        each!(self, inner => inner.connect(sites.transport()?).await, inner.connect(sites).await; Ok(()))
    }

    /// Takes the run lock.
    ///
    /// # Errors
    /// The holder of the lock.
    pub async fn take_run_lock(&mut self) -> Result<(), Fault> {
        each!(self, inner => inner.take_run_lock().await, inner.take_run_lock().await; Ok(()))
    }

    /// Determines the pending migrations.
    ///
    /// # Errors
    /// All faults that forbid the plan.
    pub async fn plan(&mut self, sites: &Sites<'_>) -> Result<(), Vec<Fault>> {
        each!(self, inner => inner.plan().await, inner.plan(sites).await; Ok(()))
    }

    /// Returns whether there is anything to do.
    #[must_use]
    pub fn has_work(&self) -> bool {
        each!(self, inner => inner.has_work(), inner.has_work(); false)
    }

    /// Applies the plan.
    ///
    /// # Errors
    /// The reason why it stopped; events report what was applied before.
    pub async fn migrate(&mut self, sites: &mut Sites<'_>) -> Result<(), Fault> {
        // Boxed, because the future is large and its caller holds it next to others.
        each!(self, inner => Box::pin(inner.migrate(sites.transport_mut()?)).await, Box::pin(inner.migrate(sites)).await; Ok(()))
    }

    /// Proves that the migration took place.
    ///
    /// # Errors
    /// All deviations from the expected state.
    pub async fn verify(&mut self, sites: &mut Sites<'_>) -> Result<(), Vec<Fault>> {
        let no_way = |fault| vec![fault];
        each!(self, inner => inner.verify(sites.transport_mut().map_err(no_way)?).await, inner.verify(sites).await; Ok(()))
    }

    /// Returns the step conditions that a successful run meets.
    #[must_use]
    pub fn met_conditions(&self) -> &'static [When] {
        each!(self, inner => inner.met_conditions(), inner.met_conditions(); &[When::Always])
    }

    /// Reports all steps.
    pub fn report_steps(&self, sites: &Sites<'_>) {
        let migrate = each!(self, inner => { let _nothing = inner; &[][..] }, &inner.steps; &[]);
        step::report_steps(sites.settings, migrate, &sites.events);
    }

    /// Runs everything that comes before the plan: the health check, and the steps for every run.
    ///
    /// # Errors
    /// `unhealthy`, or the fault of the first required step that failed.
    pub async fn run_before_plan(&mut self, sites: &mut Sites<'a>) -> Result<(), Fault> {
        let earlier = match self {
            Self::Tool(foreign) => foreign.read_initial_snapshot().await?,
            Self::Sql(_) | Self::Tunnel(_) => LedgerSnapshot::default(),
        };
        if let Some(health) = &sites.settings.steps.health {
            step::wait_until_healthy(sites, health).await?;
        }
        self.run_steps(sites, StepPhase::Before, &[When::Always]).await?;
        // These steps may have created a ledger since the connection was opened.
        each!(self, inner => inner.find_ledgers_again().await, inner.check_early_steps(&earlier).await; Ok(()))
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

    async fn run_steps(&mut self, sites: &mut Sites<'a>, phase: StepPhase, turns: &[When]) -> Result<(), Fault> {
        let settings = sites.settings;
        let steps = match phase {
            StepPhase::Before => &settings.steps.before,
            StepPhase::Migrate => &settings.steps.migrate,
            StepPhase::After => &settings.steps.after,
        };
        let mut nobody = LockHolder::new(settings, sites.runner, sites.events.clone());
        let keeper = match self {
            // After a failure the lock may be lost: then there is nothing left to watch.
            Self::Tool(foreign) if !foreign.lock_holder.is_lost() => &mut foreign.lock_holder,
            // The session that runs the migration also holds the lock, and notices its loss itself.
            Self::Sql(_) | Self::Tool(_) | Self::Tunnel(_) => &mut nobody,
        };
        Box::pin(step::run_steps(sites, keeper, (phase, steps), turns)).await
    }

    /// Replaces the first fault by the cause of the lost connection, if that is what it reports.
    pub async fn with_root_cause(&mut self, sites: &Sites<'_>, faults: Vec<Fault>) -> Vec<Fault> {
        let Ok(reach) = sites.transport() else { return faults };
        each!(self, inner => inner.with_root_cause(reach, faults).await, inner.with_root_cause(sites, faults); faults)
    }

    /// Stops work whose future was dropped.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub async fn stop_work(&self, sites: &Sites<'_>) -> Result<(), Fault> {
        each!(
            self,
            inner => match sites.transport() {
                Ok(reach) => {
                    let (ended, told) = join(sites.stop_commands(), inner.stop_work(reach)).await;
                    ended.and(told)
                }
                Err(_) => Ok(()),
            },
            inner.stop_work(sites).await,
            inner.stop_unless_ready().await
        )
    }

    /// Reports the migrations whose outcome is unknown.
    pub fn report_in_doubt(&self) {
        each!(self, inner => inner.report_in_doubt(), inner.report_in_doubt(); ());
    }

    /// Closes sessions, and removes a tunnel that is not ready.
    ///
    /// # Errors
    /// The fault of the removal.
    pub async fn close(self) -> Result<(), Fault> {
        each!(self, inner => { inner.close().await; Ok(()) }, { inner.close().await; Ok(()) }, inner.stop_unless_ready().await)
    }
}
