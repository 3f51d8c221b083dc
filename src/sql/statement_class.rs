//! The classes of statements: what each may do to a transaction and to a run that resumes.

use super::{execution::StatementKind, transaction_options::Modes};
/// The class of a statement, by its relation to the transaction around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Runs in a transaction, and belongs in one.
    Plain,
    /// `SET`, `RESET`, `LISTEN`, …: changes only the session.
    Session,
    /// The same, and sets the isolation level of the transactions that follow.
    Defaults(Modes),
    /// `SET TRANSACTION`: sets the modes of the transaction that it is in.
    Modes(Modes),
    /// `ANALYZE`, `REINDEX TABLE`, `CLUSTER t`: may be repeated. For a partitioned table it can't run in a transaction,
    /// but its text doesn't show whether the table is partitioned.
    Harmless,
    /// `DO`, `CALL`, …: runs in a transaction; outside of one it may commit half-way.
    Procedure,
    /// Can't run in a transaction.
    Alone {
        /// Its kind in a file without a transaction.
        kind: StatementKind,
        /// The words that make it so, for a message.
        what: &'static str,
    },
    /// `BEGIN` or `START TRANSACTION`.
    Begin(Modes),
    /// `COMMIT` or `END`: ends a transaction and keeps its effects.
    Commit(&'static str),
    /// Any other statement that begins or ends a transaction.
    Boundary(&'static str),
    /// `SAVEPOINT` and the like: needs a transaction around it.
    Savepoint,
    /// `COPY … FROM STDIN`.
    Rows,
    /// Would break the run, and is refused.
    Refused {
        /// Its effect on the run.
        cause: &'static str,
        /// The fix, if it is not that of the code.
        fix: Option<&'static str>,
    },
}

pub(crate) fn refused(cause: &'static str, fix: Option<&'static str>) -> Nature {
    Nature::Refused { cause, fix }
}
