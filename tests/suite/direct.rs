//! Steps without a bastion: they connect to the database directly.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        certificate::Expired,
        pgbouncer::{PgBouncer, Pool},
        postgres::{Options, Postgres, Tls},
    },
};
use rustix::process::Signal;
use std::time::Duration;

const USERS: &str = "create table users (id int);\n";

fn one_file(lab: &Lab) -> Action<'_> {
    Action::direct(lab).file("migrations/0001_users.sql", USERS)
}

#[test]
fn applies_pending_files_and_then_has_nothing_to_do() {
    let lab = Lab::new();
    let both = || one_file(&lab).file("migrations/0002_name.sql", "alter table users add name text;\n");
    both().input("command", "plan").run().has_pending().pending(["0001_users", "0002_name"]).done();
    both().run().succeeds().applied(["0001_users", "0002_name"]).done();
    assert_eq!(lab.database.sql("select id, name from users"), "");
    both().run().nothing_to_do().done();
}

#[test]
fn a_failing_statement_is_reported_with_its_line() {
    let lab = Lab::new();
    one_file(&lab)
        .file("migrations/0002_typo.sql", "-- a comment\ncreate tabel x ();\n")
        .run()
        .fails("statement-failed", 6)
        .applied(["0001_users"])
        .pending(["0002_typo"])
        .annotation("migrations/0002_typo.sql", 2, "tabel")
        .logs("statement-failed")
        .never_logs("0003")
        .done();
}

#[test]
fn a_cancelled_run_stops_its_statement_and_reports_it() {
    let lab = Lab::new();
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    let running = Action::direct(&lab)
        .file("migrations/0001_busy.sql", "alter table busy add name text;\n")
        .input("lock-timeout", "0")
        .env("RUNNER_DEBUG", "1")
        .start();
    lab.database.wait_for("select count(*) from pg_locks where relation = 'busy'::regclass and not granted", "1");
    running.wait_for_line("0001_busy", Duration::from_secs(10));
    running.signal(Signal::INT);
    running
        .finish()
        .fails("cancelled", 130)
        .pending(["0001_busy"])
        .summary("ancelled")
        .within(Duration::from_secs(7))
        .done();
}

#[test]
fn a_killed_run_leaves_nothing_in_the_database() {
    let lab = Lab::new();
    let running = Action::direct(&lab).file("migrations/0001_slow.sql", "select pg_sleep(60);\n").start();
    let asleep = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(asleep, "1");
    running.kill();
    assert_eq!(lab.left_behind(), "");
}

fn verify_full(lab: &Lab) -> Finished {
    let ca = lab.database.server().ca();
    one_file(lab).input("database-sslmode", "verify-full").input("database-ca", ca).run()
}

#[test]
fn verify_full_accepts_only_the_right_certificate() {
    verify_full(&Lab::new()).succeeds().applied(["0001_users"]).done();
    for (tls, code) in [
        (Tls::Named("db.private.internal"), "tls-wrong-name"),
        (Tls::Expired(Expired::Certificate), "tls-expired"),
        (Tls::Expired(Expired::Authority), "tls-expired"),
    ] {
        let lab = Lab::on(&Postgres::start(&Options { tls, ..Options::default() }));
        verify_full(&lab).fails(code, 3).done();
    }
}

#[test]
fn a_pooler_in_transaction_mode_is_rejected() {
    let lab = Lab::new();
    let pooler = PgBouncer::start(&lab.database, Pool::Transaction);
    let url = lab.database.url_at("localhost", pooler.port());
    one_file(&lab)
        .secret("database-url", url)
        .input("database-sslmode", "disable")
        .run()
        .fails("database-pooler", 3)
        .done();
}
