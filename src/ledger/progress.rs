//! The progress of a migration without a transaction: a row that exists from its first statement until its ledger row
//! is written.

use crate::{
    layout::Table,
    postgres::{Row, RowTag, Rows, quote_literal},
};

/// The progress of a half-done migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRow {
    /// The version of the migration.
    pub version: String,
    /// The last statement that was started; 1-based.
    pub started: usize,
    /// The last statement that is known to be done.
    pub done: usize,
    /// The SHA-256, in hexadecimal, of the statements up to the last started one.
    pub checksum: String,
}

pub(super) fn read_sql(table: &Table) -> String {
    select_sql(table) + "; "
}

fn select_sql(table: &Table) -> String {
    format!("SELECT {}, version, started, done, checksum FROM {}", RowTag::Progress, table.to_sql())
}

/// Reads the response to [`read_sql`] or [`ProgressRecord::find_sql`].
pub(super) fn parse_rows(rows: &Rows) -> Vec<ProgressRow> {
    let progress = |row: Row<'_>| {
        let [version, started, done, checksum] = row.columns();
        Some(ProgressRow {
            version: version?.to_owned(),
            started: started?.parse().ok()?,
            done: done?.parse().ok()?,
            checksum: checksum?.to_owned(),
        })
    };
    rows.tagged(RowTag::Progress).filter_map(progress).collect()
}

/// The SQL for the progress row of one migration.
#[derive(Debug, Clone, Copy)]
pub struct ProgressRecord<'a> {
    /// The table.
    pub table: &'a Table,
    /// Set if the table existed before the run.
    pub exists: bool,
    /// The version of the migration.
    pub version: &'a str,
}

impl ProgressRecord<'_> {
    /// Returns the query for the row. It first creates the table if the run did not find it, and suppresses the notice
    /// that it may exist. An existing table must not be created: even with `IF NOT EXISTS` PostgreSQL requires the
    /// right to create tables, which a role that may write to the table need not have.
    #[must_use]
    pub fn find_sql(&self) -> String {
        let find = format!("{} WHERE version = {}", select_sql(self.table), quote_literal(self.version));
        if self.exists {
            return find;
        }
        format!(
            "SET client_min_messages = warning; \
             CREATE TABLE IF NOT EXISTS {} (version text PRIMARY KEY, started integer NOT NULL, done integer NOT NULL, \
             checksum text NOT NULL); RESET client_min_messages; {find}",
            self.table.to_sql(),
        )
    }

    /// Returns the SQL that records the last started and the last done statement.
    #[must_use]
    pub fn save_sql(&self, started: usize, done: usize, checksum: &str) -> String {
        format!(
            "INSERT INTO {} (version, started, done, checksum) VALUES ({}, {started}, {done}, {sum}) \
             ON CONFLICT (version) DO UPDATE SET started = {started}, done = {done}, checksum = {sum}",
            self.table.to_sql(),
            quote_literal(self.version),
            sum = quote_literal(checksum),
        )
    }

    /// Returns the SQL that deletes the row, once the ledger has the migration.
    #[must_use]
    pub fn remove_sql(&self) -> String {
        format!("DELETE FROM {} WHERE version = {}", self.table.to_sql(), quote_literal(self.version))
    }
}
