//! What the database says of a foreign tool's work: its ledger, its schema, its indexes, at one moment. A tool's exit code
//! and its output are for people; this is for the verdict.

use crate::{
    fault::{Code, Fault},
    ledger::{
        invalid_indexes_sql,
        known_tools::{self, ToolLedger, ToolMigration},
        schema_snapshot::{self, SchemaSnapshot},
        tenants,
    },
    postgres::{
        Session,
        own_query::{OwnQuery, RunLockRequirement},
        query_rows,
    },
    run::event::MigrationId,
    settings::{Place, Settings},
    tool::{LedgerRows, ListedMigration, Recipe},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What the database says of its ledgers and tenants, row by row.
type Found = [Vec<Option<String>>];

/// One moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The ledgers that were read.
    pub(crate) ledgers: Vec<ToolLedger>,
    /// Tables with the name of a ledger that were left alone, and why.
    pub(crate) left_alone: Vec<String>,
    /// What is in them, in their own order.
    pub(crate) rows: Vec<ToolMigration>,
    /// The same, by name: the schemas in which it is.
    recorded: BTreeMap<String, Vec<String>>,
    /// How long each took, where the ledger says so.
    times: BTreeMap<ToolMigration, Duration>,
    /// Schemas of tenants, with a ledger or without.
    tenants: Vec<String>,
    invalid_indexes: Vec<String>,
    schema: SchemaSnapshot,
    /// From whom it is.
    source: Source,
}

/// Who told what is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Database,
    Listing,
}

impl Witness {
    /// Asks for everything in one round trip. `found` is the answer to [`find_ledgers`].
    pub(crate) async fn of(
        session: &Session,
        lock: RunLockRequirement,
        found: &Found,
        recipe: &Recipe,
    ) -> Result<Self, Fault> {
        let known_tools::ToolLedgers { ledgers, ignored } =
            known_tools::parse_ledgers(found, recipe.ledger.as_deref())?;
        let mut questions = vec![invalid_indexes_sql(), schema_snapshot::snapshot_sql()];
        if !ledgers.is_empty() {
            questions.push(known_tools::read_sql(&ledgers));
        }
        let tables = tenants::parse_tables(found);
        if let (Some(column), false) = (&recipe.tenants, tables.is_empty()) {
            questions.push(tenants::read_sql(&tables, column));
        }
        let question = OwnQuery::read_only(questions.join("; ")).requiring_lock(lock);
        let answer = query_rows(&session.client, &question).await?;
        let index = |row: &Vec<Option<String>>| {
            let field = |index: usize| row.get(index).cloned().flatten();
            (field(0)? == "index").then(|| field(1)).flatten()
        };
        let witness = Self {
            tenants: tenants::parse_schemas(&answer),
            times: known_tools::times(&answer),
            invalid_indexes: answer.iter().filter_map(index).collect(),
            schema: SchemaSnapshot::from_rows(&answer),
            ledgers,
            left_alone: ignored,
            ..Self::default()
        };
        Ok(witness.with(known_tools::parse_rows(&answer)))
    }

    fn with(self, rows: Vec<ToolMigration>) -> Self {
        let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ToolMigration { name, schema } in &rows {
            recorded.entry(name.clone()).or_default().push(schema.clone());
        }
        Self { rows, recorded, ..self }
    }

    /// What the tool itself takes for applied, where nobody else can be asked.
    pub(crate) fn of_listing(listed: &[ListedMigration]) -> Self {
        let applied = listed.iter().filter(|one| one.applied);
        let rows = applied.map(|one| ToolMigration { schema: String::new(), name: one.name.clone() }).collect();
        Self { source: Source::Listing, ..Self::default() }.with(rows)
    }

    /// The same later: the ledger may have been made meanwhile.
    pub(crate) async fn again(session: &Session, lock: RunLockRequirement, recipe: &Recipe) -> Result<Self, Fault> {
        let question = find(recipe.tenants.as_deref()).requiring_lock(lock);
        let found = query_rows(&session.client, &question).await?;
        Self::of(session, lock, &found, recipe).await
    }

