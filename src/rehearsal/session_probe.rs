//! The queries that are put into a tool's session on the copy, so that its work is seen from inside of its transaction: nobody
//! else sees what is not committed.

use super::{
    lock_report::{no_report_sql, report_sql},
    relation_catalog::{catalog_sql, traces_sql, wal_sql},
    statement_kind::StatementKindOnCopy,
    watched_ledger::WatchedLedger,
};
use crate::proxy::{BACK_TO_SAVEPOINT, Exchange, ProbeMoment, SAVEPOINT, SessionWatch, TransactionState};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// Number of statements of one form, in a session, after which the locks are looked at: later ones take the same.
const LOOKS_FOR_A_FORM: u32 = 2;

/// One of so many later statements of a form is followed by a query: a session that ends within a loop leaves the WAL of
/// fewer than these unknown.
const SAMPLE: u32 = 256;

/// The most characters by which a loop is known.
const MAX_ROUGH: usize = 200;

/// The most forms of a session that are remembered.
const MAX_FORMS: usize = 10_000;

/// What was seen of a session so far.
#[derive(Debug, Default)]
struct SessionLooks {
    /// The number of statements by their rough forms.
    forms: HashMap<String, u32>,
    /// The rough form of the last statement.
    last: String,
    /// Whether a query of ours has run in the open transaction.
    in_transaction: bool,
    /// Whether a position in the WAL is known.
    is_known: bool,
    /// Number of statements since the last query of ours.
    unseen: u32,
}

/// The queries of ours, and what was seen of all sessions.
#[derive(Debug)]
pub(super) struct SessionProbe {
    /// By the pids of their backends.
    sessions: BTreeMap<i32, SessionLooks>,
    ledger: WatchedLedger,
    /// The query for the schema.
    description: String,
    /// Number of descriptions of the schema that may still be read.
    descriptions: u32,
}

impl SessionProbe {
    /// Begins before the first session. At the rows of the ledger, up to this number of descriptions of the schema are read.
    pub(super) fn new(ledger: WatchedLedger, description: String, descriptions: u32) -> Self {
        Self { sessions: BTreeMap::new(), ledger, description, descriptions }
    }

    /// Returns the watch over a tool's sessions; the exchanges go to the sender.
    pub(super) fn watch(self, exchanges: mpsc::UnboundedSender<Exchange>) -> SessionWatch {
        let state = Mutex::new(self);
        let probe = move |moment: ProbeMoment<'_>| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match moment {
                ProbeMoment::Before { session, text, transaction } => state.before(session, text, transaction),
                ProbeMoment::After(exchange) => state.after(exchange),
            }
        };
        SessionWatch::new(probe, exchanges)
    }

    /// Returns the query for the state with which the first statement of a transaction is compared, or for what a loop has
    /// written until its end. A transaction must not have a snapshot before a statement that sets its isolation.
    fn before(&mut self, session: i32, text: &str, transaction: TransactionState) -> Option<String> {
        let is_of_ledger = self.ledger.is_written_by(text);
        let looks = self.sessions.entry(session).or_default();
        let goes_on = looks.is_known && !is_of_ledger && looks.is_of_loop(text);
        let kind = StatementKindOnCopy::of(text);
        if goes_on || kind == StatementKindOnCopy::Control || transaction == TransactionState::Failed {
            return None;
        }
        let is_new = !std::mem::replace(&mut looks.is_known, true);
        let unseen = std::mem::take(&mut looks.unseen);
        if transaction == TransactionState::Open && !looks.in_transaction {
            looks.in_transaction = true;
            return Some(format!("{}; {}", no_report_sql(), traces_sql()));
        }
        if transaction == TransactionState::Idle && kind == StatementKindOnCopy::Schema {
            // Each time, as the tool may reset its session.
            return Some(format!("{}; {}", report_sql(), wal_sql()));
        }
        (is_new || unseen > 0).then(wal_sql)
    }

    fn after(&mut self, exchange: &Exchange) -> Option<String> {
        let looks = self.sessions.entry(exchange.session).or_default();
        let [_, after] = exchange.transaction;
        if after == TransactionState::Idle {
            // The numbers of scans that the next transaction begins with may be others.
            looks.in_transaction = false;
        }
        if after == TransactionState::Failed || (exchange.error.is_some() && after == TransactionState::Open) {
            return None;
        }
        let is_open = after == TransactionState::Open;
        if self.ledger.gets_row(&exchange.statements) {
            looks.unseen = 0;
            return Some(self.at_ledger_row(after));
        }
        let kinds = exchange.statements.iter().map(|sent| StatementKindOnCopy::of(&sent.text));
        match kinds.max()? {
            StatementKindOnCopy::Control => None,
            StatementKindOnCopy::Schema => {
                looks.unseen = 0;
                Some(if is_open { traces_sql() } else { format!("{}; {}", catalog_sql(), wal_sql()) })
            }
            StatementKindOnCopy::Rows | StatementKindOnCopy::Read => looks.after_rows(exchange),
        }
    }

    /// Returns the query after a row of the ledger: the locks show its schema, and the migration has ended or begins.
    fn at_ledger_row(&mut self, transaction: TransactionState) -> String {
        let looks = if transaction == TransactionState::Open { traces_sql() } else { wal_sql() };
        if self.descriptions == 0 {
            return looks;
        }
        self.descriptions -= 1;
        let description = &self.description;
        match transaction {
            TransactionState::Open => format!("{looks}; SAVEPOINT {SAVEPOINT}; {description}; {BACK_TO_SAVEPOINT}"),
            TransactionState::Idle | TransactionState::Failed => format!("{looks}; {description}"),
        }
    }
}

