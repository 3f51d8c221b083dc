//! Images of their own mind: what stands between Docker and the tool (an entrypoint, a wrapper) does what it likes. Whatever that
//! is, the report says what is in the ledger, and what nobody has approved is not done, or the run has failed and says so.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, TROUBLE},
    bystander::Bystander,
    engine::image,
    judge::Finished,
    network::{Database, shared},
    step::Step,
};
use std::collections::BTreeSet;

/// The application behind an entrypoint that does what MIND says (`tests/container/mind`).
const MIND: &str = "bastion-migrate-mind:bookworm";

/// The digest of a plan that nobody has.
const NOBODYS: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

const RUN: &str = r#"["python", "manage.py", "migrate", "--noinput"]"#;

/// The application in an image that does this with what it is told.
fn minded<'d>(database: &'d Database, mind: &str) -> Step<'d> {
    let step = Step::of_app(database, DJANGO_5_2).input("image", image(MIND));
    step.hands_over(&format!("MIND={mind}"))
}

/// What the ledger has; nothing where there is none.
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

fn tables(database: &Database) -> String {
    database.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace")
}

/// With the first of the migrations applied.
fn begun(database: &Database) -> usize {
    let run = "python manage.py migrate carriers --noinput";
    let step = Step::in_image(database, DJANGO_5_2, run).hands_over("SECRET_KEY=x");
    step.run().succeeds().applied([MIGRATIONS[0]]).done();
    1
}

