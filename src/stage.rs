//! One stage of a job.

use crate::{
    fault::{Fault, Stage},
    run::event::{Event, Events},
};

/// Runs one stage and reports its start and its success. Its faults are marked with the stage.
pub(crate) async fn run_stage<T>(
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

/// Returns the fault as a list.
pub(crate) fn single_fault(fault: Fault) -> Vec<Fault> {
    vec![fault]
}
