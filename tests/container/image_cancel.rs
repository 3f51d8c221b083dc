//! A step with a sibling is stopped or killed, wherever it is: nothing of ours runs on, and nothing of the tool.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, TROUBLE, with_trouble},
    engine,
    network::{Database, shared},
    process::poll,
    running::{Conclusion, Running},
    step::Step,
};
use std::{env, time::Duration};

/// Before the runner sends its second signal.
const BUDGET: Duration = Duration::from_secs(7);

/// How many moments there are, if not the usual few.
const MOMENTS: &str = "BASTION_MIGRATE_CANCELS";

/// A step whose last migration takes so long, in seconds.
fn slow<'a>(database: &'a Database, seconds: &str) -> Step<'a> {
    Step::of_app(database, DJANGO_5_2).trouble("slow").hands_over(&format!("APP_SECONDS={seconds}"))
}

/// The step in its last migration.
fn sleeping(database: &Database) -> Running<'_> {
    let running = slow(database, "60").start();
    running.wait_until("the tool's last migration", || (sleeps_in(database) == "1").then_some(()));
    running
}

/// How many sessions are in the last migration.
fn sleeps_in(database: &Database) -> String {
    database.sql(
        "select count(*) from pg_stat_activity where query like '%pg_sleep%' and wait_event = 'PgSleep' \
         and datname = current_database()",
    )
}

#[test]
fn a_job_is_cancelled_in_a_migration_of_the_tool() {
    let database = shared().database();
    let ended = sleeping(&database).cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    let told = ended.finished.fails("cancelled", 130).applied(MIGRATIONS).pending([TROUBLE]).within(BUDGET);
    told.summary("ancelled").summary(r"trouble.0001\_trouble").says(&format!("begun {TROUBLE}")).done();
    assert_eq!(database.sql("select to_regclass('trouble_slow')"), "");
}

/// Jobs of a matrix have one run and often one server.
#[test]
fn whoever_migrates_another_database_of_the_server_is_left_alone() {
    let (database, other) = (shared().database(), shared().database());
    let neighbour = slow(&other, "6").start();
    let running = sleeping(&database);
    neighbour.wait_until("the neighbour's last migration", || (sleeps_in(&other) == "1").then_some(()));
    running.cancel().finished.fails("cancelled", 130).applied(MIGRATIONS).pending([TROUBLE]).done();
    neighbour.finish().finished.succeeds().applied(with_trouble()).done();
}

#[test]
fn the_time_limit_of_the_step_ends_the_tool() {
    let database = shared().database();
    let told = slow(&database, "60").input("timeout", "8s").run();
    told.fails("timed-out", 130).applied(MIGRATIONS).pending([TROUBLE]).done();
}

/// A few moments each time, as many as are asked for otherwise.
#[test]
fn a_job_may_be_cancelled_at_any_moment() {
    let usual = usual();
    for _ in 0..env_number(MOMENTS).unwrap_or(5) {
        cancelled_after(usual.mul_f64(fraction()));
    }
}

/// How long such a step takes that nobody stops.
fn usual() -> Duration {
    let database = shared().database();
    let usual = slow(&database, "1").run().succeeds().applied(with_trouble());
    let duration = usual.elapsed;
    usual.done();
    duration
}

/// Or ended by itself a moment before.
fn cancelled_after(moment: Duration) {
    let database = shared().database();
    let running = slow(&database, "1").start();
    // A client that is stopped before it has started the container leaves it behind: nobody of ours was there.
    running.wait_until("the container", || running.pid().map(drop).or_else(|| running.ended().then_some(())));
    poll(moment, || running.ended().then_some(()));
    let mut stopped = running.cancel().finished;
    assert!(stopped.elapsed <= BUDGET, "after {moment:?}: it took {:?}", stopped.elapsed);
    assert_eq!(stopped.always_wrong(), [""; 0], "after {moment:?}: {}", stopped.log);
    assert_eq!(stopped.listed("applied"), ledger(&database), "after {moment:?}: {}", stopped.log);
    let outcome = stopped.outputs.get("outcome").map(String::as_str);
    match outcome {
        // Before the program could hear the signal.
        None | Some("success") => {}
        Some("cancelled") => assert!(stopped.summary.contains("ancelled"), "{}", stopped.summary),
        Some(other) => panic!("after {moment:?}: {other}: {}", stopped.log),
    }

    finished_by_the_next(&database, moment);
}

/// Whatever was left.
fn finished_by_the_next(database: &Database, moment: Duration) {
    let mut next = slow(database, "0").run();
    assert_eq!(next.always_wrong(), [""; 0], "after {moment:?}: {}", next.log);
    if next.log.contains("already exists") {
        // Django records a migration that has foreign keys after its commit: it may have been killed in between.
        assert!(next.log.contains("--fake"), "{}", next.log);
    } else {
        assert_eq!(ledger(database), with_trouble().collect::<Vec<_>>(), "after {moment:?}: {}", next.log);
    }
}

/// What Django has recorded.
fn ledger(database: &Database) -> Vec<String> {
    if database.sql("select to_regclass('django_migrations')").is_empty() {
        return Vec::new();
    }
    let names = database.sql("select app || '.' || name from django_migrations order by id");
    names.lines().map(str::to_owned).collect()
}

#[test]
fn when_the_action_is_killed_the_post_stage_tidies_up() {
    let database = shared().database();
    let ended = sleeping(&database).kill();
    assert_eq!(ended.conclusion, Conclusion::Failed);
    let (mut finished, state, mark) = (ended.finished, ended.state, ended.mark);
    // What is wrong with it now is what the post stage is for.
    drop(finished.always_wrong());
    assert_eq!(engine::siblings(&mark).len(), 1, "the sibling outlives the action: {}", finished.log);
    slow(&database, "60").post().with_state(state.clone()).run().tidies_up().done();
    assert_eq!(engine::siblings(&mark), [""; 0]);
    assert_eq!(database.left_behind(), "");
    // A second time there is nothing to do.
    slow(&database, "60").post().with_state(state).run().tidies_up().done();
    let told = slow(&database, "0").run();
    told.succeeds().applied([TROUBLE]).done();
}

/// Also between asking for a container and knowing of it.
#[test]
fn whenever_the_action_is_killed_the_post_stage_tidies_up() {
    let usual = usual();
    for _ in 0..env_number(MOMENTS).unwrap_or(3) {
        let (database, moment) = (shared().database(), usual.mul_f64(fraction()));
        let running = slow(&database, "1").start();
        poll(moment, || running.ended().then_some(()));
        let mut ended = running.kill();
        drop(ended.finished.always_wrong());
        let after = slow(&database, "1").post().with_state(ended.state).run();
        after.tidies_up().done();
        assert_eq!(engine::siblings(&ended.mark), [""; 0], "after {moment:?}: {}", ended.finished.log);
        assert_eq!(database.left_behind(), "", "after {moment:?}: {}", ended.finished.log);
        finished_by_the_next(&database, moment);
    }
}

#[test]
fn the_post_stage_of_a_step_that_ended_well_says_nothing() {
    let database = shared().database();
    let ended = Step::of_app(&database, DJANGO_5_2).start().finish();
    ended.finished.succeeds().applied(MIGRATIONS).done();
    let told = Step::of_app(&database, DJANGO_5_2).post().with_state(ended.state).run();
    assert_eq!(told.log.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>(), [""; 0]);
    told.tidies_up().done();
}

#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how much to do")]
fn env_number(name: &str) -> Option<u32> {
    env::var(name).ok()?.parse().ok()
}

/// From 0 to 1.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("there are random bytes");
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
