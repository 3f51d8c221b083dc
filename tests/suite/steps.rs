//! Steps around a migration, for every executor: their order, the effects they see of each other, and the limits of SQL
//! files.

use crate::{
    action::Action,
    lab::{
        Lab,
        server::{BACKEND, Server},
        session::Session,
    },
};

/// The migration's content.
const FILE: &str = "create table shop ();\n";

/// A step with SQL files and these steps.
fn sql<'a>(lab: &'a Lab, steps: &str) -> Action<'a> {
    Action::new(lab).file("migrations/0001_shop.sql", FILE).file(".github/bastion-migrate.yml", steps)
}

fn django<'a>(lab: &'a Lab, server: &'a Server, steps: &str) -> Action<'a> {
    let step = Action::on_server(lab, server).secret("database-url", lab.database.url()).input("tool", "django");
    let step = step.input("working-directory", BACKEND).input("setup", "source ../venv/bin/activate");
    step.file(".github/bastion-migrate.yml", steps)
}

/// A session that holds the run lock, as another run.
fn holder(lab: &Lab) -> Session {
    let session = lab.database.session();
    session.sql(&format!("select pg_advisory_lock({})", bastion_migrate::postgres::bastion_migrate_key()));
    session
}

#[test]
fn sql_files_run_before_and_after_the_migration() {
    let lab = Lab::new();
    let steps = "before: [{ sql: db/role.sql }]\nafter: [{ name: Rights, sql: db/rights.sql }]\n";
    let step = sql(&lab, steps).file("db/role.sql", "create table role (); select 1;");
    let finished = step.file("db/rights.sql", "grant select on shop to public").run();
    finished
        .succeeds()
        .applied(["0001_shop"])
        .summary("| before | db/role.sql | done |")
        .summary("| after | Rights | done |")
        .done();
}

#[test]
fn a_failed_sql_file_is_reported_with_its_position_and_prevents_the_migration() {
    let lab = Lab::new();
    let finished = sql(&lab, "before: [{ sql: db/a.sql }]").file("db/a.sql", "select 1;\nselect nowhere;\n").run();
    finished
        .fails("statement-failed", 6)
        .annotation("db/a.sql", 2, "column \"nowhere\" does not exist")
        .logs("db/a.sql:2:8")
        .done();
    assert_eq!(lab.database.contents(), "");
}

/// The server returns a position only for syntax errors and unknown names.
#[test]
fn a_failed_sql_file_is_reported_with_its_line_for_every_error() {
    let lab = Lab::new();
    let text = "create table a (n int check (n > 0));\n\ndo $$\nbegin\n  raise exception 'not today';\nend $$;\n";
    let finished = sql(&lab, "before: [{ sql: db/a.sql }]").file("db/a.sql", text).run();
    finished.fails("statement-failed", 6).annotation("db/a.sql", 5, "not today").logs("db/a.sql:5:3").done();
    let text = "create table a (n int check (n > 0));\n\ninsert into a values (0);\n";
    let finished = sql(&lab, "before: [{ sql: db/a.sql }]").file("db/a.sql", text).run();
    let finished = finished.fails("statement-failed", 6).annotation("db/a.sql", 3, "violates check constraint");
    finished.logs("statement-failed in before: ").logs("its changes were rolled back, unless it commits").done();
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn a_sql_file_that_does_not_end_its_transaction_fails() {
    let lab = Lab::new();
    let finished = sql(&lab, "before: [{ sql: db/a.sql }]").file("db/a.sql", "begin; create table lost ();").run();
    finished.fails("own-transaction", 2).error_in("db/a.sql", "begins a transaction and does not end it").done();
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn a_sql_file_runs_with_the_settings_of_the_url() {
    let lab = Lab::new();
    lab.database.sql("create schema shop authorization app");
    let url = format!("{}?options=-c%20search_path%3Dshop", lab.database.url());
    let step = sql(&lab, "after: [{ sql: db/a.sql }]")
        .file("db/a.sql", "create table of_the_shop ();")
        .secret("database-url", url);
    step.run().succeeds().applied(["0001_shop"]).done();
    assert_eq!(lab.database.sql("select to_regclass('shop.of_the_shop') is not null"), "t");
}

/// Converts a dump to plain SQL: psql commands are removed and COPY becomes INSERT.
fn without_copy(dump: &str) -> String {
    let mut into = None;
    let mut text = String::new();
    for line in dump.lines() {
        match (into, line) {
            (Some(_), "\\.") => into = None,
            (Some(table), row) => {
                let value = |value: &str| match value {
                    "\\N" => "null".to_owned(),
                    value => bastion_migrate::postgres::quote_literal(&value.replace("\\\\", "\\")),
                };
                let values: Vec<String> = row.split('\t').map(value).collect();
                text.extend(["insert into ", table, " values (", &values.join(", "), ");\n"]);
            }
            (None, line) if line.starts_with("COPY ") => {
                into = line.strip_prefix("COPY ").and_then(|rest| rest.strip_suffix(" FROM stdin;"));
            }
            (None, line) if line.starts_with('\\') => {}
            (None, line) => text.extend([line, "\n"]),
        }
    }
    text
}

/// The earlier step restores a backup.
#[test]
fn the_plan_includes_the_effects_of_earlier_steps() {
    let lab = Lab::new();
    sql(&lab, "").run().succeeds().applied(["0001_shop"]).done();
    let dump = without_copy(&lab.database.dump());
    let other = Lab::new();
    let finished = sql(&other, "before: [{ name: Restore, sql: db/dump.sql }]").file("db/dump.sql", dump).run();
    finished.nothing_to_do().summary("| before | Restore | done |").done();
}

#[test]
fn migrations_of_an_earlier_command_are_not_pending() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let finished = django(&lab, &server, "before: [{ run: python manage.py migrate --noinput }]").run();
    finished.nothing_to_do().logs("started carriers.0001_initial\n").done();
}

#[test]
fn a_run_without_the_lock_runs_no_failure_steps() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let other = holder(&lab);
    let steps = "after: [{ run: touch ~/restored, when: failure }, { sql: db/a.sql, when: failure }]";
    let step = django(&lab, &server, steps).file("db/a.sql", "create table restored ();").input("lock-wait", "1s");
    step.run().fails("lock-held", 4).error("is held by").done();
    drop(other);
    assert_eq!(lab.database.contents(), "");
}

