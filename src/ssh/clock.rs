//! The clock, as certificates have it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the time in seconds since 1970.
#[must_use]
pub fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
