//! dbmate's files, with the marks `-- migrate:up` and `-- migrate:down`, and its ledger (dbmate 2,
//! `pkg/dbmate/migration.go`, `pkg/driver/postgres`).

use super::{
    LayoutRules,
    file_name::{self, FileName, FileRole},
    origin::RowDetail,
    reading::{Fit, FoundFiles, PathReading},
    sections::{Line, SectionProblem, Sections, lines},
    table::Table,
};
use crate::postgres::RowTag;
use std::cmp::Ordering;

/// The layout `dbmate`.
pub(super) struct Dbmate;

impl LayoutRules for Dbmate {
    fn name(&self) -> &'static str {
        "dbmate"
    }

    /// dbmate reads `^(\d+).*\.sql$`, and ignores all other files.
    fn read_path(&self, path: &str) -> PathReading {
        let Some(stem) = path.strip_suffix(".sql").filter(|_| !path.contains('/')) else {
            return if file_name::is_sql(path) { PathReading::LeftOut } else { PathReading::Unrelated };
        };
        let digits = stem.bytes().take_while(u8::is_ascii_digit).count();
        let (version, rest) = stem.split_at(digits);
        if version.is_empty() {
            return PathReading::LeftOut;
        }
        let name = rest.strip_prefix(['_', '-']).unwrap_or(rest).to_owned();
        PathReading::Migration(FileName { version: version.to_owned(), name, role: FileRole::Whole })
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        if found.marks.contains(&self.name()) { Fit::Certain } else { Fit::No }
    }

    fn has_mark(&self, line: &str) -> bool {
        read_mark(line).is_some_and(|mark| mark != Mark::Down)
    }

    fn has_sections(&self) -> bool {
        true
    }

    /// A file may have several sections of each kind; dbmate records it behind the last one.
    fn find_sections(&self, text: &str) -> Result<Sections, SectionProblem> {
        let marks: Vec<(Mark, Line<'_>)> = lines(text).filter_map(|line| Some((read_mark(line.text)?, line))).collect();
        let Some((first, line)) = marks.first() else { return Err(missing_mark("-- migrate:up")) };
        if *first == Mark::Down {
            return Err(misplaced(line, "it stands before `-- migrate:up`"));
        }
        let is_statement = |line: &Line<'_>| !line.text.trim().is_empty() && !line.text.trim_start().starts_with("--");
        if let Some(before) = lines(text).take_while(|before| before.range.start < line.range.start).find(is_statement)
        {
            return Err(misplaced(&before, "it stands before `-- migrate:up`"));
        }
        let ends = marks.iter().skip(1).map(|(_, next)| next.range.start).chain([text.len()]);
        let sections = marks.iter().zip(ends);
        let downs = sections.filter(|((mark, _), _)| *mark == Mark::Down).map(|((_, line), end)| line.range.start..end);
        let downs: Vec<_> = downs.collect();
        if downs.is_empty() {
            return Err(missing_mark("-- migrate:down"));
        }
        let opt_out = marks.iter().find(|(mark, _)| *mark == Mark::UpWithoutTransaction);
        Ok(Sections { downs, opt_out: opt_out.map(|(_, line)| line.range.clone()) })
    }

    /// Versions are text; files are sorted by their names.
    fn canonical_version(&self, version: &str) -> Option<String> {
        file_name::is_digits(version).then(|| version.to_owned())
    }

    fn compare_versions(&self, left: &str, right: &str) -> Ordering {
        file_name::compare_as_names(left, right)
    }

    fn default_table(&self) -> &'static str {
        "schema_migrations"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version"]
    }

    fn recognises(&self, columns: &[String]) -> bool {
        columns == self.columns()
    }

    /// The key of `--migration-lock` (dbmate 2.37); without that option dbmate takes no lock.
    fn lock_keys(&self, _database: &str, _table: &Table) -> Vec<i64> {
        vec![48_372_615]
    }

    fn create_sql(&self, table: &Table) -> String {
        format!("create table if not exists {} (version varchar primary key)", table.to_sql())
    }

    fn read_sql(&self, table: &Table, _: RowDetail) -> String {
        format!(
            "SELECT {}, version, '', NULL, true, NULL FROM {} ORDER BY version; ",
            RowTag::RecordedMigration,
            table.to_sql()
        )
    }

    /// Each section has its own option.
    fn opt_out_of_down(&self, down: &str, _of_file: Option<String>) -> Option<String> {
        let mark = down.lines().next().filter(|mark| mark.contains("transaction:false"))?;
        Some(format!("`{}` asks for no transaction", mark.trim()))
    }

    fn way_back(&self) -> &'static str {
        "section `-- migrate:down`"
    }
}