impl SessionLooks {
    /// Returns whether a statement has a form of which enough were looked at.
    fn is_of_loop(&self, text: &str) -> bool {
        let is_frequent = |form: &str| self.forms.get(form).is_some_and(|times| *times >= LOOKS_FOR_A_FORM);
        if has_rough_form(text, &self.last) { is_frequent(&self.last) } else { is_frequent(rough_form(text)) }
    }

    /// Returns the query after a statement about rows: the first ones of a form show all, and of the others only some are
    /// followed by a query, whose answer is about all since the last one.
    fn after_rows(&mut self, exchange: &Exchange) -> Option<String> {
        let text = exchange.statements.first().map(|sent| sent.text.as_str()).unwrap_or_default();
        if !has_rough_form(text, &self.last) {
            rough_form(text).clone_into(&mut self.last);
        }
        let times = self.count_one_more();
        let is_open = exchange.transaction[1] == TransactionState::Open;
        let only_reads =
            || exchange.statements.iter().all(|sent| StatementKindOnCopy::of(&sent.text) <= StatementKindOnCopy::Read);
        if times > LOOKS_FOR_A_FORM && !times.is_multiple_of(SAMPLE) || !is_open && only_reads() {
            self.unseen = self.unseen.saturating_add(1);
            return None;
        }
        self.unseen = 0;
        Some(if times <= LOOKS_FOR_A_FORM && is_open { traces_sql() } else { wal_sql() })
    }

    /// Returns the number of statements of the last form; of one that there is no room for, that of one to look at.
    fn count_one_more(&mut self) -> u32 {
        if let Some(times) = self.forms.get_mut(&self.last) {
            *times = times.saturating_add(1);
            return *times;
        }
        if self.forms.len() >= MAX_FORMS {
            return SAMPLE;
        }
        self.forms.insert(self.last.clone(), 1);
        1
    }
}

/// Returns the beginning of a statement up to its first constant: enough to know a loop, and quicker than its form.
fn rough_form(text: &str) -> &str {
    let end = text.bytes().take(MAX_ROUGH).position(is_of_constant).unwrap_or(text.len().min(MAX_ROUGH));
    text.get(..text.floor_char_boundary(end)).unwrap_or_default()
}

