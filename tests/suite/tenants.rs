//! A schema per tenant: the same files in each, for every layout whose ledger can be there.

use crate::{
    action::Action,
    lab::{Lab, gate::Gate},
    layout_forms::{FORMS, Form, ONE, TWO, WITH_WAY_BACK},
};
use rustix::process::Signal;
use std::{collections::BTreeMap, time::Duration};

/// Time limit from the first signal to the end.
const BUDGET: Duration = Duration::from_secs(7);

const QUERY: &str = "select name from public.tenants where active order by name";

/// A lab with these schemas, and a table that lists them.
fn lab_with(tenants: &[&str]) -> Lab {
    let lab = Lab::new();
    lab.database
        .sql("create table public.tenants (name text, active boolean); alter table public.tenants owner to app");
    for tenant in tenants {
        let quoted = tenant.replace('"', "\"\"");
        let literal = tenant.replace('\'', "''");
        lab.database.sql(&format!(
            "create schema \"{quoted}\" authorization app; insert into public.tenants values ('{literal}', true)"
        ));
    }
    lab
}

fn plain<'a>(lab: &'a Lab, tenants: &str) -> Action<'a> {
    Action::new(lab).input("tenants", tenants)
}

fn two_files<'a>(lab: &'a Lab, tenants: &str) -> Action<'a> {
    plain(lab, tenants).file("migrations/0001_one.sql", ONE).file("migrations/0002_two.sql", TWO)
}

/// Layouts whose ledger can be in the schema of a tenant.
fn forms() -> impl Iterator<Item = &'static Form> {
    FORMS.iter().filter(|form| form.layout != "supabase").inspect(|form| eprintln!("layout {}", form.layout))
}

fn labels(form: &Form, tenant: &str) -> [String; 2] {
    [(1, "one"), (2, "two")].map(|(number, name)| format!("{tenant}: {}", form.label(number, name)))
}

/// Returns the names of the tables in each schema, as `schema.table`.
fn tables(lab: &Lab) -> String {
    lab.database.sql(
        "select string_agg(schemaname || '.' || tablename, ' ' order by 1) from pg_tables \
         where schemaname !~ '^pg_' and schemaname not in ('information_schema', 'public')",
    )
}

#[test]
fn each_tenant_gets_the_files_and_a_ledger_of_its_own_in_every_layout() {
    for form in forms() {
        let lab = lab_with(&["acme", "globex", "initech"]);
        let step = || form.golden_files(form.step(Action::new(&lab))).input("tenants", QUERY);
        let all: Vec<String> = ["acme", "globex", "initech"].iter().flat_map(|tenant| labels(form, tenant)).collect();
        let all = || all.iter().map(String::as_str);
        step().input("command", "plan").run().has_pending().pending(all()).done();
        assert_eq!(tables(&lab), "", "{}", form.layout);
        step().run().succeeds().applied(all()).logs("in each of 3 schemas").done();
        step().input("command", "verify").run().succeeds().done();
        // Each ledger has what the tool's own would have in the schema of the tenant.
        let ledger = form.table.rsplit('.').next().unwrap();
        let ledger = if form.layout == "plain" { "bastion_migrate_ledger" } else { ledger };
        for tenant in ["acme", "globex", "initech"] {
            let rows = form.rows.replace(form.table, &format!("{tenant}.{ledger}"));
            assert_eq!(lab.database.sql(&rows), form.golden, "{} in {tenant}", form.layout);
        }
        let in_public = "select count(*) from pg_tables where schemaname = 'public'";
        assert_eq!(lab.database.sql(in_public), "1", "{}", form.layout);
        step().input("tenants", "[acme, globex, initech]").run().nothing_to_do().done();
    }
}

