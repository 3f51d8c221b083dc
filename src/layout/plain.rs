//! Plain files, `NNNN_name.sql`, with a ledger of our own.

use super::{
    Fit, LayoutRules,
    checksum::ChecksumDigest,
    file_name::{Direction, FileName},
    table::{NewRow, Table},
};
use crate::postgres::{RowTag, quote_literal};

/// The columns of our own ledger.
pub(crate) const COLUMNS: &[&str] = &["version", "name", "checksum", "applied_at", "duration_ms", "applied_by", "run"];

/// The layout `plain`.
pub(super) struct Plain;

impl LayoutRules for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn fit_names(&self, _names: &[&FileName]) -> Fit {
        Fit::Possible
    }

    /// Plain files have no way back: a `.down.sql` would be run like any other.
    fn refuse_name(&self, name: &FileName) -> Option<(String, &'static str)> {
        let ending = match name.direction {
            Direction::Irreversible => return None,
            Direction::Up => ".up.sql",
            Direction::Down => ".down.sql",
        };
        Some((
            format!("ends in `{ending}`, which plain files don't"),
            "set `layout: sqlx` if sqlx keeps the ledger; else drop the `.up` and move the `.down.sql` files away",
        ))
    }

    fn start_checksum(&self) -> ChecksumDigest {
        ChecksumDigest::sha256_without_carriage_returns()
    }

    fn default_table(&self) -> &'static str {
        "bastion_migrate.ledger"
    }

    fn columns(&self) -> &'static [&'static str] {
        COLUMNS
    }

    fn unique_column(&self) -> &'static str {
        "applied_by"
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             version bigint PRIMARY KEY, \
             name text NOT NULL, \
             checksum text NOT NULL, \
             applied_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(), \
             duration_ms bigint NOT NULL, \
             applied_by text NOT NULL DEFAULT session_user, \
             run text)",
            table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table) -> String {
        format!(
            "SELECT {}, version, name, checksum, 't', duration_ms FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            table.to_sql()
        )
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        format!(
            "INSERT INTO {} (version, name, checksum, duration_ms, run) VALUES ({}, {}, {}, {}, {}) RETURNING duration_ms",
            table.to_sql(),
            quote_literal(row.version),
            quote_literal(row.name),
            row.checksum_sql(),
            row.duration_sql(1_000),
            row.run_url.map_or_else(|| "NULL".to_owned(), quote_literal),
        )
    }
}
