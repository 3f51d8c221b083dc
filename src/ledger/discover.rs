//! Finds the ledger of a run, in the same response that contains the server's version.
//!
//! A ledger is identified by its schema, its owner and its columns, never by the session's search path alone: a path
//! that was changed since the last run would lead to no ledger, and everything would be applied again.

use super::{
    Ledger,
    catalog::{self, CatalogTable},
    choice_faults::{
        ambiguous_application_fault, ambiguous_files_fault, ledger_moved_fault, list_names, wrong_shape_fault,
    },
    known_tools::{self, ToolLedger},
    progress::OWN_SCHEMA,
};
use crate::{
    fault::{Code, Fault},
    layout::{self, Application, Evidence, Layout, ProgressPlace, Table},
    postgres::{RowTag, Rows, own_query::OwnQuery, quote_literal},
};

/// The tables that could be a ledger, and the session's search path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub(super) role: String,
    /// The existing schemas of the session's search path.
    path: Vec<String>,
    pub(super) tables: Vec<CatalogTable>,
    /// Schemas in which a ledger could be created, with their owner if we don't trust it.
    pub(super) schemas: Vec<(String, Option<String>)>,
}

/// The ledger of a run, and the others in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerChoice {
    /// The ledger of the run.
    pub ledger: Ledger,
    /// The reason for its layout, as a sentence without its full stop.
    pub reason: String,
    /// The fault of a choice that nothing decides, if there is no better reason to refuse the database.
    pub ambiguity: Option<Fault>,
    /// Other ledgers, which show that the database is not empty although the run's own ledger is. Empty if the user
    /// named the ledger.
    pub other_ledgers: Vec<ToolLedger>,
    /// Tables with the name of a ledger that are ignored, with the reason.
    pub ignored: Vec<String>,
}

/// The reason for a layout, or the fault if nothing decides.
type LayoutReason = Result<String, Fault>;

/// The information about the ledger from the files and from the user.
#[derive(Debug, Clone, Copy)]
pub struct LedgerHints<'a> {
    /// The layouts that the files fit, the preferred one first.
    pub layouts: &'a [Layout],
    /// The input `ledger-table`.
    pub table: Option<&'a str>,
    /// The file beside the migrations which shows that a tool applies them.
    pub application: Option<&'a Application>,
}

/// Returns the query whose response [`Survey::from_rows`] reads. `source_table` is that of a ledger which is taken over.
#[must_use]
pub fn survey_query(ledger_table: Option<&str>, source_table: Option<&str>) -> OwnQuery {
    let default_tables = || layout::ALL.iter().map(|layout| layout.default_table()).collect();
    let tables: Vec<&str> = ledger_table.map_or_else(default_tables, |table| vec![table]);
    let tenant_tables = layout::ALL.iter().filter_map(|layout| layout.tenant_table());
    let own_tables: Vec<&str> = tables.iter().copied().chain(tenant_tables).collect();
    let names = own_tables
        .iter()
        .flat_map(|table| [table_name_of(table).to_owned(), format!("{}_progress", table_name_of(table))]);
    let names = names.chain(known_tools::table_names().map(str::to_owned));
    let names = names.chain(source_table.map(|table| table_name_of(table).to_owned()));
    let names: Vec<String> = names.map(|name| quote_literal(&name)).collect();
    let unique_columns = layout::ALL.iter().filter_map(|layout| layout.unique_column());
    let unique_columns: Vec<String> = unique_columns.map(quote_literal).collect();
    // The last part finds the ledgers of the layouts under any name, by a column that no other tool's table has.
    let condition = format!(
        "c.relname IN ({}) OR n.nspname = '{OWN_SCHEMA}' OR c.oid IN (SELECT a.attrelid FROM pg_attribute a \
         WHERE a.attname IN ({}) AND NOT a.attisdropped)",
        names.join(", "),
        unique_columns.join(", ")
    );
    let schemas = tables.iter().filter_map(|table| table.split_once('.')).map(|(schema, _)| schema);
    let schemas: Vec<String> = schemas.chain([OWN_SCHEMA]).map(quote_literal).collect();
    let schemas = schemas.join(", ");
    OwnQuery::read_only(catalog::role_sql())
        .with_appended(&catalog::tables_sql(RowTag::LedgerCandidate, &condition))
        .with_appended(&catalog::schemas_sql(&schemas))
        .preceded_by(path_sql())
}

