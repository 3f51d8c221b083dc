//! The connection to the Docker engine, and the name under which the engine keeps the containers of a run.

use crate::{
    docker::{CleanupScope, DockerEngine, ENGINE_SOCKET, Labels, SelfContainer},
    fault::Fault,
    github::{command_file, runner::Runner},
    random,
    run::event::{Event, Events},
};
use std::path::Path;

/// The key of the saved state that gives the post stage the run to clean up.
const RUN_STATE: &str = "run";

/// Connects to the engine and finds our own container, records the run for the post stage, and removes expired
/// containers.
pub(crate) async fn connect_engine(
    runner: &Runner,
    tag: &Labels,
    events: &Events,
) -> Result<(DockerEngine, SelfContainer), Fault> {
    let engine = DockerEngine::connect(Path::new(ENGINE_SOCKET)).await?;
    let self_container = SelfContainer::find(&engine).await?;
    prepare_engine(&engine, runner, tag, events).await?;
    Ok((engine, self_container))
}

/// Connects to the engine, also from outside of its containers; the rest is as above.
pub(crate) async fn connect_engine_from_anywhere(
    runner: &Runner,
    tag: &Labels,
    events: &Events,
) -> Result<DockerEngine, Fault> {
    let engine = DockerEngine::connect(Path::new(ENGINE_SOCKET)).await?;
    prepare_engine(&engine, runner, tag, events).await?;
    Ok(engine)
}

async fn prepare_engine(engine: &DockerEngine, runner: &Runner, tag: &Labels, events: &Events) -> Result<(), Fault> {
    record_run(runner, tag)?;
    if let Err(fault) = engine.remove_leftovers(CleanupScope::Expired).await {
        events.emit(Event::Warning(fault));
    }
    Ok(())
}

/// Records the run, so that the post stage finds what a killed run left behind; it is written before there is any
/// container.
fn record_run(runner: &Runner, tag: &Labels) -> Result<(), Fault> {
    match &runner.state_file {
        Some(path) => command_file::append_state(path, &[(RUN_STATE, tag.run().to_owned())]),
        None => Ok(()),
    }
}

/// Returns a name that no other run on the same engine has, jobs of a matrix included.
pub(crate) fn unique_run_name(runner: &Runner) -> String {
    let or_local = |text: &Option<String>| text.clone().unwrap_or_else(|| "local".to_owned());
    format!("{}.{}.{}", or_local(&runner.run_id), or_local(&runner.run_attempt), random::random_token())
}
