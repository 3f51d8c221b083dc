//! What a statement did on the copy.

use super::relation_catalog::{CatalogRelation, RelationCatalog, SessionTraces};
use crate::{review::LockMode, sql::QualifiedName};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What one script did on the copy: its statements in order, as far as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedScript {
    /// The statements.
    pub statements: Vec<ObservedStatement>,
}

/// What a statement did. Only relations that were there before the first migration are named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedStatement {
    /// Its position among the statements of the script.
    pub index: usize,
    /// Duration, as the client sees it.
    pub took: Duration,
    /// Number of rows that it returned or changed.
    pub rows: Option<u64>,
    /// Bytes of WAL that were written meanwhile.
    pub wal_bytes: Option<u64>,
    /// The locks that its transaction holds after it.
    pub held: Vec<ObservedLock>,
    /// The tables whose rows are in another file now.
    pub rewritten: BTreeSet<QualifiedName>,
    /// The indexes whose entries are in another file now.
    pub rebuilt: BTreeSet<QualifiedName>,
    /// The tables that have a new index.
    pub indexed: BTreeSet<QualifiedName>,
    /// The tables that were read from the first row to the last.
    pub scanned: BTreeSet<QualifiedName>,
    /// Messages of the server.
    pub notices: Vec<String>,
    /// The server's error, if it failed.
    pub error: Option<String>,
    /// Whether its locks could be seen.
    pub visibility: LockVisibility,
}

/// Returns the sum of two numbers, of which either may be unknown.
pub(super) fn sum_of_known(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(one, other)| one + other).or(one).or(other)
}

/// A lock on a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedLock {
    /// Its mode.
    pub mode: LockMode,
    /// The relation.
    pub relation: QualifiedName,
    /// Its relation's use.
    pub age: LockAge,
}

/// The statement that took a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockAge {
    /// This one.
    New,
    /// An earlier one of the transaction.
    Earlier,
}

/// Whether the locks of a statement could be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LockVisibility {
    /// Its transaction still held them, or the copy has reported them from within.
    #[default]
    Seen,
    /// It stood alone, so they were gone.
    Gone,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionEnd {
    /// Its changes stay.
    Committed,
    /// Its changes are gone.
    RolledBack,
}

/// The state with which the next statement is compared.
#[derive(Debug, Default)]
pub(super) struct KnownState {
    /// The relations before the first migration.
    pub(super) first: RelationCatalog,
    /// The relations before the statement.
    pub(super) before: RelationCatalog,
    /// The locks that the transaction holds already.
    pub(super) held: BTreeSet<(u32, LockMode)>,
    /// The scans that the session shows so far.
    pub(super) scans: BTreeMap<u32, u64>,
    /// The position in the WAL.
    pub(super) wal: Option<u64>,
    /// The relations as they were before the transaction, if it has changed them.
    pub(super) undo: BTreeMap<u32, Option<CatalogRelation>>,
}

impl KnownState {
    /// Adds the traces of a statement to its observation, and keeps them for the next one.
    pub(super) fn take_traces(&mut self, seen: &mut ObservedStatement, traces: SessionTraces) {
        seen.wal_bytes = traces.wal.zip(self.wal).map(|(now, before)| now.saturating_sub(before));
        self.take_locks_and_scans(seen, &traces);
        self.take_relations(seen, traces.relations);
        self.held.extend(traces.locks);
        (self.scans, self.wal) = (traces.scans, traces.wal);
    }

    /// Adds the locks and the scans of a statement to its observation.
    pub(super) fn take_locks_and_scans(&self, seen: &mut ObservedStatement, traces: &SessionTraces) {
        for (oid, mode) in &traces.locks {
            let Some(relation) = self.first.get(oid) else { continue };
            if relation.is_index() {
                continue;
            }
            let age = if self.held.contains(&(*oid, *mode)) { LockAge::Earlier } else { LockAge::New };
            seen.held.push(ObservedLock { mode: *mode, relation: relation.name.clone(), age });
        }
        let scanned = traces.scans.iter().filter(|(oid, count)| self.scans.get(oid).unwrap_or(&0) < *count);
        let scanned = scanned.filter_map(|(oid, _)| self.first.get(oid));
        seen.scanned = scanned.map(|relation| relation.name.clone()).collect();
    }

