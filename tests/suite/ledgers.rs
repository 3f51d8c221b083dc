//! The choice of the ledger: a run finds it in any schema, and rejects one with hidden rows or of another tool.

use crate::{action::Action, lab::Lab, shapes::LEDGERS};

fn with_options<'l>(lab: &'l Lab, query: &str) -> Action<'l> {
    Action::new(lab).secret("database-url", format!("{}?{query}", lab.database.url()))
}

#[test]
fn a_ledger_outside_the_search_path_is_not_ignored() {
    for (layout, table) in [("sqlx", "_sqlx_migrations"), ("plain", "migs")] {
        let lab = Lab::new();
        let database = lab.database.name();
        let step = |ledger: &str| {
            let step = Action::new(&lab).input("layout", layout).input("ledger-table", ledger);
            step.file(
                "migrations/20240101000000_a.sql",
                format!(
                    "create schema if not exists hello; alter database {database} set search_path to hello; \
                     create table if not exists hello.users (id int); insert into hello.users values (1);"
                ),
            )
        };
        step(table).run().succeeds().applied(["20240101000000_a"]).done();
        let advice =
            format!("set `ledger-table: public.{table}` to go on with that one, or `ledger-table: hello.{table}`");
        for command in ["plan", "status", "verify", "migrate"] {
            step(table).input("command", command).run().fails("ledger-elsewhere", 5).error(&advice).done();
        }
        step(&format!("public.{table}")).run().nothing_to_do().done();
        assert_eq!(lab.database.sql("select count(*) from hello.users"), "1", "{layout}");
    }
}

#[test]
fn a_ledger_named_in_an_earlier_run_is_not_ignored() {
    let lab = Lab::new();
    let step = || Action::new(&lab).file("migrations/1_a.sql", "create table a ();");
    step().input("ledger-table", "public.migs").run().succeeds().applied(["1_a"]).done();
    step().run().fails("ledger-elsewhere", 5).error("`ledger-table: public.migs`").done();
    step().input("ledger-table", "public.migs").run().nothing_to_do().done();
}

#[test]
fn every_form_of_a_search_path_in_the_url_takes_effect() {
    for query in [
        "options=-csearch_path%3Ddata",
        "options[search_path]=data",
        "options%5Bsearch_path%5D=data",
        "search_path=data",
        "schema=data",
        "currentSchema=data",
    ] {
        let lab = Lab::new();
        lab.database.sql("set role app; create schema data");
        let step = |query: &str| {
            with_options(&lab, query)
                .input("layout", "sqlx")
                .file("migrations/20240101000000_a.sql", "create table users ();")
        };
        step("options=-csearch_path%3Ddata").run().succeeds().applied(["20240101000000_a"]).done();
        step(query).run().nothing_to_do().done();
        assert_eq!(lab.database.contents(), "data\ndata._sqlx_migrations\ndata.users", "{query}");
    }
}

#[test]
fn a_ledger_with_rows_hidden_by_row_security_is_rejected() {
    let lab = Lab::new();
    let role = format!("owner_{}", lab.database.name());
    let step = || {
        Action::new(&lab)
            .file(
                "migrations/1_a.sql",
                "create table if not exists public.a (n int); insert into public.a values (20);",
            )
            .file("migrations/2_b.sql", "-- no-transaction\nupdate public.a set n = n + 20;")
    };
    lab.database.sql(&format!("create role {role} login superuser password 'only for a moment'"));
    let owner = format!(
        "postgres://{role}:only%20for%20a%20moment@localhost:{}/{}",
        lab.database.server().port(),
        lab.database.name()
    );
    step().secret("database-url", owner).hides("only for a moment").run().succeeds().applied(["1_a", "2_b"]).done();
    lab.database.sql(&format!(
        "alter role {role} nosuperuser; grant usage on schema bastion_migrate to app; grant all on public.a to app; \
         grant all on all tables in schema bastion_migrate to app; alter table bastion_migrate.ledger enable row level security"
    ));
    for command in ["plan", "status", "verify", "migrate"] {
        let hidden = step().input("command", command).run().fails("ledger-hidden", 5);
        hidden.error("row-level security hides rows of the ledger `bastion_migrate.ledger` from the role `app`").done();
    }
    assert_eq!(lab.database.sql("select n from public.a"), "40");
    // The fix exactly as advised.
    lab.database
        .sql(&format!("alter table bastion_migrate.ledger disable row level security; grant \"{role}\" to \"app\""));
    step().run().nothing_to_do().done();
    lab.database.sql(&format!("revoke {role} from app; drop owned by {role} cascade; drop role {role}"));
}

