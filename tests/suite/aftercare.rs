//! `aftercare`: what a migration leaves to do is done or listed, for files, tenants and tools, and never fails the run.

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        server::{Server, from_the_server},
        session::Session,
    },
};
use serde_json::{Value, json};
use std::time::Duration;

/// Three tables of the app, as an earlier run has left them: with rows, and with statistics.
const TABLES: &str = "create table filled (id int);\ncreate table retyped (id int);\ncreate table idle (id int);\n\
    insert into retyped select generate_series(1, 100);\ninsert into idle select generate_series(1, 100);\n";

fn with_tables(lab: &Lab) -> Action<'_> {
    Action::new(lab).file("migrations/0001_tables.sql", TABLES)
}

fn prepared(lab: &Lab) {
    with_tables(lab).run().succeeds().applied(["0001_tables"]).done();
}

/// A session of the app's role.
fn session_of_app(lab: &Lab) -> Session {
    Session::open(&lab.database.url().parse().expect("a URL")).expect("a session")
}

/// Returns the result of the after-care in the output `report`.
fn aftercare_of(finished: &Finished) -> Value {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["aftercare"].clone()
}

/// Returns the tables that somebody has analyzed by hand, in this order.
fn analyzed_in_database(lab: &Lab) -> String {
    lab.database.sql(
        "select string_agg(format('%I.%I', schemaname, relname), ' ' order by schemaname, relname) \
         from pg_stat_user_tables where last_analyze is not null",
    )
}

/// Returns the kinds and the objects of the findings.
fn findings_of(finished: &Finished) -> Vec<String> {
    let aftercare = aftercare_of(finished);
    let findings = aftercare["findings"].as_array().expect("a list");
    let text = |finding: &Value, key: &str| finding[key].as_str().expect("a text").to_owned();
    findings.iter().map(|finding| format!("{} {}", text(finding, "kind"), text(finding, "object"))).collect()
}

#[test]
fn the_tables_that_a_run_rewrote_or_filled_are_analyzed_and_no_others() {
    let lab = Lab::new();
    prepared(&lab);
    assert_eq!(analyzed_in_database(&lab), "");
    let change = "insert into filled select generate_series(1, 1000);\nalter table retyped alter id type bigint;\n\
        create table \"New; Table\" as select generate_series(1, 1000) as id;\ncreate table empty (id int);\n\
        insert into idle values (1);\n";
    let finished = with_tables(&lab).file("migrations/0002_change.sql", change).input("aftercare", "analyze").run();
    let finished = finished.succeeds().applied(["0002_change"]).logs("ANALYZE public.filled");
    let expected = ["public.\"New; Table\"", "public.filled", "public.retyped"];
    let result = json!({ "analyzed": expected, "validated": [], "findings": [] });
    assert_eq!(aftercare_of(&finished), result);
    finished.summary("Analyzed: <code>public.\"New; Table\"</code>, ").done();
    assert_eq!(analyzed_in_database(&lab), expected.join(" "));
}

#[test]
fn the_constraints_that_a_run_added_are_validated_and_those_of_earlier_runs_are_not() {
    let lab = Lab::new();
    let old = format!("{TABLES}alter table idle add constraint old check (id > 0) not valid;\n");
    Action::new(&lab).file("migrations/0001_tables.sql", &old).run().succeeds().applied(["0001_tables"]).done();
    let change = "create table parent (id int primary key);\ninsert into parent select generate_series(1, 100);\n\
        alter table retyped add constraint \"Known; Parent\" foreign key (id) references parent not valid;\n\
        alter table retyped add constraint positive check (id > 0) not valid;\n";
    let step = Action::new(&lab).file("migrations/0001_tables.sql", &old).file("migrations/0002_change.sql", change);
    let finished = step.input("aftercare", "validate").run().succeeds().applied(["0002_change"]);
    let validated = ["\"Known; Parent\" on public.retyped", "positive on public.retyped"];
    assert_eq!(aftercare_of(&finished)["validated"], json!(validated));
    finished.logs("ALTER TABLE public.retyped VALIDATE CONSTRAINT positive").done();
    assert_eq!(lab.database.sql("select conname from pg_constraint where not convalidated"), "old");
}

