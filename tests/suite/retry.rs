//! Transient failures are retried up to `retries` times, and no others.

use crate::{
    action::Action,
    lab::{Lab, session::Session},
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Creates the table `busy` and returns a session that locks it.
fn blocked(lab: &Lab) -> Session {
    lab.database.sql("create table busy (id int); alter table busy owner to app");
    let holder = lab.database.session();
    holder.sql("begin; lock table busy");
    holder
}

fn three_files(lab: &Lab) -> Action<'_> {
    Action::new(lab)
        .input("lock-timeout", "300ms")
        .file("migrations/0001_before.sql", "create table before (id int);\n")
        .file("migrations/0002_busy.sql", "create table half (id int);\nalter table busy add name text;\n")
        .file("migrations/0003_after.sql", "create table after (id int);\n")
}

#[test]
fn a_file_that_hits_a_lock_is_retried_and_the_rest_follows() {
    let lab = Lab::new();
    let holder = blocked(&lab);
    let running = three_files(&lab).start();
    running.wait_for_line("another try of migrations/0002_busy.sql (1 of 3, in 1 s)", PATIENCE);
    holder.sql("rollback");
    running
        .finish()
        .succeeds()
        .applied(["0001_before", "0002_busy", "0003_after"])
        .logs("canceling statement due to lock timeout")
        .never_logs("(2 of 3")
        .done();
    assert_eq!(lab.database.sql("select version from bastion_migrate.ledger order by version"), "1\n2\n3");
}

#[test]
fn a_lock_that_is_never_released_ends_the_run_after_the_last_try() {
    let lab = Lab::new();
    let holder = blocked(&lab);
    three_files(&lab)
        .input("retries", "1")
        .run()
        .fails("lock-timeout", 6)
        .applied(["0001_before"])
        .pending(["0002_busy", "0003_after"])
        .annotation("migrations/0002_busy.sql", 2, "lock timeout")
        .logs("(1 of 1, in 1 s)")
        .done();
    assert_eq!(lab.database.sql("select count(*) from pg_class where relname in ('half', 'after')"), "0");
    drop(holder);
}

#[test]
fn without_retries_there_is_no_second_try() {
    let lab = Lab::new();
    let holder = blocked(&lab);
    three_files(&lab)
        .input("retries", "0")
        .run()
        .fails("lock-timeout", 6)
        .applied(["0001_before"])
        .pending(["0002_busy", "0003_after"])
        .never_logs("another try")
        .done();
    drop(holder);
}

#[test]
fn a_file_that_loses_a_deadlock_is_retried() {
    let lab = Lab::new();
    let holder = blocked(&lab);
    // Only the run's session detects deadlocks, so it is the one that is ended.
    holder.sql("set deadlock_timeout = '1h'; create table other (id int); alter table other owner to app");
    holder.sql("commit; begin; lock table busy");
    let running = Action::new(&lab)
        .file("migrations/0001_both.sql", "lock table other;\nlock table busy;\n")
        .input("retries", "1")
        .input("lock-timeout", "0")
        .start();
    lab.database.wait_for("select count(*) from pg_locks where relation = 'busy'::regclass and not granted and mode = 'AccessExclusiveLock'", "1");
    holder.sql("lock table other; rollback");
    running
        .finish()
        .succeeds()
        .applied(["0001_both"])
        .logs("another try of migrations/0001_both.sql (1 of 1, in ")
        .logs("deadlock detected")
        .done();
}

#[test]
fn a_statement_that_times_out_is_not_retried() {
    let lab = Lab::new();
    Action::new(&lab)
        .input("statement-timeout", "200ms")
        .file("migrations/0001_slow.sql", "select 1;\nselect pg_sleep(60);\n")
        .run()
        .fails("statement-timeout", 6)
        .pending(["0001_slow"])
        .annotation("migrations/0001_slow.sql", 2, "statement timeout")
        .logs("raise `statement-timeout`")
        .never_logs("another try")
        .done();
}

#[test]
fn the_statement_timeout_applies_to_each_statement_and_not_to_the_file() {
    let lab = Lab::new();
    Action::new(&lab)
        .input("statement-timeout", "400ms")
        .file("migrations/0001_three.sql", "select pg_sleep(0.2);\nselect pg_sleep(0.2);\nselect pg_sleep(0.2);\n")
        .run()
        .succeeds()
        .applied(["0001_three"])
        .done();
}
