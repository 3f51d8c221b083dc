//! The tables that a plan changes, as far as its SQL shows: those that a backup of the plan contains.

use super::{
    effect::{Certainty, Destruction, LockMode, LockedRelation, StatementEffect, TableWork},
    read_table_facts::PlanPath,
    script::{HiddenPart, MigrationScript},
};
use crate::sql::QualifiedName;
use std::collections::BTreeSet;

/// The tables that a plan changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTables {
    /// Relations that it names: tables, their indexes, views, sequences.
    pub relations: BTreeSet<QualifiedName>,
    /// Schemas of which it changes every table.
    pub schemas: BTreeSet<String>,
    /// The search path in which the names are looked up.
    pub path: PlanPath,
    /// The parts of the plan whose tables the text does not show, as sentences without their full stop.
    pub unknown: Vec<String>,
}

impl PlanTables {
    /// Returns the tables of a plan whose SQL is not shown at all.
    #[must_use]
    pub fn unknown(reason: &str) -> Self {
        let unknown = vec![reason.to_owned()];
        Self { relations: BTreeSet::new(), schemas: BTreeSet::new(), path: PlanPath::Session, unknown }
    }

    /// Returns the tables that these scripts change.
    #[must_use]
    pub fn of_scripts(scripts: &[(MigrationScript, Vec<StatementEffect>)], path: PlanPath) -> Self {
        let mut tables = Self { relations: BTreeSet::new(), schemas: BTreeSet::new(), path, unknown: Vec::new() };
        for (script, effects) in scripts {
            let label = script.id.label();
            tables.unknown.extend(script.hidden.iter().map(|part| match part {
                HiddenPart::Code(code) => format!("{label} runs {code}"),
                HiddenPart::Everything(reason) => format!("the SQL of {label} is not shown: {reason}"),
            }));
            for effect in effects {
                tables.add_effect(effect);
                if let Certainty::MayBeMore(reason) = &effect.certainty {
                    tables.unknown.push(format!("`{}` in {label}: {reason}", effect.summary));
                }
            }
        }
        tables
    }

    fn add_effect(&mut self, effect: &StatementEffect) {
        for lock in effect.locks.iter().filter(|lock| lock.mode >= LockMode::RowExclusive) {
            self.add_locked(&lock.relation);
        }
        // To read a table does not change it.
        let is_change = |work: &&TableWork| !matches!(work, TableWork::Scan(_) | TableWork::ScanDefaultPartition(_));
        self.relations.extend(effect.work.iter().filter(is_change).map(|work| work.relation().clone()));
        for destruction in &effect.destroys {
            match destruction {
                Destruction::Table(name) | Destruction::Rows(name) | Destruction::Index(name) => {
                    self.relations.insert(name.clone());
                }
                Destruction::Column { table, .. }
                | Destruction::Values { table, .. }
                | Destruction::Narrowed { table, .. } => {
                    self.relations.insert(table.clone());
                }
                Destruction::Schema(schema) => {
                    self.schemas.insert(schema.clone());
                }
                Destruction::Database(name) => self.unknown.push(format!("it drops the database `{name}`")),
                // Only with CASCADE it changes a table, and then there may be more.
                Destruction::Type(_) => {}
            }
        }
    }

    /// Adds a relation whose content or definition may change. A foreign key, and a view, only lock the relation at their
    /// other end; rows that go with those of another table (ON DELETE CASCADE) are found by the catalog.
    fn add_locked(&mut self, locked: &LockedRelation) {
        match locked {
            LockedRelation::InSchema(schema) => {
                self.schemas.insert(schema.clone());
            }
            LockedRelation::Named(name)
            | LockedRelation::TableOfIndex(name)
            | LockedRelation::PartitionsOfIndexTable(name)
            | LockedRelation::IndexesOf(name)
            | LockedRelation::DescendantsOf(name)
            | LockedRelation::PartitionsOf(name)
            | LockedRelation::DefaultPartitionOf(name)
            | LockedRelation::DefaultSiblingOf(name)
            | LockedRelation::ParentOf(name) => {
                self.relations.insert(name.clone());
            }
            LockedRelation::ReferencedBy(_)
            | LockedRelation::ReferencedByColumn { .. }
            | LockedRelation::ReferencedByConstraint { .. }
            | LockedRelation::ReferencesTo(_)
            | LockedRelation::ReferencesToColumn { .. }
            | LockedRelation::ViewsOn(_)
            | LockedRelation::TableOfStatistics(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        review::{ScriptTransaction, statement_effects},
        run::MigrationId,
    };

    fn tables_of(sql: &str, hidden: Vec<HiddenPart>) -> PlanTables {
        let id = MigrationId::of_tool("one".to_owned(), String::new());
        let script = MigrationScript { id, sql: sql.to_owned(), transaction: ScriptTransaction::Whole, hidden };
        let effects = statement_effects(&script, 150_000);
        PlanTables::of_scripts(&[(script, effects)], PlanPath::Session)
    }

    #[test]
    fn the_tables_of_a_plan_are_those_that_it_changes() {
        for (sql, tables) in [
            ("alter table orders add note text", "orders"),
            ("update app.orders set note = ''", "app.orders"),
            ("insert into a (x) select x from b", "a"),
            ("drop table a", "a"),
            ("create index on orders (note)", "orders"),
            ("create table fresh (id int)", ""),
        ] {
            let found = tables_of(sql, Vec::new());
            let names: Vec<String> = found.relations.iter().map(|name| name.to_string().replace('"', "")).collect();
            assert_eq!((names.join(" ").as_str(), found.unknown), (tables, Vec::new()), "{sql}");
        }
        assert_eq!(tables_of("drop schema old", Vec::new()).schemas, ["old".to_owned()].into());
    }

    #[test]
    fn code_and_hidden_sql_leave_the_tables_unknown() {
        for (sql, hidden) in [
            ("do $$ begin delete from a; end $$", Vec::new()),
            ("truncate a cascade", Vec::new()),
            ("", vec![HiddenPart::Code("Python code".to_owned())]),
            ("", vec![HiddenPart::Everything("the file is longer than 1 MiB".to_owned())]),
        ] {
            assert_eq!(tables_of(sql, hidden).unknown.len(), 1, "{sql}");
        }
    }
}
