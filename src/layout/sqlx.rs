//! sqlx's files and sqlx's ledger, row for row as sqlx 0.9 writes it, so that sqlx's own tools go on working with the
//! database.

use super::{
    LayoutRules,
    application::{Evidence, FoundEvidence, find_above},
    checksum::ChecksumDigest,
    file_name::FileName,
    origin::{OriginSql, RowDetail, time_sql},
    table::{NewRow, Table},
};
use crate::postgres::{RowTag, quote_literal};
use std::{fs, path::Path};

/// The layout `sqlx`.
pub(super) struct Sqlx;

impl LayoutRules for Sqlx {
    fn name(&self) -> &'static str {
        "sqlx"
    }

    fn start_checksum(&self, _name: &FileName) -> ChecksumDigest {
        ChecksumDigest::sha384()
    }

    fn default_table(&self) -> &'static str {
        "_sqlx_migrations"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version", "description", "installed_on", "success", "checksum", "execution_time"]
    }

    fn unique_column(&self) -> Option<&'static str> {
        Some("execution_time")
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             version BIGINT PRIMARY KEY, \
             description TEXT NOT NULL, \
             installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), \
             success BOOLEAN NOT NULL, \
             checksum BYTEA NOT NULL, \
             execution_time BIGINT NOT NULL)",
            table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, version, description, pg_catalog.encode(checksum, 'hex'), success, execution_time / 1000000{} \
             FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some(time_sql!("installed_on")), ..OriginSql::default() }
    }

    /// `execution_time` is in nanoseconds; `description` is the file's name with blanks for underscores.
    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        format!(
            "INSERT INTO {} (version, description, success, checksum, execution_time) \
             VALUES ({}, {}, TRUE, pg_catalog.decode({}, 'hex'), {}) RETURNING execution_time / 1000000",
            table.to_sql(),
            quote_literal(row.version),
            quote_literal(&row.name.replace('_', " ")),
            row.checksum_sql(),
            row.duration_sql(1_000_000_000),
        )
    }

    /// The key of sqlx 0.9, `generate_lock_id`.
    fn lock_keys(&self, database: &str, _table: &Table) -> Vec<i64> {
        vec![0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))]
    }

    /// Looks for sqlx's configuration, the files of `cargo sqlx prepare`, or a package that depends on sqlx (sqlx 0.9,
    /// README).
    fn find_evidence(&self, given_path: &Path, directory: &Path) -> Option<FoundEvidence> {
        find_above(given_path, directory, |directory| match () {
            () if directory.join("sqlx.toml").exists() => Some(("sqlx.toml", Evidence::Configuration)),
            () if directory.join(".sqlx").exists() => Some((".sqlx", Evidence::Dependency)),
            () if depends_on_sqlx(directory) => Some(("Cargo.toml", Evidence::Dependency)),
            () => None,
        })
    }
}

/// Reports whether the package names the crate at the beginning of a line, or as a table of its own.
fn depends_on_sqlx(directory: &Path) -> bool {
    let text = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    text.lines().map(str::trim).any(|line| {
        let name = line.trim_start_matches('[').trim_end_matches(']');
        let name = name.rsplit_once("dependencies.").map_or(name, |(_, name)| name);
        name.strip_prefix("sqlx").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '=', '.']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn found_marker(files: &[(&str, &str)]) -> Option<String> {
        let workspace = TempDir::new().unwrap();
        for (name, text) in files {
            let path = workspace.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let directory = workspace.path().join("backend/migrations");
        Sqlx.find_evidence(Path::new("backend/migrations"), &directory).map(|(file, _)| file)
    }

    #[test]
    fn finds_the_file_which_shows_that_the_application_uses_sqlx() {
        for (file, text) in [
            ("backend/Cargo.toml", "[dependencies]\nsqlx = { version = \"0.9\" }\n"),
            ("backend/Cargo.toml", "[dependencies.sqlx]\nversion = \"0.9\"\n"),
            ("Cargo.toml", "[workspace.dependencies]\nsqlx.workspace = true\n"),
            ("backend/sqlx.toml", ""),
            ("backend/.sqlx/query-1.json", "{}"),
        ] {
            assert_eq!(
                found_marker(&[("backend/migrations/1_a.sql", ""), (file, text)]).as_deref(),
                Some(file.split("/query").next().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn another_package_shows_nothing() {
        for text in ["[dependencies]\nsqlx-core = \"1\"\n", "[dependencies]\ndiesel = \"2\"\n", "# sqlx\n"] {
            assert_eq!(
                found_marker(&[("backend/migrations/1_a.sql", ""), ("backend/Cargo.toml", text)]),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn computes_the_lock_key_of_sqlx() {
        // CRC-32 of the check string, as its definition has it.
        let table = Table { schema: "public".to_owned(), name: "_sqlx_migrations".to_owned() };
        assert_eq!(Sqlx.lock_keys("123456789", &table), [0x3d32_ad9e * 0xcbf4_3926]);
    }
}
