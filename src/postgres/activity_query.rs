//! The queries of the activity monitor, and the parser of their rows. Queries of other sessions are cut to a summary.

use super::{
    concurrently::waits_for_transactions,
    lock_waits::Blocker,
    query_summary::summarize_query,
    quote_literal,
    row_tag::RowTag,
    rows::{Row, Rows},
    watched_sessions::WatchedSessions,
};
use crate::run::event::Event;
use std::time::Duration;

/// Characters to read of a query, so that its first words are among them even behind a comment.
const QUERY_CHARACTERS: usize = 2_000;

/// Prefix of the key of a blocker.
pub(super) const BLOCKED_KEY_PREFIX: &str = "blocked ";

/// One row of a poll.
pub(super) struct Observation {
    /// Identifies the observation while nothing new happens; empty for one that is only a sign of life.
    pub(super) key: String,
    pub(super) event: Event,
    /// Age of the observed work.
    pub(super) age: Duration,
    /// The blocker, if the row describes one.
    pub(super) blocker: Option<Blocker>,
}

impl Observation {
    pub(super) fn is_reportable(&self) -> bool {
        !self.key.is_empty()
    }

    /// Returns the event as a sign of life, for an observation that was reported before.
    pub(super) fn as_heartbeat(&self) -> Event {
        match &self.event {
            Event::Blocked { text } => Event::Note(text.clone()),
            other => other.clone(),
        }
    }

    fn with_key(key: String, event: Event) -> Self {
        Self { key, event, age: Duration::ZERO, blocker: None }
    }
}

/// Parses the response to [`activity_sql`] or [`blocked_sql`].
pub(super) fn parse_activity(rows: &Rows) -> Vec<Observation> {
    let blocked = rows.tagged(RowTag::Blocked).map(parse_blocked_row);
    let blocking = rows.tagged(RowTag::Blocking).map(parse_blocking_row);
    let progress = rows.tagged(RowTag::CommandProgress).map(parse_progress_row);
    let work = rows.tagged(RowTag::Work).map(parse_work_row);
    blocked.chain(blocking).chain(progress).chain(work).collect()
}

fn parse_blocked_row(row: Row<'_>) -> Observation {
    let [pid, lock, waited, holder_pid, name, role, state, query, age, relation, waiting_query] =
        row.columns().map(Option::unwrap_or_default);
    let holder = describe_session([holder_pid, name, role], state, query, age);
    let form = waits_for_transactions(waiting_query);
    // A wait for a transaction shows only the lock on its number, which means nothing to a reader.
    let waited_for = match lock.rsplit_once(" on ") {
        Some((_, "virtualxid" | "transactionid")) => "an older transaction to end".to_owned(),
        _ => lock.to_owned(),
    };
    let waits = match form {
        Some(form) => format!("{form}, pid {pid}, has waited {}", format_seconds(waited)),
        None => format!("pid {pid} has waited {}", format_seconds(waited)),
    };
    let blocker = Blocker {
        pid: holder_pid.parse().unwrap_or_default(),
        waiter_pid: pid.parse().unwrap_or_default(),
        waited: parse_seconds(waited),
        relation: relation.parse().ok(),
        description: holder.clone(),
        waited_for: waited_for.clone(),
        form,
    };
    let event = Event::Blocked { text: format!("{waits} for {waited_for}, held up by {holder}") };
    let key = format!("{BLOCKED_KEY_PREFIX}{pid} {lock} {holder_pid}");
    Observation { blocker: Some(blocker), ..Observation::with_key(key, event) }
}

fn parse_blocking_row(row: Row<'_>) -> Observation {
    let [pid, waiter_pid, name, role, query] = row.columns().map(Option::unwrap_or_default);
    let session = describe_session([waiter_pid, name, role], "active", query, "");
    let text = format!("pid {pid} is in the way of {session}");
    Observation::with_key(format!("blocking {pid} {waiter_pid}"), Event::Blocked { text })
}

fn parse_progress_row(row: Row<'_>) -> Observation {
    let [command, relation, phase, percent, lockers] = row.columns().map(Option::unwrap_or_default);
    let done = match (percent, lockers) {
        ("", "") => String::new(),
        ("", lockers) => format!(" ({lockers})"),
        (percent, _) => format!(" ({percent}%)"),
    };
    // A command that has just started does not show its table or index yet.
    let of = if relation.is_empty() { String::new() } else { format!(" {relation}") };
    let text = format!("{command}{of}: {phase}{done}");
    Observation::with_key(text.clone(), Event::Note(text))
}

fn parse_work_row(row: Row<'_>) -> Observation {
    let [pid, state, since, query, age] = row.columns().map(Option::unwrap_or_default);
    let (since, query) = (format_seconds(since), summarize_query(query));
    let text = format!("still at work: pid {pid} has been {state} for {since} ({query})");
    Observation { age: parse_seconds(age), ..Observation::with_key(String::new(), Event::Note(text)) }
}

