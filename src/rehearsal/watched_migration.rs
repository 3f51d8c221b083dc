//! The statements of one migration of a tool, those of one form folded into one.

use super::{
    observation::{ObservedStatement, sum_of_known},
    statement_kind::StatementKindOnCopy,
};
use crate::run::MigrationId;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// The most forms of statements that are kept of one migration.
const MAX_FORMS: usize = 5_000;

/// A statement of a tool, or all of one form.
#[derive(Debug, Clone)]
pub(super) struct WatchedStatement {
    /// The text of the first one.
    pub(super) text: String,
    pub(super) form: Arc<str>,
    pub(super) kind: StatementKindOnCopy,
    /// Number of statements.
    pub(super) times: u64,
    /// The number of its transaction; none if it had one of its own, or if they had several.
    pub(super) transaction: Option<u64>,
    /// What was seen of all of them.
    pub(super) seen: ObservedStatement,
}

/// The statements of one migration.
#[derive(Debug, Default)]
pub(super) struct WatchedMigration {
    /// The migration; none for the rest of the run.
    pub(super) id: Option<MigrationId>,
    pub(super) statements: Vec<WatchedStatement>,
    forms: HashMap<StatementKey, usize>,
    /// The last statement of each form about rows.
    loops: HashMap<Arc<str>, usize>,
    /// The transactions that have changed the schema.
    schema_transactions: HashSet<u64>,
    pub(super) omitted: u64,
}

/// The form of a statement, and its transaction.
pub(super) type StatementKey = (Arc<str>, Option<u64>);

impl WatchedMigration {
    /// Returns the statements as those of this migration.
    pub(super) fn of(self, id: MigrationId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// Adds bytes of WAL to a statement, if it is one of these.
    pub(super) fn add_wal(&mut self, key: &StatementKey, bytes: u64) {
        let known = self.forms.get(key).or_else(|| self.forms.get(&(Arc::clone(&key.0), None)));
        let statement = known.and_then(|at| self.statements.get_mut(*at));
        if let Some(statement) = statement.filter(|_| bytes > 0) {
            *statement.seen.wal_bytes.get_or_insert_default() += bytes;
        }
    }

    /// Adds a statement, or counts it as one more of its form.
    pub(super) fn push(&mut self, statement: WatchedStatement) {
        if statement.kind == StatementKindOnCopy::Schema {
            self.schema_transactions.extend(statement.transaction);
        }
        let key = self.key_of(&statement);
        if let Some(known) = self.forms.get(&key).and_then(|at| self.statements.get_mut(*at)) {
            known.add(statement);
        } else if self.statements.len() < MAX_FORMS {
            if statement.kind < StatementKindOnCopy::Schema {
                self.loops.insert(Arc::clone(&key.0), self.statements.len());
            }
            self.forms.insert(key, self.statements.len());
            self.statements.push(statement);
        } else {
            self.omitted += 1;
        }
    }

    /// Returns the key of a statement. A loop may have a transaction for each turn: its statements share a key, unless their
    /// transaction has changed the schema, whose locks it holds meanwhile.
    fn key_of(&mut self, statement: &WatchedStatement) -> StatementKey {
        let own = (Arc::clone(&statement.form), statement.transaction);
        let is_of_schema =
            statement.kind == StatementKindOnCopy::Schema || self.has_changed_schema(statement.transaction);
        if is_of_schema || self.forms.contains_key(&own) {
            return own;
        }
        let shared = (Arc::clone(&statement.form), None);
        if self.forms.contains_key(&shared) {
            return shared;
        }
        let last = self.loops.get(&statement.form).copied();
        let is_free = |last: &WatchedStatement| !self.has_changed_schema(last.transaction);
        let Some(at) = last.filter(|at| self.statements.get(*at).is_some_and(is_free)) else { return own };
        self.statements.get_mut(at).into_iter().for_each(|last| last.transaction = None);
        self.forms.insert(shared.clone(), at);
        shared
    }

    fn has_changed_schema(&self, transaction: Option<u64>) -> bool {
        transaction.is_some_and(|one| self.schema_transactions.contains(&one))
    }
}

impl WatchedStatement {
    fn add(&mut self, other: Self) {
        self.times += other.times;
        let (seen, more) = (&mut self.seen, other.seen);
        seen.took += more.took;
        seen.rows = sum_of_known(seen.rows, more.rows);
        seen.wal_bytes = sum_of_known(seen.wal_bytes, more.wal_bytes);
        for lock in more.held {
            if !seen.held.iter().any(|held| held.mode == lock.mode && held.relation == lock.relation) {
                seen.held.push(lock);
            }
        }
        seen.rewritten.extend(more.rewritten);
        seen.rebuilt.extend(more.rebuilt);
        seen.indexed.extend(more.indexed);
        seen.scanned.extend(more.scanned);
        seen.error = seen.error.take().or(more.error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(text: &str, kind: StatementKindOnCopy, transaction: u64) -> WatchedStatement {
        let seen = ObservedStatement { rows: Some(1), ..ObservedStatement::default() };
        let (text, form) = (text.to_owned(), Arc::from(text));
        WatchedStatement { text, form, kind, times: 1, transaction: Some(transaction), seen }
    }

    #[test]
    fn a_loop_with_a_transaction_for_each_turn_is_one_entry_and_a_change_of_the_schema_keeps_its_own() {
        let mut migration = WatchedMigration::default();
        let (rows, schema) = (StatementKindOnCopy::Rows, StatementKindOnCopy::Schema);
        migration.push(sent("alter table t add a int", schema, 1));
        migration.push(sent("update t", rows, 1));
        for turn in 2..=20_000 {
            migration.push(sent("update t", rows, turn));
            migration.push(sent("insert into u", rows, turn));
            migration.add_wal(&(Arc::from("update t"), Some(turn)), 10);
        }
        migration.push(sent("alter table t add b int", schema, 20_001));
        migration.push(sent("update t", rows, 20_001));
        let all = migration.statements.iter();
        let all = all.map(|one| (one.text.as_str(), one.times, one.transaction, one.seen.wal_bytes));
        assert_eq!(
            all.collect::<Vec<_>>(),
            [
                ("alter table t add a int", 1, Some(1), None),
                ("update t", 1, Some(1), None),
                ("update t", 19_999, None, Some(199_990)),
                ("insert into u", 19_999, None, None),
                ("alter table t add b int", 1, Some(20_001), None),
                ("update t", 1, Some(20_001), None),
            ]
        );
    }

    #[test]
    fn the_statements_of_a_loop_are_one() {
        let mut migration = WatchedMigration::default();
        for id in 0..200_000_u64 {
            let seen = ObservedStatement { rows: Some(1), wal_bytes: Some(10), ..ObservedStatement::default() };
            let (text, form) = (format!("update t set a = {id}"), Arc::from("update t set a = $"));
            let kind = StatementKindOnCopy::Rows;
            migration.push(WatchedStatement { text, form, kind, times: 1, transaction: Some(1), seen });
        }
        let [all] = migration.statements.as_slice() else { panic!("{}", migration.statements.len()) };
        assert_eq!((all.times, all.seen.rows, all.seen.wal_bytes), (200_000, Some(200_000), Some(2_000_000)));
        assert_eq!(all.text, "update t set a = 0");
    }
}
