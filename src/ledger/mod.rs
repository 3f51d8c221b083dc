//! The ledger: the table in which it is recorded what was applied. Ours for plain files, sqlx's for sqlx's layout; everything
//! else that the crate knows about the two stands in `plain` and `sqlx`.

pub mod catalog;
mod discover;
pub mod known_tools;
mod progress;
pub mod schema_snapshot;
pub mod tenants;

pub use discover::{Choice, Survey, Wanted, refuse_foreign, survey};
pub use progress::{Progress, ProgressRow};

use crate::{
    layout::{hex, plain, sqlx},
    postgres::{BEING_BUILT, identifier, literal, own_query::Question},
};
use known_tools::ToolLedger;
use std::{fmt, time::Duration};

/// Whose ledger, and with it whose file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Ours, and `NNNN_name.sql`.
    Plain,
    /// sqlx's, and the same or `NNNN_name.up.sql`.
    Sqlx,
}

impl Layout {
    /// As written in inputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sqlx => "sqlx",
        }
    }
}

/// A table by schema and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl Table {
    /// The table beside this one with a suffix to its name.
    #[must_use]
    pub fn beside(&self, suffix: &str) -> Self {
        Self { schema: self.schema.clone(), name: format!("{}{suffix}", self.name) }
    }

    /// Quoted and qualified, ready for SQL.
    #[must_use]
    pub fn sql(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// One row of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Which migration.
    pub version: i64,
    /// Its name as it was recorded.
    pub name: String,
    /// The checksum of its file.
    pub checksum: Vec<u8>,
    /// Not `false` unless the tool that wrote it stopped inside.
    pub success: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What is written when a migration is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Which migration.
    pub version: i64,
    /// Its name.
    pub name: &'a str,
    /// The checksum of its file.
    pub checksum: &'a [u8],
    /// The page of the run that applied it.
    pub run: Option<&'a str>,
    /// How long it took, when that is not how long the transaction has run.
    pub took: Option<Duration>,
}

/// The ledger of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Whose.
    pub layout: Layout,
    /// Where.
    pub table: Table,
    /// Whether the table is there.
    pub exists: bool,
    /// Whether its schema is there.
    pub schema_exists: bool,
    /// Whether the table of half-done migrations is there.
    pub progress_exists: bool,
}

impl Ledger {
    /// Everything the plan needs to know from the database, for one round trip; see [`Content::parse`].
    #[must_use]
    pub fn read(&self, others: &[ToolLedger]) -> Question {
        Question::reading(self.read_sql() + &known_tools::in_use_sql(others) + &invalid_indexes_sql())
    }

    fn read_sql(&self) -> String {
        let mut sql = String::new();
        if self.exists {
            sql += &match self.layout {
                Layout::Plain => plain::read_sql(&self.table),
                Layout::Sqlx => sqlx::read_sql(&self.table),
            };
        }
        if self.progress_exists {
            sql += &progress::read_sql(&self.progress_table());
        }
        sql
    }

    /// Makes what is missing; `None` when nothing is.
    #[must_use]
    pub fn create_sql(&self) -> Option<String> {
        if self.exists {
            return None;
        }
        let schema = if self.schema_exists {
            String::new()
        } else {
            format!("CREATE SCHEMA IF NOT EXISTS {}; ", identifier(&self.table.schema))
        };
        let table = match self.layout {
            Layout::Plain => plain::create_sql(&self.table),
            Layout::Sqlx => sqlx::create_sql(&self.table),
        };
        Some(schema + &table)
    }

    /// Records a migration and returns how many milliseconds its transaction took.
    #[must_use]
    pub fn insert_sql(&self, entry: &Entry<'_>) -> String {
        match self.layout {
            Layout::Plain => plain::insert_sql(&self.table, entry),
            Layout::Sqlx => sqlx::insert_sql(&self.table, entry),
        }
    }

    /// The same ledger after it was made.
    #[must_use]
    pub fn made(&self) -> Self {
        Self { exists: true, schema_exists: true, ..self.clone() }
    }

    /// An SQL condition: this version is recorded.
    #[must_use]
    pub fn is_recorded_sql(&self, version: i64) -> String {
        format!("EXISTS (SELECT FROM {} WHERE version = {version})", self.table.sql())
    }

    /// Where half-done migrations without a transaction keep their place.
    #[must_use]
    pub fn progress_table(&self) -> Table {
        self.table.beside("_progress")
    }
}

/// Indexes that a failed CREATE INDEX CONCURRENTLY left behind. Left out: those that somebody is building at this moment,
/// and partitioned ones, which are invalid until every partition has its part.
#[must_use]
pub fn invalid_indexes_sql() -> String {
    format!(
        "SELECT 'index', i.indexrelid::pg_catalog.regclass::text FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE NOT i.indisvalid AND c.relkind = 'i' AND NOT {BEING_BUILT}"
    )
}

/// What the database says: the ledger, what is half-done, what is broken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The ledger's rows, by version.
    pub recorded: Vec<Recorded>,
    /// Migrations without a transaction that were begun and not finished.
    pub progress: Vec<ProgressRow>,
    /// INVALID indexes, with their schemas.
    pub invalid_indexes: Vec<String>,
    /// Other ledgers that have rows: whose they are, and where.
    pub others: Vec<(String, Table)>,
}

impl Content {
    /// Reads the answer to [`Ledger::read`].
    #[must_use]
    pub fn parse(answer: &[Vec<Option<String>>]) -> Self {
        let mut content = Self::default();
        for row in answer {
            let field = |index: usize| row.get(index).and_then(Option::as_deref).unwrap_or_default();
            match field(0) {
                "ledger" => content.recorded.push(Recorded {
                    version: field(1).parse().unwrap_or_default(),
                    name: field(2).to_owned(),
                    checksum: hex::decode(field(3)),
                    success: field(4) != "f",
                    took_ms: field(5).parse().unwrap_or_default(),
                }),
                "progress" => content.progress.extend(progress::parse(row)),
                "index" => content.invalid_indexes.push(field(1).to_owned()),
                "in use" => {
                    let table = Table { schema: field(2).to_owned(), name: field(3).to_owned() };
                    content.others.push((field(1).to_owned(), table));
                }
                _ => {}
            }
        }
        content
    }
}

/// How long a migration took, as SQL, in units of which a second has so many.
pub(crate) fn took_sql(entry: &Entry<'_>, units: u64) -> String {
    const TRANSACTION: &str = "EXTRACT(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp())";
    match entry.took {
        None => format!("pg_catalog.round({units} * {TRANSACTION})::bigint"),
        Some(took) => format!("pg_catalog.round({units} * {}.{:09})::bigint", took.as_secs(), took.subsec_nanos()),
    }
}

pub(crate) fn hex_literal(bytes: &[u8]) -> String {
    literal(&hex::encode(bytes))
}

pub(crate) fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), literal)
}
