//! Waits for locks: the blocking session is named, concurrent statements may wait without a limit, and every index that
//! is left INVALID is reported.

use crate::{
    action::{Action, Running},
    lab::{
        Lab,
        server::{Server, from_the_server},
        session::Session,
    },
};
use rustix::process::Signal;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
const INVALID_INDEX: &str = "t_id is INVALID since this run";
const BUILD: &str = "create index concurrently t_id on t (id);\n";

fn with_table() -> Lab {
    let lab = Lab::new();
    lab.database.sql("create table t (id int, n int); insert into t values (1, 0), (2, 0); alter table t owner to app");
    lab
}

/// A session of the app that keeps a transaction open.
struct Blocker {
    session: Session,
    pid: String,
}

impl Blocker {
    fn begin(lab: &Lab, suffix: &str) -> Self {
        let session = Session::open(&lab.database.url().parse().expect("a URL")).expect("a session");
        session.sql(&format!("begin; {suffix}"));
        let pid = session.sql("select pg_backend_pid()");
        Self { session, pid }
    }

    /// Returns the text that names the session in the log.
    fn name(&self, suffix: &str) -> String {
        format!("held up by pid {} `lab` (role `app`, idle in transaction, begun ", self.pid) + suffix
    }

    fn end(&self) {
        self.session.sql("rollback");
    }
}

fn file<'a>(lab: &'a Lab, body: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_one.sql", body)
}

/// Waits until a session of the run has waited longer than the lock timeout of any try.
fn wait_for_long_wait(lab: &Lab) {
    lab.database.wait_for(
        "select count(*) from pg_locks join pg_stat_activity using (pid) where not granted \
         and application_name like 'bastion-migrate%' and datname = current_database() \
         and clock_timestamp() - waitstart > '1500 ms'",
        "1",
    );
}

fn log_after<'l>(running: &Running<'_>, text: &str, log: &'l mut String) -> &'l str {
    *log = running.log();
    log.split_once(text).map_or("", |(_, after)| after)
}

/// Preparation, blocking statement, waiting statement, and its name in the log.
const CONCURRENT_STATEMENTS: &[(&str, &str, &str, &str)] = &[
    ("", "update t set n = n where id = 1", BUILD, "CREATE INDEX CONCURRENTLY"),
    ("create index t_id on t (id)", "select * from t", "drop index concurrently t_id;\n", "DROP INDEX CONCURRENTLY"),
    (
        "create index t_id on t (id)",
        "update t set n = n where id = 1",
        "reindex index concurrently t_id;\n",
        "REINDEX CONCURRENTLY",
    ),
    (
        "create table p (id int) partition by range (id); create table p1 partition of p for values from (1) to (9); \
         alter table p owner to app; alter table p1 owner to app",
        "select * from p",
        "alter table p detach partition p1 concurrently;\n",
        "DETACH PARTITION CONCURRENTLY",
    ),
    (
        "create materialized view v as select id from t; create unique index on v (id); alter materialized view v owner to app",
        "refresh materialized view v",
        "refresh materialized view concurrently v;\n",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY",
    ),
];

#[test]
fn concurrent_statements_wait_for_the_blocking_session_and_name_it() {
    for (first, blocking, statement, form) in CONCURRENT_STATEMENTS {
        let lab = with_table();
        lab.database.sql(first);
        let blocker = Blocker::begin(&lab, blocking);
        let running = file(&lab, statement).input("lock-timeout", "300ms").start();
        running.wait_for_line(&format!("{form}, pid "), SOON);
        running.wait_for_line(&blocker.name(""), SOON);
        wait_for_long_wait(&lab);
        blocker.end();
        running.finish().succeeds().applied(["0001_one"]).never_logs("another try").done();
        assert_eq!(lab.database.sql("select count(*) from pg_index where not indisvalid"), "0", "{form}");
    }
}

#[test]
fn a_concurrent_build_in_an_opted_out_file_waits_and_later_statements_are_limited_again() {
    let lab = with_table();
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let record = "create table told as select current_setting('lock_timeout') as limit;\n";
    let body = format!("-- no-transaction\n{BUILD}{record}");
    let running = file(&lab, &body).input("lock-timeout", "300ms").start();
    running.wait_for_line("CREATE INDEX CONCURRENTLY, pid ", SOON);
    wait_for_long_wait(&lab);
    blocker.end();
    running.finish().succeeds().applied(["0001_one"]).never_logs("another try").done();
    assert_eq!(lab.database.sql("select * from told"), "100ms");
}

#[test]
fn a_blocked_statement_is_retried_with_growing_pauses_and_names_the_lock_holder() {
    let lab = with_table();
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let running = file(&lab, "alter table t add name text;\n").start();
    running.wait_for_line("another try of migrations/0001_one.sql (1 of 3, in ", SOON);
    let blocked_at = Instant::now();
    running.wait_for_line(&blocker.name(""), SOON);
    assert!(blocked_at.elapsed() < Duration::from_secs(4), "named after {:?}", blocked_at.elapsed());
    running.wait_for_line("(2 of 3, in at most 10 s)", SOON);
    let mut log = String::new();
    let reason = log_after(&running, "(2 of 3", &mut log);
    let named = format!("in the way of AccessExclusiveLock on public.t: pid {} `lab`", blocker.pid);
    assert!(reason.lines().next().is_some_and(|line| line.contains(&named)), "{log}");
    let released_at = Instant::now();
    blocker.end();
    // The run notices that no session blocks it any more and cuts the pause short.
    let finished = running.finish();
    assert!(released_at.elapsed() < Duration::from_secs(8), "done after {:?}", released_at.elapsed());
    finished.succeeds().applied(["0001_one"]).never_logs("(3 of 3").done();
}

