//! The run lock: a session advisory lock. It is polled, never waited for in the server, because a session that waits
//! in `pg_advisory_lock()` deadlocks with CREATE INDEX CONCURRENTLY (measured: 40P01). The session that does the work
//! holds it, so the lock is lost only together with the work, and the next holder can be sure that the work has
//! ended.

use super::{
    own_query::{AS_LOGIN_ROLE, OwnQuery, bastion_migrate_key},
    query_rows,
    row_tag::RowTag,
    rows::{Row, Rows},
    session::Session,
    wait::answer_within,
};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    run::{
        OngoingWait,
        event::{Event, Events},
    },
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval between two attempts to take the lock.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The same interval after the holder's session was terminated.
const SHORT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that PostgreSQL keeps of `application_name` (NAMEDATALEN - 1).
const MAX_NAME_LENGTH: usize = 63;

/// Returns the name of our sessions, by which a waiting run identifies the holder:
/// `bastion-migrate#<run>.<attempt> <repository>`.
#[must_use]
pub fn application_name(runner: &Runner) -> String {
    let mut name = "bastion-migrate".to_owned();
    if let (Some(run), Some(repository)) = (&runner.run_id, &runner.repository) {
        let attempt = runner.run_attempt.as_deref().unwrap_or("1");
        name = format!("{name}#{run}.{attempt} {repository}");
    }
    name.retain(|character| character.is_ascii_graphic() || character == ' ');
    name.truncate(MAX_NAME_LENGTH);
    name
}

/// Returns the name for sessions of a tool that may write. It differs from the name of the lock holder.
#[must_use]
pub fn tool_application_name(runner: &Runner) -> String {
    prefixed_application_name(runner, TOOL_PREFIX)
}

/// Returns the name for sessions of a tool that only reads: no other run has to wait for them.
#[must_use]
pub fn reading_tool_application_name(runner: &Runner) -> String {
    prefixed_application_name(runner, "bastion-migrate-look")
}

/// Returns the name for sessions through a job's tunnel, which stays open until the job ends.
#[must_use]
pub fn tunnel_application_name(runner: &Runner) -> String {
    prefixed_application_name(runner, "bastion-migrate-tunnel")
}

/// Returns the name for the session that monitors a run's work without being part of it.
#[must_use]
pub fn monitor_application_name(runner: &Runner) -> String {
    prefixed_application_name(runner, "bastion-migrate-watch")
}

/// Prefix of the names of tool sessions that may write.
const TOOL_PREFIX: &str = "bastion-migrate-tool";

fn prefixed_application_name(runner: &Runner, beginning: &str) -> String {
    let name = application_name(runner).replacen("bastion-migrate", beginning, 1);
    name.chars().take(MAX_NAME_LENGTH).collect()
}

/// An advisory lock: its key and its name in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvisoryLock {
    key: i64,
    /// The tool whose own lock it is, if it is not the run lock.
    tool: Option<&'static str>,
}

impl AdvisoryLock {
    /// Returns the key as `pg_locks` shows it, in `classid` and `objid` (PostgreSQL manual, 54.12).
    pub(crate) fn pg_locks_key(self) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = self.key.to_be_bytes();
        (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
    }
}

/// Returns the lock that keeps two runs of bastion-migrate apart.
#[must_use]
pub fn bastion_migrate_lock() -> AdvisoryLock {
    AdvisoryLock { key: bastion_migrate_key(), tool: None }
}

/// Returns the lock that another tool takes, so that the tool waits during our run.
#[must_use]
pub fn tool_lock(key: i64, tool: &'static str) -> AdvisoryLock {
    AdvisoryLock { key, tool: Some(tool) }
}

/// Returns SQL that tries to take the lock and returns `t` or `f`.
#[must_use]
pub fn try_lock_sql(key: i64) -> String {
    format!("SELECT pg_catalog.pg_try_advisory_lock({key})")
}

/// Returns the query that tries to take these locks, each only under the run lock and on the session's own backend
/// ([`Session::is_own_backend_sql`]): a run that waits for the run lock must not hold what its holder needs.
/// [`parse_taken_locks`] reads the response.
#[must_use]
pub fn try_under_run_lock_sql(locks: &[AdvisoryLock], is_own_backend: &str) -> String {
    let run_lock = bastion_migrate_key();
    let attempts = locks.iter().map(|AdvisoryLock { key, .. }| {
        format!(
            "SELECT {}, '{key}', CASE WHEN {is_own_backend} AND NOT pg_catalog.pg_is_in_recovery() \
             THEN CASE WHEN pg_catalog.pg_try_advisory_lock({run_lock}) THEN pg_catalog.pg_try_advisory_lock({key}) END END",
            RowTag::ToolLock
        )
    });
    attempts.collect::<Vec<_>>().join("; ")
}

