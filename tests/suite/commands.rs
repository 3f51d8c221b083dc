//! `plan`, `status` and `verify`: what they say, and that they can't write.

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
fn looking_takes_no_transaction_id_and_leaves_nothing() {
    // A server of its own, on which nobody else takes any.
    let lab = Lab::on(&Postgres::start(&Options { settings: &["autovacuum = off"], ..Options::default() }));
    let state =
        || lab.database.sql("select pg_snapshot_xmax(pg_current_snapshot()), pg_current_wal_insert_lsn()::text > ''");
    let before = state();
    one_file(&lab, "plan").run().pends().pending(["0001_users"]).done();
    one_file(&lab, "status").run().pends().pending(["0001_users"]).done();
    one_file(&lab, "verify").run().fails("verify-pending", 7).pending(["0001_users"]).done();
    assert_eq!(state(), before);
    assert_eq!(lab.database.contents(), "");
    one_file(&lab, "migrate").run().succeeds().applied(["0001_users"]).done();
    let after = state();
    assert_ne!(after, before, "a migration takes some");
    one_file(&lab, "plan").run().nothing_to_do().done();
    one_file(&lab, "status").run().nothing_to_do().done();
    one_file(&lab, "verify").run().succeeds().done();
    assert_eq!(state(), after);
}

#[test]
fn status_lists_what_is_applied() {
    let lab = Lab::new();
    one_file(&lab, "migrate").run().succeeds().applied(["0001_users"]).done();
    let told = one_file(&lab, "status").file("migrations/0002_more.sql", "select 1;").run().pends();
    let told = told
        .pending(["0002_more"])
        .says("  applied migrations/0001_users.sql\n")
        .says("  pending migrations/0002_more.sql\n");
    let told = told.summary("### Applied\n\n| Version | Migration | File | |").summary("| 1 | users |");
    let report: serde_json::Value = serde_json::from_str(&told.outputs["report"]).unwrap();
    assert_eq!(report["recorded"][0]["file"], "migrations/0001_users.sql");
    told.done();
}

/// A ledger of a superuser's that writes whenever it is read.
const TRAP: &str = "create table caught (id int); grant all on caught to app; create type odd as (n bigint); \
    create function spring(odd) returns bigint language sql volatile as 'insert into public.caught values (1) returning 1'; \
    create cast (odd as bigint) with function spring(odd) as implicit; \
    create table _sqlx_migrations (version bigint primary key, description text, installed_on timestamptz, success boolean, \
    checksum bytea, execution_time odd); \
    insert into _sqlx_migrations values (1, 'users', now(), true, sha384('create table users (id int);\\012'), row(1)); \
    grant all on _sqlx_migrations to app";

#[test]
fn the_transaction_mode_keeps_a_look_from_writing_whatever_it_reads() {
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
    // The trap is a good one.
    assert_eq!(lab.database.sql("set role app; select execution_time / 1 from _sqlx_migrations; table caught"), "1\n1");
}

#[test]
fn the_same_plan_has_the_same_digest_wherever_it_is_made() {
    let [here, there] = [Lab::new(), Lab::new()];
    let plan = |lab: &Lab| {
        let done = two_files(lab, "plan").run();
        let digest = digest(&done);
        done.pends().pending(["0001_users", "0002_index"]).done();
        digest
    };
    let first = plan(&here);
    assert_eq!(first.strip_prefix("sha256:").map(str::len), Some(64), "{first}");
    assert_eq!((plan(&here), plan(&there)), (first.clone(), first.clone()));

    let edited = two_files(&here, "plan").file("migrations/0001_users.sql", "create table users (id bigint);\n").run();
    let other = digest(&edited);
    edited.pends().pending(["0001_users", "0002_index"]).done();
    assert_ne!(other, first);

    one_file(&here, "migrate").run().succeeds().applied(["0001_users"]).done();
    one_file(&there, "migrate").run().succeeds().applied(["0001_users"]).done();
    let [one, two] = [&here, &there].map(|lab| {
        let done = two_files(lab, "status").run();
        let digest = digest(&done);
        done.pends().pending(["0002_index"]).done();
        digest
    });
    assert_eq!(one, two);
    assert_ne!(one, first);
}

#[test]
fn a_plan_names_what_would_be_applied_and_how_to_apply_exactly_that() {
    let lab = Lab::new();
    let done = two_files(&lab, "plan").run();
    let digest = digest(&done);
    done.pends()
        .pending(["0001_users", "0002_index"])
        .output("applied", "[]")
        .output(
            "pending",
            r#"[{"version":1,"name":"users","file":"migrations/0001_users.sql"},{"version":2,"name":"index","file":"migrations/0002_index.sql"}]"#,
        )
        .says("pending migrations/0001_users.sql\n")
        .says(&format!("2 migrations pending for {}", lab.database.name()))
        .says(&format!("with `expect-plan: {digest}` it applies exactly this plan"))
        .summary("| 2 | index | <code>migrations/0002\\_index.sql</code> |  |")
        .done();
}

#[test]
fn verify_is_content_when_all_is_applied_and_nothing_is_broken() {
    let lab = Lab::new();
    two_files(&lab, "migrate").run().succeeds().applied(["0001_users", "0002_index"]).done();
    two_files(&lab, "verify")
        .run()
        .succeeds()
        .says(&format!("{} is in order, and the ledger confirms it", lab.database.name()))
        .summary("is in order")
        .done();
    two_files(&lab, "status").run().nothing_to_do().says("has 2 migrations recorded").done();
}

#[test]
fn verify_tells_pending_files_and_broken_indexes_together() {
    let lab = Lab::new();
    two_files(&lab, "migrate").run().succeeds().applied(["0001_users", "0002_index"]).done();
    lab.database.sql("update pg_index set indisvalid = false where indexrelid = 'users_id'::regclass");
    let broken = "the index public.users_id is INVALID";
    let looked = || two_files(&lab, "verify");
    let since = "the index public.users_id is INVALID since before this run";
    looked().run().fails("verify-index", 7).error(broken).done();
    looked()
        .file("migrations/0003_more.sql", "select 1;")
        .run()
        .fails("verify-pending", 7)
        .error("`migrations/0003_more.sql` is not applied")
        .error(broken)
        .pending(["0003_more"])
        .done();
    // Whoever migrates is warned of what was broken before, and not blamed.
    two_files(&lab, "migrate").run().nothing_to_do().warning(since).done();
    two_files(&lab, "plan").run().nothing_to_do().warning(since).done();
}

#[test]
fn outside_of_actions_the_lines_are_plain() {
    let lab = Lab::new();
    for (command, colour) in [("plan", ""), ("plan", "1"), ("migrate", "")] {
        let done = one_file(&lab, command).env("GITHUB_ACTIONS", "").env("NO_COLOR", colour).run();
        assert!(!done.log.contains("::"), "{}", done.log);
        assert!(!done.log.contains('\u{1b}'), "{}", done.log);
        let done = done.says("\nplan\n").says("  pending migrations/0001_users.sql\n");
        match command {
            "plan" => done.pends().pending(["0001_users"]).done(),
            _ => done.succeeds().applied(["0001_users"]).says("  applied 0001_users (").done(),
        }
    }
}
