//! Ways in which a secret could leave a container: the log and the files, the engine's records, the process list, the
//! servers. The harness searches every file for every secret after each step; these tests provoke leaks.

use crate::{
    engine, leak,
    network::{BASTION, DATABASE, Database, PASSWORD, USER, shared},
    process::poll,
    runner::mask::{self, Masker},
    step::{Step, TOKEN},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fs, time::Duration};

/// Returns every secret of a step of [`Step::new`].
fn secrets(database: &Database) -> [String; 4] {
    [PASSWORD.to_owned(), database.url(), database.network().key(), TOKEN.to_owned()]
}

#[track_caller]
fn assert_clean(database: &Database, place: &str, text: &str) {
    for secret in secrets(database) {
        assert_eq!(leak::find_secret(text, &secret), None, "in {place}: {text}");
    }
}

/// The runner passes the values in `Config.Env`, and so in the process's initial environment. A user who can read them
/// from the engine is root on that machine. No other record contains them.
#[test]
fn a_running_step_has_secrets_only_in_its_environment() {
    let database = shared().database();
    let step = Step::new(&database).file("migrations/0001_slow.sql", "select pg_sleep(60);\n");
    let running = step.start();
    let sleeps = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and datname = current_database() \
        and application_name like 'bastion-migrate%'";
    poll(Duration::from_secs(30), || (database.sql(sleeps) == "1").then_some(())).expect("the step gets there");

    let mut inspected = engine::inspect(running.container());
    let environment = inspected.pointer_mut("/Config/Env").expect("a container has an environment").take();
    assert!(environment.to_string().contains("INPUT_DATABASE-URL=postgres://"), "{environment}");
    assert_clean(&database, "docker inspect", &inspected.to_string());

    let pid = running.pid().expect("the step runs");
    let process = |pid: u32, name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");
    assert_eq!(process(pid, "cmdline"), "/bastion-migrate\0");
    assert_eq!(process(pid, &format!("task/{pid}/children")), "", "no child process inherits the environment");
    assert_clean(&database, "the CLI's arguments", &process(running.cli(), "cmdline"));

    let sessions = "select application_name, query from pg_stat_activity where application_name <> 'lab'";
    assert_clean(&database, "pg_stat_activity", &database.sql(sessions));
    running.cancel().finished.fails("cancelled", 130).pending(["0001_slow"]).done();
    assert_clean(&database, "sshd's log", &database.network().bastion().log());
}

/// In every encoding that the runner masks, and in some that it does not mask.
#[test]
fn a_secret_in_database_messages_is_redacted_in_every_encoding() {
    let database = shared().database();
    let percent = utf8_percent_encode(PASSWORD, NON_ALPHANUMERIC).to_string();
    let forms = [mask::encodings(PASSWORD), mask::encodings(&percent), vec![percent.to_lowercase()]].concat();
    let forms: Vec<String> = forms.into_iter().filter(|form| !form.is_empty()).collect();
    let notices: String =
        forms.iter().map(|form| format!("do $do$ begin raise notice '%', $x$it is {form}!$x$; end $do$;\n")).collect();
    let last = forms.join(" and ");
    let error = format!("do $do$ begin raise exception '%', $x${last}$x$ using hint = $x${last}$x$; end $do$;\n");
    let step =
        Step::new(&database).file("migrations/0001_notices.sql", notices).file("migrations/0002_error.sql", error);
    let ended = step.with_debug_logging().start().finish();
    let raw =
        ended.finished.log.lines().filter(|line| !line.starts_with("::add-mask::")).collect::<Vec<_>>().join("\n");
    for form in &forms {
        assert!(!raw.contains(form.as_str()), "{form} is in the log");
    }
    ended.finished.fails("statement-failed", 6).applied(["0001_notices"]).pending(["0002_error"]).done();
}

/// The runner masks only values from `secrets`; a workflow may get a secret from elsewhere.
#[test]
fn every_secret_is_masked_before_other_output() {
    let database = shared().database();
    let ended = Step::new(&database).file("migrations/0001_one.sql", "select 1;\n").start().finish();
    for secret in secrets(&database) {
        for line in secret.lines().filter(|line| line.len() > 3) {
            assert!(ended.masks.iter().any(|mask| mask == line), "{line} is not among {:?}", ended.masks);
        }
    }
    let first = ended.finished.log.lines().position(|line| !line.starts_with("::add-mask::"));
    assert_eq!(first, Some(ended.finished.log.matches("::add-mask::").count()), "masks come before all other output");
    ended.finished.succeeds().applied(["0001_one"]).done();
}

/// Masking it would redact every 5 in the job's log and drop every output that contains one.
#[test]
fn a_password_of_one_letter_causes_a_warning_and_is_not_masked() {
    let database = shared().database();
    let (name, role) = (database.name(), format!("short_{}", database.name()));
    database.sql(&format!("create role {role} login password '5'; grant create on database {name} to {role}"));
    let url = format!("postgres://{role}:5@db.private.internal:5432/{name}");
    let ended = Step::new(&database)
        .secret("database-url", url)
        .file("migrations/0001_one.sql", "select 5;\n")
        .start()
        .finish();
    assert!(!ended.masks.iter().any(|mask| mask == "5"), "{:?}", ended.masks);
    let finished = ended.finished.succeeds().applied(["0001_one"]).output("applied-count", "1");
    finished.warning("a secret has fewer than three characters").done();
    database.sql(&format!("drop owned by {role}; drop role {role}"));
}

/// Host names are often kept as secrets, although they are none.
#[test]
fn only_the_report_output_names_host_user_and_database() {
    let database = shared().database();
    let finished =
        Step::new(&database).file("migrations/0001_one.sql", "select 1;\n").run().succeeds().applied(["0001_one"]);
    let (_, dropped) = Masker::with_secrets([BASTION, USER, DATABASE, database.name()]).job_outputs(&finished.outputs);
    assert_eq!(dropped, ["report"]);
    finished.done();
}
