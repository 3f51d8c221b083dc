//! The ledgers of other tools, by the shape of their tables: where the tool is not ours to ask, its table still is.
//! Names collide (three tools keep a `migrations`), so columns decide. Only tables whose rows can be read without knowing
//! more are here; a new tool is a new row.

use super::Table;
use crate::postgres::literal;

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
    /// SQL: the rows that say "applied".
    applied: &'static str,
    /// SQL: their order.
    order: &'static str,
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
        "success",
        "installed_rank",
    ),
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
    ),
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
    Shape { tool, table, columns, name, applied, order, beside: None }
}

impl Shape {
    const fn beside(self, table: &'static str) -> Self {
        Self { beside: Some(table), ..self }
    }
}

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

/// Every table that has the name of a ledger, in every schema, in one query.
#[must_use]
pub fn find_sql() -> String {
    let tables = SHAPES.iter().flat_map(|shape| [Some(shape.table), shape.beside]).flatten();
    let names: Vec<String> = tables.map(literal).collect();
    format!(
        "SELECT 'ledger', n.nspname, c.relname, pg_catalog.string_agg(a.attname, ',') FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relkind IN ('r', 'p') AND c.relname IN ({}) GROUP BY n.nspname, c.relname ORDER BY n.nspname, c.relname",
        names.join(", ")
    )
}

/// Reads the answer. `tool` is the only one that counts, if one is known.
#[must_use]
pub fn found(answer: &[Vec<Option<String>>], tool: Option<&str>) -> Vec<ToolLedger> {
    let tables: Vec<(&str, &str, &str)> = answer.iter().filter_map(|row| table(row)).collect();
    let has =
        |schema: &str, name: &str| tables.iter().any(|(in_schema, table, _)| (*in_schema, *table) == (schema, name));
    let read = |&(schema, name, columns): &(&str, &str, &str)| {
        let columns: Vec<&str> = columns.split(',').collect();
        let shape = SHAPES.iter().find(|shape| {
            shape.table == name
                && shape.columns.iter().all(|column| columns.contains(column))
                && match tool {
                    Some(tool) => tool == shape.tool,
                    None => shape.beside.is_none_or(|beside| has(schema, beside)),
                }
        })?;
        Some(ToolLedger { shape, table: Table { schema: schema.to_owned(), name: name.to_owned() } })
    };
    tables.iter().filter_map(read).collect()
}

/// Schema, name and columns of a table in the answer.
fn table(row: &[Option<String>]) -> Option<(&str, &str, &str)> {
    let field = |index: usize| row.get(index).and_then(Option::as_deref);
    if field(0)? != "ledger" {
        return None;
    }
    Some((field(1)?, field(2)?, field(3)?))
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
            "(SELECT 'row', {schema}, {} FROM {} WHERE {} ORDER BY {})",
            shape.name,
            table.sql(),
            shape.applied,
            shape.order
        )
    });
    each.collect::<Vec<_>>().join(" UNION ALL ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str, columns: &str) -> Vec<Option<String>> {
        ["ledger", schema, name, columns].map(|text| Some(text.to_owned())).to_vec()
    }

    #[test]
    fn columns_tell_tools_apart_whose_tables_have_one_name() {
        for (name, columns, tool) in [
            ("schema_migrations", "version", "dbmate"),
            ("schema_migrations", "version,dirty", "golang-migrate"),
            ("schema_migrations", "version,inserted_at", "ecto"),
            ("migrations", "id,migration,batch", "laravel"),
            ("migrations", "id,timestamp,name", "typeorm"),
            ("migrations", "id,name,run_on", "db-migrate"),
            ("migrations", "schema,name,migration,created_at,done", "pgroll"),
        ] {
            let found = found(&[table("public", name, columns)], None);
            assert_eq!(found.iter().map(ToolLedger::tool).collect::<Vec<_>>(), [tool], "{columns}");
        }
        assert_eq!(found(&[table("public", "migrations", "bird,route")], None), []);
    }

    #[test]
    fn rails_is_known_by_the_table_beside_its_own_or_by_being_asked_for() {
        let ledger = table("a", "schema_migrations", "version");
        let tool = |answer: &[Vec<Option<String>>], tool| found(answer, tool).first().map(ToolLedger::tool);
        let beside = |schema| [ledger.clone(), table(schema, "ar_internal_metadata", "key,value")];
        assert_eq!(tool(&beside("a"), None), Some("rails"));
        assert_eq!(tool(&beside("b"), None), Some("dbmate"));
        assert_eq!(tool(std::slice::from_ref(&ledger), Some("rails")), Some("rails"));
        assert_eq!(found(&beside("a"), None).len(), 1);
    }

    #[test]
    fn a_known_tool_has_only_its_own_ledgers_and_one_in_each_schema() {
        let answer = [
            table("a", "django_migrations", "id,app,name,applied"),
            table("b", "django_migrations", "id,app,name,applied"),
            table("a", "alembic_version", "version_num"),
        ];
        let ledgers = found(&answer, Some("django"));
        assert_eq!(ledgers.len(), 2);
        let sql = read_sql(&ledgers);
        assert!(
            sql.contains("'a', app || '.' || name FROM \"a\".\"django_migrations\"") && sql.contains(" UNION ALL "),
            "{sql}"
        );
        let row = ["row", "a", "auth.0001_initial"].map(|text| Some(text.to_owned())).to_vec();
        assert_eq!(rows(&[row]), [Row { schema: "a".to_owned(), name: "auth.0001_initial".to_owned() }]);
    }
}