fn describe_session([pid, name, role]: [&str; 3], state: &str, query: &str, age: &str) -> String {
    if pid == "0" {
        return "a prepared transaction".to_owned();
    }
    let label = if name.is_empty() { String::new() } else { format!(" `{name}`") };
    let age = if age.is_empty() { String::new() } else { format!(", begun {} ago", format_seconds(age)) };
    // Of a session of another role, the server shows no more than this unless our role may see all.
    let activity = match (state, query) {
        ("", _) | (_, "") => String::new(),
        (state, query) => format!(", {state}{age}: {}", summarize_query(query)),
    };
    format!("pid {pid}{label} (role `{role}`{activity})")
}

fn format_seconds(text: &str) -> String {
    match text.split('.').next().unwrap_or_default() {
        "" | "-0" => "0 s".to_owned(),
        seconds => format!("{seconds} s"),
    }
}

fn parse_seconds(text: &str) -> Duration {
    text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
}

/// Returns SQL that selects the pids of the watched sessions.
fn watched_pids_sql(watched: &WatchedSessions) -> String {
    let pids: Vec<String> = watched.pids.iter().map(ToString::to_string).collect();
    let by_name = match watched.application_name.as_str() {
        // Many sessions have no name.
        "" => String::new(),
        name => {
            format!(" OR (s.datname = pg_catalog.current_database() AND s.application_name = {})", quote_literal(name))
        }
    };
    format!(
        "SELECT s.pid FROM pg_catalog.pg_stat_activity s WHERE s.pid = ANY ('{{{}}}'::int[]){by_name}",
        pids.join(",")
    )
}

/// Returns SQL for the first characters of a session's query.
fn query_text_sql(alias: &str) -> String {
    format!("pg_catalog.left({alias}.query, {QUERY_CHARACTERS})")
}

/// Returns SQL for the blockers of the watched sessions. It calls `pg_blocking_pids` only for sessions that wait for a
/// lock, because the call briefly holds up every session of the server (PostgreSQL manual, 9.27).
pub(super) fn blocked_sql(watched: &WatchedSessions) -> String {
    format!(
        "SELECT {tag}, w.pid, coalesce((SELECT pg_catalog.string_agg(DISTINCT l.mode || ' on ' \
            || coalesce(l.relation::pg_catalog.regclass::text, l.locktype), ', ') \
            FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted), 'a lock'), \
            EXTRACT(epoch FROM pg_catalog.clock_timestamp() - coalesce((SELECT pg_catalog.min(l.waitstart) \
                FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted), w.query_start)), \
            b.pid, a.application_name, a.usename, a.state, {blocker}, \
            EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start), \
            (SELECT pg_catalog.min(l.relation::bigint) FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted), \
            {waiter} \
         FROM pg_catalog.pg_stat_activity w CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid) \
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid WHERE w.wait_event_type = 'Lock' AND w.pid IN ({pids})",
        tag = RowTag::Blocked,
        blocker = query_text_sql("a"),
        waiter = query_text_sql("w"),
        pids = watched_pids_sql(watched),
    )
}

/// Returns SQL for the blockers in both directions, the progress of index builds and the state of each watched session.
pub(super) fn activity_sql(watched: &WatchedSessions) -> String {
    let pids = watched_pids_sql(watched);
    format!(
        "{blocked}; \
         SELECT {blocking}, b.pid, w.pid, w.application_name, w.usename, {waiter} FROM pg_catalog.pg_stat_activity w \
         CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b(pid) \
         WHERE w.wait_event_type = 'Lock' AND b.pid IN ({pids}) AND w.pid NOT IN ({pids}); \
         SELECT {progress}, p.command, coalesce(nullif(p.index_relid, 0), nullif(p.relid, 0))::pg_catalog.regclass::text, p.phase, \
            CASE WHEN p.blocks_total > 0 THEN 100 * p.blocks_done / p.blocks_total \
                 WHEN p.tuples_total > 0 THEN 100 * p.tuples_done / p.tuples_total END / 10 * 10, \
            CASE WHEN p.lockers_total > 0 THEN p.lockers_done || ' of ' || p.lockers_total || ' have ended' END \
         FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid IN ({pids}); \
         SELECT {progress}, p.command, p.relid::pg_catalog.regclass::text, p.phase, \
            CASE WHEN p.heap_blks_total > 0 THEN 100 * p.heap_blks_scanned / p.heap_blks_total END / 10 * 10, NULL \
         FROM pg_catalog.pg_stat_progress_cluster p WHERE p.pid IN ({pids}); \
         SELECT {progress}, 'VACUUM', p.relid::pg_catalog.regclass::text, p.phase, \
            CASE WHEN p.heap_blks_total > 0 THEN 100 * p.heap_blks_scanned / p.heap_blks_total END / 10 * 10, NULL \
         FROM pg_catalog.pg_stat_progress_vacuum p WHERE p.pid IN ({pids}); \
         SELECT {work}, s.pid, s.state, EXTRACT(epoch FROM pg_catalog.clock_timestamp() - s.state_change), {query}, \
            EXTRACT(epoch FROM pg_catalog.clock_timestamp() - coalesce(s.xact_start, s.state_change)) \
         FROM pg_catalog.pg_stat_activity s WHERE s.pid IN ({pids})",
        blocked = blocked_sql(watched),
        blocking = RowTag::Blocking,
        waiter = query_text_sql("w"),
        progress = RowTag::CommandProgress,
        work = RowTag::Work,
        query = query_text_sql("s"),
    )
}

