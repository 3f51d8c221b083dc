//! What a tool did on the copy: its statements as they passed, those of one form folded into one, each with its migration.

use super::{
    observation::{KnownState, LockVisibility, ObservedStatement, TransactionEnd, sum_of_known},
    relation_catalog::{RelationCatalog, parse_relations, parse_traces, read_catalog},
    session_probe::session_watch,
    statement_kind::StatementKindOnCopy,
};
use crate::{
    fault::Fault,
    postgres::Rows,
    proxy::{Exchange, SentStatement, SessionWatch, TransactionState},
    run::MigrationId,
    sql::{Phrase, statement_form},
    tool::LedgerMoment,
};
use std::collections::{BTreeMap, HashMap};
use tokio::sync::mpsc;
use tokio_postgres::Client;

/// The most forms of statements that are kept of one migration.
const MAX_FORMS: usize = 5_000;

/// The ledger of a tool, by which its statements are assigned to migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedLedger {
    /// The names of its tables, without their schemas.
    pub tables: Vec<String>,
    /// The moment at which it gets its rows.
    pub moment: LedgerMoment,
}

/// A statement of a tool, or all of one form.
#[derive(Debug, Clone)]
pub(super) struct WatchedStatement {
    /// The text of the first one.
    pub(super) text: String,
    pub(super) form: String,
    pub(super) kind: StatementKindOnCopy,
    /// Number of statements.
    pub(super) times: u64,
    /// The number of its transaction; none if it had one of its own.
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
    pub(super) omitted: u64,
}

/// The statements of a run of a tool.
#[derive(Debug)]
pub struct WatchedRun {
    first: RelationCatalog,
    ledger: WatchedLedger,
    pending: Vec<MigrationId>,
    sessions: BTreeMap<i32, WatchedState>,
    transactions: u64,
    current: WatchedMigration,
    pub(super) migrations: Vec<WatchedMigration>,
}

#[derive(Debug, Default)]
struct WatchedState {
    known: KnownState,
    transaction: Option<u64>,
    /// The last statement.
    last: Option<StatementKey>,
}

/// The form of a statement, and its transaction.
type StatementKey = (String, Option<u64>);

impl WatchedRun {
    /// Begins before the run, over a session with the copy.
    ///
    /// # Errors
    /// The server's error, or the lost connection.
    pub async fn begin(client: &Client, ledger: WatchedLedger, pending: Vec<MigrationId>) -> Result<Self, Fault> {
        let first = read_catalog(client).await?;
        Ok(Self {
            first,
            ledger,
            pending,
            sessions: BTreeMap::new(),
            transactions: 0,
            current: WatchedMigration::default(),
            migrations: Vec::new(),
        })
    }

    /// Returns the watch for the tool's sessions, and the receiver of what passes.
    #[must_use]
    pub fn watch() -> (SessionWatch, mpsc::UnboundedReceiver<Exchange>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (session_watch(sender), receiver)
    }

    /// Takes what has passed up to an answer of the server.
    pub fn take(&mut self, exchange: &Exchange) {
        let first = &self.first;
        let state = self.sessions.entry(exchange.session).or_insert_with(|| WatchedState {
            known: KnownState { first: first.clone(), before: first.clone(), ..KnownState::default() },
            transaction: None,
            last: None,
        });
        if let Some(rows) = &exchange.before {
            let written = state.take_before(rows);
            state.last.iter().for_each(|key| self.current.add_wal(key, written));
        }
        let [before, after] = exchange.transaction;
        if before == TransactionState::Idle && after != TransactionState::Idle {
            self.transactions += 1;
            state.transaction = Some(self.transactions);
        }
        let transaction = state.transaction;
        let seen = state.observe(exchange);
        if after == TransactionState::Idle {
            state.transaction = None;
            let is_undone = before == TransactionState::Failed || exchange.statements.iter().any(rolls_back);
            let end = if is_undone { TransactionEnd::RolledBack } else { TransactionEnd::Committed };
            state.known.end_transaction(end);
        }
        let text = exchange.statements.iter().map(|sent| sent.text.trim()).collect::<Vec<_>>().join(";\n");
        let kind = exchange.statements.iter().map(|sent| StatementKindOnCopy::of(&sent.text)).max();
        let kind = kind.unwrap_or(StatementKindOnCopy::Control);
        if kind == StatementKindOnCopy::Rows && self.writes_ledger(&exchange.statements) {
            self.take_ledger_row(&exchange.statements, &seen);
            return;
        }
        // A deferred constraint fails at the end of a transaction.
        if kind > StatementKindOnCopy::Control || seen.error.is_some() {
            let form = statement_form(&text);
            let state = self.sessions.get_mut(&exchange.session);
            state.into_iter().for_each(|state| state.last = Some((form.clone(), transaction)));
            self.current.push(WatchedStatement { text, form, kind, times: 1, transaction, seen });
        }
    }

