//! Runs through a connection pooler in session mode, a real `PgBouncer`: the same promises hold as without one.

use crate::{
    action::Action,
    lab::{
        Lab,
        pgbouncer::{PgBouncer, Pool},
        postgres::{Options, Postgres},
        server::Server,
        session::Session,
    },
};
use rustix::process::Signal;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// A pooler that refuses `options` in the start-up packet, as it does by default.
const STRICT: &str = "";
/// A pooler that drops `options` silently.
const LENIENT: &str = "ignore_startup_parameters = options,extra_float_digits";
/// A pooler that does not clean up behind its clients.
const UNCLEAN: &str = "server_reset_query =";

const LIMIT: Duration = Duration::from_secs(20);

const USERS: &str = "create table users (id int);\n";

/// A step through the bastion and this pooler, with more in its URL.
fn through<'a>(lab: &'a Lab, pooler: &PgBouncer, parameters: &str) -> Action<'a> {
    let url = lab.database.url_at("localhost", pooler.port());
    Action::new(lab).secret("database-url", format!("{url}{parameters}")).input("database-sslmode", "disable")
}

fn start(lab: &Lab, lines: &str) -> PgBouncer {
    PgBouncer::configured(&lab.database, Pool::Session, lines)
}

#[test]
fn a_pooler_in_session_mode_is_used_and_reported() {
    for lines in [STRICT, LENIENT, UNCLEAN] {
        let lab = Lab::new();
        let pooler = start(&lab, lines);
        let step = || through(&lab, &pooler, "").file("migrations/0001_users.sql", USERS);
        step().input("command", "plan").run().has_pending().pending(["0001_users"]).logs("in session mode").done();
        assert_eq!(lab.database.contents(), "", "{lines}");
        step()
            .run()
            .succeeds()
            .applied(["0001_users"])
            .logs("pooler    in session mode")
            .summary("in session mode")
            .done();
        step().input("command", "verify").run().succeeds().done();
        step().run().nothing_to_do().done();
    }
}

#[test]
fn sessions_of_a_plan_are_read_only_behind_a_pooler() {
    let server = Postgres::start(&Options { settings: &["log_statement = 'all'"], ..Options::default() });
    let lab = Lab::on(&server);
    let pooler = start(&lab, STRICT);
    let step = through(&lab, &pooler, "?options=-c%20default_transaction_read_only%3Doff");
    let step = step.file("migrations/0001_users.sql", USERS).input("command", "plan");
    step.run().has_pending().pending(["0001_users"]).done();
    let log = server.log();
    let off = log.find("set_config('default_transaction_read_only', 'off', false)").expect("the URL's is set");
    let on = log.rfind("set_config('default_transaction_read_only', 'on', false)").expect("ours is set");
    assert!(off < on, "{log}");
}

/// A file that records the settings of its session.
fn record_settings(table: &str) -> String {
    format!(
        "create table {table} as select current_setting('search_path') as path, current_setting('lock_timeout') as lock, \
         current_setting('statement_timeout') as statement, current_setting('application_name') like 'bastion-migrate%' as named, \
         current_setting('client_encoding') as encoding, current_setting('standard_conforming_strings') as strings;\n"
    )
}

