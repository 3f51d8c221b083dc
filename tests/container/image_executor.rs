//! `executor: image`: the application's own tool in its own image reaches the private database, and its effects are
//! read from the database.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS, TROUBLE, production_url, with_trouble},
    bystander::{BYSTANDER, Bystander},
    network::{Database, shared},
    runner::paths::Temp,
    running::Conclusion,
    step::{Socket, Step},
};
use std::time::{Duration, Instant};

/// Applies the application's migrations to the database.
fn migrate(database: &Database) {
    Step::of_app(database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
}

/// Migrates with an unchanged production URL; the driver itself verifies the certificate.
fn assert_migrates_a_fresh_database(app: &str) {
    let database = shared().database();
    let production = || Step::of_app(&database, app).secret("database-url", production_url(&database));
    let ended = production().start().finish();
    assert_eq!(ended.conclusion, Conclusion::Succeeded);
    ended
        .finished
        .succeeds()
        .applied(MIGRATIONS)
        .logs("db.private.internal:5432")
        .summary(r"carriers.0001\_initial")
        .done();
    assert_eq!(database.sql("select app || '.' || name from django_migrations order by id"), MIGRATIONS.join("\n"));
    assert_eq!(database.sql("select name, region from customers_customer"), "Corner Deli|north");
    production().run().nothing_to_do().done();
}

#[test]
fn django_4_2_with_psycopg_2_migrates_a_fresh_database() {
    assert_migrates_a_fresh_database(DJANGO_4_2);
}

#[test]
fn django_5_2_with_psycopg_3_migrates_a_fresh_database() {
    assert_migrates_a_fresh_database(DJANGO_5_2);
}

#[test]
fn the_action_adds_tls_for_a_tool_that_does_not_request_it() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        Step::of_app(&database, app).run().succeeds().applied(MIGRATIONS).done();
    }
}

/// The app's settings contain `ssl_require=True` or the like, and the inputs nothing about TLS.
#[test]
fn an_app_that_requires_tls_gets_it_with_or_without_the_input() {
    let tls_url = "DATABASE_URL=postgres://${DATABASE_ADDRESS}?sslmode=require";
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let step = || Step::of_app(&database, app).pass_variable(tls_url);
        let plan = step().input("command", "plan").run().has_pending().pending(MIGRATIONS);
        plan.logs("the tool demands TLS of its own").done();
        let finished = step().run().succeeds().applied(MIGRATIONS).logs("the tool demands TLS of its own");
        finished.logs("settings by PGOPTIONS").never_logs("it is run again for the list alone").done();
    }
    let database = shared().database();
    let url = format!("{}?sslmode=require", database.url());
    let finished = Step::of_app(&database, DJANGO_5_2).secret("database-url", url).run().succeeds().applied(MIGRATIONS);
    finished.never_logs("the tool demands TLS").done();
    let custom =
        Step::in_image(&database, DJANGO_5_2, "python manage.py migrate --noinput").pass_variable("SECRET_KEY=x");
    custom.pass_variable(tls_url).run().fails("tool-failed", 6).error("`database-sslmode: require`").done();
}

#[test]
fn the_tls_mode_may_be_given_beside_the_url() {
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
fn a_missing_engine_socket_fails_the_run_with_its_cause() {
    for (socket, cause) in [(Socket::Directory, "is a directory"), (Socket::Absent, "is not there")] {
        let database = shared().database();
        let finished = Step::of_app(&database, DJANGO_5_2).socket(socket).run();
        finished.fails("engine-absent", 2).error(cause).done();
    }
}

#[test]
fn a_plan_in_an_image_lists_what_is_pending_and_writes_nothing() {
    let database = shared().database();
    let plan = || Step::of_app(&database, DJANGO_5_2).input("command", "plan");
    let finished = plan().run().has_pending().pending(MIGRATIONS);
    let digest = finished.outputs["plan-digest"].clone();
    finished.done();
    assert_eq!(database.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    let other = Step::of_app(&database, DJANGO_5_2).trouble("duplicate").input("expect-plan", &digest);
    other.run().fails("plan-changed", 5).pending(with_trouble()).done();
    let same = Step::of_app(&database, DJANGO_5_2).input("expect-plan", digest);
    same.run().succeeds().applied(MIGRATIONS).done();
    plan().run().nothing_to_do().done();
}

/// The session mode is passed in the URL, which the app's settings have to accept.
#[test]
fn a_plan_over_the_tools_own_tls_is_read_only_too() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let step = Step::of_app(&database, app).secret("database-url", production_url(&database));
        step.input("command", "plan").run().has_pending().pending(MIGRATIONS).done();
    }
}

#[test]
fn status_in_an_image_lists_and_changes_nothing() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).input("command", "status").run().has_pending().pending(MIGRATIONS).done();
    migrate(&database);
    Step::of_app(&database, DJANGO_5_2).input("command", "status").run().nothing_to_do().done();
}

#[test]
fn verify_in_an_image_fails_while_something_is_pending() {
    let database = shared().database();
    let verify = || Step::of_app(&database, DJANGO_4_2).input("command", "verify");
    verify().run().fails("verify-pending", 7).pending(MIGRATIONS).done();
    migrate(&database);
    verify().run().succeeds().done();
}

