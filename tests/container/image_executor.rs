//! `executor: image`: the application's own tool in the application's own image reaches the private database, and what it
//! did is read from the database.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS, TROUBLE, production_url, with_trouble},
    bystander::{BYSTANDER, Bystander},
    network::{Database, shared},
    runner::paths::Temp,
    running::Conclusion,
    step::{Socket, Step},
};
use std::time::{Duration, Instant};

/// The database after the application's own migrations.
fn migrated(database: &Database) {
    Step::of_app(database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
}

/// With an unchanged production URL, whose certificate the driver checks for itself.
fn migrates_a_fresh_database(app: &str) {
    let database = shared().database();
    let production = || Step::of_app(&database, app).secret("database-url", production_url(&database));
    let ended = production().start().finish();
    assert_eq!(ended.conclusion, Conclusion::Succeeded);
    ended
        .finished
        .succeeds()
        .applied(MIGRATIONS)
        .says("db.private.internal:5432")
        .summary("carriers.0001_initial")
        .done();
    assert_eq!(database.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    assert_eq!(database.sql("select name, region from customers_customer"), "Corner Deli|north");
    production().run().nothing_to_do().done();
}

#[test]
fn django_4_2_with_psycopg_2_migrates_a_fresh_database() {
    migrates_a_fresh_database(DJANGO_4_2);
}

#[test]
fn django_5_2_with_psycopg_3_migrates_a_fresh_database() {
    migrates_a_fresh_database(DJANGO_5_2);
}

#[test]
fn a_tool_that_does_not_ask_for_tls_is_bridged_to_it() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        Step::of_app(&database, app).run().succeeds().applied(MIGRATIONS).done();
    }
}

/// Its settings say `ssl_require=True`, or the like, and the inputs nothing of TLS.
#[test]
fn an_app_that_demands_tls_has_it_whether_the_inputs_say_so_or_not() {
    let demands = "DATABASE_URL=postgres://${DATABASE_ADDRESS}?sslmode=require";
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let step = || Step::of_app(&database, app).hands_over(demands);
        let plan = step().input("command", "plan").run().pends().pending(MIGRATIONS);
        plan.says("the tool demands TLS of its own").done();
        let told = step().run().succeeds().applied(MIGRATIONS).says("the tool demands TLS of its own");
        told.says("settings by PGOPTIONS").never_says("it is run again for the list alone").done();
    }
    let database = shared().database();
    let url = format!("{}?sslmode=require", database.url());
    let told = Step::of_app(&database, DJANGO_5_2).secret("database-url", url).run().succeeds().applied(MIGRATIONS);
    told.never_says("the tool demands TLS").done();
    let custom = Step::in_image(&database, DJANGO_5_2, "python manage.py migrate --noinput").hands_over("SECRET_KEY=x");
    custom.hands_over(demands).run().fails("tool-failed", 6).error("`database-sslmode: require`").done();
}

#[test]
fn the_mode_of_tls_may_be_said_beside_the_url() {
    let database = shared().database();
    let step = Step::of_app(&database, DJANGO_4_2).input("database-sslmode", "verify-full");
    step.run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn a_job_without_services_migrates_in_an_image() {
    let database = shared().database();
    let step = Step::of_app(&database, DJANGO_5_2).on_the_default_network();
    let step = step.input("ssh-host", database.network().bastion_address());
    step.run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn an_old_runner_migrates_in_an_image() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).temp(Temp::Absent).run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn without_the_engines_socket_there_is_no_way_and_it_is_told_why() {
    for (socket, cause) in [(Socket::Directory, "is a directory"), (Socket::Absent, "is not there")] {
        let database = shared().database();
        let told = Step::of_app(&database, DJANGO_5_2).socket(socket).run();
        told.fails("engine-absent", 2).error(cause).done();
    }
}

#[test]
fn a_plan_in_an_image_lists_what_is_pending_and_writes_nothing() {
    let database = shared().database();
    let plan = || Step::of_app(&database, DJANGO_5_2).input("command", "plan");
    let told = plan().run().pends().pending(MIGRATIONS);
    let digest = told.outputs["plan-digest"].clone();
    told.done();
    assert_eq!(database.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    let other = Step::of_app(&database, DJANGO_5_2).trouble("duplicate").input("expect-plan", &digest);
    other.run().fails("plan-changed", 5).pending(with_trouble()).done();
    let same = Step::of_app(&database, DJANGO_5_2).input("expect-plan", digest);
    same.run().succeeds().applied(MIGRATIONS).done();
    plan().run().nothing_to_do().done();
}

/// There the mode of the session is in the URL, which the app's settings have to bear.
#[test]
fn a_plan_behind_the_tools_own_tls_is_read_only_too() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let step = Step::of_app(&database, app).secret("database-url", production_url(&database));
        step.input("command", "plan").run().pends().pending(MIGRATIONS).done();
    }
}

#[test]
fn status_in_an_image_lists_and_changes_nothing() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).input("command", "status").run().pends().pending(MIGRATIONS).done();
    migrated(&database);
    Step::of_app(&database, DJANGO_5_2).input("command", "status").run().nothing_to_do().done();
}

