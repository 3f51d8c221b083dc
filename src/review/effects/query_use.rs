//! The use of a query in a statement.

/// The use of a query in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryUse {
    /// It is run.
    Executed,
    /// It is stored, as that of a view: its tables are locked while it is read, but no row is.
    Stored,
}
