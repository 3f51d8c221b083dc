//! `command: doctor` with `executor: image`: what it says about the engine, the image and the tool in it. The faults on
//! the way to the database are planted in `tests/suite/doctor`.

use crate::{
    app::{DJANGO_5_2, MIGRATIONS, production_url},
    judge::Finished,
    network::{Database, shared},
    registry::{self, PASSWORD, ROBOT},
    step::{Socket, Step},
};
use serde_json::Value;

fn doctor(database: &Database) -> Step<'_> {
    Step::of_app(database, DJANGO_5_2).secret("database-url", production_url(database)).input("command", "doctor")
}

/// Returns the states of the findings about the image, by their subjects.
fn states(finished: &Finished) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let of_image = report["findings"].as_array().into_iter().flatten().filter(|finding| finding["area"] == "image");
    of_image.map(|finding| (text(finding, "subject"), text(finding, "state"))).collect()
}

fn state<'s>(states: &'s [(String, String)], subject: &str) -> &'s str {
    let found = states.iter().find(|(name, _)| name.starts_with(subject));
    found.map_or("", |(_, state)| state.as_str())
}

#[test]
fn a_healthy_image_is_good_in_every_check_and_nothing_is_migrated() {
    let database = shared().database();
    // The first start of the app on a machine takes longer than a check may.
    doctor(&database).input("command", "plan").run().has_pending().pending(MIGRATIONS).done();
    let finished = doctor(&database).run();
    let states = states(&finished);
    for subject in ["engine", "image ", "architecture", "tool in the image", "DATABASE_URL"] {
        assert_eq!(state(&states, subject), "good", "{subject}: {states:#?}");
    }
    let pending = format!("{} migrations pending, no ledger yet", MIGRATIONS.len());
    finished.succeeds().logs(&pending).logs("the tool connects to the database of this run").done();
    assert_eq!(database.sql("select count(*) from pg_tables where schemaname = 'public'"), "0");
}

#[test]
fn an_engine_that_is_not_there_leaves_the_image_unchecked_and_the_database_checked() {
    let database = shared().database();
    for socket in [Socket::Absent, Socket::Directory] {
        let finished = doctor(&database).socket(socket).run();
        let states = states(&finished);
        assert_eq!(state(&states, "engine"), "failed", "{states:#?}");
        assert_eq!((state(&states, "image"), state(&states, "tool")), ("not-checked", "not-checked"), "{states:#?}");
        finished.fails("engine-absent", 2).logs("✅ database: session").done();
    }
}

#[test]
fn an_image_that_can_not_be_pulled_is_found() {
    let (database, registry) = (shared().database(), registry::shared());
    let denied = registry.reference("doctor:1");
    let finished = doctor(&database).input("image", &denied).run();
    assert_eq!(state(&states(&finished), "image "), "failed");
    finished.fails("image-denied", 2).error(&denied).done();
    let missing = doctor(&database).input("image", &denied).input("registry-username", ROBOT);
    let finished = missing.secret("registry-password", PASSWORD).run();
    assert_eq!(state(&states(&finished), "image "), "failed");
    finished.fails("image-missing", 2).error(&denied).done();
    let local = doctor(&database).input("image", "bastion-migrate-test:nothing").input("pull", "never").run();
    assert_eq!(state(&states(&local), "tool"), "not-checked");
    local.fails("image-missing", 2).error("`pull` is `never`").done();
}

#[test]
fn a_tool_that_is_not_in_the_image_is_found() {
    let database = shared().database();
    let finished = doctor(&database).input("manage", "python /nowhere/manage.py").run();
    assert_eq!(state(&states(&finished), "tool"), "failed");
    finished.fails("tool-failed", 6).done();
}

#[test]
fn settings_that_do_not_read_the_database_of_this_run_are_found() {
    let database = shared().database();
    Step::of_app(&database, DJANGO_5_2).run().succeeds().applied(MIGRATIONS).done();
    // The app's own variable leads to a file on its disk.
    let elsewhere = doctor(&database).pass_variable("DATABASE_URL=sqlite:////tmp/db.sqlite3");
    let finished = elsewhere.run();
    let states = states(&finished);
    assert!([state(&states, "DATABASE_URL"), state(&states, "tool")].contains(&"failed"), "{states:#?}");
    finished.fails("tool-elsewhere", 5).done();
}
