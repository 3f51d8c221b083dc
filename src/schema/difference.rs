//! The difference of two descriptions, as the statements that lead from one to the other.

use super::{
    change::SchemaChange,
    column_change::{alter_words, column_changes, label_changes},
    description::{DescribedStatement, SchemaDescription},
    statement::SchemaStatement,
};
use std::collections::BTreeMap;

/// Returns the changes that a run has made, those of removed objects first. The owner of an object that is new or gone
/// is no change of its own.
#[must_use]
pub fn changes_of_run(before: &SchemaDescription, after: &SchemaDescription) -> Vec<SchemaChange> {
    let (old, new) = (before.statements_beside(after), after.statements_beside(before));
    compare_statements(&old, new.iter().map(|described| &described.statement))
}

/// Returns the changes that lead from a database to a copy of it in another one. The addresses of objects mean nothing
/// there, so owners are compared like everything else.
#[must_use]
pub fn differences_of_copy(original: &SchemaDescription, copy: &SchemaDescription) -> Vec<SchemaChange> {
    let old: Vec<&DescribedStatement> = original.all_statements().collect();
    compare_statements(&old, copy.all_statements().map(|described| &described.statement))
}

/// Returns the changes that lead from the statements of a database to others.
pub(super) fn compare_statements<'s>(
    before: &[&'s DescribedStatement],
    after: impl Iterator<Item = &'s SchemaStatement>,
) -> Vec<SchemaChange> {
    let old = keyed(before.iter().map(|described| (&described.statement, *described)));
    let new = keyed(after.map(|statement| (statement, statement)));
    let gone = before.iter().rev().filter(|described| !new.by_key.contains_key(&old.key_of(&described.statement)));
    let gone = gone.map(|described| {
        SchemaChange::gone(&described.statement.to_string(), described.undo.iter().cloned().collect())
    });
    let changed = new.in_order.iter().flat_map(|(key, statement)| match old.by_key.get(key) {
        None => vec![SchemaChange::new(&statement.to_string())],
        Some(described) if described.statement == **statement => Vec::new(),
        Some(described) => changes_of_statement(described, statement),
    });
    gone.chain(changed).collect()
}

/// Statements by their keys.
struct Keyed<'s, T> {
    by_key: BTreeMap<String, &'s T>,
    in_order: Vec<(String, &'s T)>,
    /// The keys of statements that share their first line with an earlier one.
    repeated: BTreeMap<String, String>,
}

impl<T> Keyed<'_, T> {
    fn key_of(&self, statement: &SchemaStatement) -> String {
        self.repeated.get(&statement.to_string()).cloned().unwrap_or_else(|| statement.key())
    }
}

fn keyed<'s, T>(statements: impl Iterator<Item = (&'s SchemaStatement, &'s T)>) -> Keyed<'s, T> {
    let mut keyed = Keyed { by_key: BTreeMap::new(), in_order: Vec::new(), repeated: BTreeMap::new() };
    for (statement, value) in statements {
        let mut key = statement.key();
        if keyed.by_key.contains_key(&key) {
            key = statement.to_string();
            keyed.repeated.insert(key.clone(), key.clone());
        }
        keyed.by_key.insert(key.clone(), value);
        keyed.in_order.push((key, value));
    }
    keyed
}

/// Returns the changes from one version of an object to another.
fn changes_of_statement(before: &DescribedStatement, after: &SchemaStatement) -> Vec<SchemaChange> {
    match (&before.statement, after) {
        (
            SchemaStatement::Columns { head: old_head, columns: old, tail: old_tail },
            SchemaStatement::Columns { head, columns: new, tail },
        ) if old_tail == tail => {
            let persistence = (old_head != head).then(|| {
                let set = |head: &str| {
                    let word = if head.starts_with("CREATE UNLOGGED ") { "UNLOGGED" } else { "LOGGED" };
                    format!("{} SET {word}", alter_words(head).0)
                };
                SchemaChange::replaced(&set(old_head), &set(head), vec![set(head)])
            });
            persistence.into_iter().chain(column_changes(head, old, new)).collect()
        }
        (SchemaStatement::Labels { labels: old, .. }, SchemaStatement::Labels { head, labels: new }) => {
            label_changes(head, old, new).unwrap_or_else(|| vec![replaced_whole(before, after)])
        }
        _ => vec![replaced_whole(before, after)],
    }
}

/// Returns the change of an object that is replaced: in place where PostgreSQL can, else by removing the old one.
fn replaced_whole(before: &DescribedStatement, after: &SchemaStatement) -> SchemaChange {
    let text = after.to_string();
    let statements = match text.strip_prefix("CREATE VIEW ") {
        Some(rest) => vec![format!("CREATE OR REPLACE VIEW {rest}")],
        None if text.starts_with("CREATE OR REPLACE ") => vec![text.clone()],
        None => before.undo.iter().cloned().chain([text.clone()]).collect(),
    };
    SchemaChange::replaced(&before.statement.to_string(), &text, statements)
}
