//! The state of a tool's ledger, schema and indexes at one moment. A tool's exit code and output are for people; the
//! result is judged by this.

use crate::{
    fault::Fault,
    ledger::{
        invalid_indexes_sql,
        known_tools::{self, ToolLedger, ToolMigration},
        parse_invalid_indexes,
        schema_snapshot::{self, SchemaSnapshot},
        tenants,
    },
    postgres::{
        RowTag, Rows, Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows,
    },
    run::{MigrationId, PlanFacts},
    settings::{ExecutorSettings, Settings},
    tool::{LedgerRows, ListedMigration, Recipe},
};
use futures_util::future::join;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The schema in front of those of the tenants.
const PUBLIC_SCHEMA: &str = "public";

/// The state at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LedgerSnapshot {
    /// The ledgers that were read.
    pub(crate) ledgers: Vec<ToolLedger>,
    /// Tables with the name of a ledger that were ignored, and the reasons.
    pub(crate) ignored: Vec<String>,
    /// The rows of the ledgers, in their own order.
    pub(crate) rows: Vec<ToolMigration>,
    /// For each name, the schemas in which it is recorded.
    schemas_by_name: BTreeMap<String, Vec<String>>,
    /// The duration of each migration, if the ledger records it.
    durations: BTreeMap<ToolMigration, Duration>,
    /// Schemas of tenants, with or without a ledger.
    tenants: Vec<String>,
    invalid_indexes: Vec<String>,
    schema: SchemaSnapshot,
    /// The source of the rows.
    source: SnapshotSource,
}

/// The source of the applied migrations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SnapshotSource {
    #[default]
    Database,
    Listing,
}

impl LedgerSnapshot {
    /// Reads everything in one round trip. `found` is the response to [`ledgers_query`].
    pub(crate) async fn read(
        session: &Session,
        lock: RunLockRequirement,
        found: &Rows,
        recipe: &Recipe,
    ) -> Result<Self, Fault> {
        let known_tools::ToolLedgers { ledgers, ignored } =
            known_tools::parse_ledgers(found, recipe.ledger.as_deref())?;
        let mut queries = vec![invalid_indexes_sql(), schema_snapshot::snapshot_sql()];
        if !ledgers.is_empty() {
            queries.push(known_tools::read_sql(&ledgers));
        }
        let tables = tenants::parse_tables(found);
        if let (Some(column), false) = (&recipe.tenants, tables.is_empty()) {
            queries.push(tenants::read_sql(&tables, column));
        }
        let query = OwnQuery::read_only(queries.join("; ")).requiring_lock(lock);
        let rows = query_rows(&session.client, &query).await?;
        let snapshot = Self {
            tenants: tenants::parse_schemas(&rows),
            durations: known_tools::times(&rows),
            invalid_indexes: parse_invalid_indexes(&rows),
            schema: SchemaSnapshot::from_rows(&rows),
            ledgers,
            ignored,
            ..Self::default()
        };
        Ok(snapshot.with_rows(known_tools::parse_rows(&rows)))
    }

    fn with_rows(self, rows: Vec<ToolMigration>) -> Self {
        let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ToolMigration { name, schema } in &rows {
            recorded.entry(name.clone()).or_default().push(schema.clone());
        }
        Self { rows, schemas_by_name: recorded, ..self }
    }

    /// Takes the migrations that the tool's listing calls applied, if there is no other source.
    pub(crate) fn from_listing(listed: &[ListedMigration]) -> Self {
        let applied = listed.iter().filter(|migration| migration.applied);
        let rows =
            applied.map(|migration| ToolMigration { schema: String::new(), name: migration.name.clone() }).collect();
        Self { source: SnapshotSource::Listing, ..Self::default() }.with_rows(rows)
    }

    /// Reads the state again, in one round trip if the ledgers are the same as in `former`, an earlier response to
    /// [`ledgers_query`]; returns the present one as well.
    pub(crate) async fn reread(
        session: &Session,
        lock: RunLockRequirement,
        former: &Rows,
        recipe: &Recipe,
    ) -> Result<(Rows, Self), Fault> {
        let query = ledgers_and_tenants_query(recipe.tenants.as_deref()).requiring_lock(lock);
        let (rows, read) = join(query_rows(&session.client, &query), Self::read(session, lock, former, recipe)).await;
        let rows = rows?;
        let is_same = |tag| rows.tagged(tag).eq(former.tagged(tag));
        let is_read = is_same(RowTag::ToolLedger) && is_same(RowTag::TenantTable);
        let snapshot = if is_read { read? } else { Self::read(session, lock, &rows, recipe).await? };
        Ok((rows, snapshot))
    }

