//! The progress of a run: how many migrations are sent, committed and durable.

use super::transaction::{Commit, FLUSH, rollback_sql};
use crate::postgres::SessionDefaults;
use std::cell::Cell;

/// The progress of a run. Migrations are sent, committed and flushed in order, so three numbers describe it.
#[derive(Debug, Default)]
pub struct CommitProgress {
    /// Number of migrations that no crash of the server can undo.
    pub durable: Cell<usize>,
    /// Number of migrations known to be committed; a crash of the server can lose those that are not flushed.
    pub committed: Cell<usize>,
    /// Number of migrations sent; the outcome of those that are not known to be committed is open.
    pub sent: Cell<usize>,
    /// The transaction id of the first of those, once the server has returned it.
    pub xid: Cell<Option<u64>>,
}

impl CommitProgress {
    /// Records that one more migration is committed.
    pub(super) fn record_commit(&self, commit: Commit) {
        self.committed.set(self.committed.get() + 1);
        if commit == Commit::Flushed {
            self.durable.set(self.committed.get());
        }
    }

    /// Leaves out the migrations before this one that are not committed: none of them will be sent again.
    pub fn skip_to(&self, index: usize) {
        self.durable.set(index);
        self.committed.set(index);
        self.sent.set(index);
    }

    /// Returns the SQL that leaves a failed transaction block; it also flushes earlier commits if they are not flushed.
    #[must_use]
    pub fn rollback_sql(&self, defaults: &SessionDefaults) -> String {
        let rollback = rollback_sql(defaults);
        if self.durable.get() < self.committed.get() { format!("{rollback}; {FLUSH}") } else { rollback }
    }

    /// Records that this rollback succeeded: every commit before it is flushed.
    pub fn record_rollback(&self) {
        self.durable.set(self.committed.get());
    }
}
