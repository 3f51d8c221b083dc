//! The ledgers that plain files can take over: those of tools whose versions can be the numbers of plain files.

use super::{
    ALL, Layout, LayoutRules as _, RowDetail, file_name,
    plain::Plain,
    table::{RecordedMigration, Table},
};
use crate::postgres::RowTag;

/// A tool whose ledger can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTool {
    /// The tool of a layout.
    Layout(Layout),
    /// Another one, described by its name, the SQL for version, name and success of a row, and the condition for rows of
    /// migrations.
    Other(&'static OtherTool),
}

/// A tool without a layout.
#[derive(Debug, PartialEq, Eq)]
pub struct OtherTool {
    name: &'static str,
    /// Version, name and success of a row, as SQL.
    row: &'static str,
    condition: &'static str,
}

/// The tools without a layout. node-pg-migrate and knex have version and name in one column, as in `17_users.js`.
const OTHERS: [OtherTool; 6] = [
    OtherTool { name: "rails", row: "version, '', true", condition: "true" },
    OtherTool { name: "ecto", row: "version, '', true", condition: "true" },
    OtherTool { name: "node-pg-migrate", row: "name, '', true", condition: "true" },
    OtherTool { name: "knex", row: "pg_catalog.regexp_replace(name, '[.][^.]*$', ''), '', true", condition: "true" },
    OtherTool { name: "postgrator", row: "version, coalesce(name, ''), true", condition: "version > 0" },
    OtherTool {
        name: "atlas",
        row: "version, coalesce(description, ''), applied = total AND coalesce(error, '') = ''",
        condition: "version <> '.atlas_cloud_identifier'",
    },
];

/// The input `from`: a ledger that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSource {
    /// The tool that kept it.
    pub tool: SourceTool,
    /// Its table, `schema.table` or `table`, if the user names it.
    pub table: Option<String>,
}

impl SourceTool {
    /// Returns all of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let layouts = ALL.into_iter().filter(|layout| *layout != Layout::default()).map(Self::Layout);
        layouts.chain(OTHERS.iter().map(Self::Other))
    }

    /// Returns the tool with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::all().find(|tool| tool.name() == name)
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout(layout) => layout.name(),
            Self::Other(tool) => tool.name,
        }
    }

    /// Returns the query for the rows of its ledger, as [`RecordedMigration::from_row`] reads them.
    #[must_use]
    pub fn read_sql(self, table: &Table) -> String {
        match self {
            Self::Layout(layout) => layout.read_sql(table, RowDetail::ForPlan),
            Self::Other(OtherTool { row, condition, .. }) => format!(
                "SELECT {tag}, s.version, s.name, NULL, s.success FROM (SELECT {row} FROM {} WHERE {condition}) \
                 AS s (version, name, success); ",
                table.to_sql(),
                tag = RowTag::RecordedMigration,
            ),
        }
    }

    /// Completes the rows, and writes their versions as the names of plain files have them; a version that no plain file
    /// can have stays as it is. `versions` are those of the files.
    #[must_use]
    pub fn complete_rows(self, rows: Vec<RecordedMigration>, versions: &[&str]) -> Vec<RecordedMigration> {
        let rows = match self {
            Self::Layout(layout) => layout.complete_rows(rows, versions),
            Self::Other(_) => rows,
        };
        rows.into_iter().map(as_plain_row).collect()
    }
}

/// Writes a row as plain files would have it: `17_users` as a version, as Prisma and others have it, is version and name.
fn as_plain_row(row: RecordedMigration) -> RecordedMigration {
    let (version, name) = match row.version.split_once('_') {
        Some((version, name)) if file_name::is_digits(version) => (version, name.to_owned()),
        _ => (row.version.as_str(), row.name.clone()),
    };
    match Plain.canonical_version(version) {
        Some(version) => RecordedMigration { version, name, ..row },
        None => row,
    }
}

/// Reports whether a recorded name is that of a file; some ledgers have blanks for its underscores, and some no names.
#[must_use]
pub fn is_same_name(recorded: &str, of_file: &str) -> bool {
    let with_blanks = |name: &str| name.replace('_', " ");
    recorded.is_empty() || with_blanks(recorded) == with_blanks(of_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: &str, name: &str) -> RecordedMigration {
        RecordedMigration {
            version: version.to_owned(),
            name: name.to_owned(),
            checksum: None,
            success: true,
            took_ms: 0,
            origin: None,
        }
    }

    #[test]
    fn versions_and_names_are_those_of_plain_files() {
        for (tool, recorded, expected) in [
            ("golang-migrate", ("2", ""), vec![("1", ""), ("2", "")]),
            ("dbmate", ("20240101000001", ""), vec![("20240101000001", "")]),
            ("prisma", ("20240101000001_add_users", "20240101000001_add_users"), vec![("20240101000001", "add_users")]),
            ("knex", ("0017_users", ""), vec![("17", "users")]),
            ("flyway", ("1.2", "a"), vec![("1.2", "a")]),
            ("flyway", ("R__views", "views"), vec![("R__views", "views")]),
            (
                "flyway",
                ("B__2", "<< Flyway Baseline >>"),
                vec![("1", "<< Flyway Baseline >>"), ("2", "<< Flyway Baseline >>")],
            ),
        ] {
            let source = SourceTool::by_name(tool).unwrap();
            let rows = source.complete_rows(vec![row(recorded.0, recorded.1)], &["1", "2", "3"]);
            let found: Vec<(&str, &str)> = rows.iter().map(|row| (row.version.as_str(), row.name.as_str())).collect();
            assert_eq!(found, expected, "{tool}");
        }
        assert_eq!(SourceTool::by_name("plain"), None);
    }

    #[test]
    fn a_name_may_have_blanks_or_be_missing() {
        assert!(
            is_same_name("add users", "add_users") && is_same_name("", "x") && !is_same_name("add users", "drop_users")
        );
    }
}
