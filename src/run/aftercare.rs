//! The result of the after-care of a run.

/// What was done after the migration, and what is left to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct AftercareFacts {
    /// The tables whose statistics were renewed, by their SQL names.
    pub analyzed: Vec<String>,
    /// The constraints that were validated, by their SQL names.
    pub validated: Vec<String>,
    /// What should be mended.
    pub findings: Vec<CareFinding>,
}

/// Something in the database that should be mended. Its texts are untrusted.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CareFinding {
    /// Its kind.
    pub kind: CareFindingKind,
    /// The object, by its SQL name.
    pub object: String,
    /// The problem.
    pub problem: String,
    /// The SQL that mends it.
    pub sql: String,
}

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CareFindingKind {
    /// An INVALID index, or one that REINDEX CONCURRENTLY has left behind.
    InvalidIndex,
    /// A constraint that is NOT VALID.
    UnvalidatedConstraint,
    /// A sequence that has used up more than 80 % of its range.
    SequenceNearEnd,
    /// An index of this run that is the same as another one.
    DuplicateIndex,
}

impl CareFindingKind {
    /// All kinds.
    pub const ALL: [Self; 4] =
        [Self::InvalidIndex, Self::UnvalidatedConstraint, Self::SequenceNearEnd, Self::DuplicateIndex];

    /// Returns the name in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidIndex => "invalid-index",
            Self::UnvalidatedConstraint => "unvalidated-constraint",
            Self::SequenceNearEnd => "sequence-near-end",
            Self::DuplicateIndex => "duplicate-index",
        }
    }

    /// Returns what it is, for a reader.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidIndex => "INVALID index",
            Self::UnvalidatedConstraint => "constraint not validated",
            Self::SequenceNearEnd => "sequence near its end",
            Self::DuplicateIndex => "duplicate index",
        }
    }
}
