//! A run from its inputs to its exit code: the job, the report, then the teardown.

use crate::{
    fault::{Code, Fault, Stage},
    github::runner::Runner,
    input::Invocation,
    job::Job,
    panic::PanicHook,
    report::{Reporter, notify_of_waits, publish_report},
    run::{
        backpressure::LogFlow,
        event::{Event, Events},
        shutdown::{AUDIT_BUDGET, CLOSE_BUDGET, LOG_BUDGET, STOP_BUDGET, StopReason},
        supervisor::{Completion, Supervisor},
    },
    settings::{ReportSettings, Settings},
};
use futures_util::future::{Either, select};
use std::{convert::Infallible, pin::pin, time::Duration};
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
    let (events, waits) = reporter.event_sender().with_queue_of_waits();
    let time_limit = invocation.settings.as_ref().map_or(Duration::ZERO, |settings| settings.safety.timeout);
    if invocation.settings.is_ok() {
        supervisor.set_time_limit(time_limit);
    }
    invocation.warnings.iter().for_each(|warning| events.emit(Event::Warning(warning.clone())));
    let mut job = None;
    let ended = match (early, &invocation.settings) {
        (Some(stop), _) => Completion::Stopped(stop),
        (None, Err(faults)) => Completion::Done(Ok(Err(faults.clone()))),
        (None, Ok(settings)) => {
            let work = Box::pin(open_and_run(&mut job, settings, &invocation, &events));
            let notification = invocation.report.notification.as_ref();
            let telling = Box::pin(notify_of_waits(waits, notification, &invocation.runner, (reporter, &events)));
            supervisor.run(panics.catch_panic_async(accompany(work, telling))).await
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
        let fault = match &job {
            Some(job) => {
                let stopped = supervisor.run_for(STOP_BUDGET, panics.catch_panic_async(Box::pin(job.stop()))).await;
                job.with_stop_result(
                    fault.in_stage(open_stage),
                    stopped.map(|done| done.unwrap_or_else(|message| Err(bug_fault(&message)))),
                )
            }
            None => fault.in_stage(open_stage),
        };
        events.emit(Event::Fault(fault));
    }
    events.emit_skipped();
    if let Some(job) = &job {
        let budget = supervisor.report_time_left().unwrap_or(AUDIT_BUDGET).min(AUDIT_BUDGET);
        let end = reporter.report().run_end(events.redactor());
        if supervisor.run_for(budget, job.end_audit(&end)).await.is_none() {
            // As for a session that is lost: what ended the run is its fault.
            events
                .emit_note(format!("the end of this run is not recorded: no answer within {} ms", budget.as_millis()));
        }
    }
    publish_within_budget(reporter, &invocation.runner, Some(&invocation.report), &mut supervisor).await;
    if let Some(job) = job
        && let Err(fault) = timeout(CLOSE_BUDGET, Box::pin(job.close())).await.unwrap_or(Ok(()))
    {
        reporter.log().log_event(&Event::Warning(fault), reporter.elapsed());
    }
    finish_process(reporter, flow, &mut supervisor).await
}

/// Does the work; what accompanies it ends with it.
async fn accompany<T>(work: impl Future<Output = T>, companion: impl Future<Output = Infallible>) -> T {
    match select(pin!(work), pin!(companion)).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => match never {},
    }
}

/// Prepares the job and runs it. Whatever was prepared stays in `job`, to be stopped and closed.
async fn open_and_run<'a>(
    job: &mut Option<Job<'a>>,
    settings: &'a Settings,
    invocation: &'a Invocation,
    events: &'a Events,
) -> Result<(), Vec<Fault>> {
    job.insert(Job::new(settings, invocation, events).await?).run().await
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
    settings: Option<&ReportSettings>,
    supervisor: &mut Supervisor,
) {
    let (report, mut log) = (reporter.report(), reporter.log());
    let time_left = supervisor.report_time_left();
    let mut publishing = pin!(publish_report(&report, runner, settings, time_left, &mut log));
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
