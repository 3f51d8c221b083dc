//! What the database says of a foreign tool's work: its ledger, its schema, its indexes, at one moment. A tool's exit code
//! and its output are for people; this is for the verdict.

use crate::{
    fault::{Code, Fault},
    input::{Command, Place, Settings},
    ledger::{
        fingerprint::{self, Fingerprint},
        invalid_indexes_sql,
        shape::{self, Row, ToolLedger},
        tenants,
    },
    postgres::{Question, RunLock, Session, rows},
    run::event::{ImageFacts, MigrationId},
    tool::{Keeps, Ledgers, Listed, Recipe},
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What the database says of its ledgers and tenants, row by row.
type Found = [Vec<Option<String>>];

/// One moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Witness {
    /// The ledgers that were read.
    pub(super) ledgers: Vec<ToolLedger>,
    /// Tables with the name of a ledger that were left alone, and why.
    pub(super) left_alone: Vec<String>,
    /// What is in them, in their own order.
    pub(super) rows: Vec<Row>,
    /// The same, by name: the schemas in which it is.
    recorded: BTreeMap<String, Vec<String>>,
    /// Schemas of tenants, with a ledger or without.
    tenants: Vec<String>,
    invalid_indexes: Vec<String>,
    schema: Fingerprint,
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
    pub(super) async fn of(session: &Session, lock: RunLock, found: &Found, recipe: &Recipe) -> Result<Self, Fault> {
        let shape::Found { ledgers, left_alone } = shape::found(found, recipe.ledger.as_deref())?;
        let mut questions = vec![invalid_indexes_sql(), fingerprint::SQL.to_owned()];
        if !ledgers.is_empty() {
            questions.push(shape::read_sql(&ledgers));
        }
        let tables = tenants::found(found);
        if let (Some(column), false) = (&recipe.tenants, tables.is_empty()) {
            questions.push(tenants::read_sql(&tables, column));
        }
        let question = Question::reading(questions.join("; ")).under(lock);
        let answer = rows(&session.client, &question).await?;
        let index = |row: &Vec<Option<String>>| {
            let field = |index: usize| row.get(index).cloned().flatten();
            (field(0)? == "index").then(|| field(1)).flatten()
        };
        let witness = Self {
            tenants: tenants::schemas(&answer),
            invalid_indexes: answer.iter().filter_map(index).collect(),
            schema: Fingerprint::parse(&answer),
            ledgers,
            left_alone,
            ..Self::default()
        };
        Ok(witness.with(shape::rows(&answer)))
    }

    fn with(self, rows: Vec<Row>) -> Self {
        let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Row { name, schema } in &rows {
            recorded.entry(name.clone()).or_default().push(schema.clone());
        }
        Self { rows, recorded, ..self }
    }

    /// What the tool itself takes for applied, where nobody else can be asked.
    pub(super) fn of_listing(listed: &[Listed]) -> Self {
        let applied = listed.iter().filter(|one| one.applied);
        let rows = applied.map(|one| Row { schema: String::new(), name: one.name.clone() }).collect();
        Self { source: Source::Listing, ..Self::default() }.with(rows)
    }

    /// The same later: the ledger may have been made meanwhile.
    pub(super) async fn again(session: &Session, lock: RunLock, recipe: &Recipe) -> Result<Self, Fault> {
        let question = find(recipe.tenants.as_deref()).under(lock);
        let found = rows(&session.client, &question).await?;
        Self::of(session, lock, &found, recipe).await
    }

    /// The tables, for people.
    pub(super) fn ledger_name(&self) -> String {
        match self.ledgers.as_slice() {
            [] if self.source == Source::Listing => "the tool's own listing".to_owned(),
            [] => "no ledger yet".to_owned(),
            [one] => one.table.to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.table, rest.len()),
        }
    }

    /// Whether this migration is recorded, in its own schema if it has one.
    pub(super) fn has(&self, id: &MigrationId) -> bool {
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
    pub(super) fn gained(&self, before: &Self, id: &MigrationId) -> bool {
        self.count(id) > before.count(id)
    }

    /// Whether it was taken back since.
    pub(super) fn lost(&self, before: &Self, id: &MigrationId) -> bool {
        self.count(id) < before.count(id)
    }

    fn has_name(&self, name: &str) -> bool {
        self.recorded.contains_key(name)
    }

    /// The same as the tool means it, where its ledger has only the newest of the migrations that it lists.
    pub(super) fn meant(self, keeps: Keeps, listed: &[Listed]) -> Self {
        if keeps == Keeps::Migrations {
            return self;
        }
        let schemas: BTreeSet<String> = self.rows.iter().map(|row| row.schema.clone()).collect();
        let rows = schemas.iter().flat_map(|schema| {
            let own = self.rows.iter().filter(|row| row.schema == *schema).map(|row| row.name.as_str());
            let recorded = keeps.recorded(listed, own);
            let in_order = listed.iter().filter(|one| recorded.contains(&one.name)).map(|one| one.name.clone());
            let unlisted = recorded.iter().filter(|name| listed.iter().all(|one| one.name != **name)).cloned();
            let row = |name| Row { schema: schema.clone(), name };
            in_order.chain(unlisted).map(row).collect::<Vec<_>>()
        });
        let rows = rows.collect();
        self.with(rows)
    }

    /// The schemas that have a ledger or should have one, `public` first.
    pub(super) fn schemas(&self) -> Vec<&str> {
        let with_ledger = self.ledgers.iter().map(|ledger| ledger.table.schema.as_str());
        let schemas: BTreeSet<&str> = with_ledger.chain(self.tenants.iter().map(String::as_str)).collect();
        let (public, others): (Vec<&str>, Vec<&str>) = schemas.into_iter().partition(|schema| *schema == "public");
        [public, others].concat()
    }

    /// What was recorded since, in order.
    pub(super) fn rows_since<'w>(&'w self, before: &'w Self) -> impl Iterator<Item = &'w Row> {
        let known: BTreeSet<&Row> = before.rows.iter().collect();
        self.rows.iter().filter(move |row| !known.contains(row))
    }

    /// What is in the schema that was not there before.
    pub(super) fn schema_since(&self, before: &Self) -> Vec<String> {
        self.schema.added_since(&before.schema)
    }

    /// Faults for indexes that became INVALID since.
    pub(super) fn broken_since(&self, before: &Self) -> Vec<Fault> {
        let new = self.invalid_indexes.iter().filter(|index| !before.invalid_indexes.contains(index));
        new.map(broken).collect()
    }

    /// Faults for every INVALID index.
    pub(super) fn broken(&self) -> Vec<Fault> {
        self.invalid_indexes.iter().map(broken).collect()
    }
}

