//! sqlx's ledger, row for row as sqlx 0.9 writes it, so that sqlx's own tools go on working with the database.

use super::{Entry, Table, hex_literal, took_sql};
use crate::postgres::literal;

/// What the table must have to be sqlx's.
pub(super) const COLUMNS: &[&str] =
    &["version", "description", "installed_on", "success", "checksum", "execution_time"];

pub(super) fn create_sql(table: &Table) -> String {
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

pub(super) fn read_sql(table: &Table) -> String {
    format!(
        "SELECT 'ledger', version, description, pg_catalog.encode(checksum, 'hex'), success, execution_time / 1000000 FROM {} ORDER BY version; ",
        table.sql()
    )
}

/// `execution_time` is in nanoseconds; `description` is the file's name with blanks for underscores.
pub(super) fn insert_sql(table: &Table, entry: &Entry<'_>) -> String {
    format!(
        "INSERT INTO {} (version, description, success, checksum, execution_time) \
         VALUES ({}, {}, TRUE, pg_catalog.decode({}, 'hex'), 1000000 * {}) RETURNING execution_time / 1000000",
        table.sql(),
        entry.version,
        literal(&entry.name.replace('_', " ")),
        hex_literal(entry.checksum),
        took_sql(entry),
    )
}