/// A mark of dbmate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Up,
    UpWithoutTransaction,
    Down,
}

/// Reads a mark, as `^--\s*migrate:up(\s*$|\s+\S+)` does.
fn read_mark(line: &str) -> Option<Mark> {
    let rest = line.strip_prefix("--")?.trim_start().strip_prefix("migrate:")?;
    let mut words = rest.split_whitespace();
    let direction = words.next().filter(|word| rest.starts_with(word))?;
    match direction {
        "up" if words.any(|option| option == "transaction:false") => Some(Mark::UpWithoutTransaction),
        "up" => Some(Mark::Up),
        "down" => Some(Mark::Down),
        _ => None,
    }
}

fn missing_mark(mark: &str) -> SectionProblem {
    SectionProblem::of_marks(
        format!("has no `{mark}`, which dbmate requires"),
        "write `-- migrate:up` above the statements, and `-- migrate:down` below them",
        0,
    )
}

fn misplaced(line: &Line<'_>, reason: &str) -> SectionProblem {
    SectionProblem::of_marks(
        format!("has `{}` in a place where dbmate can't read it: {reason}", line.text.trim()),
        "write `-- migrate:up` first, then its statements, then `-- migrate:down`",
        line.range.start,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_both_sections_and_the_opt_out() {
        let (up, down) = ("-- about\n-- migrate:up\nSELECT 1;\n", "-- migrate:down\n");
        let text = format!("{up}{down}");
        let sections = Dbmate.find_sections(&text).unwrap();
        assert_eq!((text.get(sections.downs[0].clone()), sections.opt_out.clone()), (Some(down), None));
        assert_eq!(sections.keep_up(text), up);
        let text = "--migrate:up transaction:false\nVACUUM;\n-- migrate:down\n";
        assert_eq!(Dbmate.find_sections(text).unwrap().opt_out, Some(0..31));
        let text = "-- migrate:up\nA;\n-- migrate:down\nB;\n-- migrate:up\nC;\n-- migrate:down\n";
        let sections = Dbmate.find_sections(text).unwrap();
        assert_eq!(sections.downs.len(), 2);
        let words: Vec<String> = sections.keep_up(text.to_owned()).split_whitespace().map(str::to_owned).collect();
        assert_eq!(words, ["--", "migrate:up", "A;", "--", "migrate:up", "C;"]);
    }

    #[test]
    fn refuses_marks_in_wrong_places() {
        for text in [
            "SELECT 1;\n",
            "-- migrate:down\n-- migrate:up\n",
            "SELECT 1;\n-- migrate:up\n-- migrate:down\n",
            "-- migrate:up\nSELECT 1;\n",
            "-- migrate:upward\n",
        ] {
            assert!(Dbmate.find_sections(text).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_are_text() {
        let mut versions = ["20240101000000", "00000000000000", "2024"];
        versions.sort_by(|left, right| Dbmate.compare_versions(left, right));
        assert_eq!(versions, ["00000000000000", "20240101000000", "2024"]);
        let PathReading::Migration(name) = Dbmate.read_path("00000000000000-init.sql") else { panic!("it is read") };
        assert_eq!((name.version.as_str(), name.name.as_str()), ("00000000000000", "init"));
    }
}
