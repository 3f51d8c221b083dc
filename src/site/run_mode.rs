//! The start or the resumption of a command, and the time that it gets to stop.

use std::time::Duration;

/// Time that a command has to end by itself after a stop was requested.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(1);

/// The start of a new command, or the resumption of one that outlived its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunMode {
    Start,
    Resume,
}
