//! Tokens that a command prints.

use crate::{
    action::Action,
    lab::{
        Lab,
        postgres::{PASSWORD, ROLE},
        process::directory,
        server::Server,
    },
};
use std::{fs, path::Path};

const USERS: &str = "create table users (id int);\n";

/// Prints the token, and notes that it ran, with the variables that it has.
const PRINT_TOKEN: &str =
    "env | cut -d= -f1 | sort >\"$NOTES.names\"; echo ran >>\"$NOTES\"; echo a note >&2; echo \"$ROLE_TOKEN\"";

fn url(lab: &Lab) -> String {
    format!("postgres://{ROLE}@localhost:{}/{}", lab.database.server().port(), lab.database.name())
}

/// A step with one file, without a password.
fn step<'a>(action: Action<'a>, lab: &Lab) -> Action<'a> {
    action.file("migrations/0001_users.sql", USERS).input("database-url", url(lab)).hides(PASSWORD)
}

/// A command of a shell, as JSON, which is YAML.
fn shell(script: &str, notes: &Path) -> String {
    serde_json::json!({
        "command": ["sh", "-c", script],
        "env": { "NOTES": notes },
        "pass-env": ["ROLE_TOKEN"],
    })
    .to_string()
}

fn with_command<'a>(action: Action<'a>, script: &str, notes: &Path) -> Action<'a> {
    action.input("database-auth", shell(script, notes)).env("ROLE_TOKEN", PASSWORD)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn one_run_of_the_command_logs_all_sessions_of_a_minute_in() {
    let lab = Lab::new();
    for (through_bastion, applied) in [(true, vec!["0001_users"]), (false, vec![])] {
        let action = if through_bastion { Action::new(&lab) } else { Action::direct(&lab) };
        let home = directory();
        let notes = home.path().join("notes");
        let action = with_command(step(action, &lab), PRINT_TOKEN, &notes);
        let finished = action.env("OTHER_VARIABLE", "of-the-job").run();
        assert_eq!(read(&notes), "ran\n");
        let names = read(&notes.with_extension("names"));
        assert!(names.contains("ROLE_TOKEN\n") && names.contains("PATH\n"), "{names}");
        assert!(
            !names.contains("OTHER_VARIABLE") && !names.contains("INPUT_") && !names.contains("GITHUB_"),
            "{names}"
        );
        match applied.as_slice() {
            [] => finished.nothing_to_do().done(),
            applied => finished.succeeds().applied(applied.iter().copied()).logs("::add-mask::").done(),
        }
    }
}

#[test]
fn the_configuration_file_may_have_the_command() {
    let lab = Lab::new();
    let config = "defaults:\n  database-auth:\n    command: printenv ROLE_TOKEN\n    pass-env: ROLE_TOKEN\n";
    step(Action::new(&lab), &lab)
        .file(".github/bastion-migrate.yml", config)
        .env("ROLE_TOKEN", PASSWORD)
        .run()
        .succeeds()
        .applied(["0001_users"])
        .done();
}

#[test]
fn a_command_that_prints_no_token_is_told_with_its_messages() {
    let lab = Lab::new();
    for (script, cause, detail) in [
        ("echo no credentials >&2; exit 3", "ended with exit status 3", "stderr: no credentials"),
        (
            "echo \"$ROLE_TOKEN\"; echo \"it was $ROLE_TOKEN\" >&2; exit 1",
            "ended with exit status 1",
            "stderr: it was ***",
        ),
        (
            "echo sesame-open-a-long-word; echo sesame-open-a-long-word >&2; exit 1",
            "ended with exit status 1",
            "stderr: ***",
        ),
        ("echo nothing to print >&2", "has printed nothing", "stderr: nothing to print"),
        ("echo one; echo two", "has printed more than one line", "in one line on standard output"),
        ("head -c 70000 /dev/zero | tr '\\0' a", "has printed more than 65535 bytes", "in one line on standard output"),
        ("printf '\\377\\376'", "has printed bytes that are no text", "in one line on standard output"),
        ("kill -KILL $$", "was killed by signal 9", "read its messages"),
    ] {
        let action = with_command(step(Action::new(&lab), &lab), script, Path::new("/dev/null"));
        let finished = action.run().fails("token-unavailable", 3);
        finished.logs(&format!("the command `sh` of `database-auth` {cause}")).logs(detail).done();
    }
}

#[test]
fn a_command_that_is_not_there_is_named() {
    let lab = Lab::new();
    let auth = |value: &str| step(Action::new(&lab), &lab).input("database-auth", value).run();
    auth("{ command: [no-such-program] }")
        .fails("token-unavailable", 3)
        .logs("the command `no-such-program` of `database-auth` can't be started on this machine")
        .done();
    auth("{ command: [print-token], pass-env: [ABSENT_KEY] }")
        .fails("input-missing", 2)
        .logs("`pass-env` names `ABSENT_KEY`, which has no value in the environment")
        .logs("take it out of `pass-env` of `database-auth`")
        .done();
    auth("{ command: [print-token], role: x }")
        .fails("input-invalid", 2)
        .logs("`role` has no meaning for `method: command`")
        .done();
    auth("command").fails("input-invalid", 2).done();
}

#[test]
fn a_token_of_a_command_that_the_server_refuses_is_told_as_that() {
    let lab = Lab::new();
    step(Action::new(&lab), &lab)
        .input("database-auth", "{ command: [printenv, ROLE_TOKEN], pass-env: ROLE_TOKEN }")
        .secret_env("ROLE_TOKEN", "another-password")
        .run()
        .fails("token-refused", 3)
        .logs(&format!(
            "does not let the role `{ROLE}` log in by the token of the command `printenv` of `database-auth`"
        ))
        .done();
}

#[test]
fn a_command_on_the_server_gets_the_token_that_a_command_here_has_printed() {
    let (lab, server) = (Lab::new(), Server::start());
    let command = format!(
        "psql -XqAt 'host=localhost port={} user={ROLE} dbname={} sslmode=require' -c 'create table by_the_tool (id int)'; \
         echo \"it is $PGPASSWORD\"",
        lab.database.server().port(),
        lab.database.name()
    );
    let action =
        Action::on_server(&lab, &server).input("database-url", url(&lab)).input("run", command).hides(PASSWORD);
    let home = directory();
    let notes = home.path().join("notes");
    with_command(action, PRINT_TOKEN, &notes)
        .run()
        .succeeds()
        .logs("it is ***")
        .warning("no ledger was found in the database")
        .done();
    assert_eq!(lab.database.sql("select count(*) from by_the_tool"), "0");
    assert_eq!(read(&notes), "ran\n");
}
