//! A tool without a built-in recipe: the recipe is the example on the tools page, copied into the workspace, and the
//! tool is a script on the deployment server.

use crate::{
    action::Action,
    lab::{
        Lab,
        server::{Server, from_the_server},
    },
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

/// The tool's script. Its ledger and its output match the recipe.
const SHOPMIG: &str = r#"#!/bin/sh
set -eu
eval "${MIND-}"
ask() { psql -XAtq "$DATABASE_URL" -c "$1"; }
has() { [ "$(ask "select count(*) from schema_migrations where version = $1" 2>/dev/null)" = 1 ]; }
case $1 in
ping) ask 'select 1' >/dev/null ;;
list) for number in 1 2 3; do if has $number; then echo "done $number"; else echo "open $number"; fi; done ;;
up)
    ask 'create table if not exists schema_migrations (version bigint primary key, dirty boolean not null)' 2>/dev/null
    for number in 1 2 3; do
        if has $number; then continue; fi
        echo "up $number"
        if [ $number = "${BROKEN-}" ]; then echo "shopmig: file $number has no end" >&2; exit 1; fi
        ask "begin; create table shop_$number (); insert into schema_migrations values ($number, false); commit"
    done ;;
down)
    for number in 3 2 1; do
        if [ $number -le ${2#--to=} ]; then continue; fi
        echo "down $number"
        ask "begin; drop table shop_$number; delete from schema_migrations where version = $number; commit"
    done ;;
esac
"#;

fn recipe() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md")).expect("it is there");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = { blocks }.find(|block| block.starts_with("name: "));
    block.expect("the page shows a whole recipe").to_owned()
}

pub(crate) fn server(lab: &Lab) -> Server {
    let variables = format!("export DATABASE_URL='{}'\n", from_the_server(&lab.database));
    let server = Server::start().file("shop/shopmig", SHOPMIG).file("shop/env", variables);
    fs::set_permissions(server.path("shop/shopmig"), fs::Permissions::from_mode(0o755)).expect("it is there");
    server
}

pub(crate) fn shop<'a>(lab: &'a Lab, server: &'a Server) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url());
    let step = step.file(".github/shopmig.yml", recipe()).input("tool", ".github/shopmig.yml");
    step.input("working-directory", "shop").input("setup", ". ./env")
}

#[test]
fn a_tool_is_added_by_one_file() {
    let lab = Lab::new();
    let server = server(&lab);
    shop(&lab, &server).input("command", "plan").run().has_pending().pending(["1", "2", "3"]).done();
    shop(&lab, &server).run().succeeds().applied(["1", "2", "3"]).logs("started 3").done();
    shop(&lab, &server).run().nothing_to_do().done();
    let rollback = shop(&lab, &server).input("command", "rollback").input("target", "1").run();
    rollback.succeeds().pending(["3", "2"]).logs("rolled back 3").logs("Rolled back 2 migrations").done();
    assert_eq!(lab.database.sql("select version from schema_migrations"), "1");
    let second_rollback = shop(&lab, &server).input("command", "rollback").input("target", "1").run().nothing_to_do();
    second_rollback.logs("Nothing is left to roll back").never_logs("Nothing is pending").done();
    let finished = shop(&lab, &server).input("command", "status").run().has_pending().pending(["2", "3"]);
    finished.summary("### Applied\n\n| Migration |\n|---|\n| 1 |\n").done();
}

/// The list does not repeat the plan, and a started migration is not logged again as applied. The tool's own lines
/// stay.
#[test]
fn each_migration_is_logged_once_as_pending_once_as_started_and_by_the_tool() {
    let lab = Lab::new();
    let server = server(&lab);
    let finished = shop(&lab, &server).run().succeeds().applied(["1", "2", "3"]);
    for number in 1..=3 {
        for (line, count) in [
            (format!("  | open {number}\n"), 0),
            (format!("  | up {number}\n"), 1),
            (format!("  pending {number}\n"), 1),
            (format!("  started {number}\n"), 1),
            (format!("  applied {number}\n"), 0),
        ] {
            assert_eq!(finished.log.matches(&line).count(), count, "{line}: {}", finished.log);
        }
    }
    finished.logs("  applied 3 migrations of those started above\n").done();
}

