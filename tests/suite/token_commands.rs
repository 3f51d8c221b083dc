//! Tokens that a command prints, against a PostgreSQL that asks for them by each of its methods: as a password in plain
//! text, as MD5, by SCRAM, or not at all.

use crate::{
    action::Action,
    lab::{
        Lab, poll,
        postgres::{Options, PASSWORD, Postgres, ROLE},
        process::directory,
        server::Server,
    },
    listener::{RunningListener, psql_at, stderr_of, stdout_of, target, with_query},
    ways_in::is_running,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bastion_migrate::{
    fault::Code,
    https::NetworkSettings,
    postgres::{ClientIdentity, DatabaseTarget, SslMode},
    proxy::ClientTls,
    token_login::{TokenFile, TokenLogin, TokenMethod},
};
use rustix::process::Signal;
use std::{fs, path::Path, time::Duration};

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
fn an_expired_token_of_a_command_is_told_as_that() {
    let lab = Lab::new();
    let payload = URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#);
    let token = format!("e30.{payload}.sig");
    step(Action::new(&lab), &lab)
        .input("database-auth", "{ command: [printenv, ROLE_TOKEN], pass-env: ROLE_TOKEN }")
        .secret_env("ROLE_TOKEN", &token)
        .run()
        .fails("token-expired", 3)
        .logs("the token of the command `printenv` of `database-auth` expired ")
        .done();
}

#[test]
fn a_cancelled_run_ends_the_command_and_what_it_has_started() {
    let lab = Lab::new();
    let seconds = format!("{}.25", 4000 + std::process::id() % 4000);
    let script = format!("sleep {seconds}; echo \"$ROLE_TOKEN\"");
    let running = with_command(step(Action::new(&lab), &lab), &script, Path::new("/dev/null")).start();
    poll(Duration::from_secs(20), || is_running(&seconds).then_some(())).expect("the command runs");
    running.signal(Signal::INT);
    running.finish().fails("cancelled", 130).within(Duration::from_secs(7)).done();
    poll(Duration::from_secs(5), || (!is_running(&seconds)).then_some(())).expect("no process is left");
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

/// The methods by which a server may ask for a password, and the one by which it asks for nothing.
const METHODS: [&str; 4] = ["trust", "password", "md5", "scram-sha-256"];

fn server_that_asks_by(method: &str) -> std::sync::Arc<Postgres> {
    let postgres = Postgres::start(&Options::default());
    let database = postgres.database();
    let encryption = if method == "md5" { "md5" } else { "scram-sha-256" };
    let password = PASSWORD.replace('\'', "''");
    database.sql(&format!("set password_encryption = '{encryption}'; alter role {ROLE} password '{password}'"));
    let hash = database.sql(&format!("select rolpassword from pg_authid where rolname = '{ROLE}'"));
    assert!(hash.to_lowercase().starts_with(encryption), "{hash}");
    drop(database);
    postgres.reconfigure(&format!("hostssl all all 127.0.0.1/32 {method}"), &[], &[]);
    postgres
}

fn target_with_token(lab: &Lab, token: &Path) -> DatabaseTarget {
    let file = TokenFile { shown: "token".to_owned(), path: token.to_owned() };
    let token = Some(TokenLogin::new(TokenMethod::File(file), NetworkSettings::default()));
    let identity = ClientIdentity { certificate: None, token };
    DatabaseTarget { password: None, identity, ..target(lab, SslMode::VerifyFull) }
}

#[test]
fn a_token_logs_in_by_every_method_in_our_own_session_and_through_the_proxy() {
    for method in METHODS {
        let postgres = server_that_asks_by(method);
        let lab = Lab::on(&postgres);
        let finished = step(Action::new(&lab), &lab)
            .file("token", PASSWORD)
            .input("database-auth", "{ method: file, file: token }")
            .run();
        finished.succeeds().applied(["0001_users"]).done();
        let home = directory();
        let token = home.path().join("token");
        fs::write(&token, PASSWORD).unwrap();
        let proxy = RunningListener::start(&lab, ClientTls::Terminated, target_with_token(&lab, &token));
        for mode in ["disable", "prefer"] {
            let mut psql = psql_at(&lab, proxy.port(), &format!("sslmode={mode}"));
            psql.env_remove("PGPASSWORD").arg("--no-password");
            let query = "select concat_ws('|', current_user, ssl) from pg_stat_ssl where pid = pg_backend_pid()";
            assert_eq!(stdout_of(with_query(psql, query)), format!("{ROLE}|t"), "{method}");
        }
    }
}

#[test]
fn a_wrong_token_is_refused_by_every_method_that_asks_for_one() {
    for method in METHODS.into_iter().filter(|method| *method != "trust") {
        let postgres = server_that_asks_by(method);
        let lab = Lab::on(&postgres);
        let home = directory();
        let token = home.path().join("token");
        fs::write(&token, "another-token").unwrap();
        let proxy = RunningListener::start(&lab, ClientTls::Terminated, target_with_token(&lab, &token));
        let shown = stderr_of(with_query(psql_at(&lab, proxy.port(), "sslmode=disable"), "select 1"));
        assert!(shown.contains(&format!("password authentication failed for user \"{ROLE}\"")), "{method}: {shown}");
        assert_eq!(proxy.listener.last_fault().map(|fault| fault.code), Some(Code::TokenRefused), "{method}");
    }
}
