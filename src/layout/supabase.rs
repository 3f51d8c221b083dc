//! Supabase's files, `<timestamp>_name.sql`, and its ledger (supabase/cli, `pkg/migration`).

use super::{
    LayoutRules,
    file_name::{self, FileName, FileRole},
    origin::RowDetail,
    reading::{Fit, FoundFiles, PathReading},
    table::{NewRow, Table},
};
use crate::postgres::{RowTag, quote_literal};
use std::cmp::Ordering;

/// The layout `supabase`.
pub(super) struct Supabase;

impl LayoutRules for Supabase {
    fn name(&self) -> &'static str {
        "supabase"
    }

    /// The CLI reads `^([0-9]+)_(.*)\.sql$`, and skips all other files.
    fn read_path(&self, path: &str) -> PathReading {
        let read = path.strip_suffix(".sql").filter(|stem| !stem.contains('/')).and_then(|stem| stem.split_once('_'));
        match read.filter(|(version, _)| file_name::is_digits(version)) {
            Some((version, name)) => PathReading::Migration(FileName {
                version: version.to_owned(),
                name: name.to_owned(),
                role: FileRole::Whole,
            }),
            None if file_name::is_sql(path) => PathReading::LeftOut,
            None => PathReading::Unrelated,
        }
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        let has_direction = |name: &&FileName| file_name::split_role(&name.name).1 != FileRole::Whole;
        if found.are_all_read() && !found.names.iter().any(has_direction) { Fit::Possible } else { Fit::No }
    }

    fn config_files(&self) -> &'static [&'static str] {
        &["supabase/config.toml"]
    }

    /// Versions are text; files are sorted by their names.
    fn canonical_version(&self, version: &str) -> Option<String> {
        file_name::is_digits(version).then(|| version.to_owned())
    }

    fn compare_versions(&self, left: &str, right: &str) -> Ordering {
        file_name::compare_as_names(left, right)
    }

    fn default_table(&self) -> &'static str {
        "supabase_migrations.schema_migrations"
    }

    fn tenant_table(&self) -> Option<&'static str> {
        None
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version", "statements", "name"]
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (version text NOT NULL PRIMARY KEY); \
             ALTER TABLE {table} ADD COLUMN IF NOT EXISTS statements text[]; \
             ALTER TABLE {table} ADD COLUMN IF NOT EXISTS name text",
            table = table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table, _: RowDetail) -> String {
        format!(
            "SELECT {}, version, coalesce(name, ''), NULL, true, NULL FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            table.to_sql()
        )
    }

    fn records_statements(&self) -> bool {
        true
    }

    fn way_back(&self) -> &'static str {
        "way back: Supabase has none"
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        let statements: Vec<String> = row.statements.iter().map(|statement| quote_literal(statement)).collect();
        format!(
            "INSERT INTO {} (version, name, statements) VALUES ({}, {}, ARRAY[{}]::text[]) RETURNING {}",
            table.to_sql(),
            quote_literal(row.version),
            quote_literal(row.name),
            statements.join(", "),
            row.duration_sql(1_000)
        )
    }
}