#[test]
fn what_can_not_be_done_is_a_warning_with_the_sql_and_the_rest_is_done() {
    let lab = Lab::new();
    prepared(&lab);
    let holder = session_of_app(&lab);
    // Conflicts with ANALYZE and VALIDATE, and with no INSERT.
    holder.sql("begin; lock table filled in share update exclusive mode; select 1");
    let change = "insert into filled select generate_series(1, 1000);\ninsert into idle select generate_series(-1000, -1);\n\
        alter table retyped add constraint small check (id < 50) not valid;\n";
    let step = with_tables(&lab).file("migrations/0002_change.sql", change).input("lock-timeout", "500ms");
    let finished = step.input("aftercare", "analyze, validate").run().succeeds().applied(["0002_change"]);
    assert_eq!(aftercare_of(&finished)["analyzed"], json!(["public.idle"]));
    let finished =
        finished.warning("after-care: 2 of its statements could not be executed: canceling statement due to lock");
    let finished =
        finished.logs("ANALYZE public.filled;").logs("ALTER TABLE public.retyped VALIDATE CONSTRAINT small; -- check");
    finished.summary("aftercare-undone").done();
    holder.sql("rollback");
    session_of_app(&lab).sql("analyze public.filled");
    assert_eq!(analyzed_in_database(&lab), "public.filled public.idle");
}

#[test]
fn the_time_limit_of_a_run_ends_the_after_care_and_not_the_run() {
    let lab = Lab::new();
    prepared(&lab);
    let holder = session_of_app(&lab);
    holder.sql("begin; lock table filled in share update exclusive mode; select 1");
    let change =
        "insert into filled select generate_series(1, 1000);\ninsert into idle select generate_series(1, 1000);\n";
    let step = with_tables(&lab).file("migrations/0002_change.sql", change).input("lock-timeout", "0");
    let step = step.input("timeout", "20s").input("aftercare", "analyze");
    let finished = step.run().succeeds().applied(["0002_change"]).within(Duration::from_secs(20));
    let reason = "2 of its statements could not be executed: the time limit of the run (`timeout`) was near";
    finished.warning(reason).logs("ANALYZE public.filled;").logs("ANALYZE public.idle;").done();
    assert_eq!(analyzed_in_database(&lab), "");
}

#[test]
fn no_code_of_another_role_runs_in_the_session_of_a_superuser() {
    let lab = Lab::new();
    let (evil, boss) = (format!("evil_{}", lab.database.name()), format!("boss_{}", lab.database.name()));
    lab.database.sql(&format!(
        "create role {evil}; create role {boss} superuser login password 'a superuser of its own'; \
         create schema theirs authorization {evil}; set role {evil}; \
         create function theirs.trap(int) returns boolean language plpgsql as $$ begin \
         begin execute 'alter role {evil} superuser'; exception when others then null; end; return true; end $$"
    ));
    let file = format!(
        "create table theirs.rows as select generate_series(1, 1000) as id;\n\
         alter table theirs.rows owner to {evil};\n\
         alter table theirs.rows add constraint trap check (theirs.trap(id)) not valid;\n\
         create table ours as select generate_series(1, 1000) as id;\n"
    );
    let url = format!(
        "postgres://{boss}:a%20superuser%20of%20its%20own@localhost:{}/{}",
        lab.database.server().port(),
        lab.database.name()
    );
    let step = Action::new(&lab).secret("database-url", url).hides("a superuser of its own");
    let step = step.file("migrations/0001_rows.sql", file).input("aftercare", "analyze, validate, report");
    let finished = step.run().succeeds().applied(["0001_rows"]);
    assert_eq!(aftercare_of(&finished), json!({ "analyzed": ["public.ours"], "validated": [], "findings": [] }));
    finished.done();
    assert_eq!(lab.database.sql(&format!("select rolsuper from pg_roles where rolname = '{evil}'")), "f");
    assert_eq!(lab.database.sql("select conname from pg_constraint where not convalidated"), "trap");
    lab.database.sql(&format!("drop owned by {evil}; alter role {boss} nologin nosuperuser"));
}