/// Returns those of these locks that [`try_under_run_lock_sql`] has taken.
#[must_use]
pub fn parse_taken_locks(locks: &[AdvisoryLock], rows: &Rows) -> Vec<AdvisoryLock> {
    let is_taken = |lock: &&AdvisoryLock| {
        let key = lock.key.to_string();
        rows.tagged(RowTag::ToolLock).any(|row| row.text(0) == Some(key.as_str()) && row.text(1) == Some("t"))
    };
    locks.iter().filter(is_taken).copied().collect()
}

/// The limits of a wait for a lock, and the data to identify its holder.
#[derive(Debug, Clone, Copy)]
pub struct LockWait<'a> {
    /// Time limit of the wait.
    pub limit: Duration,
    /// Name of the input that sets the limit.
    pub input: &'static str,
    /// Time limit for each response (`wait-timeout`).
    pub response_timeout: Duration,
    /// The backends of this run's previous, lost sessions: the server may not have ended them yet.
    pub previous_pids: &'a [i32],
    /// Base URL of the pages of runs.
    pub server_url: Option<&'a str>,
}

/// Takes the lock if it is free, in one round trip. Returns whether it has the lock and no tool of an earlier run is active.
///
/// # Errors
/// The lost connection.
pub async fn try_lock_alone(session: &Session, lock: AdvisoryLock, wait: &LockWait<'_>) -> Result<bool, Fault> {
    let query = OwnQuery::read_only(try_lock_sql(lock.key)).with_appended(&format!("SELECT {ACTIVE_TOOL_COUNT}"));
    let rows = query_within(session, &query, wait).await?;
    Ok(rows.first_text() == Some("t") && rows.row(1).is_some_and(|count| count.text(0) == Some("0")))
}

/// Takes the lock. If this run's previous session holds it, that session is terminated.
///
/// # Errors
/// `lock-held`, naming the holder.
pub async fn acquire_lock(
    session: &Session,
    lock: AdvisoryLock,
    wait: &LockWait<'_>,
    events: &Events,
) -> Result<(), Fault> {
    let AdvisoryLock { key, tool } = lock;
    let lock_name = tool.map_or_else(|| "the run lock".to_owned(), |tool| format!("{tool}'s own lock"));
    let (start, mut ongoing) = (Instant::now(), OngoingWait::begin());
    let mut reported = None;
    loop {
        let rows = query_within(session, &OwnQuery::read_only(try_lock_sql(key)).with_appended(&holder_sql(key)), wait)
            .await?;
        if rows.first_text() == Some("t") {
            return Ok(());
        }
        let holder_row = rows.row(1);
        let previous_pid = holder_row.and_then(|row| previous_session_pid(row, wait));
        let holder = match (previous_pid, holder_row) {
            (Some(pid), _) => {
                format!("this run's own previous session (pid {pid}), which the server has not ended yet")
            }
            (None, Some(row)) => describe_holder(row, wait.server_url),
            (None, None) => "another session".to_owned(),
        };
        let pause = if previous_pid.is_some() { SHORT_RETRY_PAUSE } else { RETRY_PAUSE };
        if start.elapsed() + pause > wait.limit {
            return Err(Fault::new(Code::LockHeld, format!("{lock_name} is held by {holder}")).detail(format!(
                "waited {} s for it (`{}`)",
                wait.limit.as_secs(),
                wait.input
            )));
        }
        ongoing.report_when_long(&lock_name, &format!("held by {holder}"), events);
        if reported.as_ref() != Some(&holder) {
            events.emit(Event::Waiting { what: lock_name.clone(), why: format!("held by {holder}") });
            reported = Some(holder);
            if let Some(pid) = previous_pid {
                query_within(session, &OwnQuery::read_only(terminate_sql(pid)), wait).await?;
            }
        }
        sleep(pause).await;
    }
}

async fn query_within(session: &Session, query: &OwnQuery, wait: &LockWait<'_>) -> Result<Rows, Fault> {
    answer_within(wait.response_timeout, query_rows(&session.client, query)).await
}

/// Returns the holder's pid if it is this run's previous session.
fn previous_session_pid(row: Row<'_>, wait: &LockWait<'_>) -> Option<i32> {
    let holder: i32 = row.parse(0)?;
    wait.previous_pids.contains(&holder).then_some(holder)
}

