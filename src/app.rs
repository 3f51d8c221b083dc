//! The run on one screen: stages in order, teardown in reverse, the report before the teardown.

use crate::{
    executor::Executor,
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    input::Invocation,
    panic::PanicHook,
    report::{Reporter, publish_report},
    run::{
        backpressure::LogFlow,
        event::{Event, Events},
        shutdown::{CLOSE_BUDGET, LOG_BUDGET, STOP_BUDGET, StopReason},
        supervisor::{Completion, Supervisor},
    },
    settings::{Command, GithubSettings, Settings, When},
    site::Sites,
};
use std::{pin::pin, time::Duration};
use tokio::time::timeout;

/// The process-wide state that a run uses.
#[derive(Debug)]
pub(crate) struct RunContext<'d> {
    pub(crate) reporter: &'d Reporter,
    pub(crate) panics: &'d PanicHook,
    pub(crate) flow: &'d LogFlow,
}

/// Runs a parsed invocation and returns the process's exit code. `early` is a signal that arrived while the inputs were
/// read.
pub(crate) async fn run_invocation(
    invocation: Invocation,
    context: &RunContext<'_>,
    mut supervisor: Supervisor,
    early: Option<StopReason>,
) -> u8 {
    let RunContext { reporter, panics, flow } = context;
    let events = reporter.event_sender();
    let time_limit = invocation.settings.as_ref().map_or(Duration::ZERO, |settings| settings.safety.timeout);
    if invocation.settings.is_ok() {
        supervisor.set_time_limit(time_limit);
    }
    invocation.warnings.iter().for_each(|warning| events.emit(Event::Warning(warning.clone())));
    let mut run = None;
    let ended = match (early, &invocation.settings) {
        (Some(stop), _) => Completion::Stopped(stop),
        (None, Err(faults)) => Completion::Done(Ok(Err(faults.clone()))),
        (None, Ok(settings)) => {
            let work = Box::pin(open_and_run(&mut run, settings, &invocation, &events));
            supervisor.run(panics.catch_panic_async(work)).await
        }
    };
    let broken_off = match ended {
        Completion::Done(Ok(Ok(()))) => None,
        Completion::Done(Ok(Err(faults))) => {
            faults.into_iter().for_each(|fault| events.emit(Event::Fault(fault)));
            None
        }
        Completion::Done(Err(message)) => Some(bug_fault(&message)),
        Completion::Stopped(stop) => Some(stop.stop_fault(time_limit)),
    };
    if let Some(fault) = broken_off {
        flow.stop_throttling();
        let open_stage = reporter.report().open_stage().unwrap_or(fault.stage);
        let fault = match &run {
            Some(run) => {
                let stopped = supervisor.run_for(STOP_BUDGET, panics.catch_panic_async(Box::pin(run.stop()))).await;
                run.with_stop_result(
                    fault.in_stage(open_stage),
                    stopped.map(|done| done.unwrap_or_else(|message| Err(bug_fault(&message)))),
                )
            }
            None => fault.in_stage(open_stage),
        };
        events.emit(Event::Fault(fault));
    }
    events.emit_skipped();
    publish_within_budget(reporter, &invocation.runner, Some(&invocation.github), &mut supervisor).await;
    if let Some(run) = run
        && let Err(fault) = timeout(CLOSE_BUDGET, run.close()).await.unwrap_or(Ok(()))
    {
        reporter.log().log_event(&Event::Warning(fault), reporter.elapsed());
    }
    finish_process(reporter, flow, &mut supervisor).await
}

/// Opens a run and executes its stages.
async fn open_and_run<'a>(
    run: &mut Option<Run<'a>>,
    settings: &'a Settings,
    invocation: &'a Invocation,
    events: &'a Events,
) -> Result<(), Vec<Fault>> {
    run.insert(Run::new(settings, invocation, events).await?).run_stages().await
}

/// Ends a process that received a signal while it read its inputs: writes the usual report, but no comment.
pub(crate) async fn report_early_stop(
    stop: StopReason,
    context: &RunContext<'_>,
    runner: &Runner,
    mut supervisor: Supervisor,
) -> u8 {
    context.reporter.event_sender().emit(Event::Fault(stop.stop_fault(Duration::ZERO).in_stage(Stage::Inputs)));
    publish_within_budget(context.reporter, runner, None, &mut supervisor).await;
    finish_process(context.reporter, context.flow, &mut supervisor).await
}

/// Writes every part of the report. If the run has to end, the comment gets the time that is left; the other parts are
/// written without waiting.
async fn publish_within_budget(
    reporter: &Reporter,
    runner: &Runner,
    github: Option<&GithubSettings>,
    supervisor: &mut Supervisor,
) {
    let (report, mut log) = (reporter.report(), reporter.log());
    let time_left = supervisor.report_time_left();
    let mut publishing = pin!(publish_report(&report, runner, github, time_left, &mut log));
    let is_published = match supervisor.run(publishing.as_mut()).await {
        Completion::Done(_) => true,
        Completion::Stopped(_) => {
            let time_left = supervisor.report_time_left().unwrap_or_default();
            supervisor.run_for(time_left, publishing).await.is_some()
        }
    };
    if !is_published {
        let fault = Fault::new(Code::CommentUnwritten, "the comment could not be written before the step had to end");
        reporter.log().log_event(&Event::Warning(fault), reporter.elapsed());
    }
}

