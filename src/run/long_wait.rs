//! A wait for the work of others that lasts so long that somebody should look at it.

use std::time::Duration;

/// A wait that has become long, and still lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongWait {
    /// The thing that is waited for, as in "waiting for …".
    pub what: String,
    /// The reason, such as the session in the way. Untrusted text.
    pub why: String,
    /// Time so far.
    pub waited: Duration,
}
