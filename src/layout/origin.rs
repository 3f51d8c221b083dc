//! The origin of a ledger's row: when it was recorded, by which role and which run. A ledger has what its tool records.

use crate::postgres::Row;
use chrono::{DateTime, Utc};

/// The SQL expressions for the origin of a row; `None` where the ledger has no such column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OriginSql {
    /// The time, as text (see [`time_sql`]).
    pub time: Option<&'static str>,
    /// The role.
    pub role: Option<&'static str>,
    /// The page of the run.
    pub run: Option<&'static str>,
}

/// The origin of a row, as far as the ledger has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowOrigin {
    /// The time, in UTC to the second (ISO 8601).
    pub time: Option<String>,
    /// The role that wrote the row. Untrusted text.
    pub role: Option<String>,
    /// The page of the run that wrote the row. Untrusted text.
    pub run: Option<String>,
}

/// The part of each row that a query reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RowDetail {
    /// All that a plan needs.
    #[default]
    ForPlan,
    /// Its origin as well.
    WithOrigin,
}

impl OriginSql {
    /// Returns the columns that follow those for the plan, each behind a comma.
    pub(super) fn columns(self, detail: RowDetail) -> String {
        let text = |column: Option<&str>| format!(", {}", column.unwrap_or("NULL"));
        match detail {
            RowDetail::ForPlan => String::new(),
            RowDetail::WithOrigin => [self.time, self.role, self.run].map(text).concat(),
        }
    }
}

impl RowOrigin {
    /// Reads the columns of a row, the first of them at this index; `None` if none has a value.
    pub(super) fn from_row(row: Row<'_>, first: usize) -> Option<Self> {
        let text = |offset| row.text(first + offset).filter(|text: &&str| !text.is_empty()).map(str::to_owned);
        let origin = Self { time: row.text(first).and_then(utc_seconds), role: text(1), run: text(2) };
        (origin != Self::default()).then_some(origin)
    }
}

/// Returns a time as `2026-01-31T23:59:59Z`; `None` for a text that is not a time of RFC 3339.
#[must_use]
pub(crate) fn utc_seconds(text: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Returns SQL for a column with a time, as text that [`utc_seconds`] reads. A time without a time zone counts as one of
/// the session's zone: the zone that the database or the role has set, else the server's.
macro_rules! time_sql {
    ($column:literal) => {
        concat!(
            "pg_catalog.to_char(",
            $column,
            "::pg_catalog.timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        )
    };
}
pub(crate) use time_sql;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_and_to_the_second() {
        for (text, shown) in [
            ("2026-01-31T23:59:59Z", Some("2026-01-31T23:59:59Z")),
            ("2026-01-31T23:59:59.999999999Z", Some("2026-01-31T23:59:59Z")),
            ("2026-02-01T01:30:00+02:00", Some("2026-01-31T23:30:00Z")),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(utc_seconds(text).as_deref(), shown, "{text}");
        }
    }
}
