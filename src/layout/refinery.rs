//! refinery's files, `V1__name.sql`, and its ledger (refinery-core 0.10, `util.rs`, `runner.rs`).

use super::{
    Depth, LayoutRules,
    checksum::ChecksumDigest,
    file_name::{self, FileName, FileRole},
    origin::{OriginSql, RowDetail},
    reading::{Fit, FoundFiles, PathReading},
    table::{NewRow, Table},
};
use crate::postgres::{RowTag, quote_literal};

/// The layout `refinery`.
pub(super) struct Refinery;

impl LayoutRules for Refinery {
    fn name(&self) -> &'static str {
        "refinery"
    }

    fn depth(&self) -> Depth {
        Depth::Recursive
    }

    /// refinery reads `^([U|V])(\d+(?:\.\d+)?)__(\w+)\.(rs|sql)$` in every directory, and ignores all other files. Its
    /// versions are whole numbers. `U` stands for a migration without an order, not for a way back.
    fn read_path(&self, path: &str) -> PathReading {
        let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
        let (stem, role) = match (file.strip_suffix(".sql"), file.strip_suffix(".rs")) {
            (Some(stem), _) => (stem, FileRole::Whole),
            (None, Some(stem)) => (stem, FileRole::Program),
            (None, None) if file_name::is_sql(file) => return PathReading::LeftOut,
            (None, None) => return PathReading::Unrelated,
        };
        let other = if role == FileRole::Whole { PathReading::LeftOut } else { PathReading::Unrelated };
        let parts = stem.strip_prefix(['V', 'U']).and_then(|rest| rest.split_once("__"));
        let Some((version, name)) = parts else { return other };
        let is_name = !name.is_empty() && name.chars().all(|character| character.is_alphanumeric() || character == '_');
        match (file_name::is_digits(version), is_name, file_name::canonical_number(version)) {
            (true, true, Some(version)) => PathReading::Migration(FileName { version, name: name.to_owned(), role }),
            (true, true, None) => PathReading::Unreadable(file_name::number_too_large()),
            _ => other,
        }
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if found.are_all_read() { Fit::Possible } else { Fit::No }
    }

    fn config_files(&self) -> &'static [&'static str] {
        &["refinery.toml"]
    }

    fn start_checksum(&self, name: &FileName) -> ChecksumDigest {
        ChecksumDigest::of_refinery(&name.name, &name.version)
    }

    fn default_table(&self) -> &'static str {
        "refinery_schema_history"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version", "name", "applied_on", "checksum"]
    }

    fn unique_column(&self) -> Option<&'static str> {
        Some("applied_on")
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             version INT4 PRIMARY KEY, \
             name VARCHAR(255), \
             applied_on VARCHAR(255), \
             checksum VARCHAR(255))",
            table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, version, name, pg_catalog.encode(pg_catalog.convert_to(checksum, 'UTF8'), 'hex'), true, NULL{} \
             FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some("applied_on"), ..OriginSql::default() }
    }

    /// The checksum contains the version, as an integer of the column's size.
    fn way_back(&self) -> &'static str {
        "way back: refinery has none"
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        let long = row.checksum.variants().first().map(|long| String::from_utf8_lossy(long)).unwrap_or_default();
        format!(
            "INSERT INTO {table} (version, name, applied_on, checksum) SELECT {version}::bigint, {name}, \
             pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = {regclass}::pg_catalog.regclass \
             AND a.attname = 'version' AND a.atttypid = 'pg_catalog.int8'::pg_catalog.regtype) THEN {long} ELSE {short} END \
             RETURNING {took}",
            table = table.to_sql(),
            version = quote_literal(row.version),
            name = quote_literal(row.name),
            regclass = quote_literal(&table.to_sql()),
            long = quote_literal(&long),
            short = row.checksum_text_sql(),
            took = row.duration_sql(1_000)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_that_refinery_reads() {
        let read = |path: &str| match Refinery.read_path(path) {
            PathReading::Migration(name) => Some((name.version, name.name, name.role)),
            _ => None,
        };
        for (path, version, name, role) in [
            ("V1__initial.sql", "1", "initial", FileRole::Whole),
            ("sub/dir/V20240131__add_pets.sql", "20240131", "add_pets", FileRole::Whole),
            ("U3__late.sql", "3", "late", FileRole::Whole),
            ("V4__fill.rs", "4", "fill", FileRole::Program),
        ] {
            assert_eq!(read(path), Some((version.to_owned(), name.to_owned(), role)), "{path}");
        }
        for path in
            ["V1_a.sql", "1__a.sql", "V__a.sql", "V1__.sql", "V1__a b.sql", "R__view.sql", "mod.rs", "V1.2__a.sql"]
        {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
