//! Images with an entrypoint or a wrapper that interferes with the tool. Whatever it does, the report matches the
//! ledger, and migrations without approval are not applied, or the run fails and reports them.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, TROUBLE},
    bystander::Bystander,
    engine::image,
    judge::Finished,
    network::{Database, shared},
    process::poll,
    step::Step,
};
use std::{collections::BTreeSet, time::Duration};

/// The application behind an entrypoint that runs the script in the variable MIND (`tests/container/script`).
const ENTRYPOINT_IMAGE: &str = "bastion-migrate-mind:bookworm";

/// Time limit for what happens in the background.
const PATIENCE: Duration = Duration::from_secs(40);

/// A digest that belongs to no plan.
const UNKNOWN_PLAN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

const RUN: &str = r#"["python", "manage.py", "migrate", "--noinput"]"#;

/// A step in an image whose entrypoint is this script.
fn with_entrypoint<'d>(database: &'d Database, script: &str) -> Step<'d> {
    let step = Step::of_app(database, DJANGO_5_2).input("image", image(ENTRYPOINT_IMAGE));
    step.pass_variable(&format!("MIND={script}"))
}

/// Returns the names in the ledger, or none if there is no ledger.
fn ledger(database: &Database) -> Vec<String> {
    match database.sql("select to_regclass('django_migrations') is null").as_str() {
        "t" => Vec::new(),
        _ => database
            .sql("select app || '.' || name from django_migrations order by id")
            .lines()
            .map(str::to_owned)
            .collect(),
    }
}

fn count_tables(database: &Database) -> String {
    database.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace")
}

/// Applies the first migration; returns how many were applied.
fn apply_first(database: &Database) -> usize {
    let run = "python manage.py migrate carriers --noinput";
    let step = Step::in_image(database, DJANGO_5_2, run).pass_variable("SECRET_KEY=x");
    step.run().succeeds().applied([MIGRATIONS[0]]).done();
    1
}

