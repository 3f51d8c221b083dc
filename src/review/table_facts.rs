//! The facts of a database that decide how a plan is weighed, as they are now.

use super::{
    plan_names::PlanNames,
    relation_facts::{RelationFacts, RelationKind, TableSize},
    session_facts::SessionFacts,
};
use crate::sql::QualifiedName;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The facts of the relations that a plan names, and of the sessions that use them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// The reason why there are no facts, as a sentence without its full stop.
    pub unknown: Option<String>,
    /// The server.
    pub server: ServerFacts,
    /// The names of the plan that exist, and the relation that each means.
    pub names: BTreeMap<QualifiedName, u32>,
    /// These relations, and those that a statement locks with them.
    pub relations: BTreeMap<u32, RelationFacts>,
    /// The indexes among them.
    pub indexes: Vec<IndexFacts>,
    /// The foreign keys of these tables, in both directions.
    pub foreign_keys: Vec<ForeignKey>,
    /// The schemas that the plan names.
    pub schemas: Vec<SchemaFacts>,
    /// The types that the plan names.
    pub types: Vec<TypeFacts>,
    /// The sessions that use these tables, and those with the oldest transactions.
    pub sessions: Vec<SessionFacts>,
    /// Standbys and replication slots, as sentences.
    pub replication: Vec<String>,
    /// The queries that use these tables, by table.
    pub families: Vec<StatementFamilies>,
    /// The rows that were found by looking into tables.
    pub probes: BTreeMap<u32, Probe>,
}

/// The facts of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Number of locks for which there is room (`max_locks_per_transaction` for each session that there can be).
    pub lock_capacity: u64,
    /// Number of these that are taken now.
    pub locks_taken: u64,
    /// Time since the statistics were reset; `None` if they never were.
    pub statistics_age: Option<Duration>,
    /// The right of our role to see the sessions of others.
    pub visibility: SessionVisibility,
}

/// The right to see the sessions of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionVisibility {
    /// All of them (`pg_read_all_stats`).
    All,
    /// Those of roles that ours is a member of; of others only that they are there.
    #[default]
    OwnRoles,
}

/// An index that a plan names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFacts {
    /// Its OID.
    pub oid: u32,
    /// Its table.
    pub table: u32,
    /// Whether it is unique.
    pub unique: bool,
    /// The foreign keys for which it is the only index.
    pub only_one_for: Vec<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The table that has it.
    pub from: u32,
    /// The table to which it leads.
    pub to: u32,
}

/// The tables in a schema, all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFacts {
    /// Its name.
    pub name: String,
    /// Number of its tables.
    pub tables: u64,
    /// The sum of their sizes.
    pub size: TableSize,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFacts {
    /// Its name in the plan.
    pub name: QualifiedName,
    /// Its schema.
    pub schema: String,
    /// Number of columns that have it.
    pub columns: u64,
}

/// The queries that use a table, as `pg_stat_statements` has counted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementFamilies {
    /// The table.
    pub table: u32,
    /// Number of different queries.
    pub families: u64,
    /// Number of their calls since the extension began to count.
    pub calls: u64,
    /// Time since then; `None` if the extension does not show it.
    pub counted_for: Option<Duration>,
    /// The first words of the most frequent one.
    pub most_frequent: String,
}

/// The rows that were found by looking into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// All of them.
    Rows(u64),
    /// There are more than this many.
    MoreThan(u64),
    /// It could not be read, for this reason.
    Unreadable(String),
}

impl TableFacts {
    /// Returns the facts of a database that could not be asked, for this reason.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { unknown: Some(reason.into()), ..Self::default() }
    }

    /// Returns the relation that this name means, if it exists.
    #[must_use]
    pub fn find(&self, name: &QualifiedName) -> Option<&RelationFacts> {
        self.relations.get(self.names.get(name)?)
    }

    /// Returns the rows of a table as far as they are known: those that were found by looking into it, else its
    /// statistics.
    #[must_use]
    pub fn rows(&self, relation: &RelationFacts) -> Option<u64> {
        let counted = relation.whole_size().rows;
        match self.probes.get(&relation.oid) {
            Some(Probe::Rows(rows)) => Some(*rows),
            Some(Probe::MoreThan(rows)) => counted.map(|counted| counted.max(rows.saturating_add(1))),
            Some(Probe::Unreadable(_)) | None => counted,
        }
    }

    /// Returns the tables to look into: those whose content is destroyed, and those whose rows were never counted.
    #[must_use]
    pub fn tables_to_probe(&self, names: &PlanNames) -> Vec<&RelationFacts> {
        let destroyed: BTreeSet<u32> =
            names.destroyed.iter().filter_map(|name| self.names.get(name)).copied().collect();
        let named: BTreeSet<u32> = self.names.values().copied().collect();
        let tables = named.iter().filter_map(|oid| self.relations.get(oid));
        let is_unknown = |table: &RelationFacts| destroyed.contains(&table.oid) || table.whole_size().rows.is_none();
        let has_rows = |table: &RelationFacts| table.kind.has_rows() || table.kind == RelationKind::Partitioned;
        tables.filter(|table| has_rows(table) && is_unknown(table)).collect()
    }
}
