//! A step with a sibling is stopped or killed at any point: neither the action nor the tool keeps running.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, TROUBLE, with_trouble},
    engine,
    network::{Database, shared},
    process::poll,
    running::{Conclusion, Running},
    step::Step,
};
use std::{env, time::Duration};

/// Time limit: the runner sends its second signal later.
const BUDGET: Duration = Duration::from_secs(7);

/// Variable with the number of random moments to test.
const MOMENTS: &str = "BASTION_MIGRATE_CANCELS";

/// A step whose last migration takes this many seconds.
fn slow<'a>(database: &'a Database, seconds: &str) -> Step<'a> {
    Step::of_app(database, DJANGO_5_2).trouble("slow").pass_variable(&format!("APP_SECONDS={seconds}"))
}

/// Starts a step and waits until it is in its last migration.
fn sleeping(database: &Database) -> Running<'_> {
    let running = slow(database, "60").start();
    running.wait_until("the tool's last migration", || (sleeping_sessions(database) == "1").then_some(()));
    running
}

/// Counts the sessions that sleep in the last migration.
fn sleeping_sessions(database: &Database) -> String {
    database.sql(
        "select count(*) from pg_stat_activity where query like '%pg_sleep%' and wait_event = 'PgSleep' \
         and datname = current_database()",
    )
}

#[test]
fn a_job_is_cancelled_during_a_migration_of_the_tool() {
    let database = shared().database();
    let ended = sleeping(&database).cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    let finished = ended.finished.fails("cancelled", 130).applied(MIGRATIONS).pending([TROUBLE]).within(BUDGET);
    finished.summary("ancelled").summary(r"trouble.0001\_trouble").logs(&format!("started {TROUBLE}")).done();
    assert_eq!(database.sql("select to_regclass('trouble_slow')"), "");
}

/// The jobs of a matrix share one run, and often one server.
#[test]
fn a_run_in_another_database_of_the_server_is_left_alone() {
    let (database, other) = (shared().database(), shared().database());
    let neighbour = slow(&other, "6").start();
    let running = sleeping(&database);
    neighbour.wait_until("the neighbour's last migration", || (sleeping_sessions(&other) == "1").then_some(()));
    running.cancel().finished.fails("cancelled", 130).applied(MIGRATIONS).pending([TROUBLE]).done();
    neighbour.finish().finished.succeeds().applied(with_trouble()).done();
}

#[test]
fn the_time_limit_of_the_step_ends_the_tool() {
    let database = shared().database();
    let finished = slow(&database, "60").input("timeout", "8s").run();
    finished.fails("timed-out", 130).applied(MIGRATIONS).pending([TROUBLE]).done();
}

/// A few random moments, or as many as the variable demands.
#[test]
fn a_job_may_be_cancelled_at_any_moment() {
    let usual_duration = usual_duration();
    for _ in 0..env_number(MOMENTS).unwrap_or(5) {
        cancel_after(usual_duration.mul_f64(fraction()));
    }
}

/// Measures how long an undisturbed step takes.
fn usual_duration() -> Duration {
    let database = shared().database();
    let usual_duration = slow(&database, "1").run().succeeds().applied(with_trouble());
    let duration = usual_duration.elapsed;
    usual_duration.done();
    duration
}

/// Cancels a step after this time; it may also have ended by itself.
fn cancel_after(moment: Duration) {
    let database = shared().database();
    let running = slow(&database, "1").start();
    // A CLI that is stopped before it has started the container leaves it behind; the action never ran then.
    running.wait_until("the container", || running.pid().map(drop).or_else(|| running.ended().then_some(())));
    poll(moment, || running.ended().then_some(()));
    let mut stopped = running.cancel().finished;
    assert!(stopped.elapsed <= BUDGET, "after {moment:?}: it took {:?}", stopped.elapsed);
    assert_eq!(stopped.take_problems(), [""; 0], "after {moment:?}: {}", stopped.log);
    assert_eq!(stopped.listed("applied"), ledger(&database), "after {moment:?}: {}", stopped.log);
    let outcome = stopped.outputs.get("outcome").map(String::as_str);
    match outcome {
        // The signal came before the program handled signals.
        None | Some("success") => {}
        Some("cancelled") => assert!(stopped.summary.contains("ancelled"), "{}", stopped.summary),
        Some(other) => panic!("after {moment:?}: {other}: {}", stopped.log),
    }

    assert_next_run_finishes(&database, moment);
}

