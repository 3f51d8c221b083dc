//! How far a migration without a transaction got: one row from its first statement to its ledger row.

use crate::{layout::Table, postgres::literal};

/// One half-done migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRow {
    /// Which migration.
    pub version: String,
    /// The last statement that was begun; 1-based.
    pub started: usize,
    /// The last statement that is known to be done.
    pub done: usize,
    /// SHA-256, in hexadecimal, of the statements that are done and of the one begun.
    pub checksum: String,
}

pub(super) fn read_sql(table: &Table) -> String {
    select_sql(table) + "; "
}

fn select_sql(table: &Table) -> String {
    format!("SELECT 'progress', version, started, done, checksum FROM {}", table.sql())
}

pub(super) fn parse(row: &[Option<String>]) -> Option<ProgressRow> {
    let field = |index: usize| row.get(index).and_then(Option::as_deref);
    Some(ProgressRow {
        version: field(1)?.to_owned(),
        started: field(2)?.parse().ok()?,
        done: field(3)?.parse().ok()?,
        checksum: field(4)?.to_owned(),
    })
}

/// The SQL that keeps the place of one migration.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The table.
    pub table: &'a Table,
    /// Whether the table was there before the run.
    pub exists: bool,
    /// The migration.
    pub version: &'a str,
}

impl Progress<'_> {
    /// Makes the table if need be, without the notice that it is there, and finds the place. With `IF NOT EXISTS`, too,
    /// PostgreSQL asks for the right to create tables, which a role that writes to the table need not have.
    #[must_use]
    pub fn find_sql(&self) -> String {
        let find = format!("{} WHERE version = {}", select_sql(self.table), literal(self.version));
        if self.exists {
            return find;
        }
        format!(
            "SET client_min_messages = warning; \
             CREATE TABLE IF NOT EXISTS {} (version text PRIMARY KEY, started integer NOT NULL, done integer NOT NULL, \
             checksum text NOT NULL); RESET client_min_messages; {find}",
            self.table.sql(),
        )
    }

    /// Puts the place: `started` was begun, `done` is done.
    #[must_use]
    pub fn put_sql(&self, started: usize, done: usize, checksum: &str) -> String {
        format!(
            "INSERT INTO {} (version, started, done, checksum) VALUES ({}, {started}, {done}, {sum}) \
             ON CONFLICT (version) DO UPDATE SET started = {started}, done = {done}, checksum = {sum}",
            self.table.sql(),
            literal(self.version),
            sum = literal(checksum),
        )
    }

    /// Forgets it: the ledger has the migration now.
    #[must_use]
    pub fn remove_sql(&self) -> String {
        format!("DELETE FROM {} WHERE version = {}", self.table.sql(), literal(self.version))
    }
}