#[test]
fn verify_in_an_image_fails_while_something_is_pending() {
    let database = shared().database();
    let verify = || Step::of_app(&database, DJANGO_4_2).input("command", "verify");
    verify().run().fails("verify-pending", 7).pending(MIGRATIONS).done();
    migrated(&database);
    verify().run().succeeds().done();
}

/// The server's own position follows Django's line: it is not the last thing that is said.
#[test]
fn a_migration_that_fails_is_told_in_djangos_own_words() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let told = Step::of_app(&database, app).trouble("missing-table").run();
        let told = told.fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]);
        let words = "django.db.utils.ProgrammingError: relation \"trouble_nowhere\" does not exist";
        told.says(&format!("tool-failed in migrate: {words}\n")).summary(TROUBLE).done();
        assert_eq!(database.sql("select to_regclass('trouble_half')"), "");
    }
}

#[test]
fn a_row_that_is_there_twice_is_told_with_the_row() {
    let database = shared().database();
    let told = Step::of_app(&database, DJANGO_5_2).trouble("duplicate").run();
    let told = told.fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]);
    let words = "django.db.utils.IntegrityError: duplicate key value violates unique constraint";
    let told = told.says(&format!("tool-failed in migrate: {words}"));
    told.says("Key (name)=(Cold Chain) already exists").done();
}

#[test]
fn an_app_whose_settings_lack_a_variable_is_told_how_to_hand_it_over() {
    let database = shared().database();
    let told = Step::of_app(&database, DJANGO_5_2).input("env", "").run().fails("tool-failed", 6);
    told.says("KeyError: 'SECRET_KEY'").error("`pass-env`").done();
}

/// What the tool lists and what our own connection reads are of two databases: nothing that it says counts.
#[test]
fn a_tool_that_works_in_another_database_is_found_out() {
    let (database, other) = (shared().database(), shared().database());
    migrated(&other);
    let step = Step::of_app(&database, DJANGO_5_2).hands_over(&format!("DATABASE_URL={}", other.url()));
    step.hides(&other.url()).run().fails("tool-elsewhere", 5).done();
}

#[test]
fn a_tool_that_ends_well_and_has_applied_nothing_has_failed() {
    let database = shared().database();
    let told = Step::of_app(&database, DJANGO_5_2).trouble("lie").run();
    told.fails("verify-pending", 7).pending(with_trouble()).says("begun carriers.0001_initial\n").done();
    migrated(&database);
    let told = Step::of_app(&database, DJANGO_5_2).trouble("lie").run();
    told.fails("verify-pending", 7).pending([TROUBLE]).done();
}

#[test]
fn an_index_that_a_tool_breaks_is_no_success() {
    let database = shared().database();
    let told = Step::of_app(&database, DJANGO_5_2).trouble("index").run();
    told.fails("verify-index", 7).applied(with_trouble()).error("trouble_index").done();
}

#[test]
fn who_holds_a_lock_is_named_at_once_and_the_tool_tries_again() {
    let database = shared().database();
    migrated(&database);
    let bystander = Bystander::with(&database, "lock table carriers_carrier in access share mode");
    let step = Step::of_app(&database, DJANGO_5_2).trouble("lock").input("lock-timeout", "4s").input("retries", "5");
    let running = step.start();
    let waits = "select count(*) from pg_locks where relation = 'carriers_carrier'::regclass and not granted";
    running.wait_until("the tool's statement", || (database.sql(waits) == "1").then_some(()));
    let since = Instant::now();
    running.wait_for_line(BYSTANDER);
    assert!(since.elapsed() < Duration::from_secs(2), "named after {:?}", since.elapsed());
    running.wait_for_line("canceling statement due to lock timeout");
    drop(bystander);
    // It takes several seconds, so it is seen what the tool uses.
    running.finish().finished.succeeds().applied([TROUBLE]).says("MiB of memory and").done();
}

#[test]
fn a_lock_that_is_held_for_too_long_is_told_as_that() {
    let database = shared().database();
    migrated(&database);
    let _bystander = Bystander::with(&database, "lock table carriers_carrier in access share mode");
    let step =
        Step::of_app(&database, DJANGO_4_2).trouble("lock").input("lock-timeout", "1500ms").input("retries", "1");
    let told = step.run().fails("lock-timeout", 6).pending([TROUBLE]).says(BYSTANDER);
    assert_eq!(told.log.matches("$ python manage.py migrate --noinput").count(), 2, "{}", told.log);
    told.done();
}

#[test]
fn of_two_runs_in_images_one_waits_for_the_other() {
    let database = shared().database();
    let slow = || Step::of_app(&database, DJANGO_5_2).trouble("slow").hands_over("APP_SECONDS=3");
    let first = slow().start();
    let sleeps = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and wait_event = 'PgSleep'";
    first.wait_until("the last migration", || (database.sql(sleeps) == "1").then_some(()));
    let second = slow().start();
    second.wait_for_line("waiting for the run lock");
    // While the second one works, what is its own would count as left behind by the first.
    let second = second.finish();
    first.finish().finished.succeeds().applied(with_trouble()).done();
    second.finished.nothing_to_do().done();
}
