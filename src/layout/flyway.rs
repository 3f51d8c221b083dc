//! Flyway's files, `V1__name.sql`, `R__name.sql` and `B1__name.sql`, and its ledger (Flyway 10, `ResourceNameParser`,
//! `MigrationVersion`, `JdbcTableSchemaHistory`, `PostgreSQLDatabase`).
//!
//! In a plan, a repeatable migration has the version `R__` with its description, and a baseline `B__` with its version.

use super::{
    Depth, LayoutRules,
    checksum::ChecksumDigest,
    file_name::{self, FileName, FileRole},
    flyway_version::{self, BASELINE, REPEATABLE},
    origin::{OriginSql, RowDetail, time_sql},
    placeholders::{self, FilledIn, ValueOf},
    reading::{Fit, FoundFiles, PathReading},
    sections::{SectionProblem, Sections, lines},
    table::{MigrationKey, NewRow, RecordedMigration, Table},
};
use crate::postgres::{RowTag, quote_identifier, quote_literal};
use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

/// The layout `flyway`.
pub(super) struct Flyway;

/// The number to which the hash of the table's name is added (Flyway 10, `PostgreSQLAdvisoryLockTemplate`).
const LOCK_BASE: i64 = 77_431_708_279_161;

/// Endings of migrations that are programs.
const PROGRAMS: [&str; 9] = ["java", "class", "kt", "py", "sh", "bash", "ps1", "cmd", "bat"];

/// SQL for the version of a row, without zeros that make no difference.
const CANONICAL_VERSION: &str = "pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(version, \
    '^0+(?=[0-9])', ''), '[.]0+(?=[0-9])', '.', 'g'), '([.]0)+$', '')";