#[test]
fn very_long_output_of_a_tool_is_cut_with_a_count() {
    let lab = Lab::new();
    let server = server(&lab);
    let script = r#"[ "$1" != up ] || seq 200000"#;
    let finished = shop(&lab, &server).input("env", format!("MIND={script}")).run().succeeds().applied(["1", "2", "3"]);
    let finished =
        finished.logs("  | 20000\n").never_logs("  | 20001\n").logs("  … and 180,003 more lines, omitted from the log");
    assert!(finished.outputs["report"].contains("\"skipped\":180003"), "{}", finished.outputs["report"]);
    finished.logs("started 3").done();
}

/// Such times would be those of our polling, not those of the tool.
#[test]
fn a_duration_that_is_only_a_polling_interval_is_not_reported() {
    let lab = Lab::new();
    let server = server(&lab);
    let finished = shop(&lab, &server).run().succeeds().applied(["1", "2", "3"]);
    let applied: serde_json::Value = serde_json::from_str(&finished.outputs["applied"]).unwrap();
    assert!(applied.as_array().unwrap().iter().all(|one| one["took_ms"].is_null()), "{applied}");
    assert!(!finished.summary.contains("gantt"), "{}", finished.summary);
    finished.done();
}

#[test]
fn a_failure_that_the_recipe_knows_is_explained() {
    let lab = Lab::new();
    let server = server(&lab);
    let finished = shop(&lab, &server).input("env", "BROKEN=2").run().fails("tool-failed", 6);
    finished.applied(["1"]).pending(["2", "3"]).error("shopmig: file 2 has no end").logs("last line of file 2").done();
}

#[test]
fn a_command_that_fails_before_its_first_migration_marks_none_as_failed() {
    let lab = Lab::new();
    let server = server(&lab);
    let script = "case $1 in up) echo shopmig: no module named shop >&2; exit 1;; esac";
    let finished = shop(&lab, &server).input("env", format!("MIND={script}")).run().fails("tool-failed", 6);
    let finished = finished.pending(["1", "2", "3"]).error("shopmig: no module named shop").never_logs("  failed 1");
    let report = &finished.outputs["report"];
    assert!(report.contains(r#"{"name":"1","fate":"pending","#), "{report}");
    assert!(!finished.summary.contains("| failed |"), "{}", finished.summary);
    finished.done();
}

#[test]
fn an_invalid_recipe_or_target_is_reported_before_any_command_runs() {
    let lab = Lab::new();
    let server = server(&lab);
    let finished = shop(&lab, &server).file(".github/shopmig.yml", recipe().replace("status:", "stauts:")).run();
    finished.fails("input-invalid", 2).error_in(".github/shopmig.yml", "unknown variant `stauts`").done();
    let finished = shop(&lab, &server).input("command", "rollback").input("target", "the first").run();
    finished.fails("input-invalid", 2).error("`target` is `the first`").done();
}

/// The ledger of another application that uses the same tool, in its own schema.
#[test]
fn a_ledger_in_another_schema_is_not_mistaken_for_the_tools_own() {
    let lab = Lab::new();
    let server = server(&lab);
    lab.database.sql(
        "create schema other; create table other.schema_migrations (version bigint primary key, dirty boolean not null); \
         insert into other.schema_migrations values (1, false), (2, false), (3, false); \
         grant usage on schema other to app; grant select on other.schema_migrations to app",
    );
    shop(&lab, &server).run().succeeds().applied(["1", "2", "3"]).done();
    shop(&lab, &server).run().nothing_to_do().done();
}

#[test]
fn a_tool_that_migrates_another_database_is_detected() {
    let (lab, other) = (Lab::new(), Lab::new());
    let (here, elsewhere) = (server(&lab), server(&other));
    shop(&other, &elsewhere).run().succeeds().applied(["1", "2", "3"]).done();
    shop(&lab, &here)
        .input("env", "BROKEN=3")
        .run()
        .fails("tool-failed", 6)
        .applied(["1", "2"])
        .pending(["3"])
        .error("shopmig: file 3 has no end")
        .done();
    // The server's own configuration leads to the other database, where the third migration is applied.
    let step = shop(&lab, &elsewhere);
    let finished = step.run().fails("verify-pending", 7).pending(["3"]);
    finished.error("`./shopmig up` succeeded, but `3` is not in the ledger").done();
}

#[test]
fn a_tool_that_cannot_list_is_never_reported_as_having_nothing_to_do() {
    let lab = Lab::new();
    let server = server(&lab);
    let custom = || {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "custom");
        step.input("run", "./shopmig up").input("working-directory", "shop").input("setup", ". ./env")
    };
    custom().input("command", "plan").run().has_pending().logs("The pending migrations of ").done();
    custom().input("command", "verify").run().fails("verify-ledger", 7).error("nothing to verify by").done();
    custom().run().succeeds().applied(["1", "2", "3"]).logs("the ledger confirms it").done();
    custom().run().succeeds().warning("there is nothing new in the ledger").done();
}

#[test]
fn the_last_lines_of_a_timed_out_tool_are_reported() {
    let lab = Lab::new();
    let server = Server::start();
    let step = || {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "custom");
        step.input("setup", "waiting() { echo waiting for postgres:5432; sleep 60; }")
    };
    let finished = step().input("run", "waiting").input("timeout", "4s").run().fails("timed-out", 130);
    finished.logs("`waiting` was running; its last lines:").logs("waiting for postgres:5432").done();
    let finished = step().input("steps", "[{ run: waiting, timeout: 2s }]").run().fails("step-timeout", 6);
    finished.logs("`waiting` was running; its last lines:").done();
}

