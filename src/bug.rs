//! A panic is a defect of ours, and still a failure like any other: it has a code, an annotation and an exit code, and what it
//! says passes the redactor instead of going to standard error as it is.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

/// Runs `work`; if it panics, `told` is given where and what, on one line.
pub(crate) fn caught<T>(work: impl FnOnce() -> T, told: impl FnOnce(String) -> T) -> T {
    let last = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&last);
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let said = info.payload_as_str().unwrap_or("no message");
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = format!("{said} ({place})");
    }));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    drop(panic::take_hook());
    done.unwrap_or_else(|_panic| told(std::mem::take(&mut *last.lock().unwrap_or_else(PoisonError::into_inner))))
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn tells_what_and_where() {
        let told = caught(|| panic!("out of {}", "cheese"), |said| said);
        assert!(told.starts_with("out of cheese (src/bug.rs:"), "{told}");
        assert_eq!(caught(|| 1, |_| 2), 1);
    }
}
