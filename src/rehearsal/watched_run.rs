//! What a tool did on the copy: its statements as they passed, those of one form folded into one, each with its migration.

use super::{
    migration_changes::{SchemaAtEnds, affordable_descriptions},
    observation::{KnownState, ObservedStatement, TransactionEnd},
    relation_catalog::{RelationCatalog, read_catalog},
    session_probe::SessionProbe,
    statement_kind::StatementKindOnCopy,
    watched_ledger::{WatchedLedger, position_of_row},
    watched_migration::{WatchedMigration, WatchedStatement},
    watched_state::WatchedState,
};
use crate::{
    fault::Fault,
    postgres::{OwnQuery, RowTag, Rows, query_rows},
    proxy::{Exchange, SentStatement, SessionWatch, TransactionState},
    run::{MigrationChanges, MigrationId},
    schema::{SchemaDescription, description_query, description_query_by_function},
    sql::Phrase,
    tool::LedgerMoment,
};
use std::{collections::BTreeMap, time::Instant};
use tokio::sync::mpsc;
use tokio_postgres::Client;

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
    schema: SchemaAtEnds,
    /// The query for the schema.
    description: OwnQuery,
    /// Number of descriptions of the schema at the ends of migrations.
    descriptions: u32,
    /// The failure after which no statement came.
    failed: Option<FailedStatement>,
}

/// A statement after whose failure a tool gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStatement {
    /// Its text, or its form if the text may have values of rows.
    pub text: String,
    /// The server's error. Untrusted.
    pub error: String,
    /// Its migration, if that is known.
    pub migration: Option<MigrationId>,
}

/// The end of a run of a tool.
#[derive(Debug, Clone, Copy)]
pub enum WatchedEnd<'e> {
    /// All migrations were applied.
    Completed,
    /// It failed, in this migration if that is known.
    Failed(Option<&'e MigrationId>),
}

impl WatchedRun {
    /// Begins before the run, over a session with the copy.
    ///
    /// # Errors
    /// The server's error, or the lost connection; `schema-unknown`.
    pub async fn begin(client: &Client, ledger: WatchedLedger, pending: Vec<MigrationId>) -> Result<Self, Fault> {
        let first = read_catalog(client).await?;
        let began = Instant::now();
        let mut description = description_query_by_function();
        let mut rows = query_rows(client, &description).await;
        if rows.is_err() {
            description = description_query();
            rows = query_rows(client, &description).await;
        }
        let schema = SchemaDescription::from_rows(&rows?)?;
        let descriptions = affordable_descriptions(began.elapsed());
        Ok(Self {
            first,
            ledger,
            pending,
            sessions: BTreeMap::new(),
            transactions: 0,
            current: WatchedMigration::default(),
            migrations: Vec::new(),
            schema: SchemaAtEnds::new(schema),
            description,
            descriptions,
            failed: None,
        })
    }

    /// Returns the watch for the tool's sessions, and the receiver of what passes.
    #[must_use]
    pub fn watch(&self) -> (SessionWatch, mpsc::UnboundedReceiver<Exchange>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let probe = SessionProbe::new(self.ledger.clone(), self.description.to_string(), self.descriptions);
        (probe.watch(sender), receiver)
    }

    /// Takes what has passed up to an answer of the server.
    pub fn take(&mut self, exchange: &Exchange) {
        let first = &self.first;
        let state = self.sessions.entry(exchange.session).or_insert_with(|| WatchedState {
            known: KnownState { first: first.clone(), before: first.clone(), ..KnownState::default() },
            ..WatchedState::default()
        });
        if let Some(rows) = &exchange.before {
            let written = state.take_before(rows);
            state.since.drain().for_each(|(key, times)| self.current.add_wal(&key, written.of(times)));
        }
        let [before, after] = exchange.transaction;
        if before == TransactionState::Idle && after != TransactionState::Idle {
            self.transactions += 1;
            state.transaction = Some(self.transactions);
        }
        let transaction = state.transaction;
        let mut seen = state.observe(exchange);
        if after == TransactionState::Idle {
            state.transaction = None;
            let is_undone = before == TransactionState::Failed || exchange.statements.iter().any(rolls_back);
            let end = if is_undone { TransactionEnd::RolledBack } else { TransactionEnd::Committed };
            state.known.end_transaction(end);
        }
        let kind = exchange.statements.iter().map(|sent| StatementKindOnCopy::of(&sent.text)).max();
        let kind = kind.unwrap_or(StatementKindOnCopy::Control);
        if kind == StatementKindOnCopy::Rows
            && seen.error.is_none()
            && exchange.statements.iter().any(|sent| self.ledger.is_written_by(&sent.text))
        {
            self.take_ledger_row(exchange, &seen);
            return;
        }
        // A deferred constraint fails at the end of a transaction.
        if kind > StatementKindOnCopy::Control || seen.error.is_some() {
            let (text, times) = text_of(exchange);
            let form = state.form.of(&text);
            state.share_wal(&mut seen, (&form, transaction), kind, &mut self.current);
            let shown = if kind < StatementKindOnCopy::Schema { form.to_string() } else { text.clone() };
            let failed = |error: &String| FailedStatement { text: shown, error: error.clone(), migration: None };
            self.failed = seen.error.as_ref().map(failed);
            self.current.push(WatchedStatement { text, form, kind, times, transaction, seen });
        }
    }

