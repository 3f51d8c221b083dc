//! The job of a run on one screen: a migration, with its stages in order, the checks of the doctor, the list of runs, or a
//! tunnel for later steps.

use crate::{
    doctor::DoctorJob,
    executor::{Aftercare, Approvers, Executor, PlannedBackup, SchemaFileWork},
    fault::{Code, Fault, Stage},
    github::{approvals::read_approvers, runner::Runner},
    history_job::HistoryJob,
    input::Invocation,
    rehearsal_job::RehearsalJob,
    run::{
        RunEnd,
        event::{Event, Events},
        shutdown::STOP_BUDGET,
    },
    secret::Secret,
    settings::{Command, Settings, When},
    site::Sites,
    stage::{run_stage, single_fault},
    tunnel::JobTunnel,
};
use futures_util::future::{Either, select};
use std::pin::pin;

/// The job of a run.
pub(crate) enum Job<'a> {
    Migration(Box<MigrationJob<'a>>),
    /// `command: doctor`: checks what a migration needs.
    Doctor(Box<DoctorJob<'a>>),
    /// `command: history`: lists the runs of the past.
    History(Box<HistoryJob<'a>>),
    /// `command: rehearse`: runs the pending migrations on a copy.
    Rehearsal(Box<RehearsalJob<'a>>),
    /// `command: tunnel`: a later step of the job migrates.
    Tunnel(Box<JobTunnel<'a>>),
}

impl<'a> Job<'a> {
    /// Prepares the job; uses no network yet.
    ///
    /// # Errors
    /// All faults of the migration files, or a command that the tool's recipe has no way to run.
    pub(crate) async fn new(
        settings: &'a Settings,
        invocation: &'a Invocation,
        events: &'a Events,
    ) -> Result<Self, Vec<Fault>> {
        let (runner, handover) = (&invocation.runner, &invocation.handover);
        Ok(match settings.command {
            Command::Doctor => {
                let doctor = DoctorJob::new(settings, &invocation.report, runner, events);
                Self::Doctor(Box::new(doctor.map_err(single_fault)?))
            }
            Command::Tunnel => Self::Tunnel(Box::new(JobTunnel::new(settings, runner, handover, events.clone()))),
            Command::History => Self::History(Box::new(HistoryJob::new(settings, runner, events.clone()))),
            Command::Rehearse => Self::Rehearsal(Box::new(RehearsalJob::new(settings, runner, events).await?)),
            _ => Self::Migration(Box::new(MigrationJob::new(settings, invocation, events).await?)),
        })
    }

    /// Runs the job.
    ///
    /// # Errors
    /// The faults that ended it.
    pub(crate) async fn run(&mut self) -> Result<(), Vec<Fault>> {
        match self {
            Self::Migration(migration) => Box::pin(migration.run_recorded()).await,
            Self::Doctor(doctor) => {
                doctor.run().await;
                Ok(())
            }
            Self::History(history) => history.run_stages().await,
            Self::Rehearsal(rehearsal) => Box::pin(rehearsal.run_stages()).await,
            Self::Tunnel(tunnel) => tunnel.open().await.map_err(single_fault),
        }
    }

    /// Stops work whose future was dropped.
    ///
    /// # Errors
    /// The reason why its outcome is unknown.
    pub(crate) async fn stop(&self) -> Result<(), Fault> {
        match self {
            Self::Migration(migration) => migration.executor.stop_work(&migration.sites).await,
            Self::Doctor(doctor) => doctor.stop().await,
            // It only reads: what was asked is forgotten with its session.
            Self::History(_) => Ok(()),
            Self::Rehearsal(rehearsal) => rehearsal.stop().await,
            Self::Tunnel(tunnel) => tunnel.stop_unless_ready().await,
        }
    }

    /// Returns the fault of a stopped job, with a detail if the stop itself failed.
    pub(crate) fn with_stop_result(&self, fault: Fault, stopped: Option<Result<(), Fault>>) -> Fault {
        let fault = match self {
            Self::Migration(migration) if fault.code == Code::TimedOut => migration.sites.with_timeout_context(fault),
            Self::Migration(_) | Self::Doctor(_) | Self::History(_) | Self::Rehearsal(_) | Self::Tunnel(_) => fault,
        };
        let cause = match stopped {
            Some(Ok(())) => return fault,
            Some(Err(cause)) => cause.cause,
            None => format!("no answer within {} s", STOP_BUDGET.as_secs()),
        };
        match self {
            Self::Migration(migration) => {
                migration.executor.report_in_doubt();
                fault.detail(migration.sites.describe_unstopped(&cause))
            }
            Self::Doctor(_) => fault.detail(format!("a command of the tool may still be running ({cause})")),
            Self::History(_) => fault,
            Self::Rehearsal(_) => fault.detail(cause),
            Self::Tunnel(_) => fault.detail(format!(
                "the tunnel may not have been removed ({cause}): the next run on this engine removes it"
            )),
        }
    }

    /// Records the end of the run in the database, if the run has worked on it.
    pub(crate) async fn end_audit(&self, end: &RunEnd) {
        if let Self::Migration(migration) = self {
            migration.executor.end_audit(end).await;
        }
    }

    /// Closes sessions and connections, and removes containers and a tunnel that is not ready.
    ///
    /// # Errors
    /// The fault of the first of them that failed.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        match self {
            Self::Migration(migration) => Box::pin(migration.close()).await,
            Self::Doctor(doctor) => Box::pin(doctor.close()).await,
            Self::History(history) => history.close().await,
            Self::Rehearsal(rehearsal) => Box::pin(rehearsal.close()).await,
            Self::Tunnel(tunnel) => tunnel.stop_unless_ready().await,
        }
    }
}

/// A migration, or one of the read-only commands about it.
pub(crate) struct MigrationJob<'a> {
    settings: &'a Settings,
    events: &'a Events,
    executor: Executor<'a>,
    sites: Sites<'a>,
    schema_file: SchemaFileWork<'a>,
    aftercare: Aftercare<'a>,
    lock: RunLockState,
    runner: &'a Runner,
    token: Option<&'a Secret>,
    approvers: Approvers,
}

/// State of the run lock. While this run holds it, no other run works on the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunLockState {
    NotHeld,
    Held,
}