#[test]
fn whoever_executes_the_sql_of_the_report_has_nothing_left_to_mend() {
    let lab = Lab::new();
    let old = format!(
        "{TABLES}create table sold (id serial, tiny smallserial, big int generated by default as identity, amount int);\n\
         alter table idle add constraint old check (id > 0) not valid;\ncreate index amounts on sold (amount);\n\
         create sequence \"Small; One\" as smallint;\n"
    );
    let first = || Action::new(&lab).file("migrations/0001_tables.sql", &old);
    first().run().succeeds().applied(["0001_tables"]).done();
    let app = session_of_app(&lab);
    app.sql("insert into filled values (1), (1)");
    app.try_sql("create unique index concurrently broken on filled (id)").expect_err("two rows are the same");
    app.try_sql("create unique index concurrently left_ccnew on filled (id)").expect_err("two rows are the same");
    app.sql("delete from filled");
    app.sql(
        "select setval('sold_id_seq', 1800000000), setval('sold_tiny_seq', 26300), setval('sold_big_seq', 2000000000)",
    );
    app.sql("select setval('\"Small; One\"', 32000)");
    let change = "create index amounts_again on sold (amount);\ncreate index amounts_third on sold (amount);\n\
        create index not_the_same on sold (amount desc);\ncreate index partial on sold (amount) where amount > 0;\n\
        alter table idle add primary key (id);\n";
    // The rows are the same as their number.
    app.sql("truncate idle");
    let step = first().file("migrations/0002_change.sql", change).input("aftercare", "report").run();
    let finished = step.succeeds().applied(["0002_change"]).warning("public.broken is INVALID since before this run");
    let finished = finished.warning("public.left_ccnew is INVALID since before this run");
    let expected = [
        "invalid-index public.broken",
        "invalid-index public.left_ccnew",
        "unvalidated-constraint old on public.idle",
        "sequence-near-end public.\"Small; One\"",
        "sequence-near-end public.sold_big_seq",
        "sequence-near-end public.sold_id_seq",
        "sequence-near-end public.sold_tiny_seq",
        "duplicate-index public.amounts_again",
        "duplicate-index public.amounts_third",
    ];
    assert_eq!(findings_of(&finished), expected);
    let aftercare = aftercare_of(&finished);
    finished.logs("to mend: INVALID index public.broken").summary("REINDEX INDEX CONCURRENTLY public.broken;").done();
    for finding in aftercare["findings"].as_array().expect("a list") {
        for statement in finding["sql"].as_str().expect("SQL").split("; ALTER SEQUENCE ").enumerate() {
            let (number, statement) = statement;
            let statement = if number == 0 { statement.to_owned() } else { format!("ALTER SEQUENCE {statement}") };
            app.sql(&statement);
        }
    }
    let more = first().file("migrations/0002_change.sql", change).file("migrations/0003_more.sql", "select 1;\n");
    let finished = more.input("aftercare", "report").run().succeeds().applied(["0003_more"]);
    assert_eq!(findings_of(&finished), [""; 0]);
    finished.done();
}

#[test]
fn each_tenant_is_looked_after() {
    let lab = Lab::new();
    session_of_app(&lab).sql("create schema acme; create schema \"Big Co\"");
    let step = Action::new(&lab).file(
        "migrations/0001_rows.sql",
        "create table rows as select generate_series(1, 1000) as id;\nalter table rows add constraint positive check (id > 0) not valid;\n",
    );
    let finished = step.input("tenants", "[acme, Big Co]").input("aftercare", "analyze, validate").run();
    let finished = finished.succeeds().applied(["acme: 0001_rows", "Big Co: 0001_rows"]);
    let mut aftercare = aftercare_of(&finished);
    for list in ["analyzed", "validated"] {
        aftercare[list].as_array_mut().expect("a list").sort_by_key(ToString::to_string);
    }
    assert_eq!(aftercare["analyzed"], json!(["\"Big Co\".rows", "acme.rows"]));
    assert_eq!(aftercare["validated"], json!(["positive on \"Big Co\".rows", "positive on acme.rows"]));
    finished.done();
}

#[test]
fn a_tool_leaves_the_same_to_do_as_files() {
    let (lab, server) = (Lab::new(), Server::start());
    let sql = "create table rows as select generate_series(1, 1000) as id; \
               alter table rows add constraint positive check (id > 0) not valid";
    let command = format!("psql -Xq '{}' -c '{sql}'", from_the_server(&lab.database));
    let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("run", command);
    let finished = step.input("aftercare", "analyze validate report").run().succeeds();
    let result = json!({ "analyzed": ["public.rows"], "validated": ["positive on public.rows"], "findings": [] });
    assert_eq!(aftercare_of(&finished), result);
    finished.warning("no ledger was found in the database").done();
    assert_eq!(analyzed_in_database(&lab), "public.rows");
}

#[test]
fn a_run_without_work_and_a_plan_do_nothing() {
    let lab = Lab::new();
    prepared(&lab);
    let step = || with_tables(&lab).input("aftercare", "analyze, validate, report");
    for finished in [step().run().nothing_to_do(), step().input("command", "status").run().nothing_to_do()] {
        assert_eq!(aftercare_of(&finished), Value::Null);
        finished.done();
    }
    let failing = step().file("migrations/0002_bad.sql", "select nothing;\n").run().fails("statement-failed", 6);
    assert_eq!(aftercare_of(&failing), Value::Null);
    failing.pending(["0002_bad"]).annotation("migrations/0002_bad.sql", 1, "nothing").done();
}

#[test]
fn an_after_care_that_is_none_or_has_no_database_is_refused_at_once() {
    let lab = Lab::new();
    let unknown = with_tables(&lab).input("aftercare", "analyse").run().fails("input-invalid", 2);
    unknown.error("has `analyse`, which is none of its words").done();
    let server = Server::start();
    let without = Action::on_server(&lab, &server).input("run", "true").input("aftercare", "report").run();
    without.fails("input-missing", 2).error("looks after the database, and no database is given").done();
}
