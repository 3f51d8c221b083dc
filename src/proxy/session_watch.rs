//! The watch over the sessions of a listener: what was sent and answered up to each `ReadyForQuery`, and the queries that are
//! put into a client's session to look at what it has done.

use crate::postgres::Rows;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;

/// The most statements of a group that are kept, and those of one text after one another.
const MAX_STATEMENTS: usize = 1_000;
const MAX_OF_ONE_TEXT: usize = 100;

/// The SQLSTATE of a notice in which a copy reports what a statement outside of a transaction holds: rows as a JSON array of
/// arrays of texts. PostgreSQL does not use class BM (PostgreSQL manual, appendix A).
pub const REPORT: &str = "BM009";

/// The most bytes of the text of such a notice.
pub const MAX_REPORT: usize = 60_000;

/// The savepoint that a query after a request sets in the client's transaction if it may fail.
pub const SAVEPOINT: &str = "bastion_migrate_probe";

/// The statements that end it, and what the query has set and locked.
pub const BACK_TO_SAVEPOINT: &str =
    "ROLLBACK TO SAVEPOINT bastion_migrate_probe; RELEASE SAVEPOINT bastion_migrate_probe";

/// A statement as a client sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentStatement {
    /// Its text; of a simple query, the text of all its statements. The rest of a long one is missing.
    pub text: String,
    /// The values of its parameters that travel as text. They may be rows of a table.
    pub values: Vec<String>,
}

/// Everything between a client's request and the server's `ReadyForQuery`: one simple query, or a group up to a `Sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The pid of the session's backend.
    pub session: i32,
    /// The statements, in order; of many of one text in a group, the first ones.
    pub statements: Vec<SentStatement>,
    /// Number of further statements.
    pub further: u64,
    /// The session's transaction before it and after it.
    pub transaction: [TransactionState; 2],
    /// Duration, from the first message to the server until its answer.
    pub took: Duration,
    /// Number of rows that were returned or changed.
    pub rows: Option<u64>,
    /// The server's messages, as `NOTICE: text`. Untrusted.
    pub notices: Vec<String>,
    /// The server's error. Untrusted.
    pub error: Option<String>,
    /// What the copy has reported of it last.
    pub reported: Option<Rows>,
    /// The answer to the query before it, if there was one.
    pub before: Option<Rows>,
    /// The answer to the query after it, if there was one.
    pub after: Option<Rows>,
    /// Whether that query has failed: the end of its answer is missing.
    pub after_failed: bool,
}

impl Exchange {
    /// Adds a statement, or counts it. A driver sends a list of rows as one group, with a statement for each.
    pub(super) fn add(&mut self, sent: SentStatement) {
        let is_repeated = || self.statements.last().is_some_and(|last| last.text == sent.text);
        let count = self.statements.len();
        if count >= MAX_STATEMENTS || (count >= MAX_OF_ONE_TEXT && is_repeated()) {
            self.further += 1;
        } else {
            self.statements.push(sent);
        }
    }
}

/// The transaction of a session, as a `ReadyForQuery` reports it (PostgreSQL manual, 55.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TransactionState {
    /// There is none.
    #[default]
    Idle,
    /// It is open.
    Open,
    /// It has failed, and accepts no query.
    Failed,
}

impl TransactionState {
    pub(super) fn of_status(status: u8) -> Self {
        match status {
            b'T' => Self::Open,
            b'E' => Self::Failed,
            _ => Self::Idle,
        }
    }
}

/// A moment at which a query can be put into a client's session.
#[derive(Debug, Clone, Copy)]
pub enum ProbeMoment<'e> {
    /// Before a request that begins with this text.
    Before {
        /// The pid of the session's backend.
        session: i32,
        /// The text.
        text: &'e str,
        /// The session's transaction.
        transaction: TransactionState,
    },
    /// After an exchange, before its answer is complete for the client.
    After(&'e Exchange),
}

/// Returns the query for a moment, if there is to be one. Only one after a request may fail, behind [`SAVEPOINT`]: any other
/// ends the client's transaction with its failure.
type ProbeQuery = dyn Fn(ProbeMoment<'_>) -> Option<String> + Send + Sync;

/// The watch over sessions.
#[derive(Clone)]
pub struct SessionWatch {
    pub(super) probe: Arc<ProbeQuery>,
    pub(super) exchanges: mpsc::UnboundedSender<Exchange>,
}

impl SessionWatch {
    /// Watches sessions with these queries. The exchanges go to the sender.
    #[must_use]
    pub fn new(
        probe: impl Fn(ProbeMoment<'_>) -> Option<String> + Send + Sync + 'static,
        exchanges: mpsc::UnboundedSender<Exchange>,
    ) -> Self {
        Self { probe: Arc::new(probe), exchanges }
    }

    pub(super) fn report(&self, exchange: Exchange) {
        // Without a receiver nobody watches any more.
        drop(self.exchanges.send(exchange));
    }
}

/// The watch of a listener, if there is one; it may begin and end while sessions go on.
#[derive(Debug, Default)]
pub(super) struct WatchSlot(Mutex<Option<SessionWatch>>);

impl WatchSlot {
    /// Replaces the watch.
    pub(super) fn set(&self, watch: Option<SessionWatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    /// Returns the watch.
    pub(super) fn get(&self) -> Option<SessionWatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for SessionWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionWatch")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_of_any_size_is_small_and_its_last_statement_is_kept() {
        let mut exchange = Exchange::default();
        let sent = |text: &str| SentStatement { text: text.to_owned(), values: Vec::new() };
        (0..200_000).for_each(|_| exchange.add(sent("insert into t values ($1)")));
        exchange.add(sent("insert into ledger values ($1)"));
        assert_eq!((exchange.statements.len(), exchange.further), (MAX_OF_ONE_TEXT + 1, 199_900));
        (0..200_000).for_each(|number| exchange.add(sent(&format!("select {number}"))));
        assert_eq!((exchange.statements.len(), exchange.further), (MAX_STATEMENTS, 199_900 + 200_000 - 899));
    }
}
