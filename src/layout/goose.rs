//! goose's files, with the marks `-- +goose Up` and `-- +goose Down`, and its ledger (goose 3, `internal/sqlparser`,
//! `internal/dialect`).

use super::{
    LayoutRules,
    file_name::{self, FileName, FileRole},
    origin::{OriginSql, RowDetail, time_sql},
    placeholders::{self, FilledIn, ValueOf},
    reading::{self, Fit, FoundFiles, PathReading},
    sections::{Line, SectionProblem, Sections, lines},
    table::{MigrationKey, NewRow, Table},
};
use crate::postgres::{RowTag, quote_literal};

/// The layout `goose`.
pub(super) struct Goose;

/// The key of goose's session lock (goose 3, `lock/session_locker.go`). Its command-line program takes none.
const SESSION_LOCK: i64 = 4_097_083_626;

/// The marks, in lower case.
const MARKS: [&str; 7] = ["up", "down", "statementbegin", "statementend", "no transaction", "envsub on", "envsub off"];

impl LayoutRules for Goose {
    fn name(&self) -> &'static str {
        "goose"
    }

    /// goose reads `N_name.sql` and `N_name.go`, and ignores tests.
    fn read_path(&self, path: &str) -> PathReading {
        let program = path.strip_suffix(".go").filter(|stem| !stem.ends_with("_test") && !path.contains('/'));
        let Some(stem) = program else { return reading::read_flat(path, FileName::read_numbered) };
        let read = stem.split_once('_').and_then(|(number, name)| {
            let version = file_name::canonical_number(number)?;
            Some(FileName { version, name: name.to_owned(), role: FileRole::Program })
        });
        read.map_or(PathReading::Unrelated, PathReading::Migration)
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if found.marks.contains(&self.name()) { Fit::Certain } else { Fit::No }
    }

    fn has_mark(&self, line: &str) -> bool {
        read_mark(line).is_some_and(|mark| mark == "up")
    }

    fn refuse_name(&self, name: &FileName) -> Option<(String, &'static str)> {
        let is_part = matches!(name.role, FileRole::Up | FileRole::Down);
        is_part.then(|| {
            let cause = "has a direction in its name, and goose would read it as a migration of its own".to_owned();
            (cause, "write both directions into one file, under `-- +goose Up` and `-- +goose Down`")
        })
    }

    fn has_sections(&self) -> bool {
        true
    }

    fn has_placeholders(&self) -> bool {
        true
    }

    /// Comments of their own lines are not filled in.
    fn fill_in(&self, text: &str, value_of: &ValueOf<'_>) -> Result<Vec<FilledIn>, SectionProblem> {
        let (mut filled, mut is_on) = (Vec::new(), false);
        for line in lines(text) {
            match read_mark(line.text).as_deref() {
                Some("envsub on") => is_on = true,
                Some("envsub off") => is_on = false,
                _ if is_on && !line.text.trim_start().starts_with("--") => {
                    filled.extend(placeholders::of_goose_line(&line, value_of)?);
                }
                _ => {}
            }
        }
        Ok(filled)
    }

    fn find_sections(&self, text: &str) -> Result<Sections, SectionProblem> {
        let (mut up, mut down, mut opt_out, mut begun) = (None::<Line<'_>>, None::<Line<'_>>, None, None::<Line<'_>>);
        for line in lines(text) {
            let Some(mark) = read_mark(line.text) else { continue };
            match (mark.as_str(), &begun) {
                ("up", _) if up.is_some() => return Err(misplaced(&line, "the file has `-- +goose Up` already")),
                ("up", _) => up = Some(line),
                ("no transaction", _) => opt_out = Some(line.range),
                ("envsub on" | "envsub off", _) => {}
                (_, _) if up.is_none() => return Err(misplaced(&line, "no `-- +goose Up` is above it")),
                ("down", Some(_)) => {
                    return Err(misplaced(&line, "the `StatementBegin` above it has no `StatementEnd`"));
                }
                ("down", None) if down.is_some() => {
                    return Err(misplaced(&line, "the file has `-- +goose Down` already"));
                }
                ("down", None) => down = Some(line),
                ("statementbegin", None) => begun = Some(line),
                ("statementend", Some(_)) => begun = None,
                ("statementbegin", Some(_)) => {
                    return Err(misplaced(&line, "the `StatementBegin` above it has no `StatementEnd`"));
                }
                ("statementend", None) => return Err(misplaced(&line, "no `StatementBegin` is above it")),
                _ => return Err(unknown(&line)),
            }
        }
        if let Some(line) = begun {
            return Err(misplaced(&line, "no `StatementEnd` follows"));
        }
        let Some(up) = up else { return Err(missing_up()) };
        if let Some(statement) = statement_before(text, up.range.start) {
            return Err(misplaced(&statement, "it stands before `-- +goose Up`"));
        }
        let downs = down.map(|line| line.range.start..text.len()).into_iter().collect();
        Ok(Sections { downs, opt_out })
    }

    fn default_table(&self) -> &'static str {
        "goose_db_version"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["id", "version_id", "is_applied", "tstamp"]
    }

    fn unique_column(&self) -> Option<&'static str> {
        Some("is_applied")
    }

    /// goose records version 0 when it creates the table.
    fn create_sql(&self, table: &Table) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (\
             id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, \
             version_id bigint NOT NULL, \
             is_applied boolean NOT NULL, \
             tstamp timestamp NOT NULL DEFAULT now()); \
             INSERT INTO {table} (version_id, is_applied) SELECT 0, true WHERE NOT EXISTS (SELECT FROM {table})",
            table = table.to_sql()
        )
    }

    /// Older versions of goose add a row for each direction, so the newest row of a version decides.
    fn read_sql(&self, table: &Table, detail: RowDetail) -> String {
        format!(
            "SELECT {}, version_id, '', NULL, true, NULL{} FROM (SELECT DISTINCT ON (version_id) version_id, is_applied, \
             tstamp FROM {} ORDER BY version_id, id DESC) r WHERE is_applied AND version_id > 0 ORDER BY version_id; ",
            RowTag::RecordedMigration,
            self.origin_sql().columns(detail),
            table.to_sql()
        )
    }

    fn origin_sql(&self) -> OriginSql {
        OriginSql { time: Some(time_sql!("tstamp")), ..OriginSql::default() }
    }

    fn way_back(&self) -> &'static str {
        "section `-- +goose Down`"
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        format!(
            "INSERT INTO {} (version_id, is_applied) VALUES ({}, true) RETURNING {}",
            table.to_sql(),
            quote_literal(row.version),
            row.duration_sql(1_000)
        )
    }

    fn remove_sql(&self, table: &Table, version: &str, _previous: Option<&str>) -> String {
        format!("DELETE FROM {} WHERE version_id = {}", table.to_sql(), quote_literal(version))
    }

    fn is_recorded_sql(&self, table: &Table, migration: &MigrationKey<'_>) -> String {
        let version = quote_literal(migration.version);
        format!("EXISTS (SELECT FROM {} WHERE version_id = {version} AND is_applied)", table.to_sql())
    }

    fn lock_keys(&self, _database: &str, _table: &Table) -> Vec<i64> {
        vec![SESSION_LOCK]
    }
}

