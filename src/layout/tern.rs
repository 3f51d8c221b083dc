//! tern's files, `N_name.sql` with `---- create above / drop below ----`, and its ledger, which has only the newest
//! version (tern 2, `migrate/migrate.go`).

use super::{
    LayoutRules,
    file_name::{self, FileName, FileRole},
    origin::RowDetail,
    reading::{Fit, FoundFiles},
    sections::{SectionProblem, Sections, lines},
    table::{NewRow, RecordedMigration, Table, rows_up_to},
};
use crate::postgres::{RowTag, quote_literal};

/// The layout `tern`.
pub(super) struct Tern;

/// The key of `acquireAdvisoryLock` (tern 2).
const LOCK: i64 = 9_628_173_550_095_224;

const DROP_BELOW: &str = "---- create above / drop below ----";
const DISABLE_TRANSACTION: &str = "---- tern: disable-tx ----";

impl LayoutRules for Tern {
    fn name(&self) -> &'static str {
        "tern"
    }

    fn fit(&self, found: &FoundFiles<'_>) -> Fit {
        let is_marked = found.marks.contains(&self.name());
        let is_whole = found.names.iter().all(|name| name.role == FileRole::Whole);
        match (is_marked, found.are_all_read() && is_whole) {
            (true, _) => Fit::Certain,
            (false, true) => Fit::Possible,
            (false, false) => Fit::No,
        }
    }

    fn has_mark(&self, line: &str) -> bool {
        [DROP_BELOW, DISABLE_TRANSACTION].contains(&line.trim_end())
    }

    fn config_files(&self) -> &'static [&'static str] {
        &["tern.conf"]
    }

    fn refuse_name(&self, name: &FileName) -> Option<(String, &'static str)> {
        (name.role != FileRole::Whole).then(|| {
            let cause = "has a direction in its name, and tern would read it as a migration of its own".to_owned();
            (cause, "write both directions into one file, with `---- create above / drop below ----` between them")
        })
    }

    fn has_sections(&self) -> bool {
        true
    }

    fn find_sections(&self, text: &str) -> Result<Sections, SectionProblem> {
        if let Some(at) = text.find("{{") {
            let line = text.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default();
            return Err(SectionProblem::of_template(
                format!("is a template of tern: `{line}`"),
                "write the value itself in its place, or fill in the file in a step before this one",
                at,
            ));
        }
        let find = |mark: &str| lines(text).find(|line| line.text.trim_end() == mark).map(|line| line.range);
        let downs = find(DROP_BELOW).map(|range| range.start..text.len()).into_iter().collect();
        Ok(Sections { downs, opt_out: find(DISABLE_TRANSACTION) })
    }

    /// tern numbers its files from 1 without gaps.
    fn first_gap(&self, before: &str, after: &str) -> Option<String> {
        let (before, after): (u64, u64) = (before.parse().ok()?, after.parse().ok()?);
        (after.saturating_sub(before) > 1).then(|| before.saturating_add(1).to_string())
    }

    fn default_table(&self) -> &'static str {
        "public.schema_version"
    }

    fn columns(&self) -> &'static [&'static str] {
        &["version"]
    }

    fn recognises(&self, columns: &[String]) -> bool {
        columns == self.columns()
    }

    fn create_sql(&self, table: &Table) -> String {
        format!(
            "create table if not exists {table}(version int4 not null primary key); \
             insert into {table}(version) select 0 where 0 = (select count(*) from {table})",
            table = table.to_sql()
        )
    }

    fn read_sql(&self, table: &Table, _: RowDetail) -> String {
        format!(
            "SELECT {}, version, '', NULL, true, NULL FROM {} WHERE version > 0; ",
            RowTag::RecordedMigration,
            table.to_sql()
        )
    }

    fn records_newest_only(&self) -> bool {
        true
    }

    fn complete_rows(&self, rows: Vec<RecordedMigration>, versions: &[&str]) -> Vec<RecordedMigration> {
        rows_up_to(rows, versions, file_name::compare_numbers)
    }

    fn way_back(&self) -> &'static str {
        "section below `---- create above / drop below ----`"
    }

    fn insert_sql(&self, table: &Table, row: &NewRow<'_>) -> String {
        format!(
            "UPDATE {} SET version = {} RETURNING {}",
            table.to_sql(),
            quote_literal(row.version),
            row.duration_sql(1_000)
        )
    }

    /// Before the first migration, the version is 0.
    fn remove_sql(&self, table: &Table, _version: &str, previous: Option<&str>) -> String {
        format!("UPDATE {} SET version = {}", table.to_sql(), quote_literal(previous.unwrap_or("0")))
    }

    fn lock_keys(&self, _database: &str, _table: &Table) -> Vec<i64> {
        vec![LOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_both_sections_and_the_opt_out() {
        let text = "---- tern: disable-tx ----\nVACUUM;\n---- create above / drop below ----\nSELECT 1;\n";
        let sections = Tern.find_sections(text).unwrap();
        assert_eq!(sections.opt_out, Some(0..27));
        assert_eq!(sections.keep_up(text.to_owned()), "---- tern: disable-tx ----\nVACUUM;\n");
        assert_eq!(Tern.find_sections("SELECT 1;\n").unwrap(), Sections::default());
    }

    #[test]
    fn refuses_templates() {
        let problem = Tern.find_sections("CREATE ROLE {{.owner}};\n").unwrap_err();
        assert_eq!((problem.at, problem.kind), (12, super::super::SectionProblemKind::Template));
    }
}
