//! A tool that can do both lists and migrates in one start, where nobody has a say in between.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS, with_trouble},
    network::{Database, shared},
    step::Step,
};

const LISTS: &str = "manage.py showmigrations --plan";
const MIGRATES: &str = "manage.py migrate --noinput";

/// An app that tells how it is started.
fn telling<'d>(database: &'d Database, app: &str) -> Step<'d> {
    Step::of_app(database, app).hands_over("APP_STARTS=yes")
}

fn starts(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split_once("started as ")).map(|(_, words)| words).collect()
}

#[test]
fn to_the_app_it_is_a_migration_from_its_first_line_to_its_last() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let told = telling(&database, app).run().succeeds().applied(MIGRATIONS);
        assert_eq!(starts(&told.log), [MIGRATES]);
        let told = told.says("$ python manage.py showmigrations --plan").says("$ python manage.py migrate --noinput");
        // Its connections go on, too.
        told.says("of 1 of 1 connections").never_says("go on?").done();
        let told = telling(&database, app).run().nothing_to_do();
        assert_eq!(starts(&told.log), [MIGRATES]);
        told.done();
    }
}

#[test]
fn whoever_has_a_say_in_between_has_it_before_the_migration_is_started() {
    let database = shared().database();
    let plan = telling(&database, DJANGO_5_2).input("command", "plan").run().pends().pending(MIGRATIONS);
    assert_eq!(starts(&plan.log), [LISTS, "manage.py migrate --plan"]);
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let approved = telling(&database, DJANGO_5_2).input("expect-plan", digest).run().succeeds().applied(MIGRATIONS);
    assert_eq!(starts(&approved.log), [LISTS, MIGRATES]);
    approved.done();
    let database = shared().database();
    let step = telling(&database, DJANGO_5_2).input("before", "[{ name: Snapshot, run: echo taken, when: pending }]");
    let told = step.run().succeeds().applied(MIGRATIONS).summary("| Snapshot | done |");
    assert_eq!(starts(&told.log), [LISTS, MIGRATES]);
    told.done();
}

#[test]
fn an_app_that_can_not_be_started_for_both_is_started_twice() {
    let database = shared().database();
    let step = Step::of_app(&database, DJANGO_5_2).hands_over("APP_STARTS=by itself");
    let told = step.run().succeeds().applied(MIGRATIONS);
    assert_eq!(starts(&told.log), [MIGRATES, LISTS, MIGRATES]);
    told.says("nobody starts me but Python").says("it is run again for the list alone").done();
}

#[test]
fn the_same_command_in_run_is_started_for_itself() {
    let database = shared().database();
    let step = telling(&database, DJANGO_5_2).input("run", r#"["python", "manage.py", "migrate", "--noinput"]"#);
    let told = step.run().succeeds().applied(MIGRATIONS);
    assert_eq!(starts(&told.log), [LISTS, MIGRATES]);
    told.done();
}

#[test]
fn an_app_with_nothing_to_do_is_let_go_before_the_run_goes_on() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
    let step = telling(&database, DJANGO_5_2).input("after", "[{ name: Pause, sql: pause.sql }]");
    let running = step.file("pause.sql", "select pg_sleep(3);\n").start();
    let pauses = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and wait_event = 'PgSleep'";
    running.wait_until("the step", || (database.sql(pauses) == "1").then_some(()));
    assert_eq!(running.siblings(), [""; 0]);
    running.finish().finished.nothing_to_do().summary("| Pause | done |").done();
}

/// What stands between Docker and the app, in an image or in `command-prefix`.
#[test]
fn an_app_behind_a_shell_is_heard_and_answered_or_started_twice() {
    for (shell, starts_as) in [
        (r#""$@" & wait $!"#, vec![MIGRATES, LISTS, MIGRATES]),
        (r#""$@" </dev/null"#, vec![MIGRATES, LISTS, MIGRATES]),
        (r#"exec "$@" >&2"#, vec![MIGRATES]),
    ] {
        let database = shared().database();
        let step = telling(&database, DJANGO_5_2).input("command-prefix", format!("sh -c '{shell}' sh"));
        let told = step.run().succeeds().applied(MIGRATIONS);
        assert_eq!(starts(&told.log), starts_as, "{shell}");
        told.done();
    }
}

#[test]
fn an_app_that_reads_its_input_finds_the_end() {
    let database = shared().database();
    let step = telling(&database, DJANGO_5_2).hands_over("APP_READS=yes");
    step.run().succeeds().applied(MIGRATIONS).says("read ''").done();
}

#[test]
fn an_app_that_migrates_before_it_is_told_to_can_not_and_is_asked_for_its_list_alone() {
    let database = shared().database();
    let step = Step::of_app(&database, DJANGO_5_2).trouble("hasty");
    let told = step.run().succeeds().applied(with_trouble());
    told.says("read-only transaction").says("it is run again for the list alone").done();
    assert_eq!(database.sql("select count(*) from django_migrations"), "6");
}
