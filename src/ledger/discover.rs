//! Which ledger a database has, from the same answer that tells its version.

use super::{Layout, Ledger, Table, plain, sqlx};
use crate::{
    fault::{Code, Fault},
    input::LayoutChoice,
    postgres::literal,
};

const OWN: &str = "bastion_migrate.ledger";
const SQLX: &str = "_sqlx_migrations";

/// One place where a ledger could be, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    place: String,
    table: Option<Table>,
    columns: Vec<String>,
    progress: bool,
    current_schema: Option<String>,
    schemas: Vec<String>,
}

/// The question, as one query. `ledger_table` is the input of that name.
#[must_use]
pub fn discover_sql(ledger_table: Option<&str>) -> String {
    let places: Vec<String> = match ledger_table {
        Some(table) => vec![format!("({})", literal(table))],
        None => vec![format!("({})", literal(OWN)), format!("({})", literal(SQLX))],
    };
    format!(
        "SELECT v.place, n.nspname, c.relname, \
         (SELECT pg_catalog.string_agg(a.attname, ',') FROM pg_catalog.pg_attribute a \
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), \
         EXISTS (SELECT FROM pg_catalog.pg_class p WHERE p.relnamespace = c.relnamespace AND p.relname = c.relname || '_progress'), \
         pg_catalog.current_schema(), \
         (SELECT pg_catalog.string_agg(s.nspname, ',') FROM pg_catalog.pg_namespace s) \
         FROM (VALUES {}) v(place) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(v.place) \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        places.join(", ")
    )
}

/// Reads the answer.
#[must_use]
pub fn found(answer: &[Vec<Option<String>>]) -> Vec<Found> {
    let list =
        |text: Option<&String>| text.map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default();
    let read = |row: &Vec<Option<String>>| {
        let field = |index: usize| row.get(index).and_then(Option::as_ref);
        let table = field(1).zip(field(2)).map(|(schema, name)| Table { schema: schema.clone(), name: name.clone() });
        Some(Found {
            place: field(0)?.clone(),
            table,
            columns: list(field(3)),
            progress: field(4).is_some_and(|there| there == "t"),
            current_schema: field(5).cloned(),
            schemas: list(field(6)),
        })
    };
    answer.iter().filter_map(read).collect()
}

impl Found {
    fn has(&self, columns: &[&str]) -> bool {
        columns.iter().all(|column| self.columns.iter().any(|there| there == column))
    }
}

impl Ledger {
    /// Chooses the ledger: `files` is what the file names say, `layout` and `ledger_table` what the user says.
    ///
    /// # Errors
    /// `ledger-shape` when a table of that name is something else, or has nowhere to be made.
    pub fn choose(
        places: &[Found],
        choice: LayoutChoice,
        ledger_table: Option<&str>,
        files: Option<Layout>,
    ) -> Result<Self, Fault> {
        let there = |place: &str| places.iter().find(|found| found.place == place && found.table.is_some());
        let custom = ledger_table.and_then(there);
        let layout = match (choice, files) {
            (LayoutChoice::Plain, _) => Layout::Plain,
            (LayoutChoice::Sqlx, _) | (LayoutChoice::Auto, Some(Layout::Sqlx)) => Layout::Sqlx,
            (LayoutChoice::Auto, _) if custom.is_some_and(|found| found.has(sqlx::COLUMNS)) => Layout::Sqlx,
            (LayoutChoice::Auto, _) if ledger_table.is_none() && there(OWN).is_none() && there(SQLX).is_some() => {
                Layout::Sqlx
            }
            (LayoutChoice::Auto, _) => Layout::Plain,
        };
        let (usual, columns) = match layout {
            Layout::Plain => (OWN, plain::COLUMNS),
            Layout::Sqlx => (SQLX, sqlx::COLUMNS),
        };
        let place = ledger_table.unwrap_or(usual);
        let Some(found) = places.iter().find(|found| found.place == place) else {
            return Err(Fault::new(Code::Bug, format!("nobody asked for the ledger `{place}`")));
        };
        match &found.table {
            Some(table) if found.has(columns) => Ok(Self {
                layout,
                table: table.clone(),
                exists: true,
                schema_exists: true,
                progress_exists: found.progress,
            }),
            Some(table) => Err(Fault::new(
                Code::LedgerShape,
                format!(
                    "the table `{table}` is no ledger of the layout `{}`: it has the columns {}",
                    layout.name(),
                    found.columns.join(", ")
                ),
            )),
            None => Self::to_be_made(layout, place, found),
        }
    }

