//! sqlx's files and sqlx's ledger, row for row as sqlx 0.9 writes it, so that sqlx's own tools go on working with the
//! database.

use super::{
    Fit, LayoutRules,
    checksum::ChecksumDigest,
    file_name::{Direction, FileName},
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

    /// Only reversible migrations are sqlx's alone: simple ones are named like plain files.
    fn fit_names(&self, names: &[&FileName]) -> Fit {
        if names.iter().any(|name| name.direction != Direction::Irreversible) { Fit::Certain } else { Fit::Possible }
    }

    fn refuse_name(&self, _name: &FileName) -> Option<(String, &'static str)> {
        None
    }

    fn start_checksum(&self) -> ChecksumDigest {
        ChecksumDigest::sha384()
    }

    fn default_table(&self) -> &'static str {
        "_sqlx_migrations"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version", "description", "installed_on", "success", "checksum", "execution_time"]
    }

    fn unique_column(&self) -> &'static str {
        "execution_time"
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

    fn read_sql(&self, table: &Table) -> String {
        format!(
            "SELECT {}, version, description, pg_catalog.encode(checksum, 'hex'), success, execution_time / 1000000 \
             FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            table.to_sql()
        )
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
    fn lock_key(&self, database: &str) -> Option<i64> {
        Some(0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes())))
    }

    /// Looks between the files and the root of the workspace for sqlx's configuration, the files of
    /// `cargo sqlx prepare`, or a package that depends on sqlx (sqlx 0.9, README).
    fn find_application(&self, given_path: &Path, directory: &Path) -> Option<String> {
        // A path from the root of the machine does not show where a project begins.
        let depth = if given_path.is_absolute() { 2 } else { given_path.components().count() + 1 };
        let mut directories = directory.ancestors().zip(given_path.ancestors()).take(depth);
        directories.find_map(|(directory, given_path)| {
            let display = |name: &str| given_path.join(name).to_string_lossy().into_owned();
            let marker = ["sqlx.toml", ".sqlx"].into_iter().find(|name| directory.join(name).exists());
            marker.or_else(|| depends_on_sqlx(directory).then_some("Cargo.toml")).map(display)
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
        Sqlx.find_application(Path::new("backend/migrations"), &workspace.path().join("backend/migrations"))
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
    fn only_reversible_migrations_are_certainly_of_sqlx() {
        let names = ["1_a.sql", "2_a.up.sql", "2_a.down.sql"].map(|name| Sqlx.read_file_name(name).unwrap());
        let [plain, up, down] = &names;
        assert_eq!(Sqlx.fit_names(&[plain]), Fit::Possible);
        assert_eq!(Sqlx.fit_names(&[plain, up]), Fit::Certain);
        assert_eq!(Sqlx.fit_names(&[plain, down]), Fit::Certain);
    }

    #[test]
    fn computes_the_lock_key_of_sqlx() {
        // CRC-32 of the check string, as its definition has it.
        assert_eq!(Sqlx.lock_key("123456789"), Some(0x3d32_ad9e * 0xcbf4_3926));
    }
}
