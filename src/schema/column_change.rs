//! The changes of a table's columns, and of a type's attributes and labels, each as the statement that makes it.

use super::{
    change::SchemaChange,
    description::table_name,
    statement::{Column, NullConstraint},
};

/// The words with which columns are changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnWords<'a> {
    /// `ALTER TABLE` or `ALTER TYPE`, and the name.
    alter: &'a str,
    /// `COLUMN` or `ATTRIBUTE`.
    column: &'a str,
}

/// Returns the beginning of the statement that alters the table or the type with this beginning, and the word for its
/// columns.
pub(super) fn alter_words(head: &str) -> (String, &'static str) {
    match head.strip_prefix("CREATE TYPE ").and_then(|rest| rest.strip_suffix(" AS")) {
        Some(name) => (format!("ALTER TYPE {name}"), "ATTRIBUTE"),
        None => (format!("ALTER TABLE {}", table_name(head)), "COLUMN"),
    }
}

/// Returns the changes that lead from some columns to others.
pub(super) fn column_changes(head: &str, before: &[Column], after: &[Column]) -> Vec<SchemaChange> {
    let (alter, column) = alter_words(head);
    let words = ColumnWords { alter: &alter, column };
    let old = |name: &str| before.iter().find(|column| column.name == name);
    let gone = before.iter().filter(|column| after.iter().all(|other| other.name != column.name));
    let gone = gone.map(|column| {
        let undo = format!("{} DROP {} {}", words.alter, words.column, column.name);
        SchemaChange::gone(&words.add(column), vec![undo])
    });
    let changed = after.iter().flat_map(|column| match old(&column.name) {
        None => vec![SchemaChange::new(&words.add(column))],
        Some(old) => words.changes_of(old, column),
    });
    gone.chain(changed).collect()
}

impl ColumnWords<'_> {
    fn add(self, column: &Column) -> String {
        format!("{} ADD {} {column}", self.alter, self.column)
    }

    fn alter(self, column: &Column, action: &str) -> String {
        format!("{} ALTER {} {} {action}", self.alter, self.column, column.name)
    }

    fn changes_of(self, old: &Column, new: &Column) -> Vec<SchemaChange> {
        let mut changes = Vec::new();
        if is_computed(old) != is_computed(new) || (is_computed(new).is_some() && old != new) {
            let undo = format!("{} DROP {} {}", self.alter, self.column, old.name);
            let (before, after) = (self.add(old), self.add(new));
            return vec![SchemaChange::replaced(&before, &after, vec![undo, after.clone()])];
        }
        if old.data_type != new.data_type {
            let [before, after] = [old, new].map(|column| self.alter(new, &format!("TYPE {}", column.data_type)));
            changes.push(SchemaChange::replaced(&before, &after, vec![after.clone()]));
        }
        let set =
            |value: &Option<String>, verb: &str| value.as_ref().map(|value| self.alter(new, &format!("{verb}{value}")));
        changes.extend(self.setting_change(
            (set(&old.generation, "ADD "), set(&new.generation, "ADD ")),
            &self.alter(new, "DROP IDENTITY"),
            ColumnReplacement::AfterRemoval,
        ));
        changes.extend(self.setting_change(
            (set(&old.default, "SET DEFAULT "), set(&new.default, "SET DEFAULT ")),
            &self.alter(new, "DROP DEFAULT"),
            ColumnReplacement::InPlace,
        ));
        let not_null =
            |column: &Column| (column.constraint == NullConstraint::NotNull).then(|| self.alter(new, "SET NOT NULL"));
        changes.extend(self.setting_change(
            (not_null(old), not_null(new)),
            &self.alter(new, "DROP NOT NULL"),
            ColumnReplacement::InPlace,
        ));
        changes
    }

    /// Returns the change of a setting, which each description has or lacks.
    fn setting_change(
        self,
        (before, after): (Option<String>, Option<String>),
        removal: &str,
        replacement: ColumnReplacement,
    ) -> Option<SchemaChange> {
        match (before, after) {
            (before, after) if before == after => None,
            (None, None) => None,
            (Some(before), None) => Some(SchemaChange::gone(&before, vec![removal.to_owned()])),
            (None, Some(after)) => Some(SchemaChange::new(&after)),
            (Some(before), Some(after)) => {
                let first = (replacement == ColumnReplacement::AfterRemoval).then(|| removal.to_owned());
                let mending = first.into_iter().chain([after.clone()]).collect();
                Some(SchemaChange::replaced(&before, &after, mending))
            }
        }
    }
}

/// The way in which a setting takes a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnReplacement {
    InPlace,
    AfterRemoval,
}

/// Returns the expression of a generated column; an identity column has none.
fn is_computed(column: &Column) -> Option<&str> {
    column.generation.as_deref().filter(|generation| generation.starts_with("GENERATED ALWAYS AS ("))
}

/// Returns the changes that lead from some labels to others; `None` if one would have to be removed or moved.
pub(super) fn label_changes(head: &str, before: &[String], after: &[String]) -> Option<Vec<SchemaChange>> {
    let name = head.strip_prefix("CREATE TYPE ")?.strip_suffix(" AS ENUM")?;
    let kept: Vec<&String> = after.iter().filter(|label| before.contains(label)).collect();
    if kept.len() != before.len() || !kept.iter().zip(before).all(|(left, right)| *left == right) {
        return None;
    }
    let mut changes = Vec::new();
    for (index, label) in after.iter().enumerate().filter(|(_, label)| !before.contains(label)) {
        let place = match (index.checked_sub(1).and_then(|index| after.get(index)), before.first()) {
            (Some(previous), _) => format!(" AFTER {previous}"),
            (None, Some(first)) => format!(" BEFORE {first}"),
            (None, None) => String::new(),
        };
        changes.push(SchemaChange::new(&format!("ALTER TYPE {name} ADD VALUE {label}{place}")));
    }
    Some(changes)
}