impl LayoutRules for Flyway {
    fn name(&self) -> &'static str {
        "flyway"
    }

    fn depth(&self) -> Depth {
        Depth::Recursive
    }

    /// `_` in a version stands for a point, `_` in a description for a blank. Flyway ignores all other files.
    fn read_path(&self, path: &str) -> PathReading {
        let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
        let Some((stem, ending)) = file.rsplit_once('.') else { return PathReading::Unrelated };
        let is_program = PROGRAMS.contains(&ending);
        let other = if file_name::is_sql(file) { PathReading::LeftOut } else { PathReading::Unrelated };
        let parts = stem.split_once("__").filter(|_| ending == "sql" || is_program);
        let Some((version, description)) = parts else { return other };
        let description = description.replace('_', " ");
        let role = if is_program { FileRole::Program } else { FileRole::Whole };
        let numbered = |prefix: char| version.strip_prefix(prefix).and_then(flyway_version::canonical);
        let (version, role) = match (version, numbered('V'), numbered('B'), numbered('U')) {
            ("R", ..) => (format!("{REPEATABLE}{description}"), role),
            (_, Some(version), ..) => (version, role),
            (_, _, Some(version), _) => (format!("{BASELINE}{version}"), role),
            (_, _, _, Some(version)) => (version, FileRole::Down),
            _ => return other,
        };
        PathReading::Migration(FileName { version, name: description, role })
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if found.are_all_read() { Fit::Possible } else { Fit::No }
    }

    fn config_files(&self) -> &'static [&'static str] {
        &["flyway.conf", "flyway.toml", "flyway.user.toml", "conf/flyway.conf", "conf/flyway.toml"]
    }

    fn options_file(&self, path: &Path) -> Option<PathBuf> {
        let mut name = path.file_name()?.to_owned();
        name.push(".conf");
        Some(path.with_file_name(name))
    }

    fn opt_out_line<'t>(&self, options: &'t str) -> Option<&'t str> {
        options.lines().find(|line| is_setting(line, "executeInTransaction", "false"))
    }

    fn has_sections(&self) -> bool {
        true
    }

    fn has_placeholders(&self) -> bool {
        true
    }

    fn fill_in(&self, text: &str, value_of: &ValueOf<'_>) -> Result<Vec<FilledIn>, SectionProblem> {
        placeholders::of_flyway(text, value_of)
    }

    fn keeps_placeholders(&self, options: &str) -> bool {
        options.lines().any(|line| is_setting(line, "placeholderReplacement", "false"))
    }

    /// That of a repeatable migration is computed of the filled-in text (`SqlMigrationResolver`), so that it runs again
    /// when a value has changed.
    fn checksum_covers_values(&self, version: &str) -> bool {
        self.is_repeatable(version)
    }

    fn merges_locations(&self) -> bool {
        true
    }

    /// Files have no sections, but comments with settings.
    fn find_sections(&self, text: &str) -> Result<Sections, SectionProblem> {
        let is_opt_out = |line: &str| {
            let comment = line.trim_start().strip_prefix("--").map(str::trim_start);
            let setting = comment.and_then(|comment| comment.strip_prefix("flyway:"));
            setting.is_some_and(|setting| is_setting(setting, "executeInTransaction", "false"))
        };
        let opt_out = lines(text).find(|line| is_opt_out(line.text)).map(|line| line.range);
        Ok(Sections { downs: Vec::new(), opt_out })
    }

    fn canonical_version(&self, version: &str) -> Option<String> {
        flyway_version::canonical(version)
    }

    fn compare_versions(&self, left: &str, right: &str) -> Ordering {
        flyway_version::compare(left, right)
    }

    fn first_gap(&self, _before: &str, _after: &str) -> Option<String> {
        None
    }

    fn is_repeatable(&self, version: &str) -> bool {
        version.starts_with(REPEATABLE)
    }

    fn superseded_versions(&self, versions: &[&str], recorded: &[RecordedMigration]) -> Vec<String> {
        flyway_version::superseded(versions, recorded.is_empty())
    }

    fn start_checksum(&self, _name: &FileName) -> ChecksumDigest {
        ChecksumDigest::crc32_of_lines()
    }

    fn default_table(&self) -> &'static str {
        "flyway_schema_history"
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "installed_rank",
            "version",
            "description",
            "type",
            "script",
            "checksum",
            "installed_by",
            "installed_on",
            "execution_time",
            "success",
        ]
    }

    fn unique_column(&self) -> Option<&'static str> {
        Some("installed_rank")
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE {sql} (\
             \"installed_rank\" INT NOT NULL, \
             \"version\" VARCHAR(50), \
             \"description\" VARCHAR(200) NOT NULL, \
             \"type\" VARCHAR(20) NOT NULL, \
             \"script\" VARCHAR(1000) NOT NULL, \
             \"checksum\" INTEGER, \
             \"installed_by\" VARCHAR(100) NOT NULL, \
             \"installed_on\" TIMESTAMP NOT NULL DEFAULT now(), \
             \"execution_time\" INTEGER NOT NULL, \
             \"success\" BOOLEAN NOT NULL); \
             ALTER TABLE {sql} ADD CONSTRAINT {key} PRIMARY KEY (\"installed_rank\"); \
             CREATE INDEX {index} ON {sql} (\"success\")",
            sql = table.to_sql(),
            key = quote_identifier(&format!("{}_pk", table.name)),
            index = quote_identifier(&format!("{}_s_idx", table.name))
        )
    }

    /// The newest row of a version, or of a description, decides: a migration that was undone or deleted keeps its rows.
    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, CASE WHEN type LIKE '%BASELINE' THEN '{BASELINE}' || version \
             ELSE coalesce(version, '{REPEATABLE}' || description) END, description, \
             pg_catalog.encode(pg_catalog.convert_to(checksum::text, 'UTF8'), 'hex'), success, execution_time{} \
             FROM (SELECT DISTINCT ON (version, CASE WHEN version IS NULL THEN description END) * FROM {} \
             WHERE type <> 'SCHEMA' ORDER BY version, CASE WHEN version IS NULL THEN description END, installed_rank DESC) h \
             WHERE type NOT LIKE 'UNDO%' AND type <> 'DELETE' ORDER BY installed_rank; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some(time_sql!("installed_on")), role: Some("installed_by"), run: None }
    }

    fn complete_rows(&self, rows: Vec<RecordedMigration>, versions: &[&str]) -> Vec<RecordedMigration> {
        flyway_version::complete_rows(rows, versions)
    }

    fn way_back(&self) -> &'static str {
        "way back: Flyway's undo migrations are not supported"
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        let (version, kind) = recorded_version(row.version, row.path);
        format!(
            "INSERT INTO {} (installed_rank, version, description, type, script, checksum, installed_by, execution_time, success) \
             SELECT coalesce(pg_catalog.max(installed_rank), 0) + 1, {version}, {}, '{kind}', {}, {}::integer, current_user, {}, true \
             FROM {} RETURNING execution_time",
            table.to_sql(),
            quote_literal(row.name),
            quote_literal(row.path),
            row.checksum_text_sql(),
            row.duration_sql(1_000),
            table.to_sql(),
        )
    }

    /// A row may have its version in another form than the file's name, as `1.0` for `1`.
    fn remove_sql(&self, table: &Table, version: &str, _previous: Option<&str>) -> String {
        let condition = match (version.strip_prefix(REPEATABLE), version.strip_prefix(BASELINE)) {
            (Some(description), _) => format!("version IS NULL AND description = {}", quote_literal(description)),
            (None, Some(baseline)) => {
                format!("type LIKE '%BASELINE' AND {CANONICAL_VERSION} = {}", quote_literal(baseline))
            }
            (None, None) => format!("type NOT LIKE '%BASELINE' AND {CANONICAL_VERSION} = {}", quote_literal(version)),
        };
        format!("DELETE FROM {} WHERE {condition}", table.to_sql())
    }

    fn is_recorded_sql(&self, table: &Table, migration: &MigrationKey<'_>) -> String {
        format!(
            "EXISTS (SELECT FROM {} WHERE script = {} AND checksum = {}::integer AND success)",
            table.to_sql(),
            quote_literal(migration.path),
            quote_literal(&String::from_utf8_lossy(migration.checksum.as_bytes()))
        )
    }

    fn lock_keys(&self, _database: &str, table: &Table) -> Vec<i64> {
        let name = format!("\"{}\".\"{}\"", table.schema, table.name);
        // `String.hashCode` of Java.
        let hash = name.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        vec![LOCK_BASE + i64::from(hash)]
    }
}

