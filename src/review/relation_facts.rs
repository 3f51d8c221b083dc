//! The facts of one relation: its size, its use, and what depends on it.

use std::time::Duration;

/// The facts of one relation. Sizes are those of the last VACUUM or ANALYZE, because every function that measures a
/// table locks it (`pg_relation_size`, `src/backend/utils/adt/dbsize.c`), and waits for a stronger lock of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelationFacts {
    /// Its OID.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RelationKind,
    /// Whether it is a partition of another table.
    pub partition: bool,
    /// Its own size, without its partitions or the tables that inherit from it.
    pub size: TableSize,
    /// The sizes of its partitions, or of the tables that inherit from it, all together; `None` if there are none.
    pub descendants: Option<Descendants>,
    /// Time since the size was last determined; `None` if it never was, or if the statistics were reset.
    pub analyzed_ago: Option<Duration>,
    /// Rows that were inserted, updated or deleted since then.
    pub modified_since: u64,
    /// Number of scans of the table and its indexes since the statistics were reset.
    pub scans: u64,
    /// Number of rows that were written since the statistics were reset.
    pub writes: u64,
    /// Number of its triggers, without those of foreign keys.
    pub triggers: u64,
    /// Number of views that use it.
    pub views: u64,
    /// The table of which it is a partition, or from which it inherits.
    pub parent: Option<u32>,
}

/// The size of a table. It is known as far as it was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Rows; `None` if they were never counted.
    pub rows: Option<u64>,
    /// Bytes of the table itself; `None` if they were never counted.
    pub heap_bytes: Option<u64>,
    /// Bytes of its long values (TOAST).
    pub toast_bytes: u64,
    /// Bytes of its indexes.
    pub index_bytes: u64,
    /// Number of its indexes.
    pub indexes: u64,
}

/// Tables that belong to a partitioned table, or inherit from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descendants {
    /// Their number.
    pub count: u64,
    /// The sum of their sizes.
    pub size: TableSize,
}

/// The kind of a relation (PostgreSQL manual, 53.11, `relkind`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RelationKind {
    /// An ordinary table.
    #[default]
    Table,
    /// A partitioned table.
    Partitioned,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A foreign table.
    Foreign,
    /// An index, partitioned or not.
    Index,
    /// A sequence.
    Sequence,
    /// Another kind.
    Other,
}

/// The kinds by their letters.
const KINDS: [(&str, RelationKind); 8] = [
    ("r", RelationKind::Table),
    ("p", RelationKind::Partitioned),
    ("v", RelationKind::View),
    ("m", RelationKind::MaterializedView),
    ("f", RelationKind::Foreign),
    ("i", RelationKind::Index),
    ("I", RelationKind::Index),
    ("S", RelationKind::Sequence),
];

impl RelationKind {
    /// Returns the kind with this letter.
    pub(super) fn from_letter(letter: &str) -> Self {
        KINDS.iter().find(|(known, _)| *known == letter).map_or(Self::Other, |(_, kind)| *kind)
    }

    /// Returns whether it is an index.
    #[must_use]
    pub fn is_index(self) -> bool {
        self == Self::Index
    }

    /// Returns whether it has rows of its own.
    #[must_use]
    pub fn has_rows(self) -> bool {
        matches!(self, Self::Table | Self::MaterializedView)
    }
}

impl TableSize {
    /// Returns all bytes; `None` if those of the table are unknown.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.heap_bytes.map(|heap| heap.saturating_add(self.toast_bytes).saturating_add(self.index_bytes))
    }

    /// Returns the sum of two sizes, as far as both are known.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |one: Option<u64>, other: Option<u64>| Some(one?.saturating_add(other?));
        Self {
            rows: sum(self.rows, other.rows),
            heap_bytes: sum(self.heap_bytes, other.heap_bytes),
            toast_bytes: self.toast_bytes.saturating_add(other.toast_bytes),
            index_bytes: self.index_bytes.saturating_add(other.index_bytes),
            indexes: self.indexes.saturating_add(other.indexes),
        }
    }
}

impl RelationFacts {
    /// Returns its size together with that of its partitions, or of the tables that inherit from it.
    #[must_use]
    pub fn whole_size(&self) -> TableSize {
        self.descendants.map_or(self.size, |descendants| self.size.plus(&descendants.size))
    }
}
