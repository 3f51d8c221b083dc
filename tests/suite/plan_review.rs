//! The review of a plan: what an approver sees, what is refused, what is accepted, and that it changes nothing.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{Options, Postgres},
    },
};
use serde_json::Value;

/// A table with rows that the statistics know.
const USERS: &str = "create table users (id int primary key, email text, level int); \
    insert into users select n, 'x', n from generate_series(1, 20000) n; analyze users; alter table users owner to app";

fn with_users() -> Lab {
    let lab = Lab::new();
    lab.database.sql(USERS);
    lab
}

fn step<'a>(lab: &'a Lab, sql: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_change.sql", sql)
}

fn plan<'a>(lab: &'a Lab, sql: &str) -> Action<'a> {
    step(lab, sql).input("command", "plan")
}

fn report(done: &Finished) -> Value {
    let text = done.outputs.get("report").cloned().expect("there is a report");
    serde_json::from_str(&text).expect("it is JSON")
}

const CHANGE: &str = "ALTER TABLE users ADD COLUMN score int NOT NULL DEFAULT 1;\n\
    CREATE INDEX users_email ON users (email);\n\
    ALTER TABLE users DROP COLUMN level;\n";

#[test]
fn a_plan_shows_the_sql_the_locks_and_the_losses() {
    let lab = with_users();
    let planned = plan(&lab, CHANGE).run().has_pending().pending(["0001_change"]);
    let review = report(&planned)["review"].clone();
    assert_eq!(review["scripts"][0]["sql"], CHANGE);
    let statements = review["statements"].as_array().expect("it is a list").clone();
    let of = |words: &str| {
        let found =
            statements.iter().find(|statement| statement["summary"].as_str().unwrap_or_default().contains(words));
        found.unwrap_or_else(|| panic!("{words}: {statements:#?}")).clone()
    };
    let index = of("CREATE INDEX");
    assert_eq!((index["blocks"].as_str(), index["place"]["line"].as_u64()), (Some("writes"), Some(2)), "{index:#}");
    assert!(index["locks"][0].as_str().unwrap_or_default().starts_with("SHARE on users (20"), "{index:#}");
    let drop = of("DROP COLUMN");
    assert_eq!(drop["destroys"][0]["what"], "drop users.level", "{drop:#}");
    let planned = planned.logs("review    high risk: ").logs("destructive: `drop users.level`");
    let planned = planned.summary("### Review").summary("SQL of 1 migration").summary("```sql");
    planned.summary("1 migration pending for ").summary("ban-drop-column").done();
}

#[test]
fn a_plan_of_new_tables_is_of_low_risk() {
    let lab = Lab::new();
    let sql = "create table a (id bigint primary key); create index a_id on a (id); alter table a add column b text;";
    let planned = plan(&lab, sql).run().has_pending().pending(["0001_change"]);
    assert_eq!(report(&planned)["review"]["findings"], serde_json::json!([]));
    planned.logs("review    low risk, nothing destructive").done();
}

#[test]
fn a_finding_of_the_lint_is_a_warning_an_error_or_nothing() {
    let lab = with_users();
    let sql = "CREATE INDEX users_email ON users (email);\n";
    let rule = "require-concurrent-index-creation";
    plan(&lab, sql).run().has_pending().pending(["0001_change"]).warning(rule).done();
    plan(&lab, sql).input("lint", "off").run().has_pending().pending(["0001_change"]).never_logs(rule).done();
    let except = format!("{{ except: [{rule}] }}");
    plan(&lab, sql).input("lint", except).run().has_pending().pending(["0001_change"]).never_logs(rule).done();
    let small = plan(&lab, sql).input("lint", "{ small-table: 50000 }").run();
    small.has_pending().pending(["0001_change"]).never_logs(rule).done();
    let refused = step(&lab, sql).input("lint", "error").run().fails("lint", 5).pending(["0001_change"]);
    refused.annotation("migrations/0001_change.sql", 1, rule).done();
    assert_eq!(lab.database.sql("select count(*) from pg_indexes where indexname = 'users_email'"), "0");
    let ignored = format!("-- squawk-ignore {rule}\n{sql}");
    step(&lab, &ignored).input("lint", "error").run().succeeds().applied(["0001_change"]).never_logs(rule).done();
}

#[test]
fn a_finding_is_accepted_with_a_reason_that_the_report_has() {
    let lab = with_users();
    let sql = "CREATE INDEX users_email ON users (email);\n";
    let allow = "require-concurrent-index-creation 0001_change: it is night\ndrop users.nick: long gone";
    let step = |command: &str| step(&lab, sql).input("command", command).input("lint", "error").input("allow", allow);
    let planned = step("plan").run().has_pending().pending(["0001_change"]);
    let digest = planned.outputs.get("plan-digest").cloned().expect("there is a plan");
    let planned = planned.logs("require-concurrent-index-creation is allowed: it is night");
    planned
        .logs("`allow` has `drop users.nick`, which accepts nothing in this plan")
        .summary("allowed: it is night")
        .done();
    let other = step("migrate").input("allow", allow.replace("night", "noon")).input("expect-plan", &digest).run();
    other.fails("plan-changed", 5).pending(["0001_change"]).done();
    step("migrate").input("expect-plan", digest).run().succeeds().applied(["0001_change"]).done();
}

