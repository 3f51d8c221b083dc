//! `command: doctor`: a healthy environment is good in every check, each planted fault is found with its stage, its cause
//! and its fix, and nothing is changed. One file for each area has the planted faults.

mod database;
mod files;
mod route;
mod server;

use crate::{
    action::Action,
    judge::Finished,
    lab::{
        Lab,
        postgres::{Options, Postgres},
        server::Server,
        stranger::FakeServer,
    },
    own_tool,
};
use rustix::process::Signal;
use serde_json::Value;

/// A finding that a planted fault leads to.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// The fault's code; empty for a warning that has none.
    code: &'static str,
    /// The exit code of the fault; 0 for a warning.
    exit: i32,
    /// The beginning of the subject.
    subject: &'static str,
    /// A part of the cause.
    cause: &'static str,
    /// A part of the fix.
    fix: &'static str,
}

/// Returns the finding of a fault that would end a migration.
fn fault(code: &'static str, exit: i32, subject: &'static str, cause: &'static str, fix: &'static str) -> Expected {
    Expected { code, exit, subject, cause, fix }
}

/// Returns the finding of a warning.
fn warning(subject: &'static str, cause: &'static str, fix: &'static str) -> Expected {
    Expected { code: "", exit: 0, subject, cause, fix }
}

/// A step with a file that can be applied.
fn doctor(lab: &Lab) -> Action<'_> {
    examining(Action::new(lab))
}

fn examining(step: Action<'_>) -> Action<'_> {
    step.file("migrations/0001_a.sql", "create table a (id int);").input("command", "doctor")
}

/// Returns the findings in the output `report`.
pub(crate) fn findings(finished: &Finished) -> Vec<Value> {
    let report: Value = serde_json::from_str(&finished.outputs["report"]).expect("the report is JSON");
    report["findings"].as_array().cloned().expect("the report has findings")
}

pub(crate) fn text<'v>(finding: &'v Value, key: &str) -> &'v str {
    finding[key].as_str().unwrap_or_default()
}

/// Returns the subject of each finding in this state.
fn in_state<'f>(findings: &'f [Value], state: &str) -> Vec<&'f str> {
    findings.iter().filter(|finding| text(finding, "state") == state).map(|finding| text(finding, "subject")).collect()
}

/// Returns whether this is the expected finding.
fn fits(finding: &Value, expected: Expected) -> bool {
    let Expected { code, exit, subject, cause, fix } = expected;
    let state = if exit == 0 { "warning" } else { "failed" };
    text(finding, "state") == state
        && text(finding, "subject").starts_with(subject)
        && (code.is_empty() || text(finding, "code") == code)
        && text(finding, "detail").contains(cause)
        && text(finding, "fix").contains(fix)
}

/// Checks that the planted fault is found, and that it is the only one.
fn finds(planted: &str, step: Action<'_>, expected: Expected) {
    finds_all(planted, step, &[expected]);
}

/// Checks that all of these are found, and nothing else. The exit code is that of the first failed one.
fn finds_all(planted: &str, step: Action<'_>, expected: &[Expected]) {
    let found = finds_among(planted, step, expected);
    let trouble = in_state(&found, "failed").len() + in_state(&found, "warning").len();
    assert_eq!(trouble, expected.len(), "{planted}: {found:#?}");
}