#[test]
fn settings_hold_for_every_file_whatever_the_files_before_it_did() {
    for lines in [STRICT, LENIENT] {
        let lab = Lab::new();
        let pooler = start(&lab, lines);
        lab.database.sql("create schema app authorization app");
        let url =
            "?options=-c%20search_path%3Dapp,public%20-c%20lock_timeout%3D7s%20--standard-conforming-strings%3Don";
        let names = ["a", "b", "c", "d", "e"];
        let between = [
            "reset all;\nset search_path to pg_catalog;\nset lock_timeout = '1s';\n",
            "create table public.rows (id int);\ncopy public.rows from stdin;\n1\n\\.\nset statement_timeout = 0;\n",
            "-- no-transaction\ncreate index concurrently rows_id on public.rows (id);\nset search_path to public;\nselect 1;\n",
            "begin;\nset client_encoding to 'LATIN1';\ncommit;\n",
        ];
        let mut step = through(&lab, &pooler, url).input("statement-timeout", "41s");
        let mut applied = Vec::new();
        for (number, table) in names.into_iter().enumerate() {
            step = step.file(&format!("migrations/{number}0_{table}.sql"), record_settings(table));
            applied.push(format!("{number}0_{table}"));
            if let Some(sql) = between.get(number) {
                step = step.file(&format!("migrations/{number}1_between.sql"), sql);
                applied.push(format!("{number}1_between"));
            }
        }
        step.run().succeeds().applied(applied.iter().map(String::as_str)).done();
        for table in names {
            let settings = lab.database.sql(&format!("select * from app.{table}"));
            assert_eq!(settings, "app,public|7s|41s|t|UTF8|on", "{table} {lines}");
        }
        assert_eq!(lab.database.sql("select count(*) from rows"), "1");
    }
}

#[test]
fn a_failed_file_is_rolled_back_and_the_session_keeps_its_settings() {
    let lab = Lab::new();
    let pooler = start(&lab, STRICT);
    let step = through(&lab, &pooler, "?options=-c%20search_path%3Dpublic")
        .file("migrations/0001_users.sql", USERS)
        .file("migrations/0002_typo.sql", "-- a comment\ncreate table gone ();\ncreate tabel x ();\n")
        .file("migrations/0003_never.sql", "create table never ();\n");
    let failed = step.run().fails("statement-failed", 6).applied(["0001_users"]).pending(["0002_typo", "0003_never"]);
    failed.annotation("migrations/0002_typo.sql", 3, "tabel").done();
    assert_eq!(lab.database.sql("select to_regclass('gone') is null"), "t");
}

#[test]
fn a_lock_timeout_is_retried_behind_a_pooler() {
    let lab = Lab::new();
    let pooler = start(&lab, STRICT);
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let step = through(&lab, &pooler, "").file("migrations/0001_busy.sql", "alter table busy add name text;\n");
    let step = step.input("lock-timeout", "400ms").input("retries", "1");
    let failed = step.run().fails("lock-timeout", 6).pending(["0001_busy"]);
    failed.logs("in the way of AccessExclusiveLock on public.busy").done();
}

#[test]
fn a_cancelled_run_stops_its_statement_behind_a_pooler() {
    let lab = Lab::new();
    let pooler = start(&lab, UNCLEAN);
    let running = through(&lab, &pooler, "").file("migrations/0001_slow.sql", "select pg_sleep(60);\n").start();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(asleep, "1");
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).pending(["0001_slow"]).within(Duration::from_secs(7)).done();
    assert_eq!(lab.database.sql(asleep), "0");
}

#[test]
fn a_killed_run_leaves_nothing_behind_a_pooler() {
    let lab = Lab::new();
    let pooler = start(&lab, STRICT);
    let step =
        || through(&lab, &pooler, "").file("migrations/0001_slow.sql", "create table t ();\nselect pg_sleep(3);\n");
    let running = step().start();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(asleep, "1");
    running.kill();
    assert_eq!(lab.left_behind(), "");
    step().run().succeeds().applied(["0001_slow"]).done();
}

