//! The classes of statements: what each may do to a transaction and to a run that resumes.

use super::{execution::StatementKind, transaction_options::TransactionModes};

/// The class of a statement, by its relation to the transaction around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatementClass {
    /// Runs in a transaction, and belongs in one.
    Plain,
    /// `SET`, `RESET`, `LISTEN`, …: changes only the session.
    Session,
    /// The same, and sets the isolation level of the transactions that follow.
    DefaultModes(TransactionModes),
    /// `SET TRANSACTION`: sets the modes of the transaction that it is in.
    SetTransaction(TransactionModes),
    /// `ANALYZE`, `REINDEX TABLE`, `CLUSTER t`: may be repeated. For a partitioned table it can't run in a transaction,
    /// but its text doesn't show whether the table is partitioned.
    Idempotent,
    /// `DO`, `CALL`, …: runs in a transaction; outside of one it may commit half-way.
    Procedure,
    /// Can't run in a transaction.
    NonTransactional {
        /// Its kind in a file without a transaction.
        kind: StatementKind,
        /// The words that make it so, for a message.
        what: &'static str,
    },
    /// `BEGIN` or `START TRANSACTION`.
    Begin(TransactionModes),
    /// `COMMIT` or `END`: ends a transaction and keeps its effects.
    Commit(&'static str),
    /// Any other statement that begins or ends a transaction.
    TransactionControl(&'static str),
    /// `SAVEPOINT` and the like: needs a transaction around it.
    Savepoint,
    /// `COPY … FROM STDIN`.
    CopyFromStdin,
    /// Would break the run, and is refused.
    Refused {
        /// Its effect on the run.
        cause: &'static str,
        /// The fix, if it is not that of the code.
        fix: Option<&'static str>,
    },
}

pub(crate) fn refused_class(cause: &'static str, fix: Option<&'static str>) -> StatementClass {
    StatementClass::Refused { cause, fix }
}