/// Checks that all of these are found, and returns all findings.
fn finds_among(planted: &str, step: Action<'_>, expected: &[Expected]) -> Vec<Value> {
    let mut finished = step.run();
    let (problems, found) = (finished.take_problems(), findings(&finished));
    let shown = || format!("{planted}: {found:#?}\n{}", finished.log);
    assert!(problems.is_empty(), "{problems:?}\n{}", shown());
    let log = finished.rendered_log();
    for expected in expected {
        assert!(found.iter().any(|finding| fits(finding, *expected)), "{expected:?}\n{}", shown());
        // The fix is in the log and in the summary, too.
        let steps = if expected.code == "host-key-unpinned" { "3. Run the job again." } else { "**Fix:**" };
        assert!(log.contains(expected.fix) && finished.summary.contains(steps), "{expected:?}\n{}", shown());
    }
    let failed: Vec<&Value> = found.iter().filter(|finding| text(finding, "state") == "failed").collect();
    let codes: Vec<&str> = failed.iter().map(|finding| text(finding, "code")).collect();
    let first = expected.iter().find(|expected| Some(&expected.code) == codes.first()).map_or(0, |first| first.exit);
    assert_eq!(finished.status.code(), Some(first), "{}", shown());
    assert_eq!(finished.outputs["fault-code"], codes.first().copied().unwrap_or_default(), "{}", shown());
    assert_eq!(finished.outputs["outcome"], if codes.is_empty() { "success" } else { "failed" }, "{}", shown());
    // Each fault is an annotation that names its stage; a warning is none.
    let errors = finished.annotations.iter().filter(|annotation| annotation.level != "warning");
    let mut errors: Vec<&str> = errors.filter_map(|annotation| annotation.message.split(" in ").next()).collect();
    let mut stated = codes.clone();
    errors.sort_unstable();
    stated.sort_unstable();
    assert_eq!(errors, stated, "{}", shown());
    found
}

/// Checks that every check of a healthy environment is good, but for those that may not be possible.
fn is_healthy(step: Action<'_>, unchecked: &[&str]) -> Vec<Value> {
    let finished = step.run();
    let found = findings(&finished);
    assert_eq!(in_state(&found, "failed").len() + in_state(&found, "warning").len(), 0, "{found:#?}");
    assert_eq!(in_state(&found, "not-checked"), unchecked, "{found:#?}");
    let headline = if unchecked.is_empty() { "Everything is in order: " } else { "Nothing to fix: " };
    finished.succeeds().logs(headline).summary("with nothing to fix").done();
    found
}

#[test]
fn a_healthy_environment_is_good_in_every_check() {
    let lab = Lab::new();
    let found = is_healthy(doctor(&lab), &[]);
    let details: Vec<String> =
        found.iter().map(|finding| format!("{}: {}", text(finding, "subject"), text(finding, "detail"))).collect();
    let details = details.join("\n");
    for part in [
        "files: 1 migration in `migrations`, in one of the layouts plain, sqlx, ",
        "plan: 1 migration pending, 0 recorded in `bastion_migrate.ledger`",
        "answers as SSH-2.0-OpenSSH_",
        "` is pinned",
        " by key",
        "log-in 127.0.0.1:",
        "forwarding localhost:",
        "the bastion opens connections to it",
        "PostgreSQL 15.",
        "with fixes until 2027-11-11",
        "ledger: `bastion_migrate.ledger` will be created, in the layout plain",
        "run lock: free",
    ] {
        assert!(details.contains(part), "{part}: {details}");
    }
    // The advice "run migrate" works: the same step without the command.
    Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a (id int);")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .done();
    let found = is_healthy(doctor(&lab), &[]);
    let plan = found.iter().find(|finding| text(finding, "subject") == "plan").expect("a plan");
    assert_eq!(text(plan, "detail"), "0 migrations pending, 1 recorded in `bastion_migrate.ledger`");
}

#[test]
fn a_healthy_environment_is_good_without_a_bastion_and_with_tls_and_tenants() {
    let lab = Lab::new();
    let ca = lab.database.server().ca().to_owned();
    let direct = examining(Action::direct(&lab)).input("database-sslmode", "verify-full").input("database-ca", ca);
    let found = is_healthy(direct, &[]);
    let certificate = found.iter().find(|finding| text(finding, "subject") == "certificate").expect("TLS is on");
    assert!(text(certificate, "detail").contains("bastion-migrate lab CA"), "{certificate}");
    assert!(found.iter().all(|finding| text(finding, "area") != "route"), "{found:#?}");
    lab.database.sql("set role app; create schema one; create schema two");
    let found = is_healthy(doctor(&lab).input("tenants", "one, two"), &[]);
    let plan = found.iter().find(|finding| text(finding, "subject") == "plan").expect("a plan");
    assert!(text(plan, "detail").starts_with("2 migrations pending"), "{plan}");
}

