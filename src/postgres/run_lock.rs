//! The run lock: a session advisory lock, tried again and again, never waited for in the server, because a session that
//! waits in `pg_advisory_lock()` deadlocks with CREATE INDEX CONCURRENTLY (measured: 40P01). It is held by the session that
//! does the work: a lost lock and lost work are the same thing, and who gets it next knows that the work has ended.

use super::{own_query::Question, rows, session::Session, wait::answered};
use crate::{
    fault::{Code, Fault},
    github::runner::Runner,
    run::event::{Event, Events},
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The interval between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// The same where the holder was told to end.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// PostgreSQL cuts `application_name` at 63 bytes (NAMEDATALEN - 1).
const NAME_LENGTH: usize = 63;

/// What our sessions are called, and by what a waiting run names the holder: `bastion-migrate#<run>.<attempt> <repository>`.
#[must_use]
pub fn application_name(runner: &Runner) -> String {
    let mut name = "bastion-migrate".to_owned();
    if let (Some(run), Some(repository)) = (&runner.run_id, &runner.repository) {
        let attempt = runner.run_attempt.as_deref().unwrap_or("1");
        name = format!("{name}#{run}.{attempt} {repository}");
    }
    name.retain(|character| character.is_ascii_graphic() || character == ' ');
    name.truncate(NAME_LENGTH);
    name
}

/// What the sessions of a tool of ours are called that may write: not as the session that holds the lock.
#[must_use]
pub fn tool_name(runner: &Runner) -> String {
    named(runner, TOOL)
}

/// The same of a tool that only looks: nobody has to wait for it.
#[must_use]
pub fn look_name(runner: &Runner) -> String {
    named(runner, "bastion-migrate-look")
}

/// The same of whoever comes through the tunnel of a job: it is open for as long as the job is.
#[must_use]
pub fn tunnel_name(runner: &Runner) -> String {
    named(runner, "bastion-migrate-tunnel")
}

/// The same of the session that watches over a run's work, and is no part of it.
#[must_use]
pub fn watch_name(runner: &Runner) -> String {
    named(runner, "bastion-migrate-watch")
}

/// With what the name of a tool's session begins that may write.
const TOOL: &str = "bastion-migrate-tool";

fn named(runner: &Runner, beginning: &str) -> String {
    let name = application_name(runner).replacen("bastion-migrate", beginning, 1);
    name.chars().take(NAME_LENGTH).collect()
}

/// A lock and what people call it.
#[derive(Debug, Clone, Copy)]
pub struct Lock {
    key: i64,
    what: &'static str,
}

impl Lock {
    /// Returns the key as `pg_locks` has it, in `classid` and `objid` (PostgreSQL manual, 54.12).
    pub(super) fn halves(self) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = self.key.to_be_bytes();
        (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
    }
}

/// The lock that keeps two of our runs apart.
#[must_use]
pub fn own() -> Lock {
    Lock { key: own_key(), what: "the run lock" }
}

/// The lock that sqlx's library takes, so that the original tool waits while we work.
#[must_use]
pub fn sqlx(database: &str) -> Lock {
    Lock { key: sqlx_key(database), what: "sqlx's own lock" }
}

/// The key of our own lock. Advisory locks are per database, so one key does.
#[must_use]
pub fn own_key() -> i64 {
    let digest = Sha256::digest(b"bastion-migrate/v1");
    let mut first = [0; 8];
    first.copy_from_slice(digest.as_slice().split_at(8).0);
    i64::from_be_bytes(first)
}

/// Made as sqlx makes it (sqlx 0.9, `generate_lock_id`).
fn sqlx_key(database: &str) -> i64 {
    0x3d32_ad9e * i64::from(crc32fast::hash(database.as_bytes()))
}

/// SQL that tries to take the lock and says `t` or `f`.
#[must_use]
pub fn try_sql(key: i64) -> String {
    format!("SELECT pg_catalog.pg_try_advisory_lock({key})")
}

/// How long to wait for a lock, and whom else than others it may be held by.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// The longest time.
    pub limit: Duration,
    /// The input that says so.
    pub input: &'static str,
    /// The longest time for an answer (`wait-timeout`).
    pub answer: Duration,
    /// The backend of the session that this run had before and has given up: the server may not have ended it yet.
    pub before: Option<i32>,
    /// Where the pages of runs are.
    pub server_url: Option<&'a str>,
}

