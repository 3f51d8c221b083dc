//! The tags of our rows. One message carries queries of several modules, so each row begins with the name of its kind,
//! and each parser reads only its own kind.

use std::fmt::{self, Display};

/// Declares the kinds of rows and their tags.
macro_rules! row_tags {
    ($($(#[$comment:meta])+ $kind:ident = $text:literal,)+) => {
        /// A kind of rows. Its `Display` is the SQL literal with which the query selects it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum RowTag { $($(#[$comment])+ $kind,)+ }

        impl RowTag {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$kind),+];

            /// Returns the value of the first column.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$kind => $text,)+ }
            }
        }
    };
}

row_tags! {
    /// The facts of the server and the run lock.
    Server = "server",
    /// A fact about the health of the database.
    Health = "health",
    /// The holder of the run lock.
    LockHolder = "lock holder",
    /// The right to write to the ledger.
    LedgerRight = "ledger right",
    /// The attempt to take the lock of another tool.
    ToolLock = "tool lock",
    /// The name of our role.
    Role = "role",
    /// A schema of the session's search path.
    SearchPath = "path",
    /// The search path that a session begins with.
    SessionPath = "session path",
    /// A table that could be the run's ledger.
    LedgerCandidate = "table",
    /// A schema in which the run's ledger could be created.
    LedgerSchema = "schema",
    /// A row of the run's ledger.
    RecordedMigration = "ledger",
    /// A row of the progress table.
    Progress = "progress",
    /// Another ledger that has rows.
    LedgerInUse = "in use",
    /// An INVALID index.
    InvalidIndex = "index",
    /// An index found by its name.
    NamedIndex = "named index",
    /// A table that could be a tool's ledger.
    ToolLedger = "tool ledger",
    /// A row of a tool's ledger.
    ToolMigration = "row",
    /// The time of a row of a tool's ledger.
    RowTime = "row time",
    /// A table that lists tenants.
    TenantTable = "tenants",
    /// The schema of a tenant.
    Tenant = "tenant",
    /// An object in a snapshot of the schema.
    SchemaObject = "object",
    /// A statement of the description of the schema.
    SchemaStatement = "schema statement",
    /// An object that another one of the schema needs.
    SchemaDependency = "schema dependency",
    /// The state of a new session.
    FreshState = "state",
    /// A condition for the start that does not hold.
    StartCondition = "start condition",
    /// A watched session that waits for a lock.
    Blocked = "blocked",
    /// A session that waits for a watched one.
    Blocking = "blocking",
    /// The progress of a command of a watched session.
    CommandProgress = "command progress",
    /// A watched session.
    Work = "work",
    /// A relation that a name in a plan means.
    PlanName = "plan name",
    /// The facts of a relation that a plan changes.
    RelationFacts = "relation facts",
    /// An index that a plan names.
    PlanIndex = "plan index",
    /// A foreign key of a table that a plan changes.
    ForeignKey = "foreign key",
    /// A schema that a plan names.
    PlanSchema = "plan schema",
    /// A type that a plan names.
    PlanType = "plan type",
    /// A lock of another session on a table that a plan changes.
    TableLock = "table lock",
    /// A session with an old transaction.
    OldTransaction = "old transaction",
    /// A standby.
    Standby = "standby",
    /// A replication slot.
    ReplicationSlot = "replication slot",
    /// The room for locks and the age of the statistics.
    ServerLimits = "server limits",
    /// The schema of the extension that counts statements.
    StatementStatistics = "statement statistics",
    /// The queries that use a table.
    StatementFamily = "statement family",
    /// The table that records runs.
    RunsTable = "runs table",
    /// The last run before this one, if its end was never recorded.
    UnendedRun = "unended run",
    /// A run of the past.
    PastRun = "past run",
    /// The rows that were found by looking into a table.
    TableProbe = "table probe",
    /// A table that after-care may be due for.
    CareTable = "care table",
    /// A constraint that is NOT VALID.
    CareConstraint = "care constraint",
    /// An index that exists.
    CareIndex = "care index",
    /// Something that should be mended.
    CareFinding = "care finding",
    /// The shape of a database that is copied.
    OriginalShape = "original shape",
    /// A role that a copied schema names.
    OriginalRole = "original role",
    /// The membership of a role in another one.
    OriginalMembership = "original membership",
    /// A setting that new sessions with a copied database get.
    OriginalSetting = "original setting",
    /// The value of a sequence.
    OriginalSequence = "original sequence",
    /// A kind of objects that a copy lacks.
    OriginalLeftOut = "original left out",
    /// A table whose rows may be copied.
    SampleTable = "sample table",
    /// A column of such a table.
    SampleColumn = "sample column",
    /// A foreign key between such tables.
    SampleKey = "sample key",
    /// A relation of a copy.
    CopyRelation = "copy relation",
    /// A lock of the session that rehearses.
    HeldLock = "held lock",
    /// The number of scans of a table in this transaction.
    ScanCount = "scan count",
    /// The position in the WAL.
    WalPosition = "wal position",
    /// A relation that a backup would contain.
    DumpedRelation = "dumped relation",
    /// A table that a backup should contain, and that is not in the database.
    MissingTable = "missing table",
}

impl Display for RowTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "'{}'", self.text())
    }
}

#[cfg(test)]
impl RowTag {
    /// Returns a row of this kind; an empty text is NULL.
    pub(crate) fn row(self, columns: &[&str]) -> Vec<Option<String>> {
        let values = [self.text()].into_iter().chain(columns.iter().copied());
        values.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_kinds_of_rows_share_a_tag() {
        let texts: BTreeSet<&str> = RowTag::ALL.iter().map(|tag| tag.text()).collect();
        assert_eq!(texts.len(), RowTag::ALL.len());
    }

    #[test]
    fn a_tag_is_an_sql_literal_as_it_stands() {
        for tag in RowTag::ALL {
            assert_eq!(tag.to_string(), crate::postgres::quote_literal(tag.text()));
        }
    }
}