#[test]
fn the_fault_names_the_session_that_blocked_the_last_try() {
    let lab = with_table();
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let step = file(&lab, "alter table t add name text;\n").input("retries", "1").input("lock-timeout", "2s");
    let finished = step.run().fails("lock-timeout", 6).pending(["0001_one"]);
    let named = format!("in the way of AccessExclusiveLock on public.t: pid {} `lab`", blocker.pid);
    let annotated = finished.annotations.iter().any(|annotation| annotation.message.contains(&named));
    assert!(annotated && finished.summary.contains("in the way of"), "{}", finished.log);
    finished.annotation("migrations/0001_one.sql", 1, "lock timeout").done();
}

#[test]
fn a_long_statement_logs_that_it_is_still_running() {
    let lab = Lab::new();
    let finished = file(&lab, "select pg_sleep(18);\n").run().succeeds().applied(["0001_one"]);
    finished.logs("still at work: pid ").logs(" s (select)").done();
}

#[test]
fn an_index_whose_build_is_cancelled_is_reported() {
    let lab = with_table();
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let running = file(&lab, BUILD).start();
    running.wait_for_line(&blocker.name(""), SOON);
    running.signal(Signal::INT);
    let finished = running.finish().fails("cancelled", 130).pending(["0001_one"]).warning(INVALID_INDEX);
    assert!(finished.summary.contains("INVALID") && finished.log.contains(INVALID_INDEX), "{}", finished.summary);
    finished.done();
    blocker.end();
    file(&lab, BUILD).run().succeeds().applied(["0001_one"]).logs("dropped the INVALID index").done();
}

/// A step with a shell command as its tool, on the server.
fn on_server<'a>(lab: &'a Lab, server: &'a Server, sql: &str) -> Action<'a> {
    let url = from_the_server(&lab.database);
    Action::on_server(lab, server)
        .secret("database-url", lab.database.url())
        .input("tool", "custom")
        .input("setup", format!("export DATABASE_URL='{url}'"))
        .input("run", format!("psql -Xqv ON_ERROR_STOP=1 \"$DATABASE_URL\" -c '{sql}'"))
}

const UNPROVEN: &str = "only the tool itself reports that";

#[test]
fn a_tools_index_build_that_hits_the_limit_is_retried_without_it() {
    let (lab, server) = (with_table(), Server::start());
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let running = on_server(&lab, &server, BUILD.trim()).start();
    running.wait_for_line(&blocker.name(""), SOON);
    running.wait_for_line("the lock timeout ended CREATE INDEX CONCURRENTLY", SOON);
    wait_for_long_wait(&lab);
    blocker.end();
    let finished = running.finish().succeeds().warning(UNPROVEN);
    finished.logs("dropped the INVALID index public.t_id that this attempt left behind").done();
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 't_id'::regclass"), "t");
}

#[test]
fn a_tools_index_build_that_hits_the_limit_without_retries_reports_the_invalid_index() {
    let (lab, server) = (with_table(), Server::start());
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let step = on_server(&lab, &server, BUILD.trim()).input("retries", "0").input("lock-timeout", "2s");
    let finished = step.run().fails("lock-timeout", 6).warning(INVALID_INDEX);
    finished.logs("`DROP INDEX CONCURRENTLY public.t_id` first").logs("waits for older transactions").done();
    // The next run's tool finds the index, and the advice is not to record the migration as applied.
    blocker.end();
    let finished = on_server(&lab, &server, BUILD.trim()).run().fails("tool-failed", 6);
    finished.logs("it is INVALID: an earlier build of it was interrupted").never_logs("record it as applied").done();
    lab.database.sql("drop index t_id");
    on_server(&lab, &server, BUILD.trim()).run().succeeds().warning(UNPROVEN).done();
}

#[test]
fn a_blocked_tool_is_retried_with_growing_pauses_and_names_the_lock_holder() {
    let (lab, server) = (with_table(), Server::start());
    let blocker = Blocker::begin(&lab, "update t set n = n where id = 1");
    let running = on_server(&lab, &server, "alter table t add name text").start();
    running.wait_for_line("another try of the tool (1 of 3, in ", SOON);
    running.wait_for_line(&blocker.name(""), SOON);
    running.wait_for_line("another try of the tool (2 of 3, in at most 10 s)", SOON);
    blocker.end();
    running.finish().succeeds().warning(UNPROVEN).never_logs("(3 of 3").done();
}

/// The index build waits without a limit in a separate try; the monitor still limits statements that other sessions
/// queue behind.
#[test]
fn a_try_without_lock_timeout_still_limits_other_statements() {
    let (lab, server) = (with_table(), Server::start());
    lab.database.sql("create table other (id int); alter table other owner to app");
    let first = Blocker::begin(&lab, "update t set n = n where id = 1");
    let second = Blocker::begin(&lab, "lock table other in access share mode");
    let step = on_server(&lab, &server, BUILD.trim()).input("lock-timeout", "1s");
    let run = "psql -Xqv ON_ERROR_STOP=1 \"$DATABASE_URL\" -c 'create index concurrently if not exists t_id on t (id)' \
               -c 'alter table other add x int'";
    let running = step.input("run", run).input("retries", "2").start();
    running.wait_for_line("the lock timeout ended CREATE INDEX CONCURRENTLY", SOON);
    first.end();
    running.wait_for_line("canceling statement due to user request", SOON);
    running.wait_for_line(&second.name(""), SOON);
    second.end();
    running.finish().succeeds().warning(UNPROVEN).done();
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 't_id'::regclass"), "t");
}
