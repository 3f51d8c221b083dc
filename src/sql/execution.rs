//! How a file is sent: whole, in pieces, or statement by statement.

use super::{identifier::QualifiedName, span::Span, transaction_options::Modes};

/// How a file's body is sent to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// One transaction together with its ledger row; the body goes as one simple query.
    Whole,
    /// One transaction together with its ledger row; it is long, or there is `COPY … FROM STDIN` in it, which a simple query
    /// can't carry.
    Pieces(Vec<Piece>),
    /// No transaction: one statement at a time, so that a failed run can resume.
    Statements {
        /// The statements in order.
        statements: Vec<Statement>,
        /// What a run that resumes could not have again.
        lost: Vec<Lost>,
        /// Why there is no transaction, as a sentence without its full stop.
        why: String,
    },
}

/// A part of a file with rows in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Statements, for one simple query.
    Sql(Span),
    /// A `COPY … FROM STDIN`.
    Copy {
        /// The statement.
        statement: Span,
        /// Its rows as they stand in the file, without the line that ends them.
        data: Span,
    },
}

/// One statement of a file without a transaction, or several that the file puts between BEGIN and COMMIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it is in the body, with its semicolon and its rows.
    pub span: Span,
    /// What a crash in the middle of it means.
    pub kind: StatementKind,
    /// What is sent.
    pub pieces: Vec<Piece>,
    /// What the file asks for its transaction, if it runs in one.
    pub modes: Modes,
    /// What a run that resumes behind it has to run again.
    pub again: Vec<Again>,
}

/// What changes the session that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// Where it is in the body.
    pub span: Span,
    /// The last statement that needs it; without one, all that follow do.
    pub until: Option<usize>,
}

/// What lives as long as its session and can't be made again as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub name: String,
    /// The statement that makes it.
    pub made: Span,
    /// The last one that uses it.
    pub used: Span,
}

/// What may be done with a statement of a file without a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// It may run in a transaction together with the row that says how far the file is.
    Transactional,
    /// It sets the session (`SET`, `RESET`): a run that resumes behind it has to run it again.
    Session,
    /// `CREATE INDEX CONCURRENTLY`: an interrupted one leaves an INVALID index of this name.
    CreateIndex {
        /// The index; its schema is the table's, if one is written.
        index: QualifiedName,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex {
        /// The index.
        index: QualifiedName,
    },
    /// Running it twice leaves the same behind.
    Repeatable,
    /// After a crash only a person can say whether it ran.
    Opaque,
}