/// Reads a mark without regard to case and spacing; goose requires `-- +goose` at the beginning of a line.
fn read_mark(line: &str) -> Option<String> {
    let rest = line.strip_prefix("--")?.trim_start();
    let command = rest.get(..6).filter(|word| word.eq_ignore_ascii_case("+goose")).and_then(|_| rest.get(6..))?;
    if !command.starts_with(|character: char| character.is_whitespace()) {
        return None;
    }
    Some(command.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase())
}

/// Returns the first line before this byte that is neither empty nor a comment.
fn statement_before(text: &str, end: usize) -> Option<Line<'_>> {
    let before = |line: &Line<'_>| line.range.start < end;
    let mut before = lines(text).take_while(before);
    before.find(|line| !line.text.trim().is_empty() && !line.text.trim_start().starts_with("--"))
}

fn misplaced(line: &Line<'_>, reason: &str) -> SectionProblem {
    let cause = format!("has `{}` in a place where goose refuses it: {reason}", line.text.trim());
    SectionProblem::of_marks(
        cause,
        "write `-- +goose Up`, its statements, then `-- +goose Down`, each `StatementBegin` with its `StatementEnd`",
        line.range.start,
    )
}

fn unknown(line: &Line<'_>) -> SectionProblem {
    let cause = format!("has the mark `{}`, which goose does not know", line.text.trim());
    SectionProblem::of_marks(cause, format!("write one of {}", MARKS.join(", ")), line.range.start)
}