/// Returns SQL that cancels the statements of these backends. Without the right to do so the query fails, and they go
/// on waiting.
pub(super) fn cancel_sql(waiters: &[i32]) -> String {
    let cancellations: Vec<String> = waiters.iter().map(|pid| format!("pg_catalog.pg_cancel_backend({pid})")).collect();
    format!("SELECT {}", cancellations.join(", "))
}

/// Returns SQL with one row for each blocker that still holds its lock; `None` if no blocker was seen, or if one is a
/// prepared transaction, which has no session.
pub(super) fn still_blocking_sql(blockers: &[Blocker]) -> Option<String> {
    if blockers.is_empty() || blockers.iter().any(|blocker| blocker.pid == 0) {
        return None;
    }
    let has = blockers.iter().map(|blocker| match blocker.relation {
        Some(relation) => format!("(l.pid = {} AND l.relation = {relation}::oid)", blocker.pid),
        None => format!("l.pid = {}", blocker.pid),
    });
    let has: Vec<String> = has.collect();
    Some(format!(
        "SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l WHERE l.granted AND l.locktype IN ('relation', 'transactionid') \
         AND ({})",
        has.join(" OR ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tag: RowTag, fields: &[&str]) -> String {
        match parse_activity(&Rows::from_iter([tag.row(fields)])).pop().unwrap().event {
            Event::Blocked { text } | Event::Note(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn describes_a_wait_for_an_older_transaction() {
        let fields = [
            "7",
            "ShareLock on virtualxid",
            "3.9",
            "9",
            "report",
            "app",
            "idle in transaction",
            "SELECT * FROM big",
            "63.5",
            "",
            "create index concurrently i on t (x)",
        ];
        assert_eq!(
            text(RowTag::Blocked, &fields),
            "CREATE INDEX CONCURRENTLY, pid 7, has waited 3 s for an older transaction to end, held up by pid 9 `report` \
             (role `app`, idle in transaction, begun 63 s ago: SELECT)"
        );
    }

    #[test]
    fn describes_a_hidden_session_by_its_role() {
        let fields = ["7", "a lock", "0.0", "9", "", "boss", "", "", "", "", ""];
        assert_eq!(text(RowTag::Blocked, &fields), "pid 7 has waited 0 s for a lock, held up by pid 9 (role `boss`)");
        let prepared = ["7", "a lock", "1.0", "0", "", "", "", "", "", "", ""];
        assert_eq!(
            text(RowTag::Blocked, &prepared),
            "pid 7 has waited 1 s for a lock, held up by a prepared transaction"
        );
    }

    #[test]
    fn shows_progress_as_a_percentage_or_a_count() {
        let text = |fields: &[&str]| text(RowTag::CommandProgress, fields);
        let progress = |percent, lockers| text(&["CREATE INDEX", "public.i", "building", percent, lockers]);
        assert_eq!(progress("40", ""), "CREATE INDEX public.i: building (40%)");
        assert_eq!(progress("", "1 of 3 have ended"), "CREATE INDEX public.i: building (1 of 3 have ended)");
        assert_eq!(progress("", ""), "CREATE INDEX public.i: building");
        assert_eq!(text(&["CREATE INDEX", "", "initializing", "", ""]), "CREATE INDEX: initializing");
    }

    #[test]
    fn does_not_select_sessions_without_a_name() {
        let watched = WatchedSessions { pids: vec![7], ..WatchedSessions::default() };
        assert!(!watched_pids_sql(&watched).contains("application_name"), "{}", watched_pids_sql(&watched));
        let watched = WatchedSessions { application_name: "a'b".to_owned(), ..watched };
        assert!(watched_pids_sql(&watched).contains("s.application_name = 'a''b'"), "{}", watched_pids_sql(&watched));
    }

    #[test]
    fn does_not_check_blockers_without_a_session() {
        let blocker = |pid| Blocker {
            pid,
            waiter_pid: 1,
            waited: Duration::ZERO,
            relation: None,
            description: String::new(),
            waited_for: String::new(),
            form: None,
        };
        assert_eq!(still_blocking_sql(&[]), None);
        assert_eq!(still_blocking_sql(&[blocker(7), blocker(0)]), None);
        assert!(still_blocking_sql(&[blocker(7)]).unwrap().contains("l.pid = 7"));
    }
}
