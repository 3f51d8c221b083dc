//! The sessions that use the tables of a plan, and those with the oldest transactions.

use super::{effect::LockMode, relation_query::TREE};
use crate::{
    postgres::{CURRENT_DATABASE_OID, Row, RowTag, Rows},
    settings::QueryDisplay,
};
use std::{collections::BTreeMap, time::Duration};

/// The most locks of other sessions that are read.
const MAX_LOCKS: usize = 500;

/// The most old transactions that are read.
const MAX_TRANSACTIONS: usize = 20;

/// Characters to read of a query of which only the first words are shown, so that they are among them even behind a
/// comment.
const QUERY_CHARACTERS: usize = 2_000;

/// A session of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// The pid of its backend; `None` for a prepared transaction, which has no session.
    pub pid: Option<i32>,
    /// The name that its program has given it.
    pub application: String,
    /// Its role.
    pub role: String,
    /// Its state, as in `idle in transaction`; empty if our role may not see it.
    pub state: String,
    /// The age of its transaction, if it has one that our role may see.
    pub transaction_age: Option<Duration>,
    /// Its query, or its last one; empty if our role may not see it.
    pub query: String,
    /// Its kind.
    pub kind: SessionKind,
    /// Its locks on the tables of the plan.
    pub locks: Vec<SessionLock>,
}

/// The kind of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionKind {
    /// That of a client.
    #[default]
    Client,
    /// A vacuum that gives way to others (autovacuum).
    Autovacuum,
    /// An autovacuum that gives way to nobody, because it prevents the wraparound of transaction IDs.
    WraparoundVacuum,
    /// A transaction that was prepared for a two-phase commit.
    Prepared,
}

/// A lock of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLock {
    /// The table; for a partition or a table that inherits, also each table above it.
    pub relation: u32,
    /// Its mode.
    pub mode: LockMode,
    /// Whether it is held or waited for.
    pub state: LockState,
}

/// Whether a lock is held or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// It is held.
    Held,
    /// It is waited for.
    Awaited,
}

/// Returns the queries for the sessions; they need the common table expressions of the relations.
pub(super) fn sessions_sql(expressions: &str, queries: QueryDisplay) -> String {
    let query = match queries {
        QueryDisplay::FirstWords => format!("pg_catalog.left(a.query, {QUERY_CHARACTERS})"),
        QueryDisplay::Whole => "a.query".to_owned(),
    };
    let activity = format!(
        "a.application_name, a.usename, a.state, \
         EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8, {query}, \
         CASE WHEN a.backend_type = 'autovacuum worker' THEN \
            CASE WHEN a.query LIKE '%(to prevent wraparound)%' THEN 'wraparound' ELSE 'autovacuum' END END"
    );
    format!(
        "{expressions} SELECT {lock}, l.pid, l.root, l.mode, l.granted, {activity} FROM \
         (SELECT l.pid, l.virtualtransaction, t.root, l.mode, l.granted FROM pg_catalog.pg_locks l JOIN {TREE} t ON t.oid = l.relation \
          WHERE l.locktype = 'relation' AND l.database = {CURRENT_DATABASE_OID} AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
          GROUP BY l.pid, l.virtualtransaction, t.root, l.mode, l.granted) l \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid ORDER BY a.xact_start, l.pid, l.root LIMIT {MAX_LOCKS}; \
         SELECT {old}, a.pid, {activity} FROM pg_catalog.pg_stat_activity a WHERE a.datid = {CURRENT_DATABASE_OID} \
         AND a.pid <> pg_catalog.pg_backend_pid() AND a.xact_start IS NOT NULL AND a.backend_type = 'client backend' \
         ORDER BY a.xact_start LIMIT {MAX_TRANSACTIONS}",
        lock = RowTag::TableLock,
        old = RowTag::OldTransaction,
    )
}

