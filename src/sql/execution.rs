//! The ways to send a file: as one query, in several chunks, or statement by statement.

use super::{identifier::QualifiedName, span::Span, transaction_options::TransactionModes};

/// The way a file's body is sent to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// One transaction together with its ledger row; the body is one simple query.
    SingleQuery,
    /// One transaction together with its ledger row, sent in several chunks: the body is long, or contains
    /// `COPY … FROM STDIN`, whose rows can't be part of a simple query.
    Chunked(Vec<SqlChunk>),
    /// No transaction: one statement at a time, so that a failed run can be resumed.
    PerStatement {
        /// The statements in order.
        statements: Vec<Statement>,
        /// Session objects that a resumed run could not restore.
        lost: Vec<UnrecoverableObject>,
        /// The reason why there is no transaction, as a sentence without its full stop.
        why: String,
    },
}

/// A part of a file that is sent by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlChunk {
    /// Statements that are sent as one simple query.
    Query(Span),
    /// A `COPY … FROM STDIN`.
    Copy {
        /// The statement.
        statement: Span,
        /// Its rows as in the file, without the line that ends them.
        data: Span,
    },
}

/// One statement of a file without a transaction, or all statements between the file's own BEGIN and COMMIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its position in the body, with its semicolon and its rows.
    pub span: Span,
    /// The consequence of a crash in the middle of it.
    pub kind: StatementKind,
    /// The chunks that are sent.
    pub chunks: Vec<SqlChunk>,
    /// The modes that the file requests for its transaction, if it runs in one.
    pub modes: TransactionModes,
    /// Statements that a run must repeat if it resumes after this one.
    pub session_setup: Vec<SessionSetup>,
}

/// A statement that changes the session in which it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSetup {
    /// Its position in the body.
    pub span: Span,
    /// The last statement that needs it; `None` if all later ones do.
    pub needed_until: Option<usize>,
}

/// An object that ends with its session and can't be restored as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnrecoverableObject {
    /// Its name.
    pub name: String,
    /// The statement that creates it.
    pub created: Span,
    /// The last statement that uses it.
    pub last_used: Span,
}

/// The kinds of statements in a file without a transaction, by what a crash in the middle of one means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// It may run in a transaction together with the file's progress row: after a crash, both are there or neither is.
    Transactional,
    /// It changes the session (`SET`, `RESET`): a run that resumes after it must repeat it.
    Session,
    /// `CREATE INDEX CONCURRENTLY`: if interrupted, it leaves an INVALID index of this name.
    CreateIndex {
        /// The index; its schema is that of the table, if one is written.
        index: QualifiedName,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex {
        /// The index.
        index: QualifiedName,
    },
    /// Running it twice has the same effect as running it once.
    Repeatable,
    /// After a crash only a person can find out whether it ran.
    Opaque,
}
