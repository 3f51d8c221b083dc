//! The names in a plan: those of relations, schemas and types whose facts are needed to weigh it.

use super::effect::{Destruction, LockedRelation, StatementEffect};
use crate::sql::QualifiedName;
use std::collections::BTreeSet;

/// The names in a plan, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanNames {
    /// Tables, views, indexes and sequences.
    pub relations: Vec<QualifiedName>,
    /// Schemas.
    pub schemas: Vec<String>,
    /// Types.
    pub types: Vec<QualifiedName>,
    /// Those of `relations` whose content is destroyed.
    pub destroyed: BTreeSet<QualifiedName>,
}

impl PlanNames {
    /// Returns the names in these effects.
    #[must_use]
    pub fn of<'a>(effects: impl IntoIterator<Item = &'a StatementEffect>) -> Self {
        let (mut names, mut seen) = (Self::default(), BTreeSet::new());
        for effect in effects {
            for lock in &effect.locks {
                names.add_locked(&lock.relation, &mut seen);
            }
            for work in &effect.work {
                names.add_relation(work.relation(), &mut seen);
            }
            for destruction in &effect.destroys {
                names.add_destroyed(destruction, &mut seen);
            }
        }
        names
    }

    /// Returns whether there is nothing to look up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty() && self.schemas.is_empty() && self.types.is_empty()
    }

    fn add_locked(&mut self, locked: &LockedRelation, seen: &mut BTreeSet<QualifiedName>) {
        match locked {
            LockedRelation::InSchema(schema) => self.add_schema(schema),
            named => {
                if let Some(name) = named.name() {
                    self.add_relation(name, seen);
                }
            }
        }
    }

    fn add_destroyed(&mut self, destruction: &Destruction, seen: &mut BTreeSet<QualifiedName>) {
        match destruction {
            Destruction::Database(_) => {}
            Destruction::Schema(schema) => self.add_schema(schema),
            Destruction::Type(name) => {
                if !self.types.contains(name) {
                    self.types.push(name.clone());
                }
            }
            Destruction::Index(name) => self.add_relation(name, seen),
            Destruction::Table(table)
            | Destruction::Rows(table)
            | Destruction::Column { table, .. }
            | Destruction::Values { table, .. }
            | Destruction::Narrowed { table, .. } => {
                self.add_relation(table, seen);
                self.destroyed.insert(table.clone());
            }
        }
    }

    fn add_relation(&mut self, name: &QualifiedName, seen: &mut BTreeSet<QualifiedName>) {
        if seen.insert(name.clone()) {
            self.relations.push(name.clone());
        }
    }

    fn add_schema(&mut self, schema: &str) {
        if !self.schemas.iter().any(|known| known == schema) {
            self.schemas.push(schema.to_owned());
        }
    }
}

/// Returns the names that have to be looked up: none if the plan itself creates all that it names. A relation that is
/// created only if it does not exist has to be looked up.
#[must_use]
pub fn names_to_ask<'a>(effects: impl Iterator<Item = &'a StatementEffect> + Clone) -> PlanNames {
    let is_certain = |effect: &&StatementEffect| !effect.summary.to_ascii_uppercase().contains("IF NOT EXISTS");
    let created: BTreeSet<&QualifiedName> =
        effects.clone().filter(is_certain).flat_map(|effect| &effect.creates).collect();
    let names = PlanNames::of(effects);
    let is_known = |name: &QualifiedName| created.contains(name);
    match names.schemas.is_empty() && names.types.is_empty() && names.relations.iter().all(is_known) {
        true => PlanNames::default(),
        false => names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::test_effects::{effect, locked, name};
    use crate::review::{LockMode, LockedRelation, TableWork};

    #[test]
    fn each_name_is_looked_up_once() {
        let mut first = effect("ALTER TABLE orders …");
        first.locks = vec![
            locked(LockMode::AccessExclusive, LockedRelation::Named(name("orders"))),
            locked(LockMode::AccessExclusive, LockedRelation::DescendantsOf(name("orders"))),
            locked(LockMode::AccessExclusive, LockedRelation::InSchema("old".to_owned())),
        ];
        first.work = vec![TableWork::Scan(name("orders"))];
        first.destroys = vec![
            Destruction::Column { table: name("orders"), column: "note".to_owned() },
            Destruction::Schema("old".to_owned()),
            Destruction::Type(name("mood")),
            Destruction::Index(name("orders_note")),
        ];
        let names = PlanNames::of([&first, &first]);
        assert_eq!(names.relations, [name("orders"), name("orders_note")]);
        assert_eq!(
            (names.schemas, names.types, names.destroyed),
            (vec!["old".to_owned()], vec![name("mood")], [name("orders")].into())
        );
    }

    #[test]
    fn the_same_name_in_two_schemas_is_two_names() {
        let mut one = effect("DROP TABLE app.orders, orders");
        let qualified = QualifiedName { schema: Some("app".to_owned()), name: "orders".to_owned() };
        one.destroys = vec![Destruction::Table(qualified.clone()), Destruction::Table(name("orders"))];
        assert_eq!(PlanNames::of([&one]).relations, [qualified, name("orders")]);
    }
}