/// Returns SQL for the version as Flyway writes it, and the type of the row.
fn recorded_version(version: &str, path: &str) -> (String, &'static str) {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    let written = file.split_once("__").and_then(|(version, _)| version.get(1..)).unwrap_or_default().replace('_', ".");
    match version {
        repeatable if repeatable.starts_with(REPEATABLE) => ("NULL".to_owned(), "SQL"),
        baseline if baseline.starts_with(BASELINE) => (quote_literal(&written), "SQL_BASELINE"),
        _ => (quote_literal(&written), "SQL"),
    }
}

/// Reports whether a line of a `.conf` file sets this.
fn is_setting(line: &str, key: &str, value: &str) -> bool {
    let setting = line.split_once('=');
    setting.is_some_and(|(found, text)| found.trim() == key && text.trim().eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, String, FileRole)> {
        match Flyway.read_path(path) {
            PathReading::Migration(name) => Some((name.version, name.name, name.role)),
            _ => None,
        }
    }

    #[test]
    fn reads_the_names_that_flyway_reads() {
        for (path, version, description, role) in [
            ("V1__initial.sql", "1", "initial", FileRole::Whole),
            ("sub/V10.1__add_pets.sql", "10.1", "add pets", FileRole::Whole),
            ("V1_2__3_digits.sql", "1.2", "3 digits", FileRole::Whole),
            ("V001.0__a.sql", "1", "a", FileRole::Whole),
            ("R__view_of_pets.sql", "R__view of pets", "view of pets", FileRole::Whole),
            ("B5__all.sql", "B__5", "all", FileRole::Whole),
            ("U1__initial.sql", "1", "initial", FileRole::Down),
            ("V4__fill.java", "4", "fill", FileRole::Program),
        ] {
            assert_eq!(read(path), Some((version.to_owned(), description.to_owned(), role)), "{path}");
        }
        for path in ["V1_a.sql", "1__a.sql", "V__a.sql", "afterMigrate.sql", "Vx__a.sql", "V1__a.sql.conf"] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn computes_the_lock_key_of_flyway() {
        let table = Table { schema: "public".to_owned(), name: "flyway_schema_history".to_owned() };
        assert_eq!(Flyway.lock_keys("any", &table), [77_433_833_903_597]);
    }

    #[test]
    fn settings_are_read() {
        let sections = Flyway.find_sections("-- flyway:executeInTransaction=false\nVACUUM;\n").unwrap();
        assert!(sections.opt_out.is_some());
        assert_eq!(Flyway.opt_out_line("a=b\nexecuteInTransaction = false\n"), Some("executeInTransaction = false"));
        assert_eq!(Flyway.opt_out_line("executeInTransaction=true\n"), None);
        assert!(Flyway.keeps_placeholders("placeholderReplacement = FALSE\n") && !Flyway.keeps_placeholders(""));
    }
}