/// Takes the lock. Where our own session of before holds it, the server is told to end that.
///
/// # Errors
/// `lock-held`, naming the holder.
pub async fn acquire(session: &Session, lock: Lock, wait: &Wait<'_>, events: &Events) -> Result<(), Fault> {
    let Lock { key, what } = lock;
    let began = Instant::now();
    let mut said = None;
    loop {
        let answer = ask(session, &Question::reading(try_sql(key)).and(&holder_sql(key)), wait).await?;
        if answer.first().and_then(|row| row.first()).is_some_and(|got| got.as_deref() == Some("t")) {
            return Ok(());
        }
        let own = answer.get(1).and_then(|row| own_pid(row, wait));
        let holder = match (own, answer.get(1)) {
            (Some(pid), _) => {
                format!("this run's own session of before (pid {pid}), which the server has not ended yet")
            }
            (None, Some(row)) => describe(row, wait.server_url),
            (None, None) => "another session".to_owned(),
        };
        let pause = if own.is_some() { SHORT_PAUSE } else { PAUSE };
        if began.elapsed() + pause > wait.limit {
            return Err(Fault::new(Code::LockHeld, format!("{what} is held by {holder}")).detail(format!(
                "waited {} s for it (`{}`)",
                wait.limit.as_secs(),
                wait.input
            )));
        }
        if said.as_ref() != Some(&holder) {
            events.tell(Event::Waiting { what: what.to_owned(), why: format!("held by {holder}") });
            said = Some(holder);
            if let Some(pid) = own {
                ask(session, &Question::reading(end_sql(pid)), wait).await?;
            }
        }
        sleep(pause).await;
    }
}

async fn ask(session: &Session, question: &Question, wait: &Wait<'_>) -> Result<Vec<Vec<Option<String>>>, Fault> {
    answered(wait.answer, rows(&session.client, question)).await
}

/// The holder's pid, if it is the session that we had before.
fn own_pid(row: &[Option<String>], wait: &Wait<'_>) -> Option<i32> {
    let holder: i32 = row.first()?.as_deref()?.parse().ok()?;
    wait.before.filter(|before| *before == holder)
}

/// Ends a session of the same run; the number alone could be another one's by now.
fn end_sql(pid: i32) -> String {
    format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = {pid} \
         AND datname = pg_catalog.current_database() \
         AND application_name = pg_catalog.current_setting('application_name')"
    )
}

/// Hands a lock over from one session of ours to another, so that nobody can take it in between: both hold it shared, which
/// nobody can take who wants it for himself alone, while the first one lets go of the rest and the second one takes it. Where
/// others queue for it in the server (sqlx's own tool) there is no such way, and the answer is false: the first one has let go
/// of nothing that matters then, as it will end.
///
/// # Errors
/// One of the sessions is lost.
pub async fn hand_over(from: &Session, to: &Session, lock: Lock) -> Result<bool, Fault> {
    let key = lock.key;
    // As often as it was taken; the last try complains that it is gone.
    let share = format!(
        "SET client_min_messages = error; SELECT pg_catalog.pg_try_advisory_lock_shared({key}); \
         DO $bastion_migrate$ BEGIN WHILE pg_catalog.pg_advisory_unlock({key}) LOOP END LOOP; END $bastion_migrate$"
    );
    if !is_granted(from, &share).await?
        || !is_granted(to, &format!("SELECT pg_catalog.pg_try_advisory_lock_shared({key})")).await?
    {
        return Ok(false);
    }
    rows(&from.client, &Question::reading(format!("SELECT pg_advisory_unlock_shared({key})"))).await?;
    let take = format!("{}; SELECT pg_catalog.pg_advisory_unlock_shared({key})", try_sql(key));
    is_granted(to, &take).await
}

async fn is_granted(session: &Session, sql: &str) -> Result<bool, Fault> {
    let answer = rows(&session.client, &Question::reading(sql)).await?;
    Ok(answer.first().and_then(|row| row.first()).is_some_and(|got| got.as_deref() == Some("t")))
}