    /// Returns the statements and what was seen of them, in their order.
    pub fn observed(&self) -> impl Iterator<Item = (&str, &ObservedStatement)> {
        let statements = self.migrations.iter().flat_map(|migration| &migration.statements);
        statements.map(|statement| (statement.text.as_str(), &statement.seen))
    }

    /// Ends the run: what belongs to no migration is the last.
    pub fn end(&mut self) {
        let current = std::mem::take(&mut self.current);
        self.migrations.push(current);
    }

    fn writes_ledger(&self, statements: &[SentStatement]) -> bool {
        statements.iter().any(|sent| {
            let start: String = sent.text.chars().take(200).collect();
            self.ledger.tables.iter().any(|table| start.contains(table.as_str()))
        })
    }

    /// Assigns the statements so far to the migration of this row, or those that follow.
    fn take_ledger_row(&mut self, statements: &[SentStatement], seen: &ObservedStatement) {
        let schema = seen.held.iter().find(|lock| self.ledger.tables.contains(&lock.relation.name));
        let schema = schema.and_then(|lock| lock.relation.schema.clone());
        let names: Vec<String> = statements.iter().flat_map(constants_of).collect();
        let Some(at) = self.pending.iter().position(|id| is_row_of(id, &names, schema.as_deref())) else { return };
        let id = self.pending.remove(at);
        let current = match self.ledger.moment {
            LedgerMoment::End => WatchedMigration { id: Some(id), ..std::mem::take(&mut self.current) },
            LedgerMoment::Start => {
                std::mem::replace(&mut self.current, WatchedMigration { id: Some(id), ..WatchedMigration::default() })
            }
        };
        if current.id.is_some() || !current.statements.is_empty() {
            self.migrations.push(current);
        }
    }
}

impl WatchedState {
    /// Takes the state before a request. Returns what the last one has written since it was looked at.
    fn take_before(&mut self, rows: &Rows) -> u64 {
        let traces = parse_traces(rows);
        let written = traces.wal.zip(self.known.wal).map(|(now, before)| now.saturating_sub(before));
        if traces.is_wal_alone() {
            self.known.wal = traces.wal;
        } else {
            self.known.begin_transaction(traces);
        }
        written.unwrap_or_default()
    }

    /// Returns what was seen of an exchange.
    fn observe(&mut self, exchange: &Exchange) -> ObservedStatement {
        let is_alone = exchange.transaction[1] == TransactionState::Idle;
        let mut seen = ObservedStatement {
            took: exchange.took,
            rows: exchange.rows,
            notices: exchange.notices.clone(),
            error: exchange.error.clone(),
            visibility: if is_alone { LockVisibility::Gone } else { LockVisibility::Seen },
            ..ObservedStatement::default()
        };
        if let Some(rows) = &exchange.after {
            self.take_rows(&mut seen, rows);
        }
        seen
    }

    fn take_rows(&mut self, seen: &mut ObservedStatement, rows: &Rows) {
        let traces = parse_traces(rows);
        match (traces.wal, seen.visibility) {
            (None, _) => self.known.take_relations(seen, parse_relations(rows)),
            (Some(_), LockVisibility::Seen) if !traces.is_wal_alone() => {
                self.known.take_traces(seen, traces);
            }
            (Some(now), _) => seen.wal_bytes = self.known.wal.replace(now).map(|before| now.saturating_sub(before)),
        }
    }
}

impl WatchedMigration {
    /// Adds bytes of WAL to a statement, if it is one of these.
    fn add_wal(&mut self, key: &StatementKey, bytes: u64) {
        let known = self.forms.get(key).and_then(|at| self.statements.get_mut(*at));
        if let Some(statement) = known.filter(|_| bytes > 0) {
            *statement.seen.wal_bytes.get_or_insert_default() += bytes;
        }
    }

