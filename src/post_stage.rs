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
    tunnel::cleanup::clean_up_run as sweep_away,
};
use std::pin::pin;
use std::time::Duration;
/// Runs the post stage: removes leftovers of a main stage that was killed before it could remove them. A stage that
/// ended by itself leaves nothing to do, and an executor that creates nothing has nothing to report.
pub(crate) async fn run_post_stage(runner: &Runner, mut log: Log, watch: &mut Supervisor, flow: &LogFlow) -> u8 {
    let Some(run) = &runner.state_run else { return 0 };
    let mut sweeping = pin!(sweep_away(run));
    let swept = match watch.run(sweeping.as_mut()).await {
        Completion::Done(swept) => Some(swept),
        Completion::Stopped(_) => watch.run_for(STOP_BUDGET, sweeping).await,
    };
    match swept.unwrap_or_else(|| Ok(vec!["stopped before everything was removed".to_owned()])) {
        Ok(said) => said.into_iter().for_each(|sentence| log.log_event(&Event::Note(sentence), Duration::ZERO)),
        Err(fault) => log.log_event(&Event::Warning(fault), Duration::ZERO),
    }
    watch.run_for(CLOSE_BUDGET, flow.wait_until_written()).await;
    0
}
