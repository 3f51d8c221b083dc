//! The queries that are put into a tool's session on the copy, so that its work is seen from inside of its transaction: nobody
//! else sees what is not committed.

use super::{
    relation_catalog::{catalog_sql, traces_sql, wal_sql},
    statement_kind::StatementKindOnCopy,
};
use crate::{
    proxy::{Exchange, ProbeMoment, SessionWatch, TransactionState},
    sql::statement_form,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// Number of statements of one form, in a session, after which the locks are looked at: later ones take the same.
const LOOKS_FOR_A_FORM: u32 = 2;

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
    /// Returns the query for the state with which the first statement of a transaction is compared. The transaction must not
    /// have a snapshot before a statement that sets its isolation.
    fn before(&mut self, session: i32, text: &str, transaction: TransactionState) -> Option<String> {
        if StatementKindOnCopy::of(text) == StatementKindOnCopy::Control {
            return None;
        }
        match transaction {
            TransactionState::Open if self.in_transaction.insert(session) => Some(traces_sql()),
            TransactionState::Idle if self.known.insert(session) => Some(wal_sql()),
            _ => None,
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
        match (kinds.max()?, after) {
            (StatementKindOnCopy::Control, _) => None,
            (StatementKindOnCopy::Schema, TransactionState::Open) => Some(traces_sql()),
            (StatementKindOnCopy::Schema, _) => Some(catalog_sql()),
            (StatementKindOnCopy::Rows | StatementKindOnCopy::Read, TransactionState::Open) => {
                let is_new = self.is_new_form(exchange);
                Some(if is_new { traces_sql() } else { wal_sql() })
            }
            (StatementKindOnCopy::Rows, _) => Some(wal_sql()),
            (StatementKindOnCopy::Read, _) => None,
        }
    }

    fn is_new_form(&mut self, exchange: &Exchange) -> bool {
        let form = exchange.statements.first().map(|sent| statement_form(&sent.text)).unwrap_or_default();
        if self.forms.len() >= MAX_FORMS {
            return false;
        }
        let looks = self.forms.entry((exchange.session, form)).or_default();
        *looks += 1;
        *looks <= LOOKS_FOR_A_FORM
    }
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
        let looks: Vec<Option<String>> = (0..5)
            .map(|id| {
                state.after(&exchange(&format!("update t set a = 1 where id = {id}"), [TransactionState::Open; 2]))
            })
            .collect();
        assert_eq!(looks, [traces_sql(), traces_sql(), wal_sql(), wal_sql(), wal_sql()].map(Some));
        let failed = [TransactionState::Open, TransactionState::Failed];
        assert_eq!(state.after(&exchange("drop table t", failed)), None);
        assert_eq!(state.after(&exchange("vacuum", [TransactionState::Idle; 2])), Some(catalog_sql()));
    }
}