fn slow_file(action: Action<'_>) -> Action<'_> {
    action.file("migrations/0001_slow.sql", "select pg_sleep(5);\n").input("lock-wait", "1s")
}

#[test]
fn the_run_lock_holds_behind_a_pooler_and_names_its_holder() {
    let lab = Lab::new();
    let pooler = start(&lab, UNCLEAN);
    let first = slow_file(through(&lab, &pooler, "")).start();
    let asleep = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(&format!("select count(*) from ({asleep}) s"), "1");
    let pid = lab.database.sql(asleep);
    let others = [slow_file(through(&lab, &pooler, "")).start(), slow_file(Action::new(&lab)).start()];
    for other in &others {
        other.wait_for_line("::lock-held in lock: ", LIMIT);
    }
    first.finish().succeeds().applied(["0001_slow"]).done();
    for other in others {
        other.finish().fails("lock-held", 4).logs(&format!("(pid {pid}, role `app`")).done();
    }
}

#[test]
fn a_lost_server_session_is_settled_over_another_one() {
    let lab = Lab::new();
    let pooler = start(&lab, STRICT);
    let step = through(&lab, &pooler, "")
        .file("migrations/0001_users.sql", USERS)
        .file("migrations/0002_slow.sql", "create table t ();\nselect pg_sleep(60);\n");
    let running = step.start();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(asleep, "1");
    lab.database.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and wait_event = 'PgSleep'",
    );
    let lost = running.finish().fails("database-lost", 3).applied(["0001_users"]).pending(["0002_slow"]);
    lost.logs("1 applied, 1 not, according to the ledger").done();
}

#[test]
fn a_file_after_a_new_session_default_gets_a_server_session_that_knows_it() {
    for pool in ["", "max_client_conn = 40"] {
        let lab = Lab::new();
        let pooler = start(&lab, pool);
        let url = lab.database.url_at("localhost", pooler.port());
        let open = || Session::open(&url.parse().unwrap()).unwrap();
        // Server sessions that began before the default was set, and wait for clients.
        let kept: Vec<Session> = (0..5).map(|_| open()).collect();
        kept.iter().for_each(|session| drop(session.sql("select 1")));
        drop(kept);
        lab.database.sql(&format!("alter database {} owner to app", lab.database.name()));
        let first = format!("alter database {} set timezone = 'Asia/Tokyo';\n", lab.database.name());
        let step = through(&lab, &pooler, "")
            .file("migrations/0001_zone.sql", first)
            .file("migrations/0002_ev.sql", "create table ev as select '2026-01-01 00:00'::timestamptz as at;\n");
        step.run().succeeds().applied(["0001_zone", "0002_ev"]).logs("starts a new session").done();
        assert_eq!(lab.database.sql("set timezone = 'UTC'; select at from ev"), "2025-12-31 15:00:00+00");
    }
}

#[test]
fn what_other_clients_left_in_a_server_session_does_not_matter() {
    let lab = Lab::new();
    let pooler = start(&lab, "server_reset_query =");
    let url = lab.database.url_at("localhost", pooler.port());
    let other = Session::open(&url.parse().unwrap()).unwrap();
    other.sql("create temp table users (); set search_path to pg_temp; select pg_advisory_lock(7); set statement_timeout = '9s'");
    drop(other);
    let step = through(&lab, &pooler, "")
        .file("migrations/0001_users.sql", "select pg_sleep(0.1);\ncreate table users (id int);\n");
    step.run().succeeds().applied(["0001_users"]).done();
    assert_eq!(lab.database.sql("select relnamespace::regnamespace from pg_class where relname = 'users'"), "public");
}

#[test]
fn a_step_with_an_sql_file_gets_its_settings_behind_a_pooler() {
    let lab = Lab::new();
    let pooler = start(&lab, LENIENT);
    lab.database.sql("create schema app authorization app");
    let step = through(&lab, &pooler, "?options=-c%20search_path%3Dapp")
        .file("migrations/0001_users.sql", USERS)
        .file("settings.sql", record_settings("seen"))
        .input("after", "- sql: settings.sql")
        .input("statement-timeout", "41s");
    step.run().succeeds().applied(["0001_users"]).done();
    assert_eq!(lab.database.sql("select path, statement from app.seen"), "app|41s");
}