/// The server's error position follows Django's message, so the message is not the last line.
#[test]
fn a_failed_migration_is_reported_with_djangos_message() {
    for app in [DJANGO_4_2, DJANGO_5_2] {
        let database = shared().database();
        let finished = Step::of_app(&database, app).trouble("missing-table").run();
        let finished = finished.fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]);
        let message = "django.db.utils.ProgrammingError: relation \"trouble_nowhere\" does not exist";
        finished.logs(&format!("tool-failed in migrate: {message}\n")).summary(&TROUBLE.replace('_', r"\_")).done();
        assert_eq!(database.sql("select to_regclass('trouble_half')"), "");
    }
}

#[test]
fn a_duplicate_key_is_reported_with_its_row() {
    let database = shared().database();
    let finished = Step::of_app(&database, DJANGO_5_2).trouble("duplicate").run();
    let finished = finished.fails("tool-failed", 6).applied(MIGRATIONS).pending([TROUBLE]);
    let message = "django.db.utils.IntegrityError: duplicate key value violates unique constraint";
    let finished = finished.logs(&format!("tool-failed in migrate: {message}"));
    finished.logs("Key (name)=(Cold Chain) already exists").done();
}

#[test]
fn a_missing_environment_variable_is_reported_with_the_input_that_passes_it() {
    let database = shared().database();
    let finished = Step::of_app(&database, DJANGO_5_2).input("env", "").run().fails("tool-failed", 6);
    finished.logs("KeyError: 'SECRET_KEY'").error("`pass-env`").done();
}

/// The tool's list and our own connection then describe two databases, so the tool's output proves nothing.
#[test]
fn a_tool_that_uses_another_database_is_detected() {
    let (database, other) = (shared().database(), shared().database());
    migrate(&other);
    let step = Step::of_app(&database, DJANGO_5_2).pass_variable(&format!("DATABASE_URL={}", other.url()));
    step.hides(&other.url()).run().fails("tool-elsewhere", 5).done();
}

#[test]
fn a_tool_that_exits_with_0_and_has_applied_nothing_fails_the_run() {
    let database = shared().database();
    let finished = Step::of_app(&database, DJANGO_5_2).trouble("lie").run();
    finished.fails("verify-pending", 7).pending(with_trouble()).logs("started carriers.0001_initial\n").done();
    migrate(&database);
    let finished = Step::of_app(&database, DJANGO_5_2).trouble("lie").run();
    finished.fails("verify-pending", 7).pending([TROUBLE]).done();
}

#[test]
fn an_invalid_index_left_by_a_tool_fails_the_run() {
    let database = shared().database();
    let finished = Step::of_app(&database, DJANGO_5_2).trouble("index").run();
    finished.fails("verify-index", 7).applied(with_trouble()).error("trouble_index").done();
}

#[test]
fn a_lock_holder_is_named_at_once_and_the_tool_is_retried() {
    let database = shared().database();
    migrate(&database);
    let bystander = Bystander::with(&database, "lock table carriers_carrier in access share mode");
    let step = Step::of_app(&database, DJANGO_5_2).trouble("lock").input("lock-timeout", "4s").input("retries", "5");
    let running = step.start();
    let waits = "select count(*) from pg_locks where relation = 'carriers_carrier'::regclass and not granted";
    running.wait_until("the tool's statement", || (database.sql(waits) == "1").then_some(()));
    let since = Instant::now();
    running.wait_for_line(BYSTANDER);
    assert!(since.elapsed() < Duration::from_secs(2), "named after {:?}", since.elapsed());
    running.wait_for_line("canceling statement due to lock timeout");
    // The third attempt waits for two seconds, so its resource usage was measured.
    running.wait_for_line("MiB of memory and");
    drop(bystander);
    running.finish().finished.succeeds().applied([TROUBLE]).done();
}

#[test]
fn a_lock_that_is_held_for_too_long_is_reported_as_a_lock_timeout() {
    let database = shared().database();
    migrate(&database);
    let _bystander = Bystander::with(&database, "lock table carriers_carrier in access share mode");
    let step =
        Step::of_app(&database, DJANGO_4_2).trouble("lock").input("lock-timeout", "1500ms").input("retries", "1");
    let finished = step.run().fails("lock-timeout", 6).pending([TROUBLE]).logs(BYSTANDER);
    assert_eq!(finished.log.matches("$ python manage.py migrate --noinput").count(), 2, "{}", finished.log);
    finished.done();
}

#[test]
fn the_second_of_two_runs_in_images_waits_for_the_first() {
    let database = shared().database();
    let slow = || Step::of_app(&database, DJANGO_5_2).trouble("slow").pass_variable("APP_SECONDS=3");
    let first = slow().start();
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    first.wait_until("the last migration", || (database.sql(sleeps) == "1").then_some(()));
    let second = slow().start();
    second.wait_for_line("waiting for the run lock");
    // While the second run works, its sessions would count as left behind by the first.
    let second = second.finish();
    first.finish().finished.succeeds().applied(with_trouble()).done();
    second.finished.nothing_to_do().done();
}
