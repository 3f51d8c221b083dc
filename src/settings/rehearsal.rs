//! The rehearsal of a migration: the server for the copy, and the time for which its result holds.

use crate::postgres::DatabaseTarget;
use std::time::Duration;

/// The rehearsal of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsalSettings {
    /// The server in which the copies are made, and the database of the session that makes them.
    pub server: DatabaseTarget,
    /// The time for which `expect-rehearsal` accepts the result.
    pub max_age: Duration,
}

impl RehearsalSettings {
    /// The time for which a result holds, if the user names none.
    pub const USUAL_MAX_AGE: Duration = Duration::from_secs(24 * 3_600);
}
