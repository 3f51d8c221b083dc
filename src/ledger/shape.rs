//! The ledgers of other tools, by the shape of their tables: where the tool is not ours to ask, its table still is.
//! Names collide (three tools keep a `migrations`), so columns decide. Only tables whose rows can be read without knowing
//! more are here; a new tool is a new row.

use super::{
    Table,
    catalog::{self, CatalogTable, text},
    plain,
};
use crate::{fault::Fault, postgres::literal};
use std::{collections::BTreeMap, time::Duration};

/// What is known of a tool's ledger.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The tool.
    pub tool: &'static str,
    table: &'static str,
    /// Columns that only this tool's table of that name has.
    columns: &'static [&'static str],
    /// SQL: the migration as people call it.
    name: &'static str,
    /// SQL: the rows that say "applied"; `{table}` stands for the ledger.
    applied: &'static str,
    /// SQL: their order.
    order: &'static str,
    /// SQL: how many milliseconds it took.
    took: Option<&'static str>,
    /// A table without which, in the same schema, it is somebody else's; not asked for when the tool is known.
    beside: Option<&'static str>,
}

const SHAPES: &[Shape] = &[
    shape("django", "django_migrations", &["app", "name", "applied"], "app || '.' || name", "true", "id"),
    shape("alembic", "alembic_version", &["version_num"], "version_num", "true", "version_num"),
    shape(
        "flyway",
        "flyway_schema_history",
        &["installed_rank", "script", "success"],
        "coalesce(version || ' ', '') || description",
        // What is undone keeps its row, and another one says so.
        "success AND type NOT LIKE 'UNDO%' AND NOT EXISTS (SELECT FROM {table} AS undone WHERE undone.success AND \
         undone.type LIKE 'UNDO%' AND undone.version = {table}.version AND undone.installed_rank > {table}.installed_rank)",
        "installed_rank",
    )
    .took("execution_time"),
    shape(
        "liquibase",
        "databasechangelog",
        &["id", "author", "orderexecuted"],
        "filename || '::' || id || '::' || author",
        "exectype <> 'FAILED'",
        "orderexecuted",
    ),
    shape("golang-migrate", "schema_migrations", &["version", "dirty"], "version::text", "NOT dirty", "version"),
    shape("ecto", "schema_migrations", &["version", "inserted_at"], "version::text", "true", "version"),
    // In a schema of its own, `supabase_migrations` (supabase/cli, pkg/migration).
    shape(
        "supabase",
        "schema_migrations",
        &["version", "statements"],
        "version || coalesce(' ' || name, '')",
        "true",
        "version",
    ),
    // Rails also notes its environment; dbmate makes the very same table and nothing else.
    shape("rails", "schema_migrations", &["version"], "version::text", "true", "version")
        .beside("ar_internal_metadata"),
    shape("dbmate", "schema_migrations", &["version"], "version::text", "true", "version"),
    shape(
        "goose",
        "goose_db_version",
        &["version_id", "is_applied"],
        "version_id::text",
        "is_applied AND version_id > 0",
        "id",
    ),
    shape(
        "sqlx",
        "_sqlx_migrations",
        &["version", "success", "checksum"],
        "version || ' ' || description",
        "success",
        "version",
    ),
    shape(
        "refinery",
        "refinery_schema_history",
        &["version", "applied_on"],
        "version || ' ' || name",
        "true",
        "version",
    ),
    shape("diesel", "__diesel_schema_migrations", &["version", "run_on"], "version::text", "true", "version"),
    shape(
        "prisma",
        "_prisma_migrations",
        &["migration_name", "finished_at"],
        "migration_name",
        "finished_at IS NOT NULL AND rolled_back_at IS NULL",
        "started_at",
    )
    .took("floor(extract(epoch FROM finished_at - started_at) * 1000)"),
    shape(
        "drizzle",
        "__drizzle_migrations",
        &["hash", "created_at"],
        "created_at || ' ' || left(hash, 12)",
        "true",
        "id",
    ),
    shape("knex", "knex_migrations", &["name", "batch"], "name", "true", "id"),
    shape("laravel", "migrations", &["migration", "batch"], "migration", "true", "id"),
    shape("typeorm", "migrations", &["timestamp", "name"], "name", "true", "id"),
    shape("db-migrate", "migrations", &["name", "run_on"], "name", "true", "id"),
    shape("sequelize", "SequelizeMeta", &["name"], "name", "true", "name"),
    shape("ef-core", "__EFMigrationsHistory", &["MigrationId"], "\"MigrationId\"", "true", "\"MigrationId\""),
    shape("node-pg-migrate", "pgmigrations", &["name", "run_on"], "name", "true", "id"),
    shape("tern", "schema_version", &["version"], "version::text", "true", "version"),
    shape("yoyo", "_yoyo_migration", &["migration_id"], "migration_id", "true", "applied_at_utc"),
    shape(
        "postgrator",
        "schemaversion",
        &["version", "md5", "run_at"],
        "version || coalesce(' ' || name, '')",
        // The first row says that there is nothing yet.
        "version > 0",
        "version",
    ),
    shape(
        "sqitch",
        "changes",
        &["change_id", "script_hash", "planned_at"],
        "project || ':' || change",
        "true",
        "committed_at",
    ),
    shape(
        "atlas",
        "atlas_schema_revisions",
        &["version", "applied", "total", "operator_version"],
        "version || coalesce(' ' || nullif(description, ''), '')",
        "applied = total AND coalesce(error, '') = ''",
        "version",
    ),
    // A migration that is begun and not completed has both schemas; `done` is the end of it.
    shape("pgroll", "migrations", &["schema", "name", "done"], "schema || '.' || name", "done", "created_at"),
];

