//! The review of a plan as data: for each statement its locks, its work, its duration, its risk, and the reasons.

use crate::{fault::FilePosition, run::migration_id::MigrationId};
use std::time::Duration;

/// The risk of a statement, or of a whole plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nobody is likely to notice it.
    #[default]
    Low,
    /// Somebody should look at it before it runs.
    Medium,
    /// It blocks others for long, or it destroys data.
    High,
}

impl Risk {
    /// Returns the word for it, as in the input `risk`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The work of other sessions that waits while a statement holds its locks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldUp {
    /// Neither reads nor writes.
    #[default]
    Nothing,
    /// Writes.
    Writes,
    /// Reads and writes.
    ReadsAndWrites,
}

/// The review of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct PlanReview {
    /// The highest risk of a statement.
    pub risk: Risk,
    /// The statements, the worst first.
    pub statements: Vec<StatementReview>,
    /// Facts about the server that concern the plan as a whole, as sentences.
    pub notes: Vec<String>,
}

/// The review of one statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct StatementReview {
    /// Its migration.
    pub migration: MigrationId,
    /// Its position among the statements of the migration, from 0.
    pub statement: usize,
    /// Its position in a file, if it is in one.
    pub place: Option<FilePosition>,
    /// The statement in a few words.
    pub summary: String,
    /// The locks that it takes: mode, relation and size.
    pub locks: Vec<String>,
    /// The work of others that waits for these locks.
    pub blocks: HeldUp,
    /// The work whose duration depends on the size of a table.
    pub work: Vec<String>,
    /// The time that this work takes; `None` without such work, or if the size is unknown.
    pub estimate: Option<Estimate>,
    /// The things that are gone afterwards.
    pub destroys: Vec<DestroyedObject>,
    /// The sessions for which it would have to wait now.
    pub in_the_way: Vec<String>,
    /// Its risk.
    pub risk: Risk,
    /// The reasons for this risk, as sentences.
    pub reasons: Vec<String>,
}

/// The estimate of a duration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Estimate {
    /// The shortest time in milliseconds.
    pub from_ms: u64,
    /// The longest time in milliseconds.
    pub to_ms: u64,
    /// The sizes and rates that it was computed from.
    pub basis: String,
    /// The trust that it deserves.
    pub confidence: Confidence,
}

impl Estimate {
    /// Returns the longest time.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.to_ms)
    }
}

/// The trust that an estimate deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The rates are those of other servers.
    Low,
    /// The rates are those that this server has shown.
    Medium,
    /// It is a moment, at any rate.
    High,
}

impl Confidence {
    /// Returns the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A thing that is gone afterwards.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DestroyedObject {
    /// The deed and its object as the statement names it, as in `drop users.legacy_email`.
    pub what: String,
    /// The same with the schema in which the object is; equal to `what` if that has one.
    pub qualified: String,
    /// What is known of its content now, as a phrase.
    pub facts: String,
    /// Its content.
    pub content: Content,
    /// The reason for which somebody has allowed it.
    pub allowed: Option<String>,
}

/// The content of a thing that is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// There is none: it was looked for, or the thing is created by the same plan.
    Nothing,
    /// There is some.
    Something,
    /// It could not be read.
    Unknown,
}
