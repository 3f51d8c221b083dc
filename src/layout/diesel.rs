//! Diesel's directories with `up.sql` and `down.sql`, and its ledger (`diesel_migrations` 2.3, `file_based_migrations.rs`;
//! diesel 2.3, `migration_harness.rs`).

use super::{
    Depth, LayoutRules,
    file_name::{self, FileName, FileRole},
    origin::{OriginSql, RowDetail, time_sql},
    reading::{Fit, FoundFiles, PathReading},
    table::Table,
};
use crate::postgres::RowTag;
use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

/// The layout `diesel`.
pub(super) struct Diesel;

impl LayoutRules for Diesel {
    fn name(&self) -> &'static str {
        "diesel"
    }

    fn depth(&self) -> Depth {
        Depth::Directories
    }

    /// The version is the part of the directory's name before its first `_`, without `-`.
    fn read_path(&self, path: &str) -> PathReading {
        let other = if file_name::is_sql(path) { PathReading::LeftOut } else { PathReading::Unrelated };
        let Some((directory, file)) = path.split_once('/') else { return other };
        let role = match file {
            "up.sql" => FileRole::Whole,
            "down.sql" => FileRole::Down,
            _ => return other,
        };
        let (version, name) = directory.split_once('_').unwrap_or((directory, ""));
        match canonical(version) {
            Some(version) => PathReading::Migration(FileName { version, name: name.to_owned(), role }),
            None => {
                PathReading::Unreadable("is in a directory whose name does not begin with a version and `_`".to_owned())
            }
        }
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        let has_up = found.names.iter().any(|name| name.role == FileRole::Whole);
        if has_up && found.marks.is_empty() { Fit::Certain } else { Fit::No }
    }

    fn config_files(&self) -> &'static [&'static str] {
        &["diesel.toml"]
    }

    fn options_file(&self, path: &Path) -> Option<PathBuf> {
        Some(path.parent()?.join("metadata.toml"))
    }

    fn opt_out_line<'t>(&self, options: &'t str) -> Option<&'t str> {
        options.lines().find(|line| {
            let setting = line.split_once('#').map_or(*line, |(setting, _)| setting);
            let value = setting.split_once('=').filter(|(key, _)| key.trim() == "run_in_transaction");
            value.is_some_and(|(_, value)| value.trim() == "false")
        })
    }

    /// Versions are compared as text, whatever their length.
    fn canonical_version(&self, version: &str) -> Option<String> {
        canonical(version)
    }

    fn compare_versions(&self, left: &str, right: &str) -> Ordering {
        left.cmp(right)
    }

    fn default_table(&self) -> &'static str {
        "__diesel_schema_migrations"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version", "run_on"]
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (\
             version VARCHAR(50) PRIMARY KEY NOT NULL, \
             run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, version, '', NULL, true, NULL{} FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some(time_sql!("run_on")), ..OriginSql::default() }
    }

    fn way_back(&self) -> &'static str {
        "`down.sql`"
    }
}

fn canonical(version: &str) -> Option<String> {
    if !version.starts_with(|character: char| character.is_ascii_digit()) {
        return None;
    }
    let version = version.replace('-', "");
    file_name::is_digits(&version).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_directories_of_any_date() {
        for (path, version, name) in [
            ("00000000000000_diesel_initial_setup/up.sql", "00000000000000", "diesel_initial_setup"),
            ("2024-01-31-120000_add-users/up.sql", "20240131120000", "add-users"),
            ("2024-01-31-120000-0000_add_pets/up.sql", "202401311200000000", "add_pets"),
        ] {
            let expected = FileName { version: version.to_owned(), name: name.to_owned(), role: FileRole::Whole };
            assert_eq!(Diesel.read_path(path), PathReading::Migration(expected));
        }
        assert_eq!(Diesel.read_path("schema.sql"), PathReading::LeftOut);
        assert_eq!(Diesel.read_path("2024_a/notes.md"), PathReading::Unrelated);
        assert!(matches!(Diesel.read_path("old/up.sql"), PathReading::Unreadable(_)));
    }

    #[test]
    fn finds_the_line_that_opts_out() {
        assert_eq!(Diesel.opt_out_line("# about\nrun_in_transaction = false # an index\n").map(str::len), Some(37));
        for text in ["run_in_transaction = true\n", "# run_in_transaction = false\n", ""] {
            assert_eq!(Diesel.opt_out_line(text), None, "{text}");
        }
    }
}