/// Returns SQL that terminates a session of the same run. It checks the name, because another session may have the
/// pid by now.
fn terminate_sql(pid: i32) -> String {
    format!(
        "{AS_LOGIN_ROLE}; SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = {pid} \
         AND datname = pg_catalog.current_database() \
         AND application_name = pg_catalog.current_setting('application_name')"
    )
}

/// Hands a lock over from one of our sessions to another so that no other session can take it in between: both
/// sessions hold it shared, which excludes an exclusive holder, while the first releases its exclusive hold and the
/// second takes one. If other sessions queue for the lock in the server (sqlx's own tool does), this is not possible
/// and the result is false. The first session may have released its exclusive hold then, which does not matter
/// because it is about to end.
///
/// # Errors
/// One of the sessions is lost.
pub async fn hand_over_lock(from: &Session, to: &Session, lock: AdvisoryLock) -> Result<bool, Fault> {
    let key = lock.key;
    // An unlock for each time it was taken; the last one raises a warning because nothing is left to unlock.
    let share_sql = format!(
        "SET client_min_messages = error; SELECT pg_catalog.pg_try_advisory_lock_shared({key}); \
         DO $bastion_migrate$ BEGIN WHILE pg_catalog.pg_advisory_unlock({key}) LOOP END LOOP; END $bastion_migrate$"
    );
    if !is_granted(from, &share_sql).await?
        || !is_granted(to, &format!("SELECT pg_catalog.pg_try_advisory_lock_shared({key})")).await?
    {
        return Ok(false);
    }
    query_rows(&from.client, &OwnQuery::read_only(format!("SELECT pg_advisory_unlock_shared({key})"))).await?;
    let take_sql = format!("{}; SELECT pg_catalog.pg_advisory_unlock_shared({key})", try_lock_sql(key));
    is_granted(to, &take_sql).await
}

/// Takes the run lock in shared mode, beside the other sessions of the run. Returns whether that succeeded.
///
/// # Errors
/// The session is lost.
pub async fn try_share_lock(session: &Session) -> Result<bool, Fault> {
    is_granted(session, &format!("SELECT pg_catalog.pg_try_advisory_lock_shared({})", bastion_migrate_key())).await
}

/// Turns this session's exclusive hold of the run lock into a shared one, so that other sessions of the run can hold
/// it, too. Returns whether that succeeded; if other sessions queue for the lock in the server, it does not, and the
/// session still holds it exclusively. All sessions of the run together hold it as one: another run gets it after the
/// last of them has ended, and with it its work.
///
/// # Errors
/// The session is lost.
pub async fn share_run_lock(session: &Session) -> Result<bool, Fault> {
    if !try_share_lock(session).await? {
        return Ok(false);
    }
    query_rows(&session.client, &OwnQuery::read_only(release_exclusive_sql(bastion_migrate_key()))).await?;
    Ok(true)
}

/// Returns SQL that releases every exclusive hold: an unlock for each time it was taken, and a last one, which raises a
/// warning because nothing is left to unlock.
fn release_exclusive_sql(key: i64) -> String {
    format!(
        "SET client_min_messages = error; \
         DO $bastion_migrate$ BEGIN WHILE pg_catalog.pg_advisory_unlock({key}) LOOP END LOOP; END $bastion_migrate$; \
         RESET client_min_messages"
    )
}

async fn is_granted(session: &Session, sql: &str) -> Result<bool, Fault> {
    let rows = query_rows(&session.client, &OwnQuery::read_only(sql)).await?;
    Ok(rows.first_text() == Some("t"))
}

/// SQL expression for the number of tool sessions that may write.
pub(super) const ACTIVE_TOOL_COUNT: &str = "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity s \
    WHERE s.datname = pg_catalog.current_database() AND s.application_name LIKE 'bastion-migrate-tool%')";