    fn to_be_made(layout: Layout, place: &str, found: &Found) -> Result<Self, Fault> {
        let table = match (place.split_once('.'), &found.current_schema) {
            (Some((schema, name)), _) => Table { schema: schema.to_owned(), name: name.to_owned() },
            (None, Some(schema)) => Table { schema: schema.clone(), name: place.to_owned() },
            (None, None) => {
                return Err(Fault::new(
                    Code::LedgerShape,
                    format!("there is no schema in which `{place}` could be made"),
                )
                .fix("name the schema in `ledger-table`, as in `app.migrations`"));
            }
        };
        let schema_exists = found.schemas.contains(&table.schema);
        Ok(Self { layout, table, exists: false, schema_exists, progress_exists: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(place: &str, columns: Option<&[&str]>) -> Vec<Option<String>> {
        let there = columns.is_some();
        let (schema, name) = place.split_once('.').unwrap_or(("public", place));
        vec![
            Some(place.to_owned()),
            there.then(|| schema.to_owned()),
            there.then(|| name.to_owned()),
            columns.map(|columns| columns.join(",")),
            Some("f".to_owned()),
            Some("public".to_owned()),
            Some("pg_catalog,public".to_owned()),
        ]
    }

    fn choose(own: Option<&[&str]>, sqlx: Option<&[&str]>, layout: LayoutChoice, files: Option<Layout>) -> Ledger {
        let places = found(&[place(OWN, own), place(SQLX, sqlx)]);
        Ledger::choose(&places, layout, None, files).expect("a ledger")
    }

    #[test]
    fn an_empty_database_gets_our_own_ledger_and_its_schema() {
        let ledger = choose(None, None, LayoutChoice::Auto, None);
        assert_eq!((ledger.layout, ledger.exists, ledger.schema_exists), (Layout::Plain, false, false));
        let sql = ledger.create_sql().expect("something to make");
        assert!(sql.starts_with(r#"CREATE SCHEMA IF NOT EXISTS "bastion_migrate"; CREATE TABLE"#), "{sql}");
    }

    #[test]
    fn a_ledger_of_sqlx_is_kept() {
        let ledger = choose(None, Some(sqlx::COLUMNS), LayoutChoice::Auto, None);
        assert_eq!((ledger.layout, ledger.exists), (Layout::Sqlx, true));
        assert_eq!(ledger.create_sql(), None);
    }

    #[test]
    fn our_own_ledger_wins_over_one_of_sqlx() {
        let ledger = choose(Some(plain::COLUMNS), Some(sqlx::COLUMNS), LayoutChoice::Auto, None);
        assert_eq!(ledger.layout, Layout::Plain);
    }

    #[test]
    fn file_names_of_sqlx_decide_when_nothing_else_does() {
        assert_eq!(choose(None, None, LayoutChoice::Auto, Some(Layout::Sqlx)).layout, Layout::Sqlx);
        assert_eq!(choose(None, None, LayoutChoice::Plain, Some(Layout::Sqlx)).layout, Layout::Plain);
    }

    #[test]
    fn a_table_with_other_columns_is_refused() {
        let places = found(&[place("app.versions", Some(&["id", "what"]))]);
        let fault = Ledger::choose(&places, LayoutChoice::Auto, Some("app.versions"), None).expect_err("a fault");
        assert_eq!(fault.code, Code::LedgerShape);
        assert!(fault.cause.contains("app.versions") && fault.cause.contains("id, what"), "{}", fault.cause);
    }
}
