//! What the database says of a foreign tool's work: its ledger, its schema, its indexes, at one moment. A tool's exit code
//! and its output are for people; this is for the verdict.

use crate::{
    fault::{Code, Fault},
    ledger::{
        fingerprint::{self, Fingerprint},
        invalid_indexes_sql,
        shape::{self, Row, ToolLedger},
    },
    postgres::{Session, fault::statement, rows},
    run::event::{ImageFacts, MigrationId},
    tool::{Listed, Recipe},
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// One moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Witness {
    /// The ledgers that were read.
    pub(super) ledgers: Vec<ToolLedger>,
    /// What is in them, in their own order.
    pub(super) rows: Vec<Row>,
    invalid_indexes: Vec<String>,
    schema: Fingerprint,
}

impl Witness {
    /// Asks for everything in one round trip.
    pub(super) async fn of(session: &Session, ledgers: Vec<ToolLedger>) -> Result<Self, Fault> {
        let read = if ledgers.is_empty() { String::new() } else { format!("{}; ", shape::read_sql(&ledgers)) };
        let question = format!("{read}{}; {}", invalid_indexes_sql(), fingerprint::SQL);
        let answer = rows(&session.client, &question).await.map_err(|error| statement(&error))?;
        let index = |row: &Vec<Option<String>>| {
            let field = |index: usize| row.get(index).cloned().flatten();
            (field(0)? == "index").then(|| field(1)).flatten()
        };
        Ok(Self {
            rows: shape::rows(&answer),
            invalid_indexes: answer.iter().filter_map(index).collect(),
            schema: Fingerprint::parse(&answer),
            ledgers,
        })
    }

    /// The same later: the ledger may have been made meanwhile.
    pub(super) async fn again(session: &Session, recipe: &Recipe) -> Result<Self, Fault> {
        let found = rows(&session.client, &shape::find_sql()).await.map_err(|error| statement(&error))?;
        Self::of(session, shape::found(&found, recipe.ledger.as_deref())).await
    }

    /// The tables, for people.
    pub(super) fn ledger_name(&self) -> String {
        match self.ledgers.as_slice() {
            [] => "no ledger yet".to_owned(),
            [one] => one.table.to_string(),
            [first, rest @ ..] => format!("{} and {} more", first.table, rest.len()),
        }
    }

    /// Whether a migration of this name is recorded.
    pub(super) fn has(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name)
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

fn broken(index: &String) -> Fault {
    Fault::new(
        Code::VerifyIndex,
        format!("the index {index} is INVALID: the server keeps it up to date and never uses it"),
    )
}

/// What is not applied, numbered in the tool's order.
pub(super) fn pending(listed: &[Listed]) -> Vec<MigrationId> {
    let open = listed.iter().filter(|one| !one.applied);
    (1..)
        .zip(open)
        .map(|(place, one)| MigrationId { version: place, name: one.name.clone(), file: String::new() })
        .collect()
}

/// Names the plan: the tool, the image, and what would be applied.
pub(super) fn digest(recipe: &Recipe, image: Option<&ImageFacts>, pending: &[MigrationId]) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    add(&recipe.name);
    add(image.map_or("", |image| &image.id));
    pending.iter().for_each(|id| add(&id.name));
    format!("sha256:{}", crate::ledger::hex::encode(&hash.finalize()))
}

/// A tool that takes migrations for applied of which our ledger knows none looks into another database.
///
/// # Errors
/// `tool-elsewhere`.
pub(super) fn same_database(recipe: &Recipe, listed: &[Listed], here: &Witness) -> Result<(), Fault> {
    let applied: Vec<&Listed> = listed.iter().filter(|one| one.applied).collect();
    if applied.is_empty() || recipe.ledger.is_none() || applied.iter().any(|one| here.has(&one.name)) {
        return Ok(());
    }
    let cause = format!(
        "the tool takes {} migrations for applied, and the database that `database-url` names has none of them: it looks into another one",
        applied.len()
    );
    Err(Fault::new(Code::ToolElsewhere, cause))
}

/// What a tool left undone although it ended well.
pub(super) fn undone(command: &str, pending: &[MigrationId], after: &Witness) -> Option<Fault> {
    let missing: Vec<&str> = pending.iter().map(|id| id.name.as_str()).filter(|name| !after.has(name)).collect();
    let first = missing.first()?;
    let cause = match missing.len() {
        1 => format!("`{command}` ended well, and `{first}` is not in the ledger"),
        several => format!("`{command}` ended well, and {several} migrations are not in the ledger, `{first}` first"),
    };
    Some(Fault::new(Code::VerifyPending, cause).fix(
        "see above what the tool did instead: does its command migrate at all, and the database in `database-url`?",
    ))
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
        Witness { rows: names.iter().map(row).collect(), ..Witness::default() }
    }

    #[test]
    fn what_a_tool_left_undone_is_named() {
        let pending = pending(&listed(&[("a.1", true), ("a.2", false), ("a.3", false)]));
        assert_eq!(
            pending.iter().map(|id| (id.version, id.name.as_str())).collect::<Vec<_>>(),
            [(1, "a.2"), (2, "a.3")]
        );
        assert_eq!(undone("migrate", &pending, &witness(&["a.1", "a.2", "a.3"])), None);
        let fault = undone("migrate", &pending, &witness(&["a.1", "a.2"])).unwrap();
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
        let pending = pending(&listed(&[("a.1", false)]));
        let one = digest(&django, Some(&image("sha256:1")), &pending);
        assert!(one.len() == 71 && one == digest(&django, Some(&image("sha256:1")), &pending));
        assert_ne!(one, digest(&django, Some(&image("sha256:2")), &pending));
        assert_ne!(one, digest(&django, Some(&image("sha256:1")), &[]));
    }
}
