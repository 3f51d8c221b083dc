//! `plan`, `status` and `verify`: their output, and that they can't write.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{Options, Postgres},
    },
};

const USERS: &str = "create table users (id int);\n";

fn one_file<'l>(lab: &'l Lab, command: &str) -> Action<'l> {
    Action::new(lab).file("migrations/0001_users.sql", USERS).input("command", command)
}

fn two_files<'l>(lab: &'l Lab, command: &str) -> Action<'l> {
    one_file(lab, command).file("migrations/0002_index.sql", "create index concurrently users_id on users (id);\n")
}

fn digest(done: &Finished) -> String {
    done.outputs.get("plan-digest").cloned().expect("there is a plan")
}

#[test]
fn read_only_commands_take_no_transaction_id_and_leave_nothing() {
    // A separate server, so that no other test takes transaction ids.
    let lab = Lab::on(&Postgres::start(&Options { settings: &["autovacuum = off"], ..Options::default() }));
    let state =
        || lab.database.sql("select pg_snapshot_xmax(pg_current_snapshot()), pg_current_wal_insert_lsn()::text > ''");
    let before = state();
    one_file(&lab, "plan").run().has_pending().pending(["0001_users"]).done();
    one_file(&lab, "status").run().has_pending().pending(["0001_users"]).done();
    one_file(&lab, "verify").run().fails("verify-pending", 7).pending(["0001_users"]).done();
    assert_eq!(state(), before);
    assert_eq!(lab.database.contents(), "");
    one_file(&lab, "migrate").run().succeeds().applied(["0001_users"]).done();
    let after = state();
    assert_ne!(after, before, "a migration takes transaction ids");
    one_file(&lab, "plan").run().nothing_to_do().done();
    one_file(&lab, "status").run().nothing_to_do().done();
    one_file(&lab, "verify").run().succeeds().done();
    assert_eq!(state(), after);
}

/// Returns the report of a run as JSON.
fn report(done: &Finished) -> serde_json::Value {
    serde_json::from_str(done.outputs.get("report").expect("there is a report")).expect("it is JSON")
}

#[test]
fn status_lists_what_is_applied_and_when_by_which_role_and_which_run() {
    let lab = Lab::new();
    one_file(&lab, "migrate").run().succeeds().applied(["0001_users"]).done();
    lab.database.sql("update bastion_migrate.ledger set applied_at = '2026-01-31 23:59:59.9-05', applied_by = 'a|b'");
    let finished = one_file(&lab, "status").file("migrations/0002_more.sql", "select 1;").run().has_pending();
    let run = lab.database.sql("select run from bastion_migrate.ledger");
    let finished = finished
        .pending(["0002_more"])
        .logs(&format!("  applied migrations/0001_users.sql  2026-02-01T04:59:59Z  by a|b  in {run}\n"))
        .logs("  pending migrations/0002_more.sql\n")
        .summary("### Applied\n\n| Migration | When | Role | Run |\n|---|---|---|---|\n| [<code>migrations/0001\\_users.sql</code>](")
        .summary(") | <code>2026-02-01T04:59:59Z</code> | a\\|b | [")
        .summary(&format!("]({run}) |\n"));
    assert_eq!(
        report(&finished)["recorded"],
        serde_json::json!([{
            "version": "1", "name": "users", "file": "migrations/0001_users.sql",
            "recorded_at": "2026-02-01T04:59:59Z", "role": "a|b", "run": run,
        }])
    );
    finished.done();
}

#[test]
fn status_lists_the_ledger_although_the_plan_is_refused() {
    let lab = Lab::new();
    two_files(&lab, "migrate").run().succeeds().applied(["0001_users", "0002_index"]).done();
    let changed = one_file(&lab, "status").file("migrations/0001_users.sql", "create table users (id bigint);\n").run();
    let changed = changed.fails("file-changed", 5).error_in("migrations/0001_users.sql", "is not what was applied");
    let changed = changed.error("version 2 (`index`) is applied, but there is no file for it");
    let recorded = &report(&changed)["recorded"];
    assert_eq!((&recorded[0]["file"], &recorded[1]["name"]), (&"migrations/0001_users.sql".into(), &"index".into()));
    assert!(recorded[1].get("file").is_none(), "{recorded}");
    changed
        .logs("  applied migrations/0001_users.sql  20")
        .logs("  applied 2 index ")
        .summary("| 2 index | <code>20")
        .done();
}

#[test]
fn status_lists_what_is_half_done() {
    let lab = Lab::new();
    let step = |command: &str| {
        two_files(&lab, command)
            .file("migrations/0002_index.sql", "-- no-transaction\ncreate table a (); create table no.b ();\n")
    };
    let failed = step("migrate").run().fails("statement-failed", 6).applied(["0001_users"]).pending(["0002_index"]);
    failed.logs("the next run resumes with it").done();
    let status = step("status").run().has_pending().pending(["0002_index"]);
    assert_eq!(
        report(&status)["half_done"],
        serde_json::json!([{
            "version": "2", "name": "index", "file": "migrations/0002_index.sql", "statements_done": 1, "change": "apply",
        }])
    );
    status
        .logs("  half-done migrations/0002_index.sql: 1 statement done\n")
        .summary("### Half-done\n\n| Migration | |\n")
        .done();
}

/// A superuser's ledger with a cast that writes whenever it is read.
const TRAP: &str = "create table caught (id int); grant all on caught to app; create type odd as (n bigint); \
    create function spring(odd) returns bigint language sql volatile as 'insert into public.caught values (1) returning 1'; \
    create cast (odd as bigint) with function spring(odd) as implicit; \
    create table _sqlx_migrations (version bigint primary key, description text, installed_on timestamptz, success boolean, \
    checksum bytea, execution_time odd); \
    insert into _sqlx_migrations values (1, 'users', now(), true, sha384('create table users (id int);\\012'), row(1)); \
    grant all on _sqlx_migrations to app";

