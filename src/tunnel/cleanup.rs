//! The post stage: what the main stage left to later steps, or could not remove because it was killed.

use super::forget;
use crate::{
    docker::{CleanupScope, DockerEngine, ENGINE_SOCKET},
    fault::Fault,
};
use std::path::Path;

/// Removes what this run has made, and says what that was, a sentence each.
///
/// # Errors
/// What could not be removed.
pub(crate) async fn sweep(run: &str) -> Result<Vec<String>, Fault> {
    // A tunnel that finds its mark gone ends by itself, and nobody hears its last words.
    let swept =
        async { DockerEngine::connect(Path::new(ENGINE_SOCKET)).await?.remove_leftovers(CleanupScope::Run(run)).await };
    let swept = swept.await;
    forget(run);
    let swept = swept?;
    let said = |last_words: Vec<String>| last_words.into_iter().next_back().map(|line| line.trim().to_owned());
    let left = || "removed a container that this run had left behind".to_owned();
    Ok(swept.into_iter().map(|gone| said(gone.log_tail).unwrap_or_else(left)).collect())
}
