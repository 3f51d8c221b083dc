//! `command: rehearse` with a tool in an image: the copy stands in for the database under its own name.

use crate::{
    app::{DJANGO_4_2, DJANGO_5_2, MIGRATIONS, production_url, with_trouble},
    engine::Container,
    judge::Finished,
    network::{Database, shared},
    running::Conclusion,
    step::Step,
};
use serde_json::Value;

/// The password of the role that makes copies.
const MAKER_PASSWORD: &str = "copies-pa55word-canary";

/// Starts a server for copies under this name. Returns it, and its URL.
fn copies(database: &Database, host: &str) -> (Container, String) {
    let server = database.network().another_server(host);
    let role = format!("create role maker login superuser password '{MAKER_PASSWORD}'");
    server.exec(&["psql", "-XqAt", "-U", "postgres", "-d", "postgres", "-c", &role]);
    (server, format!("postgres://maker:{MAKER_PASSWORD}@{host}:5432/postgres?sslmode=require"))
}

/// Returns what rehearsals have left in the server: databases, and roles of their own.
fn left_in(server: &Container) -> String {
    let left = "select string_agg(name, ' ') from (select datname::text as name from pg_database where datname like 'bastion%' \
                union all select rolname::text from pg_roles r join pg_shdescription d on d.objoid = r.oid) x";
    server.exec(&["psql", "-XqAt", "-U", "postgres", "-d", "postgres", "-c", left])
}

fn rehearse<'a>(database: &'a Database, app: &str, url: &str) -> Step<'a> {
    let step = Step::of_app(database, app).input("command", "rehearse").input("lint", "off");
    step.secret("rehearse", url).hides(MAKER_PASSWORD)
}

/// Returns the rehearsal in the output `report`.
fn rehearsal(finished: &Finished) -> Value {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["rehearsal"].clone()
}

/// Returns the number of relations in the database.
fn relations(database: &Database) -> String {
    database.sql("select count(*) from pg_class where relnamespace = 'public'::regnamespace")
}

#[test]
fn an_image_is_rehearsed_with_the_settings_of_production() {
    let database = shared().database();
    let (server, url) = copies(&database, "copies-1.public.example");
    let tls = "DATABASE_URL=postgres://${DATABASE_ADDRESS}?sslmode=require";
    for (app, variable) in [(DJANGO_4_2, ""), (DJANGO_5_2, ""), (DJANGO_4_2, tls), (DJANGO_5_2, tls)] {
        let step = rehearse(&database, app, &url);
        let step = if variable.is_empty() { step } else { step.pass_variable(variable) };
        let finished = step.run();
        let seen = rehearsal(&finished);
        let rounds = seen["rounds"].to_string();
        assert!(rounds.contains("a second run had nothing to do"), "{app} {variable}: {rounds}");
        assert!(seen["statements"].to_string().contains("customers.0002_region"), "{app} {variable}: {seen:#}");
        finished.has_pending().pending(MIGRATIONS).done();
        assert_eq!((relations(&database), left_in(&server)), ("0".to_owned(), String::new()), "{app} {variable}");
    }
    // The settings of production, which name the database by its own name and know its password.
    let url_of_production = format!("DATABASE_URL={}", database.url());
    let finished = rehearse(&database, DJANGO_5_2, &url).pass_variable(&url_of_production).run();
    finished.has_pending().pending(MIGRATIONS).done();
    assert_eq!((relations(&database), left_in(&server)), ("0".to_owned(), String::new()));
}

/// The certificate of the copy is its own.
#[test]
fn an_app_that_checks_the_certificate_itself_is_told_why_it_is_refused() {
    let database = shared().database();
    let (server, url) = copies(&database, "copies-2.public.example");
    let checked = format!("DATABASE_URL={}", production_url(&database));
    let finished = rehearse(&database, DJANGO_5_2, &url).pass_variable(&checked).run();
    finished.fails("rehearsal-failed", 5).pending(MIGRATIONS).logs("the copy has a certificate of its own").done();
    assert_eq!((relations(&database), left_in(&server)), ("0".to_owned(), String::new()));
}

#[test]
fn a_migration_is_bound_to_the_image_of_its_rehearsal() {
    let database = shared().database();
    let (_server, url) = copies(&database, "copies-3.public.example");
    let finished = rehearse(&database, DJANGO_5_2, &url).run();
    let digest = finished.outputs["rehearsal-digest"].clone();
    finished.has_pending().pending(MIGRATIONS).done();
    let migrate = |app| Step::of_app(&database, app).input("lint", "off").input("expect-rehearsal", &digest).run();
    let other = migrate(DJANGO_4_2).fails("rehearsal-outdated", 5).pending(MIGRATIONS);
    other.logs("and now it is `bastion-migrate-app:django-4.2`").error("the rehearsal was with the image").done();
    migrate(DJANGO_5_2).succeeds().applied(MIGRATIONS).done();
}

#[test]
fn a_failing_migration_in_an_image_fails_its_rehearsal_alone() {
    let database = shared().database();
    let (server, url) = copies(&database, "copies-4.public.example");
    let finished = rehearse(&database, DJANGO_5_2, &url).trouble("missing-table").run();
    let finished = finished.fails("rehearsal-failed", 5).pending(with_trouble());
    finished.error("trouble_nowhere").done();
    assert_eq!((relations(&database), left_in(&server)), ("0".to_owned(), String::new()));
}

#[test]
fn a_job_is_cancelled_during_the_rehearsal_of_a_tool() {
    let database = shared().database();
    let (server, url) = copies(&database, "copies-5.public.example");
    let running = rehearse(&database, DJANGO_5_2, &url).trouble("slow").pass_variable("APP_SECONDS=60").start();
    let asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    let is_asleep = || {
        let count = server.exec(&["psql", "-XqAt", "-U", "postgres", "-d", "postgres", "-c", asleep]);
        (count == "1").then_some(())
    };
    running.wait_until("the tool's last migration on the copy", is_asleep);
    let ended = running.cancel();
    assert_eq!(ended.conclusion, Conclusion::Cancelled);
    ended.finished.fails("cancelled", 130).pending(with_trouble()).done();
    assert_eq!((relations(&database), left_in(&server)), ("0".to_owned(), String::new()));
}