#[test]
fn a_failure_step_runs_only_after_a_failure() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let steps = "steps: [{ name: Migrate, run: python manage.py migrate --noinput && false }]\n\
        after: [{ name: Restore, run: touch ~/restored, when: failure }, { name: Tell, run: touch ~/told }]";
    let step = django(&lab, &server, steps).leaves_on_server("restored");
    let finished = step.run().fails("tool-failed", 6).logs("in the step `Migrate`");
    let applied: Vec<String> = finished.listed("applied");
    let finished = finished.applied(applied.iter().map(String::as_str)).error("ended with code 1");
    finished.summary("| after | Restore | done |").summary("| after | Tell | not run |").done();
}

#[test]
fn a_failed_optional_step_is_a_warning_and_the_run_continues() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let steps = "before: [{ name: Cache, run: 'false', optional: true }]";
    let finished = django(&lab, &server, steps).input("command", "migrate").run();
    let applied: Vec<String> = finished.listed("applied");
    let finished = finished.succeeds().applied(applied.iter().map(String::as_str)).warning("ended with code 1");
    finished.summary("| before | Cache | **failed** |").done();
}

/// The ledger says nothing about steps other than the migration.
#[test]
fn a_failed_step_after_the_migration_is_reported_in_its_own_stage() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let steps = "after: [{ name: Warm, executor: server, run: 'echo cold; false', optional: true }]";
    let finished = django(&lab, &server, steps).run();
    let applied: Vec<String> = finished.listed("applied");
    let finished = finished.succeeds().applied(applied.iter().map(String::as_str)).warning("tool-failed in after");
    let finished = finished.logs("tool-failed in after: cold").logs("fix: see the command's output in the log\n");
    finished.never_logs("is in its ledger").done();
}

#[test]
fn custom_migration_steps_run_if_something_is_pending_or_always_on_request() {
    let lab = Lab::new();
    let server = Server::with_project(&lab.database);
    let steps = "steps: [{ name: Migrate, run: python manage.py migrate --noinput }, { name: Seed, run: echo sown }, \
        { name: Tell, run: echo told, when: always }]";
    let finished = django(&lab, &server, steps).run();
    let applied: Vec<String> = finished.listed("applied");
    let finished = finished.succeeds().applied(applied.iter().map(String::as_str)).logs("| sown\n").logs("| told\n");
    finished.done();
    let finished = django(&lab, &server, steps).run().nothing_to_do().never_logs("| sown").logs("| told\n");
    finished.summary("| migrate | Migrate | not run |").summary("| migrate | Tell | done |").done();
    let steps = steps.replace(", when: always", "");
    let finished = django(&lab, &server, &steps).run().nothing_to_do().never_logs("| told");
    finished.logs("Nothing is pending").done();
}
