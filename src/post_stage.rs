//! The post stage of the action: it removes what a killed main stage left behind.

use crate::{
    github::runner::Runner,
    report::Log,
    run::{
        backpressure::LogFlow,
        event::Event,
        shutdown::{CLOSE_BUDGET, STOP_BUDGET},
        supervisor::{Completion, Supervisor},
    },
    tunnel::cleanup::clean_up_run,
};
use std::{pin::pin, time::Duration};

/// Runs the post stage: removes leftovers of a main stage that was killed before it could remove them. A stage that
/// ended by itself leaves nothing to do, and an executor that creates nothing has nothing to report.
pub(crate) async fn run_post_stage(runner: &Runner, mut log: Log, supervisor: &mut Supervisor, flow: &LogFlow) -> u8 {
    let Some(run) = &runner.state_run else { return 0 };
    let mut cleanup = pin!(clean_up_run(run));
    let result = match supervisor.run(cleanup.as_mut()).await {
        Completion::Done(result) => Some(result),
        Completion::Stopped(_) => supervisor.run_for(STOP_BUDGET, cleanup).await,
    };
    match result.unwrap_or_else(|| Ok(vec!["stopped before everything was removed".to_owned()])) {
        Ok(sentences) => {
            sentences.into_iter().for_each(|sentence| log.log_event(&Event::Note(sentence), Duration::ZERO));
        }
        Err(fault) => log.log_event(&Event::Warning(fault), Duration::ZERO),
    }
    supervisor.run_for(CLOSE_BUDGET, flow.wait_until_written()).await;
    0
}
