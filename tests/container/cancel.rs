//! The runner stops a step at different points: the report is written, and nothing is left behind.

use crate::{
    network::{Database, MACHINE, shared},
    process::poll,
    running::{Conclusion, EndedStage, Running},
    step::Step,
};
use rustix::process::Signal;
use std::{panic, time::Duration};

/// Time limit: the runner sends its second signal later.
const BUDGET: Duration = Duration::from_secs(7);

/// Waits until the step runs a statement like this.
fn wait_for_statement(database: &Database, like: &str) {
    let there = format!(
        "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' \
         and application_name like 'bastion-migrate%' and query ilike '{like}'"
    );
    poll(Duration::from_secs(30), || (database.sql(&there) == "1").then_some(())).expect("the step gets there");
}

fn sleeping(database: &Database) -> Running<'_> {
    let sql = "create table gone ();\nselect pg_sleep(60);\n";
    let running = Step::new(database).file("migrations/0001_slow.sql", sql).start();
    wait_for_statement(database, "%pg_sleep%");
    running
}

/// Checks that a step which was stopped in [`sleeping`] leaves its report and nothing else.
fn assert_cancelled(database: &Database, ended: EndedStage) {
    ended.finished.fails("cancelled", 130).pending(["0001_slow"]).summary("ancelled").within(BUDGET).done();
    assert_eq!(database.sql("select to_regclass('gone')"), "");
    assert_eq!(database.sql("select count(*) from bastion_migrate.ledger"), "0");
}

#[test]
fn a_job_is_cancelled_during_a_long_statement() {
    let database = shared().database();
    let ended = sleeping(&database).cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    assert_cancelled(&database, ended);
}

#[test]
fn a_step_that_exceeds_the_workflows_time_limit_is_stopped() {
    let database = shared().database();
    let ended = sleeping(&database).time_out();
    assert_eq!(ended.conclusion, Conclusion::Failed);
    assert_cancelled(&database, ended);
}

/// `docker stop` and a machine that shuts down send it.
#[test]
fn a_step_is_stopped_by_a_single_sigterm() {
    let database = shared().database();
    let mut running = sleeping(&database);
    running.signal(Signal::TERM);
    assert_cancelled(&database, running.finish());
}

#[test]
fn a_second_signal_right_after_the_first_changes_nothing() {
    let database = shared().database();
    let mut running = sleeping(&database);
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    assert_cancelled(&database, running.finish());
}

#[test]
fn a_job_is_cancelled_before_the_database_accepts_connections() {
    let database = shared().database();
    let closed_port = database.url().replace(":5432/", ":9/");
    let step = Step::new(&database).secret("database-url", closed_port).file("migrations/0001_one.sql", "select 1;\n");
    let running = step.start();
    running.wait_for_line("waiting for the database");
    let ended = running.cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    ended.finished.fails("cancelled", 130).within(BUDGET).done();
}

#[test]
fn a_job_is_cancelled_in_the_middle_of_five_hundred_files() {
    let database = shared().database();
    let names: Vec<String> = (1..=500).map(|number| format!("{number:04}_t")).collect();
    let sql = |name: &str| {
        format!("create table t{name} (id int);\nselect pg_sleep({});\n", if name == "0250_t" { 60 } else { 0 })
    };
    let step =
        names.iter().fold(Step::new(&database), |step, name| step.file(&format!("migrations/{name}.sql"), sql(name)));
    let running = step.start();
    running.wait_for_line("applied 0249_t");
    let ended = running.cancel();
    let (applied, pending) = names.split_at(249);
    let finished = ended.finished.fails("cancelled", 130).applied(applied.iter().map(String::as_str));
    finished.pending(pending.iter().map(String::as_str)).within(BUDGET).done();
    assert_eq!(database.sql("select count(*) from bastion_migrate.ledger"), "249");
}

/// Shows why there is a time limit: process 1 without handlers ignores both signals, the CLI is killed, and the
/// container keeps running without a reader of its log. It also shows that these tests detect leftovers.
#[test]
fn a_container_that_ignores_the_signals_is_left_running() {
    let database = shared().database();
    let running = Step::bare(&database).probe(MACHINE, &["sleep", "40"]).start();
    poll(Duration::from_secs(30), || running.pid()).expect("it starts");
    let ended = running.cancel();
    let left = ended.finished.wrong.iter().filter(|wrong| wrong.contains("is left")).count();
    assert_eq!((left, ended.conclusion), (1, Conclusion::Cancelled));
    assert!(ended.finished.elapsed >= Duration::from_secs(10), "{:?}", ended.finished.elapsed);
    let verdict = panic::catch_unwind(panic::AssertUnwindSafe(|| ended.finished.fails("cancelled", 130).done()));
    assert!(verdict.is_err(), "a container that is left is a failure");
}