#[test]
fn settings_that_do_not_reach_a_tool_are_reported() {
    let lab = Lab::new();
    let pooler = start(&lab, STRICT);
    let variables = format!("export DATABASE_URL='{}'\n", lab.database.url_at("127.0.0.1", pooler.port()));
    let server = Server::start().file("shop/env", variables);
    let step = Action::on_server(&lab, &server).input("tool", "custom").input("database-sslmode", "disable");
    let step = step.secret("database-url", lab.database.url_at("localhost", pooler.port()));
    let table = "psql -XAtq \"$DATABASE_URL\" -c 'create table made_by_tool ()'";
    let step = step.input("working-directory", "shop").input("setup", ". ./env").input("run", table);
    let finished = step.run().succeeds().logs("pooler    in session mode");
    let finished = finished.logs("settings not delivered: a connection pooler does not pass on");
    finished.warning("verify-ledger in verify").done();
    assert_eq!(lab.database.sql("select to_regclass('made_by_tool') is null"), "f");
}

#[test]
fn a_pool_without_a_second_server_session_is_refused_with_a_fix() {
    let lab = Lab::new();
    let pooler = start(&lab, "default_pool_size = 1");
    let step = through(&lab, &pooler, "").file("migrations/0001_users.sql", USERS).input("wait-timeout", "1s");
    let refused = step.run().fails("database-pooler", 3).logs("so its mode can't be checked");
    refused.logs("fix: raise the size of its pool").done();
}

#[test]
fn an_option_that_no_statement_can_set_is_refused_behind_a_pooler() {
    let lab = Lab::new();
    let pooler = start(&lab, STRICT);
    for (options, text) in [
        ("-B%2016", "`-B` in `options` is no setting"),
        ("-c%20log_connections%3Don", "a setting of `options` can't be set behind a connection pooler"),
    ] {
        let step = through(&lab, &pooler, &format!("?options={options}")).file("migrations/0001_users.sql", USERS);
        step.run().fails("database-pooler", 3).logs(text).logs("or use the direct port").done();
    }
}

/// Starts a relay in front of a pooler that announces this pid to each client, and returns its port.
#[expect(
    clippy::disallowed_methods,
    reason = "the threads end with the streams, and the last one with the test process"
)]
fn announce(pid: i32, port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(mut near), Ok(mut far)) = (near, TcpStream::connect(("127.0.0.1", port))) else { return };
            let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            drop(thread::spawn(move || {
                drop(std::io::copy(&mut from_near, &mut to_far));
                drop(to_far.shutdown(Shutdown::Both));
            }));
            drop(thread::spawn(move || {
                drop(relay_with_pid(pid, &mut far, &mut near));
                drop(near.shutdown(Shutdown::Both));
            }));
        }
    }));
    address.port()
}

fn relay_with_pid(pid: i32, far: &mut TcpStream, near: &mut TcpStream) -> std::io::Result<()> {
    loop {
        let mut header = [0; 5];
        far.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        far.read_exact(&mut body)?;
        if kind == b'K' {
            body[..4].copy_from_slice(&pid.to_be_bytes());
        }
        near.write_all(&[header.as_slice(), &body].concat())?;
    }
}

#[test]
fn a_pooler_in_transaction_mode_that_announces_the_real_pid_is_refused() {
    let lab = Lab::new();
    let pooler = PgBouncer::configured(&lab.database, Pool::Transaction, &format!("{LENIENT}\ndefault_pool_size = 1"));
    let url = lab.database.url_at("localhost", pooler.port());
    let pid = Session::open(&url.parse().unwrap()).unwrap().sql("select pg_backend_pid()");
    let port = announce(pid.parse().unwrap(), pooler.port());
    let step = Action::direct(&lab)
        .file("migrations/0001_users.sql", USERS)
        .secret("database-url", lab.database.url_at("localhost", port))
        .input("database-sslmode", "disable");
    let running = step.start();
    running.wait_for_line("in transaction or statement mode", LIMIT);
    // The pooler keeps a server session with our application name until it ends.
    drop(pooler);
    running.finish().fails("database-pooler", 3).done();
    assert_eq!(lab.database.contents(), "");
}
