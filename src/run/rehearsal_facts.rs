//! The result of a rehearsal as data: what the migrations did on the copy, held against the plan's forecast.

use super::{MigrationId, plan_review::StatementReview};

/// The result of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RehearsalFacts {
    /// The digest for `expect-rehearsal`; empty if the rehearsal failed.
    pub digest: String,
    /// The server of the copy.
    pub copy: String,
    /// What the copy lacks, as sentences without their full stops.
    pub lacks: Vec<String>,
    /// The rounds of the real program, as sentences without their full stops.
    pub rounds: Vec<String>,
    /// The changes of the schema by the pending migrations, as lines of a diff.
    pub changes: Vec<String>,
    /// The changes of the schema by the migrations, each by itself as far as there was time to describe the schema at its end.
    pub migrations: Vec<MigrationChanges>,
    /// Bytes of temporary files that the pending migrations wrote, if that is known.
    pub temp_bytes: Option<u64>,
    /// The statements, the worst first.
    pub statements: Vec<RehearsedStatement>,
    /// The statements that were not observed, and the reasons.
    pub unobserved: Vec<String>,
}

/// The changes of the schema by a migration, or by several at whose ends the schema was not described.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MigrationChanges {
    /// The migrations, in their order.
    pub migrations: Vec<MigrationId>,
    /// The lines of a diff.
    pub lines: Vec<String>,
    /// Number of further lines that are left out.
    pub omitted: usize,
}

/// A statement as it was observed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RehearsedStatement {
    /// Its locks and its work as observed, weighed by the tables of the database itself.
    #[serde(flatten)]
    pub seen: StatementReview,
    /// Number of statements of this form, of which all that follows is the sum.
    pub times: u64,
    /// The number of its transaction in the run of a tool; none if it had one of its own or, as a loop, several, and for SQL files.
    pub transaction: Option<u64>,
    /// Duration on the copy, in milliseconds.
    pub took_ms: u64,
    /// Number of rows that it returned or changed on the copy.
    pub rows: Option<u64>,
    /// Bytes of WAL that were written meanwhile.
    pub wal_bytes: Option<u64>,
    /// The messages of the server. Untrusted text.
    pub notices: Vec<String>,
    /// The server's error, if it failed. Untrusted text.
    pub error: Option<String>,
    /// The comparison with the forecast.
    pub verdict: ForecastVerdict,
    /// The differences from the forecast, as phrases.
    pub differences: Vec<String>,
}

/// The comparison of an observation with the plan's forecast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForecastVerdict {
    /// It is as forecast.
    #[default]
    Confirmed,
    /// It does less.
    Milder,
    /// The plan does not show it: it is seen for the first time.
    Unforeseen,
    /// It does more, or it fails.
    Contradicted,
}

impl ForecastVerdict {
    /// Returns the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Milder => "milder",
            Self::Unforeseen => "unforeseen",
            Self::Contradicted => "contradicted",
        }
    }
}

impl RehearsalFacts {
    /// Returns the number of statements with this verdict.
    #[must_use]
    pub fn count_of(&self, verdict: ForecastVerdict) -> usize {
        self.statements.iter().filter(|statement| statement.verdict == verdict).count()
    }
}