/// Which ledgers and which tenants there are.
pub(super) fn find_ledgers(settings: &Settings) -> Question {
    match &settings.place {
        Place::Tool(tool) => find(tool.recipe.tenants.as_deref()),
        Place::Sql => find(None),
    }
}

fn find(tenants: Option<&str>) -> Question {
    let ledgers = Question::reading(shape::find_sql());
    tenants.map_or(ledgers.clone(), |column| ledgers.and(&tenants::find_sql(column)))
}

fn broken(index: &String) -> Fault {
    Fault::new(
        Code::VerifyIndex,
        format!("the index {index} is INVALID: the server keeps it up to date and never uses it"),
    )
}

/// What is not applied, numbered in the tool's order; where each schema has a ledger, for each of them. What the tool calls
/// pending is believed; what it calls applied has to be in the ledger, too.
pub(super) fn pending(recipe: &Recipe, listed: &[Listed], before: &Witness) -> Vec<MigrationId> {
    let says_what_is_applied = recipe.listing.as_ref().is_some_and(|listing| listing.applied.is_some());
    let everywhere = in_every_schema(recipe, listed.iter(), before);
    // The list speaks of one schema.
    let open = everywhere
        .filter(|(one, id)| !before.has(id) || (says_what_is_applied && id.schema.is_empty() && !one.applied));
    numbered(open.map(|(_, id)| id))
}

/// These migrations, in every schema where they can be.
pub(super) fn in_every_schema<'l>(
    recipe: &Recipe,
    listed: impl Iterator<Item = &'l Listed> + Clone,
    before: &Witness,
) -> impl Iterator<Item = (&'l Listed, MigrationId)> {
    let schemas = match recipe.ledgers {
        Ledgers::EachSchema if !before.ledgers.is_empty() => before.schemas(),
        Ledgers::EachSchema | Ledgers::One => vec![""],
    };
    let schemas: Vec<String> = schemas.into_iter().map(ToOwned::to_owned).collect();
    schemas.into_iter().flat_map(move |schema| {
        listed.clone().map(move |one| {
            let (name, schema) = (one.name.clone(), schema.clone());
            (one, MigrationId { version: 0, name, file: String::new(), schema })
        })
    })
}

/// With their places as versions.
pub(super) fn numbered(ids: impl Iterator<Item = MigrationId>) -> Vec<MigrationId> {
    (1..).zip(ids).map(|(version, id)| MigrationId { version, ..id }).collect()
}

/// Names the plan: the tool, the image, and what would be done. A plan to go back is not one to go on.
pub(super) fn digest(command: Command, recipe: &Recipe, image: Option<&ImageFacts>, pending: &[MigrationId]) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    add(&recipe.name);
    if matches!(command, Command::Rollback | Command::Baseline) {
        add(command.name());
    }
    add(image.map_or("", |image| &image.id));
    pending.iter().for_each(|id| add(&id.title()));
    format!("sha256:{}", crate::ledger::hex::encode(&hash.finalize()))
}