#[test]
fn tenants_are_rolled_back_and_baselined_in_every_layout() {
    for form in forms().filter(|form| WITH_WAY_BACK.contains(&form.layout)) {
        let lab = lab_with(&["acme", "globex"]);
        let step = || {
            let step = form.reversible(form.step(Action::new(&lab)), 1, "one", ONE, "drop table one;\n");
            form.reversible(step, 2, "two", TWO, "drop table two;\n").input("tenants", "[acme, globex]")
        };
        let labels = ["acme", "globex"].map(|tenant| labels(form, tenant));
        let all: Vec<&str> = labels.iter().flatten().map(String::as_str).collect();
        step().run().succeeds().applied(all.iter().copied()).done();
        let second = [labels[0][1].as_str(), labels[1][1].as_str()];
        let undone = step().input("command", "rollback").input("target", form.version(1)).run().succeeds();
        undone.pending(second).done();
        let remaining = "select string_agg(schemaname || '.' || tablename, ' ' order by 1) from pg_tables \
                         where tablename in ('one', 'two')";
        assert_eq!(lab.database.sql(remaining), "acme.one globex.one", "{}", form.layout);
        step().input("command", "baseline").run().succeeds().applied(second).done();
        assert_eq!(lab.database.sql(remaining), "acme.one globex.one", "{}", form.layout);
        step().run().nothing_to_do().done();
    }
}