fn apply_all(database: &Database) {
    Step::of_app(database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
}

/// Checks an image whose outcome is a race: the report matches the ledger's new rows, and a plan without approval fails
/// and is not applied, or is reported as applied unasked.
fn assert_report_matches_ledger(database: &Database, script: &str) {
    for approved in [None, Some(UNKNOWN_PLAN)] {
        let before = ledger(database);
        let step = with_entrypoint(database, script);
        let step = approved.into_iter().fold(step, |step, digest| step.input("expect-plan", digest));
        let mut finished = step.run();
        let after = ledger(database);
        let gained: BTreeSet<String> = after.iter().filter(|name| !before.contains(name)).cloned().collect();
        let reported: BTreeSet<String> = finished.listed("applied").into_iter().collect();
        assert_eq!(reported, gained, "{script}\n{}", finished.log);
        let succeeded = finished.outputs["outcome"] != "failed";
        let something_was_pending = before.len() < MIGRATIONS.len();
        assert!(!succeeded || after == MIGRATIONS, "{script}\n{}", finished.log);
        if approved.is_some() && something_was_pending {
            assert!(
                !succeeded && (gained.is_empty() || finished.outputs["fault-code"] == "tool-unasked"),
                "{}",
                finished.log
            );
        }
        let reported_unchanged = finished.log.contains("nothing was changed");
        assert!(!reported_unchanged || gained.is_empty(), "{script}\n{}", finished.log);
        let wrong = finished.take_problems();
        assert!(wrong.is_empty(), "{script}: {wrong:?}\n{}", finished.log);
    }
}

/// An entrypoint that runs its arguments.
const RUN_ARGUMENTS: &str = r#"exec "$@""#;

/// The most common interfering entrypoint.
const MIGRATES_FIRST: &str = r#"python manage.py migrate --noinput; exec "$@""#;

#[test]
fn an_entrypoint_cannot_migrate_before_the_plan_is_applied() {
    let database = shared().database();
    with_entrypoint(&database, MIGRATES_FIRST).input("command", "plan").run().has_pending().pending(MIGRATIONS).done();
    let refused = with_entrypoint(&database, MIGRATES_FIRST).input("expect-plan", UNKNOWN_PLAN).run();
    refused.fails("plan-changed", 5).pending(MIGRATIONS).done();
    with_entrypoint(&database, MIGRATES_FIRST)
        .input("command", "verify")
        .run()
        .fails("verify-pending", 7)
        .pending(MIGRATIONS)
        .done();
    assert_eq!(count_tables(&database), "0");
    let first = apply_first(&database);
    with_entrypoint(&database, MIGRATES_FIRST).run().succeeds().applied(MIGRATIONS.into_iter().skip(first)).done();
    assert_eq!(ledger(&database), MIGRATIONS);
    with_entrypoint(&database, MIGRATES_FIRST).run().nothing_to_do().done();
}

/// Many entrypoints print their arguments.
#[test]
fn an_entrypoint_that_prints_its_arguments_prints_a_short_command() {
    let database = shared().database();
    let finished =
        with_entrypoint(&database, r#"echo "I was told: $*"; exec "$@""#).run().succeeds().applied(MIGRATIONS);
    let finished =
        finished.logs("I was told: python /run/bastion-migrate/manage.py migrate --noinput").never_logs("builtins");
    finished.never_logs("it is run again for the list alone").done();
}

#[test]
fn the_injected_program_is_readable_by_the_images_user() {
    let database = shared().database();
    let lists_program = r#"[ -r /run/bastion-migrate/manage.py ] && echo "user $(id -u) may read"; ls -ld /run/bastion-migrate; exec "$@""#;
    let finished = with_entrypoint(&database, lists_program)
        .run()
        .succeeds()
        .applied(MIGRATIONS)
        .logs(" may read")
        .never_logs("user 0 may read");
    finished.logs("drwxr-xr-x").done();
}

#[test]
fn an_entrypoint_cannot_migrate_first_over_the_tools_own_tls_either() {
    let database = shared().database();
    let step = with_entrypoint(&database, MIGRATES_FIRST).secret("database-url", crate::app::production_url(&database));
    step.input("expect-plan", UNKNOWN_PLAN).run().fails("plan-changed", 5).pending(MIGRATIONS).done();
    assert_eq!(count_tables(&database), "0");
    let step = with_entrypoint(&database, MIGRATES_FIRST).secret("database-url", crate::app::production_url(&database));
    step.run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn an_entrypoint_that_requires_its_own_migration_fails_without_changes() {
    let database = shared().database();
    let finished = with_entrypoint(&database, r#"python manage.py migrate --noinput && exec "$@""#).run();
    finished.fails("tool-failed", 6).error("read-only transaction").logs("nothing was changed").done();
    assert_eq!(count_tables(&database), "0");
}

/// An entrypoint that makes its sessions writable again.
const FORCES_MIGRATION: &str = r#"FORCED=yes python manage.py migrate --noinput; exec "$@""#;

#[test]
fn an_entrypoint_that_forces_its_own_migration_is_detected() {
    for command in ["migrate", "plan", "status", "verify"] {
        let database = shared().database();
        let step = with_entrypoint(&database, FORCES_MIGRATION).input("command", command);
        let finished = if command == "migrate" { step.input("expect-plan", UNKNOWN_PLAN).run() } else { step.run() };
        let finished = finished.fails("tool-unasked", 7).applied(MIGRATIONS).never_logs("nothing was changed");
        finished.error("5 migrations are recorded since: `carriers.0001_initial`").done();
        assert_eq!(ledger(&database), MIGRATIONS);
    }
    let database = shared().database();
    let first = apply_first(&database);
    let finished = with_entrypoint(&database, FORCES_MIGRATION).run().fails("tool-unasked", 7);
    finished.applied(MIGRATIONS.into_iter().skip(first)).error("4 migrations are recorded since").done();
    with_entrypoint(&database, FORCES_MIGRATION).run().nothing_to_do().done();
}

#[test]
fn an_entrypoint_that_ignores_its_arguments_fails_the_run() {
    let empty = shared().database();
    let full = shared().database();
    apply_all(&full);
    for script in [
        "exec /bin/true",
        "exit 0",
        &format!("case $2 in -c | /run/*) exit 1;; esac; exec >/dev/null 2>&1; {RUN_ARGUMENTS}"),
        "echo 'bastion-migrate: go on?'; read answer; exit 0",
    ] {
        for (database, command) in [(&empty, "migrate"), (&full, "verify")] {
            let finished = with_entrypoint(database, script).input("command", command).run();
            finished.fails("tool-list", 5).error("listed none").logs("nothing was changed").done();
        }
    }
    assert_eq!(count_tables(&empty), "0");
}

#[test]
fn a_list_that_contradicts_the_database_is_rejected() {
    let says = |list: &str| format!(r#"echo "{list}  shop.0001_initial""#);
    let (empty, full) = (shared().database(), shared().database());
    apply_all(&full);
    for database in [&empty, &full] {
        let finished = with_entrypoint(database, &says("[X]")).run().fails("tool-elsewhere", 5);
        finished.logs("nothing was changed").done();
    }
    for command in ["migrate", "verify"] {
        let finished = with_entrypoint(&full, &says("[ ]")).input("command", command).run();
        finished.fails("tool-list", 5).error("none of the 5 migrations in its ledger").done();
    }
    let finished =
        with_entrypoint(&empty, &says("[ ]")).run().fails("verify-pending", 7).pending(["shop.0001_initial"]);
    finished.logs("keeps a ledger, and the database has none").done();
}

#[test]
fn a_list_that_is_printed_twice_counts_once() {
    let database = shared().database();
    let script = r#"case "$2" in -c | /run/*) exit 1;; esac; case "$*" in *showmigrations*) "$@";; esac; exec "$@""#;
    with_entrypoint(&database, script).run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn a_migration_missing_from_the_list_fails_an_approved_plan_and_otherwise_warns() {
    let hides_one = r#"case "$2" in -c | /run/*) exit 1;; esac; case "$*" in *showmigrations*) "$@" | grep -v 0003;; *) exec "$@";; esac"#;
    let planned = || MIGRATIONS.into_iter().take(4);
    let database = shared().database();
    let plan = with_entrypoint(&database, hides_one).input("command", "plan").run().has_pending().pending(planned());
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let finished =
        with_entrypoint(&database, hides_one).input("expect-plan", digest).run().fails("verify-unplanned", 7);
    finished.applied(MIGRATIONS).error("recorded that is not in the plan: `customers.0003_first_customer`").done();
    let database = shared().database();
    with_entrypoint(&database, hides_one)
        .run()
        .succeeds()
        .applied(MIGRATIONS)
        .warning("that is not in the plan")
        .done();
}

#[test]
fn an_image_that_prompts_and_does_not_wait_is_reported_from_its_ledger() {
    let prompts = r#"python manage.py showmigrations --plan; echo "bastion-migrate: go on?""#;
    let database = shared().database();
    let late = format!("{prompts}; sleep 4; FORCED=yes exec python manage.py migrate --noinput");
    with_entrypoint(&database, &late).run().succeeds().applied(MIGRATIONS).done();
    assert_report_matches_ledger(
        &shared().database(),
        &format!("{prompts}; FORCED=yes exec python manage.py migrate --noinput"),
    );
}

#[test]
fn background_migrations_are_reported_from_the_ledger() {
    for script in [
        r#"(FORCED=yes python manage.py migrate --noinput) & exec "$@""#,
        r#"(sleep 2; FORCED=yes python manage.py migrate --noinput) & exec "$@""#,
        r#"(FORCED=yes setsid python manage.py migrate --noinput >/dev/null 2>&1 </dev/null) & sleep 1; exec "$@""#,
    ] {
        assert_report_matches_ledger(&shared().database(), script);
    }
}

#[test]
fn an_image_that_migrates_another_database_is_detected() {
    let (database, other) = (shared().database(), shared().database());
    let script = r#"export DATABASE_URL="$OTHER"; exec "$@""#;
    let elsewhere = || with_entrypoint(&database, script).pass_variable(&format!("OTHER={}", other.url()));
    elsewhere().run().fails("verify-pending", 7).pending(MIGRATIONS).done();
    assert_eq!((count_tables(&database).as_str(), ledger(&other).len()), ("0", 5));
    elsewhere().run().fails("tool-elsewhere", 5).logs("nothing was changed").done();
}

#[test]
fn a_wrong_exit_code_does_not_change_the_report() {
    let database = shared().database();
    let finished = with_entrypoint(&database, r#""$@"; exit 1"#).run().fails("tool-failed", 6);
    finished.applied(MIGRATIONS).done();
    let database = shared().database();
    let skips_migration = r#"case "$*" in *showmigrations*) exec "$@";; *) exit 0;; esac"#;
    with_entrypoint(&database, skips_migration)
        .input("run", RUN)
        .run()
        .fails("verify-pending", 7)
        .pending(MIGRATIONS)
        .done();
    let first = apply_first(&database);
    let finished = with_entrypoint(&database, skips_migration).input("run", RUN).run().fails("verify-pending", 7);
    finished.pending(MIGRATIONS.into_iter().skip(first)).done();
}

#[test]
fn a_ledger_that_was_dropped_or_lost_rows_is_reported() {
    let database = shared().database();
    apply_all(&database);
    let finished = with_entrypoint(&database, r#"FORCED=yes sql "drop table django_migrations"; exec "$@""#).run();
    finished.fails("tool-unasked", 7).pending(MIGRATIONS).error("5 migrations are gone from the ledger").done();
    let after = |statement: &str| format!(r#"case "$*" in *--noinput*) "$@"; sql "{statement}";; *) exec "$@";; esac"#);
    let database = shared().database();
    let finished = with_entrypoint(&database, &after("drop table django_migrations")).input("run", RUN).run();
    let finished = finished.fails("verify-pending", 7).pending(MIGRATIONS);
    finished.logs("keeps a ledger, and the database has none").done();
    let database = shared().database();
    let first = apply_first(&database);
    // The user's own command may remove rows; the recipe's command may not.
    let removes_rows = after("delete from django_migrations where app = 'carriers'");
    let finished = with_entrypoint(&database, &removes_rows)
        // The migration has a start of its own, whose sessions may write, too.
        .input("before", "- { run: 'true', when: pending }")
        .run()
        .fails("verify-ledger", 7);
    finished
        .applied(MIGRATIONS.into_iter().skip(first))
        .error("`carriers.0001_initial` was in the ledger before")
        .done();
}

#[test]
fn unexpected_rows_and_tables_are_reported() {
    let database = shared().database();
    apply_all(&database);
    for (statement, expected) in [
        ("create table stray ()", "1 object is new in the schema: table public.stray"),
        ("alter table carriers_carrier add fax text", "column public.carriers_carrier.fax text"),
        (
            "insert into django_migrations (app, name, applied) values ('shop', '0001_fake', now())",
            "1 migration is recorded since: `shop.0001_fake`",
        ),
        (
            "insert into django_migrations (app, name, applied) select app, name, now() from django_migrations limit 1",
            "1 migration is recorded since: `carriers.0001_initial`",
        ),
        ("delete from django_migrations where app = 'shop'", "1 migration is gone from the ledger: `shop.0001_fake`"),
        ("drop table stray", "1 object is gone from the schema: table public.stray"),
    ] {
        let finished = with_entrypoint(&database, &format!(r#"FORCED=yes sql "{statement}"; exec "$@""#)).run();
        let recorded = expected.split('`').nth(1).filter(|_| expected.contains("recorded"));
        finished.fails("tool-unasked", 7).applied(recorded).error(expected).never_logs("nothing was changed").done();
    }
    let script = r#"case "$*" in *--check*) FORCED=yes sql "create table stray ()";; esac; exec "$@""#;
    let finished = with_entrypoint(&database, script).input("command", "verify").run().fails("tool-unasked", 7);
    finished.error("table public.stray").done();
}

#[test]
fn an_image_that_terminates_our_session_fails_and_its_changes_are_reported() {
    let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
        where pid <> pg_backend_pid() and datname = current_database() and usename = current_user";
    let database = shared().database();
    let finished = with_entrypoint(&database, &format!(r#"sql "{terminate}"; exec "$@""#)).run();
    finished.fails("database-lost", 3).pending(MIGRATIONS).done();
    assert_eq!(count_tables(&database), "0");
    let script = format!(r#"FORCED=yes python manage.py migrate --noinput; sql "{terminate}"; exec "$@""#);
    let finished: Finished = with_entrypoint(&database, &script).run();
    finished.fails("tool-unasked", 7).applied(MIGRATIONS).done();
}

/// If a migration has a foreign key, Django commits it first and records it afterwards.
#[test]
fn a_migration_that_was_applied_and_not_recorded_is_named_with_a_fix() {
    let database = shared().database();
    apply_first(&database);
    let bystander = Bystander::with(&database, "lock table django_migrations in share row exclusive mode");
    let running = Step::of_app(&database, DJANGO_5_2).input("lock-timeout", "60s").input("retries", "0").start();
    let waits = "select count(*) from pg_locks where not granted and relation = 'django_migrations'::regclass";
    running.wait_until("the record", || (database.sql(waits) == "1").then_some(()));
    let finished = running.cancel().finished.fails("cancelled", 130).pending(MIGRATIONS.into_iter().skip(1));
    drop(bystander);
    let finished = finished
        .warning("`suppliers.0001_initial` was running and is not recorded, but the schema contains changes of it");
    finished.logs("`python manage.py migrate suppliers 0001_initial --fake --noinput`").done();
    assert_eq!(database.sql("select to_regclass('suppliers_supplier') is not null"), "t");
}

#[test]
fn a_rollback_undoes_only_the_planned_migrations() {
    let database = shared().database();
    apply_all(&database);
    let rollback =
        || Step::of_app(&database, DJANGO_5_2).input("command", "rollback").input("target", "suppliers zero");
    let rolled_back =
        ["customers.0003_first_customer", "customers.0002_region", "customers.0001_initial", "suppliers.0001_initial"];
    let refused = rollback().input("expect-plan", UNKNOWN_PLAN).run().fails("plan-changed", 5);
    let digest = refused.outputs["plan-digest"].clone();
    refused.logs("to roll back customers.0001_initial").done();
    rollback()
        .input("expect-plan", digest)
        .run()
        .succeeds()
        .pending(rolled_back)
        .logs("Rolled back 4 migrations")
        .done();
    assert_eq!(ledger(&database), [MIGRATIONS[0]]);
}

#[test]
fn a_rollback_beyond_the_plan_fails() {
    let database = shared().database();
    apply_all(&database);
    let script = r#""$@" | grep --line-buffered -v '^customers'"#;
    let step = with_entrypoint(&database, script).input("command", "rollback").input("target", "suppliers zero");
    let rolled_back =
        ["suppliers.0001_initial", "customers.0003_first_customer", "customers.0002_region", "customers.0001_initial"];
    let finished = step.run().fails("verify-unplanned", 7).error("3 migrations were undone that are not in the plan");
    assert_eq!(finished.listed("pending").into_iter().collect::<BTreeSet<_>>(), rolled_back.map(str::to_owned).into());
    let pending = finished.listed("pending");
    finished.pending(pending.iter().map(String::as_str)).done();
}

#[test]
fn rows_of_a_squashed_migration_are_explained() {
    let database = shared().database();
    let script = r#"cp /mind/squashed.py customers/migrations/0001_squashed_0002_region.py; exec "$@""#;
    let squash = "customers.0001_squashed_0002_region";
    let planned = [MIGRATIONS[0], MIGRATIONS[1], squash, MIGRATIONS[4]];
    let plan = with_entrypoint(&database, script).input("command", "plan").run().has_pending().pending(planned);
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let finished = with_entrypoint(&database, script).input("expect-plan", digest).run().succeeds();
    let finished = finished.logs(&format!("2 more rows recorded by squashed migrations: `{squash}` (2)"));
    finished.applied(planned.into_iter().chain([MIGRATIONS[2], MIGRATIONS[3]])).done();
    assert_eq!(ledger(&database).len(), 6);
    with_entrypoint(&database, script).run().nothing_to_do().done();
}

#[test]
fn an_image_that_closes_its_streams_fails_and_its_changes_are_reported() {
    let database = shared().database();
    let finished = with_entrypoint(&database, r#"exec >&- 2>&-; exec "$@""#).run().fails("tool-failed", 6);
    finished.logs("nothing was changed").done();
    let finished =
        with_entrypoint(&database, r#"exec >&- 2>&-; FORCED=yes python manage.py migrate --noinput -v 0; exit 0"#)
            .run();
    finished.fails("tool-unasked", 7).applied(MIGRATIONS).done();
}

/// The tool has its own connection, and the run lock was released when the action was killed.
#[test]
fn a_tool_that_outlives_its_killed_action_blocks_the_next_run() {
    let database = shared().database();
    let direct = |seconds: &str| {
        let step = Step::of_app(&database, DJANGO_5_2).trouble("slow").pass_variable(&format!("APP_SECONDS={seconds}"));
        step.beside_the_database()
    };
    let running = direct("600").start();
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()";
    running.wait_until("the last migration", || (database.sql(sleeps) == "1").then_some(()));
    let mut killed = running.kill();
    drop(killed.finished.take_problems());
    let mut finished = direct("1").input("lock-wait", "2s").run();
    // The sessions that it seems to leave belong to the killed run.
    drop(finished.take_problems());
    assert_eq!(finished.outputs["fault-code"], "lock-held", "{}", finished.log);
    assert!(
        finished.log.contains("a tool is still at work in the database although its run has ended"),
        "{}",
        finished.log
    );
    // As the reported fix advises, and again until it is gone: a session that looks for its vanished client does not sleep.
    // The tool has lost its network, so the server would not notice its end soon.
    let terminated = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
        where application_name like 'bastion-migrate-tool%' and datname = current_database()";
    poll(PATIENCE, || (database.sql(terminated) == "0").then_some(())).expect("the tool's session ends");
    direct("1").post().with_state(killed.state).run().cleans_up().done();
    direct("1").run().succeeds().applied([TROUBLE]).done();
}