    /// Adds the relations that have changed to an observation.
    pub(super) fn take_relations(&mut self, seen: &mut ObservedStatement, now: RelationCatalog) {
        let files: BTreeSet<u32> =
            self.before.values().map(|relation| relation.file).filter(|file| *file > 0).collect();
        for (oid, relation) in &now {
            let old_table = relation.table.and_then(|table| self.first.get(&table));
            match self.before.get(oid) {
                // An index that is made anew for another type of its column may keep its file.
                None if relation.is_index() && files.contains(&relation.file) => {}
                None if relation.is_index() => seen.indexed.extend(old_table.map(|table| table.name.clone())),
                // A sequence gets a new file with its options, and has no rows to write.
                Some(before)
                    if before.file != relation.file && relation.kind != 'S' && self.first.contains_key(oid) =>
                {
                    let changed = if relation.is_index() { &mut seen.rebuilt } else { &mut seen.rewritten };
                    changed.insert(relation.name.clone());
                }
                None | Some(_) => {}
            }
        }
        for (oid, relation) in now {
            let old = self.before.insert(oid, relation.clone());
            if old.as_ref() != Some(&relation) {
                self.undo.entry(oid).or_insert(old);
            }
        }
    }

    /// Ends a transaction: its locks are gone, and if it was rolled back, its changes.
    pub(super) fn end_transaction(&mut self, end: TransactionEnd) {
        self.held.clear();
        self.scans.clear();
        let undo = std::mem::take(&mut self.undo);
        if end == TransactionEnd::RolledBack {
            for (oid, old) in undo {
                match old {
                    Some(old) => drop(self.before.insert(oid, old)),
                    None => drop(self.before.remove(&oid)),
                }
            }
        }
    }

    /// Begins a transaction with what the session shows before its first statement.
    pub(super) fn begin_transaction(&mut self, traces: SessionTraces) {
        self.held = traces.locks.into_iter().collect();
        (self.scans, self.wal) = (traces.scans, traces.wal);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::relation_catalog::CatalogRelation, *};

    fn name(text: &str) -> QualifiedName {
        QualifiedName { schema: Some("public".to_owned()), name: text.to_owned() }
    }

    fn relation(text: &str, kind: char, file: u32, table: Option<u32>) -> CatalogRelation {
        CatalogRelation { name: name(text), kind, file, table }
    }

    #[test]
    fn a_statement_is_compared_with_the_state_before_it() {
        let first: RelationCatalog =
            [(1, relation("t", 'r', 10, None)), (2, relation("t_key", 'i', 20, Some(1)))].into_iter().collect();
        let mut known = KnownState { before: first.clone(), first, wal: Some(100), ..KnownState::default() };
        let mut seen = ObservedStatement::default();
        let now = [
            (1, relation("t", 'r', 11, None)),
            (2, relation("t_key", 'i', 21, Some(1))),
            (3, relation("t_more", 'i', 30, Some(1))),
            (4, relation("new", 'r', 40, None)),
        ];
        let traces = SessionTraces {
            locks: vec![(1, LockMode::AccessExclusive), (2, LockMode::AccessExclusive), (4, LockMode::AccessExclusive)],
            relations: now.into_iter().collect(),
            scans: [(1, 1)].into_iter().collect(),
            wal: Some(350),
        };
        known.take_traces(&mut seen, traces.clone());
        let set = |text: &str| BTreeSet::from([name(text)]);
        assert_eq!((&seen.rewritten, &seen.rebuilt), (&set("t"), &set("t_key")));
        assert_eq!((&seen.indexed, &seen.scanned, seen.wal_bytes), (&set("t"), &set("t"), Some(250)));
        let lock = |age| ObservedLock { mode: LockMode::AccessExclusive, relation: name("t"), age };
        assert_eq!(seen.held, [lock(LockAge::New)]);

        let mut next = ObservedStatement::default();
        known.take_traces(&mut next, traces);
        assert_eq!(next.held, [lock(LockAge::Earlier)]);
        assert!(next.rewritten.is_empty() && next.scanned.is_empty() && next.indexed.is_empty());
        let begun = SessionTraces { scans: [(1, 4)].into_iter().collect(), ..SessionTraces::default() };
        known.begin_transaction(begun.clone());
        let mut first = ObservedStatement::default();
        known.take_traces(&mut first, begun);
        assert!(first.held.is_empty() && first.scanned.is_empty());
    }
}
