//! The sessions for which a statement would have to wait now.

use super::{
    effect::{LockMode, StatementEffect, TableWork},
    lock_target::TargetLock,
    session_facts::{LockState, SessionFacts, SessionKind, SessionLock},
    table_facts::TableFacts,
    units::format_duration,
};
use crate::{postgres::summarize_query, settings::QueryDisplay};
use std::time::Duration;

/// The age from which a transaction counts as old: a shorter one is usually over before anybody has read of it.
const OLD: Duration = Duration::from_secs(10);

/// The age from which a transaction is mentioned only because an index is built concurrently, which waits for it.
const OLD_FOR_CONCURRENT: Duration = Duration::from_secs(60);

/// The most sessions that are listed for a statement.
const MAX_SESSIONS: usize = 10;

/// The sessions in the way of a statement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SessionsInTheWay {
    /// The sessions, as sentences without their full stop.
    pub(super) sessions: Vec<String>,
    /// Whether the statement would probably wait.
    pub(super) wait: ExpectedWait,
}

/// Whether a statement would probably wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum ExpectedWait {
    /// Nobody is in the way for long.
    #[default]
    None,
    /// A session with an old transaction, or one whose age is unknown, is in the way.
    Long,
}

/// Returns the sessions in the way of a statement with these locks.
pub(super) fn find_blocking_sessions(
    effect: &StatementEffect,
    targets: &[TargetLock],
    facts: &TableFacts,
    queries: QueryDisplay,
) -> SessionsInTheWay {
    let mut found = SessionsInTheWay::default();
    let mut left_out = 0_usize;
    for session in &facts.sessions {
        let Some((deed, wait)) = conflict_of(session, targets).or_else(|| awaited_by_index(effect, targets, session))
        else {
            continue;
        };
        if wait == ExpectedWait::Long {
            found.wait = wait;
        }
        match found.sessions.len() < MAX_SESSIONS {
            true => found.sessions.push(describe_session(session, &deed, queries)),
            false => left_out += 1,
        }
    }
    if left_out > 0 {
        found.sessions.push(format!("and {left_out} more sessions"));
    }
    found
}

/// Returns the lock of a session that excludes one of the statement's, as a phrase, and whether it will last.
fn conflict_of(session: &SessionFacts, targets: &[TargetLock]) -> Option<(String, ExpectedWait)> {
    let excludes = |lock: &SessionLock| {
        targets.iter().find(|(mode, target)| target.oid == Some(lock.relation) && lock.mode.conflicts_with(*mode))
    };
    let (lock, (_, target)) = session.locks.iter().find_map(|lock| Some((lock, excludes(lock)?)))?;
    let verb = match lock.state {
        LockState::Held => "holds",
        LockState::Awaited => "waits for",
    };
    let wait = match (session.kind, session.transaction_age) {
        (SessionKind::Autovacuum, _) => ExpectedWait::None,
        (SessionKind::Client, Some(age)) if age < OLD => ExpectedWait::None,
        _ => ExpectedWait::Long,
    };
    Some((format!("{verb} {} on {}", lock.mode.name(), target.label), wait))
}

/// Returns the reason why an index that is built concurrently waits for this session: it waits for every transaction
/// that has begun before (PostgreSQL manual, CREATE INDEX, building indexes concurrently).
fn awaited_by_index(
    effect: &StatementEffect,
    targets: &[TargetLock],
    session: &SessionFacts,
) -> Option<(String, ExpectedWait)> {
    let builds = effect.work.iter().any(|work| matches!(work, TableWork::BuildIndex(_) | TableWork::RebuildIndex(_)));
    let is_concurrent = builds && targets.iter().all(|(mode, _)| *mode <= LockMode::ShareUpdateExclusive);
    let is_old = session.transaction_age.is_some_and(|age| age >= OLD_FOR_CONCURRENT);
    (is_concurrent && is_old).then(|| ("has a transaction that it would wait for".to_owned(), ExpectedWait::Long))
}