const fn shape(
    tool: &'static str,
    table: &'static str,
    columns: &'static [&'static str],
    name: &'static str,
    applied: &'static str,
    order: &'static str,
) -> Shape {
    Shape { tool, table, columns, name, applied, order, took: None, beside: None }
}

impl Shape {
    const fn took(self, took: &'static str) -> Self {
        Self { took: Some(took), ..self }
    }

    const fn beside(self, table: &'static str) -> Self {
        Self { beside: Some(table), ..self }
    }
}

/// Our own, for whoever keeps another one beside it.
static OWN: Shape = shape("bastion-migrate", "ledger", plain::COLUMNS, "name", "true", "version");

/// Whose ledgers are known.
pub fn tools() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|shape| shape.tool)
}

/// One ledger in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolLedger {
    shape: &'static Shape,
    /// Where.
    pub table: Table,
}

/// One migration that a tool has recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The schema of the ledger.
    pub schema: String,
    /// The migration as people call it.
    pub name: String,
}

/// The names that ledgers have.
pub(super) fn table_names() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().flat_map(|shape| [Some(shape.table), shape.beside]).flatten()
}

/// Every table that has the name of a ledger, in every schema, in one query.
#[must_use]
pub fn find_sql() -> String {
    let names: Vec<String> = table_names().map(literal).collect();
    let ledgers = catalog::tables_sql("ledger", &format!("c.relname IN ({})", names.join(", ")));
    format!("SELECT 'role', current_user; {ledgers}")
}

/// The ledgers in a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that may be read.
    pub ledgers: Vec<ToolLedger>,
    /// Tables with the name and the shape of one that are left alone, and why.
    pub left_alone: Vec<String>,
}

/// Reads the answer. `tool` is the only one that counts, if one is known.
///
/// # Errors
/// Why the known tool's ledger may not be read, where there is none that may be.
pub fn found(answer: &[Vec<Option<String>>], tool: Option<&str>) -> Result<Found, Fault> {
    let tables = catalog::tables(answer, "ledger");
    let (trusted, others): (Vec<_>, Vec<_>) = tables.into_iter().partition(CatalogTable::is_trusted);
    let ledgers = of(&trusted, tool);
    let others_of_tool = of(&others, tool);
    let left_alone = others.iter().filter(|table| others_of_tool.iter().any(|ledger| ledger.table == table.table));
    if let (Some(_), true, Some(first)) = (tool, ledgers.is_empty(), left_alone.clone().next()) {
        let role = answer.iter().find(|row| text(row, 0) == Some("role"));
        first.trusted(role.and_then(|row| text(row, 1)).unwrap_or_default())?;
    }
    let left_alone = left_alone.map(CatalogTable::why_left_alone).collect();
    Ok(Found { ledgers, left_alone })
}

/// The ledgers among these tables, whosever they are, our own included.
pub(super) fn among(tables: &[CatalogTable]) -> Vec<ToolLedger> {
    let own = tables.iter().filter(|table| table.has_only(plain::COLUMNS));
    let own = own.map(|table| ToolLedger { shape: &OWN, table: table.table.clone() });
    own.chain(of(tables, None)).collect()
}

fn of(tables: &[CatalogTable], tool: Option<&str>) -> Vec<ToolLedger> {
    let has = |schema: &str, name: &str| {
        tables.iter().any(|found| (found.table.schema.as_str(), found.table.name.as_str()) == (schema, name))
    };
    let read = |found: &CatalogTable| {
        let shape = SHAPES.iter().find(|shape| {
            shape.table == found.table.name
                && found.has(shape.columns)
                && match tool {
                    Some(tool) => tool == shape.tool,
                    None => shape.beside.is_none_or(|beside| has(&found.table.schema, beside)),
                }
        })?;
        Some(ToolLedger { shape, table: found.table.clone() })
    };
    tables.iter().filter_map(read).collect()
}

impl ToolLedger {
    /// Whose it is.
    #[must_use]
    pub fn tool(&self) -> &'static str {
        self.shape.tool
    }
}

/// The rows of all these ledgers, in one query.
#[must_use]
pub fn read_sql(ledgers: &[ToolLedger]) -> String {
    let each = ledgers.iter().map(|ToolLedger { shape, table }| {
        let schema = literal(&table.schema);
        format!(
            "(SELECT 'row', {schema}, {}, ({})::text FROM {} WHERE {} ORDER BY {})",
            shape.name,
            shape.took.unwrap_or("NULL"),
            table.sql(),
            shape.applied.replace("{table}", &table.sql()),
            shape.order
        )
    });
    each.collect::<Vec<_>>().join(" UNION ALL ")
}

