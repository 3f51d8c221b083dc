//! The steps of a run in their order: the health check, and the steps before the migration, in its place, after it, and
//! after a failure. A failed optional step is reported, and the run continues.

mod command;
mod sql_file;

use super::lock_holder::LockHolder;
use crate::{
    fault::{Code, Fault, Stage},
    run::event::{Event, Events, StepId, StepPhase, StepState},
    settings::{HealthCheck, Need, Settings, Step, StepWork, When},
    site::{
        CommandPurpose, SiteCommand, Sites,
        container_spec::{SessionAccess, SessionTerms},
    },
};
pub(super) use command::{CommandRun, run_command};
use tokio::time::{sleep, timeout};

/// Reports all steps, before the first one runs.
pub(super) fn report_steps(settings: &Settings, migrate: &[Step], events: &Events) {
    let steps = &settings.steps;
    let phases =
        [(StepPhase::Before, &steps.before[..]), (StepPhase::Migrate, migrate), (StepPhase::After, &steps.after)];
    let ids = phases
        .into_iter()
        .flat_map(|(phase, steps)| (0..).zip(steps).map(move |(index, step)| step_id(phase, index, step)));
    events.emit(Event::Steps(ids.collect()));
}

fn step_id(phase: StepPhase, index: usize, step: &Step) -> StepId {
    StepId { phase, at: index, name: step.name.clone() }
}

fn purpose_in(phase: StepPhase) -> CommandPurpose {
    match phase {
        StepPhase::Migrate => CommandPurpose::Migrate,
        StepPhase::Before | StepPhase::After => CommandPurpose::Assist,
    }
}

/// Runs the steps whose `when` is met; `lock_holder` is watched meanwhile, if there is one.
///
/// # Errors
/// The fault of the first required step that failed.
pub(super) async fn run_steps(
    sites: &mut Sites<'_>,
    mut lock_holder: Option<&mut LockHolder<'_>>,
    (phase, steps): (StepPhase, &[Step]),
    conditions: &[When],
) -> Result<(), Fault> {
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| conditions.contains(&step.when)) {
        let state_event = |state| Event::StepChanged { id: step_id(phase, index, step), fate: state };
        sites.events.emit(state_event(StepState::Running));
        let done = match &step.work {
            StepWork::Command { line, site } => {
                let (purpose, retries, timeout) = (purpose_in(phase), step.retries, step.timeout);
                let command_run = CommandRun { site, command: line, purpose, retries, timeout };
                run_command(sites, lock_holder.as_deref_mut(), command_run).await
            }
            StepWork::Sql { shown, path } => sql_file::run_sql_file(sites, shown, path, step.timeout).await,
        };
        let Err(fault) = done else {
            sites.events.emit(state_event(StepState::Done));
            continue;
        };
        sites.events.emit(state_event(StepState::Failed));
        let fault = in_step_stage(phase, fault);
        let fault = if step.has_own_name() { fault.detail(format!("in the step `{}`", step.name)) } else { fault };
        match step.need {
            Need::Required => return Err(fault),
            // It may still be running.
            Need::Optional if sites.has_given_up() => return Err(fault),
            Need::Optional => {
                sites.events.emit(Event::Warning(fault.detail("the step is optional: the run continues")));
            }
        }
    }
    Ok(())
}

/// Assigns the fault of a step before or after the migration to its stage, with a fix that does not refer to the tool's
/// ledger.
fn in_step_stage(phase: StepPhase, fault: Fault) -> Fault {
    let stage = match phase {
        StepPhase::Before => Stage::Before,
        StepPhase::After => Stage::After,
        StepPhase::Migrate => return fault,
    };
    let fix = match fault.code {
        Code::ToolFailed => "see the command's output in the log",
        Code::ToolKilled => "find out who stopped it",
        Code::OutOfMemory => "raise `memory`, or use a runner with more of it",
        Code::StatementFailed => {
            "correct the SQL file and run again: its changes were rolled back, unless it commits by itself"
        }
        _ => return fault.in_stage(stage),
    };
    // A more specific fix stays.
    let fault = if fault.fix == fault.code.fix() { fault.fix(fix) } else { fault };
    fault.in_stage(stage)
}

/// Runs the health check until it succeeds.
///
/// # Errors
/// `unhealthy`, with the last failure.
pub(super) async fn wait_until_healthy(sites: &Sites<'_>, health: &HealthCheck) -> Result<(), Fault> {
    let HealthCheck { line, site, interval, timeout: limit, retries } = health;
    let terms =
        SessionTerms::with_user_lock_timeout(sites.settings, SessionAccess::for_command(sites.settings.command));
    let task = SiteCommand { site, command: line, purpose: CommandPurpose::Assist, terms };
    let mut attempts = 0;
    loop {
        let fault = match timeout(*limit, sites.run_checked(task)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(fault)) => fault,
            Err(_) => {
                sites.stop_commands().await?;
                let cause = format!("`{}` did not finish within {} s", line.display_text(), limit.as_secs());
                sites.with_timeout_context(Fault::new(Code::Unhealthy, cause))
            }
        };
        // A missing program will not appear later.
        if fault.code == Code::ToolMissing {
            let cause = format!("`{}` (`health`) can't be run: {}", line.display_text(), fault.cause);
            let fix = "correct `run` of `health`: its program must exist where it runs, and be executable";
            return Err(Fault { cause, ..fault }.fix(fix));
        }
        // At most once: from then on no TLS is declined.
        if sites.pass_tls_if_demanded() {
            continue;
        }
        if attempts == *retries {
            let cause =
                format!("`{}` is not healthy after {} attempt(s): {}", line.display_text(), attempts + 1, fault.cause);
            return Err(fault
                .detail
                .into_iter()
                .fold(Fault::new(Code::Unhealthy, cause).fix(fault.fix), Fault::detail));
        }
        attempts += 1;
        sites.events.emit(Event::Waiting { what: format!("`{}` to succeed", line.display_text()), why: fault.cause });
        sleep(*interval).await;
    }
}