#[test]
fn a_plan_with_too_much_risk_is_refused_before_anything_is_applied() {
    let lab = with_users();
    let sql = "DO $$ BEGIN PERFORM 1; END $$;\n";
    let refused = step(&lab, sql).input("risk", "low").file("migrations/0002_b.sql", "create table b ();").run();
    let refused = refused.fails("risk-too-high", 5).pending(["0001_change", "0002_b"]);
    refused.annotation("migrations/0001_change.sql", 1, "`risk` accepts at most `low`").done();
    assert_eq!(lab.database.sql("select to_regclass('b')"), "");
    step(&lab, sql).input("risk", "high").run().succeeds().applied(["0001_change"]).done();
}

#[test]
fn destruction_needs_a_yes_or_an_empty_table() {
    let lab = with_users();
    lab.database.sql("create table empty (id int, gone int); alter table empty owner to app");
    let sql = "ALTER TABLE users DROP COLUMN level;\n";
    let refused = step(&lab, sql).input("risk", "{ destructive: refuse }").run().fails("destructive", 5);
    let refused = refused.pending(["0001_change"]);
    refused.annotation("migrations/0001_change.sql", 1, "allow: \"drop users.level: the reason\"").done();
    let refused = step(&lab, sql).input("risk", "{ destructive: if-empty }").run().fails("destructive", 5);
    refused.pending(["0001_change"]).annotation("migrations/0001_change.sql", 1, "drop users.level").done();
    let empty = "ALTER TABLE empty DROP COLUMN gone;\n";
    let step_of = |sql: &str| step(&lab, sql).input("risk", "{ destructive: if-empty }");
    step_of(empty).run().succeeds().applied(["0001_change"]).done();
    let both = Action::new(&lab).file("migrations/0001_change.sql", empty).file("migrations/0002_level.sql", sql);
    let allowed =
        both.input("risk", "{ destructive: refuse }").input("allow", "drop users.level: moved to ranks").run();
    allowed.succeeds().applied(["0002_level"]).logs("allowed: moved to ranks").done();
}

#[test]
fn a_plan_waits_for_nobody_and_changes_nothing() {
    // The position in the log is that of the whole server.
    let lab = Lab::on(&Postgres::start(&Options { settings: &["autovacuum = off"], ..Options::default() }));
    lab.database.sql(USERS);
    lab.database.sql("create table orders (id int); alter table orders owner to app");
    let writer = lab.database.session();
    writer.sql("begin; insert into users values (0, 'w', 0); insert into orders values (1)");
    let locker = lab.database.session();
    locker.sql("create table locked (id int); alter table locked owner to app; begin; lock table locked");
    let before = lab.database.sql("select pg_current_wal_insert_lsn()");
    let sql = format!("{CHANGE}DROP TABLE orders; ALTER TABLE locked ADD COLUMN a int;\n");
    let planned = plan(&lab, &sql).run().has_pending().pending(["0001_change"]);
    planned.logs("in the way now: ").done();
    assert_eq!(lab.database.sql("select pg_current_wal_insert_lsn()"), before);
    writer.sql("rollback");
    locker.sql("rollback");
}

#[test]
fn the_review_of_tenants_looks_at_the_largest_one() {
    let lab = Lab::new();
    for (schema, rows) in [("acme", 10), ("globex", 20_000)] {
        lab.database.sql(&format!(
            "create schema {schema} authorization app; create table {schema}.users (id int); \
             insert into {schema}.users select n from generate_series(1, {rows}) n; \
             alter table {schema}.users owner to app; analyze {schema}.users"
        ));
    }
    let sql = "CREATE INDEX users_id ON users (id);\n";
    let planned = plan(&lab, sql).input("tenants", "[acme, globex]").run().has_pending();
    let planned = planned.pending(["acme: 0001_change", "globex: 0001_change"]);
    let locks = report(&planned)["review"]["statements"][0]["locks"].clone();
    assert!(locks[0].as_str().is_some_and(|lock| lock.starts_with("SHARE on globex.users (20")), "{locks:#}");
    planned.logs("weighed in the schema `globex`, the largest of 2 tenants").done();
}

#[test]
fn a_secret_in_the_sql_is_on_no_surface() {
    let lab = with_users();
    let sql = "update users set email = 'correct horse' where id = 1;\n";
    let planned = plan(&lab, sql).secret_env("DEV_SSH_PASSWORD", "correct horse").input("environment", "dev").run();
    planned.has_pending().pending(["0001_change"]).summary("email = '***'").done();
}
