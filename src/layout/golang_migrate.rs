//! golang-migrate's files, `N_name.up.sql` and `N_name.down.sql`, and its ledger, which has only the newest version
//! (golang-migrate 4, `source/parse.go`, `database/postgres/postgres.go`).

use super::{
    LayoutRules, OwnTransactionTreatment,
    file_name::{self, FileName, FileRole},
    origin::RowDetail,
    reading::{Fit, FoundFiles, PathReading},
    table::{MigrationKey, NewRow, RecordedMigration, Table, rows_up_to},
};
use crate::postgres::{RowTag, quote_literal};

/// The layout `golang-migrate`.
pub(super) struct GolangMigrate;

/// The factor of `GenerateAdvisoryLockId` (golang-migrate 4, `database/util.go`).
const LOCK_SALT: u32 = 1_486_364_155;

impl LayoutRules for GolangMigrate {
    fn name(&self) -> &'static str {
        "golang-migrate"
    }

    /// golang-migrate takes any ending, `^([0-9]+)_(.*)\.(down|up)\.(.*)$`, and ignores all other files.
    fn read_path(&self, path: &str) -> PathReading {
        let is_sql = file_name::is_sql(path);
        let other = if is_sql { PathReading::LeftOut } else { PathReading::Unrelated };
        let marker = [".up.", ".down."].into_iter().filter_map(|mark| Some((path.rfind(mark)?, mark))).max();
        let Some((at, mark)) = marker.filter(|_| !path.contains('/')) else { return other };
        let (stem, ending) = (path.get(..at).unwrap_or_default(), path.get(at + mark.len()..).unwrap_or_default());
        let Some((number, name)) = stem.split_once('_') else { return other };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return other;
        }
        let role = match (mark, ending) {
            (".down.", _) => FileRole::Down,
            (_, "sql") => FileRole::Up,
            (_, "go") => FileRole::Program,
            _ => {
                return PathReading::Unreadable(format!("ends in `.{ending}`, and golang-migrate would run it as SQL"));
            }
        };
        match file_name::canonical_number(number) {
            Some(version) => PathReading::Migration(FileName { version, name: name.to_owned(), role }),
            None => PathReading::Unreadable(file_name::number_too_large()),
        }
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if found.are_all_read() { Fit::Possible } else { Fit::No }
    }

    fn own_transactions(&self) -> OwnTransactionTreatment {
        OwnTransactionTreatment::OneMessage
    }

    fn default_table(&self) -> &'static str {
        "schema_migrations"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version", "dirty"]
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (version bigint not null primary key, dirty boolean not null)",
            table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table, _: RowDetail) -> String {
        format!("SELECT {}, version, '', NULL, NOT dirty, NULL FROM {}; ", RowTag::RecordedMigration, table.to_sql())
    }

    fn records_newest_only(&self) -> bool {
        true
    }

    fn complete_rows(&self, rows: Vec<RecordedMigration>, versions: &[&str]) -> Vec<RecordedMigration> {
        rows_up_to(rows, versions, file_name::compare_numbers)
    }

    /// The table has one row. golang-migrate empties it with TRUNCATE, which needs a right of its own.
    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        format!(
            "DELETE FROM {table}; INSERT INTO {table} (version, dirty) VALUES ({}, false) RETURNING {}",
            quote_literal(row.version),
            row.duration_sql(1_000),
            table = table.to_sql()
        )
    }

    /// Before the first migration, the table has no row.
    fn remove_sql(&self, table: &Table, _version: &str, previous: Option<&str>) -> String {
        let table = table.to_sql();
        let insert =
            |version| format!("; INSERT INTO {table} (version, dirty) VALUES ({}, false)", quote_literal(version));
        format!("DELETE FROM {table}{}", previous.map(insert).unwrap_or_default())
    }

    fn is_recorded_sql(&self, table: &Table, migration: &MigrationKey<'_>) -> String {
        let version = quote_literal(migration.version);
        format!("EXISTS (SELECT FROM {} WHERE version = {version} AND NOT dirty)", table.to_sql())
    }

    /// A URL's name of the database keeps its slash there; a program that passes a connection has the name without it.
    fn lock_keys(&self, database: &str, table: &Table) -> Vec<i64> {
        let key = |database: String| {
            let text = format!("{}\0{}\0{database}", table.schema, table.name);
            i64::from(crc32fast::hash(text.as_bytes()).wrapping_mul(LOCK_SALT))
        };
        vec![key(format!("/{database}")), key(database.to_owned())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, String, FileRole)> {
        match GolangMigrate.read_path(path) {
            PathReading::Migration(name) => Some((name.version, name.name, name.role)),
            _ => None,
        }
    }

    #[test]
    fn reads_the_names_that_golang_migrate_reads() {
        for (path, version, name, role) in [
            ("000001_users.up.sql", "1", "users", FileRole::Up),
            ("000001_users.down.sql", "1", "users", FileRole::Down),
            ("1481574547_a.b.up.sql", "1481574547", "a.b", FileRole::Up),
            ("3_.up.sql", "3", "", FileRole::Up),
            ("4_seed.up.go", "4", "seed", FileRole::Program),
            ("5_a.down.up.sql", "5", "a.down", FileRole::Up),
        ] {
            assert_eq!(read(path), Some((version.to_owned(), name.to_owned(), role)), "{path}");
        }
        for path in ["1_a.sql", "schema.sql", "a/1_b.up.sql", "x1_a.up.sql"] {
            assert_eq!(GolangMigrate.read_path(path), PathReading::LeftOut, "{path}");
        }
        assert_eq!(GolangMigrate.read_path("migrations.go"), PathReading::Unrelated);
        for path in ["1_a.up.sql.orig", "99999999999999999999_a.up.sql"] {
            assert!(matches!(GolangMigrate.read_path(path), PathReading::Unreadable(_)), "{path}");
        }
    }

    #[test]
    fn computes_the_lock_key_of_golang_migrate() {
        let table = Table { schema: "public".to_owned(), name: "schema_migrations".to_owned() };
        // Measured with its command-line program.
        assert_eq!(GolangMigrate.lock_keys("bench", &table).first(), Some(&3_012_053_065));
    }
}
