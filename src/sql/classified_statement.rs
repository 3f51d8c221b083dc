//! A statement of a file, with its class.

use super::{
    execution::StatementKind, location::FilePlaces, span::Span, split::RawStatement, statement_class::StatementClass,
};

/// A statement and its class.
#[derive(Debug)]
pub(crate) struct ClassifiedStatement {
    pub(crate) raw: RawStatement,
    pub(crate) class: StatementClass,
}

impl ClassifiedStatement {
    /// Returns the name of the statement for a message.
    pub(crate) fn words(&self) -> &'static str {
        match self.class {
            StatementClass::NonTransactional { what, .. }
            | StatementClass::TransactionControl(what)
            | StatementClass::Commit(what) => what,
            StatementClass::Begin(_) => "BEGIN",
            StatementClass::CopyFromStdin => "COPY … FROM STDIN",
            StatementClass::SetTransaction(_) => "SET TRANSACTION",
            _ => "the statement",
        }
    }

    /// Returns the statement's line. It is counted from the start of the file, so call this only for the few statements in messages.
    pub(crate) fn line(&self, places: &dyn FilePlaces) -> usize {
        places.line_number(self.raw.span.start)
    }

    pub(super) fn is_boundary(&self) -> bool {
        matches!(
            self.class,
            StatementClass::Begin(_) | StatementClass::Commit(_) | StatementClass::TransactionControl(_)
        )
    }

    pub(super) fn is_session(&self) -> bool {
        matches!(self.class, StatementClass::Session | StatementClass::DefaultModes(_))
    }

    pub(super) fn kind(&self) -> StatementKind {
        match &self.class {
            StatementClass::NonTransactional { kind, .. } => kind.clone(),
            StatementClass::Session | StatementClass::DefaultModes(_) => StatementKind::Session,
            StatementClass::Idempotent => StatementKind::Repeatable,
            StatementClass::Procedure => StatementKind::Opaque,
            _ => StatementKind::Transactional,
        }
    }

    /// Returns the statement's position, including its rows.
    pub(super) fn span(&self) -> Span {
        Span { start: self.raw.span.start, end: self.raw.data.map_or(self.raw.span.end, |data| data.end) }
    }
}
