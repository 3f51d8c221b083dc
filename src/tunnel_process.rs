//! The process that keeps a tunnel open for the later steps of a job.

use crate::{
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
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;
use tokio::time::timeout;
/// Runs the sidecar of `command: tunnel`: serves later steps until it is told to stop or the job has ended.
pub(crate) async fn run_sidecar(
    ask: Invocation,
    handover: &Handover,
    log: Log,
    watch: &mut Supervisor,
    flow: &LogFlow,
) -> u8 {
    let began = Instant::now();
    let redactor = log.redactor().clone();
    let log = Mutex::new(log);
    let token = handover.token.clone();
    // What the other side has a use for it is told in a form of its own, and tells itself.
    let hear = move |event| {
        let event = SidecarMessage::from_event(&event).map_or(event, |tiding| Event::Note(tiding.to_line(&token)));
        log.lock().unwrap_or_else(PoisonError::into_inner).log_event(&event, began.elapsed());
    };
    let events = Events::new(hear, flow.clone()).with_redactor(redactor);
    watch.set_time_limit(MAX_TUNNEL_LIFETIME);
    let failed = |fault: Fault| events.emit(Event::Fault(fault));
    let code = match &ask.settings {
        Ok(settings) => {
            let mut sidecar = Sidecar::new(settings, &ask.runner, handover, events.clone());
            if let Completion::Done(Err(fault)) = watch.run(Box::pin(sidecar.serve_until_job_ends())).await {
                failed(fault);
            }
            match timeout(CLOSE_BUDGET, sidecar.close()).await {
                Ok(Ok(passed)) => events.emit_note(passed),
                Ok(Err(fault)) => events.emit(Event::Warning(fault)),
                Err(_) => events.emit_note("the tunnel could not be closed in time"),
            }
            0
        }
        Err(faults) => {
            faults.iter().take(1).cloned().for_each(failed);
            Code::InputInvalid.class().exit_code()
        }
    };
    watch.run_for(CLOSE_BUDGET, flow.wait_until_written()).await;
    code
}

pub(super) fn bug_fault(said: &str) -> Fault {
    Fault::new(Code::Bug, format!("bastion-migrate itself failed: {said}"))
}

/// Longest duration of a GitHub job.
const MAX_TUNNEL_LIFETIME: Duration = Duration::from_hours(5 * 24);
