//! The queries that are put into a tool's session on the copy, so that its work is seen from inside of its transaction: nobody
//! else sees what is not committed.

use super::{
    relation_catalog::{catalog_sql, traces_sql, wal_sql},
    statement_kind::StatementKindOnCopy,
};
use crate::proxy::{Exchange, ProbeMoment, SessionWatch, TransactionState};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// Number of statements of one form, in a session, after which the locks are looked at: later ones take the same.
const LOOKS_FOR_A_FORM: u32 = 2;

/// One of so many later statements of a form is followed by a query.
const SAMPLE: u32 = 16;

/// The most characters by which a loop is known.
const MAX_ROUGH: usize = 200;

/// The most forms of a session that are remembered.
const MAX_FORMS: usize = 10_000;

/// What was seen of each session so far, by the pid of its backend.
#[derive(Debug, Default)]
struct ProbeState {
    forms: BTreeMap<(i32, String), u32>,
    /// The sessions in whose transaction a query of ours has run.
    in_transaction: BTreeSet<i32>,
    /// The sessions with a known position in the WAL.
    known: BTreeSet<i32>,
    /// The form of the last statement, in sessions in which no query has followed it.
    in_loop: BTreeMap<i32, String>,
}

/// Returns the watch over a tool's sessions; the exchanges go to the sender.
pub(super) fn session_watch(exchanges: mpsc::UnboundedSender<Exchange>) -> SessionWatch {
    let state = Mutex::new(ProbeState::default());
    let probe = move |moment: ProbeMoment<'_>| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match moment {
            ProbeMoment::Before { session, text, transaction } => state.before(session, text, transaction),
            ProbeMoment::After(exchange) => state.after(exchange),
        }
    };
    SessionWatch::new(probe, exchanges)
}

impl ProbeState {
    /// Returns the query for the state with which the first statement of a transaction is compared, or for what a loop has
    /// written until its end. A transaction must not have a snapshot before a statement that sets its isolation.
    fn before(&mut self, session: i32, text: &str, transaction: TransactionState) -> Option<String> {
        let ends_loop = self.in_loop.get(&session).is_some_and(|form| *form != rough_form(text));
        if ends_loop {
            self.in_loop.remove(&session);
        }
        let is_control = StatementKindOnCopy::of(text) == StatementKindOnCopy::Control;
        match transaction {
            TransactionState::Failed => None,
            TransactionState::Open if !is_control && self.in_transaction.insert(session) => Some(traces_sql()),
            TransactionState::Idle if !is_control && self.known.insert(session) => Some(wal_sql()),
            // Inside of a loop there is a snapshot already.
            TransactionState::Open | TransactionState::Idle => ends_loop.then(wal_sql),
        }
    }

    fn after(&mut self, exchange: &Exchange) -> Option<String> {
        let [_, after] = exchange.transaction;
        if after == TransactionState::Idle {
            // The numbers of scans that the next transaction begins with may be others.
            self.in_transaction.remove(&exchange.session);
        }
        if after == TransactionState::Failed || (exchange.error.is_some() && after == TransactionState::Open) {
            return None;
        }
        let kinds = exchange.statements.iter().map(|sent| StatementKindOnCopy::of(&sent.text));
        let is_open = after == TransactionState::Open;
        match kinds.max()? {
            StatementKindOnCopy::Control => None,
            StatementKindOnCopy::Schema => Some(if is_open { traces_sql() } else { catalog_sql() }),
            StatementKindOnCopy::Read if !is_open => None,
            StatementKindOnCopy::Rows | StatementKindOnCopy::Read => self.after_rows(exchange),
        }
    }

    /// Returns the query after a statement about rows: the first ones of a form show all, and of the others only some are
    /// followed by a query, whose answer is the sum.
    fn after_rows(&mut self, exchange: &Exchange) -> Option<String> {
        let session = exchange.session;
        let form = exchange.statements.first().map(|sent| rough_form(&sent.text)).unwrap_or_default();
        let is_known = self.forms.contains_key(&(session, form.clone()));
        if !is_known && self.forms.len() >= MAX_FORMS {
            return Some(wal_sql());
        }
        let looks = self.forms.entry((session, form.clone())).or_default();
        *looks += 1;
        if *looks > LOOKS_FOR_A_FORM && !looks.is_multiple_of(SAMPLE) {
            self.in_loop.insert(session, form);
            return None;
        }
        let shows_all = *looks <= LOOKS_FOR_A_FORM && exchange.transaction[1] == TransactionState::Open;
        self.in_loop.remove(&session);
        Some(if shows_all { traces_sql() } else { wal_sql() })
    }
}

/// Returns the beginning of a statement up to its first constant: enough to know a loop, and quicker than its form.
fn rough_form(text: &str) -> String {
    text.chars().take_while(|letter| *letter != '\'' && !letter.is_ascii_digit()).take(MAX_ROUGH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::SentStatement;

    fn exchange(text: &str, transaction: [TransactionState; 2]) -> Exchange {
        let statements = vec![SentStatement { text: text.to_owned(), values: Vec::new() }];
        Exchange { session: 7, statements, transaction, ..Exchange::default() }
    }

    #[test]
    fn a_transaction_is_looked_at_before_its_first_statement_and_not_before_its_isolation() {
        let mut state = ProbeState::default();
        let open = TransactionState::Open;
        assert_eq!(state.before(7, "set transaction isolation level serializable", open), None);
        assert_eq!(state.before(7, "alter table t add a int", open), Some(traces_sql()));
        assert_eq!(state.before(7, "alter table t add b int", open), None);
        assert_eq!(state.after(&exchange("commit", [open, TransactionState::Idle])), None);
        assert_eq!(state.before(7, "alter table t add c int", open), Some(traces_sql()));
    }

    #[test]
    fn the_statements_of_a_loop_cost_no_look_at_the_locks() {
        let mut state = ProbeState::default();
        let update = |id: u32| exchange(&format!("update t set a = 1 where id = {id}"), [TransactionState::Open; 2]);
        let looks: Vec<Option<String>> = (0..100).map(|id| state.after(&update(id))).collect();
        assert_eq!(looks[..3], [Some(traces_sql()), Some(traces_sql()), None]);
        assert_eq!(looks.iter().flatten().count(), 2 + 6);
        let open = TransactionState::Open;
        assert_eq!(state.before(7, "update t set a = 1 where id = 5", open), Some(traces_sql()), "the first of all");
        assert_eq!(state.before(7, "update t set a = 1 where id = 5", open), None);
        assert_eq!(state.before(7, "commit", open), Some(wal_sql()), "what the rest of the loop has written");
        let failed = [TransactionState::Open, TransactionState::Failed];
        assert_eq!(state.after(&exchange("drop table t", failed)), None);
        assert_eq!(state.after(&exchange("vacuum", [TransactionState::Idle; 2])), Some(catalog_sql()));
    }
}
