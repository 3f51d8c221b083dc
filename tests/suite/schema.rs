//! The description of the schema: what it contains, what a run reports of its changes, and the comparison with a file.

use crate::{
    action::Action,
    lab::{
        Lab,
        project::Project,
        server::{Server, tenants},
        shared,
        venv::{DJANGO_4_2, DJANGO_5_2},
    },
};
use bastion_migrate::{
    postgres::{OwnQuery, query_rows},
    schema::{SchemaDescription, description_function, description_query, description_query_by_function},
};
use serde_json::Value;
use std::{fs, time::Duration};
use tokio::runtime::Builder;
use tokio_postgres::{Config, NoTls};

const EVERY_KIND: &str = include_str!("schema/every_kind.sql");

/// The roles that have rights in it.
const ROLES: [&str; 3] = ["reader", "writer", "keeper"];

const FILE: &str = "db/structure.sql";

/// A step that concerns a file with the schema.
fn step<'l>(lab: &'l Lab, command: &str) -> Action<'l> {
    Action::direct(lab)
        .file("migrations/0001_first.sql", "create table first ()")
        .input("command", command)
        .input("schema-file", FILE)
}

/// Returns the file that `command: status` writes about this database.
fn described(lab: &Lab) -> String {
    let step = step(lab, "status");
    let path = step.workspace().join(FILE);
    let mut running = step.start();
    running.wait();
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {}", running.log()));
    running.finish().has_pending().logs(&format!("the schema is written to {FILE}")).pending(["0001_first"]).done();
    text
}

