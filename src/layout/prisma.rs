//! Prisma's directories with `migration.sql`, and its ledger (prisma-engines, `schema-engine`,
//! `migration_persistence.rs`).

use super::{
    Depth, LayoutRules, OwnTransactionTreatment,
    checksum::ChecksumDigest,
    file_name::{self, FileName, FileRole},
    origin::{OriginSql, RowDetail, time_sql},
    reading::{Fit, FoundFiles, PathReading},
    table::{MigrationKey, NewRow, Table},
};
use crate::postgres::{RowTag, quote_literal};
use std::cmp::Ordering;

/// The layout `prisma`.
pub(super) struct Prisma;

/// The key of Prisma's advisory lock (prisma-engines, `acquire_lock`).
const LOCK: i64 = 72_707_369;

impl LayoutRules for Prisma {
    fn name(&self) -> &'static str {
        "prisma"
    }

    fn depth(&self) -> Depth {
        Depth::Directories
    }

    /// The name of the directory identifies the migration: several may have the same timestamp.
    fn read_path(&self, path: &str) -> PathReading {
        match path.split_once('/') {
            Some((directory, "migration.sql")) => PathReading::Migration(FileName {
                version: directory.to_owned(),
                name: directory.to_owned(),
                role: FileRole::Whole,
            }),
            _ if file_name::is_sql(path) => PathReading::LeftOut,
            _ => PathReading::Unrelated,
        }
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if !found.names.is_empty() && found.marks.is_empty() { Fit::Certain } else { Fit::No }
    }

    fn config_files(&self) -> &'static [&'static str] {
        &["migration_lock.toml"]
    }

    fn own_transactions(&self) -> OwnTransactionTreatment {
        OwnTransactionTreatment::OneMessage
    }

    fn canonical_version(&self, version: &str) -> Option<String> {
        let is_dated = version.starts_with(|character: char| character.is_ascii_digit());
        (is_dated && !version.contains(['/', ' ', '\n'])).then(|| version.to_owned())
    }

    fn compare_versions(&self, left: &str, right: &str) -> Ordering {
        left.cmp(right)
    }

    fn first_gap(&self, _before: &str, _after: &str) -> Option<String> {
        None
    }

    fn start_checksum(&self, _name: &FileName) -> ChecksumDigest {
        ChecksumDigest::sha256_text()
    }

    fn default_table(&self) -> &'static str {
        "_prisma_migrations"
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "id",
            "checksum",
            "finished_at",
            "migration_name",
            "logs",
            "rolled_back_at",
            "started_at",
            "applied_steps_count",
        ]
    }

    fn unique_column(&self) -> Option<&'static str> {
        Some("applied_steps_count")
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             id VARCHAR(36) PRIMARY KEY NOT NULL, \
             checksum VARCHAR(64) NOT NULL, \
             finished_at TIMESTAMPTZ, \
             migration_name VARCHAR(255) NOT NULL, \
             logs TEXT, \
             rolled_back_at TIMESTAMPTZ, \
             started_at TIMESTAMPTZ NOT NULL DEFAULT now(), \
             applied_steps_count INTEGER NOT NULL DEFAULT 0)",
            table.to_sql()
        )
    }

    /// A row that is rolled back does not count; a migration may have several.
    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, migration_name, migration_name, pg_catalog.encode(pg_catalog.convert_to(checksum, 'UTF8'), 'hex'), \
             finished_at IS NOT NULL, pg_catalog.floor(EXTRACT(epoch FROM finished_at - started_at) * 1000)::bigint{} \
             FROM {} WHERE rolled_back_at IS NULL ORDER BY started_at; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some(time_sql!("coalesce(finished_at, started_at)")), ..OriginSql::default() }
    }

    fn way_back(&self) -> &'static str {
        "way back: Prisma has none"
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        format!(
            "INSERT INTO {} (id, checksum, finished_at, migration_name, logs, rolled_back_at, started_at, applied_steps_count) \
             VALUES (pg_catalog.gen_random_uuid()::text, {}, pg_catalog.clock_timestamp(), {}, NULL, NULL, \
             pg_catalog.clock_timestamp() - {} * interval '1 ms', 1) RETURNING {}",
            table.to_sql(),
            row.checksum_text_sql(),
            quote_literal(row.version),
            row.duration_sql(1_000),
            row.duration_sql(1_000)
        )
    }

    /// As `prisma migrate resolve --rolled-back` does it: the row stays.
    fn remove_sql(&self, table: &Table, version: &str, _previous: Option<&str>) -> String {
        format!(
            "UPDATE {} SET rolled_back_at = pg_catalog.clock_timestamp() WHERE migration_name = {} AND rolled_back_at IS NULL",
            table.to_sql(),
            quote_literal(version)
        )
    }

    fn is_recorded_sql(&self, table: &Table, migration: &MigrationKey<'_>) -> String {
        format!(
            "EXISTS (SELECT FROM {} WHERE migration_name = {} AND finished_at IS NOT NULL AND rolled_back_at IS NULL)",
            table.to_sql(),
            quote_literal(migration.version)
        )
    }

    fn lock_keys(&self, _database: &str, _table: &Table) -> Vec<i64> {
        vec![LOCK]
    }
}
