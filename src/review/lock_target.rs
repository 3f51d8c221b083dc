//! The tables that a lock concerns in this database.

use super::{
    effect::{Blocked, LockMode, LockedRelation, TableWork},
    plan_progress::PlanProgress,
    relation_facts::{RelationFacts, RelationKind, TableSize},
    table_facts::TableFacts,
    units::{format_count, format_rows},
};
use crate::{
    run::{HeldUp, format_bytes},
    sql::QualifiedName,
};
use std::collections::BTreeSet;

/// The tables that a lock concerns: one, or several that are named together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LockTarget {
    /// The OID of the table, or of the one above them; `None` if it is not in the database.
    pub(super) oid: Option<u32>,
    /// Its name for people.
    pub(super) label: String,
    /// Its size.
    pub(super) weight: TargetWeight,
    /// Number of locks that it takes: one for each table and each of its indexes.
    pub(super) locks: u64,
}

/// A lock and the tables that it concerns.
pub(super) type TargetLock = (LockMode, LockTarget);

/// The size of a table as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetWeight {
    /// The plan creates it: nobody else uses it yet.
    New,
    /// It has no more rows than a small table.
    Small(TableSize),
    /// It has more rows.
    Large(TableSize),
    /// Its rows were never counted.
    Uncounted(TableSize),
    /// It has no rows of its own: a view, a sequence, an index.
    Rowless,
    /// It is not in the database.
    Missing,
    /// The database could not be asked.
    Unknown,
}

impl LockTarget {
    /// Returns the label with the size.
    pub(super) fn describe(&self) -> String {
        let size = match self.weight {
            TargetWeight::New => "created by this plan".to_owned(),
            TargetWeight::Small(size) | TargetWeight::Large(size) | TargetWeight::Uncounted(size) => {
                describe_size(size.rows, &size)
            }
            TargetWeight::Rowless | TargetWeight::Unknown => return self.label.clone(),
            TargetWeight::Missing => "not in this database now".to_owned(),
        };
        format!("{} ({size})", self.label)
    }

    /// Returns whether other sessions can use it.
    pub(super) fn is_used(&self) -> bool {
        self.weight != TargetWeight::New
    }
}

/// Returns the work of others that a lock in this mode holds up.
pub(super) fn held_up(mode: LockMode) -> HeldUp {
    match mode.blocks() {
        Blocked::Nothing => HeldUp::Nothing,
        Blocked::Writes => HeldUp::Writes,
        Blocked::ReadsAndWrites => HeldUp::ReadsAndWrites,
    }
}

/// Returns a size for people, as in `120 M rows, 38 GB`.
pub(super) fn describe_size(rows: Option<u64>, size: &TableSize) -> String {
    let rows = rows.map_or_else(|| "an unknown number of rows".to_owned(), format_rows);
    match size.bytes() {
        Some(bytes) => format!("{rows}, {}", format_bytes(bytes)),
        None => rows,
    }
}

/// Returns a relation's name for people: quoted only where SQL would need it, and without the usual schema.
pub(super) fn display_name(schema: Option<&str>, name: &str) -> String {
    let schema = schema.filter(|schema| *schema != "public").map(|schema| format!("{}.", plain_or_quoted(schema)));
    format!("{}{}", schema.unwrap_or_default(), plain_or_quoted(name))
}

/// Returns an identifier as SQL would have it, quoted only if it must be.
pub(super) fn plain_or_quoted(name: &str) -> String {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let is_plain = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    if is_plain { name.to_owned() } else { crate::postgres::quote_identifier(name) }
}

/// The knowledge with which locks are assigned to tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct TargetSearch<'a> {
    pub(super) facts: &'a TableFacts,
    pub(super) progress: &'a PlanProgress,
    pub(super) small_table: u64,
}

