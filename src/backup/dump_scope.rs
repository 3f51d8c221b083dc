//! The relations that a dump contains, as the catalog has them.

use crate::sql::QualifiedName;

/// The content of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpScope {
    /// The whole database, with these relations.
    Database(Vec<DumpedRelation>),
    /// These relations alone.
    Relations(Vec<DumpedRelation>),
}

/// A relation in a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedRelation {
    /// Its name.
    pub name: QualifiedName,
    /// The part that `pg_dump` takes of it.
    pub part: RelationUse,
    /// Its size with its indexes and long values, in bytes (`pg_total_relation_size`).
    pub bytes: u64,
}

/// The part that `pg_dump` takes of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationUse {
    /// Its definition, and its rows as an entry of the archive's list.
    Rows,
    /// Its definition, or a result that is computed again.
    Definition,
}

impl DumpScope {
    /// Returns its relations.
    #[must_use]
    pub fn relations(&self) -> &[DumpedRelation] {
        match self {
            Self::Database(relations) | Self::Relations(relations) => relations,
        }
    }

    /// Returns the size of all its relations in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.relations().iter().fold(0, |sum, relation| sum.saturating_add(relation.bytes))
    }

    /// Returns the tables whose rows a dump of data has to contain.
    pub fn tables_with_rows(&self) -> impl Iterator<Item = &QualifiedName> {
        self.relations().iter().filter(|relation| relation.part == RelationUse::Rows).map(|relation| &relation.name)
    }
}
