//! Who waits for a lock says for whom; what waits for others by what it is does so in peace; nothing INVALID is left unsaid.

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
const BROKEN: &str = "t_id is INVALID since this run";
const BUILD: &str = "create index concurrently t_id on t (id);\n";

fn with_table() -> Lab {
    let lab = Lab::new();
    lab.database.sql("create table t (id int, n int); insert into t values (1, 0), (2, 0); alter table t owner to app");
    lab
}

/// A session of the app's own, which has begun something and does not end it.
struct Blocker {
    session: Session,
    pid: String,
}

impl Blocker {
    fn begins(lab: &Lab, what: &str) -> Self {
        let session = Session::open(&lab.database.url().parse().expect("a URL")).expect("a session");
        session.sql(&format!("begin; {what}"));
        let pid = session.sql("select pg_backend_pid()");
        Self { session, pid }
    }

    /// How it is named.
    fn name(&self, what: &str) -> String {
        format!("held up by pid {} `lab` (role `app`, idle in transaction, begun ", self.pid) + what
    }

    fn ends(&self) {
        self.session.sql("rollback");
    }
}

fn file<'a>(lab: &'a Lab, body: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_one.sql", body)
}

/// Somebody of the run waits for longer than any try of it would be let wait.
fn waits_long(lab: &Lab) {
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

/// What is made first, what stands in the way, and what waits for it.
const PATIENT: &[(&str, &str, &str, &str)] = &[
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
fn what_is_done_concurrently_waits_for_who_is_in_its_way_and_names_them() {
    for (first, way, statement, form) in PATIENT {
        let lab = with_table();
        lab.database.sql(first);
        let blocker = Blocker::begins(&lab, way);
        let running = file(&lab, statement).input("lock-timeout", "300ms").start();
        running.wait_for_line(&format!("{form}, pid "), SOON);
        running.wait_for_line(&blocker.name(""), SOON);
        waits_long(&lab);
        blocker.ends();
        running.finish().succeeds().applied(["0001_one"]).never_logs("another try").done();
        assert_eq!(lab.database.sql("select count(*) from pg_index where not indisvalid"), "0", "{form}");
    }
}

#[test]
fn the_same_in_a_file_that_has_opted_out_and_what_follows_is_limited_again() {
    let lab = with_table();
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let told = "create table told as select current_setting('lock_timeout') as limit;\n";
    let body = format!("-- no-transaction\n{BUILD}{told}");
    let running = file(&lab, &body).input("lock-timeout", "300ms").start();
    running.wait_for_line("CREATE INDEX CONCURRENTLY, pid ", SOON);
    waits_long(&lab);
    blocker.ends();
    running.finish().succeeds().applied(["0001_one"]).never_logs("another try").done();
    assert_eq!(lab.database.sql("select * from told"), "100ms");
}

#[test]
fn a_statement_that_meets_a_lock_climbs_the_ladder_and_names_who_has_it() {
    let lab = with_table();
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let running = file(&lab, "alter table t add name text;\n").start();
    running.wait_for_line("another try of migrations/0001_one.sql (1 of 3, in ", SOON);
    let met = Instant::now();
    running.wait_for_line(&blocker.name(""), SOON);
    assert!(met.elapsed() < Duration::from_secs(4), "named after {:?}", met.elapsed());
    running.wait_for_line("(2 of 3, in at most 10 s)", SOON);
    let mut log = String::new();
    let why = log_after(&running, "(2 of 3", &mut log);
    let named = format!("in the way of AccessExclusiveLock on public.t: pid {} `lab`", blocker.pid);
    assert!(why.lines().next().is_some_and(|line| line.contains(&named)), "{log}");
    let ended = Instant::now();
    blocker.ends();
    // It is seen that nobody is in the way any more: the pause is not waited for.
    let told = running.finish();
    assert!(ended.elapsed() < Duration::from_secs(8), "done after {:?}", ended.elapsed());
    told.succeeds().applied(["0001_one"]).never_logs("(3 of 3").done();
}

#[test]
fn who_was_in_the_way_of_the_last_try_is_in_the_fault() {
    let lab = with_table();
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let step = file(&lab, "alter table t add name text;\n").input("retries", "1").input("lock-timeout", "2s");
    let told = step.run().fails("lock-timeout", 6).pending(["0001_one"]);
    let named = format!("in the way of AccessExclusiveLock on public.t: pid {} `lab`", blocker.pid);
    let annotated = told.annotations.iter().any(|annotation| annotation.message.contains(&named));
    assert!(annotated && told.summary.contains("in the way of"), "{}", told.log);
    told.annotation("migrations/0001_one.sql", 1, "lock timeout").done();
}

#[test]
fn a_statement_that_takes_long_gives_signs_of_life() {
    let lab = Lab::new();
    let told = file(&lab, "select pg_sleep(18);\n").run().succeeds().applied(["0001_one"]);
    told.logs("still at work: pid ").logs(" s (select)").done();
}

#[test]
fn an_index_whose_build_is_cancelled_is_told() {
    let lab = with_table();
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let running = file(&lab, BUILD).start();
    running.wait_for_line(&blocker.name(""), SOON);
    running.signal(Signal::INT);
    let told = running.finish().fails("cancelled", 130).pending(["0001_one"]).warning(BROKEN);
    assert!(told.summary.contains("INVALID") && told.log.contains(BROKEN), "{}", told.summary);
    told.done();
    blocker.ends();
    file(&lab, BUILD).run().succeeds().applied(["0001_one"]).logs("dropped the INVALID index").done();
}

/// A tool that is a line for a shell, on the server.
fn on_server<'a>(lab: &'a Lab, server: &'a Server, sql: &str) -> Action<'a> {
    let url = from_the_server(&lab.database);
    Action::on_server(lab, server)
        .secret("database-url", lab.database.url())
        .input("tool", "custom")
        .input("setup", format!("export DATABASE_URL='{url}'"))
        .input("run", format!("psql -Xqv ON_ERROR_STOP=1 \"$DATABASE_URL\" -c '{sql}'"))
}

const ONLY_ITS_WORD: &str = "only the tool itself reports that";

#[test]
fn a_tool_whose_build_meets_the_limit_has_another_try_that_waits() {
    let (lab, server) = (with_table(), Server::start());
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let running = on_server(&lab, &server, BUILD.trim()).start();
    running.wait_for_line(&blocker.name(""), SOON);
    running.wait_for_line("the lock timeout ended CREATE INDEX CONCURRENTLY", SOON);
    waits_long(&lab);
    blocker.ends();
    let told = running.finish().succeeds().warning(ONLY_ITS_WORD);
    told.logs("dropped the INVALID index public.t_id that this attempt left behind").done();
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 't_id'::regclass"), "t");
}

#[test]
fn a_tool_whose_build_meets_the_limit_and_may_not_try_again_says_what_is_left() {
    let (lab, server) = (with_table(), Server::start());
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let step = on_server(&lab, &server, BUILD.trim()).input("retries", "0").input("lock-timeout", "2s");
    let told = step.run().fails("lock-timeout", 6).warning(BROKEN);
    told.logs("`DROP INDEX CONCURRENTLY public.t_id` first").logs("waits for older transactions").done();
    // The next run's tool finds it there, and is not told to take it for applied.
    blocker.ends();
    let told = on_server(&lab, &server, BUILD.trim()).run().fails("tool-failed", 6);
    told.logs("it is INVALID: an earlier build of it was interrupted").never_logs("record it as applied").done();
    lab.database.sql("drop index t_id");
    on_server(&lab, &server, BUILD.trim()).run().succeeds().warning(ONLY_ITS_WORD).done();
}

#[test]
fn a_tool_that_meets_a_lock_climbs_the_ladder_and_names_who_has_it() {
    let (lab, server) = (with_table(), Server::start());
    let blocker = Blocker::begins(&lab, "update t set n = n where id = 1");
    let running = on_server(&lab, &server, "alter table t add name text").start();
    running.wait_for_line("another try of the tool (1 of 3, in ", SOON);
    running.wait_for_line(&blocker.name(""), SOON);
    running.wait_for_line("another try of the tool (2 of 3, in at most 10 s)", SOON);
    blocker.ends();
    running.finish().succeeds().warning(ONLY_ITS_WORD).never_logs("(3 of 3").done();
}

/// A build waits without a limit in a try of its own; what others queue behind still has one, by the one who watches.
#[test]
fn in_a_patient_try_other_statements_are_ended_after_the_limit() {
    let (lab, server) = (with_table(), Server::start());
    lab.database.sql("create table other (id int); alter table other owner to app");
    let first = Blocker::begins(&lab, "update t set n = n where id = 1");
    let second = Blocker::begins(&lab, "lock table other in access share mode");
    let step = on_server(&lab, &server, BUILD.trim()).input("lock-timeout", "1s");
    let run = "psql -Xqv ON_ERROR_STOP=1 \"$DATABASE_URL\" -c 'create index concurrently if not exists t_id on t (id)' \
               -c 'alter table other add x int'";
    let running = step.input("run", run).input("retries", "2").start();
    running.wait_for_line("the lock timeout ended CREATE INDEX CONCURRENTLY", SOON);
    first.ends();
    running.wait_for_line("canceling statement due to user request", SOON);
    running.wait_for_line(&second.name(""), SOON);
    second.ends();
    running.finish().succeeds().warning(ONLY_ITS_WORD).done();
    assert_eq!(lab.database.sql("select indisvalid from pg_index where indexrelid = 't_id'::regclass"), "t");
}
