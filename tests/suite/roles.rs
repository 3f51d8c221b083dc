//! `database-role`: all sessions of a run take it, so that new objects belong to it.

use crate::{
    action::Action,
    lab::{
        Lab,
        pgbouncer::{PgBouncer, Pool},
        server::{Server, from_the_server},
    },
};

/// Makes the role that owns the test's database and returns its name; the login role is a member of it.
fn owner_of(lab: &Lab) -> String {
    let (name, role) = (lab.database.name(), format!("Owner of {}", lab.database.name()));
    lab.database.sql(&format!(
        "drop role if exists \"{role}\"; create role \"{role}\"; grant \"{role}\" to app; \
         alter database {name} owner to \"{role}\"; alter schema public owner to pg_database_owner"
    ));
    role
}

/// Ends the role, which belongs to the server.
fn drop_owner(lab: &Lab, role: &str) {
    lab.database
        .sql(&format!("reassign owned by \"{role}\" to postgres; drop owned by \"{role}\"; drop role \"{role}\""));
}

const OWNERS: &str = "select string_agg(distinct relowner::regrole::text, ',') from pg_class \
    where relnamespace in ('public'::regnamespace, to_regnamespace('bastion_migrate')) and relkind in ('r', 'i')";

fn files(step: Action<'_>) -> Action<'_> {
    step.file("migrations/0001_users.sql", "create table users (id int);\nreset role;\ncreate table a ();\n")
        .file("migrations/0002_b.sql", "create table b ();\nset role none;\n")
        .file(
            "migrations/0003_c.sql",
            "-- no-transaction\ncreate index concurrently users_id on users (id);\nselect 1;\n",
        )
        .file("migrations/0004_d.sql", "create table d (id int);\ncopy d from stdin;\n1\n\\.\n")
        .file("after.sql", "create table if not exists after_files ();\n")
        .input("after", "- sql: after.sql")
}

const FILES: [&str; 4] = ["0001_users", "0002_b", "0003_c", "0004_d"];

#[test]
fn objects_and_the_ledger_belong_to_the_role() {
    let lab = Lab::new();
    let role = owner_of(&lab);
    let step = || files(Action::new(&lab)).input("database-role", &role);
    step().input("command", "plan").run().has_pending().pending(FILES).logs(&format!("as app, role {role}")).done();
    step().run().succeeds().applied(FILES).summary("as app, role Owner of").done();
    assert_eq!(lab.database.sql(OWNERS), format!("\"{role}\""));
    step().run().nothing_to_do().done();
    drop_owner(&lab, &role);
}

#[test]
fn objects_belong_to_the_role_behind_a_pooler() {
    let lab = Lab::new();
    let role = owner_of(&lab);
    let pooler = PgBouncer::start(&lab.database, Pool::Session);
    let url = lab.database.url_at("localhost", pooler.port());
    let step = || Action::new(&lab).secret("database-url", url.as_str()).input("database-sslmode", "disable");
    // Here, a file's own RESET leads back to the login role, for the rest of that file.
    let step = || {
        step()
            .input("database-role", &role)
            .file("after.sql", "create table if not exists after_files ();\n")
            .input("after", "- sql: after.sql")
    };
    let names = ["0001_users", "0002_b", "0003_c", "0004_d"];
    let run = step()
        .file("migrations/0001_users.sql", "create table users (id int);\nreset role;\n")
        .file("migrations/0002_b.sql", "create table b ();\nset role none;\n")
        .file(
            "migrations/0003_c.sql",
            "-- no-transaction\ncreate index concurrently users_id on users (id);\nselect 1;\n",
        )
        .file("migrations/0004_d.sql", "create table d (id int);\ncopy d from stdin;\n1\n\\.\n")
        .run();
    run.succeeds().applied(names).logs(&format!("as app, role {role}")).done();
    assert_eq!(lab.database.sql(OWNERS), format!("\"{role}\""));
    drop_owner(&lab, &role);
}

#[test]
fn a_role_that_can_not_be_taken_is_refused_with_the_grant_to_run() {
    let lab = Lab::new();
    let role = owner_of(&lab);
    let pooler = PgBouncer::start(&lab.database, Pool::Session);
    let urls = [lab.database.url(), lab.database.url_at("localhost", pooler.port())];
    let step = |url: &str, role: &str| {
        let step = Action::new(&lab).secret("database-url", url).input("database-sslmode", "disable");
        step.file("migrations/0001_users.sql", "create table users (id int);\n").input("database-role", role)
    };
    lab.database.sql(&format!("revoke \"{role}\" from app"));
    let grant = format!("`GRANT \"{role}\" TO \"app\"`");
    for url in &urls {
        let refused = step(url, &role).run().fails("database-role", 3);
        refused
            .logs(&format!("`app` can't take the role `{role}`"))
            .logs(&format!("fix: run {grant} as a role"))
            .done();
        let unknown = step(url, "nobody here").run().fails("database-role", 3);
        unknown.logs("`app` can't take the role `nobody here`").logs("`CREATE ROLE \"nobody here\"`").done();
    }
    lab.database.sql(&format!("grant \"{role}\" to app"));
    step(&urls[0], &role).run().succeeds().applied(["0001_users"]).done();
    drop_owner(&lab, &role);
}

#[test]
fn a_tool_on_the_server_gets_the_role_or_is_refused() {
    let lab = Lab::new();
    let role = owner_of(&lab);
    let variables = format!("export DATABASE_URL='{}'\n", from_the_server(&lab.database));
    let server = Server::start().file("shop/env", variables);
    let step = |command: &str| {
        let step = Action::on_server(&lab, &server).secret("database-url", lab.database.url()).input("tool", "custom");
        step.input("database-role", &role)
            .input("working-directory", "shop")
            .input("setup", ". ./env")
            .input("run", command)
    };
    let table = "psql -XAtq \"$DATABASE_URL\" -c 'create table made_by_tool ()'";
    step(table).run().succeeds().logs("settings by PGOPTIONS").warning("verify-ledger in verify").done();
    assert_eq!(lab.database.sql(OWNERS), format!("\"{role}\""));
    let refused = step(&format!("docker exec app {table}")).run().fails("database-role", 3);
    refused.logs("`docker` does not pass PGOPTIONS on").logs("add `-e PGOPTIONS` to `docker`").done();
    drop_owner(&lab, &role);
}
