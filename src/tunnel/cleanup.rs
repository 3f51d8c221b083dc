//! The post stage: removes what the main stage left for later steps, or could not remove because it was killed.

use super::remove_markers;
use crate::{
    docker::{CleanupScope, DockerEngine, ENGINE_SOCKET},
    fault::Fault,
};
use std::path::Path;

/// Removes the leftovers of this run, and returns a sentence for each.
///
/// # Errors
/// The engine's fault.
pub(crate) async fn clean_up_run(run: &str) -> Result<Vec<String>, Fault> {
    // A tunnel ends by itself when its marker is gone, and its last output would be lost: so the container is removed
    // before the marker.
    let removed =
        async { DockerEngine::connect(Path::new(ENGINE_SOCKET)).await?.remove_leftovers(CleanupScope::Run(run)).await };
    let removed = removed.await;
    remove_markers(run);
    let removed = removed?;
    let last_line = |log_tail: Vec<String>| log_tail.into_iter().next_back().map(|line| line.trim().to_owned());
    let default_message = || "removed a container that this run left behind".to_owned();
    Ok(removed.into_iter().map(|container| last_line(container.log_tail).unwrap_or_else(default_message)).collect())
}
