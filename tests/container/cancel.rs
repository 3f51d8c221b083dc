//! The runner's way of stopping a step, wherever it is: the report is written, and nothing is left.

use crate::{
    network::{Database, MACHINE, shared},
    process::poll,
    running::{Conclusion, Ended, Running},
    step::Step,
};
use rustix::process::Signal;
use std::{panic, time::Duration};

/// Before the runner sends its second signal.
const BUDGET: Duration = Duration::from_secs(7);

/// Waits until the step's statement is this one.
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

/// What a step that was stopped in [`sleeping`] leaves: its report, and nothing else.
fn stopped(database: &Database, ended: Ended) {
    ended.finished.fails("cancelled", 130).pending(["0001_slow"]).summary("ancelled").within(BUDGET).done();
    assert_eq!(database.sql("select to_regclass('gone')"), "");
    assert_eq!(database.sql("select count(*) from bastion_migrate.ledger"), "0");
}

#[test]
fn a_job_is_cancelled_in_a_long_statement() {
    let database = shared().database();
    let ended = sleeping(&database).cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    stopped(&database, ended);
}

#[test]
fn a_step_takes_longer_than_the_workflow_allows() {
    let database = shared().database();
    let ended = sleeping(&database).time_out();
    assert_eq!(ended.conclusion, Conclusion::Failed);
    stopped(&database, ended);
}

/// As `docker stop` does it, or a machine that shuts down.
#[test]
fn the_first_signal_is_sigterm() {
    let database = shared().database();
    let mut running = sleeping(&database);
    running.signal(Signal::TERM);
    stopped(&database, running.finish());
}

#[test]
fn a_second_signal_comes_at_once() {
    let database = shared().database();
    let mut running = sleeping(&database);
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    stopped(&database, running.finish());
}

#[test]
fn before_the_database_answers() {
    let database = shared().database();
    let nobody = database.url().replace(":5432/", ":9/");
    let step = Step::new(&database).secret("database-url", nobody).file("migrations/0001_one.sql", "select 1;\n");
    let running = step.start();
    running.wait_for_line("waiting for the database");
    let ended = running.cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    ended.finished.fails("cancelled", 130).within(BUDGET).done();
}

#[test]
fn in_the_middle_of_five_hundred_files() {
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
    let told = ended.finished.fails("cancelled", 130).applied(applied.iter().map(String::as_str));
    told.pending(pending.iter().map(String::as_str)).within(BUDGET).done();
    assert_eq!(database.sql("select count(*) from bastion_migrate.ledger"), "249");
}

/// What the budget is for: process 1 without handlers ignores both signals, the CLI is killed, and the container goes on
/// with nobody who reads its log. It shows that these tests see what is left.
#[test]
fn a_container_that_ignores_the_signals_is_left_running() {
    let database = shared().database();
    let running = Step::bare(&database).probe(MACHINE, &["sleep", "40"]).start();
    poll(Duration::from_secs(30), || running.pid()).expect("it starts");
    let ended = running.cancel();
    let left = ended.finished.wrong.iter().filter(|wrong| wrong.contains("is left")).count();
    assert_eq!((left, ended.conclusion), (1, Conclusion::Cancelled));
    assert!(ended.finished.elapsed >= Duration::from_secs(10), "{:?}", ended.finished.elapsed);
    let judged = panic::catch_unwind(panic::AssertUnwindSafe(|| ended.finished.fails("cancelled", 130).done()));
    assert!(judged.is_err(), "a container that is left is a failure");
}