/// Event trigger that enables row-level security on every new table, including the ledger.
const FORCE: &str = "create function force() returns event_trigger language plpgsql security definer as $$ declare r record; begin \
    for r in select * from pg_event_trigger_ddl_commands() where object_type = 'table' loop \
    execute format('alter table %s enable row level security', r.object_identity); \
    execute format('alter table %s force row level security', r.object_identity); end loop; end $$; \
    create event trigger {name} on ddl_command_end when tag in ('CREATE TABLE') execute function force()";

#[test]
fn a_new_ledger_that_gets_row_security_is_rejected() {
    let lab = Lab::new();
    lab.database.sql(&FORCE.replace("{name}", lab.database.name()));
    let step = || Action::new(&lab).file("migrations/1_a.sql", "create table a ();");
    let hidden = step().run().fails("ledger-hidden", 5).error_in("migrations/1_a.sql", "ALTER TABLE").pending(["1_a"]);
    hidden.warning("this run is not recorded in the database: the table bastion_migrate.runs").done();
    step()
        .run()
        .fails("ledger-hidden", 5)
        .error("`ALTER TABLE \"bastion_migrate\".\"ledger\" DISABLE ROW LEVEL SECURITY;`")
        .done();
    lab.database.sql("alter table bastion_migrate.ledger disable row level security");
    let recorded = step().run().succeeds().applied(["1_a"]);
    recorded.warning("or hides rows by row-level security").done();
}

#[test]
fn migrations_that_another_tool_has_applied_are_not_applied_again() {
    // Ledgers of layouts that files with these names fit are taken over.
    let taken_over = |name: &str, tool: &str| match name {
        "1_a.sql" => ["sqlx", "tern", "supabase"].contains(&tool),
        _ => ["sqlx", "golang-migrate"].contains(&tool),
    };
    for (tool, ddl, _) in LEDGERS {
        let lab = Lab::new();
        lab.database.sql(&format!("set role app; create table t (i int); insert into t values (1); {ddl}"));
        for name in ["1_a.sql", "1_a.up.sql"].into_iter().filter(|name| !taken_over(name, tool)) {
            let step = || {
                let text = "create table if not exists t (i int); insert into t values (1);";
                Action::new(&lab).file(&format!("migrations/{name}"), text)
            };
            for command in ["plan", "migrate"] {
                let refused = step().input("command", command).run().fails("ledger-foreign", 5);
                refused.error(&format!("the ledger of {tool}, has some")).done();
            }
        }
        assert_eq!(lab.database.sql("select count(*) from t"), "1", "{tool}");
    }
}

#[test]
fn a_ledger_of_another_tools_migrations_is_reported_as_foreign() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create schema supabase_migrations; \
         create table supabase_migrations.schema_migrations (version text primary key, statements text[], name text); \
         insert into supabase_migrations.schema_migrations values ('20240105000000', '{select 1}', 'users')",
    );
    let step = || Action::new(&lab).file("migrations/1_a.sql", "create table a ();");
    let refused = step()
        .run()
        .fails("ledger-foreign", 5)
        .error("`supabase_migrations.schema_migrations`, the ledger of supabase");
    refused.logs("`layout: plain` and `ledger-table: bastion_migrate.ledger`").done();
    // The fix exactly as advised; later runs find the ledger without these inputs.
    let explicit = step().input("layout", "plain").input("ledger-table", "bastion_migrate.ledger");
    explicit.run().succeeds().applied(["1_a"]).done();
    step().run().nothing_to_do().done();
}

