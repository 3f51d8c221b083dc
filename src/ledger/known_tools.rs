//! The ledgers of other tools, recognised by their columns. They can be read even where the tool itself can't be run.
//! Names collide (four tools have a table `migrations`), so the columns decide.

use super::{
    catalog::{self, CatalogTable},
    ledger_shape::{LEDGER_SHAPES, LedgerShape, ledger_shape},
};
use crate::{
    fault::Fault,
    layout::{Table, plain},
    postgres::{Row, RowTag, Rows, quote_literal},
};
use std::{collections::BTreeMap, time::Duration};

/// Our own ledger, for runs that use another one in the same database.
static OWN_SHAPE: LedgerShape = ledger_shape("bastion-migrate", "ledger", plain::COLUMNS, "name", "true", "version");

/// Returns the tools whose ledgers are known.
pub fn tool_names() -> impl Iterator<Item = &'static str> {
    LEDGER_SHAPES.iter().map(|shape| shape.tool)
}

/// Returns the table of a tool's ledger.
#[must_use]
pub fn table_of(tool: &str) -> Option<&'static str> {
    LEDGER_SHAPES.iter().find(|shape| shape.tool == tool).map(|shape| shape.table)
}

/// A tool's ledger in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolLedger {
    shape: &'static LedgerShape,
    /// Its table.
    pub table: Table,
    /// The names of its columns.
    pub(super) columns: Vec<String>,
}

/// A migration that a tool has recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolMigration {
    /// The schema of the ledger.
    pub schema: String,
    /// The migration's name for people.
    pub name: String,
}

/// Returns the names of all tables by which ledgers are recognised.
pub(super) fn table_names() -> impl Iterator<Item = &'static str> {
    LEDGER_SHAPES.iter().flat_map(|shape| [Some(shape.table), shape.companion]).flatten()
}

/// Returns the query for every table with the name of a ledger, in every schema.
#[must_use]
pub fn find_sql() -> String {
    let names: Vec<String> = table_names().map(quote_literal).collect();
    let ledgers = catalog::tables_sql(RowTag::ToolLedger, &format!("c.relname IN ({})", names.join(", ")));
    format!("{}; {ledgers}", catalog::role_sql())
}

/// The ledgers in a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolLedgers {
    /// The ledgers that may be read.
    pub ledgers: Vec<ToolLedger>,
    /// Tables with the name and the columns of a ledger that are ignored, with the reason.
    pub ignored: Vec<String>,
}

/// Reads the response to [`find_sql`]. If the tool is known, only its ledgers count.
///
/// # Errors
/// The reason why the known tool's ledger may not be read, if there is no other one that may be.
pub fn parse_ledgers(rows: &Rows, tool: Option<&str>) -> Result<ToolLedgers, Fault> {
    let tables = catalog::parse_tables(rows, RowTag::ToolLedger);
    let (trusted, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(CatalogTable::is_trusted);
    let ledgers = tool_ledgers_among(&trusted, tool);
    let also_of_tool = tool_ledgers_among(&others, tool);
    let ignored = others.iter().filter(|table| also_of_tool.iter().any(|ledger| ledger.table == table.table));
    if let (Some(_), true, Some(first)) = (tool, ledgers.is_empty(), ignored.clone().next()) {
        first.refuse_untrusted(&catalog::parse_role(rows))?;
    }
    let ignored = ignored.map(CatalogTable::describe_issue).collect();
    Ok(ToolLedgers { ledgers, ignored })
}

/// Returns the ledgers among these tables, those of all tools and our own.
pub(super) fn ledgers_among(tables: &[CatalogTable]) -> Vec<ToolLedger> {
    let own_ledgers = tables.iter().filter(|table| table.has_only_columns(plain::COLUMNS));
    let own_ledgers = own_ledgers.map(|table| ToolLedger::new(&OWN_SHAPE, table));
    own_ledgers.chain(tool_ledgers_among(tables, None)).collect()
}

/// Returns the tool to which a table belongs. `tables` are all those of the database.
pub(super) fn tool_of(found: &CatalogTable, tables: &[CatalogTable]) -> Option<&'static str> {
    shape_of(found, tables, None).map(|shape| shape.tool)
}

fn tool_ledgers_among(tables: &[CatalogTable], tool: Option<&str>) -> Vec<ToolLedger> {
    let read = |found: &CatalogTable| Some(ToolLedger::new(shape_of(found, tables, tool)?, found));
    tables.iter().filter_map(read).collect()
}

fn shape_of(found: &CatalogTable, tables: &[CatalogTable], tool: Option<&str>) -> Option<&'static LedgerShape> {
    let has_table = |schema: &str, name: &str| {
        tables.iter().any(|found| (found.table.schema.as_str(), found.table.name.as_str()) == (schema, name))
    };
    LEDGER_SHAPES.iter().find(|shape| {
        shape.table == found.table.name
            && found.has_columns(shape.columns)
            && match tool {
                Some(tool) => tool == shape.tool,
                None => shape.companion.is_none_or(|companion| has_table(&found.table.schema, companion)),
            }
    })
}

