//! A panic is a defect of ours, and still a failure like any other: it has a code, an annotation and an exit code, and what it
//! says passes the redactor instead of going to standard error as it is.

use futures_util::FutureExt as _;
use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

/// Hears every panic of the process, as long as it lives.
#[derive(Debug)]
pub(crate) struct Panics(Arc<Mutex<String>>);

impl Panics {
    /// Listens from now on.
    pub(crate) fn heard() -> Self {
        let last = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&last);
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let said = info.payload_as_str().unwrap_or("no message");
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = format!("{said} ({place})");
        }));
        Self(last)
    }

    /// Runs `work`.
    ///
    /// # Errors
    /// Where it panicked and what it said, on one line.
    pub(crate) fn caught<T>(&self, work: impl FnOnce() -> T) -> Result<T, String> {
        panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_panic| self.last())
    }

    /// The same of a future, which is gone when it has panicked.
    ///
    /// # Errors
    /// Likewise.
    pub(crate) async fn caught_in<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        AssertUnwindSafe(work).catch_unwind().await.map_err(|_panic| self.last())
    }

    fn last(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        drop(panic::take_hook());
    }
}

#[cfg(test)]
mod tests {
    use super::Panics;

    #[tokio::test]
    async fn tells_what_and_where() {
        let panics = Panics::heard();
        let told = panics.caught(|| panic!("out of {}", "cheese")).unwrap_err();
        assert!(told.starts_with("out of cheese (src/bug.rs:"), "{told}");
        assert_eq!(panics.caught(|| 1), Ok(1));
        let told = panics.caught_in(async { panic!("out of {}", "wine") }).await.unwrap_err();
        assert!(told.starts_with("out of wine (src/bug.rs:"), "{told}");
        assert_eq!(panics.caught_in(async { 2 }).await, Ok(2));
    }
}
