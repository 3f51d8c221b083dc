//! The state of the schema between the statements of a plan, as far as it decides how the next one is weighed.

use super::{
    effect::{Certainty, Destruction, StatementEffect},
    table_facts::TableFacts,
};
use crate::sql::QualifiedName;
use std::collections::BTreeSet;

/// Words of a statement after which a table has a name that the database does not know yet.
const NAME_CHANGES: [&str; 2] = ["RENAME", "SET SCHEMA"];

/// The changes that the statements so far have made.
#[derive(Debug, Clone, Default)]
pub(super) struct PlanProgress {
    created: NameSet,
    dropped: NameSet,
    dropped_schemas: BTreeSet<String>,
    names: NameState,
}

/// Whether the names in the plan are those of the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum NameState {
    /// They are.
    #[default]
    AsFound,
    /// A statement has renamed something, or may have.
    Changed,
}

impl PlanProgress {
    /// Adds the changes of a statement.
    pub(super) fn add(&mut self, effect: &StatementEffect) {
        for destruction in &effect.destroys {
            match destruction {
                Destruction::Table(name) | Destruction::Index(name) => {
                    self.dropped.insert(name);
                    self.created.remove(name);
                }
                Destruction::Schema(schema) => {
                    self.dropped_schemas.insert(schema.clone());
                }
                _ => {}
            }
        }
        effect.creates.iter().for_each(|name| self.created.insert(name));
        let summary = effect.summary.to_ascii_uppercase();
        if matches!(effect.certainty, Certainty::MayBeMore(_))
            || NAME_CHANGES.iter().any(|words| summary.contains(words))
        {
            self.names = NameState::Changed;
        }
    }

    /// Returns whether the relation is created by the plan. One that is in the database counts only if the plan has
    /// dropped it before: `IF NOT EXISTS` creates nothing then.
    pub(super) fn is_new(&self, name: &QualifiedName, facts: &TableFacts) -> bool {
        let is_dropped = self.dropped.includes(name)
            || facts.find(name).is_some_and(|relation| self.dropped_schemas.contains(&relation.schema));
        facts.unknown.is_none() && self.created.includes(name) && (facts.find(name).is_none() || is_dropped)
    }

    /// Returns whether the names in the plan are those of the database.
    pub(super) fn names(&self) -> NameState {
        self.names
    }
}

/// Names of relations, each with the schema that is written with it.
#[derive(Debug, Clone, Default)]
struct NameSet(BTreeSet<(String, Option<String>)>);

impl NameSet {
    fn insert(&mut self, name: &QualifiedName) {
        self.0.insert((name.name.clone(), name.schema.clone()));
    }

    fn remove(&mut self, name: &QualifiedName) {
        self.0.remove(&(name.name.clone(), name.schema.clone()));
    }

    /// Returns whether the name is among them. A name without a schema can mean one with any.
    fn includes(&self, name: &QualifiedName) -> bool {
        let mut of_name = self.0.range((name.name.clone(), None)..).take_while(|(other, _)| *other == name.name);
        of_name.any(|(_, schema)| name.schema.is_none() || schema.is_none() || *schema == name.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::{
        RelationFacts,
        test_effects::{effect, name},
    };

    fn creating(table: &str) -> StatementEffect {
        StatementEffect { creates: vec![name(table)], ..effect("CREATE TABLE …") }
    }

    fn dropping(table: &str) -> StatementEffect {
        StatementEffect { destroys: vec![Destruction::Table(name(table))], ..effect("DROP TABLE …") }
    }

    fn database_with(table: &str) -> TableFacts {
        TableFacts {
            names: [(name(table), 7)].into(),
            relations: [(7, RelationFacts { oid: 7, ..RelationFacts::default() })].into(),
            ..TableFacts::default()
        }
    }

    #[test]
    fn a_table_that_the_plan_creates_is_new() {
        let mut progress = PlanProgress::default();
        progress.add(&creating("notes"));
        let qualified = QualifiedName { schema: Some("public".to_owned()), name: "notes".to_owned() };
        assert!(progress.is_new(&name("notes"), &TableFacts::default()));
        assert!(progress.is_new(&qualified, &TableFacts::default()));
        assert!(!progress.is_new(&name("orders"), &TableFacts::default()));
        assert!(!progress.is_new(&name("notes"), &TableFacts::unknown("the role may not read it")));
    }

    #[test]
    fn a_table_that_exists_is_new_only_after_it_was_dropped() {
        let mut progress = PlanProgress::default();
        progress.add(&creating("orders"));
        assert!(!progress.is_new(&name("orders"), &database_with("orders")), "IF NOT EXISTS creates nothing");
        progress.add(&dropping("orders"));
        assert!(!progress.is_new(&name("orders"), &database_with("orders")), "it is gone");
        progress.add(&creating("orders"));
        assert!(progress.is_new(&name("orders"), &database_with("orders")));
    }

    #[test]
    fn a_rename_or_unknown_code_makes_names_uncertain() {
        for (summary, certainty, names) in [
            ("ALTER TABLE a RENAME TO b", Certainty::Known, NameState::Changed),
            ("alter table a set schema s", Certainty::Known, NameState::Changed),
            ("DO", Certainty::MayBeMore("it runs code".to_owned()), NameState::Changed),
            ("ALTER TABLE a ADD COLUMN b", Certainty::Known, NameState::AsFound),
        ] {
            let mut progress = PlanProgress::default();
            progress.add(&StatementEffect { certainty, ..effect(summary) });
            assert_eq!(progress.names(), names, "{summary}");
        }
    }
}