    /// The tables, for people.
    pub(crate) fn ledger_name(&self) -> String {
        match self.ledgers.as_slice() {
            [] if self.source == Source::Listing => "the tool's own listing".to_owned(),
            [] => "no ledger yet".to_owned(),
            [one] => one.table.to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.table, rest.len()),
        }
    }

    /// Whether this migration is recorded, in its own schema if it has one.
    pub(crate) fn has(&self, id: &MigrationId) -> bool {
        let schemas = self.recorded.get(&id.name);
        schemas.is_some_and(|schemas| id.schema.is_empty() || schemas.contains(&id.schema))
    }

    /// In how many rows it is, in its own schema if it has one.
    fn count(&self, id: &MigrationId) -> usize {
        let schemas = self.recorded.get(&id.name).map(Vec::as_slice).unwrap_or_default();
        schemas.iter().filter(|schema| id.schema.is_empty() || **schema == id.schema).count()
    }

    /// Whether it was recorded since. A row that was there before proves nothing: it may be another schema's, or one of a
    /// migration that is repeated.
    pub(crate) fn gained(&self, before: &Self, id: &MigrationId) -> bool {
        self.count(id) > before.count(id)
    }

    /// Whether it was taken back since.
    pub(crate) fn lost(&self, before: &Self, id: &MigrationId) -> bool {
        self.count(id) < before.count(id)
    }

    /// How long it took, if the ledger says so.
    pub(crate) fn took(&self, id: &MigrationId) -> Option<Duration> {
        let is_it = |row: &ToolMigration| row.name == id.name && (id.schema.is_empty() || row.schema == id.schema);
        self.times.iter().find(|(row, _)| is_it(row)).map(|(_, took)| *took)
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.recorded.contains_key(name)
    }

    /// The same as the tool means it, where its ledger has only the newest of the migrations that it lists.
    pub(crate) fn meant(self, keeps: LedgerRows, listed: &[ListedMigration]) -> Self {
        if keeps == LedgerRows::All {
            return self;
        }
        let schemas: BTreeSet<String> = self.rows.iter().map(|row| row.schema.clone()).collect();
        let rows = schemas.iter().flat_map(|schema| {
            let own = self.rows.iter().filter(|row| row.schema == *schema).map(|row| row.name.as_str());
            let recorded = keeps.applied_names(listed, own);
            let in_order = listed.iter().filter(|one| recorded.contains(&one.name)).map(|one| one.name.clone());
            let unlisted = recorded.iter().filter(|name| listed.iter().all(|one| one.name != **name)).cloned();
            let row = |name| ToolMigration { schema: schema.clone(), name };
            in_order.chain(unlisted).map(row).collect::<Vec<_>>()
        });
        let rows = rows.collect();
        self.with(rows)
    }

    /// The schemas that have a ledger or should have one, `public` first.
    pub(crate) fn schemas(&self) -> Vec<&str> {
        let with_ledger = self.ledgers.iter().map(|ledger| ledger.table.schema.as_str());
        let schemas: BTreeSet<&str> = with_ledger.chain(self.tenants.iter().map(String::as_str)).collect();
        let (public, others): (Vec<&str>, Vec<&str>) = schemas.into_iter().partition(|schema| *schema == "public");
        [public, others].concat()
    }

    /// What was recorded since, in order; a row that is there once more counts, too.
    pub(crate) fn rows_since<'w>(&'w self, before: &'w Self) -> impl Iterator<Item = &'w ToolMigration> {
        let mut known: BTreeMap<&ToolMigration, usize> = BTreeMap::new();
        before.rows.iter().for_each(|row| *known.entry(row).or_default() += 1);
        self.rows.iter().filter(move |row| match known.get_mut(row) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        })
    }

    /// Whether there is a ledger in this schema.
    pub(crate) fn has_ledger_in(&self, schema: &str) -> bool {
        self.ledgers.iter().any(|ledger| ledger.table.schema == schema)
    }

    /// What is in the schema that was not there before.
    pub(crate) fn schema_since(&self, before: &Self) -> Vec<String> {
        self.schema.added_since(&before.schema)
    }

    /// Faults for indexes that became INVALID since.
    pub(crate) fn broken_since(&self, before: &Self) -> Vec<Fault> {
        self.invalid_since(before).map(broken).collect()
    }

    /// The INVALID indexes that were not there before.
    pub(crate) fn invalid_since<'w>(&'w self, before: &'w Self) -> impl Iterator<Item = &'w String> {
        self.invalid_indexes.iter().filter(|index| !before.invalid_indexes.contains(index))
    }

    /// All INVALID indexes.
    pub(crate) fn invalid(&self) -> &[String] {
        &self.invalid_indexes
    }

    /// Faults for every INVALID index.
    pub(crate) fn broken(&self) -> Vec<Fault> {
        self.invalid_indexes.iter().map(broken).collect()
    }
}

/// Which ledgers and which tenants there are.
pub(crate) fn find_ledgers(settings: &Settings) -> OwnQuery {
    match &settings.place {
        Place::Tool(tool) => find(tool.recipe.tenants.as_deref()),
        Place::Sql => find(None),
    }
}

fn find(tenants: Option<&str>) -> OwnQuery {
    let ledgers = OwnQuery::read_only(known_tools::find_sql());
    tenants.map_or(ledgers.clone(), |column| ledgers.with_appended(&tenants::find_sql(column)))
}

fn broken(index: &String) -> Fault {
    Fault::new(
        Code::VerifyIndex,
        format!("the index {index} is INVALID: the server keeps it up to date and never uses it"),
    )
}
