//! The rehearsal of a migration: the place and the content of the copy, and the time for which its result holds.

use super::sample::SampleSettings;
use crate::{
    docker::{PullPolicy, RegistryCredentials},
    postgres::DatabaseTarget,
};
use std::time::Duration;

/// The rehearsal of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsalSettings {
    /// The place in which the copies are made.
    pub place: CopyPlace,
    /// The rows of the copies.
    pub content: CopyContent,
    /// The time for which `expect-rehearsal` accepts the result.
    pub max_age: Duration,
}

impl RehearsalSettings {
    /// The time for which a result holds, if the user names none.
    pub const USUAL_MAX_AGE: Duration = Duration::from_secs(24 * 3_600);
}

/// The place in which copies are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyPlace {
    /// A server of the user's, and the database of the session that makes them.
    Server(Box<DatabaseTarget>),
    /// A server that is started for them.
    Container(CopyImage),
}

/// The image of the server that is started for copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyImage {
    /// Its name; without one it is `postgres` in the version of the database.
    pub reference: Option<String>,
    /// The condition for a pull.
    pub pull: PullPolicy,
    /// The credentials for its registry.
    pub credentials: Option<RegistryCredentials>,
}

/// The rows of a copy, besides those of the ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyContent {
    /// None.
    Schema,
    /// Some rows of each table.
    Sample(SampleSettings),
}