fn describe_session(session: &SessionFacts, deed: &str, queries: QueryDisplay) -> String {
    let Some(pid) = session.pid else { return format!("a prepared transaction {deed}") };
    let name = if session.application.is_empty() { String::new() } else { format!(" `{}`", session.application) };
    let kind = match session.kind {
        SessionKind::Client | SessionKind::Prepared if session.role.is_empty() => String::new(),
        SessionKind::Client | SessionKind::Prepared => format!(" (role `{}`)", session.role),
        SessionKind::Autovacuum => " (autovacuum, which gives way)".to_owned(),
        SessionKind::WraparoundVacuum => {
            " (autovacuum to prevent transaction ID wraparound, which gives way to nobody)".to_owned()
        }
    };
    let state = match (session.state.as_str(), session.transaction_age) {
        ("", None) => String::new(),
        (state, None) => format!(", {state}"),
        (state, Some(age)) => format!(", {state}, in a transaction for {}", format_duration(age)),
    };
    let query = match (session.query.as_str(), queries) {
        ("", _) => String::new(),
        (query, QueryDisplay::FirstWords) => format!(": {}", summarize_query(query)),
        (query, QueryDisplay::Whole) => format!(": {}", query.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    format!("pid {pid}{name}{kind}{state}, {deed}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::{
        lock_target::{LockTarget, TargetWeight},
        test_effects::{effect, name},
    };

    fn target(oid: u32) -> LockTarget {
        LockTarget { oid: Some(oid), label: "orders".to_owned(), weight: TargetWeight::Rowless, locks: 1 }
    }

    fn session(mode: LockMode, age: u64) -> SessionFacts {
        SessionFacts {
            pid: Some(7),
            application: "web".to_owned(),
            role: "app".to_owned(),
            state: "idle in transaction".to_owned(),
            transaction_age: Some(Duration::from_secs(age)),
            query: "UPDATE orders\nSET name = 'Ada'".to_owned(),
            locks: vec![SessionLock { relation: 7, mode, state: LockState::Held }],
            ..SessionFacts::default()
        }
    }

    fn in_the_way(mode: LockMode, session: SessionFacts, queries: QueryDisplay) -> SessionsInTheWay {
        let facts = TableFacts { sessions: vec![session], ..TableFacts::default() };
        find_blocking_sessions(&effect("x"), &[(mode, target(7))], &facts, queries)
    }

    #[test]
    fn a_session_is_in_the_way_if_its_lock_excludes_ours() {
        let found = in_the_way(LockMode::Share, session(LockMode::RowExclusive, 300), QueryDisplay::FirstWords);
        assert_eq!(
            found.sessions,
            [
                "pid 7 `web` (role `app`), idle in transaction, in a transaction for 5 min, holds ROW EXCLUSIVE on orders: \
              UPDATE orders"
            ]
        );
        assert_eq!(found.wait, ExpectedWait::Long);
        let reader = in_the_way(LockMode::Share, session(LockMode::AccessShare, 300), QueryDisplay::FirstWords);
        assert_eq!(reader, SessionsInTheWay::default());
    }

    #[test]
    fn a_whole_query_is_shown_only_if_it_is_asked_for() {
        let found = in_the_way(LockMode::Share, session(LockMode::RowExclusive, 1), QueryDisplay::Whole);
        assert!(found.sessions[0].ends_with("on orders: UPDATE orders SET name = 'Ada'"), "{found:?}");
        assert_eq!(found.wait, ExpectedWait::None, "a transaction of one second is soon over");
    }

    #[test]
    fn a_session_that_may_not_be_seen_is_in_the_way_for_an_unknown_time() {
        let hidden = SessionFacts {
            pid: Some(9),
            locks: vec![SessionLock { relation: 7, mode: LockMode::AccessShare, state: LockState::Held }],
            ..SessionFacts::default()
        };
        let found = in_the_way(LockMode::AccessExclusive, hidden, QueryDisplay::FirstWords);
        assert_eq!(
            (found.sessions, found.wait),
            (vec!["pid 9, holds ACCESS SHARE on orders".to_owned()], ExpectedWait::Long)
        );
    }

    #[test]
    fn autovacuum_gives_way_unless_it_prevents_a_wraparound() {
        for (kind, wait) in
            [(SessionKind::Autovacuum, ExpectedWait::None), (SessionKind::WraparoundVacuum, ExpectedWait::Long)]
        {
            let vacuum = SessionFacts { kind, ..session(LockMode::ShareUpdateExclusive, 3_000) };
            let found = in_the_way(LockMode::AccessExclusive, vacuum, QueryDisplay::FirstWords);
            assert_eq!((found.sessions.len(), found.wait), (1, wait), "{kind:?}");
        }
    }

    #[test]
    fn an_index_that_is_built_concurrently_waits_for_every_old_transaction() {
        let old = SessionFacts { locks: Vec::new(), ..session(LockMode::AccessShare, 3_600) };
        let facts = TableFacts { sessions: vec![old], ..TableFacts::default() };
        let building = StatementEffect { work: vec![TableWork::BuildIndex(name("orders"))], ..effect("CREATE INDEX") };
        let ways = |mode| find_blocking_sessions(&building, &[(mode, target(7))], &facts, QueryDisplay::FirstWords);
        assert_eq!(ways(LockMode::ShareUpdateExclusive).wait, ExpectedWait::Long);
        assert_eq!(ways(LockMode::Share), SessionsInTheWay::default());
    }
}