#[test]
fn a_healthy_server_is_good_in_every_check() {
    let lab = Lab::new();
    let server = own_tool::server(&lab);
    let found = is_healthy(own_tool::shop(&lab, &server).input("command", "doctor"), &[]);
    let tool = found.iter().find(|finding| text(finding, "subject") == "tool on the server").expect("a tool");
    assert_eq!(text(tool, "detail"), "3 migrations pending, no ledger yet");
    assert_eq!(lab.database.contents(), "");
}

/// Returns what a change of the database would move.
fn traces(lab: &Lab) -> String {
    lab.database.sql("select pg_current_wal_lsn(), pg_current_xact_id_if_assigned(), txid_current_snapshot()")
}

#[test]
fn the_doctor_changes_nothing() {
    // A server of its own: on the shared one other tests write.
    let settings = &["autovacuum = off", "bgwriter_delay = 10s", "checkpoint_timeout = 1h"];
    let postgres = Postgres::start(&Options { settings, ..Options::default() });
    let lab = Lab::on(&postgres);
    Action::new(&lab)
        .file("migrations/0001_a.sql", "create table a (id int);")
        .run()
        .succeeds()
        .applied(["0001_a"])
        .done();
    ["vacuum freeze", "checkpoint"].iter().for_each(|sql| drop(lab.database.sql(sql)));
    // The first look at the catalog may set hint bits.
    doctor(&lab).run().succeeds().done();
    let (before, contents) = (traces(&lab), lab.database.contents());
    doctor(&lab).file("migrations/0002_b.sql", "create table b (id int);").run().succeeds().done();
    assert_eq!(traces(&lab), before);
    assert_eq!(lab.database.contents(), contents);
}

#[test]
fn five_faults_at_once_are_all_found() {
    let lab = Lab::new();
    lab.database.sql(
        "set role app; create table b (id int); alter table b add constraint positive check (id > 0) not valid; \
         create sequence numbers maxvalue 10; select setval('numbers', 9)",
    );
    let step = doctor(&lab)
        .file("migrations/0001_b.sql", "select 1;")
        .file("migrations/0002_c.sql", "\\copy b from 'x'")
        .input("schema-file", "missing.sql");
    finds_all(
        "five",
        step,
        &[
            fault("version-duplicate", 2, "files", "0001", "another version"),
            fault("psql-command", 2, "files", "", "write it in SQL"),
            fault("schema-file", 2, "schema-file", "does not exist", "command: status"),
            warning("constraints", "positive", "VALIDATE CONSTRAINT positive"),
            warning("sequences", "numbers (90 %)", "ALTER SEQUENCE"),
        ],
    );
}

#[test]
fn a_doctor_that_is_stopped_leaves_nothing_behind() {
    let lab = Lab::new();
    let silent = FakeServer::silent();
    let step = doctor(&lab).input("ssh-port", silent.port.to_string());
    let run = step.start();
    silent.wait_for_connection();
    run.signal(Signal::INT);
    run.finish().fails("cancelled", 130).done();
}

#[test]
fn faults_of_inputs_are_reported_as_for_every_command() {
    let lab = Lab::new();
    let step = doctor(&lab).input("ssh-private-key", "no key").input("lock-wait", "soon");
    step.run().fails("key-invalid", 2).error("key-invalid").error("input-invalid").done();
    let unused = doctor(&lab).input("expect-plan", format!("sha256:{}", "0".repeat(64)));
    unused.run().fails("input-invalid", 2).error("no effect with `command: doctor`").done();
}

#[test]
fn a_server_without_its_database_is_examined_alone() {
    let lab = Lab::new();
    let server = Server::start();
    let step = Action::on_server(&lab, &server).input("run", "true").input("command", "doctor");
    let found = is_healthy(step, &[]);
    assert!(found.iter().all(|finding| text(finding, "area") != "database"), "{found:#?}");
}