impl<'a> MigrationJob<'a> {
    async fn new(settings: &'a Settings, invocation: &'a Invocation, events: &'a Events) -> Result<Self, Vec<Fault>> {
        let (runner, approvers) = (&invocation.runner, Approvers::default());
        let executor = Executor::new(settings, runner, events, &approvers).await?;
        let schema_file = SchemaFileWork::read(settings)?;
        let sites = Sites::new(settings, runner, events).map_err(single_fault)?;
        let aftercare = Aftercare::new(settings, events);
        let (lock, token) = (RunLockState::NotHeld, invocation.report.token.as_ref());
        Ok(Self { settings, events, executor, sites, schema_file, aftercare, lock, runner, token, approvers })
    }

    /// Runs the stages. Who approved the deployment is asked meanwhile; the answer is not waited for.
    async fn run_recorded(&mut self) -> Result<(), Vec<Fault>> {
        if !self.settings.keeps_audit() {
            return self.run_stages().await;
        }
        let approvers = Approvers::clone(&self.approvers);
        let asked = read_approvers(self.runner, self.token);
        match select(pin!(self.run_stages()), pin!(asked)).await {
            Either::Left((result, _)) => result,
            Either::Right((known, stages)) => {
                known.into_iter().for_each(|known| drop(approvers.set(known)));
                stages.await
            }
        }
    }

