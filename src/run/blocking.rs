//! Work that blocks on the disk or uses the processor for long, on a thread of its own, so that the task stays
//! responsive and signals are handled.

use std::panic::resume_unwind;

/// Runs `work` on another thread. If the caller stops waiting, it continues there until it ends or the process does.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and so is the waiting task.
            Err(_) => std::future::pending().await,
        },
    }
}