/// Prints the final line, waits until the log is written, and returns the exit code.
async fn finish_process(reporter: &Reporter, flow: &LogFlow, supervisor: &mut Supervisor) -> u8 {
    reporter.log_headline();
    if flow.is_unthrottled() || matches!(supervisor.run(flow.wait_until_written()).await, Completion::Stopped(_)) {
        supervisor.run_for(LOG_BUDGET, flow.wait_until_written()).await;
    }
    reporter.report().exit_code()
}

/// Reports a panic that was not caught further down like any other failure, in the report as it stood then.
pub(crate) async fn report_crash(message: &str, reporter: &Reporter, flow: &LogFlow, runner: &Runner) -> u8 {
    flow.stop_throttling();
    reporter.report_crash(bug_fault(message));
    let (report, mut log) = (reporter.report(), reporter.log());
    publish_report(&report, runner, None, None, &mut log).await;
    reporter.log_headline();
    drop(timeout(CLOSE_BUDGET, flow.wait_until_written()).await);
    report.exit_code()
}

fn bug_fault(message: &str) -> Fault {
    Fault::new(Code::Bug, format!("bastion-migrate itself failed: {message}"))
}

struct Run<'a> {
    settings: &'a Settings,
    events: &'a Events,
    executor: Executor<'a>,
    sites: Sites<'a>,
    lock: RunLockState,
}

/// State of the run lock. While this run holds it, no other run works on the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunLockState {
    NotHeld,
    Held,
}

impl<'a> Run<'a> {
    async fn new(settings: &'a Settings, invocation: &'a Invocation, events: &'a Events) -> Result<Self, Vec<Fault>> {
        let executor = Executor::new(settings, &invocation.runner, &invocation.handover, events).await?;
        let sites = Sites::new(settings, &invocation.runner, events).map_err(single_fault)?;
        Ok(Self { settings, events, executor, sites, lock: RunLockState::NotHeld })
    }

    async fn run_stages(&mut self) -> Result<(), Vec<Fault>> {
        let Self { settings, events, executor, sites, .. } = self;
        if settings.command == Command::Tunnel {
            // A fault of the tunnel's own process has the stage in which it happened there.
            events.emit(Event::StageStarted(Stage::Image));
            executor.open_tunnel().await.map_err(single_fault)?;
            events.emit(Event::StageDone(Stage::Image));
            return Ok(());
        }
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
        let Self { settings, events, executor, sites, lock } = self;
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
        run_stage(events, Stage::Plan, executor.plan(sites)).await?;
        if writes && executor.has_work() {
            if executor.met_conditions().contains(&When::Pending)
                && settings.steps.steps_before_pending().next().is_some()
            {
                run_stage(events, Stage::Before, async {
                    executor.run_before_migration(sites).await.map_err(single_fault)
                })
                .await?;
            }
            run_stage(events, Stage::Migrate, async { executor.migrate(sites).await.map_err(single_fault) }).await?;
        }
        if writes || settings.command == Command::Verify {
            run_stage(events, Stage::Verify, executor.verify(sites)).await?;
        }
        if writes && !settings.steps.after.is_empty() {
            run_stage(events, Stage::After, async { executor.run_after_success(sites).await.map_err(single_fault) })
                .await?;
        }
        Ok(())
    }

    async fn stop(&self) -> Result<(), Fault> {
        self.executor.stop_work(&self.sites).await
    }

    /// Returns the fault of a stopped run, with a detail if the stop itself failed.
    fn with_stop_result(&self, fault: Fault, stopped: Option<Result<(), Fault>>) -> Fault {
        let fault = if fault.code == Code::TimedOut { self.sites.with_timeout_context(fault) } else { fault };
        let cause = match stopped {
            Some(Ok(())) => return fault,
            Some(Err(cause)) => cause.cause,
            None => format!("no answer within {} s", STOP_BUDGET.as_secs()),
        };
        self.executor.report_in_doubt();
        fault.detail(self.sites.describe_unstopped(&cause))
    }

    async fn close(self) -> Result<(), Fault> {
        let closed = self.executor.close().await;
        self.sites.close().await.and(closed)
    }
}

/// Runs one stage and reports its start and its success. Its faults are marked with the stage.
async fn run_stage<T>(
    events: &Events,
    stage: Stage,
    work: impl Future<Output = Result<T, Vec<Fault>>>,
) -> Result<T, Vec<Fault>> {
    events.emit(Event::StageStarted(stage));
    let done =
        work.await.map_err(|faults| faults.into_iter().map(|fault| fault.in_stage(stage)).collect::<Vec<_>>())?;
    events.emit(Event::StageDone(stage));
    Ok(done)
}

fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