    async fn run_stages(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, sites, .. } = self;
        if sites.needs_engine() {
            run_stage(events, Stage::Image, async { sites.prepare_containers().await.map_err(single_fault) }).await?;
        }
        match settings.route {
            Some(_) => {
                run_stage(events, Stage::Bastion, async { sites.open_transport().await.map_err(single_fault) }).await?;
            }
            None => sites.open_transport().await.map_err(single_fault)?,
        }
        let Err(faults) = self.run_connected().await else { return Ok(()) };
        let Self { events, executor, sites, lock, .. } = self;
        let faults = executor.with_root_cause(sites, faults).await;
        if *lock == RunLockState::Held
            && let Err(fault) = executor.run_after_failure(sites).await
        {
            events.emit(Event::Warning(fault.in_stage(Stage::After)));
        }
        Err(faults)
    }

    /// Runs the stages that need the connection.
    async fn run_connected(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, executor, sites, schema_file, aftercare, lock, .. } = self;
        let writes = settings.command.may_write();
        if writes {
            executor.report_steps(sites);
        }
        if settings.database.is_some() {
            run_stage(events, Stage::Database, async { executor.connect(sites).await.map_err(single_fault) }).await?;
        }
        let enter = sites.take_server_slot();
        match writes {
            true => {
                // Slot first, then lock: a reconnecting run takes them in the same order.
                let locking = async {
                    enter.await.map_err(single_fault)?;
                    executor.take_run_lock().await.map_err(single_fault)
                };
                run_stage(events, Stage::Lock, locking).await?;
                *lock = RunLockState::Held;
            }
            false => enter.await.map_err(single_fault)?,
        }
        if writes && settings.steps.has_work_before_plan() {
            run_stage(events, Stage::Before, async { executor.run_before_plan(sites).await.map_err(single_fault) })
                .await?;
        }
        let verifies = writes || settings.command == Command::Verify;
        let backup = run_stage(events, Stage::Plan, async {
            executor.plan(sites).await?;
            executor.check_rehearsal(sites, settings.safety.expect_rehearsal.as_ref()).await.map_err(single_fault)?;
            let backup = executor.plan_backup(sites).await.map_err(single_fault)?;
            if !verifies {
                schema_file.handle_now(executor, settings.command, events).await?;
            }
            Ok::<Option<PlannedBackup>, Vec<Fault>>(backup)
        })
        .await?;
        let is_migrating = writes && executor.has_work();
        if is_migrating {
            if executor.met_conditions().contains(&When::Pending)
                && settings.steps.steps_before_pending().next().is_some()
            {
                run_stage(events, Stage::Before, async {
                    executor.run_before_migration(sites).await.map_err(single_fault)
                })
                .await?;
            }
            if let Some(backup) = backup {
                run_stage(events, Stage::Backup, async { executor.back_up(sites, backup).await.map_err(single_fault) })
                    .await?;
            }
            aftercare.read_before(executor).await;
            run_stage(events, Stage::Migrate, executor.migrate(sites)).await?;
        }
        if verifies {
            run_stage(events, Stage::Verify, async {
                let verified = executor.verify(sites).await;
                let compared = match verified.is_ok() || !writes {
                    true => schema_file.handle_now(executor, settings.command, events).await,
                    false => Ok(()),
                };
                join_faults(verified, compared)
            })
            .await?;
        }
        if is_migrating && aftercare.is_wanted() {
            let caring = async {
                Box::pin(aftercare.run(executor, sites)).await;
                Ok(())
            };
            run_stage(events, Stage::After, caring).await?;
        }
        if writes && !settings.steps.after.is_empty() {
            run_stage(events, Stage::After, async { executor.run_after_success(sites).await.map_err(single_fault) })
                .await?;
        }
        Ok(())
    }

    async fn close(self) -> Result<(), Fault> {
        self.executor.close().await;
        self.sites.close().await
    }
}

fn join_faults(first: Result<(), Vec<Fault>>, second: Result<(), Vec<Fault>>) -> Result<(), Vec<Fault>> {
    let faults: Vec<Fault> = [first, second].into_iter().filter_map(Result::err).flatten().collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}