/// Returns the statements of `pg_dump` for the schema.
fn dump(lab: &Lab) -> String {
    let text = lab.database.dump();
    let lines =
        text.lines().filter(|line| !line.starts_with(['\\', '-']) && !line.starts_with("REFRESH ") && !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// Compares texts line by line, so that a failure names the first line that differs.
fn expect_same(left: &str, right: &str) {
    for (number, (left, right)) in left.lines().zip(right.lines()).enumerate() {
        assert_eq!(left, right, "line {}", number + 1);
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

/// Returns the lines of detail of the first fault: the SQL that ends a drift.
fn mending_sql(report: &str) -> String {
    let report: Value = serde_json::from_str(report).expect("the report is JSON");
    let detail = report.pointer("/faults/0/detail").and_then(Value::as_array).expect("a fault has details");
    detail.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_description_of_every_kind_of_object_makes_the_same_schema_again() {
    for role in ROLES {
        drop(shared().database().session().try_sql(&format!("create role {role}")));
    }
    let (first, second) = (Lab::new(), Lab::new());
    first.database.sql(EVERY_KIND);
    let text = described(&first);
    second.database.sql(&text);
    expect_same(&described(&second), &text);
    expect_same(&dump(&second), &dump(&first));
    step(&first, "verify")
        .file(FILE, &text)
        .run()
        .fails("verify-pending", 7)
        .pending(["0001_first"])
        .error("`migrations")
        .done();
}

#[test]
fn the_function_of_a_copy_describes_every_kind_of_object_as_the_query_does() {
    for role in ROLES {
        drop(shared().database().session().try_sql(&format!("create role {role}")));
    }
    let lab = Lab::new();
    lab.database.sql(EVERY_KIND);
    lab.database.sql(&description_function());
    let describe = |query: OwnQuery| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        runtime.block_on(async {
            let (client, connection) = lab.database.url().parse::<Config>().unwrap().connect(NoTls).await.unwrap();
            let rows = tokio::select! {
                ended = connection => panic!("{ended:?}"),
                rows = query_rows(&client, &query) => rows.expect("it can be described"),
            };
            SchemaDescription::from_rows(&rows).expect("it can be read").to_file()
        })
    };
    let [by_query, by_function] = [description_query(), description_query_by_function()].map(describe);
    assert!(by_query.len() > 10_000, "{by_query}");
    expect_same(&by_function, &by_query);
}

#[test]
fn an_option_of_a_column_that_only_the_server_sets_is_no_part_of_the_schema() {
    let lab = Lab::new();
    lab.database.sql("create table noted (a text, b text); alter table noted alter column b set (n_distinct = 5)");
    let before = described(&lab);
    // As PostgreSQL 15.20 does with each new column.
    lab.database.sql(
        "update pg_attribute set attoptions = array_prepend('pg_attver=22161880', attoptions) \
         where attrelid = 'noted'::regclass and attnum > 0",
    );
    assert_eq!(described(&lab), before);
    assert!(before.contains("ALTER COLUMN b SET (n_distinct=5)"), "{before}");
}

#[test]
fn the_schema_of_an_app_makes_the_same_schema_again() {
    let migrate = "set -euo pipefail\ncd ~/ProjectMeats/backend\nsource ../venv/bin/activate\npython manage.py";
    for (project, python, commands) in [
        (Project::Plain, DJANGO_5_2, &["migrate --noinput"][..]),
        (
            Project::Tenants,
            DJANGO_4_2,
            &["migrate_schemas --shared --noinput", "migrate_schemas --tenant --noinput"][..],
        ),
    ] {
        let (first, second) = (Lab::new(), Lab::new());
        let server = Server::start().project(project, &first.database, python);
        for command in commands {
            server.shell(&format!("{migrate} {command}")).expect("the app's migrations succeed");
            if command.contains("--shared") {
                tenants(&first.database, 2);
            }
        }
        // With rows, the ledger would be another tool's, and the dump would have them.
        let every_table = "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables \
                           where schemaname not in ('pg_catalog', 'information_schema')";
        let every_table = first.database.sql(every_table);
        first.database.sql(&format!("truncate {every_table} restart identity cascade"));
        let text = described(&first);
        assert!(text.contains("CREATE TABLE"), "{text}");
        second.database.sql(&text);
        expect_same(&described(&second), &text);
        expect_same(&dump(&second), &dump(&first));
    }
}

#[test]
fn a_run_reports_its_changes_of_the_schema_as_a_diff() {
    let lab = Lab::new();
    lab.database.sql(
        "create table orders (id int, note varchar(10) default 'a', old int); create view numbers as select id from orders; \
         create function f() returns int language sql as E'select 1;\\nselect 2;\\nselect 3'; create type mood as enum ('a', 'c'); \
         alter table orders owner to app; alter view numbers owner to app; alter function f() owner to app; alter type mood owner to app",
    );
    Action::new(&lab)
        .file(
            "migrations/0001_change.sql",
            "alter table orders add column total numeric(12, 2) not null default 0, drop column old;\n\
             alter table orders alter note type text, alter note set not null, alter note drop default;\n\
             create table lines (id int primary key, text text);\n\
             create or replace function f() returns int language sql as E'select 1;\\nselect 4;\\nselect 3';\n\
             alter type mood add value 'b' before 'c';\n\
             comment on table orders is 'its orders';\n",
        )
        .run()
        .succeeds()
        .applied(["0001_change"])
        .logs("changes of the schema:")
        .logs("- ALTER TABLE public.orders ADD COLUMN old integer")
        .logs("+ ALTER TABLE public.orders ADD COLUMN total numeric(12,2) DEFAULT 0 NOT NULL")
        .logs("- ALTER TABLE public.orders ALTER COLUMN note TYPE character varying(10)")
        .logs("+ ALTER TABLE public.orders ALTER COLUMN note TYPE text")
        .logs("- ALTER TABLE public.orders ALTER COLUMN note SET DEFAULT 'a'::character varying")
        .logs("+ ALTER TABLE public.orders ALTER COLUMN note SET NOT NULL")
        .logs("+ CREATE TABLE public.lines (")
        .logs("+     id integer NOT NULL,")
        .logs("+ ALTER TABLE ONLY public.lines ADD CONSTRAINT lines_pkey PRIMARY KEY (id)")
        .logs("- select 2;")
        .logs("+ select 4;")
        .logs("+ ALTER TYPE public.mood ADD VALUE 'b' AFTER 'a'")
        .logs("+ COMMENT ON TABLE public.orders IS 'its orders'")
        .never_logs("OWNER TO")
        .never_logs("bastion_migrate.ledger (")
        .summary("```diff\n")
        .summary("+ CREATE TABLE public.lines (")
        .done();
}

#[test]
fn a_rolled_back_file_changes_nothing_and_the_files_before_it_are_reported() {
    let lab = Lab::new();
    Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a (id int)")
        .file("migrations/0002_b.sql", "create table b (id int); select 1 / 0")
        .run()
        .fails("statement-failed", 6)
        .applied(["0001_a"])
        .pending(["0002_b"])
        .annotation("migrations/0002_b.sql", 1, "division by zero")
        .logs("+ CREATE TABLE public.a (")
        .never_logs("+ CREATE TABLE public.b (")
        .done();
}

#[test]
fn a_drift_is_found_with_sql_that_ends_it() {
    let lab = Lab::new();
    let create = "create table users (id int primary key, name text default 'x', old int); create index users_name on users (name); \
         create view v as select id from users; create function f(a int) returns int language sql as 'select 1'; \
         create sequence s; comment on table users is 'users'; create type mood as enum ('a'); grant select on users to public";
    lab.database.sql(create);
    Action::direct(&lab)
        .file("migrations/0001_first.sql", "create table first ()")
        .run()
        .succeeds()
        .applied(["0001_first"])
        .done();
    let writing = step(&lab, "status");
    let path = writing.workspace().join(FILE);
    let mut running = writing.start();
    running.wait();
    let text = fs::read_to_string(path).unwrap();
    running.finish().nothing_to_do().done();
    let verify = || step(&lab, "verify").file(FILE, &text);
    verify().run().succeeds().logs(&format!("the schema is that of {FILE}")).done();
    for drift in [
        "alter table users add column extra int",
        "alter table users drop column old",
        "alter table users alter name drop default, alter name set not null",
        "alter table users alter old type bigint",
        "alter table users alter id add generated by default as identity",
        "drop index users_name",
        "create index extra on users (old)",
        "drop view v",
        "create or replace view v as select id from users where id > 1",
        "create or replace function f(a int) returns int language sql as 'select 2'",
        "drop function f(int)",
        "alter sequence s increment 7",
        "comment on table users is null",
        "comment on table users is 'other'",
        "revoke select on users from public",
        "grant insert on users to public",
        "create table extra (id int primary key); create view w as select * from extra",
        "drop table users cascade",
        "create schema extra",
        "alter table users add constraint positive check (id > 0)",
        "create domain d as int",
        "alter table users enable row level security",
        "create policy p on users using (true)",
        "alter table users set unlogged",
        "alter table users set (fillfactor = 50)",
    ] {
        let session = lab.database.session();
        session.sql(drift);
        let failed = verify().run().fails("drift", 7);
        let sql = mending_sql(&failed.outputs["report"]);
        failed.error(&format!("the schema differs from `{FILE}` in")).logs("`command: status`").done();
        session.try_sql(&sql).unwrap_or_else(|error| panic!("{drift}:\n{sql}\n{error:?}"));
        let verified = verify().run();
        assert_eq!(verified.outputs["outcome"], "success", "{drift}:\n{sql}\n{}", verified.rendered_log());
        verified.succeeds().done();
    }
    lab.database.sql("alter table users add column extra int");
    step(&lab, "plan").file(FILE, &text).run().nothing_to_do().warning("the schema differs from").done();
}

#[test]
fn a_file_that_does_not_exist_or_is_a_dump_is_refused_with_the_way_to_write_it() {
    let lab = Lab::new();
    step(&lab, "verify")
        .run()
        .fails("schema-file", 2)
        .error("`db/structure.sql`, which does not exist")
        .logs("`command: status`")
        .done();
    step(&lab, "plan")
        .file(FILE, "--\n-- PostgreSQL database dump\n--\n")
        .run()
        .fails("schema-file", 2)
        .error("is a dump of pg_dump")
        .done();
}

#[test]
fn a_table_that_is_locked_exclusively_does_not_hold_up_a_run() {
    let lab = Lab::new();
    lab.database
        .sql("create table locked (id int default 1 + 1, check (id > 0)); create view v as select * from locked");
    let session = lab.database.session();
    session.sql("begin; lock table locked in access exclusive mode");
    Action::direct(&lab)
        .file("migrations/0001_first.sql", "create table first ()")
        .run()
        .succeeds()
        .applied(["0001_first"])
        .logs("the changes of the schema are not shown: the schema is not described")
        .within(Duration::from_secs(8))
        .done();
    step(&lab, "status")
        .run()
        .fails("schema-unknown", 7)
        .error("lock timeout")
        .logs("run again when no other session")
        .done();
}

#[test]
fn a_description_runs_nothing_of_the_database() {
    let lab = Lab::new();
    lab.database.sql(
        "create schema trap; create function trap.bomb(x anyelement) returns anyelement language plpgsql immutable as \
         $$ begin raise exception 'it went off'; end $$; \
         create table trap.t (id int default trap.bomb(1), twice int generated always as (trap.bomb(id)) stored, \
         check (trap.bomb(id) > 0)); create index on trap.t (trap.bomb(id)) where trap.bomb(id) > 1; \
         create view trap.v as select trap.bomb(1); create domain trap.d as int default trap.bomb(1) check (trap.bomb(value) > 0); \
         create policy p on trap.t using (trap.bomb(id) > 1); alter table trap.t enable row level security; \
         create function trap.quote_ident(text) returns text language sql as 'select trap.bomb($1)'; \
         create function trap.loud(text, text) returns text language sql as 'select trap.bomb($1)'; \
         create operator trap.|| (leftarg = text, rightarg = text, function = trap.loud)",
    );
    let name = lab.database.name().to_owned();
    lab.database.sql(&format!("alter database \"{name}\" set search_path to trap, pg_catalog"));
    assert!(described(&lab).contains("DEFAULT trap.bomb(1)"));
}

#[test]
fn a_schema_that_is_too_large_is_left_out_with_its_size() {
    let lab = Lab::new();
    lab.database.sql(
        "do $$ begin for i in 1..34 loop execute (select format('create table wide_%s (%s)', i, string_agg('c' || n || ' int', ', ')) \
         from generate_series(1, 1500) n); end loop; end $$",
    );
    Action::direct(&lab)
        .file("migrations/0001_a.sql", "create table a ()")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .logs("its tables have 51000 columns, more than 50000")
        .done();
}
