//! sqlx's ledger, row for row as sqlx 0.9 writes it, so that sqlx's own tools go on working with the database.

use crate::{
    ledger::{Entry, Table, hex_literal, took_sql},
    postgres::literal,
};

/// What the table must have to be sqlx's.
pub(crate) const COLUMNS: &[&str] =
    &["version", "description", "installed_on", "success", "checksum", "execution_time"];

pub(crate) fn create_sql(table: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (\
         version BIGINT PRIMARY KEY, \
         description TEXT NOT NULL, \
         installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), \
         success BOOLEAN NOT NULL, \
         checksum BYTEA NOT NULL, \
         execution_time BIGINT NOT NULL)",
        table.sql()
    )
}

pub(crate) fn read_sql(table: &Table) -> String {
    format!(
        "SELECT 'ledger', version, description, pg_catalog.encode(checksum, 'hex'), success, execution_time / 1000000 FROM {} ORDER BY version; ",
        table.sql()
    )
}

/// `execution_time` is in nanoseconds; `description` is the file's name with blanks for underscores.
pub(crate) fn insert_sql(table: &Table, entry: &Entry<'_>) -> String {
    format!(
        "INSERT INTO {} (version, description, success, checksum, execution_time) \
         VALUES ({}, {}, TRUE, pg_catalog.decode({}, 'hex'), {}) RETURNING execution_time / 1000000",
        table.sql(),
        entry.version,
        literal(&entry.name.replace('_', " ")),
        hex_literal(entry.checksum),
        took_sql(entry, 1_000_000_000),
    )
}
