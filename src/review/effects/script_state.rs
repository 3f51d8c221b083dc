//! The facts that the earlier statements of a script leave for the later ones.

use crate::{
    review::script::ScriptTransaction,
    sql::{QualifiedName, StatementClass},
};

use super::{
    super::effect::LockDuration,
    search_path::{PathDuration, SearchPath, read_search_path},
};

/// The facts that the earlier statements of a script leave for the later ones.
#[derive(Debug)]
pub(super) struct ScriptState {
    /// As in `server_version_num`.
    pub(super) server_version: u32,
    transaction: ScriptTransaction,
    in_block: bool,
    parsed_bytes: usize,
    series: Series,
    search_path: SearchPath,
    path_duration: PathDuration,
    added_columns: Vec<(QualifiedName, String)>,
    null_checks: Vec<NullCheck>,
}

/// A CHECK constraint that excludes NULL in a column.
#[derive(Debug)]
struct NullCheck {
    table: QualifiedName,
    constraint: String,
    column: String,
    is_valid: bool,
}

/// Consecutive statements for which one effect stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Series {
    /// The statement has an effect of its own.
    #[default]
    None,
    /// INSERTs of plain values into one table.
    Rows(QualifiedName),
    /// Statements that are not read.
    Unread,
}

/// Whether a constraint holds for the rows that are already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    NotValid,
}

impl ScriptState {
    pub(super) fn new(server_version: u32, transaction: ScriptTransaction) -> Self {
        Self {
            server_version,
            transaction,
            in_block: false,
            parsed_bytes: 0,
            series: Series::None,
            search_path: SearchPath::OfSession,
            path_duration: PathDuration::Session,
            added_columns: Vec::new(),
            null_checks: Vec::new(),
        }
    }

    /// Adds to the bytes that were parsed, and returns their number.
    pub(super) fn count_parsed(&mut self, bytes: usize) -> usize {
        self.parsed_bytes += bytes;
        self.parsed_bytes
    }

    /// Returns the number of bytes that were parsed.
    pub(super) fn parsed_bytes(&self) -> usize {
        self.parsed_bytes
    }

    /// Takes note of the series of the next statement, and returns whether it continues that of the last one.
    pub(super) fn continue_series(&mut self, series: Series) -> bool {
        let is_same = series != Series::None && series == self.series;
        self.series = series;
        is_same
    }

    /// Returns the end of the locks of the next statement.
    pub(super) fn lock_duration(&self) -> LockDuration {
        match (self.transaction, self.in_block) {
            (ScriptTransaction::AsWritten, false) => LockDuration::Statement,
            (ScriptTransaction::Whole, _) | (ScriptTransaction::AsWritten, true) => LockDuration::Transaction,
        }
    }

    /// Takes note of a BEGIN or a COMMIT.
    pub(super) fn follow_transaction(&mut self, class: &StatementClass) {
        match class {
            StatementClass::Begin(_) | StatementClass::TransactionControl("BEGIN" | "START TRANSACTION") => {
                self.in_block = true;
            }
            StatementClass::TransactionControl("COMMIT AND CHAIN") => {}
            StatementClass::Commit(_) => {
                self.in_block = false;
                if self.path_duration == PathDuration::Transaction {
                    self.search_path = SearchPath::OfSession;
                }
            }
            StatementClass::TransactionControl(_) => {
                self.in_block = false;
                // A setting may be undone with its transaction.
                if self.search_path != SearchPath::OfSession {
                    self.search_path = SearchPath::Other;
                }
            }
            _ => {}
        }
    }

    /// Takes note of a search path that a statement sets.
    pub(super) fn follow_search_path(&mut self, statement: &str) {
        if let Some((path, duration)) = read_search_path(statement) {
            (self.search_path, self.path_duration) = (path, duration);
        }
    }

    /// Returns the search path of the next statement.
    pub(super) fn search_path(&self) -> &SearchPath {
        &self.search_path
    }

    /// Takes note of a column that has no values yet.
    pub(super) fn add_column(&mut self, table: &QualifiedName, column: String) {
        self.added_columns.push((table.clone(), column));
    }

    /// Returns whether an earlier statement of the script added this column.
    pub(super) fn is_added(&self, table: &QualifiedName, column: &str) -> bool {
        self.added_columns.iter().any(|(of, added)| of == table && added == column)
    }

    /// Takes note of a CHECK constraint that excludes NULL in a column.
    pub(super) fn add_null_check(
        &mut self,
        table: &QualifiedName,
        constraint: String,
        column: String,
        validity: Validity,
    ) {
        let is_valid = validity == Validity::Valid;
        self.null_checks.push(NullCheck { table: table.clone(), constraint, column, is_valid });
    }

    /// Takes note of a VALIDATE CONSTRAINT.
    pub(super) fn validate_constraint(&mut self, table: &QualifiedName, constraint: &str) {
        for check in &mut self.null_checks {
            check.is_valid |= check.table == *table && check.constraint == constraint;
        }
    }

    /// Takes note of a DROP CONSTRAINT.
    pub(super) fn drop_constraint(&mut self, table: &QualifiedName, constraint: &str) {
        self.null_checks.retain(|check| check.table != *table || check.constraint != constraint);
    }

    /// Returns whether a valid CHECK constraint of the script excludes NULL in a column.
    pub(super) fn is_proven_not_null(&self, table: &QualifiedName, column: &str) -> bool {
        self.null_checks.iter().any(|check| check.is_valid && check.table == *table && check.column == column)
    }
}