/// Reads the response to [`sessions_sql`], the oldest transactions first.
pub(super) fn parse_sessions(rows: &Rows) -> Vec<SessionFacts> {
    let mut sessions: BTreeMap<Option<i32>, SessionFacts> = BTreeMap::new();
    for row in rows.tagged(RowTag::OldTransaction) {
        let [pid, application, role, state, age, query, kind] = row.columns();
        let activity = [application, role, state, age, query, kind];
        let session = parse_activity(pid.and_then(|pid| pid.parse().ok()), activity);
        sessions.insert(session.pid, session);
    }
    for row in rows.tagged(RowTag::TableLock) {
        let [pid, _, _, _, application, role, state, age, query, kind] = row.columns();
        let pid = pid.and_then(|pid| pid.parse().ok());
        let activity = [application, role, state, age, query, kind];
        let session = sessions.entry(pid).or_insert_with(|| parse_activity(pid, activity));
        session.locks.extend(parse_lock(row));
    }
    let mut sessions: Vec<SessionFacts> = sessions.into_values().collect();
    sessions.sort_by_key(|session| std::cmp::Reverse(session.transaction_age));
    sessions
}

fn parse_lock(row: Row<'_>) -> Option<SessionLock> {
    let state = if row.text(3) == Some("t") { LockState::Held } else { LockState::Awaited };
    Some(SessionLock { relation: row.parse(1)?, mode: LockMode::from_catalog_name(row.text(2)?)?, state })
}

fn parse_activity(pid: Option<i32>, [application, role, state, age, query, kind]: [Option<&str>; 6]) -> SessionFacts {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let kind = match (pid, kind) {
        (None, _) => SessionKind::Prepared,
        (_, Some("wraparound")) => SessionKind::WraparoundVacuum,
        (_, Some("autovacuum")) => SessionKind::Autovacuum,
        _ => SessionKind::Client,
    };
    SessionFacts {
        pid,
        application: text(application),
        role: text(role),
        state: text(state),
        transaction_age: age.and_then(|age| age.parse().ok()).map(Duration::from_secs),
        // The server's placeholder for a query that our role may not see.
        query: text(query.filter(|query| *query != "<insufficient privilege>")),
        kind,
        locks: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locks_of_a_session_are_in_one_place() {
        let lock = |mode, granted| {
            let columns = ["7", "16384", mode, granted, "web", "app", "active", "65", "select 1", ""];
            RowTag::TableLock.row(&columns)
        };
        let old = RowTag::OldTransaction.row(&["7", "web", "app", "active", "65", "select 1", ""]);
        let older = RowTag::OldTransaction.row(&["9", "report", "app", "idle in transaction", "3600", "select 2", ""]);
        let rows = [lock("AccessShareLock", "t"), lock("ShareLock", "f"), lock("SIReadLock", "t"), old, older];
        let sessions = parse_sessions(&Rows::from_iter(rows));
        assert_eq!(sessions.iter().map(|session| session.pid).collect::<Vec<_>>(), [Some(9), Some(7)]);
        assert_eq!(
            sessions[1].locks,
            [
                SessionLock { relation: 16384, mode: LockMode::AccessShare, state: LockState::Held },
                SessionLock { relation: 16384, mode: LockMode::Share, state: LockState::Awaited },
            ]
        );
    }

    #[test]
    fn a_session_that_may_not_be_seen_has_a_pid_and_no_query() {
        let columns = ["7", "16384", "AccessShareLock", "t", "", "boss", "", "", "<insufficient privilege>", ""];
        let rows = Rows::from_iter([RowTag::TableLock.row(&columns)]);
        let expected = SessionFacts {
            pid: Some(7),
            role: "boss".to_owned(),
            locks: vec![SessionLock { relation: 16384, mode: LockMode::AccessShare, state: LockState::Held }],
            ..SessionFacts::default()
        };
        assert_eq!(parse_sessions(&rows), [expected]);
    }

    #[test]
    fn a_prepared_transaction_has_no_session() {
        let columns = ["", "16384", "RowExclusiveLock", "t", "", "", "", "", "", ""];
        let sessions = parse_sessions(&Rows::from_iter([RowTag::TableLock.row(&columns)]));
        assert_eq!((sessions[0].pid, sessions[0].kind), (None, SessionKind::Prepared));
    }
}