#[test]
fn an_error_that_a_successful_tool_prints_is_a_warning() {
    let lab = Lab::new();
    let server = Server::start();
    let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "custom");
    let finished = step.input("run", "echo 'ERROR: could not connect: no such host'").run().succeeds();
    finished
        .warning("printed `ERROR: could not connect: no such host`")
        .logs("only the tool itself reports that")
        .done();
}

#[test]
fn the_lock_session_survives_a_short_idle_session_timeout() {
    let lab = Lab::new();
    let server = server(&lab);
    lab.database.sql(&format!("alter database {} set idle_session_timeout = '300ms'", lab.database.name()));
    let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "custom");
    step.input("run", "./shopmig up")
        .input("working-directory", "shop")
        .input("setup", ". ./env\nsleep 1")
        .run()
        .succeeds()
        .applied(["1", "2", "3"])
        .done();
}

/// The tool reports success, and nothing confirms it.
#[test]
fn verify_fails_without_proof() {
    let lab = Lab::new();
    let server = server(&lab);
    let program = |name: &str, text: &str| {
        let path = server.programs().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("there is room");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is there");
    };
    ["alembic", "npx"].iter().for_each(|name| program(name, "exit 0"));
    for tool in ["alembic", "prisma"] {
        let finished = Action::on_server(&lab, &server).input("tool", tool).input("command", "verify").run();
        finished.fails("verify-ledger", 7).error("nothing to verify by: no database is given").done();
    }
    let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "prisma");
    step.input("command", "verify").run().fails("ledger-absent", 7).logs("nothing was changed").done();
    program("python", "echo No migrations to apply.");
    for command in ["migrate", "verify"] {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "django");
        step.input("command", command).run().fails("tool-list", 5).error("listed none").done();
    }
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn a_tool_that_leaves_no_ledger_fails_the_run() {
    let lab = Lab::new();
    let server = Server::start();
    let rails = "case $1 in db:migrate:status) echo 'Schema migrations table does not exist yet'; exit 1;; esac";
    let server = server.file("shop/bin/rails", format!("#!/bin/sh\n{rails}\n"));
    fs::set_permissions(server.path("shop/bin/rails"), fs::Permissions::from_mode(0o755)).expect("it is there");
    let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "rails");
    let finished = step.input("working-directory", "shop").run().fails("ledger-absent", 7);
    finished.error("keeps a ledger, and the database has none").done();
}