/// Returns whether this is the rough form of a statement.
fn has_rough_form(text: &str, form: &str) -> bool {
    let rest = text.strip_prefix(form);
    rest.is_some_and(|rest| {
        !form.is_empty()
            && (rest.is_empty() || form.len() >= MAX_ROUGH - 3 || rest.bytes().next().is_some_and(is_of_constant))
    })
}

fn is_of_constant(byte: u8) -> bool {
    byte == b'\'' || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{proxy::SentStatement, tool::LedgerMoment};

    const DESCRIPTION: &str = "SELECT * FROM described";

    fn exchange(text: &str, transaction: [TransactionState; 2]) -> Exchange {
        let statements = vec![SentStatement { text: text.to_owned(), values: Vec::new() }];
        Exchange { session: 7, statements, transaction, ..Exchange::default() }
    }

    fn watching(descriptions: u32) -> SessionProbe {
        let ledger = WatchedLedger { tables: vec!["ledger".to_owned()], moment: LedgerMoment::End };
        SessionProbe::new(ledger, DESCRIPTION.to_owned(), descriptions)
    }

    #[test]
    fn a_transaction_is_looked_at_before_its_first_statement_and_not_before_its_isolation() {
        let mut state = watching(0);
        let open = TransactionState::Open;
        assert_eq!(state.before(7, "set transaction isolation level serializable", open), None);
        let first = Some(format!("{}; {}", no_report_sql(), traces_sql()));
        assert_eq!(state.before(7, "alter table t add a int", open), first);
        assert_eq!(state.before(7, "alter table t add b int", open), None);
        assert_eq!(state.after(&exchange("commit", [open, TransactionState::Idle])), None);
        assert_eq!(state.before(7, "alter table t add c int", open), first);
        let alone = format!("{}; {}", report_sql(), wal_sql());
        assert_eq!(state.before(7, "alter table t add d int", TransactionState::Idle), Some(alone));
    }

    /// Passes a statement, and returns the queries before and after it.
    fn pass(state: &mut SessionProbe, text: &str, transaction: TransactionState) -> [Option<String>; 2] {
        let before = state.before(7, text, transaction);
        [before, state.after(&exchange(text, [transaction; 2]))]
    }

    #[test]
    fn the_statements_of_a_loop_cost_no_look() {
        const TIMES: usize = 1_000;
        for transaction in [TransactionState::Open, TransactionState::Idle] {
            let mut state = watching(0);
            let looks = (0..TIMES).flat_map(|id| {
                let update = pass(&mut state, &format!("update t set a = 1 where id = {id}"), transaction);
                let read = pass(&mut state, &format!("select * from t where id = {id}"), transaction);
                [update, read].concat()
            });
            let looks = looks.flatten().count();
            assert!(looks <= 8 + 2 * TIMES / SAMPLE as usize, "{looks}: {transaction:?}");
            let [before, _] = pass(&mut state, "update u set a = 1", transaction);
            assert_eq!(before, Some(wal_sql()), "what the rest of the loop has written");
        }
    }

    #[test]
    fn what_failed_is_not_looked_at_and_what_stood_alone_is_seen_in_the_catalog() {
        let mut state = watching(0);
        let failed = [TransactionState::Open, TransactionState::Failed];
        assert_eq!(state.after(&exchange("drop table t", failed)), None);
        let alone = state.after(&exchange("vacuum", [TransactionState::Idle; 2]));
        assert!(alone.is_some_and(|query| query.starts_with(&catalog_sql())));
    }

    #[test]
    fn the_schema_is_described_at_rows_of_the_ledger_as_often_as_there_is_time() {
        let mut state = watching(2);
        let row = |transaction| exchange("insert into ledger values ('a')", [transaction; 2]);
        let description = DESCRIPTION;
        let within = state.after(&row(TransactionState::Open)).expect("it is looked at");
        assert!(within.ends_with(&format!("SAVEPOINT {SAVEPOINT}; {description}; {BACK_TO_SAVEPOINT}")), "{within}");
        assert_eq!(state.after(&row(TransactionState::Idle)), Some(format!("{}; {description}", wal_sql())));
        assert_eq!(state.after(&row(TransactionState::Open)), Some(traces_sql()));
    }
}