fn migrated(database: &Database) {
    Step::of_app(database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
}

/// For an image of which nobody can state how it ends: the report has what the ledger got, and a plan that was not approved has
/// failed and is not applied, or is told as applied unasked.
fn agrees(database: &Database, mind: &str) {
    for approved in [None, Some(NOBODYS)] {
        let before = ledger(database);
        let step = minded(database, mind);
        let step = approved.into_iter().fold(step, |step, digest| step.input("expect-plan", digest));
        let mut told = step.run();
        let after = ledger(database);
        let gained: BTreeSet<String> = after.iter().filter(|name| !before.contains(name)).cloned().collect();
        let reported: BTreeSet<String> = told.listed("applied").into_iter().collect();
        assert_eq!(reported, gained, "{mind}\n{}", told.log);
        let is_done = told.outputs["outcome"] != "failed";
        let was_to_do = before.len() < MIGRATIONS.len();
        assert!(!is_done || after == MIGRATIONS, "{mind}\n{}", told.log);
        if approved.is_some() && was_to_do {
            assert!(!is_done && (gained.is_empty() || told.outputs["fault-code"] == "tool-unasked"), "{}", told.log);
        }
        let unseen = told.log.contains("nothing was changed");
        assert!(!unseen || gained.is_empty(), "{mind}\n{}", told.log);
        let wrong = told.always_wrong();
        assert!(wrong.is_empty(), "{mind}: {wrong:?}\n{}", told.log);
    }
}

/// What it was told to do.
const EXEC: &str = r#"exec "$@""#;

/// The commonest of all.
const MIGRATES_FIRST: &str = r#"python manage.py migrate --noinput; exec "$@""#;

#[test]
fn an_entrypoint_that_migrates_first_can_not_and_the_plan_is_applied_as_planned() {
    let database = shared().database();
    minded(&database, MIGRATES_FIRST).input("command", "plan").run().pends().pending(MIGRATIONS).done();
    let refused = minded(&database, MIGRATES_FIRST).input("expect-plan", NOBODYS).run();
    refused.fails("plan-changed", 5).pending(MIGRATIONS).done();
    minded(&database, MIGRATES_FIRST)
        .input("command", "verify")
        .run()
        .fails("verify-pending", 7)
        .pending(MIGRATIONS)
        .done();
    assert_eq!(tables(&database), "0");
    let first = begun(&database);
    minded(&database, MIGRATES_FIRST).run().succeeds().applied(MIGRATIONS.into_iter().skip(first)).done();
    assert_eq!(ledger(&database), MIGRATIONS);
    minded(&database, MIGRATES_FIRST).run().nothing_to_do().done();
}

/// It shows what it is told, as many do.
#[test]
fn an_entrypoint_that_shows_what_it_is_told_shows_a_few_words() {
    let database = shared().database();
    let told = minded(&database, r#"echo "I was told: $*"; exec "$@""#).run().succeeds().applied(MIGRATIONS);
    let told = told.says("I was told: python /run/bastion-migrate/manage.py migrate --noinput").never_says("builtins");
    told.never_says("it is run again for the list alone").done();
}

#[test]
fn the_program_is_readable_for_whoever_the_image_runs_as() {
    let database = shared().database();
    let looks = r#"[ -r /run/bastion-migrate/manage.py ] && echo "user $(id -u) may read"; ls -ld /run/bastion-migrate; exec "$@""#;
    let told =
        minded(&database, looks).run().succeeds().applied(MIGRATIONS).says(" may read").never_says("user 0 may read");
    told.says("drwxr-xr-x").done();
}

#[test]
fn behind_the_tools_own_tls_it_can_not_either() {
    let database = shared().database();
    let step = minded(&database, MIGRATES_FIRST).secret("database-url", crate::app::production_url(&database));
    step.input("expect-plan", NOBODYS).run().fails("plan-changed", 5).pending(MIGRATIONS).done();
    assert_eq!(tables(&database), "0");
    let step = minded(&database, MIGRATES_FIRST).secret("database-url", crate::app::production_url(&database));
    step.run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn an_entrypoint_that_insists_on_its_migration_has_failed_and_nothing_was_changed() {
    let database = shared().database();
    let told = minded(&database, r#"python manage.py migrate --noinput && exec "$@""#).run();
    told.fails("tool-failed", 6).error("read-only transaction").says("nothing was changed").done();
    assert_eq!(tables(&database), "0");
}

/// What makes its sessions writable again.
const FORCES: &str = r#"FORCED=yes python manage.py migrate --noinput; exec "$@""#;

#[test]
fn an_entrypoint_that_sees_to_it_that_it_may_migrate_first_is_found_out() {
    for command in ["migrate", "plan", "status", "verify"] {
        let database = shared().database();
        let step = minded(&database, FORCES).input("command", command);
        let told = if command == "migrate" { step.input("expect-plan", NOBODYS).run() } else { step.run() };
        let told = told.fails("tool-unasked", 7).applied(MIGRATIONS).never_says("nothing was changed");
        told.error("5 migrations are recorded since: `carriers.0001_initial`").done();
        assert_eq!(ledger(&database), MIGRATIONS);
    }
    let database = shared().database();
    let first = begun(&database);
    let told = minded(&database, FORCES).run().fails("tool-unasked", 7);
    told.applied(MIGRATIONS.into_iter().skip(first)).error("4 migrations are recorded since").done();
    minded(&database, FORCES).run().nothing_to_do().done();
}

#[test]
fn an_entrypoint_that_ignores_what_it_is_told_proves_nothing() {
    let empty = shared().database();
    let full = shared().database();
    migrated(&full);
    for mind in [
        "exec /bin/true",
        "exit 0",
        &format!("case $2 in -c) exit 1;; esac; exec >/dev/null 2>&1; {EXEC}"),
        "echo 'bastion-migrate: go on?'; read answer; exit 0",
    ] {
        for (database, command) in [(&empty, "migrate"), (&full, "verify")] {
            let told = minded(database, mind).input("command", command).run();
            told.fails("tool-list", 5).error("listed none").says("nothing was changed").done();
        }
    }
    assert_eq!(tables(&empty), "0");
}

#[test]
fn a_list_that_is_not_the_databases_is_no_list() {
    let says = |list: &str| format!(r#"echo "{list}  shop.0001_initial""#);
    let (empty, full) = (shared().database(), shared().database());
    migrated(&full);
    for database in [&empty, &full] {
        let told = minded(database, &says("[X]")).run().fails("tool-elsewhere", 5);
        told.says("nothing was changed").done();
    }
    for command in ["migrate", "verify"] {
        let told = minded(&full, &says("[ ]")).input("command", command).run();
        told.fails("tool-list", 5).error("none of the 5 migrations in its ledger").done();
    }
    let told = minded(&empty, &says("[ ]")).run().fails("verify-pending", 7).pending(["shop.0001_initial"]);
    told.says("keeps a ledger, and the database has none").done();
}

#[test]
fn a_list_that_comes_twice_is_one() {
    let database = shared().database();
    let mind = r#"case "$*" in *showmigrations*) case "$2" in -c) exit 1;; *) "$@";; esac;; esac; exec "$@""#;
    minded(&database, mind).run().succeeds().applied(MIGRATIONS).done();
}

#[test]
fn a_migration_that_the_list_hides_is_told_and_fails_where_the_plan_was_approved() {
    let hides =
        r#"case "$2" in -c) exit 1;; esac; case "$*" in *showmigrations*) "$@" | grep -v 0003;; *) exec "$@";; esac"#;
    let planned = || MIGRATIONS.into_iter().take(4);
    let database = shared().database();
    let plan = minded(&database, hides).input("command", "plan").run().pends().pending(planned());
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let told = minded(&database, hides).input("expect-plan", digest).run().fails("verify-unplanned", 7);
    told.applied(MIGRATIONS).error("recorded that is not in the plan: `customers.0003_first_customer`").done();
    let database = shared().database();
    minded(&database, hides).run().succeeds().applied(MIGRATIONS).warning("that is not in the plan").done();
}

#[test]
fn an_image_that_asks_and_does_not_wait_for_the_answer_is_reported_as_its_ledger() {
    let asks = r#"python manage.py showmigrations --plan; echo "bastion-migrate: go on?""#;
    let database = shared().database();
    let late = format!("{asks}; sleep 4; FORCED=yes exec python manage.py migrate --noinput");
    minded(&database, &late).run().succeeds().applied(MIGRATIONS).done();
    agrees(&shared().database(), &format!("{asks}; FORCED=yes exec python manage.py migrate --noinput"));
}

#[test]
fn what_goes_on_in_the_background_is_reported_as_its_ledger() {
    for mind in [
        r#"(FORCED=yes python manage.py migrate --noinput) & exec "$@""#,
        r#"(sleep 2; FORCED=yes python manage.py migrate --noinput) & exec "$@""#,
        r#"(FORCED=yes setsid python manage.py migrate --noinput >/dev/null 2>&1 </dev/null) & sleep 1; exec "$@""#,
    ] {
        agrees(&shared().database(), mind);
    }
}

#[test]
fn an_image_that_migrates_another_database_is_found_out() {
    let (database, other) = (shared().database(), shared().database());
    let mind = r#"export DATABASE_URL="$OTHER"; exec "$@""#;
    let elsewhere = || minded(&database, mind).hands_over(&format!("OTHER={}", other.url()));
    elsewhere().run().fails("verify-pending", 7).pending(MIGRATIONS).done();
    assert_eq!((tables(&database).as_str(), ledger(&other).len()), ("0", 5));
    elsewhere().run().fails("tool-elsewhere", 5).says("nothing was changed").done();
}

#[test]
fn an_exit_code_that_is_not_true_changes_no_report() {
    let database = shared().database();
    let told = minded(&database, r#""$@"; exit 1"#).run().fails("tool-failed", 6);
    told.applied(MIGRATIONS).done();
    let database = shared().database();
    let early = r#"case "$*" in *showmigrations*) exec "$@";; *) exit 0;; esac"#;
    minded(&database, early).input("run", RUN).run().fails("verify-pending", 7).pending(MIGRATIONS).done();
    let first = begun(&database);
    let told = minded(&database, early).input("run", RUN).run().fails("verify-pending", 7);
    told.pending(MIGRATIONS.into_iter().skip(first)).done();
}

#[test]
fn a_ledger_that_is_gone_or_lacks_what_it_had_is_told() {
    let database = shared().database();
    migrated(&database);
    let told = minded(&database, r#"FORCED=yes sql "drop table django_migrations"; exec "$@""#).run();
    told.fails("tool-unasked", 7).pending(MIGRATIONS).error("5 migrations are gone from the ledger").done();
    let after = |statement: &str| format!(r#"case "$*" in *--noinput*) "$@"; sql "{statement}";; *) exec "$@";; esac"#);
    let database = shared().database();
    let told = minded(&database, &after("drop table django_migrations")).input("run", RUN).run();
    let told = told.fails("verify-pending", 7).pending(MIGRATIONS);
    told.says("keeps a ledger, and the database has none").done();
    let database = shared().database();
    let first = begun(&database);
    // The user's own command may remove rows: of the recipe's, nobody expects that.
    let removes = after("delete from django_migrations where app = 'carriers'");
    let told = minded(&database, &removes).input("expect-plan", plan_of(&database)).run().fails("verify-ledger", 7);
    told.applied(MIGRATIONS.into_iter().skip(first)).error("`carriers.0001_initial` was in the ledger before").done();
}

fn plan_of(database: &Database) -> String {
    let plan = minded(database, r#"exec "$@""#).input("command", "plan").run().pends();
    let digest = plan.outputs["plan-digest"].clone();
    plan.pending(MIGRATIONS.into_iter().skip(ledger(database).len())).done();
    digest
}

#[test]
fn rows_and_tables_that_come_from_nowhere_are_told() {
    let database = shared().database();
    migrated(&database);
    for (statement, said) in [
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
        let told = minded(&database, &format!(r#"FORCED=yes sql "{statement}"; exec "$@""#)).run();
        let recorded = said.split('`').nth(1).filter(|_| said.contains("recorded"));
        told.fails("tool-unasked", 7).applied(recorded).error(said).never_says("nothing was changed").done();
    }
    let mind = r#"case "$*" in *--check*) FORCED=yes sql "create table stray ()";; esac; exec "$@""#;
    let told = minded(&database, mind).input("command", "verify").run().fails("tool-unasked", 7);
    told.error("table public.stray").done();
}

#[test]
fn an_image_that_ends_our_session_has_failed_and_what_it_did_is_told() {
    let ends = "select pg_terminate_backend(pid) from pg_stat_activity \
        where pid <> pg_backend_pid() and datname = current_database() and usename = current_user";
    let database = shared().database();
    let told = minded(&database, &format!(r#"sql "{ends}"; exec "$@""#)).run();
    told.fails("database-lost", 3).pending(MIGRATIONS).done();
    assert_eq!(tables(&database), "0");
    let mind = format!(r#"FORCED=yes python manage.py migrate --noinput; sql "{ends}"; exec "$@""#);
    let told: Finished = minded(&database, &mind).run();
    told.fails("tool-unasked", 7).applied(MIGRATIONS).done();
}

/// With a foreign key, Django commits first and records then.
#[test]
fn a_migration_that_is_done_and_not_recorded_is_named_with_what_to_do() {
    let database = shared().database();
    begun(&database);
    let bystander = Bystander::with(&database, "lock table django_migrations in share row exclusive mode");
    let running = Step::of_app(&database, DJANGO_5_2).input("lock-timeout", "60s").input("retries", "0").start();
    let waits = "select count(*) from pg_locks where not granted and relation = 'django_migrations'::regclass";
    running.wait_until("the record", || (database.sql(waits) == "1").then_some(()));
    let told = running.cancel().finished.fails("cancelled", 130).pending(MIGRATIONS.into_iter().skip(1));
    drop(bystander);
    let told =
        told.warning("`suppliers.0001_initial` was running and is not recorded, but the schema contains changes of it");
    told.says("`python manage.py migrate suppliers 0001_initial --fake --noinput`").done();
    assert_eq!(database.sql("select to_regclass('suppliers_supplier') is not null"), "t");
}

#[test]
fn going_back_undoes_what_the_tool_plans_and_no_more() {
    let database = shared().database();
    migrated(&database);
    let back = || Step::of_app(&database, DJANGO_5_2).input("command", "rollback").input("target", "suppliers zero");
    let undone =
        ["customers.0003_first_customer", "customers.0002_region", "customers.0001_initial", "suppliers.0001_initial"];
    let refused = back().input("expect-plan", NOBODYS).run().fails("plan-changed", 5);
    let digest = refused.outputs["plan-digest"].clone();
    refused.says("to roll back customers.0001_initial").done();
    back().input("expect-plan", digest).run().succeeds().pending(undone).says("Rolled back 4 migrations").done();
    assert_eq!(ledger(&database), [MIGRATIONS[0]]);
}

#[test]
fn a_tool_that_undoes_more_than_it_has_planned_has_failed() {
    let database = shared().database();
    migrated(&database);
    let mind = r#"case "$*" in *zero*--plan*) "$@" | grep -v customers;; *) exec "$@";; esac"#;
    let step = minded(&database, mind).input("command", "rollback").input("target", "suppliers zero");
    let undone =
        ["suppliers.0001_initial", "customers.0003_first_customer", "customers.0002_region", "customers.0001_initial"];
    let told = step.run().fails("verify-unplanned", 7).error("3 migrations were undone that are not in the plan");
    assert_eq!(told.listed("pending").into_iter().collect::<BTreeSet<_>>(), undone.map(str::to_owned).into());
    let pending = told.listed("pending");
    told.pending(pending.iter().map(String::as_str)).done();
}

#[test]
fn rows_of_a_squashed_migration_are_explained() {
    let database = shared().database();
    let mind = r#"cp /mind/squashed.py customers/migrations/0001_squashed_0002_region.py; exec "$@""#;
    let squash = "customers.0001_squashed_0002_region";
    let planned = [MIGRATIONS[0], MIGRATIONS[1], squash, MIGRATIONS[4]];
    let plan = minded(&database, mind).input("command", "plan").run().pends().pending(planned);
    let digest = plan.outputs["plan-digest"].clone();
    plan.done();
    let told = minded(&database, mind).input("expect-plan", digest).run().succeeds();
    let told = told.says(&format!("2 more rows recorded by squashed migrations: `{squash}` (2)"));
    told.applied(planned.into_iter().chain([MIGRATIONS[2], MIGRATIONS[3]])).done();
    assert_eq!(ledger(&database).len(), 6);
    minded(&database, mind).run().nothing_to_do().done();
}

#[test]
fn an_image_that_closes_its_streams_has_failed_and_what_it_did_is_told() {
    let database = shared().database();
    let told = minded(&database, r#"exec >&- 2>&-; exec "$@""#).run().fails("tool-failed", 6);
    told.says("nothing was changed").done();
    let told = minded(&database, r#"exec >&- 2>&-; FORCED=yes python manage.py migrate --noinput -v 0; exit 0"#).run();
    told.fails("tool-unasked", 7).applied(MIGRATIONS).done();
}

/// Its connection is its own, and the run lock went with the action.
#[test]
fn a_tool_that_works_on_when_its_action_is_killed_is_waited_for() {
    let database = shared().database();
    let direct = |seconds: &str| {
        let step = Step::of_app(&database, DJANGO_5_2).trouble("slow").hands_over(&format!("APP_SECONDS={seconds}"));
        step.beside_the_database()
    };
    let running = direct("600").start();
    let sleeps = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and wait_event = 'PgSleep'";
    running.wait_until("the last migration", || (database.sql(sleeps) == "1").then_some(()));
    let mut killed = running.kill();
    drop(killed.finished.always_wrong());
    let mut told = direct("1").input("lock-wait", "2s").run();
    // What it leaves is the other one's.
    drop(told.always_wrong());
    assert_eq!(told.outputs["fault-code"], "lock-held", "{}", told.log);
    assert!(told.log.contains("a tool is still at work in the database although its run has ended"), "{}", told.log);
    // As the fix says. The engine has taken its network from it, so the server would not miss it soon.
    database.sql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where query like '%pg_sleep%' and wait_event = 'PgSleep'");
    direct("1").post().with_state(killed.state).run().tidies_up().done();
    direct("1").run().succeeds().applied([TROUBLE]).done();
}
