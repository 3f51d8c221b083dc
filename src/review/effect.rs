//! The effect of a statement on the database, as far as its text shows.

use crate::sql::{QualifiedName, Span};

/// A table-level lock mode, weakest first (PostgreSQL manual, 13.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// Taken by SELECT.
    AccessShare,
    /// Taken by SELECT … FOR UPDATE.
    RowShare,
    /// Taken by INSERT, UPDATE and DELETE.
    RowExclusive,
    /// Taken by VACUUM, ANALYZE, CREATE INDEX CONCURRENTLY and VALIDATE CONSTRAINT.
    ShareUpdateExclusive,
    /// Taken by CREATE INDEX.
    Share,
    /// Taken by CREATE TRIGGER and ADD FOREIGN KEY.
    ShareRowExclusive,
    /// Taken by REFRESH MATERIALIZED VIEW CONCURRENTLY.
    Exclusive,
    /// Taken by most forms of ALTER TABLE, DROP and TRUNCATE.
    AccessExclusive,
}

/// The work of others that has to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// Neither reads nor writes.
    Nothing,
    /// Writes.
    Writes,
    /// Reads and writes.
    ReadsAndWrites,
}

impl LockMode {
    /// All modes, weakest first.
    pub const ALL: [Self; 8] = [
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::Share,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// Returns the mode as in `pg_locks`, without its suffix `Lock`, in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// Returns what waits for a lock in this mode (PostgreSQL manual, table 13.2).
    #[must_use]
    pub fn blocks(self) -> Blocked {
        match self {
            Self::AccessShare | Self::RowShare | Self::RowExclusive | Self::ShareUpdateExclusive => Blocked::Nothing,
            Self::Share | Self::ShareRowExclusive | Self::Exclusive => Blocked::Writes,
            Self::AccessExclusive => Blocked::ReadsAndWrites,
        }
    }
}

/// The effect of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementEffect {
    /// Its position in the script.
    pub span: Span,
    /// The statement in a few words, as in `ALTER TABLE orders ADD COLUMN note`.
    pub summary: String,
    /// The locks that it takes, the strongest first.
    pub locks: Vec<RelationLock>,
    /// The work whose duration depends on the size of a table.
    pub work: Vec<TableWork>,
    /// The things that are gone afterwards.
    pub destroys: Vec<Destruction>,
    /// The tables, views and indexes that it creates.
    pub creates: Vec<QualifiedName>,
    /// How much of its effect the text shows.
    pub certainty: Certainty,
}

/// How much of a statement's effect its text shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certainty {
    /// All of it.
    Known,
    /// It runs code, or is not understood: there may be more, for this reason, as a sentence without its full stop.
    MayBeMore(String),
    /// The work may be less, for this reason, as a sentence without its full stop: it depends on what the table is like.
    MayBeLess(String),
}

/// A lock on a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationLock {
    /// Its mode.
    pub mode: LockMode,
    /// The relation.
    pub relation: LockedRelation,
    /// Its end.
    pub duration: LockDuration,
}

/// The end of a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockDuration {
    /// The end of the transaction.
    Transaction,
    /// The end of the statement, or of a part of it.
    Statement,
}