#[test]
fn our_own_ledger_and_that_of_sqlx_are_not_confused() {
    let lab = Lab::new();
    let step = |layout: &str| {
        Action::new(&lab).input("layout", layout).file("migrations/1_a.sql", "create table if not exists a ();")
    };
    step("sqlx").run().succeeds().applied(["1_a"]).done();
    step("auto").run().nothing_to_do().done();
    let refused = step("plain").run().fails("ledger-foreign", 5);
    refused.error("set `layout: sqlx` and `ledger-table: public._sqlx_migrations` to go on with that ledger").done();
    step("sqlx").input("ledger-table", "public._sqlx_migrations").run().nothing_to_do().done();
}

#[test]
fn a_project_that_uses_sqlx_must_set_its_layout() {
    for (file, text) in [("Cargo.toml", "[dependencies]\nsqlx = \"0.9\"\n"), (".sqlx/query-1.json", "{}")] {
        let lab = Lab::new();
        let step = || Action::new(&lab).file("migrations/1_a.sql", "create table a ();").file(file, text);
        let file = file.split('/').next().unwrap_or_default();
        let ambiguous =
            step().run().fails("layout-ambiguous", 5).error(&format!("`{file}` shows that an application uses sqlx"));
        ambiguous.logs("set `layout: sqlx` if the application applies these files, too, or `layout: plain`").done();
        assert_eq!(lab.database.contents(), "");
        step().input("layout", "sqlx").run().succeeds().applied(["1_a"]).done();
        // From then on the ledger decides.
        step().run().nothing_to_do().done();
        let other = Lab::new();
        let plain = Action::new(&other)
            .file("migrations/1_a.sql", "create table a ();")
            .file("Cargo.toml", "[dependencies.sqlx]");
        plain.input("layout", "plain").run().succeeds().applied(["1_a"]).done();
    }
}

#[test]
fn the_configuration_of_a_tool_decides_where_no_ledger_does() {
    for (file, directory, layout) in [
        ("sqlx.toml", "migrations", "sqlx"),
        ("supabase/config.toml", "supabase/migrations", "supabase"),
        ("tern.conf", "migrations", "tern"),
    ] {
        let lab = Lab::new();
        let step = Action::new(&lab).input("migrations", directory).file(file, "");
        let step = step.file(&format!("{directory}/1_a.sql"), "create table a ();");
        let reason = format!("the layout is {layout}: `{file}` is its configuration");
        step.run().succeeds().applied(["1_a"]).logs(&reason).done();
    }
}

/// Uses a role that can only read and is no member of the role that migrates.
#[test]
fn a_read_only_role_can_plan_with_the_ledger_of_the_databases_owner() {
    let lab = Lab::new();
    let role = format!("reader_{}", lab.database.name());
    let step = || Action::new(&lab).file("migrations/1_a.sql", "create table a ();");
    step().run().succeeds().applied(["1_a"]).done();
    lab.database.sql(&format!(
        "create role {role} login password 'only to look'; grant usage on schema bastion_migrate to {role}; \
         grant select on all tables in schema bastion_migrate to {role}"
    ));
    let (port, name) = (lab.database.server().port(), lab.database.name());
    let url = format!("postgres://{role}:only%20to%20look@localhost:{port}/{name}");
    let reader =
        |command: &str| step().input("command", command).secret("database-url", &url).hides("only to look").run();
    reader("plan").nothing_to_do().done();
    reader("verify").succeeds().done();
    // A role that writes to the table has to trust the table's owner, who can attach code to it.
    reader("migrate").fails("ledger-untrusted", 5).error("belongs to `app`").done();
    lab.database.sql(&format!("drop owned by {role}; drop role {role}"));
}
