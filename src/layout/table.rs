//! Ledger tables and their rows, as every layout has them.

use super::{checksum::Checksum, origin::RowOrigin};
use crate::postgres::{Row, quote_identifier, quote_literal};
use std::{cmp::Ordering, fmt, time::Duration};

/// A table, by schema and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl Table {
    /// Returns the table of the same schema whose name ends in this suffix.
    #[must_use]
    pub fn sibling_table(&self, suffix: &str) -> Self {
        Self { schema: self.schema.clone(), name: format!("{}{suffix}", self.name) }
    }

    /// Returns the quoted and qualified name, ready for SQL.
    #[must_use]
    pub fn to_sql(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// A row of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedMigration {
    /// The version, as the layout writes it.
    pub version: String,
    /// The name as it was recorded.
    pub name: String,
    /// The checksum of the file; `None` if the ledger has none.
    pub checksum: Option<Vec<u8>>,
    /// `false` only if the tool that wrote the row stopped in the middle of the migration.
    pub success: bool,
    /// Duration in milliseconds.
    pub took_ms: u64,
    /// Its origin, if that was read and the ledger has it.
    pub origin: Option<Box<RowOrigin>>,
}

impl RecordedMigration {
    /// Reads a row of the query that the layout returns.
    #[must_use]
    pub fn from_row(row: Row<'_>) -> Self {
        let [version, name, checksum, success, took_ms] = row.columns();
        Self {
            version: version.unwrap_or_default().to_owned(),
            name: name.unwrap_or_default().to_owned(),
            checksum: checksum.map(|checksum| hex::decode(checksum).unwrap_or_default()),
            success: success != Some("f"),
            took_ms: took_ms.and_then(|took_ms| took_ms.parse().ok()).unwrap_or_default(),
            origin: RowOrigin::from_row(row, 5).map(Box::new),
        }
    }

    /// Reports whether it records the migration with this version and checksum as applied.
    #[must_use]
    pub fn records(&self, version: &str, checksum: &Checksum) -> bool {
        self.success && self.version == version && self.has_checksum(checksum)
    }

    /// Reports whether it has this checksum, or none.
    #[must_use]
    pub fn has_checksum(&self, checksum: &Checksum) -> bool {
        self.checksum.as_deref().is_none_or(|recorded| checksum.matches(recorded))
    }
}

/// The values by which the row of a migration is found.
#[derive(Debug, Clone, Copy)]
pub struct MigrationKey<'a> {
    /// The version, as the layout writes it.
    pub version: &'a str,
    /// The path of the file in the directory, with `/` between its parts.
    pub path: &'a str,
    /// The checksum of the file.
    pub checksum: &'a Checksum,
}

/// The values of a new row.
#[derive(Debug, Clone)]
pub struct NewRow<'a> {
    /// The version, as the layout writes it.
    pub version: &'a str,
    /// The migration's name.
    pub name: &'a str,
    /// The path of the file in the directory, with `/` between its parts.
    pub path: &'a str,
    /// The statements of the file, if the layout records them.
    pub statements: Vec<&'a str>,
    /// The checksum of the file.
    pub checksum: &'a Checksum,
    /// The page of the run that applies it.
    pub run_url: Option<&'a str>,
    /// Duration, if it is not that of the transaction so far.
    pub took: Option<Duration>,
}

impl NewRow<'_> {
    /// Returns the SQL for the duration of the migration, in this many units per second.
    pub(crate) fn duration_sql(&self, units: u64) -> String {
        const TRANSACTION: &str =
            "EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp())";
        match self.took {
            None => format!("pg_catalog.round({units} * {TRANSACTION})::bigint"),
            Some(duration) => {
                format!("pg_catalog.round({units} * {}.{:09})::bigint", duration.as_secs(), duration.subsec_nanos())
            }
        }
    }

    /// Returns the checksum as a literal in hexadecimal.
    pub(super) fn checksum_sql(&self) -> String {
        quote_literal(&self.checksum.to_hex())
    }

    /// Returns the checksum as a literal, for a ledger that has it as text.
    pub(super) fn checksum_text_sql(&self) -> String {
        quote_literal(&String::from_utf8_lossy(self.checksum.as_bytes()))
    }
}

/// Completes the rows of a ledger that has only the newest version: every file up to it is applied.
pub(super) fn rows_up_to(
    rows: Vec<RecordedMigration>,
    versions: &[&str],
    compare: fn(&str, &str) -> Ordering,
) -> Vec<RecordedMigration> {
    let Some(newest) = rows.first().map(|row| row.version.clone()) else { return rows };
    let older = versions.iter().filter(|version| compare(version, &newest) == Ordering::Less);
    let older = older.map(|version| RecordedMigration {
        version: (*version).to_owned(),
        name: String::new(),
        checksum: None,
        success: true,
        took_ms: 0,
        origin: None,
    });
    older.chain(rows).collect()
}