impl ToolLedger {
    fn new(shape: &'static LedgerShape, found: &CatalogTable) -> Self {
        Self { shape, table: found.table.clone(), columns: found.columns.clone() }
    }

    /// Returns the SQL of the migration's name for people, and the condition for rows of applied migrations.
    pub(super) fn row_sql(&self) -> (&'static str, String) {
        (self.shape.name, self.shape.applied.replace("{table}", &self.table.to_sql()))
    }

    /// Returns the SQL that records a migration as applied; `None` if its name is not enough for that.
    #[must_use]
    pub fn record_sql(&self, name: &str) -> Option<String> {
        let (table, name) = (self.table.to_sql(), quote_literal(name));
        let record = self.shape.record?.replace("{table}", &table).replace("{name}", &name);
        Some(format!("INSERT INTO {table} {record}"))
    }

    /// Returns the SQL after which a migration does not count as applied or as started.
    #[must_use]
    pub fn forget_sql(&self, name: &str) -> String {
        let (table, is_it) = (self.table.to_sql(), format!("({}) = {}", self.shape.name, quote_literal(name)));
        match self.shape.forget {
            Some(forget) => format!("UPDATE {table} SET {forget} AND {is_it}"),
            None => format!("DELETE FROM {table} WHERE {is_it}"),
        }
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn tool_name(&self) -> &'static str {
        self.shape.tool
    }
}

