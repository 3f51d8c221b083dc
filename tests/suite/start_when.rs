//! `start-when`: the migration begins when its conditions hold, and the run names those that do not.

use crate::{
    action::Action,
    lab::{
        Lab,
        server::{Server, from_the_server},
        session::Session,
    },
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn one_file<'a>(lab: &'a Lab, conditions: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_a.sql", "create table a ();").input("start-when", conditions)
}

/// A session of the app with a transaction that is open.
fn open_transaction(lab: &Lab) -> Session {
    let session = Session::open(&lab.database.url().parse().expect("a URL")).expect("a session");
    session.sql("begin; select 1");
    session
}

/// Returns a window that begins in an hour, and one that began an hour ago.
fn windows(lab: &Lab) -> [String; 2] {
    let window = |from: &str, to: &str| {
        let time = |offset: &str| {
            lab.database.sql(&format!("select to_char(timezone('Asia/Tokyo', now() + interval '{offset}'), 'HH24:MI')"))
        };
        format!("window {}-{} Asia/Tokyo", time(from), time(to))
    };
    [window("1 h", "2 h"), window("-1 h", "1 h")]
}

#[test]
fn a_migration_begins_at_once_if_its_conditions_hold() {
    let lab = Lab::new();
    let [_, open] = windows(&lab);
    let conditions = format!("no-transaction-older-than 1h, lag < 10s, {open}");
    one_file(&lab, &conditions).run().succeeds().applied(["0001_a"]).never_logs("waiting for `start-when`").done();
}

#[test]
fn a_migration_waits_for_an_old_transaction_and_names_it() {
    let lab = Lab::new();
    let session = open_transaction(&lab);
    let pid = session.sql("select pg_backend_pid()");
    let run = one_file(&lab, "no-transaction-older-than 1ms").input("lock-wait", "30s").start();
    run.wait_for_line(&format!("of app (pid {pid}, idle in transaction)"), SOON);
    assert_eq!(lab.database.sql("select to_regclass('a')"), "");
    session.sql("rollback");
    run.finish().succeeds().applied(["0001_a"]).logs("waiting for `start-when`").done();
}

#[test]
fn a_migration_that_may_not_begin_in_time_is_refused_with_the_reason() {
    let lab = Lab::new();
    let [closed, _] = windows(&lab);
    let refused = one_file(&lab, &closed).input("lock-wait", "1s").run().fails("not-now", 4).pending(["0001_a"]);
    refused.error("`start-when` does not hold: the window is closed, which is open ").done();
    assert_eq!(lab.database.sql("select to_regclass('a')"), "");
    // With nothing to do there is nothing to wait for.
    one_file(&lab, "lag < 1s").run().succeeds().applied(["0001_a"]).done();
    one_file(&lab, &closed).input("lock-wait", "1s").run().nothing_to_do().done();
}

#[test]
fn a_role_that_can_not_see_the_transactions_of_others_does_not_begin() {
    let lab = Lab::new();
    let session = lab.database.session();
    // With the answer it is known to be connected.
    session.sql("select 1");
    let refused = one_file(&lab, "no-transaction-older-than 1h").input("lock-wait", "1s").run().fails("not-now", 4);
    refused.pending(["0001_a"]).error("are hidden from the login role: grant it pg_read_all_stats").done();
}

#[test]
fn conditions_that_are_none_are_refused_at_once() {
    let lab = Lab::new();
    let refused = one_file(&lab, "at night").run().fails("input-invalid", 2);
    refused.error("has `at night`, which is no condition").done();
    let unknown = one_file(&lab, "window 01:00-02:00 Europe/Bremen").run().fails("input-invalid", 2);
    unknown.pending(["0001_a"]).error("the server does not know the time zone `Europe/Bremen`").done();
    let idle = one_file(&lab, "lag < 1s").input("command", "plan").run().fails("input-invalid", 2);
    idle.error("`start-when`").done();
    let server = Server::start();
    let without = Action::on_server(&lab, &server).input("run", "true").input("start-when", "lag < 1s");
    without.run().fails("input-missing", 2).error("`start-when` asks the database, and no database is given").done();
}

#[test]
fn a_tool_is_not_started_before_its_conditions_hold() {
    let lab = Lab::new();
    let session = open_transaction(&lab);
    let server = Server::start();
    let command = format!("psql -Xq '{}' -c 'create table a ()'", from_the_server(&lab.database));
    let step = |wait: &str| {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("run", &command);
        step.input("start-when", "no-transaction-older-than 1ms").input("lock-wait", wait)
    };
    step("2s").run().fails("not-now", 4).error("a transaction is open").never_logs("$ psql").done();
    session.sql("rollback");
    step("1s").run().succeeds().logs("$ psql").warning("no ledger was found in the database").done();
}
