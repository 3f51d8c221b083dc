//! Our own ledger.

use crate::{
    ledger::{Entry, Table, hex_literal, optional, took_sql},
    postgres::literal,
};

/// What the table must have to be ours.
pub(crate) const COLUMNS: &[&str] = &["version", "name", "checksum", "applied_at", "duration_ms", "applied_by", "run"];

pub(crate) fn create_sql(table: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\
         version bigint PRIMARY KEY, \
         name text NOT NULL, \
         checksum text NOT NULL, \
         applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), \
         duration_ms bigint NOT NULL, \
         applied_by text NOT NULL DEFAULT session_user, \
         run text)",
        table.sql()
    )
}

pub(crate) fn read_sql(table: &Table) -> String {
    format!("SELECT 'ledger', version, name, checksum, 't', duration_ms FROM {} ORDER BY version; ", table.sql())
}

pub(crate) fn insert_sql(table: &Table, entry: &Entry<'_>) -> String {
    format!(
        "INSERT INTO {} (version, name, checksum, duration_ms, run) VALUES ({}, {}, {}, {}, {}) RETURNING duration_ms",
        table.sql(),
        entry.version,
        literal(entry.name),
        hex_literal(entry.checksum),
        took_sql(entry, 1_000),
        optional(entry.run),
    )
}