#[test]
fn a_listing_tool_cannot_write_and_is_detected_if_it_does() {
    let lab = Lab::new();
    let server = server(&lab);
    let with_script = |script: &str| shop(&lab, &server).input("env", format!("MIND={script}"));
    let when_listing = r#"case $1 in list) psql -XAtq "$DATABASE_URL" -c"#;
    let tries = format!("{when_listing} 'create table stray ()' || true;; esac");
    with_script(&tries)
        .input("command", "plan")
        .run()
        .has_pending()
        .pending(["1", "2", "3"])
        .logs("read-only transaction")
        .done();
    with_script(&tries).run().succeeds().applied(["1", "2", "3"]).done();
    assert_eq!(lab.database.sql("select to_regclass('stray') is null"), "t");
    let forces =
        format!("{when_listing} 'set default_transaction_read_only = off' -c 'create table stray ()' || true;; esac");
    for command in ["migrate", "verify"] {
        lab.database.sql("drop table if exists stray");
        let finished = with_script(&forces).input("command", command).run().fails("tool-unasked", 7);
        finished.error("the tool was only asked what there is to do").logs("table public.stray").done();
    }
}

#[test]
fn a_rollback_beyond_its_target_fails() {
    let lab = Lab::new();
    let server = server(&lab);
    shop(&lab, &server).run().succeeds().applied(["1", "2", "3"]).done();
    let step =
        shop(&lab, &server).input("command", "rollback").input("target", "2").input("env", "MIND=set -- $1 --to=1");
    let finished = step.run().fails("verify-unplanned", 7).pending(["3", "2"]);
    finished.error("1 migration was undone that is not in the plan: `2`").done();
}

/// Prisma prints when a migration starts, not when it ends, and records both in its ledger.
#[test]
fn a_duration_from_the_ledger_is_reported_even_if_the_tool_runs_longer() {
    let lab = Lab::new();
    let server = server(&lab);
    let prisma = r#"#!/bin/sh
set -eu
. ~/shop/env
case "$*" in
'prisma migrate status')
    echo 'Following migration have not yet been applied:'; echo 01_users; echo 02_orders; echo; exit 1 ;;
'prisma migrate deploy')
    psql -XAtq "$DATABASE_URL" -c "create table _prisma_migrations (migration_name text, started_at timestamptz,
        finished_at timestamptz, rolled_back_at timestamptz)"
    for name in 01_users 02_orders; do
        echo "Applying migration \`$name\`"
        psql -XAtq "$DATABASE_URL" -c "insert into _prisma_migrations values ('$name', now(), now() + interval '26.4 ms')"
    done
    sleep 2 ;;
esac
"#;
    let path = server.programs().join("npx");
    fs::write(&path, prisma).expect("there is room");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is there");
    let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "prisma");
    let finished = step.run().succeeds().applied(["01_users", "02_orders"]);
    let applied: serde_json::Value = serde_json::from_str(&finished.outputs["applied"]).unwrap();
    assert_eq!((&applied[0]["took_ms"], &applied[1]["took_ms"]), (&26.into(), &26.into()), "{applied}");
    assert!(!finished.summary.contains("gantt"), "the start times are unknown: {}", finished.summary);
    finished.done();
}

/// The tool measures it by its own clock; our own measurement does not exist here.
#[test]
fn a_duration_that_the_tool_prints_is_reported() {
    let lab = Lab::new();
    let server = server(&lab);
    let recipe = recipe().replace("error: ", "done: '^done (\\d+) in (?P<took>\\S+)$'\nerror: ");
    let tool = SHOPMIG.replace(
        "values ($number, false); commit\"\n",
        "values ($number, false); commit\"\n        echo \"done $number in 0.0264s\"\n",
    );
    let server = server.file("shop/shopmig", tool);
    fs::set_permissions(server.path("shop/shopmig"), fs::Permissions::from_mode(0o755)).expect("it is there");
    let finished = shop(&lab, &server).file(".github/shopmig.yml", recipe).run().succeeds().applied(["1", "2", "3"]);
    let applied: serde_json::Value = serde_json::from_str(&finished.outputs["applied"]).unwrap();
    assert!(applied.as_array().unwrap().iter().all(|one| one["took_ms"] == 26), "{applied}");
    finished.done();
}
