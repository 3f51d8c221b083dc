//! The state of a tool's session with which its next statement is compared.

use super::{
    loop_form::LoopForm,
    observation::{KnownState, LockVisibility, ObservedStatement},
    relation_catalog::{parse_relations, parse_traces},
    statement_kind::StatementKindOnCopy,
    watched_migration::{StatementKey, WatchedMigration},
};
use crate::{
    postgres::Rows,
    proxy::{Exchange, TransactionState},
};
use std::{collections::HashMap, sync::Arc};

/// The state of a session.
#[derive(Debug, Default)]
pub(super) struct WatchedState {
    pub(super) known: KnownState,
    pub(super) transaction: Option<u64>,
    /// The form of the last statement.
    pub(super) form: LoopForm,
    /// The statements since the position in the WAL was known, with their numbers.
    pub(super) since: HashMap<StatementKey, u64>,
}

/// Bytes of WAL, and the number of statements that wrote them.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenWal {
    bytes: u64,
    statements: u64,
}

impl WrittenWal {
    /// Returns the share of some of the statements: which of them wrote how much is not known.
    pub(super) fn of(self, statements: u64) -> u64 {
        self.bytes.saturating_mul(statements) / self.statements.max(1)
    }
}

impl WatchedState {
    /// Takes the state before a request. Returns what was written since the last look.
    pub(super) fn take_before(&mut self, rows: &Rows) -> WrittenWal {
        let traces = parse_traces(rows);
        let written = self.written_until(traces.wal);
        if traces.is_wal_alone() {
            self.known.wal = traces.wal;
        } else {
            self.known.begin_transaction(traces);
        }
        written
    }

    fn written_until(&self, now: Option<u64>) -> WrittenWal {
        let bytes = now.zip(self.known.wal).map(|(now, before)| now.saturating_sub(before));
        WrittenWal { bytes: bytes.unwrap_or_default(), statements: self.since.values().sum() }
    }

    /// Divides what was written since the last look among the statements since then: which of them wrote how much is not known.
    /// A statement after which nobody looked waits for the next look.
    pub(super) fn share_wal(
        &mut self,
        seen: &mut ObservedStatement,
        (form, transaction): (&Arc<str>, Option<u64>),
        kind: StatementKindOnCopy,
        current: &mut WatchedMigration,
    ) {
        match seen.wal_bytes {
            None if kind == StatementKindOnCopy::Rows => {
                *self.since.entry((Arc::clone(form), transaction)).or_default() += 1;
            }
            None => {}
            Some(bytes) if self.since.is_empty() => seen.wal_bytes = Some(bytes),
            Some(bytes) => {
                let written = WrittenWal { bytes, statements: 1 + self.since.values().sum::<u64>() };
                self.since.drain().for_each(|(key, times)| current.add_wal(&key, written.of(times)));
                seen.wal_bytes = Some(written.of(1));
            }
        }
    }

    /// Returns what was seen of an exchange.
    pub(super) fn observe(&mut self, exchange: &Exchange) -> ObservedStatement {
        let is_alone = exchange.transaction[1] == TransactionState::Idle;
        let mut seen = ObservedStatement {
            took: exchange.took,
            rows: exchange.rows,
            notices: exchange.notices.clone(),
            error: exchange.error.clone(),
            visibility: if is_alone { LockVisibility::Gone } else { LockVisibility::Seen },
            ..ObservedStatement::default()
        };
        let reported = exchange.reported.as_ref().filter(|_| is_alone).map(parse_traces).unwrap_or_default();
        // What runs concurrently has several transactions, the last of which holds nothing.
        if !reported.locks.is_empty() {
            seen.visibility = LockVisibility::Seen;
            self.known.take_locks_and_scans(&mut seen, &reported);
        }
        if let Some(rows) = &exchange.after {
            self.take_rows(&mut seen, rows, exchange.transaction[1]);
        }
        seen
    }

    fn take_rows(&mut self, seen: &mut ObservedStatement, rows: &Rows, transaction: TransactionState) {
        let traces = parse_traces(rows);
        if transaction != TransactionState::Idle && !traces.is_wal_alone() {
            self.known.take_traces(seen, traces);
            return;
        }
        let before = std::mem::replace(&mut self.known.wal, traces.wal);
        seen.wal_bytes = traces.wal.zip(before).map(|(now, before)| now.saturating_sub(before));
        if !traces.is_wal_alone() {
            self.known.take_relations(seen, parse_relations(rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::watched_migration::WatchedStatement, *};

    #[test]
    fn what_was_written_between_two_looks_is_divided_among_the_statements() {
        let (mut state, mut migration) = (WatchedState::default(), WatchedMigration::default());
        let mut pass = |form: &str, wal_bytes| {
            let (form, kind): (Arc<str>, _) = (form.into(), StatementKindOnCopy::Rows);
            let mut seen = ObservedStatement { wal_bytes, ..ObservedStatement::default() };
            state.share_wal(&mut seen, (&form, Some(1)), kind, &mut migration);
            let (text, times, transaction) = (form.to_string(), 1, Some(1));
            migration.push(WatchedStatement { text, form, kind, times, transaction, seen });
        };
        pass("update", Some(50));
        (0..3).for_each(|_| pass("update", None));
        (0..2).for_each(|_| pass("insert", None));
        pass("delete", Some(600));
        let written: Vec<_> = migration.statements.iter().map(|statement| statement.seen.wal_bytes).collect();
        assert_eq!(written, [Some(50 + 300), Some(200), Some(100)]);
    }
}
