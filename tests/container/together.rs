//! A tool that supports it lists and migrates in one start in an image, unless a step comes in between. The same on a server:
//! `tests/suite/starts.rs`.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS, with_trouble},
    network::{Database, shared},
    step::Step,
};

/// The first line of the command that lists the migrations and prints their SQL.
const LIST: &str =
    "manage.py shell -v 0 -c # showmigrations --plan, the SQL of the pending migrations, and other commands.";
const MIGRATE: &str = "manage.py migrate --noinput";

/// A step whose app prints the arguments of each start.
fn printing_starts<'d>(database: &'d Database, app: &str) -> Step<'d> {
    Step::of_app(database, app).pass_variable("APP_STARTS=yes")
}

fn started_commands(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split_once("started as ")).map(|(_, arguments)| arguments).collect()
}

#[test]
fn one_start_of_the_app_lists_and_migrates() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let finished = printing_starts(&database, app).run().succeeds().applied(MIGRATIONS);
        assert_eq!(started_commands(&finished.log), [MIGRATE]);
        let finished =
            finished.logs("$ python manage.py showmigrations --plan").logs("$ python manage.py migrate --noinput");
        // Its connections stay open between the two as well.
        finished.logs("of 1 of 1 connections").never_logs("go on?").done();
        let finished = printing_starts(&database, app).run().nothing_to_do();
        assert_eq!(started_commands(&finished.log), [MIGRATE]);
        finished.done();
    }
}

#[test]
fn an_approved_plan_is_compared_before_the_confirmation() {
    let database = shared().database();
    let plan = printing_starts(&database, DJANGO_5_2).input("command", "plan").run().has_pending().pending(MIGRATIONS);
    assert_eq!(started_commands(&plan.log), [LIST]);
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let approved =
        printing_starts(&database, DJANGO_5_2).input("expect-plan", digest).run().succeeds().applied(MIGRATIONS);
    assert_eq!(started_commands(&approved.log), [MIGRATE]);
    approved.done();
    let verified = printing_starts(&database, DJANGO_5_2).input("command", "verify").run().succeeds();
    assert_eq!(started_commands(&verified.log), [LIST]);
    verified.done();
    let back = printing_starts(&database, DJANGO_5_2).input("command", "rollback").input("target", "customers 0002");
    let back = back.run().succeeds().pending(["customers.0003_first_customer"]);
    assert_eq!(started_commands(&back.log), ["manage.py migrate customers 0002 --noinput"]);
    back.done();
    let refused = printing_starts(&database, DJANGO_5_2).input("expect-plan", format!("sha256:{}", "0".repeat(64)));
    let refused = refused.run().fails("plan-changed", 5).pending(["customers.0003_first_customer"]);
    assert_eq!(started_commands(&refused.log), [MIGRATE]);
    refused.done();
}

#[test]
fn a_step_in_between_takes_a_start_for_the_list_first() {
    let database = shared().database();
    let step =
        printing_starts(&database, DJANGO_5_2).input("before", "[{ name: Snapshot, run: echo taken, when: pending }]");
    let finished = step.run().succeeds().applied(MIGRATIONS).summary("| Snapshot | done |");
    assert_eq!(started_commands(&finished.log), [LIST, MIGRATE]);
    finished.done();
}

#[test]
fn an_app_that_cannot_be_started_for_both_is_started_for_each() {
    let database = shared().database();
    let step = Step::of_app(&database, DJANGO_5_2).pass_variable("APP_STARTS=by itself");
    let finished = step.run().succeeds().applied(MIGRATIONS);
    assert_eq!(started_commands(&finished.log), [MIGRATE, LIST, MIGRATE]);
    finished.logs("nobody starts me but Python").logs("it is run again for the list alone").done();
}

#[test]
fn the_same_command_in_run_is_started_on_its_own() {
    let database = shared().database();
    let step =
        printing_starts(&database, DJANGO_5_2).input("run", r#"["python", "manage.py", "migrate", "--noinput"]"#);
    let finished = step.run().succeeds().applied(MIGRATIONS);
    assert_eq!(started_commands(&finished.log), [LIST, MIGRATE]);
    finished.done();
}

#[test]
fn an_app_with_nothing_to_do_ends_before_the_run_continues() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
    let step = printing_starts(&database, DJANGO_5_2).input("after", "[{ name: Pause, sql: pause.sql }]");
    let running = step.file("pause.sql", "select pg_sleep(3);\n").start();
    let pauses = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    running.wait_until("the step", || (database.sql(pauses) == "1").then_some(()));
    assert_eq!(running.siblings(), [""; 0]);
    running.finish().finished.nothing_to_do().summary("| Pause | done |").done();
}

/// A shell between Docker and the app, in an image or in `command-prefix`.
#[test]
fn an_app_behind_a_shell_is_prompted_or_started_for_each() {
    for (shell, starts_as) in [
        (r#""$@" & wait $!"#, vec![MIGRATE, LIST, MIGRATE]),
        (r#""$@" </dev/null"#, vec![MIGRATE, LIST, MIGRATE]),
        (r#"exec "$@" >&2"#, vec![MIGRATE]),
    ] {
        let database = shared().database();
        let step = printing_starts(&database, DJANGO_5_2).input("command-prefix", format!("sh -c '{shell}' sh"));
        let finished = step.run().succeeds().applied(MIGRATIONS);
        assert_eq!(started_commands(&finished.log), starts_as, "{shell}");
        finished.done();
    }
}

#[test]
fn an_app_that_reads_standard_input_finds_it_empty() {
    let database = shared().database();
    let step = printing_starts(&database, DJANGO_5_2).pass_variable("APP_READS=yes");
    step.run().succeeds().applied(MIGRATIONS).logs("read ''").done();
}

#[test]
fn an_app_that_migrates_before_the_confirmation_is_blocked_and_started_for_its_list() {
    let database = shared().database();
    let step = Step::of_app(&database, DJANGO_5_2).trouble("hasty");
    let finished = step.run().succeeds().applied(with_trouble());
    finished.logs("read-only transaction").logs("it is run again for the list alone").done();
    assert_eq!(database.sql("select count(*) from django_migrations"), "6");
}
