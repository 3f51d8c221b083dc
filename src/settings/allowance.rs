//! Findings and destruction that somebody has accepted, with the reason.

use squawk_linter::Rule;

/// One thing that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The thing.
    pub subject: AllowedSubject,
    /// The reason, which stands in the report.
    pub reason: String,
}

impl Allowance {
    /// Returns the line without its reason.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.subject {
            AllowedSubject::Finding { rule, migration } => format!("{rule} {migration}"),
            AllowedSubject::Destruction { verb, name } => format!("{} {name}", verb.name()),
        }
    }
}

/// A thing that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedSubject {
    /// The findings of a rule in a migration.
    Finding {
        /// The rule.
        rule: Rule,
        /// The migration: its name, its version or its file.
        migration: String,
    },
    /// The destruction of a thing, as in `drop users.legacy_email`.
    Destruction {
        /// The way it is destroyed.
        verb: DestructiveVerb,
        /// Its name, as it is written in reports.
        name: String,
    },
}

/// The ways to destroy something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestructiveVerb {
    /// `DROP` of an object or a column.
    Drop,
    /// `TRUNCATE`.
    Truncate,
    /// `DELETE` without a condition.
    Delete,
    /// `UPDATE` without a condition.
    Update,
    /// A type to which not all values fit.
    Narrow,
}

impl DestructiveVerb {
    /// All of them, by the names that users write.
    pub const NAMES: [(&str, Self); 5] = [
        ("drop", Self::Drop),
        ("truncate", Self::Truncate),
        ("delete", Self::Delete),
        ("update", Self::Update),
        ("narrow", Self::Narrow),
    ];

    /// Returns the name that users write.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, verb)| *verb == self).map_or("", |(name, _)| name)
    }
}