/// Checks that the next run finishes the migrations.
fn assert_next_run_finishes(database: &Database, moment: Duration) {
    let mut next = slow(database, "0").run();
    assert_eq!(next.take_problems(), [""; 0], "after {moment:?}: {}", next.log);
    if next.log.contains("already exists") {
        // Django records a migration that has foreign keys after its commit: it may have been killed in between.
        assert!(next.log.contains("--fake"), "{}", next.log);
    } else {
        assert_eq!(ledger(database), with_trouble().collect::<Vec<_>>(), "after {moment:?}: {}", next.log);
    }
}

/// Returns the migrations that Django has recorded.
fn ledger(database: &Database) -> Vec<String> {
    if database.sql("select to_regclass('django_migrations')").is_empty() {
        return Vec::new();
    }
    let names = database.sql("select app || '.' || name from django_migrations order by id");
    names.lines().map(str::to_owned).collect()
}

#[test]
fn the_post_stage_cleans_up_after_a_killed_action() {
    let database = shared().database();
    let ended = sleeping(&database).kill();
    assert_eq!(ended.conclusion, Conclusion::Failed);
    let (mut finished, state, marker) = (ended.finished, ended.state, ended.marker);
    // The post stage has to clean up what is wrong now.
    drop(finished.take_problems());
    assert_eq!(engine::siblings(&marker).len(), 1, "the sibling outlives the action: {}", finished.log);
    slow(&database, "60").post().with_state(state.clone()).run().cleans_up().done();
    assert_eq!(engine::siblings(&marker), [""; 0]);
    assert_eq!(database.left_behind(), "");
    // A second post stage has nothing to do.
    slow(&database, "60").post().with_state(state).run().cleans_up().done();
    let finished = slow(&database, "0").run();
    finished.succeeds().applied([TROUBLE]).done();
}

/// Including moments between the request for a container and its response.
#[test]
fn the_post_stage_cleans_up_after_a_kill_at_any_moment() {
    let usual_duration = usual_duration();
    for _ in 0..env_number(MOMENTS).unwrap_or(3) {
        let (database, moment) = (shared().database(), usual_duration.mul_f64(fraction()));
        let running = slow(&database, "1").start();
        poll(moment, || running.ended().then_some(()));
        let mut ended = running.kill();
        drop(ended.finished.take_problems());
        let after = slow(&database, "1").post().with_state(ended.state).run();
        after.cleans_up().done();
        assert_eq!(engine::siblings(&ended.marker), [""; 0], "after {moment:?}: {}", ended.finished.log);
        assert_eq!(database.left_behind(), "", "after {moment:?}: {}", ended.finished.log);
        assert_next_run_finishes(&database, moment);
    }
}

#[test]
fn the_post_stage_of_a_successful_step_prints_nothing() {
    let database = shared().database();
    let ended = Step::of_app(&database, DJANGO_5_2).start().finish();
    ended.finished.succeeds().applied(MIGRATIONS).done();
    let finished = Step::of_app(&database, DJANGO_5_2).post().with_state(ended.state).run();
    assert_eq!(finished.log.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>(), [""; 0]);
    finished.cleans_up().done();
}

#[expect(clippy::disallowed_methods, reason = "a variable sets how much a test does")]
fn env_number(name: &str) -> Option<u32> {
    env::var(name).ok()?.parse().ok()
}

/// Returns a random number from 0 to 1.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("there are random bytes");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