impl TargetSearch<'_> {
    /// Returns the tables that this lock concerns.
    pub(super) fn find(&self, relation: &LockedRelation) -> Vec<LockTarget> {
        let keys = &self.facts.foreign_keys;
        match relation {
            LockedRelation::Named(name) | LockedRelation::IndexesOf(name) => vec![self.named(name)],
            LockedRelation::TableOfIndex(name) => vec![self.table_of_index(name)],
            LockedRelation::TableOfStatistics(name) => vec![self.hidden(format!("the table of {}", display(name)))],
            LockedRelation::ReferencedBy(name)
            | LockedRelation::ReferencedByColumn { table: name, .. }
            | LockedRelation::ReferencedByConstraint { table: name, .. } => {
                let own = self.existing(name).map(|table| table.oid);
                self.all(keys.iter().filter(|key| Some(key.from) == own).map(|key| key.to))
            }
            LockedRelation::ReferencesTo(name) | LockedRelation::ReferencesToColumn { table: name, .. } => {
                let own = self.existing(name).map(|table| table.oid);
                self.all(keys.iter().filter(|key| Some(key.to) == own).map(|key| key.from))
            }
            LockedRelation::PartitionsOf(name)
                if self.existing(name).is_some_and(|table| table.kind != RelationKind::Partitioned) =>
            {
                Vec::new()
            }
            LockedRelation::DefaultPartitionOf(name) | LockedRelation::DefaultSiblingOf(name) => {
                match self.existing(name).filter(|table| table.descendants.is_some() || table.parent.is_some()) {
                    Some(_) => {
                        vec![self.hidden(format!("the default partition beside {}, if there is one", display(name)))]
                    }
                    None => Vec::new(),
                }
            }
            LockedRelation::PartitionsOfIndexTable(name) => {
                let index = self.existing(name).map(|found| found.oid);
                let index = self.facts.indexes.iter().find(|known| Some(known.oid) == index);
                let table = index.and_then(|index| self.facts.relations.get(&index.table));
                table.and_then(|table| self.descendants(table)).into_iter().collect()
            }
            LockedRelation::ViewsOn(name) => match self.existing(name).map_or(0, |table| table.views) {
                0 => Vec::new(),
                views => vec![self.hidden(format!("the {} views on {}", format_count(views), display(name)))],
            },
            LockedRelation::DescendantsOf(name) | LockedRelation::PartitionsOf(name) => {
                self.existing(name).and_then(|table| self.descendants(table)).into_iter().collect()
            }
            LockedRelation::ParentOf(name) => self.all(self.existing(name).and_then(|table| table.parent).into_iter()),
            LockedRelation::InSchema(schema) => vec![self.schema(schema)],
        }
    }

    /// Returns the relation with this name, unless the plan creates it.
    fn existing(&self, name: &QualifiedName) -> Option<&RelationFacts> {
        self.facts.find(name).filter(|_| !self.is_new(name))
    }

    /// Returns each of these tables once.
    fn all(&self, oids: impl Iterator<Item = u32>) -> Vec<LockTarget> {
        let oids: BTreeSet<u32> = oids.collect();
        oids.iter().filter_map(|oid| self.facts.relations.get(oid)).map(|table| self.single(table)).collect()
    }

    /// Returns the table of an index. That of an index which the plan creates may be any.
    fn table_of_index(&self, name: &QualifiedName) -> LockTarget {
        let index =
            self.existing(name).and_then(|found| self.facts.indexes.iter().find(|index| index.oid == found.oid));
        let table = index.and_then(|index| self.facts.relations.get(&index.table));
        let weight = if self.facts.unknown.is_some() { TargetWeight::Unknown } else { TargetWeight::Missing };
        let label = format!("the table of {}", display(name));
        table.map_or(LockTarget { oid: None, label, weight, locks: 1 }, |table| self.single(table))
    }

    /// Returns the table with this name.
    pub(super) fn named(&self, name: &QualifiedName) -> LockTarget {
        let absent = |weight| LockTarget { oid: None, label: display(name), weight, locks: 1 };
        match self.facts.find(name) {
            _ if self.is_new(name) => absent(TargetWeight::New),
            Some(table) => self.single(table),
            None if self.facts.unknown.is_some() => absent(TargetWeight::Unknown),
            None => absent(TargetWeight::Missing),
        }
    }

    pub(super) fn is_new(&self, name: &QualifiedName) -> bool {
        self.progress.is_new(name, self.facts)
    }

    /// Returns relations that were not looked up.
    fn hidden(&self, label: String) -> LockTarget {
        LockTarget { oid: None, label, weight: TargetWeight::Rowless, locks: 1 }
    }

    /// Returns the table on which work is done.
    pub(super) fn worked_on(&self, work: &TableWork) -> LockTarget {
        match work {
            TableWork::RebuildIndex(index) => self.table_of_index(index),
            others => self.named(others.relation()),
        }
    }

    fn single(&self, table: &RelationFacts) -> LockTarget {
        let is_sized = table.kind.has_rows() || table.kind == RelationKind::Partitioned;
        let size = TableSize { rows: self.facts.rows(table), ..table.whole_size() };
        LockTarget {
            oid: Some(table.oid),
            label: display_name(Some(&table.schema), &table.name),
            weight: if is_sized { self.weight_of(size) } else { TargetWeight::Rowless },
            locks: table.size.indexes.saturating_add(1),
        }
    }

    fn descendants(&self, table: &RelationFacts) -> Option<LockTarget> {
        let descendants = table.descendants?;
        let noun = match (table.kind, descendants.count) {
            (RelationKind::Partitioned, 1) => "partition of",
            (RelationKind::Partitioned, _) => "partitions of",
            (_, 1) => "table that inherits from",
            _ => "tables that inherit from",
        };
        let name = display_name(Some(&table.schema), &table.name);
        Some(LockTarget {
            oid: Some(table.oid),
            label: format!("the {} {noun} {name}", format_count(descendants.count)),
            weight: self.weight_of(descendants.size),
            locks: descendants.count.saturating_add(descendants.size.indexes),
        })
    }

    fn schema(&self, schema: &str) -> LockTarget {
        let found = self.facts.schemas.iter().find(|known| known.name == schema);
        let name = plain_or_quoted(schema);
        match found {
            Some(found) => LockTarget {
                oid: None,
                label: format!("all {} tables in the schema {name}", format_count(found.tables)),
                weight: self.weight_of(found.size),
                locks: found.tables.saturating_add(found.size.indexes),
            },
            None => {
                let weight = if self.facts.unknown.is_some() { TargetWeight::Unknown } else { TargetWeight::Missing };
                LockTarget { oid: None, label: format!("all tables in the schema {name}"), weight, locks: 0 }
            }
        }
    }

    fn weight_of(&self, size: TableSize) -> TargetWeight {
        match size.rows {
            Some(rows) if rows <= self.small_table => TargetWeight::Small(size),
            Some(_) => TargetWeight::Large(size),
            None => TargetWeight::Uncounted(size),
        }
    }
}

fn display(name: &QualifiedName) -> String {
    display_name(name.schema.as_deref(), &name.name)
}