/// Names each of these ledgers that has rows at all. Whether they say "applied" does not matter: a row says that the tool was here.
#[must_use]
pub(super) fn in_use_sql(ledgers: &[ToolLedger]) -> String {
    let each = ledgers.iter().map(|ToolLedger { shape, table }| {
        let (tool, schema, name) = (literal(shape.tool), literal(&table.schema), literal(&table.name));
        format!("SELECT 'in use', {tool}, {schema}, {name} WHERE EXISTS (SELECT FROM {}); ", table.sql())
    });
    each.collect()
}

/// Reads the answer.
#[must_use]
pub fn rows(answer: &[Vec<Option<String>>]) -> Vec<Row> {
    let read = |row: &Vec<Option<String>>| {
        let field = |index: usize| row.get(index).cloned().flatten();
        (field(0)? == "row").then(|| Some(Row { schema: field(1)?, name: field(2)? })).flatten()
    };
    answer.iter().filter_map(read).collect()
}

/// Reads from it how long each took, where the ledger says so.
#[must_use]
pub fn times(answer: &[Vec<Option<String>>]) -> BTreeMap<Row, Duration> {
    let took = |row: &Vec<Option<String>>| row.get(3).cloned().flatten()?.parse().ok().map(Duration::from_millis);
    let read = |row| rows(std::slice::from_ref(row)).pop().zip(took(row));
    answer.iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(schema: &str, name: &str, columns: &str, owner: Option<&str>) -> Vec<Option<String>> {
        let columns = serde_json::to_string(&columns.split(',').collect::<Vec<_>>()).unwrap();
        let known = ["ledger", schema, name, &columns, "t", "t", "f"].map(|text| Some(text.to_owned()));
        known.into_iter().chain([owner.map(str::to_owned), None, None]).collect()
    }

    fn table(schema: &str, name: &str, columns: &str) -> Vec<Option<String>> {
        row(schema, name, columns, None)
    }

    fn ledgers(answer: &[Vec<Option<String>>], tool: Option<&str>) -> Vec<ToolLedger> {
        found(answer, tool).unwrap().ledgers
    }

    #[test]
    fn columns_tell_tools_apart_whose_tables_have_one_name() {
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
            assert_eq!(found.iter().map(ToolLedger::tool).collect::<Vec<_>>(), [tool], "{columns}");
        }
        assert_eq!(ledgers(&[table("public", "migrations", "bird,route")], None), []);
    }

    #[test]
    fn rails_is_known_by_the_table_beside_its_own_or_by_being_asked_for() {
        let ledger = table("a", "schema_migrations", "version");
        let tool = |answer: &[Vec<Option<String>>], tool| ledgers(answer, tool).first().map(ToolLedger::tool);
        let beside = |schema| [ledger.clone(), table(schema, "ar_internal_metadata", "key,value")];
        assert_eq!(tool(&beside("a"), None), Some("rails"));
        assert_eq!(tool(&beside("b"), None), Some("dbmate"));
        assert_eq!(tool(std::slice::from_ref(&ledger), Some("rails")), Some("rails"));
        assert_eq!(ledgers(&beside("a"), None).len(), 1);
    }

    #[test]
    fn a_known_tool_has_only_its_own_ledgers_and_one_in_each_schema() {
        let answer = [
            table("a", "django_migrations", "id,app,name,applied"),
            table("b", "django_migrations", "id,app,name,applied"),
            table("a", "alembic_version", "version_num"),
        ];
        let ledgers = ledgers(&answer, Some("django"));
        assert_eq!(ledgers.len(), 2);
        let sql = read_sql(&ledgers);
        assert!(
            sql.contains("'a', app || '.' || name, (NULL)::text FROM \"a\".\"django_migrations\"")
                && sql.contains(" UNION ALL "),
            "{sql}"
        );
        let row = ["row", "a", "auth.0001_initial"].map(|text| Some(text.to_owned())).to_vec();
        assert_eq!(rows(&[row]), [Row { schema: "a".to_owned(), name: "auth.0001_initial".to_owned() }]);
    }

    #[test]
    fn somebody_elses_ledger_is_left_alone_and_a_fault_where_it_is_the_only_one() {
        let columns = "id,app,name,applied";
        let theirs = row("evil", "django_migrations", columns, Some("evil"));
        let both = found(&[theirs.clone(), table("public", "django_migrations", columns)], Some("django")).unwrap();
        assert_eq!(both.ledgers.iter().map(|ledger| ledger.table.schema.as_str()).collect::<Vec<_>>(), ["public"]);
        assert_eq!(both.left_alone, ["`evil.django_migrations` belongs to `evil`"]);
        assert_eq!(found(std::slice::from_ref(&theirs), None).unwrap().ledgers, []);
        let fault = found(&[theirs], Some("django")).unwrap_err();
        assert_eq!(fault.code, crate::fault::Code::LedgerUntrusted);
    }
}