/// SQL that counts the sessions of tools that may write.
pub(super) const AT_WORK: &str = "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity s \
    WHERE s.datname = pg_catalog.current_database() AND s.application_name LIKE 'bastion-migrate-tool%')";

/// Waits, within `wait`, until no tool of a run of before works any more: where the connection is direct it outlives its run, and
/// the lock went with that. Who has just taken the lock has none yet.
///
/// # Errors
/// `lock-held`, naming the tool's session.
pub async fn alone(session: &Session, wait: &Wait<'_>, events: &Events) -> Result<(), Fault> {
    let question = Question::reading(
        "SELECT a.pid, replace(a.application_name, '-tool', ''), a.usename, date_trunc('second', a.backend_start) \
         FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name LIKE 'bastion-migrate-tool%' \
         ORDER BY a.pid",
    );
    let began = Instant::now();
    let mut said = None;
    loop {
        let answer = ask(session, &question, wait).await?;
        let Some(first) = answer.first() else { return Ok(()) };
        let worker = describe(first, wait.server_url);
        if began.elapsed() + PAUSE > wait.limit {
            let cause = format!("a tool is still at work in the database although its run has ended: {worker}");
            return Err(Fault::new(Code::LockHeld, cause)
                .detail(format!("waited {} s for it (`lock-wait`)", wait.limit.as_millis().div_ceil(1_000)))
                .fix("wait until it has ended, or end it (its container, or `SELECT pg_terminate_backend(PID)`), and run again"));
        }
        if said.as_ref() != Some(&worker) {
            let why = format!("its run has ended, and it still works: {worker}");
            events.tell(Event::Waiting { what: "the tool of another run".to_owned(), why });
            said = Some(worker);
        }
        sleep(PAUSE).await;
    }
}

/// Who holds it: a bigint key is split over classid and objid (PostgreSQL manual, 54.12).
fn holder_sql(key: i64) -> String {
    format!(
        "SELECT a.pid, a.application_name, a.usename, pg_catalog.date_trunc('second', a.backend_start) \
         FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted \
         AND ((l.classid::bigint << 32) | l.objid::bigint) = {key} \
         AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    )
}

fn describe(row: &[Option<String>], server_url: Option<&str>) -> String {
    let field = |index: usize| row.get(index).and_then(Option::as_deref);
    let (pid, name, role) = (field(0).unwrap_or("?"), field(1).unwrap_or_default(), field(2).unwrap_or("?"));
    // The server hides it from a role that is neither the holder's nor allowed to see all.
    let since = field(3).map(|since| format!(", connected since {since}")).unwrap_or_default();
    let who = match (run_page(name, server_url), name) {
        (Some(page), _) => format!("the run {page}"),
        (None, "") => "a session without a name".to_owned(),
        (None, name) => format!("`{name}`"),
    };
    format!("{who} (pid {pid}, role `{role}`{since})")
}

/// The page of the run that a session's name tells, if the name was not cut.
fn run_page(name: &str, server_url: Option<&str>) -> Option<String> {
    let (run, repository) = name.strip_prefix("bastion-migrate#")?.split_once(' ')?;
    let (run, attempt) = run.split_once('.')?;
    let numbers = [run, attempt].iter().all(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    let whole = name.len() < NAME_LENGTH && numbers;
    whole.then(|| {
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
    fn the_name_of_a_session_leads_to_its_run() {
        let name = application_name(&runner());
        assert_eq!(name, "bastion-migrate#123.2 acme/shop");
        let page = run_page(&name, Some("https://git.example"));
        assert_eq!(page.as_deref(), Some("https://git.example/acme/shop/actions/runs/123/attempts/2"));
    }

    #[test]
    fn a_name_that_was_cut_leads_nowhere() {
        let name = application_name(&Runner { repository: Some("a".repeat(80)), ..runner() });
        assert_eq!(name.len(), 63);
        assert_eq!(run_page(&name, None), None);
        assert_eq!(run_page("psql", None), None);
    }

    #[test]
    fn computes_the_key_of_sqlx() {
        // CRC-32 of "123456789" is the check value 0xcbf43926 of its definition.
        assert_eq!(sqlx_key("123456789"), 0x3d32_ad9e * 0xcbf4_3926);
    }
}