/// Waits, within `wait`, until no tool of an earlier run is active: over a direct connection a tool outlives its run,
/// whose lock is released when the run ends. Must be called before this run starts a tool of its own.
///
/// # Errors
/// `lock-held`, naming the tool's session.
pub async fn wait_for_other_tools(session: &Session, wait: &LockWait<'_>, events: &Events) -> Result<(), Fault> {
    let query = OwnQuery::read_only(
        "SELECT a.pid, replace(a.application_name, '-tool', ''), a.usename, date_trunc('second', a.backend_start) \
         FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name LIKE 'bastion-migrate-tool%' \
         ORDER BY a.pid",
    );
    let (start, mut ongoing) = (Instant::now(), OngoingWait::begin());
    let mut reported = None;
    loop {
        let rows = query_within(session, &query, wait).await?;
        let Some(first) = rows.row(0) else { return Ok(()) };
        let worker = describe_holder(first, wait.server_url);
        if start.elapsed() + RETRY_PAUSE > wait.limit {
            let cause = format!("a tool is still at work in the database although its run has ended: {worker}");
            return Err(Fault::new(Code::LockHeld, cause)
                .detail(format!("waited {} s for it (`lock-wait`)", wait.limit.as_millis().div_ceil(1_000)))
                .fix("wait until it has ended, or end it (its container, or `SELECT pg_terminate_backend(PID)`), and run again"));
        }
        let why = format!("its run has ended, but it is still active: {worker}");
        ongoing.report_when_long("the tool of another run", &why, events);
        if reported.as_ref() != Some(&worker) {
            events.emit(Event::Waiting { what: "the tool of another run".to_owned(), why });
            reported = Some(worker);
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Returns SQL for the holder of the run lock, without taking it. [`parse_run_lock_holder`] reads the response.
#[must_use]
pub fn run_lock_holder_sql() -> String {
    format!("SELECT {}, h.* FROM ({}) h", RowTag::LockHolder, holder_sql(bastion_migrate_key()))
}

/// Returns the fault that a run meets now: another session holds the run lock.
#[must_use]
pub fn parse_run_lock_holder(rows: &Rows, server_url: Option<&str>) -> Option<Fault> {
    let holder = describe_holder(rows.tagged(RowTag::LockHolder).next()?, server_url);
    Some(Fault::new(Code::LockHeld, format!("the run lock is held by {holder}")))
}

/// Returns SQL for the holder of a lock, as [`describe_holder`] reads it. A bigint key is split over classid and objid (PostgreSQL manual, 54.12).
fn holder_sql(key: i64) -> String {
    format!(
        "SELECT a.pid, a.application_name, a.usename, pg_catalog.date_trunc('second', a.backend_start) \
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
         AND ((l.classid::bigint << 32) | l.objid::bigint) = {key} \
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    )
}

/// Describes a session by its pid, its name, its role and the time of its start.
fn describe_holder(row: Row<'_>, server_url: Option<&str>) -> String {
    let [pid, name, role, since] = row.columns();
    let (pid, name, role) = (pid.unwrap_or("?"), name.unwrap_or_default(), role.unwrap_or("?"));
    // The server shows it only to the holder's role and to roles that may see all sessions.
    let since = since.map(|since| format!(", connected since {since}")).unwrap_or_default();
    let session = match (run_page_url(name, server_url), name) {
        (Some(page), _) => format!("the run {page}"),
        (None, "") => "a session without a name".to_owned(),
        (None, name) => format!("`{name}`"),
    };
    format!("{session} (pid {pid}, role `{role}`{since})")
}

/// Returns the page of the run that is named by a session, unless the name was cut.
fn run_page_url(name: &str, server_url: Option<&str>) -> Option<String> {
    let (run, repository) = name.strip_prefix("bastion-migrate#")?.split_once(' ')?;
    let (run, attempt) = run.split_once('.')?;
    let numbers = [run, attempt].iter().all(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let is_complete = name.len() < MAX_NAME_LENGTH && numbers;
    is_complete.then(|| {
        let server = server_url.unwrap_or("https://github.com");
        format!("{server}/{repository}/actions/runs/{run}/attempts/{attempt}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner() -> Runner {
        Runner {
            run_id: Some("123".to_owned()),
            run_attempt: Some("2".to_owned()),
            repository: Some("acme/shop".to_owned()),
            ..Runner::default()
        }
    }

    #[test]
    fn finds_the_page_of_a_run_from_a_session_name() {
        let name = application_name(&runner());
        assert_eq!(name, "bastion-migrate#123.2 acme/shop");
        let page = run_page_url(&name, Some("https://git.example"));
        assert_eq!(page.as_deref(), Some("https://git.example/acme/shop/actions/runs/123/attempts/2"));
    }

    #[test]
    fn finds_no_page_from_a_name_that_was_cut() {
        let name = application_name(&Runner { repository: Some("a".repeat(80)), ..runner() });
        assert_eq!(name.len(), 63);
        assert_eq!(run_page_url(&name, None), None);
        assert_eq!(run_page_url("psql", None), None);
    }
}