/// Returns the query for the existing schemas of the session's search path.
pub(super) fn path_sql() -> String {
    format!("SELECT {}, s FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) s", RowTag::SearchPath)
}

/// Reports whether the table has the name of our own ledger in the schema of a tenant. What tenants share has another
/// ledger, which is not continued by those.
fn is_own_of_tenant(found: &CatalogTable) -> bool {
    let own = Layout::default();
    own.tenant_table() == Some(&*found.table.name) && found.has_only_columns(own.columns())
}

fn table_name_of(table: &str) -> &str {
    table.split_once('.').map_or(table, |(_, name)| name)
}

impl Survey {
    /// Reads the response, which may contain other rows.
    #[must_use]
    pub fn from_rows(rows: &Rows) -> Self {
        Self {
            role: catalog::parse_role(rows),
            path: rows.texts_tagged(RowTag::SearchPath).collect(),
            tables: catalog::parse_tables(rows, RowTag::LedgerCandidate),
            schemas: catalog::parse_schemas(rows),
        }
    }

    /// Returns the existing schemas of the session's search path.
    #[must_use]
    pub fn search_path(&self) -> &[String] {
        &self.path
    }

    /// Chooses the ledger.
    ///
    /// # Errors
    /// The reason why no ledger can be trusted, or why several are possible.
    pub fn choose_ledger(&self, hints: &LedgerHints<'_>) -> Result<LedgerChoice, Fault> {
        let (layout, reason) = self.choose_layout(hints, |layout| self.standing_ledger(layout, hints.table))?;
        let (reason, ambiguity) = match reason {
            Ok(reason) => (reason, None),
            Err(fault) => (String::new(), Some(fault)),
        };
        Ok(LedgerChoice { ambiguity, ..self.choose_ledger_of(layout, hints, reason)? })
    }

    /// Returns the ledger of this layout, for this reason.
    ///
    /// # Errors
    /// The reason why it can't be trusted.
    pub fn choose_ledger_of(
        &self,
        layout: Layout,
        hints: &LedgerHints<'_>,
        reason: String,
    ) -> Result<LedgerChoice, Fault> {
        let table_name = hints.table.unwrap_or(layout.default_table());
        let ledger = match self.table_at(table_name) {
            Some(found) if hints.table.is_none() && !self.is_ledger_of(layout, found) => {
                return Err(wrong_shape_fault(layout, found));
            }
            Some(found) => self.existing_ledger(layout, found)?,
            None => self.new_ledger(layout, table_name, hints.table)?,
        };
        let remaining = self.tables.iter().filter(|found| found.table != ledger.table && !is_own_of_tenant(found));
        let (ignored, others) = remaining.partition::<Vec<&CatalogTable>, _>(|found| !found.is_trusted());
        let others = known_tools::ledgers_among(&others.into_iter().cloned().collect::<Vec<_>>());
        Ok(LedgerChoice {
            ledger,
            reason,
            ambiguity: None,
            other_ledgers: if hints.table.is_some() { Vec::new() } else { others },
            ignored: ignored.into_iter().map(CatalogTable::describe_issue).collect(),
        })
    }