#[test]
fn a_failed_tenant_stops_the_run_and_the_next_one_goes_on_with_what_is_left() {
    let lab = lab_with(&["a", "b", "c", "d"]);
    lab.database.sql("create table c.two (id int)");
    let tenants = "{ names: [a, b, c, d], parallel: 1 }";
    let failed = two_files(&lab, tenants).run().fails("statement-failed", 6);
    let failed = failed.applied(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two", "c: 0001_one"]);
    let failed = failed.pending(["c: 0002_two", "d: 0001_one", "d: 0002_two"]);
    failed.annotation("migrations/0002_two.sql", 1, "already exists").logs("in the schema `c`").done();
    lab.database.sql("drop table c.two");
    let rest = two_files(&lab, tenants).run().succeeds();
    rest.applied(["c: 0002_two", "d: 0001_one", "d: 0002_two"]).done();
}

#[test]
fn the_other_tenants_go_on_if_the_user_wants_it_and_each_file_is_one_annotation() {
    let lab = lab_with(&["a", "b", "c", "d", "e"]);
    lab.database.sql("create table c.two (id int); create table d.two (id int); create table e.one (id int)");
    let tenants = "{ query: select name from tenants order by 1, parallel: 3, on-failure: continue }";
    let failed = two_files(&lab, tenants).run().fails("statement-failed", 6);
    let failed =
        failed.applied(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two", "c: 0001_one", "d: 0001_one"]);
    let failed = failed.pending(["c: 0002_two", "d: 0002_two", "e: 0001_one", "e: 0002_two"]);
    let failed = failed.annotation("migrations/0002_two.sql", 1, "already exists");
    let failed = failed.annotation("migrations/0001_one.sql", 1, "already exists");
    let failed = failed.logs("in 2 schemas: `c`, `d`").logs("in the schema `e`");
    let report: serde_json::Value = serde_json::from_str(&failed.outputs["report"]).unwrap();
    let states: BTreeMap<&str, &str> = report["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tenant| (tenant["schema"].as_str().unwrap(), tenant["state"].as_str().unwrap()))
        .collect();
    let expected = [("a", "done"), ("b", "done"), ("c", "failed"), ("d", "failed"), ("e", "failed")];
    assert_eq!(states, expected.into());
    failed.done();
}

#[test]
fn a_canary_that_fails_stops_the_run_before_the_other_tenants() {
    let lab = lab_with(&["a", "b", "c"]);
    lab.database.sql("create table c.one (id int)");
    let tenants = "{ names: [a, b, c], canary: c, on-failure: continue }";
    let failed = two_files(&lab, tenants).run().fails("statement-failed", 6);
    let all = ["c: 0001_one", "c: 0002_two", "a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two"];
    failed.pending(all).annotation("migrations/0001_one.sql", 1, "already exists").done();
}

#[test]
fn names_with_quotes_dots_blanks_and_capitals_are_schemas_like_any_other() {
    let odd = ["The \"Shop\"", "a.b", "UPPER", "it's", "ä ö", "x; drop table one", "back\\slash"];
    let lab = lab_with(&odd);
    let finished = two_files(&lab, "{ query: table public.tenants_by_name }");
    lab.database.sql(
        "create view public.tenants_by_name as select name from public.tenants; grant select on public.tenants_by_name to app",
    );
    let labels: Vec<String> =
        odd.iter().flat_map(|tenant| [format!("{tenant}: 0001_one"), format!("{tenant}: 0002_two")]).collect();
    finished.run().succeeds().applied(labels.iter().map(String::as_str)).done();
    let count = "select count(*) from pg_tables where tablename = 'two' and schemaname <> 'public'";
    assert_eq!(lab.database.sql(count), odd.len().to_string());
    two_files(&lab, QUERY).input("command", "verify").run().succeeds().done();
}

#[test]
fn a_list_of_tenants_that_can_not_be_used_is_one_fault_and_changes_nothing() {
    let lab = lab_with(&["acme"]);
    lab.database.sql("insert into tenants values ('gone', false), (null, false), ('acme', true)");
    for (tenants, cause) in [
        ("select name from tenants where false", "its query returned no row"),
        ("select name from tenants where active", "names the schema `acme` twice"),
        ("select name from tenants where name is null", "returns NULL"),
        ("select name, active from tenants", "more than one column"),
        ("select name from tenantz", "relation \"tenantz\" does not exist"),
        ("select 'acme'; drop table tenants", "syntax error"),
        ("select 'acme') t; drop table tenants; select * from (select 'acme'", "read-only transaction"),
        ("[acme, gone]", "the tenant `gone` has no schema in this database"),
        ("[acme, $user]", "`$user` in `tenants` is no schema of a tenant"),
        ("[public, pg_catalog]", "`pg_catalog` in `tenants` is no schema of a tenant"),
        ("{ names: [acme], canary: other }", "the canary `other` is not one of the tenants"),
    ] {
        let finished = two_files(&lab, tenants).run().fails("tenants-invalid", 5);
        finished.error(cause).done();
    }
    assert_eq!(tables(&lab), "");
    let scope = two_files(&lab, "[acme]").input("ledger-table", "ops.versions").run().fails("input-invalid", 2);
    scope.error("each ledger is in the schema of its tenant").done();
    let supabase = Action::new(&lab).input("tenants", "[acme]").input("layout", "supabase");
    let supabase = supabase.file("migrations/20240101000001_one.sql", ONE).run().fails("tenants-invalid", 5);
    supabase.error("the ledger of the layout `supabase` can't be in the schema of a tenant").done();
}

#[test]
fn a_ledger_of_another_tool_in_the_schema_of_a_tenant_is_not_passed_over() {
    let lab = lab_with(&["a", "b"]);
    lab.database.sql(
        "create table b.schema_migrations (version bigint not null primary key, dirty boolean not null); \
         insert into b.schema_migrations values (2, false); alter table b.schema_migrations owner to app",
    );
    two_files(&lab, "[a, b]")
        .run()
        .fails("ledger-foreign", 5)
        .error("golang-migrate")
        .logs("b.schema_migrations")
        .done();
    assert_eq!(tables(&lab), "b.schema_migrations");
}

#[test]
fn a_schema_of_a_role_that_is_not_trusted_is_refused() {
    let lab = lab_with(&["a"]);
    lab.database.sql("create role evil; create schema b authorization evil");
    two_files(&lab, "[a, b]").run().fails("ledger-untrusted", 5).error("the schema `b` belongs to `evil`").done();
    lab.database.sql("drop schema b; drop role evil");
}

#[test]
fn a_tenant_that_vanishes_during_the_run_fails_and_nothing_is_created_elsewhere() {
    let lab = lab_with(&["a", "b"]);
    let step = || {
        let first = format!("create table one (id int);\n{}", Gate::sql(7));
        plain(&lab, "{ names: [a, b], parallel: 1 }").file("migrations/0001_one.sql", &first).input("lock-timeout", "0")
    };
    let gate = Gate::close(&lab.database, 7);
    let running = step().start();
    gate.wait_until_reached();
    lab.database.sql("drop schema b");
    gate.open();
    let finished = running.finish().fails("tenants-invalid", 5).applied(["a: 0001_one"]).pending(["b: 0001_one"]);
    finished.error_in("migrations/0001_one.sql", "schema \"b\" does not exist").done();
    assert_eq!(tables(&lab), "bastion_migrate.runs a.bastion_migrate_ledger a.one");
}

#[test]
fn a_file_that_leaves_the_search_path_of_its_tenant_is_refused() {
    let lab = lab_with(&["a", "b"]);
    for sql in ["RESET ALL;\n", "SET search_path TO DEFAULT;\n", "reset search_path;\n"] {
        let text = format!("create table one (id int);\n{sql}create table two (id int);\n");
        let refused = plain(&lab, "[a, b]").file("migrations/0001_one.sql", &text).run().fails("statement-refused", 2);
        refused.annotation("migrations/0001_one.sql", 2, "returns to the search path of the session").done();
    }
    assert_eq!(tables(&lab), "");
}

#[test]
fn extensions_and_shared_tables_are_found_behind_the_schema_of_the_tenant() {
    let lab = lab_with(&["a", "b"]);
    let sql = "create table one as select name from tenants;\nset local lock_timeout = '1s';\n";
    let step = plain(&lab, "[a, b]").file("migrations/0001_one.sql", sql);
    step.run().succeeds().applied(["a: 0001_one", "b: 0001_one"]).done();
    assert_eq!(lab.database.sql("select count(*) from b.one"), "2");
}

#[test]
fn a_file_without_a_transaction_resumes_in_its_tenant() {
    let lab = lab_with(&["a", "b"]);
    let step = |last: &str| {
        let text = format!("-- no-transaction\ncreate index concurrently one_id on one (id);\n{last}");
        let step =
            plain(&lab, "{ names: [a, b], on-failure: continue, parallel: 2 }").file("migrations/0001_one.sql", ONE);
        step.file("migrations/0002_two.sql", &text)
    };
    lab.database.sql("create table b.two (id int)");
    let failed =
        step(TWO).run().fails("statement-failed", 6).annotation("migrations/0002_two.sql", 3, "already exists");
    failed.applied(["a: 0001_one", "a: 0002_two", "b: 0001_one"]).pending(["b: 0002_two"]).done();
    lab.database.sql("drop table b.two");
    step(TWO).run().succeeds().applied(["b: 0002_two"]).logs("1 of 2 statements were done").done();
    let valid = "select count(*) from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname = 'one_id' and indisvalid";
    assert_eq!(lab.database.sql(valid), "2");
}

#[test]
fn rows_of_a_copy_and_reset_sessions_stay_in_the_tenant() {
    let lab = lab_with(&["a", "b", "c"]);
    let step = plain(&lab, QUERY)
        .file("migrations/0001_one.sql", "create table one (id int);\ncopy one from stdin;\n1\n2\n\\.\n")
        .file("migrations/0002_two.sql", "select set_config('app.tenant', 'x', false);\ncreate table two (id int);\n")
        .file("migrations/0003_three.sql", "create table three as select * from one;\n");
    let labels: Vec<String> = ["a", "b", "c"]
        .iter()
        .flat_map(|tenant| ["0001_one", "0002_two", "0003_three"].map(|name| format!("{tenant}: {name}")))
        .collect();
    step.run().succeeds().applied(labels.iter().map(String::as_str)).done();
    for tenant in ["a", "b", "c"] {
        assert_eq!(lab.database.sql(&format!("select count(*) from {tenant}.three")), "2");
    }
}

#[test]
fn a_stopped_run_reports_what_the_ledgers_of_all_sessions_have() {
    let lab = lab_with(&["a", "b", "c", "d"]);
    let sleep = "do $$ begin if current_schema() in ('c', 'd') then perform pg_sleep(60); end if; end $$;\n";
    let step = || {
        let text = format!("create table two (id int);\n{sleep}");
        let step = plain(&lab, "{ names: [a, b, c, d], parallel: 2 }").file("migrations/0001_one.sql", ONE);
        step.file("migrations/0002_two.sql", &text)
    };
    let running = step().start();
    let sleeping =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(sleeping, "2");
    running.signal(Signal::INT);
    let finished = running.finish().fails("cancelled", 130).within(BUDGET);
    let finished =
        finished.applied(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two", "c: 0001_one", "d: 0001_one"]);
    finished.pending(["c: 0002_two", "d: 0002_two"]).done();
    assert_eq!(lab.database.sql("select to_regclass('c.two'), to_regclass('d.one') is null"), "|f");
}

#[test]
fn a_killed_run_leaves_each_ledger_and_its_schema_in_agreement() {
    let lab = lab_with(&["a", "b", "c"]);
    let step = || {
        let gated = format!("create table two (id int);\n{}", Gate::sql(7));
        let step = plain(&lab, "{ names: [a, b, c], parallel: 2 }").file("migrations/0001_one.sql", ONE);
        step.file("migrations/0002_two.sql", &gated).input("lock-timeout", "0")
    };
    let gate = Gate::close(&lab.database, 7);
    let running = step().start();
    gate.wait_until_reached();
    running.kill();
    assert_eq!(lab.left_behind(), "");
    gate.open();
    assert_eq!(lab.database.sql("select to_regclass('a.one') is null, to_regclass('a.two')"), "f|");
    let rest = ["a: 0002_two", "b: 0001_one", "b: 0002_two", "c: 0001_one", "c: 0002_two"];
    step().run().succeeds().applied(rest).done();
    step().run().nothing_to_do().done();
}

#[test]
fn a_lost_session_is_settled_by_the_ledgers() {
    let lab = lab_with(&["a", "b", "c"]);
    let die = "do $$ begin if current_schema() = 'b' and not exists (select from public.tenants where not active) then \
               perform pg_terminate_backend(pg_backend_pid()); end if; end $$;\n";
    let step = || {
        let step = plain(&lab, "{ names: [a, b, c], parallel: 2 }").file("migrations/0001_one.sql", ONE);
        step.file("migrations/0002_two.sql", format!("{die}create table two (id int);\n"))
    };
    let mut lost = step().run();
    drop(lost.take_problems());
    assert_eq!(lost.outputs["fault-code"], "database-lost", "{}", lost.log);
    assert_eq!(
        lab.database.sql("select to_regclass('a.two') is null, to_regclass('b.one') is null, to_regclass('b.two')"),
        "f|f|"
    );
    lab.database.sql("insert into public.tenants values ('', false)");
    let mut finished = step().run();
    drop(finished.take_problems());
    assert_eq!(finished.outputs["outcome"], "success", "{}", finished.log);
    step().run().nothing_to_do().done();
}

#[test]
fn another_run_waits_until_the_last_session_has_ended() {
    let lab = lab_with(&["a", "b", "c"]);
    let slow = "do $$ begin if current_schema() <> 'a' then perform pg_sleep(3); end if; end $$;\n";
    let step = |run: &str| {
        let step = plain(&lab, "{ names: [a, b, c], parallel: 2 }").env("GITHUB_RUN_ID", run);
        step.file("migrations/0001_one.sql", format!("{ONE}{slow}"))
    };
    let running = step("1001").start();
    let sleeping =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    lab.database.wait_for(sleeping, "2");
    let second = step("1002").start();
    second.wait_for_line("held by the run https://github.com/octo/app/actions/runs/1001/attempts/1", BUDGET);
    running.finish().succeeds().applied(["a: 0001_one", "b: 0001_one", "c: 0001_one"]).done();
    second.finish().nothing_to_do().done();
}

#[test]
fn an_approved_plan_covers_every_tenant() {
    let lab = lab_with(&["a", "b"]);
    let planned = two_files(&lab, "[a, b]").input("command", "plan").run().has_pending();
    let digest = planned.outputs["plan-digest"].clone();
    planned.pending(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two"]).done();
    let other = two_files(&lab, "[a]").input("expect-plan", &digest).run().fails("plan-changed", 5);
    other.pending(["a: 0001_one", "a: 0002_two"]).done();
    let approved = two_files(&lab, "[a, b]").input("expect-plan", &digest).run().succeeds();
    approved.applied(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two"]).done();
}

#[test]
fn a_tenant_that_appears_during_the_run_is_named_and_migrated_by_the_next_one() {
    let lab = lab_with(&["a"]);
    let appear = "insert into public.tenants values ('b', true);\n";
    lab.database.sql("create schema b authorization app");
    let step = || plain(&lab, QUERY).file("migrations/0001_one.sql", format!("{ONE}{appear}"));
    step().run().succeeds().applied(["a: 0001_one"]).logs("the next one migrates them: the schema `b`").done();
    lab.database.sql("delete from public.tenants where name = 'b'; insert into public.tenants values ('b', true)");
    plain(&lab, QUERY)
        .file("migrations/0001_one.sql", format!("{ONE}{appear}"))
        .input("command", "plan")
        .run()
        .has_pending()
        .pending(["b: 0001_one"])
        .done();
}

#[test]
fn a_tenant_is_not_worked_on_while_its_tool_holds_its_lock() {
    let lab = lab_with(&["a", "b"]);
    let form = FORMS.iter().find(|form| form.layout == "dbmate").unwrap();
    let step = || form.golden_files(form.step(Action::new(&lab))).input("tenants", "[a, b]").input("retries", "0");
    let tool = lab.database.session();
    tool.sql("select pg_advisory_lock(48372615)");
    let all: Vec<String> = ["a", "b"].iter().flat_map(|tenant| labels(form, tenant)).collect();
    let held = step().run().fails("lock-timeout", 6).pending(all.iter().map(String::as_str));
    held.error_in(&form.path(1, "one"), "another session holds dbmate's own lock").done();
    drop(tool);
    step().run().succeeds().applied(all.iter().map(String::as_str)).done();
}

#[test]
fn status_lists_the_migrations_of_every_tenant() {
    let lab = lab_with(&["a", "b"]);
    plain(&lab, "[a]").file("migrations/0001_one.sql", ONE).run().succeeds().applied(["a: 0001_one"]).done();
    let status = two_files(&lab, "[a, b]").input("command", "status").run().has_pending();
    let status = status.pending(["a: 0002_two", "b: 0001_one", "b: 0002_two"]);
    status.logs("a: migrations/0001_one.sql").summary("a: ").done();
}

#[test]
fn a_session_that_a_file_has_changed_for_good_is_not_that_of_the_next_tenant() {
    let lab = lab_with(&["a", "b", "c"]);
    let sql = "do $$ begin if current_setting('app.seen', true) is not null then raise 'seen'; end if; end $$;\n\
               create table one (id int);\nselect set_config('app.seen', 'yes', false);\n";
    let step = plain(&lab, "{ names: [a, b, c], parallel: 1 }").file("migrations/0001_one.sql", sql);
    step.run().succeeds().applied(["a: 0001_one", "b: 0001_one", "c: 0001_one"]).done();
}

#[test]
fn the_files_that_tenants_share_have_a_ledger_beside_those_of_the_tenants() {
    let lab = lab_with(&["a", "b"]);
    two_files(&lab, "[a, b]")
        .run()
        .succeeds()
        .applied(["a: 0001_one", "a: 0002_two", "b: 0001_one", "b: 0002_two"])
        .done();
    let shared = || Action::new(&lab).file("migrations/0001_plans.sql", "create table public.plans (id int);\n");
    shared().run().succeeds().applied(["0001_plans"]).done();
    shared().run().nothing_to_do().done();
    two_files(&lab, "[a, b]").run().nothing_to_do().done();
}
