//! The process that keeps a tunnel open for the later steps of a job.

use crate::{
    docker::JOB_GONE,
    fault::{Code, Fault},
    input::Invocation,
    report::Log,
    run::{
        backpressure::LogFlow,
        event::{Event, Events},
        shutdown::CLOSE_BUDGET,
        supervisor::{Completion, Supervisor},
    },
    tunnel::{Handover, Sidecar, SidecarMessage},
};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Runs the sidecar of `command: tunnel`: serves later steps until it is stopped or the job has ended.
pub(crate) async fn run_sidecar(
    invocation: Invocation,
    handover: &Handover,
    log: Log,
    supervisor: &mut Supervisor,
    flow: &LogFlow,
) -> u8 {
    let began = Instant::now();
    let redactor = log.redactor().clone();
    let log = Mutex::new(log);
    let token = handover.token.clone();
    // Events that the starting step reports itself are passed to it as encoded lines of this log.
    let log_event = move |event| {
        let event = SidecarMessage::from_event(&event).map_or(event, |message| Event::Note(message.to_line(&token)));
        log.lock().unwrap_or_else(PoisonError::into_inner).log_event(&event, began.elapsed());
    };
    let events = Events::new(log_event, flow.clone()).with_redactor(redactor);
    supervisor.set_time_limit(MAX_TUNNEL_LIFETIME);
    let failed = |fault: Fault| events.emit(Event::Fault(fault));
    let code = match &invocation.settings {
        Ok(settings) => {
            let mut sidecar = Sidecar::new(settings, &invocation.runner, handover, events.clone());
            let code = match supervisor.run(Box::pin(sidecar.serve_until_job_ends())).await {
                Completion::Done(Ok(())) => JOB_GONE,
                Completion::Done(Err(fault)) => {
                    failed(fault);
                    0
                }
                Completion::Stopped(_) => 0,
            };
            match timeout(CLOSE_BUDGET, sidecar.close()).await {
                Ok(Ok(passed)) => events.emit_note(passed),
                Ok(Err(fault)) => events.emit(Event::Warning(fault)),
                Err(_) => events.emit_note("the tunnel could not be closed in time"),
            }
            code
        }
        Err(faults) => {
            faults.iter().take(1).cloned().for_each(failed);
            Code::InputInvalid.class().exit_code()
        }
    };
    supervisor.run_for(CLOSE_BUDGET, flow.wait_until_written()).await;
    code
}

/// Longest duration of a GitHub job.
const MAX_TUNNEL_LIFETIME: Duration = Duration::from_hours(5 * 24);
