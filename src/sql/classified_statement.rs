//! A statement of a file, with its class.

use super::{execution::StatementKind, location::Source, span::Span, split::Raw, statement_class::Nature};
/// A statement and its class.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) raw: Raw,
    pub(crate) nature: Nature,
}

impl Read {
    /// Returns the name of the statement for a message.
    pub(crate) fn words(&self) -> &'static str {
        match self.nature {
            Nature::Alone { what, .. } | Nature::Boundary(what) | Nature::Commit(what) => what,
            Nature::Begin(_) => "BEGIN",
            Nature::Rows => "COPY … FROM STDIN",
            Nature::Modes(_) => "SET TRANSACTION",
            _ => "the statement",
        }
    }

    /// Returns the statement's line. It is counted from the start of the file, so call this only for the few statements in messages.
    pub(crate) fn line(&self, source: Source<'_>) -> usize {
        source.line(self.raw.span.start)
    }

    pub(super) fn is_boundary(&self) -> bool {
        matches!(self.nature, Nature::Begin(_) | Nature::Commit(_) | Nature::Boundary(_))
    }

    pub(super) fn is_session(&self) -> bool {
        matches!(self.nature, Nature::Session | Nature::Defaults(_))
    }

    pub(super) fn kind(&self) -> StatementKind {
        match &self.nature {
            Nature::Alone { kind, .. } => kind.clone(),
            Nature::Session | Nature::Defaults(_) => StatementKind::Session,
            Nature::Harmless => StatementKind::Repeatable,
            Nature::Procedure => StatementKind::Opaque,
            _ => StatementKind::Transactional,
        }
    }

    /// Returns the statement's position, including its rows.
    pub(super) fn span(&self) -> Span {
        Span { start: self.raw.span.start, end: self.raw.data.map_or(self.raw.span.end, |data| data.end) }
    }
}
