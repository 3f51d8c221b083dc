//! Work that waits for the disk, or takes the processor for long, on a thread of its own: the task goes on, and a signal counts.

use std::panic::resume_unwind;

/// Does it on another thread. If nobody waits for it any more it goes on there, until it ends or the process does.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is going down, and whoever waits goes with it.
            Err(_) => std::future::pending().await,
        },
    }
}