/// Returns one query for the rows of all these ledgers.
#[must_use]
pub fn read_sql(ledgers: &[ToolLedger]) -> String {
    let selects = ledgers.iter().map(|ledger| {
        let ToolLedger { shape, table, .. } = ledger;
        let (schema, (name, applied)) = (quote_literal(&table.schema), ledger.row_sql());
        format!(
            "(SELECT {}, {schema}, {}, ({})::text FROM {} WHERE {} ORDER BY {})",
            RowTag::ToolMigration,
            name,
            shape.took.unwrap_or("NULL"),
            table.to_sql(),
            applied,
            shape.order
        )
    });
    selects.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Returns whether a migration of this tool can be recorded as applied by its name alone.
#[must_use]
pub fn can_record_by_name(tool: &str) -> bool {
    LEDGER_SHAPES.iter().any(|shape| shape.tool == tool && shape.record.is_some())
}

/// Returns one query for all rows that count, those of unfinished migrations included. [`parse_rows`] reads the response.
#[must_use]
pub fn all_rows_sql(ledgers: &[ToolLedger]) -> String {
    let selects = ledgers.iter().map(|ToolLedger { shape, table, .. }| {
        let counts = shape.forget.and_then(|forget| forget.split_once(" WHERE ")).map_or("true", |(_, counts)| counts);
        let (tag, schema, name) = (RowTag::ToolMigration, quote_literal(&table.schema), shape.name);
        format!("(SELECT {tag}, {schema}, {name}, NULL FROM {} WHERE {counts})", table.to_sql())
    });
    selects.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Returns the query for those of these ledgers that have any row. Any row counts, applied or not: it shows that the
/// tool has been used.
#[must_use]
pub(super) fn in_use_sql(ledgers: &[ToolLedger]) -> String {
    let conditions = ledgers.iter().map(|ToolLedger { shape, table, .. }| {
        let (tool, schema, name) =
            (quote_literal(shape.tool), quote_literal(&table.schema), quote_literal(&table.name));
        let tag = RowTag::LedgerInUse;
        format!("SELECT {tag}, {tool}, {schema}, {name} WHERE EXISTS (SELECT FROM {}); ", table.to_sql())
    });
    conditions.collect()
}

/// Reads the response to [`read_sql`].
#[must_use]
pub fn parse_rows(rows: &Rows) -> Vec<ToolMigration> {
    recorded_migrations(rows).map(|(migration, _)| migration).collect()
}

/// Returns the durations of migrations, as far as the ledger has them.
#[must_use]
pub fn times(rows: &Rows) -> BTreeMap<ToolMigration, Duration> {
    recorded_migrations(rows).filter_map(|(migration, took)| Some((migration, took?))).collect()
}

/// Returns each recorded migration with its duration, if the ledger has it.
fn recorded_migrations(rows: &Rows) -> impl Iterator<Item = (ToolMigration, Option<Duration>)> {
    let migration = |row: Row<'_>| {
        let [schema, name, took_ms] = row.columns();
        let took = took_ms.and_then(|took_ms| took_ms.parse().ok()).map(Duration::from_millis);
        Some((ToolMigration { schema: schema?.to_owned(), name: name?.to_owned() }, took))
    };
    rows.tagged(RowTag::ToolMigration).filter_map(migration)
}

/// Reads the response to [`in_use_sql`]: the tool and the table of each ledger.
pub(super) fn parse_in_use(rows: &Rows) -> Vec<(String, Table)> {
    let ledger = |row: Row<'_>| {
        let [tool, schema, name] = row.columns().map(|text| text.unwrap_or_default().to_owned());
        (tool, Table { schema, name })
    };
    rows.tagged(RowTag::LedgerInUse).map(ledger).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(schema: &str, name: &str, columns: &str, owner: Option<&str>) -> Vec<Option<String>> {
        let columns = serde_json::to_string(&columns.split(',').collect::<Vec<_>>()).unwrap();
        let owner = owner.unwrap_or_default();
        RowTag::ToolLedger.row(&[schema, name, &columns, "t", "t", "f", owner, "", ""])
    }

    fn table(schema: &str, name: &str, columns: &str) -> Vec<Option<String>> {
        row(schema, name, columns, None)
    }

    fn ledgers(rows: &[Vec<Option<String>>], tool: Option<&str>) -> Vec<ToolLedger> {
        parse_ledgers(&rows.iter().cloned().collect(), tool).unwrap().ledgers
    }

    #[test]
    fn columns_distinguish_tools_whose_tables_share_a_name() {
        for (name, columns, tool) in [
            ("schema_migrations", "version", "dbmate"),
            ("schema_migrations", "version,dirty", "golang-migrate"),
            ("schema_migrations", "version,inserted_at", "ecto"),
            ("schema_migrations", "name,statements,version", "supabase"),
            ("migrations", "id,migration,batch", "laravel"),
            ("migrations", "id,timestamp,name", "typeorm"),
            ("migrations", "id,name,run_on", "db-migrate"),
            ("migrations", "schema,name,migration,created_at,done", "pgroll"),
        ] {
            let found = ledgers(&[table("public", name, columns)], None);
            assert_eq!(found.iter().map(ToolLedger::tool_name).collect::<Vec<_>>(), [tool], "{columns}");
        }
        assert_eq!(ledgers(&[table("public", "migrations", "bird,route")], None), []);
    }

    #[test]
    fn rails_is_recognised_by_its_second_table_or_by_the_tool_input() {
        let ledger = table("a", "schema_migrations", "version");
        let tool = |rows: &[Vec<Option<String>>], tool| ledgers(rows, tool).first().map(ToolLedger::tool_name);
        let with_metadata = |schema| [ledger.clone(), table(schema, "ar_internal_metadata", "key,value")];
        assert_eq!(tool(&with_metadata("a"), None), Some("rails"));
        assert_eq!(tool(&with_metadata("b"), None), Some("dbmate"));
        assert_eq!(tool(std::slice::from_ref(&ledger), Some("rails")), Some("rails"));
        assert_eq!(ledgers(&with_metadata("a"), None).len(), 1);
    }

    #[test]
    fn a_known_tool_has_only_its_own_ledgers_and_one_in_each_schema() {
        let rows = [
            table("a", "django_migrations", "id,app,name,applied"),
            table("b", "django_migrations", "id,app,name,applied"),
            table("a", "alembic_version", "version_num"),
        ];
        let ledgers = ledgers(&rows, Some("django"));
        assert_eq!(ledgers.len(), 2);
        let sql = read_sql(&ledgers);
        assert!(
            sql.contains("'a', app || '.' || name, (NULL)::text FROM \"a\".\"django_migrations\"")
                && sql.contains(" UNION ALL "),
            "{sql}"
        );
        let row = RowTag::ToolMigration.row(&["a", "auth.0001_initial"]);
        assert_eq!(
            parse_rows(&Rows::from_iter([row])),
            [ToolMigration { schema: "a".to_owned(), name: "auth.0001_initial".to_owned() }]
        );
    }

    #[test]
    fn an_untrusted_ledger_is_ignored_and_a_fault_if_it_is_the_only_one() {
        let columns = "id,app,name,applied";
        let foreign = row("evil", "django_migrations", columns, Some("evil"));
        let both = Rows::from_iter([foreign.clone(), table("public", "django_migrations", columns)]);
        let parsed = parse_ledgers(&both, Some("django")).unwrap();
        assert_eq!(parsed.ledgers.iter().map(|ledger| ledger.table.schema.as_str()).collect::<Vec<_>>(), ["public"]);
        assert_eq!(parsed.ignored, ["`evil.django_migrations` belongs to `evil`"]);
        let foreign = Rows::from_iter([foreign]);
        assert_eq!(parse_ledgers(&foreign, None).unwrap().ledgers, []);
        let fault = parse_ledgers(&foreign, Some("django")).unwrap_err();
        assert_eq!(fault.code, crate::fault::Code::LedgerUntrusted);
    }
}