/// A relation that is locked. Only the catalog knows those that the statement does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedRelation {
    /// A relation that the statement names.
    Named(QualifiedName),
    /// The table of an index that the statement names.
    TableOfIndex(QualifiedName),
    /// The partitions of the table of an index that the statement names.
    PartitionsOfIndexTable(QualifiedName),
    /// All indexes of a table. The planner locks each of them for every query of the table, so an ACCESS EXCLUSIVE lock
    /// on them blocks its reads, too (PostgreSQL manual, REINDEX, "Notes").
    IndexesOf(QualifiedName),
    /// The table of extended statistics that the statement names.
    TableOfStatistics(QualifiedName),
    /// The tables to which foreign keys of this table lead.
    ReferencedBy(QualifiedName),
    /// The tables to which foreign keys with this column lead.
    ReferencedByColumn {
        /// The table.
        table: QualifiedName,
        /// The column.
        column: String,
    },
    /// The table to which this constraint leads, if it is a foreign key.
    ReferencedByConstraint {
        /// The table.
        table: QualifiedName,
        /// The constraint.
        constraint: String,
    },
    /// The tables whose foreign keys lead to this one.
    ReferencesTo(QualifiedName),
    /// The tables whose foreign keys lead to this column.
    ReferencesToColumn {
        /// The table.
        table: QualifiedName,
        /// The column.
        column: String,
    },
    /// The partitions of a table, or the tables that inherit from it.
    DescendantsOf(QualifiedName),
    /// The partitions of a table, but no tables that inherit from it.
    PartitionsOf(QualifiedName),
    /// The default partition of a table.
    DefaultPartitionOf(QualifiedName),
    /// The default partition of the table of which this one is a partition.
    DefaultSiblingOf(QualifiedName),
    /// The views that need a table or a view, directly or through other views.
    ViewsOn(QualifiedName),
    /// The table of which this one is a partition.
    ParentOf(QualifiedName),
    /// All relations in a schema.
    InSchema(String),
}

/// Work whose duration depends on the size of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableWork {
    /// All rows are read.
    Scan(QualifiedName),
    /// All rows of a table's default partition are read.
    ScanDefaultPartition(QualifiedName),
    /// All rows are written to a new file, and all indexes are built again.
    Rewrite(QualifiedName),
    /// All rows are read and an index is written.
    BuildIndex(QualifiedName),
    /// The same for an index that the statement names, whose table only the catalog knows.
    RebuildIndex(QualifiedName),
    /// Rows are changed, in a number that the text does not show.
    ChangeRows(QualifiedName),
    /// All rows are changed.
    ChangeAllRows(QualifiedName),
}

impl LockedRelation {
    /// Returns the relation that the statement names, if it is in the catalog of relations.
    #[must_use]
    pub fn name(&self) -> Option<&QualifiedName> {
        match self {
            Self::Named(name)
            | Self::TableOfIndex(name)
            | Self::IndexesOf(name)
            | Self::ReferencedBy(name)
            | Self::ReferencedByColumn { table: name, .. }
            | Self::ReferencedByConstraint { table: name, .. }
            | Self::ReferencesTo(name)
            | Self::ReferencesToColumn { table: name, .. }
            | Self::DescendantsOf(name)
            | Self::PartitionsOf(name)
            | Self::PartitionsOfIndexTable(name)
            | Self::DefaultPartitionOf(name)
            | Self::DefaultSiblingOf(name)
            | Self::ViewsOn(name)
            | Self::ParentOf(name) => Some(name),
            Self::TableOfStatistics(_) | Self::InSchema(_) => None,
        }
    }
}

impl TableWork {
    /// Returns the table; of an index whose table only the catalog knows, the index.
    #[must_use]
    pub fn relation(&self) -> &QualifiedName {
        match self {
            Self::Scan(relation)
            | Self::ScanDefaultPartition(relation)
            | Self::Rewrite(relation)
            | Self::BuildIndex(relation)
            | Self::RebuildIndex(relation)
            | Self::ChangeRows(relation)
            | Self::ChangeAllRows(relation) => relation,
        }
    }
}

/// A thing that is gone afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destruction {
    /// A table with its rows.
    Table(QualifiedName),
    /// A column with its values.
    Column {
        /// The table.
        table: QualifiedName,
        /// The column.
        column: String,
    },
    /// A database with all that is in it.
    Database(String),
    /// A schema with all that is in it.
    Schema(String),
    /// A type, and with CASCADE the columns of this type.
    Type(QualifiedName),
    /// An index.
    Index(QualifiedName),
    /// All rows of a table (TRUNCATE, or DELETE without a condition).
    Rows(QualifiedName),
    /// The former values of a column in all rows (UPDATE without a condition).
    Values {
        /// The table.
        table: QualifiedName,
        /// The columns.
        columns: Vec<String>,
    },
    /// Values that do not fit the new type of a column.
    Narrowed {
        /// The table.
        table: QualifiedName,
        /// The column.
        column: String,
        /// The new type, as written.
        to: String,
    },
}