    /// Chooses among the layouts that the files fit: by the columns of the table that the user named, else by the
    /// ledger that exists, else by the configuration of a tool.
    pub(super) fn choose_layout<'s>(
        &'s self,
        hints: &LedgerHints<'_>,
        standing: impl Fn(Layout) -> Option<&'s CatalogTable>,
    ) -> Result<(Layout, LayoutReason), Fault> {
        let [preferred, others @ ..] = hints.layouts else {
            return Err(Fault::new(Code::Bug, "the files were read without a layout"));
        };
        let with_ledger = hints.layouts.iter().find_map(|layout| Some((layout, standing(*layout)?)));
        if let Some((layout, table)) = with_ledger {
            return Ok((*layout, Ok(format!("`{}` is its ledger", table.table))));
        }
        if hints.table.is_none()
            && let Some((layout, table)) = self.ledger_elsewhere(hints.layouts)
        {
            return Ok((layout, Ok(format!("`{}` is its ledger", table.table))));
        }
        if others.is_empty() {
            return Ok((*preferred, Ok("only it has files like these".to_owned())));
        }
        let table_exists = hints.table.is_some_and(|table_name| self.table_at(table_name).is_some());
        Ok(match hints.application.filter(|_| !table_exists) {
            Some(Application { layout, file, evidence: Evidence::Configuration }) => {
                (*layout, Ok(format!("`{file}` is its configuration")))
            }
            Some(application) => (*preferred, Err(ambiguous_application_fault(hints.layouts, application))),
            None if *preferred == Layout::default() => {
                let others = list_names(others);
                let reason = format!("there is no ledger of {others}, and no configuration of such a tool");
                (*preferred, Ok(reason))
            }
            None => (*preferred, Err(ambiguous_files_fault(hints.layouts))),
        })
    }

    /// Returns the ledger of this layout in the place where the run would look for it.
    fn standing_ledger(&self, layout: Layout, given_table: Option<&str>) -> Option<&CatalogTable> {
        let found = self.table_at(given_table.unwrap_or(layout.default_table()))?;
        match given_table {
            Some(_) => layout.recognises(&found.columns).then_some(found),
            None => self.is_ledger_of(layout, found).then_some(found),
        }
    }

    /// Returns the only trusted ledger of one of these layouts that stands in another place.
    fn ledger_elsewhere(&self, layouts: &[Layout]) -> Option<(Layout, &CatalogTable)> {
        let mut found = layouts.iter().filter_map(|layout| Some((*layout, self.find_elsewhere(*layout, "", None)?)));
        found.next().filter(|_| found.next().is_none())
    }

    /// Reports whether this table is a ledger of this layout, by its columns and by the tables beside it.
    fn is_ledger_of(&self, layout: Layout, found: &CatalogTable) -> bool {
        layout.recognises(&found.columns)
            && match known_tools::tool_of(found, &self.tables) {
                Some(tool) => tool == layout.name(),
                None => true,
            }
    }

    /// Returns the table with this name; without a schema, the first on the search path.
    pub(super) fn table_at(&self, table_name: &str) -> Option<&CatalogTable> {
        let find_table = |schema: &str, name: &str| {
            self.tables.iter().find(|found| found.table.schema == schema && found.table.name == name)
        };
        match table_name.split_once('.') {
            Some((schema, name)) => find_table(schema, name),
            None => self.path.iter().find_map(|schema| find_table(schema, table_name)),
        }
    }

    pub(super) fn existing_ledger(&self, layout: Layout, found: &CatalogTable) -> Result<Ledger, Fault> {
        if !layout.recognises(&found.columns) {
            return Err(wrong_shape_fault(layout, found));
        }
        found.refuse_untrusted(&self.role)?;
        let ledger =
            Ledger { layout, table: found.table.clone(), exists: true, schema_exists: true, progress_exists: false };
        self.with_progress(ledger)
    }

    fn new_ledger(&self, layout: Layout, table_name: &str, given_table: Option<&str>) -> Result<Ledger, Fault> {
        let table = match (table_name.split_once('.'), self.path.first()) {
            (Some((schema, name)), _) => Table { schema: schema.to_owned(), name: name.to_owned() },
            (None, Some(schema)) => Table { schema: schema.clone(), name: table_name.to_owned() },
            (None, None) => {
                return Err(Fault::new(
                    Code::LedgerShape,
                    format!("there is no schema in which `{table_name}` could be created"),
                )
                .fix("name the schema in `ledger-table`, as in `app.migrations`"));
            }
        };
        if let Some(elsewhere) = self.find_elsewhere(layout, &table.name, given_table) {
            return Err(ledger_moved_fault(&elsewhere.table, &table));
        }
        let schema = self.schemas.iter().find(|(schema, _)| *schema == table.schema);
        if let Some((schema, Some(owner))) = schema {
            let cause = format!(
                "the ledger would be created in the schema `{schema}` of `{owner}`, who could remove it at any time"
            );
            let fix = format!(
                "if that schema is not yours, drop it; or name another place in `ledger-table`, as in `public.{}`",
                table.name
            );
            return Err(Fault::new(Code::LedgerUntrusted, cause).fix(fix));
        }
        let schema_exists = schema.is_some() || self.path.contains(&table.schema);
        self.with_progress(Ledger { layout, table, exists: false, schema_exists, progress_exists: false })
    }

    /// Finds a ledger of this layout in another place than the expected one. A user who names the schema knows where it
    /// is; one who names only the table knows its name, and it is searched for in other schemas.
    fn find_elsewhere(&self, layout: Layout, name: &str, given_table: Option<&str>) -> Option<&CatalogTable> {
        let mut trusted = self.tables.iter().filter(|found| found.is_trusted());
        match given_table {
            Some(table) if table.contains('.') => None,
            Some(_) => trusted.find(|found| found.table.name == name && layout.recognises(&found.columns)),
            None => {
                let default_name = table_name_of(layout.default_table());
                trusted.find(|found| match layout.unique_column() {
                    Some(_) => found.has_only_columns(layout.columns()) && !is_own_of_tenant(found),
                    None => found.table.name == default_name && self.is_ledger_of(layout, found),
                })
            }
        }
    }

    pub(super) fn with_progress(&self, ledger: Ledger) -> Result<Ledger, Fault> {
        let table = ledger.progress_table();
        let schema = self.schemas.iter().find(|(schema, _)| *schema == table.schema);
        if let (ProgressPlace::OwnSchema, Some((schema, Some(owner)))) = (ledger.layout.progress_place(), schema) {
            let cause =
                format!("the schema `{schema}`, which is ours, belongs to `{owner}`, who could change what is in it");
            let fix = format!(
                "if that schema is not yours, drop it; else let a superuser run `GRANT {owner} TO …` for the role"
            );
            return Err(Fault::new(Code::LedgerUntrusted, cause).fix(fix));
        }
        let Some(found) = self.tables.iter().find(|found| found.table == table) else { return Ok(ledger) };
        found.refuse_untrusted(&self.role)?;
        Ok(Ledger { progress_exists: true, ..ledger })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str, columns: &[&str], owner: Option<&str>) -> Vec<Option<String>> {
        let columns = serde_json::to_string(columns).unwrap();
        let owner = owner.unwrap_or_default();
        RowTag::LedgerCandidate.row(&[schema, name, &columns, "t", "t", "f", owner, "", ""])
    }

    fn survey_query(tables: &[Vec<Option<String>>]) -> Survey {
        let path = ["app", "public"].map(|schema| RowTag::SearchPath.row(&[schema]));
        let rest = [RowTag::Role.row(&["app"])].into_iter().chain(path);
        Survey::from_rows(&tables.iter().cloned().chain(rest).collect())
    }

    const OWN_TABLE: &str = "bastion_migrate.ledger";
    const SQLX_TABLE: &str = "_sqlx_migrations";
    const AUTO: LedgerHints<'_> = LedgerHints { layouts: &layout::ALL, table: None, application: None };

    fn layout_named(name: &str) -> Layout {
        Layout::by_name(name).unwrap()
    }

    fn own_ledger() -> Vec<Option<String>> {
        table("bastion_migrate", "ledger", layout_named("plain").columns(), None)
    }

    fn sqlx_ledger(schema: &str) -> Vec<Option<String>> {
        table(schema, SQLX_TABLE, layout_named("sqlx").columns(), None)
    }

    fn ledger(tables: &[Vec<Option<String>>], hints: &LedgerHints<'_>) -> Ledger {
        survey_query(tables).choose_ledger(hints).expect("a ledger").ledger
    }

    fn code(tables: &[Vec<Option<String>>], hints: &LedgerHints<'_>) -> Code {
        match survey_query(tables).choose_ledger(hints) {
            Ok(choice) => choice.ambiguity.expect("a fault").code,
            Err(fault) => fault.code,
        }
    }

    #[test]
    fn an_empty_database_gets_our_own_ledger_and_its_schema() {
        let ledger = ledger(&[], &AUTO);
        assert_eq!((ledger.layout, ledger.exists, ledger.schema_exists), (layout_named("plain"), false, false));
        let sql = ledger.create_sql().expect("something to make");
        assert!(sql.contains(r#"CREATE SCHEMA IF NOT EXISTS "bastion_migrate"; CREATE TABLE"#), "{sql}");
    }

    #[test]
    fn a_ledger_of_sqlx_is_kept() {
        let ledger = ledger(&[sqlx_ledger("public")], &AUTO);
        assert_eq!((ledger.layout, ledger.exists), (layout_named("sqlx"), true));
        assert_eq!(ledger.create_sql(), None);
    }

    #[test]
    fn our_own_ledger_wins_over_one_of_sqlx_which_is_looked_at() {
        let choice = survey_query(&[own_ledger(), sqlx_ledger("public")]).choose_ledger(&AUTO).unwrap();
        assert_eq!(choice.ledger.layout, layout_named("plain"));
        assert_eq!(choice.other_ledgers.iter().map(ToolLedger::tool_name).collect::<Vec<_>>(), ["sqlx"]);
    }

    #[test]
    fn names_decide_and_then_the_ledger_and_then_the_project() {
        let reversible = LedgerHints { layouts: &[layout_named("sqlx")], ..AUTO };
        assert_eq!(ledger(&[], &reversible).layout, layout_named("sqlx"));
        assert_eq!(ledger(&[own_ledger()], &reversible).layout, layout_named("sqlx"));
        let sqlx = layout_named("sqlx");
        let application = Application { layout: sqlx, file: "Cargo.toml".to_owned(), evidence: Evidence::Dependency };
        let project = LedgerHints { application: Some(&application), ..AUTO };
        assert_eq!(code(&[], &project), Code::LayoutAmbiguous);
        assert_eq!(ledger(&[own_ledger()], &project).layout, layout_named("plain"));
        assert_eq!(ledger(&[sqlx_ledger("app")], &project).layout, layout_named("sqlx"));
    }

    #[test]
    fn a_ledger_that_the_path_does_not_lead_to_is_not_taken_for_none() {
        let sqlx = LedgerHints { layouts: &[layout_named("sqlx")], ..AUTO };
        assert_eq!(code(&[sqlx_ledger("hello")], &sqlx), Code::LedgerElsewhere);
        let fault = survey_query(&[sqlx_ledger("hello")]).choose_ledger(&sqlx).unwrap_err();
        assert!(fault.fix.contains("`ledger-table: hello._sqlx_migrations`"), "{}", fault.fix);
        let moved = LedgerHints { table: Some(OWN_TABLE), ..AUTO };
        assert_eq!(
            ledger(&[table("x", "migs", layout_named("plain").columns(), None)], &moved).table.to_string(),
            OWN_TABLE
        );
        for table in ["hello._sqlx_migrations", "app._sqlx_migrations"] {
            assert_eq!(
                ledger(&[sqlx_ledger("hello")], &LedgerHints { table: Some(table), ..sqlx }).table.to_string(),
                table
            );
        }
        assert_eq!(code(&[table("x", "migs", layout_named("plain").columns(), None)], &AUTO), Code::LedgerElsewhere);
        assert_eq!(ledger(&[sqlx_ledger("hello"), sqlx_ledger("app")], &sqlx).table.schema, "app");
    }

    #[test]
    fn a_table_with_other_columns_is_refused() {
        let custom = LedgerHints { table: Some("app.versions"), ..AUTO };
        let fault = survey_query(&[table("app", "versions", &["id", "what"], None)])
            .choose_ledger(&custom)
            .expect_err("a fault");
        assert_eq!(fault.code, Code::LedgerShape);
        assert!(fault.cause.contains("app.versions") && fault.cause.contains("id, what"), "{}", fault.cause);
    }

    #[test]
    fn a_ledger_of_another_role_is_a_fault_where_it_is_ours_and_left_alone_elsewhere() {
        let foreign_table = |schema, name, columns| table(schema, name, columns, Some("evil"));
        assert_eq!(
            code(&[foreign_table("bastion_migrate", "ledger", layout_named("plain").columns())], &AUTO),
            Code::LedgerUntrusted
        );
        let progress = foreign_table("bastion_migrate", "ledger_progress", &["version"]);
        assert_eq!(code(&[own_ledger(), progress], &AUTO), Code::LedgerUntrusted);
        let choice = survey_query(&[foreign_table("evil", SQLX_TABLE, layout_named("sqlx").columns())])
            .choose_ledger(&AUTO)
            .unwrap();
        assert_eq!((choice.ledger.layout, choice.other_ledgers.len()), (layout_named("plain"), 0));
        assert_eq!(choice.ignored, ["`evil._sqlx_migrations` belongs to `evil`"]);
    }
}
