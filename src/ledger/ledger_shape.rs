//! The shapes of the ledgers of other tools. Only tables whose rows can be read without further knowledge are here; a new
//! tool is a new row.

/// The description of a tool's ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LedgerShape {
    /// The tool.
    pub tool: &'static str,
    pub(super) table: &'static str,
    /// Columns that only this tool's table of that name has.
    pub(super) columns: &'static [&'static str],
    /// The SQL expression for the migration's name for people.
    pub(super) name: &'static str,
    /// The SQL condition for rows of applied migrations; `{table}` stands for the ledger.
    pub(super) applied: &'static str,
    /// The SQL expression by which the rows are ordered.
    pub(super) order: &'static str,
    /// The SQL expression for the duration in milliseconds.
    pub(super) took: Option<&'static str>,
    /// A table that must exist in the same schema, else the ledger is another tool's; not checked if the tool is known.
    pub(super) companion: Option<&'static str>,
    /// The rest of an INSERT that records a migration, where the name is enough for that; `{name}` stands for it, `{table}`
    /// for the ledger.
    pub(super) record: Option<&'static str>,
    /// The rest of an UPDATE by which a migration does not count any more, where its rows stay.
    pub(super) forget: Option<&'static str>,
}

pub(super) const LEDGER_SHAPES: &[LedgerShape] = &[
    ledger_shape("django", "django_migrations", &["app", "name", "applied"], "app || '.' || name", "true", "id")
        .recorded_by(
            "(app, name, applied) VALUES (split_part({name}, '.', 1), substr({name}, strpos({name}, '.') + 1), now())",
        ),
    ledger_shape("alembic", "alembic_version", &["version_num"], "version_num", "true", "version_num")
        .recorded_by("(version_num) VALUES ({name})"),
    ledger_shape(
        "flyway",
        "flyway_schema_history",
        &["installed_rank", "script", "success"],
        "coalesce(version || ' ', '') || description",
        // An undone migration keeps its row; a further row records that it was undone.
        "success AND type NOT LIKE 'UNDO%' AND NOT EXISTS (SELECT FROM {table} AS undone WHERE undone.success AND \
         undone.type LIKE 'UNDO%' AND undone.version = {table}.version AND undone.installed_rank > {table}.installed_rank)",
        "installed_rank",
    )
    .took("execution_time"),
    ledger_shape(
        "liquibase",
        "databasechangelog",
        &["id", "author", "orderexecuted"],
        "filename || '::' || id || '::' || author",
        "exectype <> 'FAILED'",
        "orderexecuted",
    ),
    ledger_shape("golang-migrate", "schema_migrations", &["version", "dirty"], "version::text", "NOT dirty", "version"),
    ledger_shape("ecto", "schema_migrations", &["version", "inserted_at"], "version::text", "true", "version"),
    // In a schema of its own, `supabase_migrations` (supabase/cli, pkg/migration).
    ledger_shape(
        "supabase",
        "schema_migrations",
        &["version", "statements"],
        "version || coalesce(' ' || name, '')",
        "true",
        "version",
    ),
    // Rails also has a table for its environment; dbmate creates only this table, with the same columns.
    ledger_shape("rails", "schema_migrations", &["version"], "version::text", "true", "version")
        .with_companion("ar_internal_metadata")
        .recorded_by("(version) VALUES ({name})"),
    ledger_shape("dbmate", "schema_migrations", &["version"], "version::text", "true", "version"),
    ledger_shape(
        "goose",
        "goose_db_version",
        &["version_id", "is_applied"],
        "version_id::text",
        "is_applied AND version_id > 0",
        "id",
    ),
    ledger_shape(
        "sqlx",
        "_sqlx_migrations",
        &["version", "success", "checksum"],
        "version || ' ' || description",
        "success",
        "version",
    ),
    ledger_shape(
        "refinery",
        "refinery_schema_history",
        &["version", "applied_on"],
        "version || ' ' || name",
        "true",
        "version",
    ),
    ledger_shape("diesel", "__diesel_schema_migrations", &["version", "run_on"], "version::text", "true", "version"),
    ledger_shape(
        "prisma",
        "_prisma_migrations",
        &["migration_name", "finished_at"],
        "migration_name",
        "finished_at IS NOT NULL AND rolled_back_at IS NULL",
        "started_at",
    )
    .took("floor(extract(epoch FROM finished_at - started_at) * 1000)")
    // As `prisma migrate resolve --rolled-back` does it.
    .forgotten_by("rolled_back_at = now() WHERE rolled_back_at IS NULL"),
    ledger_shape(
        "drizzle",
        "__drizzle_migrations",
        &["hash", "created_at"],
        "created_at || ' ' || left(hash, 12)",
        "true",
        "id",
    ),
    ledger_shape("knex", "knex_migrations", &["name", "batch"], "name", "true", "id"),
    // A batch of its own, as a migration that is run alone has it.
    ledger_shape("laravel", "migrations", &["migration", "batch"], "migration", "true", "id")
        .recorded_by("(migration, batch) SELECT {name}, coalesce(max(batch), 0) + 1 FROM {table}"),
    ledger_shape("typeorm", "migrations", &["timestamp", "name"], "name", "true", "id"),
    ledger_shape("db-migrate", "migrations", &["name", "run_on"], "name", "true", "id"),
    ledger_shape("sequelize", "SequelizeMeta", &["name"], "name", "true", "name"),
    ledger_shape("ef-core", "__EFMigrationsHistory", &["MigrationId"], "\"MigrationId\"", "true", "\"MigrationId\""),
    ledger_shape("node-pg-migrate", "pgmigrations", &["name", "run_on"], "name", "true", "id"),
    ledger_shape("tern", "schema_version", &["version"], "version::text", "true", "version"),
    ledger_shape("yoyo", "_yoyo_migration", &["migration_id"], "migration_id", "true", "applied_at_utc"),
    ledger_shape(
        "postgrator",
        "schemaversion",
        &["version", "md5", "run_at"],
        "version || coalesce(' ' || name, '')",
        // The first row stands for the empty schema.
        "version > 0",
        "version",
    ),
    ledger_shape(
        "sqitch",
        "changes",
        &["change_id", "script_hash", "planned_at"],
        "project || ':' || change",
        "true",
        "committed_at",
    ),
    ledger_shape(
        "atlas",
        "atlas_schema_revisions",
        &["version", "applied", "total", "operator_version"],
        "version || coalesce(' ' || nullif(description, ''), '')",
        "applied = total AND coalesce(error, '') = ''",
        "version",
    ),
    // A migration that is started and not completed has both schemas; `done` is set when it is completed.
    ledger_shape("pgroll", "migrations", &["schema", "name", "done"], "schema || '.' || name", "done", "created_at"),
];

pub(super) const fn ledger_shape(
    tool: &'static str,
    table: &'static str,
    columns: &'static [&'static str],
    name: &'static str,
    applied: &'static str,
    order: &'static str,
) -> LedgerShape {
    LedgerShape { tool, table, columns, name, applied, order, took: None, companion: None, record: None, forget: None }
}

impl LedgerShape {
    const fn took(self, took: &'static str) -> Self {
        Self { took: Some(took), ..self }
    }

    const fn recorded_by(self, record: &'static str) -> Self {
        Self { record: Some(record), ..self }
    }

    const fn forgotten_by(self, forget: &'static str) -> Self {
        Self { forget: Some(forget), ..self }
    }

    const fn with_companion(self, table: &'static str) -> Self {
        Self { companion: Some(table), ..self }
    }
}