fn missing_up() -> SectionProblem {
    SectionProblem::of_marks("has no `-- +goose Up`", "write `-- +goose Up` above the statements", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> (String, Option<String>, Option<String>) {
        let sections = Goose.find_sections(text).unwrap();
        (
            sections.keep_up(text.to_owned()),
            sections.downs.first().and_then(|down| text.get(down.clone())).map(str::to_owned),
            sections.opt_out.and_then(|range| text.get(range)).map(str::to_owned),
        )
    }

    #[test]
    fn finds_both_sections_and_the_opt_out_anywhere() {
        let (up, down) = ("-- +goose Up\nSELECT 1;\n", "-- +goose Down\nSELECT 2;\n");
        assert_eq!(sections(&format!("{up}{down}")), (up.to_owned(), Some(down.to_owned()), None));
        assert_eq!(sections(up), (up.to_owned(), None, None));
        for text in [
            "-- +goose NO TRANSACTION\n-- +goose Up\nVACUUM;\n",
            "-- +goose Up\n-- +goose no transaction\nVACUUM;\n",
            "--+goose  up\nVACUUM;\n-- +goose NO  TRANSACTION\n",
        ] {
            assert!(sections(text).2.is_some(), "{text}");
        }
    }

    #[test]
    fn refuses_marks_in_wrong_places() {
        for text in [
            "SELECT 1;\n",
            "-- +goose Down\nSELECT 1;\n",
            "SELECT 1;\n-- +goose Up\n",
            "-- +goose Up\n-- +goose Up\n",
            "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\n",
            "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\n-- +goose Down\n",
            "-- +goose Up\nSELECT 1;\n-- +goose StatementEnd\n",
            "-- +goose Up\n-- +goose StatementBegun\n",
        ] {
            let problem = Goose.find_sections(text).unwrap_err();
            assert_eq!(problem.kind, super::super::SectionProblemKind::Marks, "{text}: {problem:?}");
        }
        let text = "-- +goose Up\n-- $X\nselect '$X';\n-- +goose ENVSUB ON\n-- $X\nselect '$A';\n-- +goose ENVSUB OFF\nselect '$X';\n";
        let filled = Goose.fill_in(text, &|name| (name == "A").then(|| "one".to_owned())).unwrap();
        assert_eq!(filled.iter().map(|filled| filled.text.as_str()).collect::<Vec<_>>(), ["one"]);
        let problem = Goose.fill_in("-- +goose Up\n-- +goose ENVSUB ON\nSELECT '${A}';\n", &|_| None).unwrap_err();
        assert_eq!((problem.kind, problem.at), (super::super::SectionProblemKind::Template, 41));
    }

    #[test]
    fn programs_are_migrations_and_tests_are_not() {
        let role = |path: &str| match Goose.read_path(path) {
            PathReading::Migration(name) => Some((name.version, name.role)),
            _ => None,
        };
        assert_eq!(role("00003_fill.go"), Some(("3".to_owned(), FileRole::Program)));
        assert_eq!(role("00001_a.sql"), Some(("1".to_owned(), FileRole::Whole)));
        for path in ["00003_fill_test.go", "embed.go", "sub/00003_fill.go"] {
            assert_eq!(role(path), None, "{path}");
        }
    }
}
