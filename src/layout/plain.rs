//! Plain files, `NNNN_name.sql`, with a ledger of our own.

use super::{
    LayoutRules, ProgressPlace,
    file_name::{FileName, FileRole},
    origin::{OriginSql, RowDetail, time_sql},
    reading::{Fit, FoundFiles},
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

    /// `.up.sql` is no name of a plain file, and `.down.sql` is the way back of one.
    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        let has_up = found.names.iter().any(|name| name.role == FileRole::Up);
        let has_whole = |down: &FileName| {
            found.names.iter().any(|name| name.role == FileRole::Whole && name.version == down.version)
        };
        let mut downs = found.names.iter().filter(|name| name.role == FileRole::Down);
        if found.are_all_read() && !has_up && downs.all(|down| has_whole(down)) { Fit::Possible } else { Fit::No }
    }

    fn refuse_name(&self, name: &FileName) -> Option<(String, &'static str)> {
        (name.role == FileRole::Up).then(|| {
            let cause = "ends in `.up.sql`, which plain files don't".to_owned();
            (cause, "set `layout: golang-migrate` or `layout: sqlx` if that tool keeps the ledger; else drop the `.up`")
        })
    }

    fn default_table(&self) -> &'static str {
        "bastion_migrate.ledger"
    }

    fn tenant_table(&self) -> Option<&'static str> {
        Some("bastion_migrate_ledger")
    }

    fn columns(&self) -> &'static [&'static str] {
        COLUMNS
    }

    fn unique_column(&self) -> Option<&'static str> {
        Some("applied_by")
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

    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, version, name, checksum, 't', duration_ms{} FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some(time_sql!("applied_at")), role: Some("applied_by"), run: Some("run") }
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

    fn progress_place(&self) -> ProgressPlace {
        ProgressPlace::BesideLedger
    }
}