    /// Returns the ledger tables for display.
    pub(crate) fn ledger_name(&self) -> String {
        match self.ledgers.as_slice() {
            [] if self.source == SnapshotSource::Listing => "the tool's own listing".to_owned(),
            [] => PlanFacts::NO_LEDGER.to_owned(),
            [ledger] => ledger.table.to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.table, rest.len()),
        }
    }

    /// Returns whether this migration is recorded, in its own schema if it has one.
    pub(crate) fn has_migration(&self, id: &MigrationId) -> bool {
        let schemas = self.schemas_by_name.get(&id.name);
        schemas.is_some_and(|schemas| id.schema.is_empty() || schemas.contains(&id.schema))
    }

    /// Returns the number of its rows, in its own schema if it has one.
    fn row_count(&self, id: &MigrationId) -> usize {
        let schemas = self.schemas_by_name.get(&id.name).map(Vec::as_slice).unwrap_or_default();
        schemas.iter().filter(|schema| id.schema.is_empty() || **schema == id.schema).count()
    }

    /// Returns whether it was recorded since. A row that existed before proves nothing: it may belong to another
    /// schema, or to a migration that is repeated.
    pub(crate) fn is_newly_recorded(&self, before: &Self, id: &MigrationId) -> bool {
        self.row_count(id) > before.row_count(id)
    }

    /// Returns whether it was removed since.
    pub(crate) fn is_newly_removed(&self, before: &Self, id: &MigrationId) -> bool {
        self.row_count(id) < before.row_count(id)
    }

    /// Returns its duration, if the ledger records it.
    pub(crate) fn duration_of(&self, id: &MigrationId) -> Option<Duration> {
        let is_same = |row: &ToolMigration| row.name == id.name && (id.schema.is_empty() || row.schema == id.schema);
        self.durations.iter().find(|(row, _)| is_same(row)).map(|(_, duration)| *duration)
    }

    /// Returns the names of the recorded migrations, each once.
    pub(crate) fn recorded_names(&self) -> Vec<String> {
        self.schemas_by_name.keys().cloned().collect()
    }

    /// Returns the names of the migrations that are recorded in the schema of every tenant.
    pub(crate) fn names_in_every_tenant(&self) -> Vec<String> {
        let tenants: Vec<&str> = self.ledger_schemas().into_iter().filter(|schema| *schema != PUBLIC_SCHEMA).collect();
        let is_in_all = |schemas: &Vec<String>| {
            let schemas: BTreeSet<&str> = schemas.iter().map(String::as_str).collect();
            !tenants.is_empty() && tenants.iter().all(|tenant| schemas.contains(tenant))
        };
        self.schemas_by_name.iter().filter(|(_, schemas)| is_in_all(schemas)).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.schemas_by_name.contains_key(name)
    }

    /// Adds the listed migrations that a heads-only ledger implies.
    pub(crate) fn with_implied(self, keeps: LedgerRows, listed: &[ListedMigration]) -> Self {
        if keeps == LedgerRows::All {
            return self;
        }
        let schemas: BTreeSet<String> = self.rows.iter().map(|row| row.schema.clone()).collect();
        let rows = schemas.iter().flat_map(|schema| {
            let ledger_names = self.rows.iter().filter(|row| row.schema == *schema).map(|row| row.name.as_str());
            let recorded = keeps.applied_names(listed, ledger_names);
            let listed_names = listed
                .iter()
                .filter(|migration| recorded.contains(&migration.name))
                .map(|migration| migration.name.clone());
            let unlisted_names =
                recorded.iter().filter(|name| listed.iter().all(|migration| migration.name != **name)).cloned();
            let row = |name| ToolMigration { schema: schema.clone(), name };
            listed_names.chain(unlisted_names).map(row).collect::<Vec<_>>()
        });
        let rows = rows.collect();
        self.with_rows(rows)
    }

    /// Returns the schemas that have a ledger or should have one, `public` first.
    pub(crate) fn ledger_schemas(&self) -> Vec<&str> {
        let with_ledger = self.ledgers.iter().map(|ledger| ledger.table.schema.as_str());
        let schemas: BTreeSet<&str> = with_ledger.chain(self.tenants.iter().map(String::as_str)).collect();
        let (public, others): (Vec<&str>, Vec<&str>) = schemas.into_iter().partition(|schema| *schema == PUBLIC_SCHEMA);
        [public, others].concat()
    }

    /// Returns the rows that were added since, in order, repeated rows included.
    pub(crate) fn rows_since<'w>(&'w self, before: &'w Self) -> impl Iterator<Item = &'w ToolMigration> {
        let mut old_counts: BTreeMap<&ToolMigration, usize> = BTreeMap::new();
        before.rows.iter().for_each(|row| *old_counts.entry(row).or_default() += 1);
        self.rows.iter().filter(move |row| match old_counts.get_mut(row) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
    }

    /// Returns whether there is a ledger in this schema.
    pub(crate) fn has_ledger_in(&self, schema: &str) -> bool {
        self.ledgers.iter().any(|ledger| ledger.table.schema == schema)
    }

    /// Returns the objects that were added to the schema since.
    pub(crate) fn schema_added_since(&self, before: &Self) -> Vec<String> {
        self.schema.added_since(&before.schema)
    }

    /// Returns the faults for indexes that became INVALID since.
    pub(crate) fn invalid_index_faults_since(&self, before: &Self) -> Vec<Fault> {
        self.invalid_indexes_since(before).map(crate::plan::invalid_index_fault).collect()
    }

    /// Returns the indexes that became INVALID since.
    pub(crate) fn invalid_indexes_since<'w>(&'w self, before: &'w Self) -> impl Iterator<Item = &'w String> {
        self.invalid_indexes.iter().filter(|index| !before.invalid_indexes.contains(index))
    }

    /// Returns all INVALID indexes.
    pub(crate) fn all_invalid_indexes(&self) -> &[String] {
        &self.invalid_indexes
    }

    /// Returns the faults for all INVALID indexes.
    pub(crate) fn invalid_index_faults(&self) -> Vec<Fault> {
        self.invalid_indexes.iter().map(crate::plan::invalid_index_fault).collect()
    }
}

/// Returns the query for ledgers and tenants.
pub(crate) fn ledgers_query(settings: &Settings) -> OwnQuery {
    match &settings.executor {
        ExecutorSettings::Tool(tool) => ledgers_and_tenants_query(tool.recipe.tenants.as_deref()),
        ExecutorSettings::Sql => ledgers_and_tenants_query(None),
    }
}

fn ledgers_and_tenants_query(tenants: Option<&str>) -> OwnQuery {
    let ledgers = OwnQuery::read_only(known_tools::find_sql());
    tenants.map_or(ledgers.clone(), |column| ledgers.with_appended(&tenants::find_sql(column)))
}
