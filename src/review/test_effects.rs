//! Effects of statements for the tests of the review, written by hand.

use super::effect::{Certainty, LockDuration, LockMode, LockedRelation, RelationLock, StatementEffect};
use crate::sql::{QualifiedName, Span};

/// Returns a statement without any effect.
pub(crate) fn effect(summary: &str) -> StatementEffect {
    StatementEffect {
        span: Span { start: 0, end: summary.len() },
        summary: summary.to_owned(),
        locks: Vec::new(),
        work: Vec::new(),
        destroys: Vec::new(),
        creates: Vec::new(),
        certainty: Certainty::Known,
    }
}

/// Returns a lock to the end of the transaction.
pub(crate) fn locked(mode: LockMode, relation: LockedRelation) -> RelationLock {
    RelationLock { mode, relation, duration: LockDuration::Transaction }
}

/// Returns a name without a schema.
pub(crate) fn name(name: &str) -> QualifiedName {
    QualifiedName { schema: None, name: name.to_owned() }
}
