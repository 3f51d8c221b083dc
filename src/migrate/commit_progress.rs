//! How far applying got: what is sent, what is committed, and what no crash can undo.

use super::transaction::{Commit, ROLLBACK, ROLLBACK_AND_FLUSH};
use std::cell::Cell;

/// How far applying got. Migrations are sent in order, committed in order and flushed in order, so three numbers say it all.
#[derive(Debug, Default)]
pub struct Tally {
    /// So many can't be lost any more.
    pub flushed: Cell<usize>,
    /// So many are known to be committed; a server that crashes can forget those that are not flushed.
    pub applied: Cell<usize>,
    /// So many were sent; what lies between is unknown until it is answered.
    pub sent: Cell<usize>,
    /// The transaction of the first of those, once the server named it.
    pub xid: Cell<Option<u64>>,
}

impl Tally {
    /// One more is committed.
    pub(super) fn committed(&self, commit: Commit) {
        self.applied.set(self.applied.get() + 1);
        if commit == Commit::Flushed {
            self.flushed.set(self.applied.get());
        }
    }

    /// What leaves a block after the work went wrong.
    #[must_use]
    pub fn rollback_sql(&self) -> &'static str {
        if self.flushed.get() < self.applied.get() { ROLLBACK_AND_FLUSH } else { ROLLBACK }
    }

    /// Such a rollback was answered.
    pub fn rolled_back(&self) {
        self.flushed.set(self.applied.get());
    }
}