    /// Adds a statement, or counts it as one more of its form.
    fn push(&mut self, statement: WatchedStatement) {
        let key = (statement.form.clone(), statement.transaction);
        if let Some(known) = self.forms.get(&key).and_then(|at| self.statements.get_mut(*at)) {
            known.add(statement);
        } else if self.statements.len() < MAX_FORMS {
            self.forms.insert(key, self.statements.len());
            self.statements.push(statement);
        } else {
            self.omitted += 1;
        }
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

/// Returns whether a statement rolls back the transaction that ends with it.
fn rolls_back(sent: &SentStatement) -> bool {
    Phrase::new(&sent.text).eat_one_of(&["rollback", "abort"]).is_some()
}

/// Returns the constants in a statement, and the values of its parameters.
fn constants_of(sent: &SentStatement) -> Vec<String> {
    let quoted = sent.text.split('\'').skip(1).step_by(2).map(str::to_owned);
    quoted.chain(sent.values.iter().cloned()).collect()
}

/// Returns whether a ledger's row with these values is that of a migration. A name may be in two columns, as app and name.
fn is_row_of(id: &MigrationId, values: &[String], schema: Option<&str>) -> bool {
    let has = |text: &str| values.iter().any(|value| value == text);
    let is_split = |sign: char| id.name.split_once(sign).is_some_and(|(one, other)| has(one) && has(other));
    let is_schema = schema.is_none_or(|schema| id.schema.is_empty() || id.schema == schema);
    is_schema && (has(&id.name) || is_split('.') || is_split(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_ledger_names_its_migration_in_one_column_or_two() {
        let id = |name: &str, schema: &str| MigrationId {
            name: name.to_owned(),
            schema: schema.to_owned(),
            ..MigrationId::default()
        };
        let sent = SentStatement {
            text: "INSERT INTO \"django_migrations\" (\"app\", \"name\") VALUES ('shop', '0002_more')".to_owned(),
            values: vec!["ae10".to_owned()],
        };
        let values = constants_of(&sent);
        assert!(is_row_of(&id("shop.0002_more", ""), &values, None) && is_row_of(&id("ae10", ""), &values, None));
        assert!(!is_row_of(&id("shop.0003_else", ""), &values, None));
        assert!(is_row_of(&id("shop.0002_more", "t1"), &values, Some("t1")));
        assert!(!is_row_of(&id("shop.0002_more", "t1"), &values, Some("t2")));
    }

    #[test]
    fn a_statement_belongs_to_the_migration_whose_row_is_written_before_or_behind_it() {
        let id = |name: &str| MigrationId { name: name.to_owned(), ..MigrationId::default() };
        let row = |name: &str| format!("insert into ledger values ('{name}')");
        let [one, two] = ["create table one ()", "create table two ()"].map(str::to_owned);
        for (moment, sent) in [
            (LedgerMoment::Start, [row("0001"), one.clone(), row("0002"), two.clone()]),
            (LedgerMoment::End, [one.clone(), row("0001"), two.clone(), row("0002")]),
        ] {
            let mut run = WatchedRun {
                first: RelationCatalog::default(),
                ledger: WatchedLedger { tables: vec!["ledger".to_owned()], moment },
                pending: vec![id("0001"), id("0002")],
                sessions: BTreeMap::new(),
                transactions: 0,
                current: WatchedMigration::default(),
                migrations: Vec::new(),
            };
            for text in sent {
                let statements = vec![SentStatement { text, values: Vec::new() }];
                run.take(&Exchange { statements, ..Exchange::default() });
            }
            run.end();
            let seen: Vec<(&str, &str)> = run
                .migrations
                .iter()
                .flat_map(|migration| {
                    let name = migration.id.as_ref().map_or("", |id| id.name.as_str());
                    migration.statements.iter().map(move |statement| (name, statement.text.as_str()))
                })
                .collect();
            assert_eq!(seen, [("0001", one.as_str()), ("0002", two.as_str())], "{moment:?}");
        }
    }

    #[test]
    fn the_statements_of_a_loop_are_one() {
        let mut migration = WatchedMigration::default();
        for id in 0..200_000_u64 {
            let seen = ObservedStatement { rows: Some(1), wal_bytes: Some(10), ..ObservedStatement::default() };
            let (text, form) = (format!("update t set a = {id}"), "update t set a = $".to_owned());
            let kind = StatementKindOnCopy::Rows;
            migration.push(WatchedStatement { text, form, kind, times: 1, transaction: Some(1), seen });
        }
        let [all] = migration.statements.as_slice() else { panic!("{}", migration.statements.len()) };
        assert_eq!((all.times, all.seen.rows, all.seen.wal_bytes), (200_000, Some(200_000), Some(2_000_000)));
        assert_eq!(all.text, "update t set a = 0");
    }
}