    /// Returns the statements and what was seen of them, in their order.
    pub fn observed(&self) -> impl Iterator<Item = (&str, &ObservedStatement)> {
        let statements = self.migrations.iter().flat_map(|migration| &migration.statements);
        statements.map(|statement| (statement.text.as_str(), &statement.seen))
    }

    /// Ends the run: what belongs to no migration is the last.
    pub fn end(&mut self, end: WatchedEnd<'_>) {
        let mut current = std::mem::take(&mut self.current);
        if let WatchedEnd::Failed(migration) = end {
            let is_next =
                |id: &&MigrationId| self.failed.is_some() && self.pending.iter().all(|other| other.schema == id.schema);
            let next = || self.pending.first().filter(is_next);
            current.id = current.id.or_else(|| migration.or_else(next).cloned());
            self.failed.iter_mut().for_each(|failed| failed.migration.clone_from(&current.id));
        } else {
            self.failed = None;
            // The row of the last migration was written before its statements.
            current.id.iter().for_each(|ended| self.schema.end_migration(ended));
        }
        self.migrations.push(current);
    }

    /// Takes the schema after the run.
    pub fn take_last_schema(&mut self, schema: &SchemaDescription) {
        self.schema.take(schema.clone());
    }

    /// Returns the changes of the schema by the migrations.
    #[must_use]
    pub fn changes(&self) -> &[MigrationChanges] {
        self.schema.changes()
    }

    /// Returns the statement after whose failure the tool gave up.
    #[must_use]
    pub fn failed(&self) -> Option<&FailedStatement> {
        self.failed.as_ref()
    }

    /// Assigns the statements so far to the migration of this row, or those that follow.
    fn take_ledger_row(&mut self, exchange: &Exchange, seen: &ObservedStatement) {
        let schema = seen.held.iter().find(|lock| self.ledger.tables.contains(&lock.relation.name));
        let schema = schema.and_then(|lock| lock.relation.schema.clone());
        let Some(at) = position_of_row(&self.pending, &exchange.statements, schema.as_deref()) else { return };
        let id = self.pending.remove(at);
        let current = match self.ledger.moment {
            LedgerMoment::End => std::mem::take(&mut self.current).of(id),
            LedgerMoment::Start => std::mem::replace(&mut self.current, WatchedMigration::default().of(id)),
        };
        current.id.iter().for_each(|ended| self.schema.end_migration(ended));
        let is_described =
            |rows: &&Rows| !exchange.after_failed && rows.tagged(RowTag::SchemaStatement).next().is_some();
        let described = exchange.after.as_ref().filter(is_described);
        if let Some(schema) = described.and_then(|rows| SchemaDescription::from_rows(rows).ok()) {
            self.schema.take(schema);
        }
        if current.id.is_some() || !current.statements.is_empty() {
            self.migrations.push(current);
        }
    }
}

/// Returns whether a statement rolls back the transaction that ends with it.
fn rolls_back(sent: &SentStatement) -> bool {
    Phrase::new(&sent.text).eat_one_of(&["rollback", "abort"]).is_some()
}

/// Returns the text of the statements of a request, and their number if all have one text.
fn text_of(exchange: &Exchange) -> (String, u64) {
    let mut texts: Vec<&str> = exchange.statements.iter().map(|sent| sent.text.trim()).collect();
    let sent = texts.len() as u64 + exchange.further;
    texts.dedup();
    (texts.join(";\n"), if texts.len() == 1 { sent } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

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
                schema: SchemaAtEnds::new(SchemaDescription::default()),
                description: description_query(),
                descriptions: 0,
                failed: None,
            };
            for text in sent {
                let statements = vec![SentStatement { text, values: Vec::new() }];
                run.take(&Exchange { statements, ..Exchange::default() });
            }
            run.end(WatchedEnd::Completed);
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
}
