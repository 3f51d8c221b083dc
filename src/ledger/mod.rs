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
    layout::{Layout, NewRow, Recorded, Table},
    postgres::{BEING_BUILT, identifier, own_query::Question},
};
use known_tools::ToolLedger;

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
            sql += &self.layout.read_sql(&self.table, "ledger");
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
        Some(schema + &self.layout.create_sql(&self.table))
    }

    /// Records a migration and returns how many milliseconds its transaction took.
    #[must_use]
    pub fn insert_sql(&self, row: &NewRow<'_>) -> String {
        self.layout.insert_sql(&self.table, row)
    }

    /// The same ledger after it was made.
    #[must_use]
    pub fn made(&self) -> Self {
        Self { exists: true, schema_exists: true, ..self.clone() }
    }

    /// An SQL condition: this version is recorded.
    #[must_use]
    pub fn is_recorded_sql(&self, version: &str) -> String {
        self.layout.is_recorded_sql(&self.table, version)
    }

    /// Where half-done migrations without a transaction keep their place.
    #[must_use]
    pub fn progress_table(&self) -> Table {
        self.table.sibling_table("_progress")
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
                    version: field(1).to_owned(),
                    name: field(2).to_owned(),
                    checksum: hex::decode(field(3)).unwrap_or_default(),
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