#[test]
fn the_read_only_transaction_prevents_a_command_from_writing_whatever_it_reads() {
    let lab = Lab::new();
    lab.database.sql(TRAP);
    for command in ["plan", "status", "verify"] {
        for options in ["", "?options=-c%20default_transaction_read_only%3Doff"] {
            one_file(&lab, command)
                .secret("database-url", format!("{}{options}", lab.database.url()))
                .run()
                .fails("statement-failed", 6)
                .error("cannot execute INSERT in a read-only transaction")
                .done();
            assert_eq!(lab.database.sql("table caught"), "");
        }
    }
    // Without the read-only transaction the trap writes.
    assert_eq!(lab.database.sql("set role app; select execution_time / 1 from _sqlx_migrations; table caught"), "1\n1");
}

#[test]
fn the_same_plan_has_the_same_digest_in_every_database() {
    let [here, elsewhere] = [Lab::new(), Lab::new()];
    let plan = |lab: &Lab| {
        let done = two_files(lab, "plan").run();
        let digest = digest(&done);
        done.has_pending().pending(["0001_users", "0002_index"]).done();
        digest
    };
    let first = plan(&here);
    assert_eq!(first.strip_prefix("sha256:").map(str::len), Some(64), "{first}");
    assert_eq!((plan(&here), plan(&elsewhere)), (first.clone(), first.clone()));

    let edited = two_files(&here, "plan").file("migrations/0001_users.sql", "create table users (id bigint);\n").run();
    let other = digest(&edited);
    edited.has_pending().pending(["0001_users", "0002_index"]).done();
    assert_ne!(other, first);

    one_file(&here, "migrate").run().succeeds().applied(["0001_users"]).done();
    one_file(&elsewhere, "migrate").run().succeeds().applied(["0001_users"]).done();
    let [one, two] = [&here, &elsewhere].map(|lab| {
        let done = two_files(lab, "status").run();
        let digest = digest(&done);
        done.has_pending().pending(["0002_index"]).done();
        digest
    });
    assert_eq!(one, two);
    assert_ne!(one, first);
}

#[test]
fn a_plan_lists_its_migrations_and_how_to_apply_exactly_them() {
    let lab = Lab::new();
    let done = two_files(&lab, "plan").run();
    let digest = digest(&done);
    done.has_pending()
        .pending(["0001_users", "0002_index"])
        .output("applied", "[]")
        .output(
            "pending",
            r#"[{"version":"1","name":"users","file":"migrations/0001_users.sql"},{"version":"2","name":"index","file":"migrations/0002_index.sql"}]"#,
        )
        .logs("pending migrations/0001_users.sql\n")
        .logs(&format!("2 migrations pending for {}", lab.database.name()))
        .logs(&format!("with `expect-plan: {digest}` it applies exactly this plan"))
        .summary("| [<code>migrations/0002\\_index.sql</code>](https://github.com/octo/app/blob/0123456789abcdef0123456789abcdef01234567/migrations/0002_index.sql) | ")
        .done();
}

#[test]
fn verify_succeeds_if_all_is_applied_and_no_index_is_broken() {
    let lab = Lab::new();
    two_files(&lab, "migrate").run().succeeds().applied(["0001_users", "0002_index"]).done();
    two_files(&lab, "verify")
        .run()
        .succeeds()
        .logs(&format!("{} is in order, and the ledger confirms it", lab.database.name()))
        .summary("is in order")
        .done();
    two_files(&lab, "status").run().nothing_to_do().logs("has 2 migrations recorded").done();
}

#[test]
fn verify_reports_pending_files_and_broken_indexes_together() {
    let lab = Lab::new();
    two_files(&lab, "migrate").run().succeeds().applied(["0001_users", "0002_index"]).done();
    lab.database.sql("update pg_index set indisvalid = false where indexrelid = 'users_id'::regclass");
    let broken = "the index public.users_id is INVALID";
    let verify = || two_files(&lab, "verify");
    let since = "the index public.users_id is INVALID since before this run";
    verify().run().fails("verify-index", 7).error(broken).done();
    verify()
        .file("migrations/0003_more.sql", "select 1;")
        .run()
        .fails("verify-pending", 7)
        .error("`migrations/0003_more.sql` is not applied")
        .error(broken)
        .pending(["0003_more"])
        .done();
    // An index that was broken before the run causes a warning, not a failure.
    two_files(&lab, "migrate").run().nothing_to_do().warning(since).done();
    two_files(&lab, "plan").run().nothing_to_do().warning(since).done();
}

#[test]
fn outside_of_github_actions_the_log_is_plain_text() {
    let lab = Lab::new();
    for (command, colour) in [("plan", ""), ("plan", "1"), ("migrate", "")] {
        let done = one_file(&lab, command).env("GITHUB_ACTIONS", "").env("NO_COLOR", colour).run();
        assert!(!done.log.contains("::"), "{}", done.log);
        assert!(!done.log.contains('\u{1b}'), "{}", done.log);
        let done = done.logs("\nplan\n").logs("  pending migrations/0001_users.sql\n");
        match command {
            "plan" => done.has_pending().pending(["0001_users"]).done(),
            _ => done.succeeds().applied(["0001_users"]).logs("  applied 0001_users (").done(),
        }
    }
}

/// The picture that `docs/conventions.md` shows.
#[test]
fn a_test_states_the_files_the_run_and_the_result() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_users.sql", "create table users (id int)")
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
    assert_eq!(lab.database.sql("select count(*) from users"), "0");
}
