//! Panics as faults: a panic is a defect of this program, but it gets a code, an annotation and an exit code like any
//! other failure, and its message passes the redactor instead of going to standard error directly.

use futures_util::FutureExt as _;
use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

/// A panic hook that records every panic of the process while it exists.
#[derive(Debug)]
pub(crate) struct PanicHook(Arc<Mutex<String>>);

impl PanicHook {
    /// Installs the hook.
    pub(crate) fn install() -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let recorded = Arc::clone(&last);
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let message = info.payload_as_str().unwrap_or("no message");
            *recorded.lock().unwrap_or_else(PoisonError::into_inner) = format!("{message} ({place})");
        }));
        Self(last)
    }

    /// Runs `work` and catches a panic.
    ///
    /// # Errors
    /// The panic's message and location, on one line.
    pub(crate) fn catch_panic<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_panic| self.take_message())
    }

    /// Runs a future and catches a panic. A future that panicked is dropped.
    ///
    /// # Errors
    /// The panic's message and location, on one line.
    pub(crate) async fn catch_panic_async<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        AssertUnwindSafe(work).catch_unwind().await.map_err(|_panic| self.take_message())
    }

    fn take_message(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for PanicHook {
    fn drop(&mut self) {
        drop(panic::take_hook());
    }
}

#[cfg(test)]
mod tests {
    use super::PanicHook;

    #[tokio::test]
    async fn returns_the_message_and_the_location_of_a_panic() {
        let panics = PanicHook::install();
        let told = panics.catch_panic(|| panic!("out of {}", "cheese")).unwrap_err();
        assert!(told.starts_with("out of cheese (src/panic.rs:"), "{told}");
        assert_eq!(panics.catch_panic(|| 1), Ok(1));
        let told = panics.catch_panic_async(async { panic!("out of {}", "wine") }).await.unwrap_err();
        assert!(told.starts_with("out of wine (src/panic.rs:"), "{told}");
        assert_eq!(panics.catch_panic_async(async { 2 }).await, Ok(2));
    }
}