/// A tool that takes migrations for applied of which our ledger knows none looks into another database.
///
/// # Errors
/// `tool-elsewhere`.
pub(super) fn same_database(recipe: &Recipe, listed: &[Listed], here: &Witness) -> Result<(), Fault> {
    let applied: Vec<&Listed> = listed.iter().filter(|one| one.applied).collect();
    if applied.is_empty() || recipe.ledger.is_none() || applied.iter().any(|one| here.has_name(&one.name)) {
        return Ok(());
    }
    let cause = format!(
        "the tool takes {} migrations for applied, and the database that `database-url` names has none of them: it looks into another one",
        applied.len()
    );
    Err(Fault::new(Code::ToolElsewhere, cause))
}

/// What a tool left undone although it ended well.
pub(super) fn undone(command: &str, missing: &[MigrationId]) -> Option<Fault> {
    let first = missing.first()?.title();
    let cause = match missing.len() {
        1 => format!("`{command}` ended well, and `{first}` is not in the ledger"),
        several => format!("`{command}` ended well, and {several} migrations are not in the ledger, `{first}` first"),
    };
    Some(Fault::new(Code::VerifyPending, cause).fix(
        "see above what the tool did instead: does its command migrate at all, and the database in `database-url`?",
    ))
}

/// What a tool left in place although it ended well.
pub(super) fn still_there(command: &str, left: &[MigrationId]) -> Option<Fault> {
    let first = left.first()?.title();
    let cause = match left.len() {
        1 => format!("`{command}` ended well, and `{first}` is still in the ledger"),
        several => format!("`{command}` ended well, and {several} migrations are still in the ledger, `{first}` first"),
    };
    Some(Fault::new(Code::VerifyPending, cause).fix("see above what the tool did instead"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[(&str, bool)]) -> Vec<Listed> {
        names
            .iter()
            .map(|(name, applied)| Listed { name: (*name).to_owned(), applied: *applied, parents: Vec::new() })
            .collect()
    }

    fn witness(names: &[&str]) -> Witness {
        let row = |name: &&str| Row { schema: "public".to_owned(), name: (*name).to_owned() };
        Witness::default().with(names.iter().map(row).collect())
    }

    #[test]
    fn what_a_tool_left_undone_is_named() {
        let listed = listed(&[("a.1", true), ("a.2", false), ("a.3", false)]);
        let pending = pending(&Recipe::named("django").unwrap(), &listed, &witness(&["a.1"]));
        assert_eq!(
            pending.iter().map(|id| (id.version, id.name.as_str())).collect::<Vec<_>>(),
            [(1, "a.2"), (2, "a.3")]
        );
        let before = witness(&["a.1"]);
        let missing = |after: &[&str]| {
            let after = witness(after);
            pending.iter().filter(|id| !after.gained(&before, id)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(undone("migrate", &missing(&["a.1", "a.2", "a.3"])), None);
        let fault = undone("migrate", &missing(&["a.1", "a.2"])).unwrap();
        assert_eq!(
            (fault.code, fault.cause.as_str()),
            (Code::VerifyPending, "`migrate` ended well, and `a.3` is not in the ledger")
        );
    }

    #[test]
    fn a_tool_that_looks_elsewhere_is_found_out() {
        let django = Recipe::named("django").unwrap();
        let seen = listed(&[("a.1", true), ("a.2", false)]);
        assert_eq!(same_database(&django, &seen, &witness(&[])).unwrap_err().code, Code::ToolElsewhere);
        assert_eq!(same_database(&django, &seen, &witness(&["a.1"])), Ok(()));
        assert_eq!(same_database(&django, &listed(&[("a.1", false)]), &witness(&[])), Ok(()));
    }

    #[test]
    fn a_plan_is_named_by_its_image_too() {
        let django = Recipe::named("django").unwrap();
        let image = |id: &str| ImageFacts { reference: "app".to_owned(), id: id.to_owned(), digest: None };
        let pending = pending(&Recipe::named("django").unwrap(), &listed(&[("a.1", false)]), &witness(&[]));
        let one = digest(Command::Migrate, &django, Some(&image("sha256:1")), &pending);
        assert!(one.len() == 71 && one == digest(Command::Migrate, &django, Some(&image("sha256:1")), &pending));
        assert_ne!(one, digest(Command::Migrate, &django, Some(&image("sha256:2")), &pending));
        assert_ne!(one, digest(Command::Migrate, &django, Some(&image("sha256:1")), &[]));
    }
}
